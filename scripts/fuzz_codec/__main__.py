"""The command: build the library with sanitizers, start again under their runtime, fuzz for a while."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from .build import build

_LIBRARY = "COLLAB_FUZZED_LIBRARY"


def main() -> int:
    """Fuzz and return the exit code, which is not 0 if anything was found."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz codec", description="Fuzz the native decoder against the reference.")
    parser.add_argument("seconds", type=int, nargs="?", default=60, help="default: 60")
    parser.add_argument("folder", type=Path, nargs="?", help="where inputs that reach new code are kept, and looked for first")
    arguments = parser.parse_args()
    if _LIBRARY in os.environ:
        return fuzz(Path(os.environ[_LIBRARY]), arguments.seconds, arguments.folder)
    with tempfile.TemporaryDirectory() as folder:
        try:
            library, environment = build(Path(folder))
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        command = [sys.executable, "-m", "fuzz_codec", *sys.argv[1:]]
        return subprocess.run(command, check=False, env={**os.environ, **environment, _LIBRARY: str(library)}).returncode


def fuzz(library: Path, seconds: int, folder: Path | None) -> int:
    """Fuzz the sanitized library in this process, which the fuzzer may end."""
    import atheris

    with atheris.instrument_imports(include=["collab.kernels"]):
        from collab.kernels.native import Native
        from collab.kernels.native.library import Library

        from .target import run

    native = Native(library=Library(library), threads=1)
    options = [f"-max_total_time={seconds}", "-max_len=256", "-rss_limit_mb=0", "-print_final_stats=1"]
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        options.append(str(folder))
    atheris.Setup([sys.argv[0], *options], lambda data: run(atheris.FuzzedDataProvider(data), native))
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
