"""What is known of a bisection, and where it is kept, so that it can be gone on with after Ctrl-C or kill -9."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import UserError, disk_errors
from ..files import atomic_write, sync

_Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Limit(BaseModel):
    """Which values are bad: those above, or below, a threshold; None, which stands for NaN, always is."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    side: Literal["above", "below"]
    threshold: float

    def is_bad(self, value: float | None) -> bool:
        """Say whether a version with this value is bad."""
        return value is None or (value > self.threshold if self.side == "above" else value < self.threshold)


class Question(BaseModel):
    """What is looked for: between the commits `good` and `bad`, the first whose value is beyond the limit.

    What a version's value is: that of the metric `name`, 1 if the event's gate `name` fails it against the good version and 0 if
    not, or the exit status of the shell command `name`. Without a limit it is half-way between the values of the two ends.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    good: _Hex
    bad: _Hex
    measure: Literal["metric", "gate", "command"]
    name: str
    samples: int = 0
    limit: Limit | None = None


class State(BaseModel):
    """A question, and the values that were found so far, by commit in hex."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    question: Question
    values: dict[_Hex, float | None] = Field(default_factory=dict)


class StateFile:
    """The file of the bisection in one event's folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> State | None:
        """Return what was kept, None if nothing. Raises UserError."""
        try:
            return State.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValidationError, OSError) as error:
            raise UserError(f"{self._path} is damaged", "`collab-node bisect --reset` starts anew") from error

    def save(self, state: State) -> None:
        """Keep `state`, whole or not at all. Raises UserError."""
        atomic_write(self._path, state.model_dump_json(indent=1).encode())

    def remove(self) -> None:
        """Forget it, durably."""
        with disk_errors(self._path):
            self._path.unlink(missing_ok=True)
            sync(self._path.parent)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the bisection until the block ends. Raises UserError if another process does."""
        with disk_errors(self._path):
            descriptor = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise UserError("another process bisects this history", "wait for it, or stop it") from error
        finally:
            os.close(descriptor)
