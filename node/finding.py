"""Where a node listens, and where it finds the others: what its owner set, what the coordinators decided, and whom it knew."""

from __future__ import annotations

from collections.abc import Iterable

from . import remembered
from .amendments.making import standing
from .net.addresses import is_address
from .net.network import NetworkOptions
from .options import NodeOptions
from .store.store import Store


def network_options(options: NodeOptions, store: Store) -> NetworkOptions:
    """Return how a run of a node takes part in the network. Raises UserError."""
    settings, invite = options.settings, options.invite
    joined = options.folder.exists()
    decided = standing(options.folder, store).in_force.bootstrap if joined and store.head() is not None else ()
    return NetworkOptions(
        home=options.folder.path,
        host=settings.host,
        port=settings.port or remembered.port(store, "p2p", settings.host),
        gossip_port=settings.gossip_port or remembered.port(store, "gossip", settings.host),
        bootstrap=bootstrap(store, decided, invite.bootstrap if invite is not None else ()),
        reachability=settings.reachability,
        announce=tuple(settings.announce),
        # Who has the event already can wait for its peers to come back; a newcomer can do nothing without one.
        wait_for_bootstrap=not joined,
    )


def bootstrap(store: Store, decided: Iterable[str], invited: Iterable[str] = ()) -> tuple[str, ...]:
    """Return where to look for the event: where the coordinators said, where the invite says, and at peers that were there."""
    return tuple(dict.fromkeys([*filter(is_address, decided), *invited, *remembered.peers(store)]))
