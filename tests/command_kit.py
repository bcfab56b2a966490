"""`collab-node` in the test's own process, the environment of a home for it, and short event files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from collab.node.cli.app import app

Run = Callable[..., Result]

SHORT_EVENT = """\
name = "sample"
[model]
family = "gpt"
[data]
source = "stdlib"
[inner]
[compression]
[outer]
[merge]
[rounds]
[admission]
"""
EVENT = SHORT_EVENT.replace("[data]\n", "layers = 1\nwidth = 16\nheads = 2\n[data]\n")


def collab_node(*words: object, home: Path | None = None) -> Result:
    """Run `collab-node` with these words, in `home` if it is given."""
    arguments = [str(word) for word in words] + (["--home", str(home)] if home is not None else [])
    return CliRunner().invoke(app, arguments, prog_name="collab-node")


def live_in(patch: pytest.MonkeyPatch, home: Path, *, data: Path | None = None, cache: Path | None = None) -> None:
    """Let commands find `home`, and our data and cache instead of the user's."""
    patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    patch.setenv("COLLAB_HOME", str(home))
    patch.setenv("COLLAB_CACHE_DIR", str(cache or home / "cache"))
    patch.setenv("OMP_NUM_THREADS", "1")
    if data is not None:
        patch.setenv("COLLAB_DATA_DIR", str(data))
