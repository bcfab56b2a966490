"""`bisect`: finds the commit that broke a metric, by halving what lies between a good version and a bad one.

Of n commits it evaluates ⌈log₂ n⌉, and the bad version itself before that one is blamed. Every value is on the disk before
the next version is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...protocol.event import EventManifest
from ..errors import UserError
from ..failpoints import failpoint
from ..settings import Settings
from ..store import Store
from ..units import counted, short
from .bisect_state import Limit, State, StateFile
from .metric import Metric, finite, measuring
from .replay import Replay, replaying
from .revisions import read_commit

Tell = Callable[[str], None]


class NothingBroke(UserError):
    """The version that was said to be bad is not."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}: nothing broke between them", "name other versions")


@dataclass(frozen=True)
class Found:
    """The first bad commit. `versions` are the commits that it was looked for among, `evaluated` how many of them were tried."""

    commit: bytes
    round: int
    before: bytes
    value: float | None
    value_before: float | None
    limit: Limit
    versions: int
    evaluated: int
    ends_evaluated: int

    def fields(self) -> dict[str, Any]:
        """Return it as plain values, digests in hex."""
        return {
            "commit": self.commit.hex(), "round": self.round, "before": self.before.hex(), "value": self.value,
            "value_before": self.value_before, "bad_if": self.limit.side, "threshold": self.limit.threshold,
            "versions": self.versions, "evaluations": self.evaluated, "ends_evaluated": self.ends_evaluated,
        }  # fmt: skip


def suspects(store: Store, good: bytes, bad: bytes) -> list[bytes]:
    """Return the commits after `good` up to `bad`, oldest first. Raises UserError unless `bad` descends from `good`."""
    links, path, at = store.links(), [], bad
    while at != good:
        path.append(at)
        parents = links[at][1] if at in links else ()
        if not parents:
            raise UserError(f"{short(bad)} does not descend from {short(good)}", "name the good version first, then the bad one")
        at = parents[0]
    if not path:
        raise UserError("the good and the bad version are the same", "name two different ones")
    return path[::-1]


def narrowed(path: Sequence[bytes], values: dict[str, float | None], limit: Limit) -> tuple[int, int]:
    """Return the positions in `path` of the newest version known to be good (-1: before it) and of the first known to be bad."""
    good, bad = -1, len(path) - 1
    while bad - good > 1:
        middle = (good + bad) // 2
        if path[middle].hex() not in values:
            break
        if limit.is_bad(values[path[middle].hex()]):
            bad = middle
        else:
            good = middle
    return good, bad


async def bisect(
    event: EventManifest, store: Store, file: StateFile, state: State, settings: Settings, tell: Tell
) -> Found:
    """Answer the state's question, from where it is; `tell` hears a line after each version. Raises UserError, NothingBroke."""
    question = state.question
    good, bad = bytes.fromhex(question.good), bytes.fromhex(question.bad)
    path = suspects(store, good, bad)
    needs_data = question.measure != "command"
    async with measuring(event, store, question) as metric, replaying(event, store, settings, data=needs_data) as weights:
        trial = _Trial(store, weights, metric, file, state, tell)
        limit = question.limit or half_way(await trial.value(good), await trial.value(bad))
        while True:
            low, high = narrowed(path, state.values, limit)
            if high - low == 1:
                break
            middle = path[(low + high) // 2]
            value = await trial.value(middle)
            low, high = narrowed(path, state.values, limit)
            tell(trial.line(middle, value, limit, high - low - 1))
        if path[high] == bad and not limit.is_bad(value := await trial.value(bad)):
            raise NothingBroke(f"{short(bad)} is no worse than {short(good)} ({_number(value)})")
    ends = {good.hex(), bad.hex()} & state.values.keys()
    before = path[high - 1] if high else good
    return Found(
        commit=path[high], round=store.commit(path[high]).round, before=before, value=state.values.get(path[high].hex()),
        value_before=state.values.get(before.hex()), limit=limit, versions=len(path),
        evaluated=len(state.values.keys() - ends), ends_evaluated=len(ends),
    )  # fmt: skip


def half_way(good: float | None, bad: float | None) -> Limit:
    """Return the limit in the middle between the values of a good and a bad version. Raises NothingBroke if there is none."""
    if good is None or good == bad:
        raise NothingBroke(f"the good version has {_number(good)}, the bad one {_number(bad)}")
    if bad is None:
        return Limit(side="above", threshold=abs(good) * 2 + 1)  # only NaN is bad; what is that far off is as well
    return Limit(side="above" if bad > good else "below", threshold=(good + bad) / 2)


class _Trial:
    """Measures versions, each once."""

    def __init__(self, store: Store, weights: Replay, metric: Metric, file: StateFile, state: State, tell: Tell) -> None:
        self._store = store
        self._weights = weights
        self._metric = metric
        self._file = file
        self._state = state
        self._tell = tell

    async def value(self, digest: bytes) -> float | None:
        """Return a version's value; it is kept before this returns. Raises UserError."""
        if digest.hex() not in self._state.values:
            await self._weights.go_to(read_commit(self._store, digest))
            value = finite(await self._metric(self._weights))
            failpoint("bisect-evaluated")
            self._state.values[digest.hex()] = value
            self._file.save(self._state)
            failpoint("bisect-saved")
        return self._state.values[digest.hex()]

    def line(self, digest: bytes, value: float | None, limit: Limit, left: int) -> str:
        """Return what is said of a version that was tried: with `left` that are still in question."""
        verdict = "bad" if limit.is_bad(value) else "good"
        still = left.bit_length()
        rest = f"{counted(left, 'version')} left, {still} more to evaluate" if left else "that decides it"
        return f"round {self._store.commit(digest).round} {short(digest)}: {_number(value)}, {verdict}; {rest}"


def _number(value: float | None) -> str:
    return "not a number" if value is None else f"{value:.6g}"
