"""The demo: a swarm of four real daemons trains the embedded event, shown while it goes, summed up at the end."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from collab.node.display.rounds_table import RoundRow, rounds_table
from collab.node.errors import UserError
from collab.node.event.create import create_event
from collab.node.event.file import embedded_event
from collab.node.home import Home
from collab.node.local_swarm import LocalSwarm, SwarmError, run
from collab.node.reading import open_store, read_view
from collab.node.units import bytes_text
from collab.protocol.event import EventDraft

ROOT = Path(__file__).resolve().parent.parent
NODES = 4
QUICK_ROUNDS = 3
QUICK_HELD_OUT = 64
SHOWN_ROUNDS = 12
PATIENCE_SECONDS = 240.0  # a round of the event may take 60, and a machine may have other work


def main() -> int:
    """Run the demo and return the exit code."""
    arguments = _arguments()
    console = Console()
    try:
        Demo(arguments, console).run()
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    except (SwarmError, UserError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds only: under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--out", type=Path, default=ROOT / "demo-out", help="where nodes and model go (default: demo-out)")
    return parser.parse_args()


@dataclass
class Demo:
    """One run, step by step."""

    arguments: argparse.Namespace
    console: Console
    began: float = field(default_factory=time.monotonic)
    loss_before: float = 0.0
    loss_after: float = 0.0

    def run(self) -> None:
        """Do all of it, and leave no process behind."""
        draft = _draft(self.arguments.quick)
        homes = self.arguments.out / "nodes"
        shutil.rmtree(homes, ignore_errors=True)
        swarm = LocalSwarm(homes, common=["--threads", "1"])
        try:
            self._say("signing the event and making its first weights")
            create_event(Home(swarm.add().home), draft)
            self._say("starting the coordinator's node")
            swarm.seed()
            self._say(f"{NODES - 1} volunteers join")
            swarm.join(NODES - 1)
            self._wait_until_ready(swarm)
            self.loss_before = _evaluate(swarm)
            self._watch(swarm, draft.rounds.last_round)
            self.loss_after = _evaluate(swarm)
            states = {node.name: read_view(Home(node.home)).state for node in swarm.nodes}
        finally:
            swarm.stop()
        self._report(swarm, states)

    def _say(self, what: str) -> None:
        self.console.print(f"[dim]{time.monotonic() - self.began:5.1f} s[/dim]  {what} …")

    def _wait_until_ready(self, swarm: LocalSwarm) -> None:
        swarm.wait(lambda: all(_ready(node.status()) for node in swarm.nodes), PATIENCE_SECONDS, "every node to be ready")

    def _watch(self, swarm: LocalSwarm, last: int) -> None:
        """Show the rounds until the last one is there on every node."""
        reached, deadline = 0, time.monotonic() + PATIENCE_SECONDS
        with Live(console=self.console, auto_refresh=False, transient=True) as live:
            while reached < last:
                live.update(_picture(swarm, last), refresh=True)
                newest = min(read_view(Home(node.home)).round for node in swarm.nodes)
                if newest > reached:
                    reached, deadline = newest, time.monotonic() + PATIENCE_SECONDS
                    self._note(swarm, newest, last)
                if time.monotonic() > deadline:
                    tails = "\n".join(f"--- {node.name}\n{node.tail()}" for node in swarm.nodes)
                    raise SwarmError(f"no commit in {PATIENCE_SECONDS:.0f} s\n{tails}")
                time.sleep(0.25)

    def _note(self, swarm: LocalSwarm, round: int, last: int) -> None:
        """Where there is no terminal, a line a round is the progress."""
        if not self.console.is_terminal:
            row = _rows(swarm)[round]
            self._say(f"round {round} of {last}: loss {row.loss:.4f}, {row.contributors} contributors")

    def _report(self, swarm: LocalSwarm, states: dict[str, str]) -> None:
        rows = _rows(swarm)
        self.console.print(rounds_table(rows[1:]))
        model = self.arguments.out / "model.safetensors"
        run("export", str(model), "--force", "--format", "safetensors", "--home", str(swarm.coordinator.home))
        equal = len(set(states.values())) == 1
        seconds = time.monotonic() - self.began
        self.console.print(
            f"held-out loss {self.loss_before:.3f} → [bold]{self.loss_after:.3f}[/bold] nats a byte, "
            f"{sum(row.samples for row in rows):,} samples, {len(rows) - 1} rounds, {seconds:.0f} s\n"
            f"state hash {'equal' if equal else '[red]NOT equal[/red]'} on {len(states)} nodes: {_head(states)}\n"
            f"model: {model} ({bytes_text(model.stat().st_size)})"
        )
        if self.arguments.json is not None:
            _write(self.arguments.json, self._figures(rows, states, seconds))
        if not equal:
            raise SwarmError("the nodes do not agree on the state")

    def _figures(self, rows: list[RoundRow], states: dict[str, str], seconds: float) -> dict[str, Any]:
        return {
            "loss_before": self.loss_before,
            "loss_after": self.loss_after,
            "rounds": len(rows) - 1,
            "nodes": len(states),
            "state_hashes": list(states.values()),
            "seconds": round(seconds, 1),
        }


def _draft(quick: bool) -> EventDraft:
    draft = embedded_event()
    if not quick:
        return draft
    rounds = draft.rounds.model_copy(update={"last_round": QUICK_ROUNDS})
    samples = QUICK_ROUNDS * NODES * draft.inner.steps * draft.inner.batch
    inner = draft.inner.model_copy(update={"total_samples": samples})
    data = draft.data.model_copy(update={"held_out_samples": QUICK_HELD_OUT})
    return draft.model_copy(update={"rounds": rounds, "inner": inner, "data": data})


def _ready(status: dict[str, Any] | None) -> bool:
    return status is not None and status["phase"] in ("training", "collecting", "voting", "final", "serving")


def _evaluate(swarm: LocalSwarm) -> float:
    return float(swarm.coordinator.ask("evaluate", timeout=60.0)["loss"])


def _rows(swarm: LocalSwarm) -> list[RoundRow]:
    """Return the rounds so far, the root first, as the coordinator's store has them."""
    with open_store(Home(swarm.coordinator.home).find_event()) as store:
        return [RoundRow.of(commit) for commit in store.chain()[::-1]]


def _picture(swarm: LocalSwarm, last: int) -> RenderableType:
    rows = _rows(swarm)
    done = Table.grid(padding=(0, 2))
    done.add_row(f"round {len(rows) - 1} of {last}", ProgressBar(total=last, completed=len(rows) - 1, width=40))
    nodes = Table.grid(padding=(0, 3))
    for node in swarm.nodes:
        status = node.status()
        if status is not None:
            nodes.add_row(
                node.name, f"step {status['step']}/{status['steps']}", f"{status['tokens_per_second']:,.0f} tokens/s",
                f"{bytes_text(status['bytes_sent'])} sent", Text(str(status["message"]), style="dim"),
            )  # fmt: skip
    return Group(rounds_table(rows[1:][-SHOWN_ROUNDS:]), done, Text(""), nodes)


def _head(states: dict[str, str]) -> str:
    return next(iter(states.values()))[:16]


def _write(path: Path, figures: dict[str, Any]) -> None:
    path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
