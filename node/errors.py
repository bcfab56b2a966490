"""Errors that a person can cause: one line that says what is wrong, and one that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)


class UserError(Exception):
    """Something that whoever runs the node can mend. The command line prints it and exits with `exit_code`."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def lines(self) -> list[str]:
        """Return what the command line prints: the error (one line for each mistake), and the hint if there is one."""
        errors = [f"error: {line}" for line in self.message.splitlines()]
        return [*errors, *([f"hint: {self.hint}"] if self.hint else [])]


class UsageError(UserError):
    """The command was called in a way that cannot work."""

    exit_code = 2


class NothingToDo(UserError):
    """This node can do nothing here, now or later: a service must not start it again."""

    exit_code = 3


class StoreFull(UserError):
    """The disk has no room; nothing was half-written."""

    def __init__(self, where: object) -> None:
        super().__init__(f"no space left on the disk that holds {where}", "free some, or move the node with --home DIR")


@contextmanager
def disk_errors(where: object) -> Iterator[None]:
    """Turn a full disk and unwritable places under `where` into a UserError; other errors are bugs and stay what they are."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise StoreFull(where) from error
        if error.errno in _UNWRITABLE:
            place = error.filename or where
            raise UserError(f"cannot write {place}: {error.strerror}", "check the place, its owner and permissions") from error
        raise
