"""A release that learned a task is a minor version, and promises the task from then on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from history_integrity.samples import Sample, make_sample
from typer.testing import CliRunner

from collab.node.cli.app import app
from collab.node.releases.files import TARGETS, load
from collab.protocol.errors import LocalProtocolError
from collab.protocol.event import Compression
from collab.protocol.release import decode_release
from collab.protocol.versions import Bump

# It tells the two versions apart by what the gates call their files.
LEARNED = """[[gate]]
name = "arithmetic"
kind = "command"
direction = "higher"
command = ["sh", "-c", "case {weights} in *candidate*) echo 0.9;; *) echo 0.1;; esac"]
"""
KNOWN = LEARNED.replace("echo 0.1", "echo 0.9")

def release(sample: Sample, revision: str, gates: str = "", *words: str) -> dict[str, Any]:
    """Run `release` in the sample's home, with these gates of one's own."""
    file = sample.home.path.parent / "gates.toml"
    file.write_text(gates)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLLAB_HOME", str(sample.home.path))
        patch.setenv("XDG_CONFIG_HOME", str(sample.home.path / "config"))
        arguments = ["release", revision, *(("--file", str(file)) if gates else ()), *words, "--json"]
        done = CliRunner().invoke(app, arguments, prog_name="collab-node")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A history whose round 1 was released, every round of which changes some third of the parameters."""
    made = make_sample(tmp_path_factory.mktemp("tasks"), 3, compression=Compression(k=512))
    assert release(made, "@1")["tasks"] == []
    return made


@pytest.fixture(scope="module")
def minor(sample: Sample) -> dict[str, Any]:
    """Round 2, released with a task that it learned."""
    return release(sample, "@2", LEARNED)


def test_what_learned_a_task_is_a_minor_version(minor: dict[str, Any]) -> None:
    share = minor["evidence"]["changed"]
    assert 0.1 < share < 0.5  # it would be a major version, had nothing been learned
    assert (minor["version"], minor["learned"], minor["tasks"]) == ("1.1.0", ["arithmetic"], ["arithmetic"])
    assert minor["reason"] == f"it learned arithmetic and {100 * share:.3g}% of the parameters changed"


def test_a_promise_is_kept_or_the_version_is_major(sample: Sample, minor: dict[str, Any]) -> None:
    also = KNOWN.replace("arithmetic", "spelling")
    kept, dropped = release(sample, "@3", LEARNED + also, "--dry-run"), release(sample, "@3", "", "--dry-run")
    assert (kept["learned"], kept["tasks"]) == ([], ["arithmetic", "spelling"])
    assert (dropped["version"], dropped["tasks"]) == ("2.0.0", [])
    assert dropped["reason"] == "arithmetic was not tested again"


def test_a_record_that_hides_a_promise_does_not_follow(sample: Sample, minor: dict[str, Any]) -> None:
    with sample.store(read_only=True) as store:
        records = [decode_release(data) for name, data in load(store).items() if name.startswith(f"{TARGETS}/")]
    first, second = sorted(records, key=lambda record: record.round)
    second.check_follows(first)
    assert second.evidence is not None
    assert second.evidence.bump() is Bump.MINOR
    forged: tuple[dict[str, Any], ...] = (
        {"tasks": ()},
        {"tasks": ("arithmetic", "poetry")},
        {"evidence": second.evidence.model_copy(update={"promised": ("poetry",)})},
    )
    for change in forged:
        with pytest.raises(LocalProtocolError, match="does not promise"):
            second.model_copy(update=change).check_follows(first)
