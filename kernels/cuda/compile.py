"""CUDA sources compiled at first use, by NVRTC through `cuda-bindings`, and kept in the user's cache.

No toolkit and no host compiler is needed: NVRTC is a library that CUDA builds of torch depend on anyway, and the sources include
nothing but each other. A compiled module is named by the hash of all that decides it.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

SOURCES = Path(__file__).parent.parent / "csrc"
MAIN = "cuda.cu"
HEADERS = ("format.h", "block.h", "chunks.h", "select.h", "fit.h", "compress.h", "decode.h", "fisher.h")
OPTIONS = ("--std=c++17", "--device-as-default-execution-space", "--fmad=false", "--ftz=false", "--prec-div=true")
"""Nothing is contracted, flushed or approximated: every bit of a result is specified. Lambdas are the device's, which some NVRTC
take for the host's where nothing says so.
"""

OLDEST = 80
"""The first architecture whose warps add and compare in one instruction, which the kernels use: 8.0, Ampere."""


def compiled(capability: int, cache: Path | None = None) -> bytes:
    """The module for a device of this compute capability (90 for 9.0): a cubin, or PTX where NVRTC is older than the device.

    From `cache` (the user's by default) if it is there. Raises `ImportError` without cuda-bindings, `RuntimeError` if NVRTC is
    missing, refuses the device or fails.
    """
    nvrtc = importlib.import_module("cuda.bindings.nvrtc")
    try:
        version = _call(nvrtc, "nvrtcVersion")
        architecture = _architecture(_call(nvrtc, "nvrtcGetSupportedArchs")[0], capability)
    except (OSError, AttributeError) as error:  # the library is loaded at the first call
        raise RuntimeError(f"NVRTC is missing: {error}") from error
    sources = {name: (SOURCES / name).read_bytes() for name in (MAIN, *HEADERS)}
    named = (architecture, *map(str, version), *OPTIONS)
    digest = hashlib.sha256("\0".join(named).encode())
    for name, source in sources.items():
        digest.update(f"\0{name}\0{len(source)}\0".encode() + source)
    path = (cache or platformdirs.user_cache_path("collab-node") / "kernels") / digest.hexdigest()
    image = _recall(path)
    if image is None:
        image = _compile(nvrtc, architecture, sources)
        _remember(path, image)
    return image


def _architecture(supported: list[int], capability: int) -> str:
    if capability < OLDEST:
        raise RuntimeError(f"compute capability {capability / 10} is below {OLDEST / 10}")
    if capability in supported:
        return f"sm_{capability}"
    return f"compute_{max(known for known in supported if known <= capability)}"


def _compile(nvrtc: Any, architecture: str, sources: dict[str, bytes]) -> bytes:
    headers = [sources[name] for name in HEADERS]
    names = [name.encode() for name in HEADERS]
    (program,) = _call(nvrtc, "nvrtcCreateProgram", sources[MAIN], MAIN.encode(), len(headers), headers, names)
    try:
        options = [option.encode() for option in (f"--gpu-architecture={architecture}", *OPTIONS)]
        try:
            _call(nvrtc, "nvrtcCompileProgram", program, len(options), options)
        except RuntimeError as error:
            log = _bytes(nvrtc, "nvrtcGetProgramLog", program).rstrip(b"\0").decode(errors="replace").strip()
            raise RuntimeError(f"{error}: {log}") from None
        return _bytes(nvrtc, "nvrtcGetCUBIN" if architecture.startswith("sm_") else "nvrtcGetPTX", program)
    finally:
        _call(nvrtc, "nvrtcDestroyProgram", program)


def _bytes(nvrtc: Any, function: str, program: Any) -> bytes:
    (size,) = _call(nvrtc, f"{function}Size", program)
    buffer = bytes(size)  # which the library fills
    _call(nvrtc, function, program, buffer)
    return buffer


def _call(nvrtc: Any, function: str, *arguments: Any) -> list[Any]:
    status, *results = getattr(nvrtc, function)(*arguments)
    if int(status) != 0:
        raise RuntimeError(f"{function}: {status.name}")
    return list(results)


def _recall(path: Path) -> bytes | None:
    """The module at `path`, unless it is not there or not whole."""
    with suppress(OSError):
        content = path.read_bytes()
        if hashlib.sha256(content[32:]).digest() == content[:32]:
            return content[32:]
    return None


def _remember(path: Path, image: bytes) -> None:
    """Put the module at `path` in one step. A cache that cannot be written is no error."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(image).digest() + image)
            os.replace(name, path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
