"""Reading a node's history and state from another process, whether the node runs or not."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any, get_args

from ..protocol.amendments import InForce
from ..protocol.commit import Accepted, Commit
from ..protocol.errors import RemoteProtocolError
from ..protocol.event import EventManifest, MergeMethod
from ..protocol.messages import Signed
from . import keys
from .amendments.making import standing
from .amendments.words import ANNOUNCEMENTS, end_words
from .control.socket import NotRunning, call
from .credit.leaderboard import count_credits, read_names
from .dashboard.reasons import refused_words
from .display.rounds_table import RoundRow
from .display.view import NodeView
from .home import EventFolder, Home
from .store import Store
from .units import bytes_text, counted, loss_text, short


def open_store(folder: EventFolder) -> Store:
    """Open an event's store for reading, beside a daemon that may be writing. Raises UserError."""
    return Store.open(folder.store_path, read_only=True)


def read_view(home: Home, event: str = "") -> NodeView:
    """Return what the running node says of itself, else what its store says. Raises UserError."""
    try:
        view = NodeView.from_dict(call(home.path, "status"))
        if view.event_id.startswith(event.lower()):
            return view
    except NotRunning:
        pass
    return _stopped(home, home.find_event(event))


def _stopped(home: Home, folder: EventFolder) -> NodeView:
    event = folder.manifest().open()
    peer = keys.require(home.identity_path).peer_id
    with open_store(folder) as store:
        head = store.head_commit()
        book = count_credits(event, store, head)
        credit = book.of(peer)
        held = [(signed.signer, accepted) for accepted, (signed, _) in zip(head.accepted, head.contributions(), strict=True)]
        state = standing(folder, store).in_force
        return NodeView(
            announcements=tuple(each.text for each in state.announcements[-ANNOUNCEMENTS:]), decided=end_words(state, head.round),
            event=event.name, event_id=event.digest.hex(), peer=peer, running=False, trains=False, phase="stopped",
            round=head.round, commit=head.digest.hex(), state=head.state.hex(), contributors=len(held),
            refused=refused_words(rejected.reason for rejected in head.rejected), warning=_shut_out(state, peer),
            share=next((float(share_of(accepted)) for signer, accepted in held if signer == peer), None),
            rank=book.rank(peer), ranked=len(book.ranking()), credit_samples=credit.samples,
            credit_contributions=credit.contributions, credit_checked=credit.checked, credit_gates=credit.gates,
            credit_served=credit.served, name=read_names(store).get(peer, ""),
            swarm_samples=head.samples, loss=head.loss, accepted_samples=store.counter("accepted_samples"),
            message=f"stopped; the newest commit is of {_day(head.time)}; {_again(state, event, peer, head.round)}",
        )  # fmt: skip


def _shut_out(state: InForce, peer: str) -> str:
    """Say that the coordinators banned this node, if they did."""
    if peer not in state.banned:
        return ""
    return "the coordinators banned this node's key" + (f": {state.banned[peer]}" if state.banned[peer] else "")


def _again(state: InForce, event: EventManifest, peer: str, round: int) -> str:
    """Say what makes something of a node that does not run."""
    if state.is_over(round):
        return "`collab-node export` saves the model, `collab-node report DIR` sums the event up"
    return f"`collab-node {'seed' if peer == event.coordinator else 'join'}` starts it again"


def commit_line(commit: Commit) -> str:
    """Return a commit in one line; of what method it is stands there if it is no merge of a round."""
    row = RoundRow.of(commit)
    facts = [f"round {commit.round}", f"loss {loss_text(commit.loss)}"]
    if commit.method not in get_args(MergeMethod):
        facts.append(commit.method)
    elif commit.full:
        facts.append("full merge")
    if row.contributors:
        facts.append(counted(row.contributors, "contributor"))
        facts.append(bytes_text(row.bytes_sent))
    if commit.verdicts:
        facts.append(counted(len(commit.verdicts), "verdict"))
    return f"{short(row.commit)} {', '.join(facts)}"


def commit_fields(commit: Commit) -> dict[str, Any]:
    """Return a commit as plain values; digests are in hex, shares exact fractions as text."""
    row = RoundRow.of(commit)
    return {
        "commit": row.commit,
        "parents": [parent.hex() for parent in commit.parents],
        "round": commit.round,
        "state": commit.state.hex(),
        "method": commit.method,
        "full": commit.full,
        "loss": commit.loss,
        "samples": row.samples,
        "total_samples": commit.samples,
        "bytes_sent": row.bytes_sent,
        "verdicts": len(commit.verdicts),
        "contributions": [
            {
                "peer": signed.signer, "samples": claim.samples, "steps": claim.steps, "loss": claim.loss,
                "share": str(share_of(accepted)), "clip": accepted.clip, "payload": claim.payload.sha256.hex(),
                "bytes": claim.payload.size + (claim.fisher.size if claim.fisher else 0),
            }
            for accepted, (signed, claim) in zip(commit.accepted, commit.contributions(), strict=True)
        ],
        "rejected": [{"peer": signer_of(rejected.envelope), "reason": rejected.reason} for rejected in commit.rejected],
        "roster": len(commit.roster),
        "proposer": commit.proposer,
        "time": commit.time,
    }  # fmt: skip


def share_of(accepted: Accepted) -> Fraction:
    """Return a contribution's share of its merge, exactly."""
    return Fraction(int.from_bytes(accepted.numerator, "big"), int.from_bytes(accepted.denominator, "big"))


def signer_of(envelope: bytes) -> str | None:
    """Return who signed an envelope that a commit rejected; None if it cannot be told."""
    try:
        return Signed.decode(envelope).signer
    except RemoteProtocolError:
        return None


def _day(moment: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))
