"""A small real history, made once, in homes of several people."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from history_integrity.samples import Sample, make_sample
from typer.testing import CliRunner, Result

from collab.node.cli.app import app
from collab.node.home import Home
from collab.node.keys import load_or_create
from collab.protocol.event import Data

sys.path.append(str(Path(__file__).parents[2] / "scripts"))  # where the sample's history is made


@dataclass(frozen=True)
class Person(Sample):
    """Somebody's home, and how `collab-node` is run in it."""

    def run(self, *arguments: object) -> Result:
        return CliRunner().invoke(app, [*(str(each) for each in arguments), "--home", str(self.path)], prog_name="collab-node")

    def ok(self, *arguments: object) -> str:
        done = self.run(*arguments)
        assert done.exit_code == 0, done.output
        return done.stdout

    def ok_without_home(self, *arguments: object) -> str:
        """For commands that know no home."""
        done = CliRunner().invoke(app, [str(each) for each in arguments], prog_name="collab-node")
        assert done.exit_code == 0, done.output
        return done.stdout

    def refs(self) -> dict[str, bytes]:
        with self.store(read_only=True) as store:
            return store.refs.all()

    def is_whole(self) -> None:
        """Nothing is wrong with the store, and nothing in it is of no use."""
        assert self.ok("fsck") == "no errors\n"


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    data = Data(source="text", path="text.txt", block=16, held_out=0.5, held_out_samples=8)
    return make_sample(tmp_path_factory.mktemp("remotes"), data=data)


@pytest.fixture
def settle(original: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Person]:
    """Make the home of somebody: the history, and a key of their own, but for the coordinator's, who is called alice."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLLAB_DATA_DIR", str(original.data))
    monkeypatch.setenv("COLLAB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def make(name: str) -> Person:
        path = tmp_path / name
        shutil.copytree(original.home.path, path)
        if name != "alice":
            Home(path).identity_path.unlink()
            load_or_create(Home(path).identity_path)
        return Person(path, original.data)

    return make


@pytest.fixture
def alice(settle: Callable[[str], Person]) -> Person:
    return settle("alice")


@pytest.fixture
def bob(settle: Callable[[str], Person], alice: Person) -> Person:
    """Knows alice as `alice`."""
    person = settle("bob")
    person.ok("remote", "add", "alice", alice.path)
    return person
