"""The parts of a local swarm that need no node: waiting, logs, exit codes."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from collab.node import local_swarm
from collab.node.local_swarm import LocalNode, LocalSwarm, SwarmError, reached


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let a line of Python stand in for the command that a volunteer types."""

    def use(code: str) -> None:
        monkeypatch.setattr(local_swarm, "COMMAND", [sys.executable, "-c", code])

    return use


class Known(LocalNode):
    """A node whose status the test decides."""

    answer: dict[str, Any] | None = None

    def status(self) -> dict[str, Any] | None:
        return self.answer


def test_nodes_are_numbered_and_the_first_is_the_coordinators(tmp_path: Path) -> None:
    swarm = LocalSwarm(tmp_path)
    assert [swarm.add().name for _ in range(3)] == ["node-1", "node-2", "node-3"]
    assert swarm.coordinator.home == tmp_path / "node-1"
    assert not swarm.coordinator.alive
    assert swarm.states() == {}


def test_reached_needs_an_answer_and_the_round(tmp_path: Path) -> None:
    node = Known("node-1", tmp_path)
    assert not reached(node, 0)
    node.answer = {"round": 3}
    assert reached(node, 3)
    assert not reached(node, 4)


def test_a_node_that_never_started_has_nothing_to_say(tmp_path: Path) -> None:
    node = LocalNode("node-1", tmp_path / "home")
    assert node.status() is None
    assert node.tail() == ""
    assert node.wait() == 0
    node.interrupt()
    node.kill()


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    node = LocalNode("node-1", tmp_path)
    node.log.write_bytes(b"\n".join(b"line %d" % number for number in range(100)) + b"\n\xff")
    assert node.tail(3).splitlines() == ["line 98", "line 99", "\N{REPLACEMENT CHARACTER}"]


def test_a_node_is_started_and_started_again_with_the_same_arguments(tmp_path: Path, script: Any) -> None:
    script("import sys; print(sys.argv[1:])")
    node = LocalNode("node-1", tmp_path / "home")
    node.start(["seed", "--train"])
    assert node.wait(20) == 0
    node.start()
    assert node.wait(20) == 0
    assert node.tail().splitlines() == [str(["seed", "--train", "--home", str(tmp_path / "home")])] * 2


def test_waiting_ends_with_the_condition(tmp_path: Path) -> None:
    answers = iter([False, False, True])
    LocalSwarm(tmp_path).wait(lambda: next(answers), 20, "the third answer")


def test_waiting_too_long_shows_the_logs(tmp_path: Path) -> None:
    swarm = LocalSwarm(tmp_path)
    node = swarm.add()
    node.home.mkdir()
    node.log.write_text("what it said last")
    with pytest.raises(SwarmError, match="waited 0 s for a miracle\n--- node-1\nwhat it said last"):
        swarm.wait(lambda: False, 0.01, "a miracle")


def test_a_node_that_ends_is_noticed_while_waiting(tmp_path: Path, script: Any) -> None:
    script("import sys; sys.exit('error: no such event')")
    swarm = LocalSwarm(tmp_path)
    node = swarm.add()
    node.start([])
    with pytest.raises(SwarmError, match="node-1 ended with 1 before a round\nerror: no such event"):
        swarm.wait(lambda: False, 20, "a round")
    with pytest.raises(SwarmError, match="ended with 1 before round 1"):
        swarm.wait_for_round(1, 20)
    with pytest.raises(SwarmError, match="waited"):
        swarm.wait(lambda: False, 0.01, "others", watch=[])


def test_stop_interrupts_and_then_kills(tmp_path: Path, script: Any) -> None:
    swarm = LocalSwarm(tmp_path)
    obedient, stubborn = swarm.add(), swarm.add()
    ready = "print('ready', flush=True); time.sleep(60)"
    script(f"import signal, sys, time; signal.signal(signal.SIGINT, lambda *_: sys.exit(0)); {ready}")
    obedient.start([])
    script(f"import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); {ready}")
    stubborn.start([])
    swarm.wait(lambda: all("ready" in node.tail() for node in swarm.nodes), 20, "both to be ready")
    started = time.monotonic()
    swarm.stop(seconds=1.0)
    assert time.monotonic() - started < 10
    assert obedient.process is not None
    assert stubborn.process is not None
    assert (obedient.process.returncode, stubborn.process.returncode) == (0, -9)


def test_a_command_that_fails_is_a_swarm_error_with_its_line(script: Any) -> None:
    script("import sys; sys.exit('error: wrong file')")
    with pytest.raises(SwarmError, match="collab-node event check: error: wrong file"):
        local_swarm.run("event", "check")
    script("import sys; print(' '.join(sys.argv[1:]))")
    assert local_swarm.run("event", "invite") == "event invite\n"


def test_a_swarm_is_stopped_whatever_happens(tmp_path: Path, script: Any) -> None:
    script("import time; time.sleep(0 if 'event' in __import__('sys').argv else 60)")
    nodes: list[LocalNode] = []

    def fail() -> None:
        with local_swarm.local_swarm(tmp_path, tmp_path / "event.toml") as swarm:
            swarm.coordinator.start(["seed"])
            nodes.append(swarm.coordinator)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert nodes[0].process is not None
    assert not nodes[0].alive
