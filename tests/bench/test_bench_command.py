"""The bench's command line, without running the bench."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

bench = import_module("bench_swarm.__main__")


def test_runs_are_at_least_one() -> None:
    assert bench._positive("2") == 2
    with pytest.raises(Exception, match="at least 1"):
        bench._positive("0")


def test_help_ends_well() -> None:
    scripts = Path(__file__).parents[2] / "scripts"
    code = (
        f"import sys, runpy; sys.path.insert(0, {str(scripts)!r}); sys.argv[1:] = ['--help']; "
        "runpy.run_module('bench_swarm', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--quick" in done.stdout
