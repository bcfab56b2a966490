"""The command line: `collab-node`."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command that the process was started with, and exit with its code."""
    try:
        from .app import app

        app(prog_name="collab-node")
    except KeyboardInterrupt:  # before the command began
        sys.exit(INTERRUPTED)
