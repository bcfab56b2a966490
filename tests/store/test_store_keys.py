"""The identity file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collab.node.errors import UserError
from collab.node.keys import create, load, load_or_create
from collab.protocol.identity import Identity


def test_a_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / "identity.key"
    identity = load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_create(path).seed == identity.seed
    assert create(path).seed == identity.seed, "a key that is there is never replaced"
    assert os.listdir(path.parent) == ["identity.key"]


def test_raw_and_hex_files_are_read(tmp_path: Path) -> None:
    identity = Identity.generate()
    for name, content in (("raw", identity.seed), ("hex", identity.seed.hex().encode())):
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(0o600)
        assert load(path).peer_id == identity.peer_id


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_wide_permissions_are_refused_with_the_command_that_mends_them(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "identity.key"
    create(path)
    path.chmod(mode)
    with pytest.raises(UserError, match="can be read by others") as refused:
        load_or_create(path)
    assert refused.value.hint == f"chmod 600 {path}"
    assert refused.value.lines()[1] == f"hint: chmod 600 {path}"


@pytest.mark.parametrize("content", [b"", b"short", b"zz" * 32, b"00" * 33, bytes(31)])
def test_a_damaged_key_is_not_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "identity.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UserError, match="damaged"):
        load_or_create(path)
    assert path.read_bytes() == content


def test_a_folder_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a file"):
        load(tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="changing a file's owner needs root")
def test_somebody_elses_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "identity.key"
    create(path)
    os.chown(path, 12345, 12345)
    with pytest.raises(UserError, match="another user"):
        load(path)
