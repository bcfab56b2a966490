"""The systemd unit: what is in it, that systemd takes it, and that it comes and goes whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from daemon.kit import EVENT
from rounds.worlds import identity
from typer.testing import CliRunner

from collab.node import keys
from collab.node.cli.app import app
from collab.node.errors import UserError
from collab.node.home import Home
from collab.node.hosting.service import UNIT, install, remove, run_systemctl, unit_text
from collab.protocol.invite import Invite
from collab.protocol.manifest import SignedManifest

COMMAND = [sys.executable, "-m", "collab.node", "join", "--home", "/srv/a node"]


def test_the_unit_has_what_it_needs() -> None:
    lines = unit_text(COMMAND, Path("/srv/a node")).splitlines()
    assert f'ExecStart={sys.executable} -m collab.node join --home "/srv/a node"' in lines
    assert any(line.startswith("Environment=") and "PYTHONSAFEPATH=1" in line for line in lines)
    assert {"Restart=on-failure", "NoNewPrivileges=yes", "ProtectSystem=strict", 'ReadWritePaths="/srv/a node"'} <= set(lines)


def test_what_systemd_would_read_otherwise_is_quoted() -> None:
    text = unit_text(["/bin/x", "100%", "$HOME", 'say "hi"', "back\\slash"], Path("/srv"))
    assert 'ExecStart=/bin/x 100%% "$$HOME" "say \\"hi\\"" "back\\\\slash"' in text
    with pytest.raises(UserError, match="control character"):
        unit_text(["/bin/x", "a\nExecStartPost=/bin/y"], Path("/srv"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    unit = tmp_path / UNIT
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}

    def verify(text: str) -> str:
        unit.write_text(text)
        command = ["systemd-analyze", "--user", "verify", str(unit)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False).stderr

    text = unit_text(COMMAND, Path("/srv/a node"))
    assert UNIT not in verify(text)
    assert UNIT in verify(text.replace("Nice=5", "Nice=banana"))


class Systemd:
    """Notes the commands; from the `fails`-th on they fail."""

    def __init__(self, fails: int = 99) -> None:
        self.fails = fails
        self.commands: list[str] = []

    def run(self, command: Sequence[str]) -> None:
        self.commands.append(" ".join(command[2:]))
        if len(self.commands) >= self.fails:
            raise UserError("no bus")


def test_a_unit_comes_and_goes(tmp_path: Path) -> None:
    path, systemd = tmp_path / "user" / UNIT, Systemd()
    install("unit", path, systemd.run)
    assert path.read_text() == "unit"
    remove(path, systemd.run)
    assert not path.exists()
    assert systemd.commands == ["daemon-reload", f"enable --now {UNIT}", f"disable --now {UNIT}", "daemon-reload"]
    with pytest.raises(UserError, match="there is no unit"):
        remove(path, systemd.run)


def test_an_install_that_fails_leaves_nothing_new(tmp_path: Path) -> None:
    path = tmp_path / UNIT
    with pytest.raises(UserError, match="no bus"):
        install("unit", path, Systemd(fails=2).run)
    assert not path.exists()
    path.write_text("older")
    with pytest.raises(UserError, match="no bus"):
        install("unit", path, Systemd(fails=2).run)
    assert path.exists()


def test_systemds_words_are_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="this machine has no systemd"):
        run_systemctl(["no-such-systemctl"])
    with pytest.raises(UserError, match="No such file or directory"):
        run_systemctl(["ls", "/no/such/place"])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home with the event, which identity 0 has created, and nothing else."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    made = Home(tmp_path / "home")
    made.prepare()
    made.event(EVENT.digest).save_manifest(SignedManifest.seal(identity(0), EVENT))
    return made


def unit(home: Home, *words: str) -> str:
    """The unit that would be written for a home."""
    result = CliRunner().invoke(app, ["service", "install", "--dry-run", "--home", str(home.path), *words])
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_where_the_event_was_joined_the_unit_joins_without_the_invite(home: Home, tmp_path: Path) -> None:
    home.event(EVENT.digest).invite_path.write_text(Invite(event=EVENT.digest, bootstrap=("/ip4/1.2.3.4/tcp/1",)).text())
    text = unit(home)
    assert f" join --home {home.path} --event {EVENT.digest.hex()[:16]} --display plain" in text
    assert "collab1-" not in text
    assert " --no-train --display" in unit(home, "--no-train")
    assert not (tmp_path / "config").exists()
    assert "would stop" in CliRunner().invoke(app, ["service", "remove", "--dry-run"]).stdout


def test_where_the_event_was_created_the_unit_seeds(home: Home, tmp_path: Path) -> None:
    keys.create(home.identity_path, identity(0))
    (tmp_path / "settings.toml").write_text("port = 4001\n")
    text = unit(home, "--train", "--config", str(tmp_path / "settings.toml"))
    which = f"--event {EVENT.digest.hex()[:16]} --config {tmp_path}/settings.toml"
    assert f" seed --home {home.path} {which} --train --display plain --log-file {home.log_path}\n" in text
    assert {"RestartPreventExitStatus=2 3", f"ReadWritePaths={home.path}"} <= set(text.splitlines())
    assert f"--event {EVENT.digest.hex()[:16]} --display plain" in unit(home)


def test_a_unit_needs_an_event_that_can_be_taken_up_again(home: Home, tmp_path: Path) -> None:
    for path, said in ((home.path, "INVITE is missing"), (tmp_path / "empty", "has no event")):
        result = CliRunner().invoke(app, ["service", "install", "--dry-run", "--home", str(path)])
        assert (result.exit_code != 0, result.stdout, said in result.stderr) == (True, "", True)
