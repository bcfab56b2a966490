"""The gossip sidecar: py-libp2p's GossipSub in a process of its own, driven by the daemon over one channel.

A process of its own because py-libp2p runs on trio and registers protobuf symbols that hivemind registers as well, and because it
keeps hostile bytes away from the daemon. It knows the signed envelope and nothing else of the protocol: what a message means is
the daemon's business, whether it may be forwarded is decided here.

Requests: `start` (once, first), `connect`, `publish`, `ban`, `stats`. Notices: `message`, `peers`, `refused`.
"""

from . import libp2p_parts as libp2p_parts  # before anything of libp2p
