"""The invites that a coordinator made, as a table of at most 80 columns."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from ...protocol.admission import Admitted
from ..units import seconds_text, short
from .inviting import Issued


def invites_table(issued: Sequence[Issued], admitted: Admitted, revoked: Collection[bytes], now: float) -> Table:
    """One row an invite; `revoked` are tokens' ids, `now` in Unix seconds."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("id", "made on", "expires", "uses"):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "uses" else "left")
    table.add_column("note", overflow="fold")
    for one in issued:
        used = len(admitted.by(one.token))
        made = time.strftime("%Y-%m-%d", time.localtime(one.created))
        uses = f"{used} of {one.uses}" if one.uses else str(used)
        ends = "revoked" if one.token in revoked else _expiry(one.expires, now)
        table.add_row(short(one.token), made, ends, uses, Text(one.note))
    return table


def _expiry(expires: int, now: float) -> str:
    if not expires:
        return "never"
    if expires <= now:
        return "expired"
    return "in " + (f"{(expires - now) / 86400:.0f} days" if expires - now >= 2 * 86400 else seconds_text(expires - now))
