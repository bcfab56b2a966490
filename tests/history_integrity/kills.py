"""`kill -9` in the midst of a command, at a failpoint, in a process of its own.

It is forked from a server that has torch imported already; its worker is a thread, and dies with it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from worker_kit import workers_in_threads

from collab.node.failpoints import VARIABLE

if TYPE_CHECKING:
    from history_integrity.samples import Sample

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["collab.node.cli.app", "collab.node.trainer.process", "collab.node.history.replay"])


def killed_at(sample: Sample, failpoint: str, *arguments: object) -> None:
    """Run `collab-node` in the sample's home, until `kill -9` hits it at the failpoint."""
    armed, log = sample.path / "failpoint", sample.path.with_name("killed.log")
    changes = {"COLLAB_HOME": str(sample.path), VARIABLE: str(armed), "COLLAB_DATA_DIR": str(sample.data)}
    words = [str(each) for each in arguments]
    process = _server.Process(target=_run, args=(os.environ | changes, failpoint, words, log))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL, log.read_text()
    assert not armed.exists()
    log.unlink()


def _run(environment: dict[str, str], failpoint: str, arguments: list[str], log: Path) -> None:
    from collab.node.cli import main

    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["collab-node", *arguments]
    Path(environment[VARIABLE]).write_text(f"{failpoint} {os.getpid()}")
    with log.open("w") as sys.stdout, workers_in_threads():
        sys.stderr = sys.stdout
        main()
