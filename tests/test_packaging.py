"""What is installed is what is here: no folder of code is forgotten in the list of packages."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_every_folder_of_code_is_packaged() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = set(tomllib.load(file)["tool"]["setuptools"]["packages"])
    folders = {path.parent.relative_to(ROOT) for top in ("node", "protocol", "kernels") for path in (ROOT / top).rglob("*.py")}
    assert listed == {"collab", *(f"collab.{'.'.join(folder.parts)}" for folder in folders)}
