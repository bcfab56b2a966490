"""The first line of every child process: take over the socket that the daemon left for it."""

from __future__ import annotations

import ctypes
import signal
import socket
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def inherited_socket(argv: Sequence[str]) -> socket.socket:
    """Return the socket whose descriptor is the last argument.

    On Linux the child also asks to be killed when the daemon dies, because a child that computes for minutes would see the
    end of its input late. Raises SystemExit with one line if it was not started by a daemon.
    """
    try:
        sock = socket.socket(fileno=int(argv[-1]))
    except (ValueError, OSError) as error:
        raise SystemExit("this is a part of the collab-node daemon, which starts it itself") from error
    sock.set_inheritable(False)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return sock
