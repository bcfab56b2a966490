"""The table of rounds that `log` and the demo print."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich import box
from rich.table import Table

from ...protocol.commit import Commit
from ..units import bytes_text, loss_text, short


@dataclass(frozen=True)
class RoundRow:
    """One merge round: what its contributions say together. `bytes_sent` is the size of all accepted payloads."""

    round: int
    loss: float | None
    samples: int
    bytes_sent: int
    contributors: int
    commit: str

    @classmethod
    def of(cls, commit: Commit) -> RoundRow:
        """Summarise a commit of our own store."""
        claims = [contribution for _, contribution in commit.contributions()]
        payloads = [blob for claim in claims for blob in (claim.payload, claim.fisher) if blob is not None]
        return cls(
            round=commit.round,
            loss=commit.loss,
            samples=sum(claim.samples for claim in claims),
            bytes_sent=sum(blob.size for blob in payloads),
            contributors=len(claims),
            commit=commit.digest.hex(),
        )


def rounds_table(rows: Iterable[RoundRow]) -> Table:
    """Return a table of at most 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("round", "loss", "samples", "bytes sent", "contributors"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("commit", no_wrap=True)
    for row in rows:
        cells = (str(row.round), loss_text(row.loss), f"{row.samples:,}", bytes_text(row.bytes_sent), str(row.contributors))
        table.add_row(*cells, short(row.commit))
    return table
