"""`bisect` and `revert`: which commit broke it, and how to take it out again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError, UserError
from .flags import ConfigFlag, DataFlag, DeviceFlag, EventFlag, HomeFlag, JsonFlag, event_of, settings_of
from .offline import offline

if TYPE_CHECKING:
    from ..history.bisect import Found
    from ..history.bisect_state import Limit, Question, State, StateFile
    from ..store import Store


def bisect(
    good: Annotated[str, typer.Argument(metavar="[GOOD]", help="A version that was good.")] = "",
    bad: Annotated[str, typer.Argument(metavar="[BAD]", help="A later one that is bad.")] = "",
    gate: Annotated[str, typer.Option("--gate", metavar="METRIC", help="What to measure: loss, on the held-out samples.")] = "",
    run: Annotated[
        str, typer.Option("--run", metavar="COMMAND", help="A command instead: 0 is good, 1 to 124 bad; for $COLLAB_WEIGHTS.")
    ] = "",
    above: Annotated[float | None, typer.Option("--above", metavar="X", help="A value above X is bad.")] = None,
    below: Annotated[float | None, typer.Option("--below", metavar="X", help="A value below X is bad.")] = None,
    samples: Annotated[int, typer.Option("--samples", metavar="N", min=0, help="So many held-out samples; 0: the event's.")] = 0,
    reset: Annotated[bool, typer.Option("--reset", help="Forget a bisection that was not finished.")] = False,
    home: HomeFlag = None, config: ConfigFlag = None, event: EventFlag = "", device: DeviceFlag = None,
    data_dir: DataFlag = None, as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Find the commit that broke a metric between GOOD and BAD, in ⌈log₂ n⌉ evaluations. Without arguments: go on with the last.

    Without --above or --below, bad is what is nearer to BAD's value than to GOOD's.
    """
    from ..history.bisect import bisect as search
    from ..history.bisect_state import StateFile
    from ..reading import commit_line, open_store

    _, folder = event_of(home, config, event)
    settings = settings_of(config, device=device, data_dir=data_dir)
    file = StateFile(folder.path / "bisect.json")
    with file.lock():
        if reset:
            file.remove()
        with open_store(folder) as store:
            asked = _question(store, good, bad, gate, run, above, below, samples) if good or bad or gate or run else None
            if reset and asked is None:
                return
            state = _state(file, asked)
            tell = (lambda line: None) if as_json else typer.echo
            found = offline(search(folder.manifest().open(), store, file, state, settings, tell))
            file.remove()
            typer.echo(json.dumps(found.fields()) if as_json else _answer(found) + "\n" + commit_line(store.commit(found.commit)))


def _question(
    store: Store, good: str, bad: str, gate: str, run: str, above: float | None, below: float | None, samples: int
) -> Question:
    from ..history.bisect import suspects
    from ..history.bisect_state import Question
    from .integrity import digest_of

    if not (good and bad) or bool(gate) == bool(run):
        raise UsageError("a bisection needs a GOOD and a BAD version, and --gate METRIC or --run COMMAND")
    ends = digest_of(store, good), digest_of(store, bad)
    suspects(store, *ends)
    return Question(
        good=ends[0].hex(), bad=ends[1].hex(), gate=gate, run=run, samples=samples, limit=_limit(above, below, run)
    )


def _limit(above: float | None, below: float | None, run: str) -> Limit | None:
    from ..history.bisect_state import Limit

    if above is not None and below is not None:
        raise UsageError("--above and --below are two different things", "choose one")
    if run and (above is not None or below is not None):
        raise UsageError("a command says by its exit status what is bad, so --above and --below have no meaning with --run")
    if run:
        return Limit(side="above", threshold=0.0)
    if above is not None:
        return Limit(side="above", threshold=above)
    return None if below is None else Limit(side="below", threshold=below)


def _state(file: StateFile, asked: Question | None) -> State:
    """Return the bisection to go on with, or a new one. Raises UserError if another one is not finished."""
    from ..history.bisect_state import State

    kept = file.load()
    if asked is None:
        if kept is None:
            raise UserError("no bisection is under way", "begin one: collab-node bisect GOOD BAD --gate loss")
        return kept
    if kept is not None and kept.question != asked:
        raise UserError("another bisection is not finished", "go on with it: `collab-node bisect`; or forget it: add --reset")
    return kept or State(question=asked)


def _answer(found: Found) -> str:
    from ..units import short

    tried = f"{found.evaluated} of {found.versions} versions were evaluated"
    both = ", and both ends" if found.ends_evaluated else ""
    return f"commit {short(found.commit)} of round {found.round} is the first bad one; {tried}{both}"
