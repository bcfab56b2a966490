"""A changelog from what the commits say: rounds and what they were merged from, merges and reverts with their messages."""

from __future__ import annotations

from collections.abc import Sequence

from ...protocol.commit import Commit
from ...protocol.credits import Credit
from ...protocol.proposal import open_merge
from ...protocol.revert import open_revert
from ..units import bytes_text, counted, peer_text, rounds_text, short

MOST_LINES = 1000


def changelog(commits: Sequence[Commit], credits: Sequence[Credit]) -> str:
    """Return Markdown of the `commits` of a release, oldest first, and of who made them (`credits`, the greatest first)."""
    lines = _changes(commits)
    if len(lines) > MOST_LINES:
        lines = [*lines[-MOST_LINES:], f"- and {len(lines) - MOST_LINES} earlier ones"]
    people = [f"- {peer_text(credit.peer)}: {_work(credit)}" for credit in credits[:MOST_LINES]]
    return "\n".join([*(lines or ["- the first version"]), *(["", "Contributors:", "", *people] if people else [])])


def _changes(commits: Sequence[Commit]) -> list[str]:
    """One line for each run of rounds, and one for each commit that says something of its own."""
    lines: list[str] = []
    run: list[Commit] = []
    for commit in commits:
        if commit.statement is None and commit.parents:
            run.append(commit)
            continue
        lines += _rounds(run)
        run = []
        if commit.parents:
            lines.append(f"- {_statement(commit)} ({short(commit.digest)})")
    return lines + _rounds(run)


def _rounds(run: Sequence[Commit]) -> list[str]:
    if not run:
        return []
    samples = sum(claim.samples for commit in run for _, claim in commit.contributions())
    merged = sum(len(commit.accepted) for commit in run)
    which = rounds_text(run[0].round, run[-1].round)
    return [f"- {which}: {counted(merged, 'contribution')} of {samples:,} samples merged ({short(run[-1].digest)})"]


def _statement(commit: Commit) -> str:
    text = open_revert(commit)[1].message if commit.method == "revert" else open_merge(commit)[1].message
    return " ".join(text.split()) or commit.method


def _work(credit: Credit) -> str:
    merged, checked = counted(credit.contributions, "contribution"), counted(credit.checked, "merge")
    work = f"{credit.samples:,} samples in {merged}, {checked} checked"
    gates = f", {counted(credit.gates, 'gate')} run" if credit.gates else ""
    return work + gates + (f", {bytes_text(credit.served)} served" if credit.served else "")
