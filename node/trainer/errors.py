"""What a request to the worker can fail with."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import StoreFull, UserError

OUT_OF_MEMORY = "out of memory: set a smaller micro batch, or train a smaller model on this machine"


class WorkerError(Exception):
    """A request that cannot be done; the worker goes on. `code` is a short stable word, `text` one line for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether `error` means that memory ran out, on the CPU or on a GPU.

    torch has a class for the GPU only; its CPU allocator raises a plain RuntimeError, known by its words.
    """
    name = type(error).__name__
    return isinstance(error, MemoryError) or name == "OutOfMemoryError" or "allocate memory" in str(error)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn failures of the machine (no memory, no room, no file) while doing `what` into a WorkerError."""
    try:
        yield
    except UserError as error:
        raise WorkerError("no_space" if isinstance(error, StoreFull) else "file", f"{what}: {error.message}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WorkerError("no_space", f"{what}: no space left on the disk; free some and start again") from error
        raise WorkerError("file", f"{what}: {error.strerror or error}: {error.filename or ''}".rstrip(": ")) from error
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise WorkerError("out_of_memory", OUT_OF_MEMORY) from error
        raise
