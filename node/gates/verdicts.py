"""The verdicts of a version: read from what `gate run --sign` printed, kept, gathered, and set against each other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...protocol.commit import Commit
from ...protocol.errors import RemoteProtocolError
from ...protocol.event import EventManifest
from ...protocol.identity import PeerId
from ...protocol.messages import Signed
from ...protocol.verdict import Verdict, open_verdict, read_verdict
from ..errors import UserError
from ..store import Store

_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Held:
    """A verdict that is here, and who signed it."""

    signed: Signed
    verdict: Verdict

    @property
    def peer(self) -> PeerId:
        """Who signed it."""
        return self.signed.signer

    def fields(self) -> dict[str, Any]:
        """Return plain values, hashes in hex."""
        data = None if self.verdict.data is None else self.verdict.data.hex()
        return {
            "verdict": self.signed.digest.hex(), "peer": self.peer, "against": self.verdict.against.hex(), "data": data,
            "hardware": self.verdict.hardware, **self.verdict.measurement.model_dump(),
        }  # fmt: skip


def read_verdicts(path: Path) -> list[Signed]:
    """Return the verdicts in what `gate run --json --sign` printed; their signatures hold. Raises UserError."""
    try:
        with path.open("rb") as file:
            rows = json.loads(file.read(_MOST_BYTES))["gates"]
        found = [Signed.decode(bytes.fromhex(row["verdict"])) for row in rows]
        for signed in found:
            open_verdict(signed)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RemoteProtocolError) as error:
        raise UserError(f"{path} holds no signed verdicts", "`collab-node gate run --json --sign` prints them") from error
    return found


def add_verdicts(event: EventManifest, store: Store, verdicts: Sequence[Signed]) -> int:
    """Keep verdicts about versions that are here; return how many are new. Raises UserError."""
    states = {store.commit(digest).state for digest in store.links()}
    for signed in verdicts:
        verdict = open_verdict(signed)
        if verdict.event != event.digest:
            raise UserError("the verdict belongs to another event", "choose it with --event")
        if not {verdict.candidate, verdict.against} <= states:
            raise UserError(f"the verdict on {verdict.measurement.gate} is about a version that is not here", "fetch it first")
    return store.verdicts.add(verdicts)


def verdicts_of(store: Store, commit: Commit, against: bytes | None = None) -> list[Held]:
    """Return what counts of what is known of a commit (only against this state, if one is given): kept here, or in a commit."""
    own = [signed for signed, verdict in map(read_verdict, commit.verdicts) if verdict.candidate == commit.state]
    known = {each.digest: each for each in (*own, *store.verdicts.about(commit.state))}
    held = [Held(each, open_verdict(each)) for each in known.values() if not store.verdicts.is_dropped(each.digest)]
    chosen = [each for each in held if against in (None, each.verdict.against)]
    return sorted(chosen, key=lambda each: (each.verdict.measurement.gate, each.peer, each.signed.digest))
