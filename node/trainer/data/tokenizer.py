"""Text to token ids: bytes by default, or a tokenizer of the `tokenizers` library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ....protocol.event import Data
from ..errors import WorkerError
from .document import inside

Tokens = npt.NDArray[np.unsignedinteger[Any]]

_SEPARATORS = ("<|endoftext|>", "</s>", "[SEP]", "[EOS]", "<eos>")
_MASKS = ("[MASK]", "<mask>")


class Tokenizer(Protocol):
    """Texts become ids below `vocabulary`; `separator` ends a document; `mask`, if there is one, hides a token."""

    vocabulary: int
    separator: int
    mask: int | None
    identity: str

    def encode(self, texts: Sequence[bytes]) -> list[Tokens]:
        """Return the token ids of each text, without special tokens."""


class ByteTokenizer:
    """A token a byte. NUL, which text has none of, separates documents; the mask is 256, which no byte is."""

    vocabulary = 256
    separator = 0
    mask: int | None = 256
    identity = "bytes"

    def encode(self, texts: Sequence[bytes]) -> list[Tokens]:
        return [np.frombuffer(text, dtype=np.uint8) for text in texts]


class LibraryTokenizer:
    """A tokenizer of Hugging Face's `tokenizers`: from a local JSON file, or from the hub by name."""

    def __init__(self, tokenizer: Any, identity: str) -> None:
        self._tokenizer = tokenizer
        self.identity = identity
        self.vocabulary = int(tokenizer.get_vocab_size(with_added_tokens=True))
        separator = self._first_of(_SEPARATORS)
        if separator is None:
            raise WorkerError("bad_data", f"the tokenizer has no token that ends a document: {', '.join(_SEPARATORS)}")
        self.separator = separator
        self.mask = self._first_of(_MASKS)

    def _first_of(self, names: Sequence[str]) -> int | None:
        ids = (self._tokenizer.token_to_id(name) for name in names)
        return next((int(number) for number in ids if number is not None), None)

    def encode(self, texts: Sequence[bytes]) -> list[Tokens]:
        readable = [text.decode(errors="replace") for text in texts]
        encodings = self._tokenizer.encode_batch(readable, add_special_tokens=False)
        return [np.asarray(encoding.ids, dtype=np.uint32) for encoding in encodings]


def open_tokenizer(data: Data, folder: Path) -> Tokenizer:
    """Return the event's tokenizer. Raises WorkerError("missing_extra") or WorkerError("bad_data")."""
    if data.tokenizer == "bytes":
        return ByteTokenizer()
    try:
        from tokenizers import Tokenizer as Library
    except ImportError as error:
        text = "this event's tokenizer needs transformers: pip install 'collab-node[transformers]'"
        raise WorkerError("missing_extra", text) from error
    path = inside(folder, data.tokenizer)
    try:
        library = Library.from_file(str(path)) if path.is_file() else Library.from_pretrained(data.tokenizer)
    except Exception as error:  # the library raises nothing more precise
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise WorkerError("bad_data", f"no tokenizer at {path}, and none to be had by that name: {reason}") from error
    return LibraryTokenizer(library, library.to_str())
