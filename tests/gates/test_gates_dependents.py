"""A new base re-tests the modules that were made for the old one, of every kind, on a better base and a worse one."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_gates.texts import TASKS, line
from bench_gates.world import Weights, World
from gates.planted import Planted, make_planted
from gates.test_gates_verdict import measurement
from safetensors.torch import save_file
from typer.testing import CliRunner, Result
from worker_kit import workers_in_threads

from collab.node.cli.app import app
from collab.node.history.replay import replaying
from collab.node.modules.adapter import extract_adapter
from collab.node.modules.dependents import dependents_on
from collab.node.modules.index import Index
from collab.node.modules.making import a_datastore, a_head, make
from collab.node.modules.pack import pack
from collab.node.proposals.merging import Plan, commit_of, keep_merge, try_merge
from collab.node.releases.card import model_card
from collab.node.releases.publish import Desk
from collab.protocol.dependent import Dependent, Gain, Measures
from collab.protocol.versions import Version

TASK = list(TASKS)[3]
LOSS = f'[[gate]]\nname = "{TASK}"\nkind = "loss"\npath = "{TASK}.txt"\ntolerance = 0.03\n'
TOPICS = '[[gate]]\nname = "topics"\nkind = "accuracy"\npath = "tasks.jsonl"\n'
FOREIGN = f'[interface]\ntokenizer = "{"00" * 32}"\ninputs = ["input_ids"]\noutputs = ["logits"]\n'
PACKAGES = {
    "adapter": ("adapter", "planted ^1", LOSS), "expert": ("expert", "planted ^1", LOSS), "head": ("head", "planted", TOPICS),
    "datastore": ("datastore", "planted ^1", LOSS), "unfit": ("adapter", "planted >=1", LOSS),
    "foreign": ("adapter", "planted ^1", FOREIGN + LOSS), "silent": ("adapter", "planted ^1", ""),
    "other": ("adapter", "planted ^2", LOSS),
}  # fmt: skip
"""By name: the kind, what it requires, and the rest of its module.toml."""
ALIKE = {"foreign": "adapter", "silent": "adapter", "other": "adapter"}
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

    with workers_in_threads():
        asyncio.run(branches())
    return made


def write_experts(folder: Path, tuned: Weights) -> None:
    """In each layer the feed-forward network of a model that was trained for the task counts for half."""
    tensors: Weights = {}
    for layer in ("layers.0", "layers.1"):
        tensors |= {f"{layer}.experts.1.{end}.weight": tuned[f"{layer}.feed_forward_{end}.weight"] for end in ("in", "out")}
        tensors[f"{layer}.router.weight"] = torch.zeros(2, 32)
    folder.mkdir()
    save_file(tensors, folder / "expert.safetensors")
    (folder / "expert.json").write_text('{"top_k": 2}')


@pytest.fixture(scope="module")
def modules(planted: Planted, world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a module of each kind, all made of the root, one that fits no base, and some that are not what they say."""
    folder = tmp_path_factory.mktemp("modules")
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
    write_experts(folder / "expert", tuned)
    chance = random.Random(4)
    rows = [{"text": line(task, chance), "label": task} for task in TASKS for _ in range(60)]
    (world.folder / "tasks.jsonl").write_text("\n".join(map(json.dumps, rows)))

    async def made() -> None:
        with planted.store() as store:
            place = planted.event, store, planted.settings, store.head_commit()
            await make(*place, a_head(folder / "head", path="tasks.jsonl", field="text", label="label"))
            await make(*place, a_datastore(
                folder / "datastore", path=f"{TASK}.txt", field="text", shard="", entries=3000,
                k=2, temperature=0.1, share=0.5,
            ))  # fmt: skip

    with workers_in_threads():
        asyncio.run(made())
    for name, (kind, requires, rest) in PACKAGES.items():
        if name in ALIKE:
            shutil.copytree(folder / ALIKE[name], folder / name)
        manifest = f'name = "{name}"\nversion = "0.1.0"\nkind = "{kind}"\nrequires = ["{requires}"]\n{rest}'
        (folder / name / "module.toml").write_text(manifest)
    return folder


