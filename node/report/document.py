"""What the report says, in order: blocks that can be written as HTML and as Markdown (`render`)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ...protocol.amendments import Body, Recipe
from ...protocol.gates import refusal_of
from ..amendments.words import body_words, peer_words
from ..dashboard.reasons import words
from ..dashboard.released import Opened
from ..units import bytes_text, loss_text, seconds_text
from .figures import EventRecord
from .plots import Plot

_LABELS = {
    "event": "Event",
    "commit": "Newest commit",
    "state": "State hash of its weights",
    "version": "collab-node",
    "parameters": "Parameters",
    "rounds": "Rounds",
    "began": "First commit",
    "ended": "Newest commit",
    "seconds_between_first_and_last_commit": "Time between them",
    "seconds_a_round_median": "A round took (median)",
    "contributors": "Contributors",
    "contributors_a_round_median": "Contributors a round (median)",
    "contributors_a_round_most": "Contributors a round (most)",
    "contributions_merged": "Contributions merged",
    "contributions_refused": "Contributions refused",
    "samples": "Samples",
    "tokens": "Tokens",
    "samples_a_second": "Samples a second",
    "training_loss_first": "Training loss, first round",
    "training_loss_last": "Training loss, newest round",
    "held_out_loss_first": "Held-out loss, first measured",
    "held_out_loss_last": "Held-out loss, last measured",
    "held_out_loss_best": "Held-out loss, lowest",
    "payload_bytes": "Contributions' size together",
    "payload_bytes_mean": "A contribution's size (mean)",
    "dense_bytes": "The same, had they been dense float32",
    "times_smaller_than_dense": "Times smaller than dense",
    "share_of_the_most_active": "Share of the most active contributor",
    "gini_of_samples": "Gini coefficient of samples",
    "releases": "Releases",
    "gates_run": "Gates run, that the history shows",
    "served_bytes": "Bytes served, that contributors signed for",
    "gates_run_here": "Gates run by the node that wrote this",
}
_RECIPE = ("model", "data", "inner", "compression", "outer", "merge", "rounds")


@dataclass(frozen=True)
class Heading:
    """A section's title."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """A sentence or a few."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; columns in `right` are numbers."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Picture:
    """A plot with its caption."""

    plot: Plot


Block: TypeAlias = Heading | Paragraph | Table | Picture


def document(record: EventRecord, figures: Mapping[str, Any], plots: Sequence[Plot]) -> list[Block]:
    """Return the report of an event, its title apart."""
    drawn = {plot.name: Picture(plot) for plot in plots}
    versions, gates = ([drawn.pop(name)] if name in drawn else [] for name in ("versions-time", "gates-time"))
    losses = [drawn.pop(name) for name in list(drawn) if name.startswith("loss-")]
    return [
        Paragraph(_summary(record, figures)),
        *([Paragraph(record.event.description)] if record.event.description else []),
        Heading("What was reached"),
        *losses,
        Heading("Who took part, and how fast it went"),
        *drawn.values(),
        Heading("Versions and gates"),
        *versions,
        *_releases(record),
        *gates,
        *_gates(record),
        Heading("Thanks to"),
        Paragraph(
            "By samples in merged contributions, then by merges checked, gates run, bytes served: computed from the signed "
            "history alone."
        ),
        _credits(record),
        Heading("Refused contributions"),
        *_refused(record),
        Heading("In figures"),
        _figures_table(figures),
        Heading("Recipe"),
        _recipe(record),
        *_decided(record),
        Heading("How to check this"),
        Paragraph(
            "The history is signed by its contributors and certified by its committees. Whoever joins the event replays it, and "
            "`collab-node log --json` prints what these figures are made of. `figures.json` and `credits.csv` hold them for "
            "programs, `figures/` each plot as SVG and as PDF."
        ),
    ]


def _summary(record: EventRecord, figures: Mapping[str, Any]) -> str:
    measured = figures["held_out_loss_last"] is not None
    kind = "held-out" if measured else "training"
    first, last = (figures[f"{kind.replace('-', '_')}_loss_{end}"] for end in ("first", "last"))
    return (
        f"{_contributors(figures)} trained {record.event.name} from {_day(figures['began'])} to "
        f"{_day(figures['ended'])}: {figures['rounds']} rounds merged {figures['contributions_merged']:,} contributions of "
        f"{figures['samples']:,} samples together. The {kind} loss went from {loss_text(first)} to {loss_text(last)} nats a "
        "token."
    )


def _contributors(figures: Mapping[str, Any]) -> str:
    number: int = figures["contributors"]
    return f"{number} contributor" + "s" * (number != 1)


def title(record: EventRecord, figures: Mapping[str, Any]) -> str:
    """Return the report's title."""
    return f"{record.event.name}: what {_contributors(figures)} made together"


