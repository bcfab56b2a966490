"""What is installed is what is here: no folder of code is forgotten in the list of packages, and no file that it reads."""

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUILT = {".py", ".pyc", ".so"}


def setuptools() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        table: dict[str, Any] = tomllib.load(file)["tool"]["setuptools"]
    return table


def test_every_folder_of_code_is_packaged() -> None:
    folders = {path.parent.relative_to(ROOT) for top in ("node", "protocol", "kernels") for path in (ROOT / top).rglob("*.py")}
    assert set(setuptools()["packages"]) == {"collab", *(f"collab.{'.'.join(folder.parts)}" for folder in folders)}


def test_every_other_file_beside_the_code_is_packaged_or_compiled() -> None:
    table = setuptools()
    patterns = [
        f"{package.removeprefix('collab').replace('.', '/')}/{pattern}".lstrip("/")
        for package, chosen in table["package-data"].items() for pattern in chosen
    ]  # fmt: skip
    compiled = [source for module in table["ext-modules"] for source in module["sources"]]
    found = {path.relative_to(ROOT) for pattern in [*patterns, *compiled] for path in ROOT.glob(pattern)}
    beside = {path for top in ("configs", "node", "protocol", "kernels") for path in (ROOT / top).rglob("*") if path.is_file()}
    assert {path.relative_to(ROOT) for path in beside if path.suffix not in BUILT} == found
    assert {Path(part) / "py.typed" for part in ("node", "protocol", "kernels")} <= found
