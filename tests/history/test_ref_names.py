"""Names of refs follow git's rules, and git is asked."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.protocol.refs import RefError, branch_name, check_name, tag_name
from collab.protocol.refs.names import shortened

PIECES = ["a", "b.c", ".", "/", "@", "{", "~", "lock", ".lock", " ", "*", "\\", "..", "é", "\x7f", "[", ":", "?", "^", "v1", "\n"]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
@settings(max_examples=150)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join))
def test_a_name_is_a_name_where_git_says_so(name: str) -> None:
    git = subprocess.run(["git", "check-ref-format", f"refs/heads/{name}"], check=False).returncode == 0
    try:
        ours = branch_name(name) == f"heads/{name}"
    except RefError:
        ours = False
    assert ours == (git and name != "@")


@pytest.mark.parametrize("name", ["main", "v1.2.0", "alice/better-nouns", "ünïcode", "a@b", "HEADs", "@12a"])
def test_good_names(name: str) -> None:
    assert branch_name(name) == f"heads/{name}"
    assert shortened(tag_name(name)) == name


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "no ref"), ("-d", "dash"), ("HEAD", "a name of its own"), ("@12", "means a round"), ("a..b", r"'\.\.'"),
        ("a b", "' '"), ("a~1", "'~'"), ("a^", r"'\^'"), ("a:b", "':'"), ("a@{1}", "'@{'"), (".a", "begins with a dot"),
        ("a/.b", "begins with a dot"), ("a.lock", r"\.lock"), ("a.", "ends with a dot"), ("a/", "slash"), ("a//b", "slash"),
        ("@", "letters"), ("x" * 251, "longer"),
    ],
)  # fmt: skip
def test_a_bad_name_is_told_which_rule_it_breaks(name: str, rule: str) -> None:
    with pytest.raises(RefError, match=rule) as error:
        branch_name(name)
    assert "\n" not in str(error.value)


def test_full_names_have_a_known_kind() -> None:
    assert check_name("remotes/alice/main") == "remotes/alice/main"
    for name in ("main", "stash/x", "heads", "heads/", "remotes/alice"):
        with pytest.raises(RefError, match="no ref"):
            check_name(name)
