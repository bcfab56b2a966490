"""`release` and `releases`: the version follows from the weights, and the record carries why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from history.kit import BOB, World
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from collab.node.cli.app import app
from collab.node.releases.publish import Desk

Told = Callable[..., dict[str, Any]]


def test_the_version_follows_from_what_changed(world: World, told: Told, do: Callable[..., str]) -> None:
    first = told("release", "@1", "--message", "the first one")
    assert (first["version"], first["evidence"], first["missing_signatures"]) == ("1.0.0", None, 0)
    small = told("release", "@2")
    assert (small["version"], small["bump"]) == ("1.0.1", "patch")
    assert 0 < small["evidence"]["changed"] < 0.1
    large = told("release", "@3")
    assert (large["version"], large["bump"]) == ("2.0.0", "major")
    assert large["previous"] == small["record"]
    assert world.store.refs.get("tags/v1.0.1") == world.store.at_round(2)
    assert [line.split()[0] for line in do("releases", "list").splitlines()] == ["2.0.0", "1.0.1", "1.0.0"]
    assert "contribution of 8 samples merged" in told("releases", "show", "v1.0.1")["changelog"]
    assert "the first one" in do("releases", "show", "1.0.0")


def test_a_maintainer_may_raise_and_never_lower(told: Told, refuse: Callable[..., str]) -> None:
    told("release", "@1", "--version", "0.9.0")
    assert told("release", "@2", "--version", "0.10.0", "--dry-run")["version"] == "0.10.0"
    line = refuse("release", "@3", "--version", "0.9.1")
    assert line.startswith("error: 0.9.1 is too low: ")
    assert line.endswith("so it is at least 1.0.0")
    assert told("release", "@2")["version"] == "0.9.1"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("release", "@1"), "that commit is release 1.0.0 already"),
        (("release", "@2", "--version", "two"), "'two' is no version"),
        (("release", "@99"), "no commit of round 99"),
        (("release", "@2", "--verdicts", "none.json"), "cannot read none.json"),
        (("releases", "show", "7.0.0"), "there is no release 7.0.0"),
        (("releases", "sign"), "nothing waits for a signature"),
        (("releases", "pull", "nowhere"), "nowhere holds no releases"),
        (("releases", "maintainers", "me"), "is not the peer id"),
    ],
)
def test_bad_input_is_one_line(words: tuple[str, ...], why: str, told: Told, refuse: Callable[..., str]) -> None:
    told("release", "@1")
    assert why in refuse(*words)


def test_a_home_whose_key_is_gone_is_one_line(world: World, refuse: Callable[..., str]) -> None:
    world.home.identity_path.unlink()
    for words in (("release", "@1"), ("status",)):
        assert refuse(*words) == f"error: there is no key {world.home.identity_path} yet"


def test_an_export_has_weights_a_card_and_a_citation(world: World, do: Callable[..., str], tmp_path: Path) -> None:
    do("release", "@1")
    do("release", "@2", "--message", "<b>--- bold</b>", "--licence", "Apache-2.0")
    do("releases", "export", "1.0.1", tmp_path / "out")
    commit = world.store.at_round(2)
    assert commit is not None
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert all((weights[name] == tensor).all() for name, tensor in world.states[commit].weights.items())
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "safetensors")
    assert "<b>" not in card.text
    assert commit.hex() in card.text
    cited = yaml.safe_load((tmp_path / "out" / "CITATION.cff").read_text())
    assert (cited["cff-version"], cited["version"], len(cited["authors"])) == ("1.2.0", "1.0.1", 2)
    assert json.loads((tmp_path / "out" / "collab-node.json").read_text())["commit"] == commit.hex()


def test_what_a_release_needs_is_never_garbage(world: World, do: Callable[..., str]) -> None:
    do("release", "@1")
    do("gc")
    desk = Desk(world.home.find_event(), world.event, world.store)
    assert [made.version for made in desk.known()] == ["1.0.0"]


def test_two_maintainers_hand_a_release_to_each_other(world: World, do: Callable[..., str], tmp_path: Path) -> None:
    other, shared = tmp_path / "other", tmp_path / "shared"
    shutil.copytree(world.home.path, other)
    (other / "identity.key").write_text(BOB.seed.hex())
    do("releases", "maintainers", world.event.coordinator, BOB.peer_id, "--threshold", "2")
    for words, home in (
        (("push", shared), None), (("pull", shared), other), (("sign",), other), (("push", shared), other),
        (("pull", shared), None),
    ):  # fmt: skip
        do("releases", *words, home=home)
    assert "2 of these" in do("releases", "maintainers")
    assert "waits for 1 more signature" in do("release", "@1")
    assert do("releases", "list") == "no releases\n"
    do("releases", "push", shared)
    assert "none" in do("releases", "pull", shared, home=other)
    assert do("releases", "sign", home=other) == "signed release 1.0.0, which is in effect now\n"
    do("releases", "push", shared, home=other)
    assert do("releases", "pull", shared) == "1 release, the newest 1.0.0\n"
    assert world.store.refs.get("tags/v1.0.0") == world.store.at_round(1)


def test_modules_build_on_an_exported_release(do: Callable[..., str], told: Told, tmp_path: Path) -> None:
    do("release", "@1")
    do("releases", "export", "1.0.0", tmp_path / "out")
    do("module", "pack", tmp_path / "out", "--index", tmp_path / "index")
    (tmp_path / "head").mkdir()
    (tmp_path / "head" / "module.toml").write_text('name = "head"\nversion = "0.1.0"\nkind = "head"\nrequires = ["sample ^1"]\n')
    save_file({"classes.weight": torch.zeros(1, 8)}, tmp_path / "head" / "head.safetensors")
    (tmp_path / "head" / "head.json").write_text('{"labels": ["poem"]}')
    do("module", "pack", tmp_path / "head", "--index", tmp_path / "index")
    found = CliRunner().invoke(app, ["add", "head", "--index", str(tmp_path / "index"), "--dir", str(tmp_path), "--json"])
    assert [row["name"] for row in json.loads(found.stdout)["packages"]] == ["head", "sample"]


def test_a_releases_words_steer_no_terminal(do: Callable[..., str]) -> None:
    do("release", "@1", "-m", "new\x1b[2J\n\x1b]0;owned\x07 words")
    for words in (("releases", "list"), ("releases", "show", "1.0.0")):
        assert "new" in do(*words)
        assert not any(letter in do(*words) for letter in "\x1b\x07")