@pytest.fixture(scope="module")
def index(planted: Planted, modules: Path) -> Path:
    """The modules as packages."""
    for name in PACKAGES:
        pack(modules / name, Index(modules / "packages"), planted.identity)
    return modules / "packages"


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
        None: sorted(PACKAGES), Version(1, 0, 0): sorted(set(PACKAGES) - {"other"}), Version(2, 0, 0): ["head", "other", "unfit"],
    }  # fmt: skip
    assert dependents_on(opened, "somebody", None) == []


def test_a_release_says_how_much_each_module_keeps(run: Run, planted: Planted, index: Path) -> None:
    assert run("release", "main").exit_code == 0
    result = run("release", "better", "--index", index, "--json")
    assert result.exit_code == 0, result.output
    rows = by_module(json.loads(result.stdout)["dependents"])
    assert set(rows) == set(PACKAGES) - {"other"}
    for name in ("adapter", "expert", "head", "datastore"):
        (gain,) = rows[name]["gains"]
        assert (rows[name]["kind"], gain["gate"]) == (name, "topics" if name == "head" else TASK)
        assert gain["before"] > 0
        assert gain["kept"] == pytest.approx(gain["after"] / gain["before"])
        assert gain["kept"] > 0.5
        assert gain["passed"]
        assert not rows[name]["failed"]
        sign = -1 if name == "head" else 1
        measures = gain["measures"]
        assert sign * (measures["older"] - measures["older_with"]) == pytest.approx(gain["before"], abs=1e-6)
        assert sign * (measures["newer"] - measures["newer_with"]) == pytest.approx(gain["after"], abs=1e-6)
    alone = {rows[name]["gains"][0]["measures"]["older"] for name in ("adapter", "expert", "datastore")}
    assert len(alone) == 1  # the same samples, however clear the answer was before
    assert "which the adapter changes" in rows["unfit"]["problem"]
    assert rows["foreign"]["problem"] == "it is for another tokenizer than the base's"
    assert [rows[name]["fits"] for name in ("unfit", "foreign", "silent")] == [False, False, True]
    assert rows["silent"]["problem"] == "it has no gates"
    with planted.store() as store:
        released = Desk(planted.home.find_event(), planted.event, store).find("")
    card, shown = model_card(planted.event, released, "safetensors"), run("releases", "show").stdout
    for name in ("adapter", "expert", "head", "datastore"):
        said = f"{name} 0.1.0 ({name}): {rows[name]['gains'][0]['kept']:.0%} of its gain kept"
        assert said in card
        assert said in shown
    assert "foreign 0.1.0 (adapter): does not fit, it is for another tokenizer" in shown


def test_a_base_that_spoils_a_module_is_an_exit_code(run: Run) -> None:
    result = run("test-dependents", "worse", "--against", "main", "--json")
    assert result.exit_code == 1, result.output
    rows = by_module(json.loads(result.stdout)["dependents"])
    (gain,) = rows["adapter"]["gains"]
    assert (gain["passed"], gain["compared"]["gate"], rows["adapter"]["failed"]) == (False, TASK, True)
    assert rows["expert"]["failed"]


def test_what_keeps_its_gain_is_exit_code_0_and_what_does_not_fit_is_1(
    run: Run, planted: Planted, modules: Path, tmp_path: Path
) -> None:
    pack(modules / "head", Index(tmp_path), planted.identity)
    kept = run("test-dependents", "better", "--against", "main", "--index", tmp_path)
    assert kept.exit_code == 0, kept.output
    assert "of its gain kept; topics passed" in kept.stdout
    assert "without and with it " in kept.stdout
    pack(modules / "foreign", Index(tmp_path), planted.identity)
    assert run("test-dependents", "better", "--against", "main", "--index", tmp_path).exit_code == 1


def test_what_is_installed_is_tried_on_a_version(
    run: Run, planted: Planted, modules: Path, index: Path, tmp_path: Path
) -> None:
    (tmp_path / "planted").mkdir()
    (tmp_path / "planted" / "module.toml").write_text('name = "planted"\nversion = "1.0.0"\nkind = "base"\n')
    shutil.copytree(index, tmp_path / "index")
    pack(tmp_path / "planted", Index(tmp_path / "index"), planted.identity)
    kinds = ("adapter", "expert", "head", "datastore")
    for words in (("add", *kinds), ("install",)):
        assert run(*words, "--index", tmp_path / "index", "--dir", tmp_path).exit_code == 0
    for name in kinds:
        result = run("module", "test", tmp_path / "modules" / name, "main", "--json")
        assert result.exit_code == 0, result.output
        (gate,) = json.loads(result.stdout)["gates"]
        better = gate["candidate"] - gate["base"] if name == "head" else gate["base"] - gate["candidate"]
        assert better > 0.01
    assert "topics" in run("module", "test", modules / "head", "main").stdout


