"""The plan of a fetch, its resume map, and its requests on the wire."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.node.net import blobs
from collab.node.net.parts import Plan, ResumeMap, cut
from collab.protocol.errors import RemoteProtocolError


@given(st.integers(1, 10_000), st.integers(1, 500))
def test_parts_tile_the_blob(size: int, part_bytes: int) -> None:
    parts = cut(size, part_bytes)
    assert [part.index for part in parts] == list(range(len(parts)))
    end = 0
    for part in parts:
        assert part.offset == end
        assert 1 <= part.length <= part_bytes
        end += part.length
    assert end == size


@given(st.integers(1, 400), st.data())
def test_a_resume_map_returns_what_was_saved(size: int, data: st.DataObject) -> None:
    done = data.draw(st.sets(st.integers(0, len(cut(size, 8)) - 1)))
    with TemporaryDirectory() as folder:
        partial = Path(folder) / "blob.part"
        partial.write_bytes(bytes(size))
        resume = ResumeMap(partial, size, 8)
        assert resume.load() == set()
        resume.save(done)
        assert resume.load() == done
        assert ResumeMap(partial, size, 9).load() == set()
        assert ResumeMap(partial, size + 1, 8).load() == set()


@pytest.mark.parametrize("torn", [b"", b"\x83", b"\xff" * 40, b"\xc0"])
def test_a_torn_map_starts_anew(tmp_path: Path, torn: bytes) -> None:
    partial = tmp_path / "blob.part"
    partial.write_bytes(bytes(10))
    (tmp_path / "blob.part.map").write_bytes(torn)
    assert ResumeMap(partial, 10, 4).load() == set()


def test_a_straggler_gets_help_from_one_other_peer_and_the_first_wins() -> None:
    plan = Plan(cut(10, 10), set(), straggle=2.0)
    part = plan.take("slow", 0.0)
    assert part is not None
    assert plan.take("slow", 9.0) is None
    assert plan.take("quick", 1.9) is None
    assert plan.take("quick", 2.0) == part
    assert plan.take("third", 9.0) is None
    assert plan.finish(part, "quick")
    assert not plan.finish(part, "slow")
    assert plan.complete
    assert plan.sources == {0: "quick"}


@given(st.integers(1, 20), st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=200))
def test_no_part_is_lost_whoever_fails(count: int, turns: list[tuple[str, bool]]) -> None:
    plan = Plan(cut(count, 1), set())
    for peer, delivers in [*turns, *(("z", True) for _ in range(count))]:
        part = plan.take(peer, 0.0)
        if part is None:
            continue
        plan.give_back(part, peer)
        if delivers:
            assert plan.finish(part, peer)
    assert plan.complete


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        blobs.decode_request(data)


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**40), st.integers(1, blobs.MAX_PART))
def test_a_request_survives_its_way(digest: bytes, offset: int, length: int) -> None:
    request = blobs.encode_request(digest, offset, length)
    assert len(request) <= blobs.MAX_REQUEST
    assert blobs.decode_request(request) == (digest, offset, length)
