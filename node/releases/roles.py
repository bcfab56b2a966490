"""Building the metadata of The Update Framework for an event's releases.

`root` names the maintainers and how many of them must sign; `targets` names the releases and is signed like the root; `snapshot`
and `timestamp` say which is the newest, and any one maintainer signs them. A root or targets that lacks signatures is pending,
under a name of its own, and maintainers hand it round until enough have signed. These functions return new files, and keep none.

The event appoints the first maintainers, and an amendment that changes its coordinators appoints others: a root of theirs names
that amendment, whose signatures stand in for those of the maintainers before. Every other root is signed by both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Role, Root, Snapshot, TargetFile, Targets, Timestamp

from ...protocol.amendments import Signers
from ...protocol.identity import Identity
from ...protocol.record import sha256
from ...protocol.release import Release
from ..errors import UserError
from .files import PENDING_ROOT, PENDING_TARGETS, TARGETS, Files
from .signing import IdentitySigner, appointment, is_appointed, key_of

LONG = timedelta(days=730)
"""How long the maintainers' word for keys and releases holds."""
SHORT = timedelta(days=30)
"""How long "this is the newest" holds: whoever is shown older files after that is told so."""
T = TypeVar("T", Root, Targets)


def appoint(files: Files, signers: Signers, now: datetime) -> Files:
    """Return the files in effect and a root, unsigned, of those who sign for the event from now on.

    It takes effect with what they sign first: a release, or `renew`.
    """
    version = _newest(files, Root.type) + 1
    root = Root(version, expires=_after(now, LONG), consistent_snapshot=True, unrecognized_fields=appointment(signers))
    _appoint(root, signers.keys, signers.threshold)
    return {**without_pending(files), PENDING_ROOT: Metadata(root).to_bytes()}


def are_appointed(files: Mapping[str, bytes], signers: Signers) -> bool:
    """Say whether whoever signs next was appointed as `signers` were, or by them."""
    return is_appointed(_coming_root(files).signed, appointment(signers))


def newest_root(files: Mapping[str, bytes]) -> Metadata[Root]:
    """Return the newest root in effect. Raises UserError if there is none."""
    root = _root_in_effect(files)
    if root is None:
        raise UserError("these releases are not in effect yet", "`collab-node releases sign`, or `drop`")
    return root


def maintainers(files: Mapping[str, bytes], signers: Signers) -> tuple[list[str], int]:
    """Return who signs releases, and how many of them must: `signers`, who sign for the event, or whom they have appointed."""
    root = _root_in_effect(files)
    if root is None or not is_appointed(root.signed, appointment(signers)):
        return list(signers.keys), signers.threshold
    role = root.signed.roles[Root.type]
    return sorted(role.keyids), role.threshold


def change_maintainers(files: Files, peers: Sequence[str], threshold: int, signer: Identity, now: datetime) -> Files:
    """Return the files with a root, not in effect yet, in which `peers` are the maintainers. Raises UserError."""
    if _unsigned_yet(files):
        files = renew(files, signer, now)
        if lacking := missing(files):
            hint = "`collab-node releases renew` begins it, the others `releases sign`"
            raise UserError(f"the event's own signers have to begin the releases first: {lacking + 1} of them", hint)
    _nothing_pending(files)
    for peer in peers:
        try:
            key_of(peer)
        except ValueError as error:
            raise UserError(str(error), "`collab-node key show` says a node's own") from error
    if not 1 <= threshold <= len(peers):
        raise UserError(f"{threshold} signatures of {len(peers)} maintainers cannot be", "choose --threshold from 1 to as many")
    root = newest_root(files)
    root.signed.version += 1
    root.signed.expires = _after(now, LONG)
    _appoint(root.signed, peers, threshold)
    # The new maintainers vouch for the releases so far as well: the old ones' signatures count no more.
    return sign({**files, PENDING_ROOT: _unsigned(root), PENDING_TARGETS: _unsigned(_next_targets(files, now))}, signer, now)


def add_release(files: Files, release: Release, signer: Identity, now: datetime) -> Files:
    """Return the files with one more release, in effect if `signer` suffices. Raises UserError."""
    _nothing_pending(files)
    data = release.encode()
    target = TargetFile.from_data(f"{TARGETS}/{release.version}", data, ["sha256"])
    targets = _next_targets(files, now)
    targets.signed.targets[target.path] = target
    return sign({**files, _place(target): data, PENDING_TARGETS: _unsigned(targets)}, signer, now)


