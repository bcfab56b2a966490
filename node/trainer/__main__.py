"""`python -m collab.node.trainer FD`: what the daemon starts."""

from __future__ import annotations

import sys

from ..processes.ipc import BlockingChannel, inherited_socket


def main() -> None:
    """Serve on the socket whose descriptor is the last argument."""
    channel = BlockingChannel(inherited_socket(sys.argv))
    # Only now, because torch takes a second or more to import, and a worker without a daemon is to say so at once.
    from .process import serve

    serve(channel)


if __name__ == "__main__":
    main()
