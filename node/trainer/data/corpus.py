"""The tokens of an event's data on the disk, in two memory-mapped parts: to train on, and held out.

Made once for each (source as it is now, tokenizer, split) and then shared by all nodes that share the cache folder: the first
writes it under a lock, the others wait and map it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ....protocol.canonical import DOCUMENT_LIMITS, decode, encode
from ....protocol.errors import RemoteProtocolError
from ....protocol.event import Data
from ...files import sync
from ..errors import WorkerError, translated
from .document import Document
from .sources import Source, open_source
from .tokenizer import Tokenizer, Tokens, open_tokenizer

_FORMAT = "collab-node/corpus/1"
_AT_ONCE = 256
_PARTS = ("train", "held_out")


@dataclass(frozen=True)
class Corpus:
    """Memory-mapped token ids (uint8, uint16 or uint32) and the tokenizer that made them."""

    train: Tokens
    held_out: Tokens
    tokenizer: Tokenizer


def prepare(data: Data, folder: Path, cache: Path) -> Corpus:
    """Return the event's corpus, from the cache where it is there already. Raises WorkerError."""
    with translated("preparing the data"):
        tokenizer = open_tokenizer(data, folder)
        source = open_source(data, folder)
        place = cache / _name(data, source, tokenizer)
        with _locked(cache, place.name):
            if not (place / "meta").is_file():
                _write(place, data, source, tokenizer)
        return _open(place, tokenizer)


def is_held_out(key: bytes, share: float) -> bool:
    """Say on which side of the split the document with `key` is: a function of the key alone, the same on every machine."""
    return int.from_bytes(hashlib.sha256(b"held-out\0" + key).digest()[:8], "big") < share * 2**64


def _name(data: Data, source: Source, tokenizer: Tokenizer) -> str:
    identity = hashlib.sha256(tokenizer.identity.encode()).digest()
    what = [_FORMAT, source.fingerprint(), identity, data.held_out, data.max_bytes]
    return hashlib.sha256(encode(what)).hexdigest()[:32]


@contextmanager
def _locked(cache: Path, name: str) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f".{name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(place: Path, data: Data, source: Source, tokenizer: Tokenizer) -> None:
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    shutil.rmtree(place, ignore_errors=True)
    temporary.mkdir()
    try:
        counts = _write_parts(temporary, _capped(source.documents(), data.max_bytes), data.held_out, tokenizer)
        (temporary / "meta").write_bytes(encode({"counts": counts, "type": _type(tokenizer).name}))
        for path in (*temporary.iterdir(), temporary):
            sync(path)
        temporary.rename(place)
        sync(place.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _capped(documents: Iterator[Document], limit: int) -> Iterator[Document]:
    taken = 0
    for document in documents:
        yield document
        taken += len(document.text)
        if limit and taken >= limit:
            return


def _write_parts(folder: Path, documents: Iterator[Document], share: float, tokenizer: Tokenizer) -> list[int]:
    counts = [0, 0]
    with ExitStack() as stack:
        files: list[BinaryIO] = [stack.enter_context((folder / part).open("wb")) for part in _PARTS]
        while some := list(islice(documents, _AT_ONCE)):
            for document, tokens in zip(some, tokenizer.encode([document.text for document in some]), strict=True):
                side = int(is_held_out(document.key, share))
                ended = np.append(tokens, tokenizer.separator).astype(_type(tokenizer))
                files[side].write(ended.tobytes())
                counts[side] += len(ended)
    return counts


def _type(tokenizer: Tokenizer) -> np.dtype[np.unsignedinteger]:
    return np.dtype(np.min_scalar_type(tokenizer.vocabulary - 1)).newbyteorder("<")


def _open(place: Path, tokenizer: Tokenizer) -> Corpus:
    try:
        meta = decode((place / "meta").read_bytes(), DOCUMENT_LIMITS)
    except RemoteProtocolError as error:
        raise WorkerError("bad_data", f"the data's cache at {place} is damaged: delete it and start again") from error
    kind = _type(tokenizer)
    train, held_out = (_map(place / part, kind) for part in _PARTS)
    if meta != {"counts": (len(train), len(held_out)), "type": kind.name}:
        raise WorkerError("bad_data", f"the data's cache at {place} is damaged: delete it and start again")
    return Corpus(train, held_out, tokenizer)


def _map(path: Path, kind: np.dtype[np.unsignedinteger]) -> Tokens:
    # An empty file cannot be mapped.
    return np.memmap(path, dtype=kind, mode="r") if path.stat().st_size else np.zeros(0, kind)
