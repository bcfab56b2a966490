"""Signing what another maintainer drafted: replayed first, and made a commit once enough have signed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...protocol.event import EventManifest
from ...protocol.identity import Identity
from ...protocol.messages import Signed
from ..errors import UserError
from ..failpoints import failpoint
from ..history.replay import replaying
from ..history.revert import branch_to_take, keep_revert
from ..proposals.board import keep
from ..proposals.merging import keep_merge
from ..settings import Settings
from ..store import Store
from .draft import Draft
from .maintainers import check_maintainer


@dataclass(frozen=True)
class SignedDraft:
    """What became of a draft: how many signatures it lacks yet, and whether this one is new."""

    draft: Draft
    missing: int
    added: bool


def keep_draft(store: Store, draft: Draft) -> bool:
    """Make a draft that enough have signed the next commit of its branch; False if it is there. Raises UserError, RefMoved."""
    name, now, parent = branch_to_take(store, draft.branch, store.commit(draft.commit.base))
    if now == draft.commit.digest:
        return False
    if parent.digest != draft.commit.base:
        raise UserError(f"{draft.branch} moved since the draft was made", "make another one: it would follow another version")
    (keep_revert if draft.commit.method == "revert" else keep_merge)(store, name, now, draft.commit)
    failpoint("draft-kept")
    return True


async def sign_draft(
    event: EventManifest, store: Store, settings: Settings, identity: Identity, draft: Draft,
    proposals: Sequence[tuple[Signed, Sequence[bytes]]],
) -> SignedDraft:  # fmt: skip
    """Take over what the draft merges, replay it, and add a signature if it lacks one. Raises UserError."""
    draft.check(event, store)
    in_force = store.amendments.of(event).event_on(store.commit(draft.commit.base))
    missing = draft.missing(in_force)
    if missing:
        check_maintainer(in_force, identity)
        if identity.peer_id in draft.signers():
            raise UserError("you have signed this already", f"{missing} more must sign: send it to another maintainer")
    for signed, blobs in proposals:
        keep(store, signed, *blobs)
    async with replaying(event, store, settings) as replay:
        await replay.go_to(store.commit(draft.commit.base))
        await replay.replay(draft.commit)
    return SignedDraft(draft.signed_by(identity), missing - 1, added=True) if missing else SignedDraft(draft, 0, added=False)
