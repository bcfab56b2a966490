"""`scripts/bench swarm`: what a swarm of real daemons gains, sends and costs, beside dense averaging and one node alone."""
