"""Finding and loading the compiled library, and doing without it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from native_kit import ALL, INSTRUCTIONS

from collab import kernels
from collab.kernels import Codec, Layout, native
from collab.kernels.native import LibraryError, Native, library

built = pytest.mark.skipif(not INSTRUCTIONS, reason="the native library was not built")


@built
def test_it_is_the_default() -> None:
    assert kernels.backend().name == "native"


@built
def test_the_first_set_is_for_every_machine() -> None:
    assert library.INSTRUCTIONS[: len(INSTRUCTIONS)] == INSTRUCTIONS
    with pytest.raises(ValueError, match="portable"):
        Native(instructions="mmx")


@built
def test_a_library_of_other_sources_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "ABI", library.ABI + 1)
    with pytest.raises(LibraryError, match="other sources"):
        library.find()


def test_what_is_no_library_is_refused(tmp_path: Path) -> None:
    (tmp_path / "_codec.so").write_bytes(b"text")
    with pytest.raises(LibraryError, match=r"_codec\.so cannot be loaded"):
        library.Library(tmp_path / "_codec.so")


def test_without_a_library_one_line_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(library, "EXTENSION_SUFFIXES", [])
    load = native.load.__wrapped__
    with caplog.at_level(logging.WARNING):
        assert load() is None
    assert [record.getMessage() for record in caplog.records] == [
        "the codec runs as slowly as its reference, without its native library: it was not built, for want of a C++ compiler"
    ]


@pytest.mark.parametrize("instructions", ALL)
def test_values_on_a_support_are_the_reference_s(instructions: str) -> None:
    backend, tensors = Native(instructions=instructions), {"w": torch.arange(1.0, 101.0)}
    patch, _ = backend.compress(tensors, None, Codec(k=512), Layout.of(tensors), None)
    payload = kernels.compress_on_support(tensors, patch, backend=backend)
    assert payload == kernels.compress_on_support(tensors, patch, backend=kernels.backend("reference"))
