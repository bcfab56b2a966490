"""Gates in a swarm of real daemons: a contribution that would spoil the model is left out, with its reason, and rounds go on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from e2e.attack import Attacker, attacking, refused, until, victim_blob
from e2e.kit import LOGS, commits, log_lines, write_event
from gates.test_gates_verdict import measurement, verdict

from collab import kernels
from collab.kernels.merge import Contribution as MergeContribution
from collab.kernels.merge import merge
from collab.node.home import Home
from collab.node.local_swarm import LocalSwarm, local_swarm, run
from collab.node.trainer.models import build
from collab.protocol.commit import Commit
from collab.protocol.messages import Blob, Signed, VerdictNotice
from collab.protocol.verdict import read_verdict, sign_verdict

pytestmark = pytest.mark.e2e
GATE = '[[gate]]\nname = "held-out"\nkind = "loss"\ntolerance = 0.05\n'
REASON = "gate.held-out"


@pytest.fixture
def gated(tmp_path: Path) -> Iterator[LocalSwarm]:
    """A coordinator that trains alone, in an event with a gate. A late claim would count half, which is within the tolerance."""
    # At a higher outer rate, which is for many contributors, what one learned overshoots, and the gate refuses it as well.
    # A lie may be large, so that it shows beside an honest half.
    changes: dict[str, dict[str, Any]] = {"rounds": {"max_staleness": 0}, "outer": {"rate": 1.0}, "merge": {"max_norm": 100.0}}
    path = write_event(tmp_path / "event.toml", **changes)
    path.write_text(path.read_text() + "\n" + GATE)
    with local_swarm(tmp_path / "swarm", path, common=LOGS) as swarm:
        swarm.seed()
        yield swarm


@pytest_asyncio.fixture
async def spoiler(gated: LocalSwarm, tmp_path: Path) -> AsyncIterator[Attacker]:
    """A peer that the coordinator's gossip is connected to."""
    async with attacking(gated.coordinator, tmp_path) as made:
        yield made


def flipped(attacker: Attacker) -> Blob:
    """The newest merged update with its sign turned, as long as the event allows."""
    victim = attacker.victim
    event = Home(victim.home).find_event().manifest().open()
    newest = next(claim for commit in reversed(commits(victim)) for _, claim in commit.contributions())
    layout = kernels.Layout.of({name: weight.detach() for name, weight in build(event).weights().items()})
    honest = MergeContribution(victim_blob(victim, newest.payload.sha256), 1.0)
    update = merge("average", layout, [honest], cap=1.0, damping=0.1)
    scale = -event.merge.max_norm / kernels.norm(update)
    payload, _ = kernels.compress({name: scale * value for name, value in update.items()}, None, kernels.Codec("sparse", 128, 1))
    return attacker.serve(payload)


async def test_a_sign_flipped_contribution_is_left_out_with_its_reason(gated: LocalSwarm, spoiler: Attacker) -> None:
    victim, me = gated.coordinator, spoiler.identity.peer_id
    gated.wait_for_round(2, 60)
    root, first = commits(victim)[:2]
    said = verdict(
        event=root.event, candidate=first.state, against=root.state, measurement=measurement(gate=REASON.removeprefix("gate."))
    )  # fmt: skip
    notice = VerdictNotice(event=root.event, verdicts=(sign_verdict(spoiler.identity, said).encode(),))
    await spoiler.gossip(Signed.seal(spoiler.identity, notice).encode())

    def left_out() -> list[Commit]:
        return [commit for commit in commits(victim) if any(signed.signer == me for signed, _ in commit.failed_gates())]

    for _ in range(6):  # now and then a claim comes too late for its round
        count = len(commits(victim))
        await spoiler.contribute(flipped(spoiler))
        await until(lambda count=count: len(commits(victim)) > count, 60)
        if left_out():
            break
    (commit, *_) = left_out()
    assert {rejected.reason for rejected in commit.rejected} == {REASON}
    assert len(commit.accepted) == 1  # the coordinator's own went in
    merged = {signed.signer for each in commits(victim) for signed, _ in each.contributions()}
    assert me not in merged
    assert refused(victim, "gate") >= 1
    assert any(line["event"] == "a candidate failed a gate" for line in log_lines(victim))
    gated.wait_for_round(commit.round + 2, 60)
    gated.stop()
    log = run("log", "--json", "--home", str(victim.home))
    assert REASON in log
    # What its gates showed stands signed in the history, and what it heard.
    tests = [read_verdict(envelope) for each in commits(victim) for envelope in each.verdicts]
    assert {signed.signer for signed, _ in tests} == {root.proposer, me}
    versions = {each.state for each in commits(victim)}
    assert all({each.candidate, each.against} <= versions for _, each in tests)
    assert len({signed.digest for signed, _ in tests}) == len(tests)
    counted = json.loads(run("credits", "--json", "--home", str(victim.home)))["credits"]
    runs = {credit["peer"]: credit["gates"] for credit in counted}
    assert runs[me] == 1
    assert runs[root.proposer] >= len({each.candidate for signed, each in tests if signed.signer != me}) > 0
