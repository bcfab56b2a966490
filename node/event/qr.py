"""An invite as a QR code in a terminal: two rows of modules a line of text, in blocks, dark on light where colours show."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import segno

from ...protocol.invite import Invite

BORDER = 2
_BLOCKS = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
"""By (upper, lower) module being dark. Light is drawn and dark left out: right on a dark terminal that shows no colours too."""


def qr_text(invite: Invite, columns: int) -> tuple[Invite, list[str]]:
    """Return what the code holds and its lines: the invite with as many of its addresses as fit, those of most use first.

    Even with a single address a code may be wider than `columns`.
    """
    addresses = sorted(invite.bootstrap, key=_reach)
    for count in range(len(addresses), 0, -1):
        held = invite.model_copy(update={"bootstrap": tuple(addresses[:count])})
        lines = _lines(held.text())
        if len(lines[0]) <= columns:
            break
    return held, lines


def _lines(text: str) -> list[str]:
    code = segno.make_qr(text, error="l", boost_error=False)
    rows = [[bool(module) for module in row] for row in code.matrix_iter(border=BORDER)]
    if len(rows) % 2:
        rows.append([False] * len(rows[0]))
    return ["".join(_BLOCKS[pair] for pair in zip(*both, strict=True)) for both in _pairs(rows)]


def _pairs(rows: Sequence[list[bool]]) -> list[tuple[list[bool], list[bool]]]:
    return list(zip(rows[::2], rows[1::2], strict=True))


def _reach(address: str) -> int:
    """Return 0 for an address that can be reached from everywhere, more for those of a relay, a home network, this machine."""
    host = address.split("/")[2]
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return 0
    if ip.is_loopback:
        return 3
    if ip.is_private:
        return 2
    return 1 if "/p2p-circuit" in address else 0
