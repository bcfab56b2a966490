"""The commands, in this process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from store_samples import Chain
from typer.testing import CliRunner, Result

from collab.node import files, keys
from collab.node.cli.app import app
from collab.node.control.socket import NotRunning
from collab.node.errors import StoreFull, UserError
from collab.node.home import Home
from collab.node.options import NodeOptions
from collab.node.store import Store
from collab.protocol.invite import Invite

Run = Callable[..., Result]

ADDRESS = "/ip4/203.0.113.7/tcp/4001/p2p/12D3KooWDhJnKw8BVXY6Z3wsqtuEgZ8LXxx9wTxML3M2co9igCYi"


def failed(result: Result, *words: str, code: int = 1) -> None:
    """The command ended with an error of at most two lines, and printed nothing else."""
    assert result.exit_code == code
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0].startswith("error: ")
    assert len(lines) <= 2
    for word in words:
        assert word in result.stderr


@pytest.fixture
def created(run: Run, event_file: Path, home: Path) -> Path:
    assert run("event", "create", event_file).exit_code == 0
    return home


def only_event(home: Path) -> bytes:
    return Home(home).find_event().manifest().open().digest


@pytest.mark.parametrize("words", [[], ["event"], ["key"]])
def test_no_command_is_a_request_for_help(run: Run, words: list[str]) -> None:
    result = run(*words)
    assert "Usage" in result.output
    assert "error:" not in result.output


@pytest.mark.parametrize(
    "words",
    [
        ["event", "init"], ["event", "check"], ["event", "create"], ["event", "invite"], ["seed"], ["join"], ["status"],
        ["log"], ["show"], ["diff"], ["blame"], ["branch"], ["tag"], ["checkout"], ["export"], ["import"], ["key", "show"],
        ["key", "backup"], ["key", "restore"], ["logs"], ["pause"], ["resume"], ["leave"],
        ["restart"], ["doctor"], ["limits"], ["set"], ["credits"], ["certificate", "issue"], ["certificate", "verify"],
        ["certificate", "sign"], ["service", "install"], ["service", "remove"],
    ],
)  # fmt: skip
def test_every_command_explains_itself(run: Run, words: list[str]) -> None:
    result = run(*words, "--help")
    assert result.exit_code == 0
    assert "--help" in result.stdout


def test_version(run: Run) -> None:
    assert run("--version").stdout.startswith("collab-node ")


def test_usage_errors_exit_with_2(run: Run) -> None:
    failed(run("dance"), "No such command", "collab-node --help", code=2)
    failed(run("join"), "INVITE", "the line that the coordinator sent you", code=2)
    failed(run("log", "--oneline", "--json"), "--oneline", code=2)
    failed(run("seed", "--port", "many"), "--port", code=2)


def test_a_group_that_is_asked_nothing_explains_itself_without_an_error(run: Run) -> None:
    result = run("key")
    assert (result.exit_code, result.stderr) == (2, "")
    assert "backup" in result.stdout


def test_init_writes_an_event_that_passes_check(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "new.toml"
    assert run("event", "init", path).exit_code == 0
    assert "#" in path.read_text()
    assert "is valid" in run("event", "check", path).stdout
    failed(run("event", "init", path), "already there")


def test_check_names_the_line_of_every_mistake(run: Run, event_file: Path) -> None:
    event_file.write_text(event_file.read_text().replace("heads = 2", "heads = 'two'").replace("[inner]", "[inner]\nbatsh = 1"))
    result = run("event", "check", event_file)
    assert result.exit_code == 1
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == ["error", "error"]
    assert f"{event_file}:6: " in result.stderr
    failed(run("event", "check", event_file.with_name("none.toml")), "cannot be read")


def test_create_signs_an_event_and_starts_its_history(run: Run, created: Path) -> None:
    folder = Home(created).find_event()
    event = folder.manifest().open()
    assert event.coordinator == run("key", "show").stdout.strip()
    with Store.open(folder.store_path, read_only=True) as store:
        root = store.head_commit()
        assert root.state == event.start.state
        snapshot = store.latest_snapshot()
        assert snapshot is not None
        assert snapshot.commit == root.digest
        assert store.blobs.has(snapshot.blob.digest)
    assert os.listdir(Home(created).events_path) == [folder.path.name]


def test_a_seed_gives_the_same_weights_and_a_checkpoint_too(run: Run, event_file: Path, tmp_path: Path, home: Path) -> None:
    def start(*arguments: object) -> Any:
        own = tmp_path / str(len(os.listdir(tmp_path)))
        result = run("event", "create", event_file, "--home", own, *arguments)
        assert result.exit_code == 0, result.output
        return Home(own).find_event().manifest().open().start, own

    first, own = start("--seed", 7)
    assert first == start("--seed", 7)[0] != start("--seed", 8)[0]
    assert run("export", tmp_path / "weights.safetensors", "--home", own).exit_code == 0
    loaded, _ = start("--from-checkpoint", tmp_path / "weights.safetensors")
    assert (loaded.state, loaded.seed) == (first.state, None)


def test_a_create_that_fails_leaves_nothing(
    run: Run, event_file: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(run("event", "create", event_file, "--from-checkpoint", tmp_path / "none"), "there is no checkpoint")
    failed(run("event", "create", event_file, "--from-checkpoint", event_file), "safetensors")

    def full(*_: object) -> None:
        raise StoreFull(home)

    (home / "events" / f".new-{os.getpid()}").mkdir()
    monkeypatch.setattr(files, "move", full)
    failed(run("event", "create", event_file), "no space left")
    assert os.listdir(home / "events") == []


def test_an_invite_is_one_line_that_join_can_read(run: Run, created: Path) -> None:
    result = run("event", "invite", "--address", ADDRESS)
    assert result.stdout.count("\n") == 1
    invite = Invite.parse(result.stdout)
    assert (invite.event, invite.bootstrap, invite.token) == (only_event(created), (ADDRESS,), None)


def test_an_invite_needs_an_address(run: Run, created: Path) -> None:
    failed(run("event", "invite"), "no node runs", "--address")
    failed(run("event", "invite", "--address", "example.org:80"), "is not a peer's address")


def test_commands_without_an_event_say_what_to_do(run: Run, home: Path) -> None:
    for words in (["log"], ["status"], ["export", "x"], ["seed"], ["event", "invite"]):
        failed(run(*words), "has no event", "event create")
    failed(run("key", "show"), "there is no key")
    for words in (["pause"], ["resume"], ["leave"], ["restart"]):
        failed(run(*words), "no node runs")
    failed(run("logs"), "there is no log")


def test_a_key_with_wide_permissions_stops_everything(run: Run, created: Path) -> None:
    Home(created).identity_path.chmod(0o644)
    for words in (["key", "show"], ["status"]):
        failed(run(*words), "can be read by others", "chmod 600")


def grown(home: Path, chain: Chain) -> Store:
    """Add two rounds to the created event's store; their states are made up."""
    store = Store.open(Home(home).find_event().store_path)
    chain.root = chain.head = store.head_commit()
    for _ in range(2):
        store.set_head(store.add_commit(chain.grow()))
    return store


