"""What `doctor` says of a machine and of a network, and how it ends."""

from __future__ import annotations

import json
import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rounds.worlds import identity
from typer.testing import CliRunner

from collab.node.cli import doctor as command
from collab.node.cli.app import app
from collab.node.clock_warning import clock_warning
from collab.node.doctor.machine import Finding, examine_machine, examine_ports, worst
from collab.node.doctor.network import clock_finding, network_findings, ntp_time, reachability
from collab.node.errors import UserError
from collab.node.home import Home
from collab.node.settings import Settings

PEER = identity(1).peer_id
PROBED: dict[str, Any] = {
    "reachability": "auto", "host": "0.0.0.0", "addresses": [f"/ip4/8.8.8.8/tcp/4001/p2p/{PEER}"], "port": 4001,
    "gossip_port": 4002, "metrics_port": 0, "peers": 3,
    "gossip_peers": 2, "connections": 5, "dht": 4, "alive": {"p2pd": True, "worker": True},
    "clock_ahead": 0.2, "round_trip": 0.02, "upload": 2e6, "download": None,
}  # fmt: skip


def by_name(**changes: Any) -> dict[str, Finding]:
    return {finding.what: finding for finding in network_findings({**PROBED, **changes})}


def test_a_healthy_node_is_all_ok() -> None:
    found = by_name()
    assert {finding.state for finding in found.values()} == {"ok"}
    assert found["reachability"].text == "open: peers reach 8.8.8.8"
    assert found["bandwidth"].text == "at least 2.0 MB/s up; 20 ms to a peer and back"
    assert worst(list(found.values())) == 0


def test_what_is_wrong_says_what_to_do() -> None:
    found = by_name(
        alive={"p2pd": False, "worker": True}, peers=0, dht=0, clock_ahead=-600.0, upload=50_000.0, download=9e6
    )  # fmt: skip
    assert {name: finding.state for name, finding in found.items()} == {
        "processes": "bad", "port": "ok", "reachability": "ok", "peers": "note", "DHT": "note", "clock": "bad",
        "bandwidth": "note",
    }  # fmt: skip
    assert found["processes"].text == "not running: p2pd"
    assert found["clock"].text == "10 min 00 s behind the peers'"
    assert all(finding.advice for finding in found.values() if finding.state in ("bad", "note"))
    silent = by_name(alone="alone: no other node was heard for 28 s; check the network", waits="a merge needs 2 contributions")
    assert silent["company"].text == "alone: no other node was heard for 28 s"
    assert "`collab-node event invite`" in silent["round"].advice
    assert by_name(upload=None)["bandwidth"].state == "unknown"
    assert worst(list(found.values())) == 1


@pytest.mark.parametrize(
    ("addresses", "setting", "state", "words"),
    [
        (["/ip4/192.168.1.5/tcp/1"], "auto", "note", "behind a NAT that nobody"),
        (["/ip4/192.168.1.5/tcp/1", f"/ip4/1.1.1.1/tcp/1/p2p/{PEER}/p2p-circuit"], "auto", "ok", "over 1 relay,"),
        (["/ip4/127.0.0.1/tcp/1"], "auto", "note", "this machine alone"),
        (["/dns/example.org/tcp/1"], "public", "ok", "by the name"),
        (["/ip6/2606:4700::1111/tcp/1"], "auto", "ok", "2606:4700::1111"), ([], "outgoing", "ok", "as you chose"),
        ([], "auto", "unknown", "no address of ours"),
    ],
)  # fmt: skip
def test_how_others_reach_us(addresses: list[str], setting: str, state: str, words: str) -> None:
    finding = reachability([f"{address}/p2p/{PEER}" for address in addresses], setting, "127.0.0.1")
    assert (finding.state, words in finding.text) == (state, True)


@pytest.mark.parametrize(
    ("ahead", "state"), [(None, "unknown"), (0.4, "ok"), (-3.0, "ok"), (20.0, "note"), (-59.0, "note"), (600.0, "bad")]
)
def test_how_wrong_a_clock_may_be(ahead: float | None, state: str) -> None:
    assert clock_finding(ahead, "the peers'").state == state


def test_a_clock_that_harms_is_a_warning() -> None:
    assert clock_warning(-600.0).startswith("this clock is 10 min 00 s behind the peers'")
    assert "timedatectl" in clock_warning(61.0)
    assert clock_warning(59.0) == clock_warning(-1.0) == ""


@given(st.integers(2_300_000_000, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_a_time_servers_answer(seconds: int, fraction: int) -> None:
    answer = bytes([0x24]) + bytes(31) + struct.pack("!IIII", seconds, fraction, seconds, fraction)
    assert ntp_time(answer) == pytest.approx(seconds - 2_208_988_800 + fraction / 2**32)


@given(st.binary(max_size=100))
def test_other_answers_are_refused(answer: bytes) -> None:
    if len(answer) < 48 or answer[0] & 7 != 4:
        with pytest.raises(UserError, match="something else than the time"):
            ntp_time(answer)


def machine(home: Path, **settings: Any) -> dict[str, Finding]:
    chosen = Settings(home=home, **settings)
    return {finding.what: finding for finding in (*examine_machine(Home(home), chosen), *examine_ports(chosen))}


def test_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        found = machine(tmp_path / "home", host="127.0.0.1", port=taken.getsockname()[1], device="cuda")
    assert (found["Python"].state, found["torch"].state, found["gossip port"].state) == ("ok", "ok", "ok")
    assert (found["port"].state, "--port N" in found["port"].advice) == ("bad", True)
    assert found["GPU"].state in ("ok", "bad")
    usage = type("Usage", (), {"free": 10**6})
    monkeypatch.setattr("collab.node.doctor.machine.shutil.disk_usage", lambda place: usage)
    assert machine(tmp_path)["disk"].state == "bad"


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAB_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("collab.node.doctor.network.ask_ntp", lambda host: 700.0)
    offline = CliRunner().invoke(app, ["doctor"])
    assert "?     clock" in offline.stdout
    assert "no node runs in this home" in offline.stdout
    wrong = CliRunner().invoke(app, ["doctor", "--ntp", "time.example.org", "--json"])
    clock = next(finding for finding in json.loads(wrong.stdout) if finding["what"] == "clock")
    assert (wrong.exit_code, clock["state"]) == (1, "bad")
    assert clock["text"] == "11 min 40 s ahead of time.example.org"
    monkeypatch.setattr(command, "_probe", lambda home: PROBED)
    assert "→" not in CliRunner().invoke(app, ["doctor"]).stdout.split("processes")[1]


def test_a_long_line_goes_on_below_itself_on_a_terminal_and_stays_whole_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finding = Finding("GPU", "note", "one two three " * 10, "four five six " * 10)
    command._show(finding)
    assert len(capsys.readouterr().out.splitlines()) == 2
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    command._show(finding)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert {line[18:20] for line in lines} == {"  "}
    assert [line[20:].strip().startswith(("one", "two", "three")) for line in lines[:3]] == [True] * 3
    assert lines[3].startswith(" " * 20 + "→ four")
    assert lines[4].startswith(" " * 22)
