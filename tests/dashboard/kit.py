"""What the dashboard's tests share: a home without a daemon, a browser, and what a page may never do."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright import sync_api as playwright
from store_samples import COORDINATOR, Chain

from collab.node import keys
from collab.node.dashboard.reader import Reader
from collab.node.gates import own_verdicts
from collab.node.gates.run import Result
from collab.node.home import EventFolder, Home
from collab.node.releases import roles
from collab.node.releases.files import save
from collab.node.store import Store
from collab.protocol.amendments import Amendment, Body, InForce, SignedAmendment, Signers
from collab.protocol.commit import Commit, root_commit
from collab.protocol.gates import LossGate
from collab.protocol.manifest import SignedManifest
from collab.protocol.release import Release
from collab.protocol.verdict import Measurement, Reason
from collab.protocol.versions import Interface

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed: apt-get install -y chromium")


class StoredHome:
    """A home that holds a chain, written as a daemon would."""

    def __init__(self, path: Path, chain: Chain) -> None:
        self.home = Home(path)
        self.chain = chain
        self.home.prepare()
        keys.create(self.home.identity_path, COORDINATOR)
        self.folder: EventFolder = self.home.event(chain.event.digest)
        self.folder.save_manifest(SignedManifest.seal(COORDINATOR, chain.event))
        self.add(chain.root)

    def add(self, *commits: Commit) -> None:
        """Make these the newest commits of the chain."""
        with Store.open(self.folder.store_path) as store:
            for commit in commits:
                store.add_commit(commit)
            store.set_head(commits[-1].digest)

    def grow(self, rounds: int = 1) -> None:
        """Add commits with a contribution each."""
        self.add(*[self.chain.grow() for _ in range(rounds)])

    def decide(self, *bodies: Body) -> None:
        """Let the coordinator decide these, one after the other."""
        state = InForce.at_first(self.chain.event)
        with Store.open(self.folder.store_path) as store:
            for body in bodies:
                content = Amendment(
                    event=state.created.digest, number=state.number + 1, previous=state.digest, time=7, body=body
                )
                signed = SignedAmendment.draft(content).signed_by(COORDINATOR)
                state = state.after(signed)
                store.amendments.add(signed)

    def reader(self) -> Reader:
        """Return a reader of the event."""
        return Reader(self.home, self.folder)


@dataclass
class Watched:
    """A page and everything that it did wrong."""

    page: playwright.Page
    problems: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.on("console", lambda said: self.problems.append(said.text) if said.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", self._on_dialog)
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).hostname or "no host"))

    def _on_dialog(self, dialog: playwright.Dialog) -> None:
        self.problems.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def open(self, url: str, ready: str = "#link:is([data-state=live], [data-state=idle])") -> playwright.Page:
        """Go to `url` and wait until the page has something to show."""
        self.page.goto(url)
        self.page.wait_for_selector(ready)
        self.page.wait_for_selector("#rounds tbody tr")
        return self.page


@contextmanager
def browser() -> Iterator[playwright.Browser]:
    """Chromium as it is installed, with an empty profile, on no network but this machine's."""
    with tempfile.TemporaryDirectory() as _, playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        try:
            yield opened
        finally:
            opened.close()


# A history that was tested and released

GATES = (LossGate(name="held-out", kind="loss"), LossGate(name="poetry", kind="loss", path="poetry.txt", rounds=False))


def chain_with_gates() -> Chain:
    """A chain whose event has a gate for rounds and one for releases."""
    chain = Chain()
    chain.event = chain.event.model_copy(update={"gate": GATES})
    chain.root = chain.head = root_commit(chain.event)
    return chain


def measured(*, passed: bool = True, clear: bool = True, gate: str = GATES[0].name) -> Result:
    """What a gate showed: 0.1 nats better, or 0.2 worse."""
    change = -0.1 if passed else 0.2
    reason: Reason = "unclear" if not clear else "no_worse" if passed else "worse"
    return Result(Measurement(
        gate=gate, kind="loss", base=3.0, candidate=3.0 + change, change=change, low=change - 0.01, high=change + 0.01,
        tolerance=0.01, samples=32, batches=2, passed=passed, reason=reason,
    ), bytes(32), "cpu")  # fmt: skip


def run_gate_here(stored: StoredHome, commit: Commit, result: Result) -> None:
    """Let the home's node have run a gate on a commit."""
    with Store.open(stored.folder.store_path) as store:
        base = store.commit(commit.base)
        own_verdicts.keep(store, [result.sign(COORDINATOR, stored.chain.event, commit, base)])


def release_as_first(stored: StoredHome, commit: Commit, now: datetime | None = None) -> None:
    """Release a commit as 1.0.0, with a verdict of the coordinator's."""
    when = now or datetime.now(UTC).replace(microsecond=0)
    event = stored.chain.event
    with Store.open(stored.folder.store_path) as store:
        verdict = measured(gate="poetry").sign(COORDINATOR, event, commit, store.commit(commit.base))
        made = Release(
            event=event.digest, title=event.name, version="1.0.0", commit=commit.digest, state=commit.state, round=commit.round,
            previous=None, interface=Interface(tokenizer=bytes(32), inputs=("input_ids",), outputs=("logits",)), evidence=None,
            verdicts=(verdict.encode(),), message="It rhymes.", changelog="", credits=(), licence="apache-2.0",
            releaser=COORDINATOR.peer_id, time=commit.time,
        )  # fmt: skip
        files = roles.appoint({}, Signers((COORDINATOR.peer_id,)), when)
        save(store, roles.add_release(files, made, COORDINATOR, when), {})
