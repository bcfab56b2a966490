"""The daemon's network. `network.Network` composes it; `addresses` and `errors` need no hivemind and import fast."""
