"""A `command` gate: the person's own program measures each version. Never run for an event, whose gates cannot be commands."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

from ...protocol.gates import CommandGate
from ...protocol.verdict import Measurement
from ..errors import UserError

_WEIGHTS = "{weights}"
_MOST_OUTPUT = 1 << 20


async def measure_command(gate: CommandGate, base: Path, candidate: Path) -> Measurement:
    """Run the command on the weights of both versions. Raises UserError for a command that fails or prints no number."""
    before, after = await _measure(gate, base), await _measure(gate, candidate)
    if not math.isfinite(after):
        return _measurement(gate, before, None, None, "not_finite")
    change = after - before if gate.direction == "lower" else before - after
    return _measurement(gate, before, after, change, "no_worse" if change <= gate.tolerance else "worse")


def _measurement(gate: CommandGate, base: float, candidate: float | None, change: float | None, reason: str) -> Measurement:
    return Measurement.model_validate({
        "gate": gate.name, "kind": gate.kind, "base": base, "candidate": candidate, "change": change, "low": change,
        "high": change, "tolerance": gate.tolerance, "samples": 1, "batches": 1, "passed": reason == "no_worse", "reason": reason,
    })  # fmt: skip


async def _measure(gate: CommandGate, weights: Path) -> float:
    command = [part.replace(_WEIGHTS, str(weights)) for part in gate.command]
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, limit=_MOST_OUTPUT
        )
    except OSError as error:
        raise UserError(f"gate {gate.name}: cannot run {command[0]!r}: {error.strerror or error}") from error
    try:
        async with asyncio.timeout(gate.seconds):
            output, _ = await process.communicate()
    except TimeoutError as error:
        raise UserError(f"gate {gate.name}: no answer in {gate.seconds:g} s", "raise its `seconds`") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise UserError(f"gate {gate.name}: {command[0]!r} ended with {process.returncode}")
    lines = output.decode(errors="replace").strip().splitlines()
    try:
        return float(lines[-1])
    except (IndexError, ValueError) as error:
        raise UserError(f"gate {gate.name}: the last line that {command[0]!r} printed is not a number") from error
