"""The notebook, cell by cell as a person runs it: alone on a small event, then a second session with the key from the first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import write_event
from safetensors import safe_open

from collab.node.control.socket import ControlError, call
from collab.node.keys import load

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
NOTEBOOK = Path(__file__).parents[2] / "scripts" / "join.ipynb"


class Session:
    """A machine that runs the notebook; it forgets all but the files that are elsewhere."""

    def __init__(self, folder: Path, **parameters: Any) -> None:
        self.home = folder / "collab-home"
        self.parameters = {"HOME": str(self.home), "PASSPHRASE": "two small words", "MINUTES": 2, "ROUNDS": 1, **parameters}
        self.names: dict[str, Any] = {}

    def run(self, *only: str) -> None:
        """Run all cells in order, or those with these ids."""
        for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code" and (not only or cell["id"] in only):
                exec(compile("".join(cell["source"]), f"{NOTEBOOK.name}/{cell['id']}", "exec"), self.names)
            if "parameters" in cell["metadata"].get("tags", ()):
                self.names.update(self.parameters)

    def end(self) -> None:
        """Stop its node, if one runs."""
        try:
            call(self.home, "stop")
        except ControlError:
            return


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Session, Session]]:
    event = write_event(tmp_path / "event.toml", inner={"steps": 4}, data={"max_bytes": 16384})
    kept = str(tmp_path / "drive-my-key.txt")
    made = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        made.append(Session(tmp_path / name, EVENT_FILE=str(event), KEY_BACKUP=kept))
    monkeypatch.chdir(tmp_path / "first")
    first, second = made
    yield first, second
    first.end()
    second.end()


def test_the_notebook_runs_from_top_to_bottom_and_its_key_goes_on_in_the_next_session(
    sessions: tuple[Session, Session], capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = sessions
    first.run()
    said = capfd.readouterr().out
    for words in (
        "no backup to restore", " samples of yours merged", "paused: I need the GPU", "going on where it stopped", "left; ",
        "samples in all",
    ):  # fmt: skip
        assert words in said
    with safe_open("model.safetensors", framework="numpy") as file:
        assert list(file.keys())
    assert "drive-my-key" not in (first.home / "identity.key").read_text(errors="replace")
    assert Path("certificate.txt").is_file()
    first.run("watch")  # a node that stopped shows its log
    said = capfd.readouterr().out
    assert "the node does not answer" in said
    assert "goodbye" in said
    second.run("parameters", "install", "restore")
    assert "restored 12D3" in capfd.readouterr().out
    assert load(second.home / "identity.key").peer_id == load(first.home / "identity.key").peer_id
