"""Settings: file, environment and flags, and where a wrong one came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from collab.node.errors import UserError
from collab.node.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in Settings.model_fields:
        monkeypatch.delenv(f"COLLAB_{name.upper()}", raising=False)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text('port = 1000\nthreads = 2\nhost = "10.0.0.1"\nannounce = ["/ip4/10.0.0.1/tcp/1"]\n')
    return path


def test_defaults() -> None:
    settings = load_settings()
    assert settings.host == "0.0.0.0"
    assert settings.metrics_host == "127.0.0.1"
    assert settings.home.name == "collab-node"


def test_flags_before_environment_before_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAB_PORT", "2000")
    monkeypatch.setenv("collab_threads", "3")
    monkeypatch.setenv("COLLAB_DEVICE", "")
    settings = load_settings(config, {"threads": 4, "device": None})
    assert (settings.port, settings.threads, settings.host, settings.device) == (2000, 4, "10.0.0.1", "auto")
    assert settings.announce == ("/ip4/10.0.0.1/tcp/1",)


def test_lists_in_the_environment_have_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAB_ANNOUNCE", "/dns4/a/tcp/1, /dns4/b/tcp/2,")
    assert load_settings().announce == ("/dns4/a/tcp/1", "/dns4/b/tcp/2")


def test_other_variables_with_our_prefix_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAB_TEST_PROCESSES", "2")
    load_settings()


def test_the_users_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "config" / "collab-node" / "collab-node.toml"
    path.parent.mkdir(parents=True)
    path.write_text("port = 7")
    assert load_settings().port == 7


def test_home_folders_are_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings(flags={"home": "~/node"}).home == tmp_path / "node"


def test_a_wrong_flag_is_named(config: Path) -> None:
    with pytest.raises(UserError, match=r"^--port: it should be less than or equal to 65535 \(not 70000\)$"):
        load_settings(config, {"port": 70000})


def test_a_wrong_variable_is_named(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLAB_DEVICE", "abacus")
    with pytest.raises(UserError, match=r"^COLLAB_DEVICE: it should be 'auto', 'cpu' or 'cuda'"):
        load_settings(config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("port = 'x'", "^port in .*settings.toml: it should be a whole number"),
        ("prot = 1", "^prot in .*settings.toml: there is no such setting"),
        ("port = ", "is not TOML"),
        ("[port]", "^port in "),
    ],
)
def test_a_wrong_file_is_named(config: Path, text: str, message: str) -> None:
    config.write_text(text)
    with pytest.raises(UserError, match=message):
        load_settings(config)


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no settings file"):
        load_settings(tmp_path / "missing.toml")
    with pytest.raises(UserError, match="cannot read the settings file"):
        load_settings(tmp_path)
