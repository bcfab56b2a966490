"""`doctor`: what this machine and this node are fit for. Each finding is a line that says ok, or what to do."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from ..home import Home
from ..manners.gpus import load_nvml
from ..net.addresses import is_free
from ..settings import Settings
from ..units import bytes_text, counted

State = Literal["ok", "note", "bad", "unknown"]

_PYTHON = ((3, 11), (3, 13))
_TIGHT, _LOW = 2 * 10**9, 10 * 10**9
_LIBRARIES = ("hivemind", "libp2p", "cryptography", "safetensors")


@dataclass(frozen=True)
class Finding:
    """`state` is ok, note (it works, but), bad (it does not), or unknown; `advice` says what to do."""

    what: str
    state: State
    text: str
    advice: str = ""


def examine_machine(home: Home, settings: Settings) -> Iterator[Finding]:
    """Yield what can be found without a network."""
    yield _python()
    yield from _libraries()
    yield from _torch(settings)
    yield _disk(home)


def _python() -> Finding:
    found, now = platform.python_version(), sys.version_info[:2]
    fits = _PYTHON[0] <= now < _PYTHON[1]
    wanted = f"install Python {_PYTHON[0][0]}.{_PYTHON[0][1]} or {_PYTHON[1][0]}.{_PYTHON[1][1] - 1}"
    return Finding("Python", "ok" if fits else "bad", found, "" if fits else wanted)


def _libraries() -> Iterator[Finding]:
    for name in _LIBRARIES:
        try:
            yield Finding(name, "ok", version(name))
        except PackageNotFoundError:
            yield Finding(name, "bad", "is not installed", "install collab-node again, with what it depends on")


def _torch(settings: Settings) -> Iterator[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("torch", "bad", f"cannot be loaded: {error}", "install torch again, for this Python and this driver")
        return
    yield Finding("torch", "ok", f"{torch.__version__}, {counted(torch.get_num_threads(), 'thread')}")
    yield _gpu(settings)
    yield _codec()


def _gpu(settings: Settings) -> Finding:
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        text = f"{name}, {bytes_text(free)} of {bytes_text(total)} free, CUDA {torch.version.cuda}, driver {_driver()}"
        return Finding("GPU", "ok", text)
    if settings.device == "cuda":
        advice = "install a CUDA build of torch and NVIDIA's driver, or --device cpu"
        return Finding("GPU", "bad", "torch sees none, and device is cuda", advice)
    if torch.version.cuda is None:
        return Finding("GPU", "note", "this torch was built without CUDA: it trains on the processor", _gpu_advice())
    return Finding("GPU", "note", "torch sees none: it trains on the processor", _gpu_advice())


def _gpu_advice() -> str:
    return "with an NVIDIA GPU: install its driver and a CUDA build of torch; without one all is well"


def _driver() -> str:
    if (nvml := load_nvml()) is None:
        return "unknown"
    try:
        return str(nvml.nvmlSystemGetDriverVersion())
    except nvml.NVMLError:
        return "unknown"


def _codec() -> Finding:
    from ...kernels import backends

    if "native" in backends():
        return Finding("codec", "ok", "the compiled library is used")
    advice = "install a C++ compiler and install collab-node again"
    return Finding("codec", "note", "the compiled library is missing: compression is some 10 times slower", advice)


def _disk(home: Home) -> Finding:
    place = next(path for path in (home.path.absolute(), *home.path.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    text = f"{bytes_text(free)} free for {home.path}"
    if free < _TIGHT:
        return Finding("disk", "bad", text, "free some, or choose another disk with --home DIR")
    low = free < _LOW
    return Finding("disk", "note" if low else "ok", text, "a long event of a large model needs more" if low else "")


def examine_ports(settings: Settings) -> Iterator[Finding]:
    """Yield whether a node that does not run yet could listen where it is set to."""
    for what, host, port in (
        ("port", settings.host, settings.port), ("gossip port", settings.host, settings.gossip_port),
        ("metrics port", settings.metrics_host, settings.metrics_port),
    ):  # fmt: skip
        if not port:
            yield Finding(what, "ok", "any that is free")
        elif is_free(host, port):
            yield Finding(what, "ok", f"{port} is free")
        else:
            yield Finding(what, "bad", f"{port} is taken by another program", f"choose another with --{what.replace(' ', '-')} N")


def worst(findings: list[Finding]) -> int:
    """Return the exit code: 1 if something is bad."""
    return int(any(finding.state == "bad" for finding in findings))
