"""The CUDA sources compile: by nvcc for each architecture, by NVRTC into a cache, and what fails says so in one line."""

from __future__ import annotations

import importlib
import logging
import re
import shutil
import subprocess
import sys
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from collab import kernels
from collab.kernels import Codec, Layout, cuda, entry
from collab.kernels.cuda import compile as compiling
from collab.kernels.cuda.arguments import KERNELS
from collab.kernels.reference import Reference


def _has_nvrtc() -> bool:
    try:
        importlib.import_module("cuda.bindings.nvrtc").nvrtcVersion()
    except Exception:  # the library's own kinds of what is missing
        return False
    return True



@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
def test_nvcc_compiles_everything_without_a_warning_or_a_spill(tmp_path: Path) -> None:
    targets = ("arch=compute_80,code=sm_80", "arch=compute_90,code=sm_90", "arch=compute_90,code=compute_90")
    generate = [word for target in targets for word in ("-gencode", target)]
    strict = ["-std=c++17", "-fmad=false", "-Werror", "all-warnings", "-Xptxas", "-v,--warn-on-spills"]
    output = ["-fatbin", "-o", str(tmp_path / "fatbin"), str(compiling.SOURCES / compiling.MAIN)]
    done = subprocess.run(["nvcc", *strict, *generate, *output], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    compiled = re.findall(r"Compiling entry function '(\w+)' for '(\w+)'", done.stderr)
    assert sorted(compiled) == sorted((kernel, sm) for kernel in KERNELS for sm in ("sm_80", "sm_90"))
    spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", done.stderr)
    assert spills == [("0", "0")] * len(compiled)


@pytest.mark.skipif(not _has_nvrtc(), reason="no cuda-bindings with NVRTC")
def test_nvrtc_compiles_once_and_the_cache_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = compiling.compiled(90, tmp_path)
    assert image.startswith(b"\x7fELF")
    assert all(kernel.encode() in image for kernel in KERNELS)
    monkeypatch.setattr(compiling, "_compile", lambda *_: pytest.fail("compiled again"))
    assert compiling.compiled(90, tmp_path) == image


class Status(IntEnum):
    NVRTC_SUCCESS = 0
    NVRTC_ERROR_COMPILATION = 6


class FakeNvrtc:
    """Knows 8.0 and 9.0, and compiles nothing."""

    def __init__(self) -> None:
        self.options: list[list[bytes]] = []
        self.outcome = Status.NVRTC_SUCCESS
        self.version = 13

    def nvrtcVersion(self) -> tuple[Status, int, int]:
        return Status.NVRTC_SUCCESS, self.version, 0

    def nvrtcGetSupportedArchs(self) -> tuple[Status, list[int]]:
        return Status.NVRTC_SUCCESS, [80, 90]

    def nvrtcCreateProgram(self, source: bytes, name: bytes, count: int, *lists: list[bytes]) -> tuple[Status, str]:
        assert [len(each) for each in lists] == [count, count]
        return Status.NVRTC_SUCCESS, "program"

    def nvrtcCompileProgram(self, program: str, count: int, options: list[bytes]) -> tuple[Status]:
        assert len(options) == count
        self.options.append(options)
        return (self.outcome,)

    def _size(self, program: str) -> tuple[Status, int]:
        return Status.NVRTC_SUCCESS, 5

    def _nothing(self, program: str, buffer: bytes = b"") -> tuple[Status]:
        return (Status.NVRTC_SUCCESS,)

    nvrtcGetCUBINSize = nvrtcGetPTXSize = nvrtcGetProgramLogSize = _size
    nvrtcGetCUBIN = nvrtcGetPTX = nvrtcGetProgramLog = nvrtcDestroyProgram = _nothing


@pytest.fixture
def nvrtc(monkeypatch: pytest.MonkeyPatch) -> FakeNvrtc:
    fake = FakeNvrtc()
    monkeypatch.setitem(sys.modules, "cuda.bindings.nvrtc", fake)
    return fake


def test_a_module_is_compiled_again_for_what_decides_it(nvrtc: FakeNvrtc, tmp_path: Path) -> None:
    for _ in range(2):
        compiling.compiled(80, tmp_path)
        compiling.compiled(90, tmp_path)
    assert [options[0] for options in nvrtc.options] == [b"--gpu-architecture=sm_80", b"--gpu-architecture=sm_90"]
    assert b"--fmad=false" in nvrtc.options[0]
    nvrtc.version = 14
    compiling.compiled(90, tmp_path)
    assert len(nvrtc.options) == 3
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    compiling.compiled(90, tmp_path)
    assert len(nvrtc.options) == 4
    assert len([*tmp_path.iterdir()]) == 3


def test_a_newer_device_gets_ptx_and_an_older_one_nothing(nvrtc: FakeNvrtc, tmp_path: Path) -> None:
    compiling.compiled(120, tmp_path)
    assert nvrtc.options[0][0] == b"--gpu-architecture=compute_90"
    with pytest.raises(RuntimeError, match=r"compute capability 7\.5 is below 8\.0"):
        compiling.compiled(75, tmp_path)


def test_a_cache_that_cannot_be_written_is_done_without(nvrtc: FakeNvrtc, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for _ in range(2):
        compiling.compiled(90, tmp_path / "file" / "folder")
    assert len(nvrtc.options) == 2


def test_what_nvrtc_refuses_is_an_error(nvrtc: FakeNvrtc, tmp_path: Path) -> None:
    nvrtc.outcome = Status.NVRTC_ERROR_COMPILATION
    with pytest.raises(RuntimeError, match="nvrtcCompileProgram: NVRTC_ERROR_COMPILATION"):
        compiling.compiled(90, tmp_path)
    assert not [*tmp_path.iterdir()]


def test_without_a_device_one_line_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cuda.load.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert cuda.load() is None
        assert cuda.load() is None
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("the codec does not use a GPU: ")
    cuda.load.cache_clear()


def test_a_device_that_does_not_start_is_none(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> int:
        raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be …")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", fail)
    cuda.load.cache_clear()
    assert cuda.load() is None
    assert caplog.messages == ["the codec does not use a GPU: the CUDA device: CUDA error: out of memory"]
    cuda.load.cache_clear()


def test_tensors_are_worked_on_where_they_are_and_no_other_device_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int | None] = []
    found = Reference()

    def load(index: int | None = None) -> Reference:
        opened.append(index)
        return found

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "load", load)
    entry.backend()
    layout = Layout.of({"w": torch.zeros(3)})
    kernels.decompress(kernels.compress({"w": torch.ones(3)}, None, Codec())[0], layout)
    assert not opened
    there = SimpleNamespace(is_cuda=True, device=torch.device("cuda", 1))
    assert entry._chosen(None, {"w": there}) is found  # type: ignore[dict-item]
    assert opened == [1]


@pytest.mark.parametrize("missing", [ImportError("No module named 'cuda'"), RuntimeError("nvrtcCompileProgram: …\nerror")])
def test_a_device_that_cannot_be_used_is_named(missing: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(capability: int) -> bytes:
        raise missing

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")
    monkeypatch.setattr(compiling, "compiled", fail)
    with pytest.raises(cuda.Unavailable, match="Some GPU: ") as raised:
        cuda.open_device()
    assert "\n" not in str(raised.value)
