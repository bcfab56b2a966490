"""What is in force after an amendment, and what each kind changes in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import RemoteProtocolError
from ..event import EventManifest
from ..identity import PeerId
from ..record import Record
from . import kinds
from .amendment import SignedAmendment
from .event import AmendedEvent

MAX_PEERS = 4096
_ANNOUNCEMENTS = 16


@dataclass(frozen=True)
class Announcement:
    """A sentence for the volunteers, the number of its amendment, and when it was made (Unix seconds)."""

    text: str
    number: int
    time: int


@dataclass(frozen=True)
class Change:
    """Sections of the event, or keys of them, that have new values from a round on."""

    from_round: int
    values: dict[str, Record | dict[str, int]]


@dataclass(frozen=True)
class InForce:
    """An event (`created`: its manifest) with the first `number` amendments, the last of which is `digest` (None: with none).

    `banned` maps to the reason; `revoked` holds ids of invites' tokens; `last_round` is 0 where there is none; `bootstrap` is
    empty where the invites' addresses hold; `closed` says that a close, not the manifest, set the last round.
    """

    created: EventManifest
    coordinators: tuple[PeerId, ...]
    last_round: int
    number: int = 0
    digest: bytes | None = None
    threshold: int = 1
    banned: dict[PeerId, str] = field(default_factory=dict)
    admitted: frozenset[PeerId] = frozenset()
    revoked: frozenset[bytes] = frozenset()
    paused: bool = False
    pause_reason: str = ""
    closed: bool = False
    bootstrap: tuple[str, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    changes: tuple[Change, ...] = ()

    @classmethod
    def at_first(cls, event: EventManifest) -> InForce:
        """Return what is in force while there are no amendments."""
        banned = dict.fromkeys(event.admission.banned, "")
        return cls(event, (event.coordinator,), event.rounds.last_round, banned=banned)

    def is_over(self, round: int) -> bool:
        """Say whether the commit of `round` is the last, or after it."""
        return 0 < self.last_round <= round

    def after(self, signed: SignedAmendment, *, complete: bool = True) -> InForce:
        """Return what is in force with one more amendment, once it is checked. Raises RemoteProtocolError with the rule.

        `complete` False lets a draft pass that not enough coordinators have signed yet.
        """
        amendment = signed.content
        if amendment.event != self.created.digest:
            raise RemoteProtocolError("wrong_event", "an amendment of another event")
        if (amendment.number, amendment.previous) != (self.number + 1, self.digest):
            raise RemoteProtocolError("wrong_previous", f"amendment {amendment.number} does not follow number {self.number}")
        self.check_signatures(signed)
        if complete and len(signed.signers) < self.threshold:
            raise RemoteProtocolError("too_few_signatures", f"{len(signed.signers)} where {self.threshold} are needed")
        return replace(
            self, number=amendment.number, digest=amendment.digest, **_EFFECTS[type(amendment.body)](self, amendment.body),
            **_announced(self, amendment.body, amendment.number, amendment.time),
        )  # fmt: skip

    def check_signatures(self, signed: SignedAmendment) -> None:
        """Raise RemoteProtocolError unless every signature is a coordinator's; there may be fewer than are needed."""
        if strangers := set(signed.signers) - set(self.coordinators):
            raise RemoteProtocolError("not_a_coordinator", min(strangers))
        if not signed.are_genuine:
            raise RemoteProtocolError("bad_signature", "under an amendment")

    def check_recipe(self, body: kinds.Recipe) -> None:
        """Raise RemoteProtocolError if a recipe changes what has to stay; the detail begins with the key."""
        created = self.created
        if body.outer is not None and body.outer.kind != created.outer.kind:
            raise _wrong("outer.kind cannot change: it says what the shared state is made of")
        if body.rounds is not None:
            if body.rounds.max_staleness != created.rounds.max_staleness:
                raise _wrong("rounds.max_staleness cannot change: it says how far a round looks back")
            if body.rounds.last_round != self.last_round:
                raise _wrong("rounds.last_round changes by `event extend` and `event close`")
        newest = max((change.from_round for change in self.changes), default=0)
        if body.from_round < newest:
            raise _wrong(f"an earlier amendment changes the recipe from round {newest} on: begin with that round, or a later one")

    def recipe(self, round: int) -> dict[str, Any]:
        """Return the sections as they are for the commit of `round`, with the last round as it is in force."""
        sections = {name: getattr(self.created, name) for name in kinds.SECTIONS}
        for change in self.changes:
            if change.from_round <= round:
                for name, value in change.values.items():
                    sections[name] = value if isinstance(value, Record) else sections[name].model_copy(update=value)
        sections["rounds"] = sections["rounds"].model_copy(update={"last_round": self.last_round})
        return sections

    def recipe_since(self, round: int) -> int:
        """Return the first round of the recipe that `round` has."""
        return max((change.from_round for change in self.changes if change.from_round <= round), default=0)

    def event(self, round: int, named: InForce | None = None) -> EventManifest:
        """Return the event for the commit of `round` on a base that is under this state.

        `named` is the state that the commit itself names: who may take part, and whether the event goes on, follow from that.
        """
        named = named or self
        if named.digest is None:
            return self.created
        sections = self.recipe(round)
        sections["rounds"] = sections["rounds"].model_copy(update={"last_round": named.last_round})
        fields = {name: getattr(self.created, name) for name in EventManifest.model_fields}
        return AmendedEvent(**fields | sections | {
            "id": self.created.digest,
            "amendment": named.digest,
            "coordinator": self.coordinators[0],
            "admission": self.created.admission.model_copy(update={"banned": tuple(sorted(named.banned))}),
            "admitted": tuple(sorted(named.admitted)),
            "revoked": tuple(sorted(named.revoked)),
            "paused": named.paused,
            "recipe_since": self.recipe_since(round),
        })  # fmt: skip


