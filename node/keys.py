"""The node's identity on the disk: 32 bytes in hex, readable by its owner alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..protocol.identity import Identity
from .errors import UserError
from .files import write_private

_SEED_BYTES = 32
_MAX_FILE_BYTES = 128


def load_or_create(path: Path) -> Identity:
    """Return the identity in the file at `path`; make a new one where there is none. Raises UserError."""
    try:
        return load(path)
    except FileNotFoundError:
        return create(path)


def create(path: Path, identity: Identity | None = None) -> Identity:
    """Write `identity` (default: a new one) to a file that must not exist yet. Raises UserError."""
    identity = identity or Identity.generate()
    try:
        write_private(path, identity.seed.hex().encode() + b"\n")
    except UserError as error:
        if isinstance(error.__cause__, FileExistsError):
            return load(path)
        raise
    return identity


def load(path: Path) -> Identity:
    """Read an identity file: 64 hex digits or 32 raw bytes. Raises UserError, or FileNotFoundError if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        raise UserError(f"the key {path} cannot be read: {error.strerror}", f"chmod 600 {path}") from error
    try:
        _check_access(path, os.fstat(descriptor))
        return Identity(_seed(path, os.read(descriptor, _MAX_FILE_BYTES)))
    finally:
        os.close(descriptor)


def require(path: Path) -> Identity:
    """Read an identity file. Raises UserError, also if there is none."""
    try:
        return load(path)
    except FileNotFoundError as error:
        raise UserError(f"there is no key {path} yet", "`join` and `event create` make one") from error


def _check_access(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"the key {path} is not a file")
    if status.st_uid != os.getuid():
        hint = f"run the node as its owner, or chown it to user {os.getuid()}"
        raise UserError(f"the key {path} belongs to another user", hint)
    if status.st_mode & 0o077:
        raise UserError(f"the key {path} can be read by others (mode {status.st_mode & 0o777:03o})", f"chmod 600 {path}")


def _seed(path: Path, content: bytes) -> bytes:
    if len(content) == _SEED_BYTES:
        return content
    try:
        seed = bytes.fromhex(content.decode("ascii").strip())
    except ValueError:
        seed = b""
    if len(seed) != _SEED_BYTES:
        hint = "restore it from a backup, or move it away to get a new identity"
        raise UserError(f"the key {path} is damaged: 64 hex digits are expected", hint)
    return seed
