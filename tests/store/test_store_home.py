"""The home's layout, space, socket path; atomic files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from store_samples import COORDINATOR, manifest

from collab.node.errors import UserError, disk_errors
from collab.node.files import atomic_write
from collab.node.home import Home
from collab.protocol.manifest import SignedManifest


def test_an_event_folder_keeps_its_signed_manifest(tmp_path: Path) -> None:
    home = Home(tmp_path)
    event = manifest()
    folder = home.event(event.digest)
    assert folder.path == tmp_path / "events" / event.digest.hex()[:16]
    assert not folder.exists()
    assert home.events() == []
    signed = SignedManifest.seal(COORDINATOR, event)
    folder.save_manifest(signed)
    assert home.events() == [folder]
    assert home.find_event() == folder
    assert home.find_event(event.digest.hex()) == folder
    assert folder.manifest() == signed
    assert folder.store_path.parent == folder.worker_path.parent == folder.path


def test_which_event_is_meant(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with pytest.raises(UserError, match="has no event") as nothing:
        home.find_event()
    assert "event create" in nothing.value.hint
    for name in ("aa00", "ab00"):
        (home.events_path / name).mkdir(parents=True)
        (home.events_path / name / "manifest").touch()
    (home.events_path / "half").mkdir()
    with pytest.raises(UserError, match="several events: aa00, ab00"):
        home.find_event()
    assert home.find_event("AB").path.name == "ab00"
    with pytest.raises(UserError, match="no event that starts with 12"):
        home.find_event("12")


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    folder = Home(tmp_path).event(manifest().digest)
    folder.path.mkdir(parents=True)
    folder.manifest_path.write_bytes(b"\x80")
    with pytest.raises(UserError, match="is damaged"):
        folder.manifest()
    folder.manifest_path.unlink()
    with pytest.raises(UserError, match="cannot read"):
        folder.manifest()


def test_the_control_socket_fits_however_deep_the_home_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")
    assert Home(Path("/home/me")).control_path == Path("/home/me/control.sock")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    deep = tmp_path / ("d" * 100)
    path = Home(deep).control_path
    assert path.parent == tmp_path / "collab-node"
    assert path == Home(deep).control_path != Home(deep / "other").control_path
    path.parent.chmod(0o755)
    with pytest.raises(UserError, match="not a private folder"):
        _ = Home(deep).control_path


def test_space_is_asked_for_before_it_is_needed(tmp_path: Path) -> None:
    home = Home(tmp_path / "not" / "there" / "yet")
    home.ensure_space(1)
    with pytest.raises(UserError, match="MiB are needed"):
        home.ensure_space(1 << 60)


def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        Home(tmp_path / "file" / "home").prepare()


def test_files_appear_whole_with_their_mode(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    atomic_write(path, b"one", 0o600)
    atomic_write(path, b"two", 0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["file"]


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), disk_errors(tmp_path):
        (tmp_path / "nothing").read_bytes()
