"""The native library with sanitizers in it, and what a Python process needs to load it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
CSRC = HERE.parents[1] / "kernels" / "csrc"
_OPTIONS = ("-std=c++17", "-O1", "-g", "-ffp-contract=off", "-fPIC", "-pthread")
_TRAPS = ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
_RUNTIME_OPTIONS = "detect_leaks=0:alloc_dealloc_mismatch=0:detect_odr_violation=0:allocator_may_return_null=1"


def build(folder: Path) -> tuple[Path, Mapping[str, str]]:
    """The library, and the environment of the process that loads it: atheris brings a runtime that has the fuzzer in it.

    The fuzzer learns of branches and comparisons in the library. Raises `FileNotFoundError` without a C++ compiler,
    `CalledProcessError` if it has no sanitizers.
    """
    import atheris

    compiler = shutil.which("clang++") or shutil.which("g++")
    if compiler is None:
        raise FileNotFoundError("no C++ compiler: install clang++ or g++")
    clang = compiler.endswith("clang++")
    guides = ["-fsanitize=fuzzer-no-link"] if clang else ["-fsanitize-coverage=trace-pc,trace-cmp"]
    options = {source: [*_TRAPS, *guides, "-fsanitize=address"] for source in sorted(CSRC.glob("cpu_*.cpp"))}
    if not clang:
        options[HERE / "gcc_hooks.cpp"] = []
    objects = [folder / f"{source.stem}.o" for source in options]
    for (source, extra), target in zip(options.items(), objects, strict=True):
        subprocess.run([compiler, *_OPTIONS, *extra, "-c", str(source), "-o", str(target)], check=True)
    library = folder / "codec.so"
    own_hooks = "-Wl,-Bsymbolic-functions"  # before those of the runtime
    subprocess.run([compiler, "-shared", "-pthread", own_hooks, *map(str, objects), "-o", str(library)], check=True)
    preload = str(Path(atheris.path()) / "asan_with_fuzzer.so")
    # Payloads are allocated one by one, so that a byte too far is found.
    return library, {"LD_PRELOAD": preload, "ASAN_OPTIONS": _RUNTIME_OPTIONS, "PYTHONMALLOC": "malloc"}