def sign(files: Files, signer: Identity, now: datetime) -> Files:
    """Return the files with `signer`'s signature under what is pending, which takes effect once enough have signed.

    Raises UserError.
    """
    root, targets = _pending(files)
    if targets is None:
        raise UserError("nothing waits for a signature")
    _check_what_is_signed(files, targets)
    may_sign: list[tuple[str, Metadata[Any], set[str]]] = [(PENDING_TARGETS, targets, _keys(_coming_root(files)))]
    if root is not None:
        before = _root_in_effect(files)
        may_sign.append((PENDING_ROOT, root, _keys(root) | (_keys(before) if before is not None else set())))
    if not any(signer.peer_id in keys for _, _, keys in may_sign):
        raise _no_maintainer(signer)
    for name, metadata, keys in may_sign:
        if signer.peer_id in keys:
            metadata.sign(IdentitySigner(signer), append=True)
            files = {**files, name: metadata.to_bytes()}
    in_charge = signer.peer_id in _keys(_coming_root(files))
    return renew(_in_effect(files), signer, now) if in_charge and not missing(files) else files


def _check_what_is_signed(files: Mapping[str, bytes], targets: Metadata[Targets]) -> None:
    """Raise UserError unless the pending targets are those in effect and at most one more, whose record is here."""
    before, after = _targets(files).signed.targets, targets.signed.targets
    new = [target for path, target in after.items() if path not in before]
    if len(new) > 1 or any(after.get(path) != target for path, target in before.items()):
        raise UserError("what is pending changes earlier releases", "`collab-node releases drop` forgets it")
    for target in new:
        if sha256(files.get(_place(target), b"")).hex() != target.hashes["sha256"]:
            raise UserError(f"the record of {target.path} is missing", "pull it again")


def check_signer(files: Mapping[str, bytes], signer: Identity) -> None:
    """Raise UserError unless `signer` is a maintainer and nothing waits for signatures: before work that needs both."""
    if signer.peer_id not in _keys(_coming_root(files)):
        raise _no_maintainer(signer)
    _nothing_pending(files)


def without_pending(files: Files) -> Files:
    """Return the files that are in effect."""
    records = {_place(target) for target in _targets(files).signed.targets.values()}
    waiting = {PENDING_ROOT, PENDING_TARGETS} | {name for name in files if name.startswith(f"{TARGETS}/")} - records
    return {name: data for name, data in files.items() if name not in waiting}


def missing(files: Mapping[str, bytes]) -> int:
    """Return how many more maintainers have to sign what is pending: of the old ones or of the new ones, whichever are more."""
    root, targets = _pending(files)
    lacking = [0]
    if root is not None:
        result = root.signed.get_root_verification_result(_who_agrees(files, root), root.signed_bytes, root.signatures)
        lacking += [result.first.missing, result.second.missing]
    if targets is not None:
        judge = _coming_root(files).signed
        lacking.append(judge.get_verification_result(Targets.type, targets.signed_bytes, targets.signatures).missing)
    return max(lacking)


def pending_release(files: Mapping[str, bytes]) -> str | None:
    """Return the version of the release that waits for signatures, None if none does."""
    _, targets = _pending(files)
    known = set(_targets(files).signed.targets)
    new = [] if targets is None else sorted(set(targets.signed.targets) - known)
    return new[0].partition("/")[2] if new else None


def renew(files: Files, signer: Identity, now: datetime) -> Files:
    """Return the files with a new snapshot and timestamp; of those who were just appointed, with their root signed.

    Raises UserError unless `signer` is a maintainer.
    """
    if _unsigned_yet(files):
        return sign({**files, PENDING_TARGETS: _unsigned(_next_targets(files, now))}, signer, now)
    if signer.peer_id not in _keys(newest_root(files)):
        _nothing_pending(files)
        raise _no_maintainer(signer)
    targets, version = _targets(files), _newest(files, Snapshot.type) + 1
    meta = {"targets.json": MetaFile(targets.signed.version)}
    snapshot = Metadata(Snapshot(version=version, expires=_after(now, LONG), meta=meta))
    timestamp = Metadata(Timestamp(version=version, expires=_after(now, SHORT), snapshot_meta=MetaFile(version)))
    for metadata in (snapshot, timestamp):
        metadata.sign(IdentitySigner(signer))
    return {**files, f"{version}.snapshot.json": snapshot.to_bytes(), "timestamp.json": timestamp.to_bytes()}


