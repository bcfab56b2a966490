"""`checkout`, `export` and `import`: versions out, and in as the root of a new event."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from command_kit import EVENT, Run
from history.kit import World
from safetensors.torch import load_file

from collab.node.errors import StoreFull
from collab.node.files import atomic_write
from collab.node.history import checkout
from collab.node.home import Home
from collab.node.store import Store
from collab.node.trainer.state import SharedState
from collab.protocol.commit import Commit
from collab.protocol.event import EventManifest


def same(found: dict[str, torch.Tensor], state: SharedState) -> bool:
    weights = state.weights
    return found.keys() == weights.keys() and all(torch.equal(found[name], weights[name]) for name in weights)


def test_a_version_is_checked_out_bit_for_bit(run: Run, world: World, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    done = run("checkout", "v1.0.0", folder, "--json", home=world.home.path)
    assert done.exit_code == 0, done.output
    commit = world.store.at_round(2)
    assert commit is not None
    told, state = json.loads(done.stdout), world.store.commit(commit).state.hex()
    assert told == {"path": str(folder), "event": world.event.name, "commit": commit.hex(), "round": 2, "state": state}
    assert same(load_file(folder / "model.safetensors"), world.states[commit])
    note = json.loads((folder / "collab-node.json").read_text())
    assert (note["commit"], note["round"], note["event_id"]) == (commit.hex(), 2, world.event.digest.hex())
    assert os.listdir(tmp_path) == ["out"]


def test_an_earlier_checkout_is_replaced_when_asked(
    run: Run, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def quick(event: EventManifest, store: Store, commit: Commit, out: Path) -> None:
        atomic_write(out, commit.digest)

    monkeypatch.setattr("collab.node.export.export_weights", quick)
    weights = tmp_path / "out" / "model.safetensors"
    assert run("checkout", "@1", weights.parent, home=world.home.path).exit_code == 0
    assert "holds an earlier checkout" in run("checkout", "@2", weights.parent, home=world.home.path).stderr
    assert weights.read_bytes() == world.store.at_round(1)
    assert run("checkout", "@2", weights.parent, "--force", home=world.home.path).exit_code == 0
    assert weights.read_bytes() == world.store.at_round(2)
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("words", [(), ("--force",)])
def test_what_is_no_checkout_is_never_replaced(run: Run, world: World, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("more work")
    for place in ("mine", "file"):
        done = run("checkout", "main", tmp_path / place, *words, home=world.home.path)
        assert "already there, and no checkout" in done.stderr
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "more work"


def test_a_checkout_that_fails_leaves_what_was_there(
    run: Run, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / checkout.NOTE).write_text("{}")

    async def full(*_: object) -> None:
        raise StoreFull(folder)

    monkeypatch.setattr("collab.node.export.export_weights", full)
    done = run("checkout", "main", folder, "--force", home=world.home.path)
    assert "no space left" in done.stderr
    assert os.listdir(folder) == [checkout.NOTE]
    assert not list(tmp_path.glob(".*"))


def test_flags_that_cannot_be_together(run: Run, world: World, tmp_path: Path) -> None:
    assert "--format is safetensors or transformers" in run(
        "checkout", "main", tmp_path / "x", "--format", "pickle", home=world.home.path
    ).stderr
    assert "choose one" in run("export", tmp_path / "x", "--rev", "main", "--round", 1, home=world.home.path).stderr
    assert "no branch, tag or commit" in run("export", tmp_path / "x", "--rev", "zz", home=world.home.path).stderr


def test_a_checkout_for_transformers_becomes_the_root_of_a_new_event(run: Run, world: World, tmp_path: Path) -> None:
    done = run("export", tmp_path / "out", "--rev", "side", "--format", "transformers", home=world.home.path)
    assert done.exit_code == 0, done.output
    side = world.store.refs.get("heads/side")
    assert side is not None
    (tmp_path / "event.toml").write_text(EVENT)
    done = run("import", tmp_path / "out", "--event-file", tmp_path / "event.toml", home=tmp_path / "new")
    assert done.exit_code == 0, done.output
    folder = Home(tmp_path / "new").find_event()
    event = folder.manifest().open()
    assert event.start.state == world.states[side].hash()
    assert event.start.seed is None
    with Store.open(folder.store_path, read_only=True) as store:
        root = store.head_commit()
        assert root.method == "root"
        assert root.digest.hex() in done.stdout
        snapshot = store.snapshot_of(root.digest)
        assert snapshot is not None
        assert same(load_file(store.blobs.path(snapshot)), world.states[side])
    assert not list(folder.path.rglob("checkpoint*"))


def test_an_import_of_something_else_makes_no_event(run: Run, tmp_path: Path) -> None:
    (tmp_path / "event.toml").write_text(EVENT)
    (tmp_path / "weights").write_bytes(b"not weights")
    problems = {"none": "there is no checkpoint", "weights": "is not a safetensors file", ".": "has no config.json"}
    for source, why in problems.items():
        done = run("import", tmp_path / source, "--event-file", tmp_path / "event.toml", home=tmp_path / "new")
        assert done.exit_code == 1
        assert why in done.stderr
    events = Home(tmp_path / "new").events_path
    assert not events.exists() or os.listdir(events) == []


VICTIM = """
import os, signal, sys
from pathlib import Path
from collab.node.history import checkout
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
point, folder = sys.argv[1], Path(sys.argv[2])
if point == "written":
    checkout.sync = die
elif point == "replaced":
    checkout.os.rename = die
with checkout._replacing(folder, True) as staging:
    (staging / checkout.NOTE).write_text("new")
"""


@pytest.mark.parametrize("point", ["written", "replaced"])
def test_what_a_killed_checkout_left_goes_with_the_next(tmp_path: Path, point: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / checkout.NOTE).write_text("old")
    killed = subprocess.run([sys.executable, "-c", VICTIM, point, str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not folder.exists() or (folder / checkout.NOTE).read_text() == "old"
    assert list(tmp_path.glob(".out.*.tmp"))
    with checkout._replacing(folder, True) as staging:
        (staging / checkout.NOTE).write_text("new")
    assert (folder / checkout.NOTE).read_text() == "new"
    assert os.listdir(tmp_path) == ["out"]
