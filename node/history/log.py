"""The log: which refs stand at a commit, one line for it, and what each contributor did in a stretch of history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...protocol.commit import Commit
from ...protocol.merging import parts
from ...protocol.refs import MAIN
from ...protocol.refs.names import shortened
from ..reading import commit_fields, commit_line, signer_of
from ..store import Store


def ref_labels(store: Store) -> dict[bytes, list[str]]:
    """Return what `log` shows behind a commit: `HEAD -> main`, other branches, `tag: v1`."""
    labels: dict[bytes, list[str]] = {}
    for name, commit in sorted(store.refs.all().items(), key=lambda item: (item[0] != MAIN, item[0])):
        short = shortened(name)
        label = "HEAD -> main" if name == MAIN else f"tag: {short}" if name.startswith("tags/") else short
        labels.setdefault(commit, []).append(label)
    return labels


def log_line(commit: Commit, labels: Mapping[bytes, Sequence[str]]) -> str:
    """Return a commit in one line, with the refs that stand at it."""
    refs = ", ".join(labels.get(commit.digest, ()))
    digest, _, rest = commit_line(commit).partition(" ")
    return f"{digest} ({refs}) {rest}" if refs else f"{digest} {rest}"


def log_fields(commit: Commit, labels: Mapping[bytes, Sequence[str]]) -> dict[str, Any]:
    """Return a commit as plain values, with the refs that stand at it."""
    return {**commit_fields(commit), "refs": list(labels.get(commit.digest, ()))}


@dataclass
class Work:
    """What one peer contributed to some commits. `share` adds up its shares of the merges: 1.0 is a merge of its own."""

    peer: str
    rounds: set[int] = field(default_factory=set)
    contributions: int = 0
    samples: int = 0
    steps: int = 0
    sent: int = 0
    share: float = 0.0
    rejected: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; `bytes_sent` is of the payloads that were merged."""
        return {
            "peer": self.peer, "rounds": sorted(self.rounds), "contributions": self.contributions, "samples": self.samples,
            "steps": self.steps, "bytes_sent": self.sent, "share": self.share, "rejected": self.rejected,
        }  # fmt: skip


def by_contributor(commits: Iterable[Commit]) -> list[Work]:
    """Return what everybody did, who trained on most samples first."""
    works: dict[str, Work] = {}
    for commit in commits:
        for part in parts(commit):
            work, claim = works.setdefault(part.signed.signer, Work(part.signed.signer)), part.contribution
            work.rounds.add(commit.round)
            work.contributions += 1
            work.samples += claim.samples
            work.steps += claim.steps
            work.sent += claim.payload.size + (claim.fisher.size if claim.fisher else 0)
            work.share += float(part.share)
        for rejected in commit.rejected:
            if (peer := signer_of(rejected.envelope)) is not None:
                works.setdefault(peer, Work(peer)).rejected += 1
    return sorted(works.values(), key=lambda work: (-work.samples, work.peer))


def spans(rounds: Iterable[int]) -> str:
    """Return such as `1-3, 7`."""
    runs: list[list[int]] = []
    for round in sorted(rounds):
        if runs and round == runs[-1][-1] + 1:
            runs[-1][1:] = [round]
        else:
            runs.append([round])
    return ", ".join("-".join(map(str, run)) for run in runs)