def _place(target: TargetFile) -> str:
    folder, _, name = target.path.rpartition("/")
    return f"{folder}/{target.hashes['sha256']}.{name}"


def _in_effect(files: Files) -> Files:
    """Return the files with what is pending under the names that count."""
    root, targets = _pending(files)
    rest = {name: data for name, data in files.items() if name not in (PENDING_ROOT, PENDING_TARGETS)}
    for metadata in (root, targets):
        if metadata is not None:
            rest[f"{metadata.signed.version}.{metadata.signed.type}.json"] = metadata.to_bytes()
    return rest


def _pending(files: Mapping[str, bytes]) -> tuple[Metadata[Root] | None, Metadata[Targets] | None]:
    root, targets = files.get(PENDING_ROOT), files.get(PENDING_TARGETS)
    return (
        None if root is None else _read(root, Root),
        None if targets is None else _read(targets, Targets),
    )


def _unsigned_yet(files: Mapping[str, bytes]) -> bool:
    """Say whether these are fresh from `appoint`."""
    return PENDING_ROOT in files and PENDING_TARGETS not in files


def _nothing_pending(files: Mapping[str, bytes]) -> None:
    if PENDING_TARGETS in files:
        what = pending_release(files)
        waiting = f"release {what}" if what else "a change of maintainers"
        raise UserError(f"{waiting} waits for {missing(files)} more signatures", "`collab-node releases sign` first, or `drop`")


def _root_in_effect(files: Mapping[str, bytes]) -> Metadata[Root] | None:
    version = _newest(files, Root.type)
    return _read(files[f"{version}.root.json"], Root) if version else None


def _coming_root(files: Mapping[str, bytes]) -> Metadata[Root]:
    """Return the root by which what is signed next is judged: the pending one, else the one in effect."""
    root, _ = _pending(files)
    return root or newest_root(files)


def _who_agrees(files: Mapping[str, bytes], root: Metadata[Root]) -> Root | None:
    """Return the root whose maintainers have to agree to the pending one: none if the event or an amendment appointed that."""
    before = _root_in_effect(files)
    return before.signed if before is not None and is_appointed(before.signed, root.signed.unrecognized_fields) else None


def _targets(files: Mapping[str, bytes]) -> Metadata[Targets]:
    version = _newest(files, Targets.type)
    return _read(files[f"{version}.targets.json"], Targets) if version else Metadata(Targets(version=1))


def _next_targets(files: Mapping[str, bytes], now: datetime) -> Metadata[Targets]:
    targets = _targets(files)
    targets.signed.version = _newest(files, Targets.type) + 1
    targets.signed.expires = _after(now, LONG)
    return targets


def _unsigned(metadata: Metadata[Any]) -> bytes:
    metadata.signatures.clear()
    return metadata.to_bytes()


def _newest(files: Mapping[str, bytes], role: str) -> int:
    """Return the highest version of a role's files; 0 if there is none."""
    names = [name.split(".") for name in files if name.endswith(f".{role}.json")]
    return max((int(parts[0]) for parts in names if parts[0].isdecimal()), default=0)


def _appoint(root: Root, peers: Sequence[str], threshold: int) -> None:
    root.keys = {peer: key_of(peer) for peer in peers}
    shared, alone = sorted(set(peers)), 1
    root.roles = {
        Root.type: Role(shared, threshold), Targets.type: Role(shared, threshold), Snapshot.type: Role(shared, alone),
        Timestamp.type: Role(shared, alone),
    }  # fmt: skip


def _keys(root: Metadata[Root]) -> set[str]:
    return set(root.signed.roles[Root.type].keyids)


def _no_maintainer(signer: Identity) -> UserError:
    return UserError(f"{signer.peer_id} is no maintainer of this event", "`collab-node releases maintainers` lists them")


def _after(now: datetime, span: timedelta) -> datetime:
    return (now + span).replace(microsecond=0)


def _read(data: bytes, kind: type[T]) -> Metadata[T]:
    try:
        metadata = Metadata[T].from_bytes(data)
    except RepositoryError as error:
        raise UserError(f"the metadata of the releases is damaged: {error}") from error
    if not isinstance(metadata.signed, kind):
        raise UserError(f"the metadata of the releases is damaged: {metadata.signed.type} where {kind.type} belongs")
    return metadata
