"""A merge's parts, from the request to the bytes: files read, shares exact."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from ... import kernels
from ...kernels import PayloadError
from ...kernels.merge import Contribution
from .contribute import clip_of
from .errors import WorkerError
from .messages import Part
from .session import Session


def contribution_of(session: Session, part: Part) -> Contribution:
    """Read a part's files. Raises WorkerError."""
    payload = Path(part.path).read_bytes()
    fisher = Path(part.fisher_path).read_bytes() if part.fisher_path else None
    try:
        clip = part.clip if part.clip is not None else clip_of(session, kernels.inspect(payload, session.layout).norm)
        return Contribution(payload, share_of(part), clip, fisher)
    except PayloadError as error:
        raise WorkerError("bad_payload", f"{Path(part.path).name[:16]}: {error}") from error
    except ValueError as error:
        raise WorkerError("bad_merge", str(error)) from error


def share_of(part: Part) -> float:
    """Return the share as the nearest float64, which Python's integer division gives on every machine.

    Raises ValueError unless it is a fraction between 0 and 1.
    """
    numerator, denominator = (int.from_bytes(number, "big") for number in (part.numerator, part.denominator))
    if not 0 < numerator <= denominator:
        raise ValueError("a share is a fraction above 0 and at most 1")
    return float(Fraction(numerator, denominator))
