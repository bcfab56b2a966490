"""Ranges of versions mean what they mean to npm: compared with a port of node-semver."""

from __future__ import annotations

import nodesemver
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.protocol.errors import LocalProtocolError
from collab.protocol.module import Requirement
from collab.protocol.ranges import Range
from collab.protocol.versions import Version

SMALL = st.integers(0, 3)
VERSIONS = st.builds(Version, SMALL, SMALL, SMALL)
PARTIAL = st.lists(SMALL, min_size=1, max_size=3).map(lambda parts: ".".join(map(str, parts)))
SIMPLE = st.builds("".join, st.tuples(st.sampled_from(["", "^", "~", ">=", "<=", ">", "<", "="]), PARTIAL))
HYPHEN = st.builds("{} - {}".format, PARTIAL, PARTIAL)
ALL_OF = st.lists(SIMPLE, min_size=1, max_size=3).map(" ".join)
ANY_OF = st.lists(ALL_OF | HYPHEN, min_size=1, max_size=3).map(" || ".join)


@given(ANY_OF, VERSIONS)
def test_a_version_is_in_a_range_as_npm_has_it(text: str, version: Version) -> None:
    assert (version in Range.parse(text)) == nodesemver.satisfies(str(version), text, loose=False)


@given(ALL_OF, VERSIONS)
def test_a_comma_means_and(text: str, version: Version) -> None:
    assert (version in Range.parse(text.replace(" ", ", "))) == (version in Range.parse(text))


@given(st.text(max_size=40) | st.text("0123.^~<>=|-x* ,", max_size=40))
def test_any_text_is_a_range_that_stays_the_same_when_written_down_or_is_refused(text: str) -> None:
    try:
        read = Range.parse(text)
    except LocalProtocolError:
        return
    assert Range.parse(str(read)) == read


@pytest.mark.parametrize(
    ("text", "name", "inside", "outside"),
    [
        ("bengali-bert >=1.2,<2", "bengali-bert", "1.9.9", "2.0.0"),
        ("bengali-bert@^1.2", "bengali-bert", "1.2.0", "1.1.9"),
        ("bengali-bert@>= 1.2 < 2", "bengali-bert", "1.2.0", "2.0.0"),
        ("a ~0.2.3", "a", "0.2.9", "0.3.0"),
        ("a^0.2.3", "", "", ""),
        ("a 99999999999", "", "", ""),
        ("a ^1.0.0-beta", "", "", ""),
        ("../a ^1", "", "", ""),
        ("a@^1@2", "", "", ""),
    ],
)
def test_requirements_are_read(text: str, name: str, inside: str, outside: str) -> None:
    if not name:
        with pytest.raises(LocalProtocolError):
            Requirement.parse(text)
        return
    requirement = Requirement.parse(text)
    assert requirement.name == name
    assert Version.parse(inside) in requirement.range
    assert Version.parse(outside) not in requirement.range


def test_without_a_range_every_version_will_do() -> None:
    assert Version(7, 8, 9) in Requirement.parse("a").range
