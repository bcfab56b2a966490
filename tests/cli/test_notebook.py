"""scripts/join.ipynb as a file: valid, without outputs, without a package registry's address. It runs in tests/e2e."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parents[2] / "scripts" / "join.ipynb"
_REGISTRY = re.compile(r"https?://|index-url|pypi|pythonhosted", re.IGNORECASE)


def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return found


def test_it_is_a_notebook_of_version_4_5() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    ids = [cell["id"] for cell in cells()]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in ids)
    assert all(cell["cell_type"] in ("markdown", "code") and isinstance(cell["source"], list) for cell in cells())


def test_nothing_that_ran_is_kept_in_it() -> None:
    for cell in cells():
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


def test_it_names_no_package_registry() -> None:
    assert _REGISTRY.search(NOTEBOOK.read_text(encoding="utf-8")) is None


def test_every_cell_is_plain_python_and_explained() -> None:
    before = ""
    for cell in cells():
        if cell["cell_type"] == "code":
            ast.parse("".join(cell["source"]))
            assert before == "markdown" or cell["id"] == "resume"
        before = cell["cell_type"]


def test_one_cell_has_the_parameters_and_nothing_else() -> None:
    (parameters,) = (cell for cell in cells() if "parameters" in cell["metadata"].get("tags", ()))
    assert all(isinstance(line, ast.Assign) for line in ast.parse("".join(parameters["source"])).body)
