"""A key that is backed up, and comes back on another machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_kit import Run, collab_node
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.node import key_backup, keys
from collab.node.errors import UserError
from collab.protocol.identity import Identity

IDENTITY = Identity(bytes(range(32)))
WORDS = "correct horse battery"


@pytest.fixture(scope="module")
def sealed() -> str:
    return key_backup.seal(IDENTITY, WORDS)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return collab_node


def test_what_was_sealed_comes_back(sealed: str) -> None:
    assert key_backup.unseal(sealed, WORDS).seed == IDENTITY.seed
    assert key_backup.peer_of(sealed) == IDENTITY.peer_id
    assert IDENTITY.seed.hex() not in sealed
    assert key_backup.seal(IDENTITY, WORDS) != sealed


def test_a_wrong_passphrase_opens_nothing(sealed: str) -> None:
    with pytest.raises(UserError, match="the passphrase is wrong, or the backup was changed"):
        key_backup.unseal(sealed, WORDS + "!")
    with pytest.raises(UserError, match="fewer than 8 letters"):
        key_backup.seal(IDENTITY, "short")


@settings(max_examples=12)
@given(position=st.integers(0, 400), letter=st.characters(min_codepoint=32, max_codepoint=126))
def test_a_changed_backup_is_refused(sealed: str, position: int, letter: str) -> None:
    position %= len(sealed) - 1
    changed = sealed[:position] + letter + sealed[position + 1 :]
    if changed != sealed:
        with pytest.raises(UserError):
            key_backup.unseal(changed, WORDS)


@settings(max_examples=60)
@given(text=st.text(max_size=300) | st.text(max_size=200).map(lambda text: "collab-node key backup, version 1\n" + text))
def test_any_text_is_refused_in_words(text: str) -> None:
    with pytest.raises(UserError):
        key_backup.unseal(text, WORDS)


def test_a_backup_of_the_future_says_so(sealed: str) -> None:
    with pytest.raises(UserError, match="version '2'"):
        key_backup.peer_of(sealed.replace("version 1", "version 2"))


def test_moving_to_another_machine_keeps_the_identity(run: Run, tmp_path: Path) -> None:
    first, second, file = tmp_path / "first", tmp_path / "second", tmp_path / "key.backup"
    words = tmp_path / "words"
    words.write_text(WORDS + "\nanother line\n")
    keys.create(first / "identity.key", IDENTITY)
    result = run("key", "backup", file, "--home", first, "--passphrase-file", words)
    assert result.exit_code == 0, result.output
    assert file.stat().st_mode & 0o777 == 0o600
    assert run("key", "restore", file, "--home", second, "--passphrase-file", words).exit_code == 0
    assert run("key", "show", "--home", second).stdout.strip() == IDENTITY.peer_id
    assert (second / "identity.key").stat().st_mode & 0o777 == 0o600
    assert (second / "identity.key").read_text() == (first / "identity.key").read_text()


def test_nothing_is_overwritten_and_nobody_is_asked_without_a_terminal(run: Run, tmp_path: Path, sealed: str) -> None:
    home, file, words = tmp_path / "home", tmp_path / "key.backup", tmp_path / "words"
    words.write_text(WORDS)
    assert "there is no key" in run("key", "backup", file, "--home", home).stderr
    keys.create(home / "identity.key", IDENTITY)
    refused = run("key", "backup", file, "--home", home)
    assert (refused.exit_code, "--passphrase-file" in refused.stderr, file.exists()) == (2, True, False)
    file.write_text(sealed)
    assert "already there" in run("key", "backup", file, "--home", home, "--passphrase-file", words).stderr
    assert "this very key is already here" in run("key", "restore", file, "--home", home, "--passphrase-file", words).stderr
    keys.create(tmp_path / "other" / "identity.key")
    other = run("key", "restore", file, "--home", tmp_path / "other", "--passphrase-file", words)
    assert (other.exit_code, "there is already a key" in other.stderr) == (1, True)
    assert "cannot read" in run("key", "restore", tmp_path / "none", "--home", tmp_path / "x").stderr
    assert "cannot read" in run("key", "restore", file, "--home", tmp_path / "x", "--passphrase-file", tmp_path / "none").stderr
    file.write_text("hello")
    assert "no key backup" in run("key", "restore", file, "--home", tmp_path / "x").stderr