def test_heads_and_datastores_are_made_by_a_command(run: Run, tmp_path: Path) -> None:
    assert "a head with 5 labels" in run("module", "head", "tasks.jsonl", tmp_path / "head", "main").stdout
    assert json.loads((tmp_path / "head" / "head.json").read_text()) == {"labels": sorted(TASKS)}
    words = ("--entries", 64, "--k", 3, "--lambda", 0.4, "--shard", "1/2")
    assert "with 64 entries" in run("module", "datastore", f"{TASK}.txt", tmp_path / "store", "main", *words).stdout
    written = json.loads((tmp_path / "store" / "datastore.json").read_text())
    assert written == {"k": 3, "temperature": 1.0, "lambda": 0.4}


def test_bad_input_is_one_line(run: Run, modules: Path, tmp_path: Path) -> None:
    for words, problem in (
        (("test-dependents", "--index", tmp_path), "is no index of packages"),
        (("test-dependents", "v9"), "v9"),
        (("test-dependents", "--against", "v9"), "v9"),
        (("module", "test", modules / "unfit", "main"), "which the adapter changes"),
        (("module", "test", modules / "foreign", "main"), "another tokenizer"),
        (("module", "test", modules / "silent", "main"), "it has no gates"),
        (("module", "test", tmp_path, "main"), "module.toml"),
        (("module", "apply", modules / "base.safetensors", modules / "expert", tmp_path / "out"), "is of kind expert"),
        (("module", "head", "nothing.jsonl", tmp_path / "out", "main"), "nothing.jsonl: put it there"),
        (("module", "head", "tasks.jsonl", modules, "main"), "is already there"),
        (("module", "datastore", "../x.txt", tmp_path / "out", "main"), "not a relative path"),
        (("module", "datastore", f"{TASK}.txt", tmp_path / "out", "main", "--entries", 4), "4 entries are fewer than the 8"),
        (("module", "datastore", "x.txt", tmp_path / "out", "main", "--lambda", 1), "--lambda"),
        (("module", "datastore", "x.txt", tmp_path / "out", "main", "--shard", "2/2"), "shard must be a number"),
        (("module", "datastore", "x.txt", tmp_path / "out", "main", "--shard", "half"), "--shard is two numbers"),
    ):
        result = run(*words)
        assert result.exit_code == 1, words
        assert problem in result.stderr
        assert len(result.stderr.splitlines()) <= 2
        assert not (tmp_path / "out").exists()


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
    assert (failed.kept, module.worse, module.failed) == (-1.0, ["poetry"], True)
    assert Dependent.decode(module.encode()) == module
    untested = Dependent(module="ner", version="1.0.0", package=bytes(32), problem="why")
    assert (untested.lines(), untested.failed) == (["ner 1.0.0: not tested, why"], False)
    unfit = untested.model_copy(update={"fits": False, "kind": "head"})
    assert (unfit.lines(), unfit.failed) == (["ner 1.0.0 (head): does not fit, why"], True)


def test_records_from_before_keep_their_bytes_and_what_is_new_comes_back() -> None:
    gain = Gain(before=0.5, after=None, compared=measurement())
    old = Dependent(module="ner", version="1.0.0", package=bytes(32), gains=(gain,))
    assert set(old.model_dump()) == {"module", "version", "package", "gains", "problem"}
    assert set(old.model_dump()["gains"][0]) == {"before", "after", "compared"}
    measures = Measures(older=2.5, older_with=2.0, newer=2.25, newer_with=None)
    gain = gain.model_copy(update={"measures": measures})
    new = old.model_copy(update={"gains": (gain,), "kind": "datastore", "fits": False})
    assert Dependent.decode(new.encode()) == new
    assert gain.sentence().endswith("without and with it 2.5 and 2 before, 2.25 and not a number now")
