"""A new base re-tests the modules that were made for the old one: an adapter for one task, on a better base and a worse one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bench_gates.texts import TASKS, line
from bench_gates.world import World
from gates.planted import Planted, make_planted
from gates.test_gates_verdict import measurement
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from collab.node.cli.app import app
from collab.node.history.replay import replaying
from collab.node.modules.adapter import extract_adapter
from collab.node.modules.dependents import dependents_on
from collab.node.modules.index import Index
from collab.node.modules.pack import pack
from collab.node.proposals.merging import Plan, commit_of, keep_merge, try_merge
from collab.node.releases.card import model_card
from collab.node.releases.publish import Desk
from collab.protocol.dependent import Dependent, Gain
from collab.protocol.versions import Version

TASK = list(TASKS)[3]
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def planted(world: World, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Beside the root, which is the base that the module is for: the branches `better` and `worse`."""
    made = make_planted(world, tmp_path_factory.mktemp("bases"), {"improvement": 1, "regression": 3}, gate=())

    async def branches() -> None:
        with made.store() as store:
            root = store.head_commit()
            async with replaying(made.event, store, made.settings) as replay:
                for branch, kind in (("better", "improvement"), ("worse", "regression")):
                    plan = Plan("average", {}, "", 7)
                    merged = await try_merge(replay, store, made.identity, root, made.chosen(store, kind), plan)
                    keep_merge(store, f"heads/{branch}", None, commit_of(made.event, store, made.identity, merged))

    asyncio.run(branches())
    return made


@pytest.fixture(scope="module")
def index(planted: Planted, world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages: an adapter that was trained on one task, one that fits no base, a head, and one for another base."""
    folder = tmp_path_factory.mktemp("index")
    tuned = world.trained(partial(line, TASK), 24, 2e-3, 11)
    base, better = folder / "base.safetensors", folder / "tuned.safetensors"
    moves = {name for name, weight in world.base.items() if weight.ndim == 2 and name.endswith(".weight")}
    matrices = {name: tuned[name] if name in moves else weight for name, weight in world.base.items()}
    save_file(world.base, base)
    save_file(matrices, better)
    extract_adapter(base, better, folder / "adapter", 16)
    save_file({f"x{name}": weight for name, weight in world.base.items()}, folder / "strange")
    save_file({f"x{name}": weight for name, weight in matrices.items()}, folder / "strange-tuned")
    extract_adapter(folder / "strange", folder / "strange-tuned", folder / "unfit", 16)
    gate = f'[[gate]]\nname = "{TASK}"\nkind = "loss"\npath = "{TASK}.txt"\ntolerance = 0.03\n'
    for name, kind, requires in (
        ("adapter", "adapter", "planted ^1"), ("unfit", "adapter", "planted >=1"), ("head", "head", "planted"),
        ("other", "head", "planted ^2"),
    ):  # fmt: skip
        (folder / name).mkdir(exist_ok=True)
        manifest = f'name = "{name}"\nversion = "0.1.0"\nkind = "{kind}"\nrequires = ["{requires}"]\n{gate}'
        (folder / name / "module.toml").write_text(manifest)
        pack(folder / name, Index(folder / "packages"), planted.identity)
    return folder / "packages"


@pytest.fixture
def run(planted: Planted, index: Path, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    for variable, value in (("HOME", planted.home.path), ("DATA_DIR", world.folder), ("CACHE_DIR", world.folder / "cache")):
        monkeypatch.setenv(f"COLLAB_{variable}", str(value))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLLAB_INDEX", str(index))
    return lambda *words: CliRunner().invoke(app, [*map(str, words)], prog_name="collab-node")


def by_module(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["module"]: row for row in rows}


def test_the_packages_that_require_a_version_of_a_base(index: Path) -> None:
    opened = Index.open(index)
    names = {version: [held.package.module.name for held in dependents_on(opened, "planted", version)]
             for version in (None, Version(1, 0, 0), Version(2, 0, 0))}  # fmt: skip
    assert names == {
        None: ["adapter", "head", "other", "unfit"], Version(1, 0, 0): ["adapter", "head", "unfit"],
        Version(2, 0, 0): ["head", "other", "unfit"],
    }  # fmt: skip
    assert dependents_on(opened, "somebody", None) == []


def test_a_release_says_how_much_each_module_keeps(run: Run, planted: Planted, index: Path) -> None:
    assert run("release", "main").exit_code == 0
    result = run("release", "better", "--index", index, "--json")
    assert result.exit_code == 0, result.output
    rows = by_module(json.loads(result.stdout)["dependents"])
    assert set(rows) == {"adapter", "head", "unfit"}
    (gain,) = rows["adapter"]["gains"]
    assert gain["gate"] == TASK
    assert gain["before"] > 0
    assert gain["kept"] == pytest.approx(gain["after"] / gain["before"])
    assert gain["kept"] > 0.5
    assert gain["passed"]
    assert rows["head"]["problem"] == "a module of kind head cannot be put into a base here"
    assert "which the adapter changes" in rows["unfit"]["problem"]
    with planted.store() as store:
        released = Desk(planted.home.find_event(), planted.event, store).find("")
    assert f"adapter 0.1.0: {gain['kept']:.0%} of its gain kept" in model_card(planted.event, released, "safetensors")
    shown = run("releases", "show").stdout
    assert "of its gain kept" in shown


def test_a_base_that_spoils_a_module_is_an_exit_code(run: Run) -> None:
    result = run("test-dependents", "worse", "--against", "main", "--json")
    assert result.exit_code == 1, result.output
    (gain,) = by_module(json.loads(result.stdout)["dependents"])["adapter"]["gains"]
    assert (gain["passed"], gain["compared"]["gate"]) == (False, TASK)


def test_bad_input_is_one_line(run: Run, tmp_path: Path) -> None:
    for words, problem in (
        (("test-dependents", "--index", tmp_path), "is no index of packages"),
        (("test-dependents", "v9"), "v9"),
        (("test-dependents", "--against", "v9"), "v9"),
    ):
        result = run(*words)
        assert result.exit_code == 1
        assert problem in result.stderr
        assert len(result.stderr.splitlines()) <= 2


def test_a_share_is_of_what_there_was_to_keep() -> None:
    gain = Gain(before=0.5, after=0.25, compared=measurement())
    assert gain.kept == 0.5
    assert gain.sentence().startswith("50% of its gain kept; poetry passed")
    for before, after in ((0.0, 0.3), (-0.1, 0.3), (None, 0.3), (0.5, None)):
        without = Gain(before=before, after=after, compared=measurement())
        assert without.kept is None
        assert without.sentence().startswith("no gain to keep")
    failed = Gain(before=1.0, after=-1.0, compared=measurement(passed=False, reason="worse", change=0.5))
    module = Dependent(module="ner", version="1.0.0", package=bytes(32), gains=(gain, failed))
    assert (failed.kept, module.failed) == (-1.0, ["poetry"])
    assert Dependent.decode(module.encode()) == module
    assert Dependent(module="ner", version="1.0.0", package=bytes(32), problem="why").lines() == ["ner 1.0.0: not tested, why"]
