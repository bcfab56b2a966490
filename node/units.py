"""Numbers as people read them."""

from __future__ import annotations

_SHORT_ID = 12


def bytes_text(count: float) -> str:
    """Return such as `999 B`, `1.2 MB` (powers of 1000)."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:,.1f} TB"


def seconds_text(seconds: float) -> str:
    """Return such as `8 s`, `2 min 05 s`, `1 h 02 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def rounds_text(first: int, last: int) -> str:
    """Return such as `round 3`, `rounds 3 to 5`."""
    return f"round {first}" if first == last else f"rounds {first} to {last}"


def loss_text(loss: float | None) -> str:
    """Return a loss with four decimals, or a dash."""
    return "-" if loss is None else f"{loss:.4f}"


def short(digest: str | bytes) -> str:
    """Return the first digits of a digest: enough to tell commits apart."""
    return (digest.hex() if isinstance(digest, bytes) else digest)[:_SHORT_ID]


def peer_text(peer: str) -> str:
    """Return a peer id's two ends: all begin alike, so its last letters tell peers apart."""
    return f"{peer[:8]}…{peer[-6:]}" if len(peer) > 16 else peer


def percent_text(share: float) -> str:
    """Return such as `12.5%`; `<0.1%` for what is more than nothing."""
    return "<0.1%" if 0 < share < 0.0005 else f"{100 * share:.1f}%"


def counted(count: int, one: str, many: str = "") -> str:
    """Return such as `1 round`, `2,000 rounds`; `many` where that is not `one` with an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def small_text(value: float) -> str:
    """Return a number of any size in four digits, such as `0.01234`, `1.2e-07`."""
    return f"{value:.4g}"


def printable(message: str) -> str:
    """Return a stranger's message without what could steer a terminal."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in message)