def _credits(record: EventRecord) -> Table:
    ranked = [credit for credit in record.ledger.ranking if credit.gave]
    total = max(1, sum(credit.samples for credit in ranked))
    rows = [
        (
            str(rank), f"{record.names.get(credit.peer, '')} {credit.peer}".strip(), f"{credit.samples:,}",
            f"{credit.samples / total:.1%}", f"{credit.contributions:,}", f"{credit.checked:,}", f"{credit.gates:,}",
            bytes_text(credit.bytes), bytes_text(credit.served),
        )
        for rank, credit in enumerate(ranked, start=1)
    ]  # fmt: skip
    headings = ("Rank", "Contributor", "Samples", "Share", "Merged", "Checked", "Gates", "Sent", "Served")
    return Table(headings, tuple(rows), frozenset(range(2, 9)))


def _releases(record: EventRecord) -> list[Block]:
    released = record.released
    if released.problem:
        return [Paragraph(f"The releases cannot be told: {released.problem}")]
    if not released.releases:
        return [Paragraph("Nothing was released.")]
    rows = tuple(
        (
            opened.release.version, str(opened.release.round), _day(opened.release.time), opened.why, _verdicts(opened),
            record.names.get(opened.release.releaser, "") or opened.release.releaser,
        )
        for opened in released.releases
    )  # fmt: skip
    return [Table(("Release", "Round", "When", "Why this version", "Tests passed", "Released by"), rows, frozenset({1}))]


def _verdicts(opened: Opened) -> str:
    if not opened.verdicts:
        return "none were run"
    passed = sum(measured.passed for _, measured in opened.verdicts)
    peers = len({peer for peer, _ in opened.verdicts})
    return f"{passed} of {len(opened.verdicts)}, run by {peers} peer" + "s" * (peers != 1)


def _gates(record: EventRecord) -> list[Block]:
    if not record.event.gate:
        return [Paragraph("The event has no gates.")]
    rows = []
    for gate in record.event.gate:
        found = [measured for _, measured in record.results(gate.name)]
        passed = f"{sum(measured.passed for measured in found)} of {len(found)}" if found else "not run here"
        refused = record.ledger.reasons[refusal_of(gate.name)]
        when = "every commit" if gate.rounds else "proposals, releases"
        rows.append((gate.name, gate.kind, when, passed, f"{refused:,}", found[-1].sentence() if found else ""))
    headings = ("Gate", "Kind", "Runs on", "Commits passed", "Contributions kept out", "Newest result")
    return [
        Table(headings, tuple(rows), frozenset({4})),
        Paragraph("Commits passed and newest results are those that the node measured that wrote this report."),
    ]


def _refused(record: EventRecord) -> list[Block]:
    if not record.ledger.reasons:
        return [Paragraph("None.")]
    rows = tuple((_sentence(words(reason)), f"{count:,}") for reason, count in record.ledger.reasons.most_common())
    return [Table(("Why", "How many"), rows, frozenset({1}))]


def _figures_table(figures: Mapping[str, Any]) -> Table:
    shown = [(label, _value(name, figures[name])) for name, label in _LABELS.items() if figures[name] is not None]
    return Table(("Figure", "Value"), tuple(shown), frozenset({1}))


def _recipe(record: EventRecord) -> Table:
    sections = {name: getattr(record.event, name).model_dump() for name in _RECIPE}
    return Table(("Part", "Settings"), tuple((name, _settings(section)) for name, section in sections.items()))


def _settings(section: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in section.items() if value not in ("", (), {}))


def _what(body: Body) -> str:
    """Say what was decided; of a new recipe, all of its values."""
    if not isinstance(body, Recipe):
        return body_words(body)
    sections = (f"{name}: {_settings(section.model_dump())}" for name, section in body.sections().items())
    return f"a new recipe from round {body.from_round} on; {'; '.join(sections)}"


def _decided(record: EventRecord) -> list[Block]:
    """What was amended: without it the recipe would not be that of every round."""
    if not record.decided:
        return []
    rows = [
        (str(content.number), _day(content.time), _what(content.body), ", ".join(map(peer_words, signed.signers)))
        for signed in record.decided
        for content in [signed.content]
    ]
    return [
        Paragraph("This is the recipe that the event was created with; what coordinators decided later is here."),
        Heading("What the coordinators decided"),
        Table(("Number", "When", "What", "Signed by"), tuple(rows), frozenset({0})),
    ]


def _value(name: str, value: Any) -> str:
    if name in ("began", "ended"):
        return _day(value)
    if "bytes" in name:
        return bytes_text(value)
    if name.startswith("seconds"):
        return seconds_text(value)
    if isinstance(value, float):
        return f"{value:,.4g}" if "loss" not in name else loss_text(value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _day(moment: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(moment))
