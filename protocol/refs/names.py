"""Ref names: `heads/BRANCH`, `tags/TAG`, `remotes/NODE/BRANCH`, under the rules of git-check-ref-format(1).

Two names that git allows are refused for branches and tags: those that begin with `-`, because commands would take them for
options (git's `--branch` rule), and `@` with digits, which is how a round is spoken of here.
"""

from __future__ import annotations

import re

from .errors import RefError

HEAD = "HEAD"
MAIN = "heads/main"
KINDS = ("heads", "tags", "remotes")
MAX_NAME_BYTES = 250

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{")
_ROUND = re.compile(r"@[0-9]+")


def check_name(name: str) -> str:
    """Return `name`, a full ref name. Raises RefError that says which rule it breaks."""
    kind, _, rest = name.partition("/")
    if kind not in KINDS or not rest:
        raise RefError(f"{_shown(name)} is no ref: refs are {', '.join(f'{kind}/…' for kind in KINDS)}")
    if kind == "remotes" and "/" not in rest:
        raise RefError(f"{_shown(name)} is no ref: a remote one is remotes/NODE/BRANCH")
    if problem := _problem(rest):
        raise RefError(f"{_shown(rest)} cannot be the name of a {_what(kind)}: {problem}")
    return name


def branch_name(short: str) -> str:
    """Return the full name of a branch. Raises RefError."""
    return check_name(f"heads/{short}")


def tag_name(short: str) -> str:
    """Return the full name of a tag. Raises RefError."""
    return check_name(f"tags/{short}")


def shortened(name: str) -> str:
    """Return a branch's or tag's name without its kind; a remote one keeps the node's."""
    return name.partition("/")[2]


def _problem(short: str) -> str:
    if short.startswith("-"):
        return "it begins with a dash"
    if short == HEAD:
        return "that is a name of its own"
    if _ROUND.fullmatch(short):
        return "that means a round"
    if len(short.encode()) > MAX_NAME_BYTES:
        return f"it is longer than {MAX_NAME_BYTES} bytes"
    return _git_problem(short)


def _git_problem(name: str) -> str:
    if found := _FORBIDDEN.search(name):
        return f"it has {found.group()!r}"
    if not name or name == "@":
        return "it needs letters"
    parts = name.split("/")
    if "" in parts:
        return "it has a slash too many"
    if any(part.startswith(".") for part in parts):
        return "a part of it begins with a dot"
    if any(part.endswith(".lock") for part in parts):
        return "a part of it ends with .lock"
    return "it ends with a dot" if name.endswith(".") else ""


def _what(kind: str) -> str:
    return {"heads": "branch", "tags": "tag", "remotes": "remote branch"}[kind]


def _shown(name: str) -> str:
    return repr(name if len(name) <= 60 else name[:59] + "…")
