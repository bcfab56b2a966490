"""The command: run everything as often as asked, print the tables, write the JSON."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.status import Status

from collab.node.errors import UserError
from collab.node.event.file import embedded_event
from collab.node.files import atomic_write
from collab.node.local_swarm import SwarmError
from collab.node.units import seconds_text
from collab.protocol.event import EventDraft

from .figures import Outcome, RunResult, all_figures
from .idle import IdleMeter
from .plan import DENSE, SINGLE, SINGLE_SAME_SAMPLES, SPARSE, Scale, estimated_seconds, full, quick, variant_event
from .report import report
from .training import Training, training, wait_until

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main() -> int:
    """Run the bench and return the exit code."""
    arguments = _arguments()
    _stop_on_signals()
    out, progress = Console(), Console(stderr=True)
    event = embedded_event()
    scale = quick(arguments.runs or 1) if arguments.quick else full(event, arguments.runs or 3)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    about = seconds_text(estimated_seconds(scale, cores))
    progress.print(f"{scale.runs} runs on {cores} cores, about {about} if nothing else runs; Ctrl-C stops every node")
    try:
        with Bench(event, scale, progress) as bench:
            figures = all_figures([bench.run(number) for number in range(1, scale.runs + 1)], scale, cores)
        out.print(report(figures))
        if arguments.json is not None:
            atomic_write(arguments.json, (json.dumps(figures, indent=2, ensure_ascii=False) + "\n").encode())
    except KeyboardInterrupt:
        progress.print("stopped")
        return 130
    except (SwarmError, UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench swarm", description="Measure a swarm of real daemons on this machine.")
    parser.add_argument("--quick", action="store_true", help="smaller, one run: under a minute on two cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--runs", type=_positive, metavar="N", help="how many runs the medians are of (default: 3, quick: 1)")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _stop_on_signals() -> None:
    """Ctrl-C or SIGTERM: stop every node and end. Once is enough; a second one must not leave nodes behind."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        for ignored in _SIGNALS:
            signal.signal(ignored, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in _SIGNALS:
        signal.signal(number, on_signal)


class Bench:
    """Runs everything once a `run`, in folders of its own that are gone afterwards; says where it is."""

    def __init__(self, event: EventDraft, scale: Scale, console: Console) -> None:
        self._event = event
        self._scale = scale
        self._console = console
        self._began = time.monotonic()
        self._prefix = ""
        self._stack = ExitStack()
        self._status: Status | None = None

    def __enter__(self) -> Bench:
        """Make the folder and show the progress."""
        folder = tempfile.TemporaryDirectory(prefix="collab-bench-", ignore_cleanup_errors=True)
        self._root = Path(self._stack.enter_context(folder))
        if self._console.is_terminal:
            self._status = self._stack.enter_context(self._console.status("starting"))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, number: int) -> RunResult:
        """Run every variant once. The coordinator's node of `sparse` idles, waiting for volunteers, while the singles train."""
        self._prefix = f"run {number} of {self._scale.runs}: "
        root = self._root / str(number)
        with self._training(SPARSE, root) as sparse:
            self._say("sparse: the coordinator's node starts")
            sparse.start()
            wait_until([sparse], sparse.waits_for_others, "the coordinator's node to wait for others")
            meter = IdleMeter(sparse.swarm.coordinator)
            outcomes = self._singles(root)
            idle = self._idle(meter)
            joins = self._join(sparse)
            outcomes[SPARSE] = self._train(sparse)
        with self._training(DENSE, root) as dense:
            self._say("dense: the coordinator's node starts")
            dense.start()
            joins += self._join(dense)
            outcomes[DENSE] = self._train(dense)
        return RunResult(outcomes, tuple(joins), *idle)

    def _join(self, swarm: Training) -> list[float]:
        """Let the volunteers join one after the other; return the seconds that each took to its first inner step."""
        joins = []
        while len(swarm.watched) < self._scale.nodes:
            self._say(f"{swarm.name}: volunteer {len(swarm.watched)} of {self._scale.nodes - 1} joins")
            joins.append(swarm.join_timed())
        return joins

    def _singles(self, root: Path) -> dict[str, Outcome]:
        """Train both single nodes at once, each on one thread."""
        with self._training(SINGLE, root) as few, self._training(SINGLE_SAME_SAMPLES, root) as many:
            self._say("one node alone: starts, with few steps and with many")
            with ThreadPoolExecutor() as pool:
                list(pool.map(Training.start, (few, many)))
            self._watch([few, many])
            return {single.name: single.outcome() for single in (few, many)}

    def _idle(self, meter: IdleMeter) -> tuple[float, float]:
        while (left := self._scale.idle_seconds - meter.seconds) > 0:
            self._say(f"idle node: {left:.0f} s more")
            time.sleep(left)
        return meter.shares()

    def _train(self, running: Training) -> Outcome:
        self._watch([running])
        self._say(f"{running.name}: evaluating")
        return running.outcome()

    def _watch(self, trainings: Sequence[Training]) -> None:
        shown: list[str] = []

        def finished() -> bool:
            text = ", ".join(f"{one.name}: round {one.round} of {one.event.rounds.last_round}" for one in trainings)
            if [text] != shown:
                shown[:] = [text]
                self._say(text, passing=True)
            return all(one.finished for one in trainings)

        wait_until(trainings, finished, "the last round")

    def _training(self, variant: str, root: Path) -> AbstractContextManager[Training]:
        return training(variant, variant_event(self._event, variant, self._scale), root)

    def _say(self, what: str, *, passing: bool = False) -> None:
        """Show what happens now; `passing` news only where it can be overwritten."""
        text = f"{time.monotonic() - self._began:5.0f} s  {self._prefix}{what}"
        if self._status is not None:
            self._status.update(text)
        elif not passing:
            self._console.print(text)


if __name__ == "__main__":
    raise SystemExit(main())
