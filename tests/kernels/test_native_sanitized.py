"""The native library under the address and undefined-behaviour sanitizers: random tensors, damaged payloads, all sets alike."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cuda_emulated import CSRC, HERE, compiler

OPTIONS = ["-std=c++17", "-O1", "-g1", "-ffp-contract=off", "-pthread", "-Wall", "-Wextra", "-Werror", f"-I{CSRC}"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def build(command: str, folder: Path, sources: list[Path]) -> Path:
    """The program of all sources, compiled side by side."""
    runs = []
    for source in sources:
        arguments = [command, *OPTIONS, *SANITIZERS, "-c", str(source), "-o", str(folder / f"{source.stem}.o")]
        runs.append(subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True))
    errors = [run.communicate()[1] for run in runs]
    assert not any(run.returncode for run in runs), "".join(errors)[:4000]
    program = folder / "driver"
    subprocess.run([command, "-pthread", *SANITIZERS, *map(str, folder.glob("*.o")), "-o", str(program)], check=True)
    return program


@pytest.mark.timeout(300)
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    command = compiler()
    if command is None:
        pytest.skip("no C++ compiler")
    probe = tmp_path / "probe.cpp"
    probe.write_text("int main() {}\n")
    can = subprocess.run([command, *SANITIZERS, str(probe), "-o", str(tmp_path / "probe")], check=False, capture_output=True)
    if can.returncode or subprocess.run([tmp_path / "probe"], check=False, capture_output=True).returncode:
        pytest.skip("the compiler has no address sanitizer that works here")
    program = build(command, tmp_path, [*sorted(CSRC.glob("cpu_*.cpp")), HERE / "kernels" / "native_driver.cpp"])
    for seed in ("1", "2"):
        done = subprocess.run([program, "300", seed], check=False, capture_output=True, text=True)
        assert done.returncode == 0, (done.stdout + done.stderr)[:4000]
        decoded, refused = map(int, done.stdout.split())
        assert min(decoded, refused) > 0