def test_log_shows_the_history_newest_first_also_beside_a_writer(run: Run, created: Path, chain: Chain) -> None:
    with grown(created, chain):
        lines = run("log", "--oneline").stdout.splitlines()
        assert [line.partition("round ")[2][0] for line in lines] == ["2", "1", "0"]
        assert lines[0].startswith(chain.head.digest.hex()[:12])
        (newest,) = [json.loads(line) for line in run("log", "--json", "-n", 1).stdout.splitlines()]
        assert newest["commit"] == chain.head.digest.hex()
        assert newest["contributions"][0] | {"peer": "", "payload": ""} == {
            "peer": "", "payload": "", "samples": 160, "steps": 20, "loss": 3.25, "share": "1", "clip": 1.0, "bytes": 7,
        }  # fmt: skip
        table = run("log").stdout
        assert "contributors" in table
        assert chain.head.digest.hex()[:12] in table


def test_of_several_events_the_running_nodes_is_meant(
    run: Run, created: Path, event_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Home(created).find_event()
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert run("event", "create", event_file).exit_code == 0
    failed(run("event", "create", event_file), "is this very event already", "seed")
    result = run("event", "amendments")
    assert result.exit_code == 1
    assert result.stderr.count("(sample)") == 2
    running = {"event_id": first.manifest().open().digest.hex()}
    monkeypatch.setattr("collab.node.control.socket.call", lambda home, request: running)
    assert run("event", "amendments").exit_code == 0


def test_status_of_a_stopped_node(run: Run, created: Path, chain: Chain) -> None:
    grown(created, chain).close()
    view = json.loads(run("status", "--json").stdout)
    assert (view["running"], view["round"], view["commit"]) == (False, 2, chain.head.digest.hex())
    assert view["event"] == "sample"
    assert "learned up to round 2" in run("status").stdout
    assert "`collab-node seed` starts it again" in " ".join(run("status").stdout.replace("│", " ").split())


def test_status_of_a_running_node_is_what_it_says(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(home: Path, request: str) -> dict[str, Any]:
        assert request == "status"
        return {"event": "demo", "event_id": "ab", "peer": "12D3", "round": 5, "phase": "voting"}

    monkeypatch.setattr("collab.node.reading.call", answer)
    assert "Round 6: voting" in run("status").stdout


def test_export_refuses_what_it_cannot_do(run: Run, created: Path, chain: Chain, tmp_path: Path) -> None:
    failed(run("export", tmp_path / "x", "--format", "pickle"), "--format is safetensors", code=2)
    failed(run("export", tmp_path), "already there")
    failed(run("export", tmp_path / "x", "--round", 9), "no commit of round 9")
    grown(created, chain).close()
    failed(run("export", tmp_path / "x"), "lacks what the weights of round 2 are made of")
    assert not (tmp_path / "x").exists()


def replace_daemon(monkeypatch: pytest.MonkeyPatch, run_node: Callable[[NodeOptions], int]) -> None:
    """Put `run_node` in place of the daemon, which is not even imported."""
    module = ModuleType("collab.node.daemon")
    monkeypatch.setattr(module, "run_node", run_node, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[NodeOptions]:
    """What the daemon was asked to do."""
    asked: list[NodeOptions] = []

    def run_node(options: NodeOptions) -> int:
        asked.append(options)
        return 0

    replace_daemon(monkeypatch, run_node)
    return asked


def test_seed_runs_the_event_of_this_home(run: Run, created: Path, started: list[NodeOptions]) -> None:
    assert run("seed", "--host", "127.0.0.1", "--port", 4001).exit_code == 0
    assert run("seed", "--train", "--max-rounds", 3, "--display", "plain").exit_code == 0
    first, second = started
    assert (first.event, first.invite, first.trains, first.serves) == (only_event(created), None, False, True)
    assert (first.settings.host, first.settings.port) == ("127.0.0.1", 4001)
    assert (second.trains, second.serves, second.max_rounds, second.display) == (True, False, 3, "plain")
    assert first.home.path == created


def test_join_passes_the_invite_on(run: Run, home: Path, started: list[NodeOptions], tmp_path: Path) -> None:
    config = tmp_path / "settings.toml"
    config.write_text("threads = 2\nlog_format = 'json'")
    invite = Invite(event=bytes(32), bootstrap=(ADDRESS,))
    assert run("join", invite.text(), "--config", config, "--no-train").exit_code == 0
    (options,) = started
    assert (options.invite, options.event, options.trains) == (invite, bytes(32), False)
    assert (options.settings.threads, options.settings.log_format) == (2, "json")
    assert options.folder.path.parent == home / "events"


def test_join_refuses_what_is_wrong_before_it_starts(run: Run, home: Path, started: list[NodeOptions]) -> None:
    good = Invite(event=bytes(32), bootstrap=(ADDRESS,)).text()
    failed(run("join", "hello"), "an invite starts with")
    failed(run("join", good[:-6]), "incomplete or mistyped")
    failed(run("join", good, "--device", "abacus"), "--device: it should be 'auto', 'cpu' or 'cuda'")
    failed(run("join", good, "--display", "loud"), "--display is auto, live or plain", code=2)
    failed(run("join", good, "--config", "none.toml"), "there is no settings file")
    assert started == []
    assert not home.exists()


def test_the_daemons_errors_and_exit_code_are_the_commands(run: Run, created: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_daemon(monkeypatch, lambda options: 3)
    assert run("seed").exit_code == 3

    def taken(options: NodeOptions) -> int:
        raise UserError("port 4001 is taken", "choose another with --port")

    replace_daemon(monkeypatch, taken)
    failed(run("seed"), "error: port 4001 is taken", "hint: choose another with --port")

    def interrupted(options: NodeOptions) -> int:
        raise KeyboardInterrupt

    replace_daemon(monkeypatch, interrupted)
    assert run("seed").exit_code == 130


def test_not_running_is_a_user_error() -> None:
    assert issubclass(NotRunning, UserError)


@pytest.mark.parametrize("name", ["file/key", "no" * 200])
def test_a_place_that_cannot_be_written_is_said_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "word").write_text("a passphrase of some length")
    home = ["--home", str(tmp_path / "home")]
    arguments = ["key", "backup", str(tmp_path / name), "--passphrase-file", str(tmp_path / "word"), *home]
    keys.load_or_create(Home(tmp_path / "home").identity_path)
    result = CliRunner().invoke(app, arguments, prog_name="collab-node")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: cannot write")
    assert len(result.stderr.splitlines()) == 2
