"""The command line: `collab-node`."""

from __future__ import annotations

from .app import app


def main() -> None:
    """Run the command that the process was started with, and exit with its code."""
    app(prog_name="collab-node")
