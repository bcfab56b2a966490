"""The page as files."""

from __future__ import annotations

import json
import re

import pytest
from dashboard.kit import StoredHome

from collab.node.dashboard.export import export_page
from collab.node.dashboard.page import STATIC, joined_modules, page_with
from collab.node.errors import UserError

ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


def test_an_export_holds_the_page_and_its_data(stored: StoredHome) -> None:
    stored.grow(2)
    folder = stored.home.path / "page"
    export_page(stored.reader(), folder)
    page = (folder / "index.html").read_text()
    for name in re.findall(r'(?:src|href)="([^"#]+)"', page):
        assert (folder / name).is_file(), name
    data = json.loads((folder / "data.json").read_text())
    assert data["values"]["totals"]["round"] == 2
    assert json.loads(re.findall(r'id="snapshot">(.*)</script>', page)[0]) == data


def test_an_export_says_nothing_of_the_node_that_made_it(stored: StoredHome) -> None:
    export_page(stored.reader(), stored.home.path / "page")
    data = json.loads((stored.home.path / "page" / "data.json").read_text())
    assert data["values"]["node"] == {"running": False}
    assert not {"traffic", "parts"} & data["values"].keys()
    assert not any(row["self"] or row["gossip"] for row in data["tables"]["peers"].values())


def test_exporting_again_replaces_and_another_page_is_left_alone(stored: StoredHome) -> None:
    folder = stored.home.path / "page"
    export_page(stored.reader(), folder)
    stored.grow()
    export_page(stored.reader(), folder)
    assert json.loads((folder / "data.json").read_text())["values"]["totals"]["round"] == 1
    (folder / "index.html").write_text("somebody's home page")
    with pytest.raises(UserError, match="is another page"):
        export_page(stored.reader(), folder)
    assert (folder / "index.html").read_text() == "somebody's home page"


def test_a_snapshot_cannot_leave_its_element() -> None:
    page = page_with({"values": {"event": {"description": ATTACK}}})
    assert "<img" not in page
    assert page.count("</script>") == page.count("<script")
    inside = re.findall(r'id="snapshot">(.*)</script>', page)[0]
    assert json.loads(inside)["values"]["event"]["description"] == ATTACK


def test_all_modules_are_joined_and_nothing_is_left_of_their_syntax() -> None:
    script = joined_modules(STATIC)
    for module in STATIC.glob("*.js"):
        assert script.count(f"modules.{module.stem} = ") == 1
    assert not re.search(r"^\s*(import|export) ", script, re.MULTILINE)


def test_no_file_names_another_host() -> None:
    for path in STATIC.iterdir():
        addresses = set(re.findall(r"https?://[^\s\"')]+|//[a-z0-9.-]+\.[a-z]{2,}/", path.read_text()))
        assert addresses <= {"http://www.w3.org/2000/svg"}, path.name
