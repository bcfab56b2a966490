"""What the bench of the history calls wrong, and what it measures on a run of two rounds."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from history_integrity.samples import make_sample

bench = import_module("bench_history.__main__")
measuring = import_module("bench_history.measuring")

GOOD = {
    "bit_exact": True, "overhead": 1.1, "patches_applied_max": 19, "snapshot_every": 20, "bisect_found_it": True,
    "bisect_evaluations": 6, "bisect_bound": 6,
}  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        ({}, ""),
        ({"bit_exact": False}, "has other bytes"),
        ({"overhead": 1.31}, "larger than 1.3 times"),
        ({"patches_applied_max": 21}, "more patches than"),
        ({"bisect_found_it": False}, "found another commit"),
        ({"bisect_evaluations": 7}, "more than log2"),
    ],
)
def test_the_verdict(bad: dict[str, object], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench._verdict(GOOD | bad) == bool(bad)
    assert line in capsys.readouterr().err


def test_sizes_count_every_payload_once(tmp_path: Path) -> None:
    sample = make_sample(tmp_path, 2)
    whole = tmp_path / "whole"
    whole.write_bytes(bytes(100))
    with sample.store(read_only=True) as store:
        found = measuring.sizes(sample.folder.store_path, store, [whole] * 3).fields()
        payloads = {digest for digest in store.blobs.digests() if not store.has_commit(digest)} - {
            snapshot.blob.digest for snapshot in store.snapshots()
        }
        assert found["patch_bytes"] == sum(store.blobs.size(digest) or 0 for digest in payloads)
    assert (found["versions"], found["whole_file_bytes"]) == (3, 300)
    assert found["root_bytes"] == found["snapshot_bytes"]
    assert found["store_bytes"] > found["root_bytes"] + found["snapshot_bytes"] + found["patch_bytes"]
