"""The real process over its real channel."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from collab.node.processes.ipc import BlockingChannel, ChannelClosed, RemoteFailure
from collab.node.trainer import messages, process
from collab.node.trainer.client import Worker, part
from collab.node.trainer.service import Service


class Heard:
    """Notices, and an event for the end of a training."""

    def __init__(self) -> None:
        self.notices: list[messages.Notice] = []
        self.ended = asyncio.Event()

    def __call__(self, notice: messages.Notice) -> None:
        self.notices.append(notice)
        if isinstance(notice, messages.Trained | messages.Failed):
            self.ended.set()


async def test_a_round_a_kill_and_a_return(bench: Any, tmp_path: Path) -> None:
    request = bench("unused", init=False).request.model_copy(update={"work_dir": str(tmp_path / "node")})
    heard = Heard()
    worker = await Worker.start(heard)
    opened = await worker.open(request)
    assert (opened.restored, opened.device, opened.tokens_per_sample) == (None, "cpu", 16)
    base = await worker.init(1)
    with pytest.raises(RemoteFailure, match="no merge 'x' is kept") as caught:
        await worker.adopt("x", b"1" * 32)
    assert caught.value.code == "unknown_candidate"

    await worker.train(1, 0, max_steps=3)
    await heard.ended.wait()
    trained = heard.notices[-1]
    assert isinstance(trained, messages.Trained)
    assert trained.samples == 12
    payload = await worker.compress()
    assert (await worker.inspect(payload.path)).ok
    merge = messages.Merge(key="k", base=base, parts=(part(payload.path, Fraction(1)),), method="average")
    merged = await worker.merge(merge)

    heard.ended.clear()
    await worker.train(2, 12)
    first = await worker.evaluate(messages.Evaluate(of="local", samples=4))  # answered while it trains
    assert (first.samples, heard.ended.is_set()) == (4, False)
    await worker.stop_training()
    assert isinstance(heard.notices[-1], messages.Trained)

    await worker.train(2, 12)
    worker.kill()
    assert await worker.wait() < 0
    with pytest.raises(ChannelClosed):
        await worker.evaluate()
    await worker.stop()

    worker = await Worker.start()
    restored = (await worker.open(request)).restored
    assert restored is not None
    assert (restored.state, restored.outstanding) == (base, (payload.sha256,))
    assert (await worker.merge(merge)).state == merged.state
    assert await worker.adopt("k", b"1" * 32) == merged.state
    await worker.settle(payload.sha256, payload.path, accepted=True)
    written = await worker.snapshot(str(tmp_path / "snapshot"))
    assert (written.state, written.size) == (merged.state, (tmp_path / "snapshot").stat().st_size)
    assert await worker.load(str(tmp_path / "snapshot")) == merged.state
    assert (await worker.evaluate()).samples == 32
    assert await worker.stop() == 0


def test_the_daemon_does_not_import_torch() -> None:
    check = "import sys, collab.node.trainer.client; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", check], check=False).returncode == 0


def test_without_a_daemon_it_is_one_line() -> None:
    run = subprocess.run([sys.executable, "-P", "-m", "collab.node.trainer"], check=False, capture_output=True, text=True)
    assert run.returncode != 0
    assert run.stderr.count("\n") == 1


def test_a_fault_of_ours_is_told_and_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Service, op: str, fields: dict[str, Any]) -> messages.Message:
        raise KeyError("a bug")

    monkeypatch.setattr(Service, "handle", broken)
    ours, theirs = (BlockingChannel(end) for end in socket.socketpair())
    failures: list[Exception] = []

    def serve() -> None:
        try:
            process.serve(theirs)
        except KeyError as error:
            failures.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    ours.send({"id": 1, "op": "stop"})
    answer = ours.receive()
    thread.join()
    ours.close()
    theirs.close()
    assert (answer["re"], answer["error"]) == (1, "internal")
    assert len(failures) == 1
