"""Computed versions: the rules as DESIGN has them, and laws that hold for all evidence."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from gates.test_gates_verdict import measurement
from hypothesis import given
from hypothesis import strategies as st

from collab.protocol.errors import LocalProtocolError
from collab.protocol.versions import (
    FIRST,
    Bump,
    Evidence,
    Interface,
    Relation,
    Version,
    architecture_relation,
    next_version,
)

WORSE = measurement(passed=False, reason="worse", change=0.5)
UNCLEAR = measurement(passed=False, reason="unclear", change=0.02)
CAPITALS = measurement(gate="capitals", kind="exact", base=0.0, candidate=1.0, change=-1.0, low=-1.0, high=-1.0, tolerance=0.0)
KNOWN = measurement(gate="capitals", kind="exact", base=1.0, candidate=1.0, change=0.0, low=0.0, high=0.0, tolerance=0.0)
RELATIONS = get_args(Relation)

versions = st.builds(Version, *[st.integers(0, 10**6)] * 3)
tasks = st.lists(st.sampled_from([measurement(), WORSE, UNCLEAR, CAPITALS, KNOWN]), max_size=4).map(tuple)
promises = st.lists(st.sampled_from(["poetry", "capitals"]), max_size=2, unique=True).map(tuple)
evidences = st.builds(Evidence, architecture=st.sampled_from(RELATIONS), interface=st.sampled_from(RELATIONS),
                      changed=st.floats(0, 1), tasks=tasks, promised=promises)  # fmt: skip


def evidence(**changes: Any) -> Evidence:
    fields: dict[str, Any] = {"architecture": "same", "interface": "same", "changed": 0.05, "tasks": (measurement(),)}
    fields["promised"] = ("poetry",)
    return Evidence(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "bump"),
    [
        ({}, Bump.PATCH),
        ({"changed": 0.0}, Bump.PATCH),
        ({"changed": 0.2}, Bump.MAJOR),
        ({"tasks": (measurement(), WORSE)}, Bump.MAJOR),
        ({"tasks": (UNCLEAR,)}, Bump.PATCH),
        ({"architecture": "grew", "changed": 0.3}, Bump.MINOR),
        ({"interface": "grew"}, Bump.MINOR),
        ({"interface": "grew", "changed": 0.5}, Bump.MAJOR),
        ({"interface": "grew", "tasks": (WORSE,)}, Bump.MAJOR),
        ({"architecture": "other", "changed": 0.0}, Bump.MAJOR),
        ({"interface": "other", "architecture": "grew"}, Bump.MAJOR),
        ({"tasks": (measurement(), CAPITALS)}, Bump.MINOR),
        ({"tasks": (measurement(), CAPITALS), "changed": 0.4}, Bump.MINOR),
        ({"tasks": (measurement(), CAPITALS), "changed": 0.5}, Bump.MAJOR),
        ({"tasks": (WORSE, CAPITALS)}, Bump.MAJOR),
        ({"tasks": (measurement(), CAPITALS), "promised": ("capitals", "poetry")}, Bump.PATCH),
        ({"tasks": (measurement(), KNOWN)}, Bump.PATCH),
        ({"tasks": (CAPITALS,)}, Bump.MAJOR),
        ({"tasks": ()}, Bump.MAJOR),
        ({"tasks": (), "promised": ()}, Bump.PATCH),
    ],
)
def test_the_rules(changes: dict[str, Any], bump: Bump) -> None:
    assert evidence(**changes).bump() is bump


@given(evidences, st.floats(0, 1), st.booleans(), st.booleans())
def test_worse_evidence_never_lowers_the_version(found: Evidence, more: float, worse: bool, other: bool) -> None:
    spoiled = found.model_copy(update={
        "changed": max(found.changed, more), "tasks": found.tasks + ((WORSE,) if worse else ()),
        **({"interface": "other"} if other else {}),
    })  # fmt: skip
    assert spoiled.bump() >= found.bump()
    assert spoiled.reason()


@given(evidences, st.sampled_from(["poetry", "capitals"]))
def test_a_task_that_is_not_tested_again_never_lowers_the_version(found: Evidence, name: str) -> None:
    untested = found.model_copy(update={
        "promised": tuple(sorted({*found.promised, name})), "tasks": tuple(task for task in found.tasks if task.gate != name),
    })  # fmt: skip
    assert untested.bump() is Bump.MAJOR
    assert name in untested.lost
    assert "was not tested again" in untested.reason() or untested.worse


@given(evidences)
def test_a_minor_version_keeps_most_and_every_promise(found: Evidence) -> None:
    if found.bump() is Bump.MINOR:
        assert found.changed < 0.5
        assert found.learned or "grew" in (found.architecture, found.interface)
    if found.bump() is not Bump.MAJOR:
        assert set(found.promised) <= set(found.promises)
    assert not set(found.promises) & set(found.worse)
    assert not set(found.learned) & set(found.promised)


@given(st.lists(evidences, max_size=6))
def test_a_chain_of_releases_never_rolls_back(chain: list[Evidence]) -> None:
    """Each promises what it was tested on; versions only rise, and what a major version promised its minors and patches do."""
    last = FIRST
    promised: tuple[str, ...] = ("poetry",)
    for evidence in chain:
        made = evidence.model_copy(update={"promised": promised})
        version = next_version(last, made)
        assert version > last
        if version.major == last.major:
            assert set(promised) <= set(made.promises)
        assert (version.minor > last.minor or version.major > last.major) or not made.learned
        last, promised = version, made.promises


def test_evidence_without_promises_keeps_its_bytes() -> None:
    assert b"promised" not in evidence(promised=()).encode()
    for found in (evidence(), evidence(promised=())):
        assert Evidence.decode(found.encode()) == found


@given(versions, evidences)
def test_the_next_version_is_higher_and_no_lower_one_is_accepted(last: Version, found: Evidence) -> None:
    computed = next_version(last, found)
    assert computed > last
    for bump in Bump:
        wanted = last.bumped(bump)
        if bump < found.bump():
            with pytest.raises(LocalProtocolError, match="is too low"):
                next_version(last, found, wanted)
        else:
            assert next_version(last, found, wanted) == wanted >= computed


@given(versions, versions)
def test_versions_are_ordered_and_read_back(one: Version, other: Version) -> None:
    assert Version.parse(str(one)) == Version.parse(f"v{one}") == one
    assert (one < other) == (tuple(one) < tuple(other))
    assert one.bumped(Bump.PATCH) < one.bumped(Bump.MINOR) < one.bumped(Bump.MAJOR)


@pytest.mark.parametrize("text", ["", "1", "1.2", "1.2.3.4", "01.2.3", "1.2.-3", "1.2.3-b", "1.2.x", "٣.0.0", "1" * 10 + ".0.0"])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(LocalProtocolError, match="is no version"):
        Version.parse(text)


def test_the_first_release_and_one_that_does_not_follow() -> None:
    assert next_version(None, evidence()) == FIRST
    assert next_version(None, evidence(), Version(0, 1, 0)) == Version(0, 1, 0)
    with pytest.raises(LocalProtocolError, match=r"3.0.0 does not follow 1.2.3: it is one of 1.2.4, 1.3.0, 2.0.0"):
        next_version(Version(1, 2, 3), evidence(), Version(3, 0, 0))
    with pytest.raises(LocalProtocolError, match=r"1.2.4 is too low: poetry got significantly worse, so it is at least 2.0.0"):
        next_version(Version(1, 2, 3), evidence(tasks=(WORSE,)), Version(1, 2, 4))


def test_architectures_and_interfaces_are_the_same_grew_or_are_others() -> None:
    before = {"a": (4, 8), "b": (8,)}
    assert architecture_relation(before, dict(before)) == "same"
    assert architecture_relation(before, before | {"c": (2,)}) == "grew"
    assert architecture_relation(before, before | {"a": (6, 8)}) == "grew"
    assert architecture_relation(before, before | {"a": (4, 6)}) == "other"
    assert architecture_relation(before, before | {"a": (4, 8, 1)}) == "other"
    assert architecture_relation(before, {"a": (4, 8)}) == "other"
    face = Interface(tokenizer=bytes(32), inputs=("ids",), outputs=("logits",))
    assert face.relation(face) == "same"
    assert face.relation(face.model_copy(update={"outputs": ("logits", "hidden")})) == "grew"
    assert face.relation(face.model_copy(update={"outputs": ("hidden",)})) == "other"
    assert face.relation(face.model_copy(update={"tokenizer": b"t" * 32})) == "other"