def _announced(state: InForce, body: Record, number: int, time: int) -> dict[str, Any]:
    if not isinstance(body, kinds.Announce):
        return {}
    return {"announcements": (*state.announcements, Announcement(body.text, number, time))[-_ANNOUNCEMENTS:]}


def _wrong(why: str) -> RemoteProtocolError:
    return RemoteProtocolError("wrong_amendment", why)


def _room(peers: int) -> None:
    if peers >= MAX_PEERS:
        raise _wrong(f"more than {MAX_PEERS} of them")


def _ban(state: InForce, body: kinds.Ban) -> dict[str, Any]:
    if body.peer in state.coordinators:
        raise _wrong("a coordinator cannot be banned: change the coordinators first")
    if body.peer in state.banned:
        raise _wrong("this peer is banned already")
    _room(len(state.banned))
    return {"banned": {**state.banned, body.peer: body.reason}, "admitted": state.admitted - {body.peer}}


def _admit(state: InForce, body: kinds.Admit) -> dict[str, Any]:
    invited = state.created.admission.mode == "invited"
    if body.peer not in state.banned and (not invited or body.peer in state.admitted):
        raise _wrong("this peer may take part already")
    _room(len(state.admitted))
    banned = {peer: reason for peer, reason in state.banned.items() if peer != body.peer}
    return {"banned": banned, "admitted": state.admitted | {body.peer} if invited else state.admitted}


def _revoke(state: InForce, body: kinds.Revoke) -> dict[str, Any]:
    if body.token in state.revoked:
        raise _wrong("this token is revoked already")
    _room(len(state.revoked))
    return {"revoked": state.revoked | {body.token}}


def _pause(state: InForce, body: kinds.Pause) -> dict[str, Any]:
    if state.paused:
        raise _wrong("the event is paused already")
    return {"paused": True, "pause_reason": body.reason}


def _open(state: InForce, body: kinds.Open) -> dict[str, Any]:
    if not state.paused:
        raise _wrong("the event is not paused")
    return {"paused": False, "pause_reason": ""}


def _extend(state: InForce, body: kinds.Extend) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    if body.last_round is not None:
        changed = {"last_round": body.last_round, "closed": False}
    if body.total_samples is not None:
        for change in (None, *state.changes):
            inner = state.created.inner if change is None else change.values.get("inner")
            warmup = getattr(inner, "warmup_samples", 0)
            if warmup >= body.total_samples:
                raise _wrong(f"total_samples must be above the warm-up's {warmup}")
        changed["changes"] = (*state.changes, Change(0, {"inner": {"total_samples": body.total_samples}}))
    return changed


def _close(state: InForce, body: kinds.Close) -> dict[str, Any]:
    return {"last_round": body.after, "closed": True}


def _recipe(state: InForce, body: kinds.Recipe) -> dict[str, Any]:
    state.check_recipe(body)
    return {"changes": (*state.changes, Change(body.from_round, dict(body.sections())))}


def _coordinators(state: InForce, body: kinds.Coordinators) -> dict[str, Any]:
    if banned := set(body.keys) & set(state.banned):
        raise _wrong(f"{min(banned)} is banned: admit it first")
    return {"coordinators": body.keys, "threshold": body.threshold}


def _bootstrap(state: InForce, body: kinds.Bootstrap) -> dict[str, Any]:
    return {"bootstrap": body.addresses}


_EFFECTS: dict[type[Record], Callable[[InForce, Any], dict[str, Any]]] = {
    kinds.Ban: _ban,
    kinds.Admit: _admit,
    kinds.Revoke: _revoke,
    kinds.Pause: _pause,
    kinds.Open: _open,
    kinds.Extend: _extend,
    kinds.Close: _close,
    kinds.Recipe: _recipe,
    kinds.Coordinators: _coordinators,
    kinds.Bootstrap: _bootstrap,
    kinds.Announce: lambda state, body: {},
}
