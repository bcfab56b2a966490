"""The measurements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from collab import kernels
from collab.kernels import Backend, Codec, Layout
from collab.kernels.cuda import Cuda, compress

from .rivals import CHUNK, bound_bits, floor, hivemind_codecs, torch_pipeline
from .timing import Timed, timed, timed_on_device

CONTRIBUTIONS = 8
_CHECKED = 64 * CHUNK + 1000
"""Elements on which all backends are compared: full chunks and a tail."""


@dataclass(frozen=True)
class Scale:
    """How much to measure: parameters in one tensor, runs of each, and the codec. `ValueError` unless chunks are full."""

    parameters: int
    runs: int
    codec: Codec

    def __post_init__(self) -> None:
        if self.parameters < CHUNK or self.parameters % CHUNK:
            raise ValueError(f"parameters must be a multiple of {CHUNK}, not {self.parameters}")
        if self.runs < 1:
            raise ValueError(f"runs must be at least 1, not {self.runs}")


class Bench:
    """Measures `backend` on `device`; `say` hears what is measured now."""

    def __init__(self, scale: Scale, device: torch.device, backend: Backend, say: Callable[[str], None]) -> None:
        self._scale = scale
        self._device = device
        self._backend = backend
        self._say = say
        self._spread: dict[str, tuple[float, float]] = {}
        self._layout = Layout((("w", (scale.parameters,)),))

    def figures(self) -> dict[str, Any]:
        """Return the figures of the JSON. Seconds are medians; `spread` has the least and the most."""
        delta = self._normal(0)
        codec = self._scale.codec
        figures = {
            "device": _device_name(self._device),
            "torch_version": torch.__version__,
            "backend": self._backend.name,
            "threads": torch.get_num_threads(),
            "parameters": self._scale.parameters,
            "k": codec.k,
            "value_bits": codec.value_bits,
            "bound_bits_per_parameter": bound_bits(codec.k, codec.value_bits),
            **self._rate(delta),
            **self._compress(delta),
            **self._decode(),
            **self._read(delta),
            "hivemind": self._hivemind(delta) if self._device.type == "cpu" else {},
        }
        self._say("compare all implementations")
        return {**figures, "identical": identical(codec), "spread": self._spread}

    def _normal(self, seed: int) -> Tensor:
        generator = torch.Generator(self._device).manual_seed(seed)
        return torch.randn(self._scale.parameters, generator=generator, device=self._device)

    def _payload(self, delta: Tensor) -> bytes:
        return self._backend.compress({"w": delta}, None, self._scale.codec, self._layout, None)[0]

    def _seconds(self, name: str, what: str, work: Callable[[], object]) -> dict[str, float]:
        self._say(what)
        return self._found(name, timed(work, self._device, self._scale.runs))

    def _device_seconds(self, name: str, what: str, enqueue: Callable[[], object]) -> dict[str, float]:
        self._say(what)
        return self._found(name, timed_on_device(enqueue, self._device, self._scale.runs))

    def _found(self, name: str, found: Timed) -> dict[str, float]:
        self._spread[name] = (found.least, found.most)
        return {f"{name}_seconds": found.median}

    def _rate(self, delta: Tensor) -> dict[str, float]:
        bits = 8 * len(self._payload(delta)) / self._scale.parameters
        return {"bits_per_parameter": bits, "fp32_ratio": 32 / bits}

    def _compress(self, delta: Tensor) -> dict[str, float]:
        codec, residual, layout, backend = self._scale.codec, self._normal(1), self._layout, self._backend
        theirs, ours = {"w": delta}, {"w": residual}
        pipeline = partial(torch_pipeline, delta, residual, codec.k, codec.decay)
        found = {
            **self._device_seconds("floor", "residual = decay * residual + delta", lambda: floor(delta, residual, codec.decay)),
            **self._seconds("compress", "compress, in place", lambda: backend.compress(theirs, ours, codec, layout, ours)),
            **self._device_seconds("torch", "the same with torch.topk", pipeline),
        }
        if isinstance(backend, Cuda):
            enqueue = partial(compress.sparse, backend.launch, theirs, ours, codec, layout, ours)
            found |= self._device_seconds("compress_device", "compress, the device's part", enqueue)
        return found

    def _decode(self) -> dict[str, float]:
        parts = [(self._payload(self._normal(100 + seed)), 1 / CONTRIBUTIONS) for seed in range(CONTRIBUTIONS)]
        into = {"w": torch.zeros(self._scale.parameters, device=self._device)}
        work, backend, layout = f"decode and add {CONTRIBUTIONS} contributions", self._backend, self._layout
        found = self._seconds("decode8", work, lambda: backend.accumulate(into, parts, layout))
        if isinstance(backend, Cuda):
            uploads = backend.upload([payload for payload, _ in parts], layout)
            there = [uploaded.part(weight) for uploaded, (_, weight) in zip(uploads, parts, strict=True)]
            found |= self._device_seconds("decode8_device", f"{work} that are there", lambda: backend.add(into, there, layout))
        return found

    def _read(self, delta: Tensor) -> dict[str, float]:
        """Touch every byte once, as fast as torch can."""
        dense = [delta.half().view(torch.int64) for _ in range(CONTRIBUTIONS)]
        work = f"read {CONTRIBUTIONS} dense fp16 tensors"
        return self._device_seconds("fp16_read8", work, lambda: [tensor.sum() for tensor in dense])

    def _hivemind(self, delta: Tensor) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for name, serialise in hivemind_codecs().items():
            if isinstance(serialise, str):
                result[name] = {"seconds": None, "bits_per_parameter": None, "unavailable": serialise}
                continue
            self._say(f"hivemind's {name}")
            found = timed(partial(serialise, delta), self._device, self._scale.runs)
            bits = 8 * serialise(delta) / delta.numel()
            result[name] = {"seconds": found.median, "bits_per_parameter": bits, "spread": (found.least, found.most)}
        return result


def identical(codec: Codec) -> dict[str, bool]:
    """For every backend that works here: whether payload, residual and decoded result are the reference's, bit for bit."""
    generator = torch.Generator().manual_seed(1)
    delta, residual = ({"w": torch.randn(_CHECKED, generator=generator)} for _ in range(2))
    expected = _outcome(kernels.backend("reference"), delta, residual, codec)
    result = {}
    for name in kernels.backends():
        there = torch.device("cuda" if name == "cuda" else "cpu")
        result[name] = _outcome(kernels.backend(name), _to(delta, there), _to(residual, there), codec) == expected
    return result


def _to(tensors: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def _outcome(backend: Backend, delta: dict[str, Tensor], residual: dict[str, Tensor], codec: Codec) -> tuple[bytes, bytes, bytes]:
    layout = Layout.of(delta)
    payload, left = backend.compress(delta, residual, codec, layout, None)
    into = {"w": torch.ones_like(delta["w"])}
    backend.accumulate(into, [(payload, 0.3), (payload, 0.1)], layout)
    return payload, _bits(left["w"]), _bits(into["w"])


def _bits(tensor: Tensor) -> bytes:
    return tensor.cpu().numpy().tobytes()


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo") as info:
            return next(line.split(":", 1)[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return "CPU"
