"""What a project requires (`modules.toml`, written by people too) and what was chosen for it (`modules.lock`).

The lock pins the hash of each package's signed record, which in turn has the hash of every file.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...protocol.errors import LocalProtocolError
from ...protocol.identity import PeerId
from ...protocol.module import Requirement
from ...protocol.record import Word
from ..errors import UserError
from ..files import atomic_write
from .index import Held

WANTED = "modules.toml"
LOCK = "modules.lock"
_MOST_BYTES = 4 * 1024 * 1024
_NOTE = "# Written by `collab-node add`; `collab-node install` makes exactly this.\n"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class _Wanted(_Strict):
    requires: dict[Word, Annotated[str, Field(max_length=128)]] = {}


class Pinned(_Strict):
    """One package of a lock: `record` is its signed record's SHA-256 in hex."""

    name: Word
    version: Annotated[str, Field(max_length=32, pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$")]
    record: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    publisher: PeerId


class Lock(_Strict):
    """All packages of a project, by name."""

    format: Literal[1] = 1
    package: Annotated[list[Pinned], Field(max_length=4096)] = []


def pin(held: Held) -> Pinned:
    """Return how a lock names a package."""
    module = held.package.module
    return Pinned(name=module.name, version=module.version, record=held.digest.hex(), publisher=held.package.publisher)


def read_wanted(project: Path) -> dict[str, Requirement]:
    """Return what the project requires, by name; nothing where there is no such file. Raises UserError."""
    path = project / WANTED
    wanted = _read(path, _Wanted) if path.exists() else _Wanted()
    try:
        return {name: Requirement.parse(f"{name} {text}") for name, text in wanted.requires.items()}
    except LocalProtocolError as error:
        raise UserError(f"{path}: {error}") from error


def write_wanted(project: Path, wanted: Mapping[str, Requirement]) -> None:
    """Write what the project requires."""
    lines = [f"{name} = {json.dumps(wanted[name].range.text)}" for name in sorted(wanted)]
    atomic_write(project / WANTED, "\n".join(["[requires]", *lines, ""]).encode())


def read_lock(project: Path) -> Lock:
    """Return the lock. Raises UserError if there is none."""
    path = project / LOCK
    if not path.exists():
        raise UserError(f"{project} has no {LOCK}", "`collab-node add NAME@RANGE` writes one")
    return _read(path, Lock)


def write_lock(project: Path, held: Sequence[Held]) -> None:
    """Write the lock of these packages."""
    parts = [
        "\n".join(["[[package]]", *(f"{name} = {json.dumps(value)}" for name, value in pin(each).model_dump().items())])
        for each in held
    ]
    atomic_write(project / LOCK, (_NOTE + "\n\n".join(["format = 1", *parts]) + "\n").encode())


T = TypeVar("T", bound=BaseModel)


def _read(path: Path, kind: type[T]) -> T:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path} is too large")
        fields: dict[str, Any] = tomllib.loads(path.read_text())
        return kind.model_validate(fields)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except ValueError as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error
