"""The command: measure, print a table, write the JSON; on a GPU, run its tests first."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from collab import kernels
from collab.kernels import Codec, cuda
from collab.node.files import atomic_write

from .figures import Bench, Scale

_GPU_TESTS = Path(__file__).resolve().parents[2] / "tests" / "kernels" / "test_cuda_device.py"


def main() -> int:
    """Run the bench and return the exit code."""
    arguments = _arguments()
    device = torch.device(arguments.device)
    console, progress = Console(), Console(stderr=True)
    if device.type == "cuda":
        try:
            cuda.open_device()
        except cuda.Unavailable as reason:
            return _fail(f"{reason}; {_mend(reason)}")
        tested = subprocess.run([sys.executable, "-m", "pytest", "-q", "--tb=short", "--maxfail=5", str(_GPU_TESTS)], check=False)
        if tested.returncode:
            return _fail("the CUDA backend does not pass its tests on this device: nothing was measured")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        backend = kernels.backend(arguments.backend or ("cuda" if device.type == "cuda" else None))
        codec = Codec("sparse", arguments.k, arguments.value_bits)
        parameters = 4 << 20 if arguments.quick else arguments.parameters or (256 if device.type == "cuda" else 64) << 20
        scale = Scale(parameters, 3 if arguments.quick else arguments.runs, codec)
        with progress.status("starting") as status:
            figures = Bench(scale, device, backend, lambda text: status.update(text)).figures()
    except ValueError as error:
        return _fail(str(error))
    except torch.cuda.OutOfMemoryError:
        return _fail(f"the GPU has too little free memory for {parameters:,} parameters: name fewer with --parameters")
    except KeyboardInterrupt:
        progress.print("stopped")
        return 130
    console.print(table(figures))
    if arguments.json is not None:
        atomic_write(arguments.json, (json.dumps(figures, indent=2) + "\n").encode())
    return 0 if all(figures["identical"].values()) else 1


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


def _mend(reason: Exception) -> str:
    if isinstance(reason.__cause__, ImportError):
        return "install what it needs with: pip install 'cuda-bindings>=12.6'"
    return "leave --device out to measure the CPU"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench kernels", description="Measure the codec on one tensor.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--backend", help="cuda, native or reference (default: the fastest)")
    parser.add_argument("--parameters", type=int, help="elements of the tensor (default: 64 Mi, on a GPU 256 Mi)")
    parser.add_argument("--k", type=int, default=64)
    parser.add_argument("--value-bits", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0, help="default: torch's")
    parser.add_argument("--runs", type=int, default=9, help="medians are of so many (default: 9)")
    parser.add_argument("--quick", action="store_true", help="4 Mi parameters, 3 runs: some seconds")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    return parser.parse_args()


def table(figures: dict[str, Any]) -> Table:
    """Return the figures as people read them."""
    title = (
        f"{figures['backend']} on {figures['device']}, {figures['threads']} threads\n"
        f"{figures['parameters']:,} parameters, k = {figures['k']}, {figures['value_bits']} bits: "
        f"{figures['fp32_ratio']:.1f} times smaller than fp32\n"
        f"{figures['bits_per_parameter']:.4f} bits a parameter, {figures['bound_bits_per_parameter']:.4f} is the bound"
    )
    shown = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="")
    for heading in ("", "ms", "GB/s", "beside it"):
        shown.add_column(heading, justify="left" if heading in ("", "beside it") else "right")
    size = 4 * figures["parameters"] / 1e9
    compress, floor, pipeline = (figures[f"{name}_seconds"] for name in ("compress", "floor", "torch"))
    decode, read = figures["decode8_seconds"], figures["fp16_read8_seconds"]
    rows = [
        ("floor: one pass of feedback", floor, f"{3 * size / floor:.1f} GB/s are moved"),
        ("compress", compress, f"{compress / floor:.2f} × the floor (goal ≤ 2)"),
        ("torch.topk pipeline", pipeline, f"{pipeline / compress:.1f} × compress (goal ≥ 20)"),
        ("decode and add 8 payloads", decode, f"{decode / read:.2f} × the reading (goal < 1)"),
        ("read 8 dense fp16 tensors", read, ""),
    ]
    if "compress_device_seconds" in figures:
        kernels_alone, adding = figures["compress_device_seconds"], figures["decode8_device_seconds"]
        rows[1:3] = [
            ("compress, to bytes on the host", compress, f"{compress / floor:.2f} × the floor"),
            ("compress, the device's part", kernels_alone, f"{kernels_alone / floor:.2f} × the floor (goal ≤ 1.43)"),
            ("torch.topk pipeline", pipeline, f"{pipeline / kernels_alone:.1f} × the device's part (goal ≥ 20)"),
        ]
        rows[4:5] = [
            ("decode and add 8 payloads", decode, f"{decode / read:.2f} × the reading"),
            ("add 8 that are there", adding, f"{adding / read:.2f} × the reading (goal < 1)"),
        ]
    for name, found in figures["hivemind"].items():
        if found["seconds"] is not None:
            rows.append((f"hivemind {name}", found["seconds"], f"{found['bits_per_parameter']:.2f} bits a parameter"))
        else:
            shown.caption = f"hivemind {name} is not available: {found['unavailable']}"
    for label, seconds, beside in rows:
        shown.add_row(label, f"{1000 * seconds:.1f}", f"{size / seconds:.2f}", beside)
    same = "identical" if all(figures["identical"].values()) else "DIFFERENT"
    shown.add_row(", ".join(figures["identical"]), "", "", same)
    return shown


if __name__ == "__main__":
    raise SystemExit(main())
