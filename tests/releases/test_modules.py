"""Packages: published, chosen, locked and installed again bit for bit; what was tampered with is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from collab.node.cli.app import app


class Workshop:
    """An index, a node that publishes to it, and a project."""

    def __init__(self, path: Path) -> None:
        self.path, self.index, self.project = path, path / "index", path / "project"
        self.project.mkdir()

    def run(self, *words: object, code: int = 0) -> str:
        result = CliRunner().invoke(app, [str(word) for word in words], prog_name="collab-node")
        assert result.exit_code == code, result.output
        return result.stdout if code == 0 else result.stderr

    def folder(self, name: str, version: str, *requires: str, text: str = "what it knows") -> Path:
        folder = self.path / "sources" / f"{name}-{version}"
        (folder / "data").mkdir(parents=True, exist_ok=True)
        (folder / "data" / "facts.jsonl").write_text(f"{text} {version}\n")
        (folder / "empty.txt").touch()
        (folder / "module.toml").write_text(
            f'name = "{name}"\nversion = "{version}"\nkind = "base"\nrequires = {json.dumps(requires)}\n'
        )
        return folder

    def publish(self, name: str, version: str, *requires: str, home: str = "home") -> None:
        self.run("module", "pack", self.folder(name, version, *requires), "--index", self.index, "--home", self.path / home)

    def add(self, *wanted: str, code: int = 0) -> str:
        return self.run("add", *wanted, "--index", self.index, "--dir", self.project, code=code)

    def install(self, project: Path | None = None, index: Path | None = None, code: int = 0) -> str:
        return self.run("install", "--index", index or self.index, "--dir", project or self.project, code=code)

    def blob_of(self, text: str) -> Path:
        return next(path for path in (self.index / "blobs").rglob("*") if path.is_file() and text in path.read_text())


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    made = Workshop(tmp_path)
    for version in ("1.1.0", "1.2.0", "1.10.0", "2.0.0"):
        made.publish("bengali-bert", version)
    made.publish("ner", "1.0.0", "bengali-bert >=1.2,<2")
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_newest_versions_that_fit_are_locked_and_installed_alike_elsewhere(shop: Workshop) -> None:
    assert [line.split()[1:3] for line in shop.add("ner@^1.0").splitlines()] == [["bengali-bert", "1.10.0"], ["ner", "1.0.0"]]
    shop.install()
    elsewhere = shop.path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(shop.project / "modules.lock", elsewhere)
    shutil.copytree(shop.index, shop.path / "mirror")
    shop.install(elsewhere, shop.path / "mirror")
    assert contents(elsewhere / "modules") == contents(shop.project / "modules")
    assert contents(shop.project / "modules" / "ner") == contents(shop.folder("ner", "1.0.0", "bengali-bert >=1.2,<2"))


def test_a_lock_keeps_versions_until_they_are_asked_for(shop: Workshop) -> None:
    shop.add("ner")
    lock = (shop.project / "modules.lock").read_bytes()
    shop.publish("bengali-bert", "1.11.0")
    shop.publish("ner-data", "0.1.0", "bengali-bert ^1")
    shop.add("ner-data")
    assert b'"1.10.0"' in (shop.project / "modules.lock").read_bytes()
    shop.add("bengali-bert@^1.11")
    assert b'"1.11.0"' in (shop.project / "modules.lock").read_bytes() != lock
    assert (shop.project / "modules.toml").read_text() == '[requires]\nbengali-bert = "^1.11"\nner = "*"\nner-data = "*"\n'


def test_a_conflict_says_who_requires_what_and_changes_nothing(shop: Workshop) -> None:
    shop.add("ner")
    before = contents(shop.project)
    shop.publish("chat", "3.1.0", "bengali-bert ^2")
    (line,) = shop.add("chat", code=1).splitlines()
    assert line == (
        "error: no version of bengali-bert fits: chat 3.1.0 requires bengali-bert ^2, "
        "and ner 1.0.0 requires bengali-bert >=1.2,<2; there are 2.0.0, 1.10.0, 1.2.0, 1.1.0"
    )
    assert shop.add("nobody@^1", code=1).strip() == (
        "error: no version of nobody fits: you require nobody ^1; there is none in the index"
    )
    assert contents(shop.project) == before


def test_a_newer_version_is_given_up_where_that_solves_a_conflict(shop: Workshop) -> None:
    shop.publish("ner", "1.1.0", "bengali-bert ^2")
    shop.add("ner", "bengali-bert@^1")
    assert '"1.0.0"' in (shop.project / "modules.lock").read_text()


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda shop: flipped(shop.blob_of("knows 1.10.0")), "data/facts.jsonl has another hash"),
        (lambda shop: shop.blob_of("knows 1.10.0").write_text("short"), "data/facts.jsonl has 5 bytes, not "),
        (lambda shop: shop.blob_of("knows 1.10.0").unlink(), "lacks data/facts.jsonl"),
        (lambda shop: flipped(shop.index / "packages" / "ner" / "1.0.0"), "is no signed record of a package: bad_signature"),
        (lambda shop: (shop.index / "packages" / "ner" / "1.0.0").unlink(), "has no ner 1.0.0"),
    ],
)
def test_any_other_byte_is_refused_and_what_was_installed_stays(
    shop: Workshop, damage: Callable[[Workshop], None], why: str
) -> None:
    shop.add("ner")
    shop.install()
    before = contents(shop.project)
    damage(shop)
    assert why in shop.install(code=1).splitlines()[0]
    assert contents(shop.project) == before


def test_another_package_of_the_same_version_is_not_what_the_lock_pins(shop: Workshop) -> None:
    shop.add("ner")
    shutil.rmtree(shop.index / "packages" / "ner")
    shop.publish("ner", "1.0.0", "bengali-bert >=1.2,<2", home="stranger")
    assert "is not what modules.lock pins" in shop.install(code=1)


def test_a_new_publisher_is_not_taken_for_the_old_one(shop: Workshop) -> None:
    shop.add("ner")
    shop.publish("ner", "1.3.0", home="stranger")
    assert "is now by" in shop.add("ner@^1.3", code=1)
    shop.run("add", "ner@^1.3", "--trust-publisher", "--index", shop.index, "--dir", shop.project)


def test_a_published_version_never_changes(shop: Workshop) -> None:
    (shop.folder("ner", "1.0.0") / "more.txt").write_text("more")
    problem = shop.run(
        "module", "pack", shop.path / "sources" / "ner-1.0.0", "--index", shop.index, "--home", shop.path / "home", code=1
    )
    assert "already published" in problem


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("module.toml", "name = ", "is not valid TOML"),
        ("module.toml", 'name = "x"\nversion = "1"\nkind = "head"\n', "is no version"),
        ("module.toml", 'name = "x"\nversion = "1.0.0"\nkind = "head"\nrequires = ["y >>1"]\n', "is no range"),
        ("module.toml", 'name = "x"\nversion = "1.0.0"\nkind = "virus"\n', "Module.kind"),
        ("module.toml", 'name = "x"\nversion = "1.0.0"\nkind = "adapter"\n', "adapter_config.json"),
        ("module.toml", 'name = "x"\nversion = "1.0.0"\nkind = "expert"\n', "expert.json"),
        ("module.toml", 'name = "x"\nversion = "1.0.0"\nkind = "head"\n', "head.json"),
        ("module.toml", 'name = "x"\nversion = "1.0.0"\nkind = "datastore"\n', "datastore.json"),
        ("weights.pkl", "", "could run code"),
        ("a\nb", "", "is no path of a package"),
    ],
)
def test_a_folder_that_cannot_be_packed_says_why_in_a_line(shop: Workshop, name: str, content: str, why: str) -> None:
    folder = shop.folder("bad", "1.0.0")
    (folder / name).write_text(content)
    problem = shop.run("module", "pack", folder, "--index", shop.index, "--home", shop.path / "home", code=1)
    assert why in problem.splitlines()[0]
    assert not (shop.index / "packages" / "bad").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("add", "ner@one"), "is no range"),
        (("add", "../ner"), "is no requirement"),
        (("install",), "has no modules.lock"),
    ],
)
def test_bad_input_is_one_line(shop: Workshop, words: tuple[str, ...], why: str) -> None:
    problem = shop.run(*words, "--index", shop.index, "--dir", shop.project, code=1)
    assert why in problem.splitlines()[0]
    assert len(problem.splitlines()) <= 2


@pytest.mark.parametrize("text", ["format = 2", "[[package]]\nname = '../x'", "[[package", "x = 1"])
def test_a_damaged_lock_is_one_line(shop: Workshop, text: str) -> None:
    (shop.project / "modules.lock").write_text(text)
    assert "modules.lock" in shop.install(code=1)
    assert not (shop.project / "modules").exists()
