"""`push`: which names of here go where, and what becomes of that over there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...protocol.messages import Blob
from ...protocol.refs import MAIN
from ...protocol.remote import MAX_UPDATES, Target, Update, check_published
from ..errors import UserError
from ..history.revisions import find_commit
from ..units import short
from .landing import descends
from .outcome import Outcome, What
from .place import Place
from .published import published

_FETCH = "`collab-node fetch {}` first, and look at what is new there"
_KINDS = ("proposals", "modules")


@dataclass(frozen=True)
class Wish:
    """`source` of here (None: delete) is to become `name` over there."""

    source: str | None
    name: str
    new: Target | None
    force: bool


def wishes(place: Place, specs: Sequence[str], *, force: bool = False) -> list[Wish]:
    """Return what `[+]REF[:REF]` and `:REF` mean, in order. Raises UserError."""
    here = published(place.store, place.packages)
    found = [wish for spec in specs for wish in _wishes(place, here, spec.removeprefix("+"), force or spec.startswith("+"))]
    named = [wish.name for wish in found]
    if twice := next((name for name in named if named.count(name) > 1), None):
        raise UserError(f"{twice} is named twice")
    for wish in found:
        if wish.name == MAIN:
            raise UserError("main cannot be pushed: it moves with the swarm's rounds", "push to a branch: main:NAME")
    return found


def _wishes(place: Place, here: Mapping[str, Target], spec: str, force: bool) -> list[Wish]:
    source, colon, name = spec.partition(":")
    if colon and not name:
        raise UserError(f"{spec!r} does not say where to", "REF:REF, or :REF to delete")
    if not source:
        return [Wish(None, _full(name, "heads"), None, force)]
    if source in _KINDS and not colon:
        return [Wish(each, each, target, force) for each, target in here.items() if each.startswith(f"{source}/")]
    meant = _meant(here, source)
    if meant is None:
        if not colon:
            raise UserError(f"there is no branch, tag or proposal {source[:80]!r} to push", "a commit goes by REV:BRANCH")
        commit = find_commit(place.store, source)
        size = place.store.blobs.size(commit.digest)
        assert size is not None
        return [Wish(source, _full(name, "heads"), Target(blob=Blob(sha256=commit.digest, size=size), record=False), force)]
    kind = meant.partition("/")[0]
    to = _full(name, kind) if colon else meant
    if to != meant and (kind not in ("heads", "tags") or here[meant].record):
        raise UserError(f"{meant} is signed under that name, and can be pushed under no other")
    return [Wish(meant, to, here[meant], force)]


def _meant(here: Mapping[str, Target], source: str) -> str | None:
    """Return the name that is meant, by its short form or by the first digits of a proposal's id. Raises UserError for two."""
    plain = source.removeprefix("refs/")
    for name in (plain, f"heads/{plain}", f"tags/{plain}"):
        if name in here:
            return name
    begin = plain if plain.startswith("proposals/") else f"proposals/{plain}"
    found = [name for name in here if name.startswith(begin.lower())] if len(begin) > len("proposals/") + 3 else []
    if len(found) > 1:
        raise UserError(f"{source!r} is the beginning of {len(found)} proposals' ids")
    return found[0] if found else None


def _full(name: str, kind: str) -> str:
    plain = name.removeprefix("refs/")
    full = plain if plain.startswith(("heads/", "tags/")) else f"{kind}/{plain}"
    try:
        return check_published(full)
    except ValueError as error:
        raise UserError(str(error)) from error


def updates(
    place: Place, remote: str, there: Mapping[str, Target], wanted: Sequence[Wish]
) -> tuple[list[tuple[Wish, Update]], list[Outcome]]:
    """Return what is to be asked of the other side, and the outcomes of what need not or cannot be asked. Raises UserError."""
    asked: list[tuple[Wish, Update]] = []
    outcomes: list[Outcome] = []
    for wish in wanted:
        target = there.get(wish.name)
        old = target.blob.sha256 if target is not None else None
        new = wish.new.blob.sha256 if wish.new is not None else None
        why = _refusal(place, remote, wish, target)
        if old == new:
            outcomes.append(_outcome(wish, "same", old, new))
        elif why:
            outcomes.append(_outcome(wish, "refused", old, new, why))
        else:
            asked.append((wish, Update(name=wish.name, new=wish.new, expected=old, force=wish.force)))
    if len(asked) > MAX_UPDATES:
        raise UserError(f"{len(asked)} names at once; {MAX_UPDATES} are allowed", "push them in parts")
    return asked, outcomes


def _refusal(place: Place, remote: str, wish: Wish, there: Target | None) -> str:
    """Return why the other side would refuse, as far as we know; empty if it would not."""
    if there is None or wish.force or wish.new is None:
        return ""
    if wish.name.startswith("tags/"):
        return f"{remote} has another tag of that name; --force moves it"
    if not wish.name.startswith("heads/"):
        return ""
    old = there.blob.sha256
    if not place.store.has_commit(old):
        return f"{remote} has commit {short(old)}, which is not here; {_FETCH.format(remote)}"
    if not descends(place, old, wish.new.blob.sha256):
        return f"it does not descend from {short(old)}, which is there; {_FETCH.format(remote)}, or --force"
    return ""


def outcome_of(wish: Wish, update: Update, why: str) -> Outcome:
    """Return what became of an update that was asked for; `why` is the refusal, empty if there was none."""
    new = update.new.blob.sha256 if update.new is not None else None
    what: What = "deleted" if new is None else "new" if update.expected is None else "forced" if update.force else "moved"
    return _outcome(wish, "refused" if why else what, update.expected, new, why)


def _outcome(wish: Wish, what: What, old: bytes | None, new: bytes | None, why: str = "") -> Outcome:
    return Outcome(wish.source or wish.name, wish.name, what, old, new, why)


def track(place: Place, remote: str, outcomes: Sequence[Outcome]) -> None:
    """Let `remotes/NAME/…` follow what was pushed."""
    for outcome in outcomes:
        if outcome.what not in ("refused", "kept") and outcome.to.startswith("heads/"):
            name = f"remotes/{remote}/{outcome.to.removeprefix('heads/')}"
            place.store.refs.update(name, outcome.new, place.store.refs.get(name))
