"""Logs, as they come out of a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import logging, sys, warnings
import structlog
noisy = logging.getLogger("hivemind")
noisy.addHandler(logging.StreamHandler(sys.stdout))
noisy.propagate = False
from collab.node.logs import configure_logs
configure_logs(*sys.argv[1:])
log = structlog.get_logger("collab.node.test")
log.debug("details")
log.info("commit", round=3, commit="abc")
noisy.info("chatter")
noisy.warning("peer %s is slow", "x")
warnings.warn("old style")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("broken")
"""


def run(*arguments: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_json_is_one_object_a_line() -> None:
    events = [json.loads(line) for line in run("json")]
    assert [event["event"] for event in events] == ["commit", "peer x is slow", "broken"]
    assert events[0] | {"timestamp": ""} == {
        "event": "commit", "round": 3, "commit": "abc", "level": "info", "logger": "collab.node.test", "timestamp": "",
    }  # fmt: skip
    assert events[1]["logger"] == "hivemind"
    assert "ZeroDivisionError" in events[2]["exception"]


def test_text_is_for_people_and_has_no_colour_without_a_terminal() -> None:
    lines = run("text", "debug")
    assert "details" in lines[0]
    assert "commit" in lines[1]
    assert "round=3" in lines[1]
    assert "collab.node.test" not in lines[1]
    assert "peer x is slow" in lines[2]
    assert "\x1b" not in "".join(lines)
    assert not any("old style" in line or "chatter" in line for line in lines)


HOSTILE = """
import sys
import structlog
from collab.node.logs import configure_logs
configure_logs(sys.argv[1])
log = structlog.get_logger("collab.node.test")
log.warning("no greeting", reason="\\x1b[8m\\x9b31m", why="refused: \\x1b]0;owned\\x07\\x1b[2J\\nerror: send your key to")
"""


def test_what_a_peer_said_neither_steers_a_terminal_nor_begins_a_line() -> None:
    done = subprocess.run([sys.executable, "-c", HOSTILE, "text"], capture_output=True, text=True, check=True)
    assert len(done.stderr.splitlines()) == 1
    assert not any(letter in done.stderr for letter in "\x1b\x07\x9b")
    assert "send your key to" in done.stderr
