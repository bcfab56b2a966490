"""Making a release: the evidence, the version that follows from it, the record, and the signature under it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ...protocol import refs
from ...protocol.amendments import Amendments, Signers
from ...protocol.commit import Commit
from ...protocol.credits import credits
from ...protocol.dependent import Dependent
from ...protocol.errors import LocalProtocolError, RemoteProtocolError
from ...protocol.event import EventManifest
from ...protocol.gates import OwnGate
from ...protocol.identity import Identity
from ...protocol.messages import Signed
from ...protocol.release import MAX_CREDITS, Release
from ...protocol.verdict import contradictions, open_verdict
from ...protocol.versions import Evidence, Version, next_version
from ..amendments.making import standing
from ..errors import UserError
from ..event.interface import interface_of
from ..gates.run import all_gates
from ..history.graph import StoreGraph
from ..history.progress import Progress
from ..history.revisions import find_commit, read_commit
from ..home import EventFolder
from ..modules.dependents import dependents_on, retest
from ..settings import Settings
from ..store import Store
from . import files as shelf
from . import roles
from .changelog import changelog
from .evidence import compare, own_verdicts, tasks_of
from .files import Files
from .opinions import Wish, check_opinions, gathered
from .trust import believed, trusted_releases


@dataclass(frozen=True)
class Desk:
    """An event's releases in a home: `known` trusts them, newest version first, `keep` writes new files and tags."""

    folder: EventFolder
    event: EventManifest
    store: Store

    def files(self) -> Files:
        """Return the files that are here."""
        return shelf.load(self.store)

    @property
    def _memory(self) -> Path:
        return self.folder.path / "releases"

    def check(self, files: Files) -> list[Release]:
        """Return the releases that `files` prove to this node. Raises UserError."""
        if not files:
            return []
        with tempfile.TemporaryDirectory(prefix="collab-releases-") as folder:  # what is refused leaves no trace in the memory
            rehearsal = Path(folder) / "memory"
            if self._memory.is_dir():
                shutil.copytree(self._memory, rehearsal, symlinks=True)
            self._check(files, rehearsal)
        return self._check(files, self._memory)

    def _check(self, files: Files, memory: Path) -> list[Release]:
        signers = self.signers()
        found, vouching = trusted_releases(files, self.event.digest, signers, memory)
        for release in found:
            try:
                release.check_verdicts(self.event)
                if vouching != signers[-1]:
                    self._check_made_under(release, vouching, signers)
            except (LocalProtocolError, RemoteProtocolError) as error:
                raise UserError(f"release {release.version} is not to be trusted: {error}") from error
        return found

    def _check_made_under(self, release: Release, vouching: Signers, signers: Sequence[Signers]) -> None:
        """Raise UserError unless those who vouch for a release, and sign no more, still did when its commit was made.

        Raises RemoteProtocolError if that cannot be told.
        """
        if not self.store.has_commit(release.commit):
            problem = f"release {release.version} is signed by former coordinators, and its commit is not here"
            raise UserError(problem, "fetch the history first")
        at = self._amendments().signers(self.store.commit(release.commit).amendment)[-1]
        if at not in signers[: signers.index(vouching) + 1]:
            problem = f"release {release.version} is signed by those who did not coordinate the event any more at its commit"
            raise UserError(problem, f"from there on it takes {_said(signers[-1])}")

    def _amendments(self) -> Amendments:
        return self.store.amendments.of(self.event)

    def signers(self) -> list[Signers]:
        """Return who signs for the event now, last, and who did in turn before, as far as this home knows. Raises UserError."""
        return self._amendments().signers(standing(self.folder, self.store).in_force.digest)

    def known(self) -> list[Release]:
        """Return the releases, the newest version first. Raises UserError if they cannot be trusted."""
        return self.check(self.files())

    def find(self, version: str) -> Release:
        """Return a release by its version, with or without a v; the newest for "". Raises UserError."""
        found = self.known()
        wanted = version.removeprefix("v")
        match = next((release for release in found if wanted in ("", release.version)), None)
        if match is None:
            there = ", ".join(release.version for release in found) or "none"
            raise UserError(f"there is no release {wanted}".rstrip(), f"there are: {there}")
        return match

    def base(self, revision: str) -> tuple[Commit, Version | None]:
        """Return a commit and its version if it is a release; for "" the newest release. Raises UserError."""
        known = self.known()
        if not revision and not known:
            raise UserError("there are no releases to compare with", "name a version: --against REV")
        commit = find_commit(self.store, revision) if revision else read_commit(self.store, known[0].commit)
        versions = [Version.parse(release.version) for release in known if release.commit == commit.digest]
        return commit, versions[0] if versions else None

    def started(self, signer: Identity, now: datetime) -> Files:
        """Return the files, with an unsigned root of those who sign for the event where they have none. Raises UserError."""
        found, signers = self.files(), self.signers()[-1]
        if found and roles.are_appointed(found, signers):
            return found
        if signer.peer_id not in signers.keys:
            since = "since its coordinators changed" if signers.since else "and no release has come here yet"
            hint = f"it takes {_said(signers)}; fetch what they release"
            raise UserError(f"this key does not sign for the event, {since}", hint)
        return roles.appoint(found, signers, now)

    def keep(self, files: Files, before: Files) -> list[Release]:
        """Keep files once they are trusted, and tag their releases; return those. Raises UserError."""
        found = self.check(files)
        shelf.save(self.store, believed(files, self._memory), before)
        for release in found:
            self._tag(release)
        return found

    def _tag(self, release: Release) -> None:
        name = refs.tag_name(release.tag)
        at = self.store.refs.get(name)
        if at is not None and at != release.commit:
            raise UserError(f"the tag {release.tag} is at another commit than the release", f"`collab-node tag -d {release.tag}`")
        if at is None and self.store.has_commit(release.commit):
            self.store.refs.update(name, release.commit, None)


def _said(signers: Signers) -> str:
    few = ", ".join(signers.keys)
    return few if signers.threshold == len(signers.keys) else f"{signers.threshold} of {few}"


async def prepare(
    desk: Desk, commit: Commit, wish: Wish, signer: Identity, settings: Settings, now: datetime, progress: Progress
) -> Release:
    """Return the record of a release of `commit`. Raises UserError, in one line, for a version that is too low."""
    wanted = _wanted(wish.version)
    last = next(iter(desk.known()), None)
    if last is not None and last.commit == commit.digest:
        raise UserError(f"that commit is release {last.version} already")
    gates = all_gates(desk.event.gate, wish.gates)
    evidence, verdicts = None, list(wish.verdicts)
    if last is not None:
        check_opinions(desk.event, gathered(desk.event, desk.store, commit, last.state, wish.verdicts), wish, signer)
        own = await own_verdicts(desk.event, desk.store, settings, gates, last, commit, signer, progress)
        verdicts = gathered(desk.event, desk.store, commit, last.state, (*wish.verdicts, *own))
        check_opinions(desk.event, verdicts, wish)
        evidence = await _evidence(desk, gates, last, commit, verdicts)
    try:
        version = next_version(None if last is None else Version.parse(last.version), _or_none(evidence), wanted)
    except LocalProtocolError as error:
        raise UserError(str(error)) from error
    dependents = [] if last is None else await _dependents(desk, last, commit, wish, settings, progress)
    given = credits(desk.event, _path(desk.store, commit, None))[:MAX_CREDITS]
    return Release(
        event=desk.event.digest, title=desk.event.name, version=str(version), commit=commit.digest, state=commit.state,
        round=commit.round, previous=None if last is None else last.digest, interface=interface_of(desk.event),
        evidence=evidence, verdicts=tuple(signed.encode() for signed in verdicts), message=wish.message,
        changelog=changelog(_path(desk.store, commit, last), given), credits=given, licence=wish.licence,
        releaser=signer.peer_id, time=int(now.timestamp()), despite=_despite(verdicts, wish),
        dependents=tuple(dependents),
        tasks=tuple(sorted(gate.name for gate in gates)) if evidence is None else evidence.promises,
    )  # fmt: skip


async def _dependents(
    desk: Desk, last: Release, commit: Commit, wish: Wish, settings: Settings, progress: Progress
) -> list[Dependent]:
    if wish.index is None:
        return []
    modules = dependents_on(wish.index, desk.event.name, Version.parse(last.version))
    return await retest(desk.event, desk.store, settings, wish.index, modules, desk.store.commit(last.commit), commit, progress)


def _despite(verdicts: Sequence[Signed], wish: Wish) -> str:
    return wish.despite if contradictions((signed.signer, open_verdict(signed)) for signed in verdicts) else ""


async def _evidence(
    desk: Desk, gates: Sequence[OwnGate], last: Release, commit: Commit, verdicts: Sequence[Signed]
) -> Evidence:
    try:
        tasks = tasks_of(desk.event, gates, last, commit, verdicts)
    except RemoteProtocolError as error:
        raise UserError(f"a verdict does not count: {error}") from error
    return await compare(desk.event, desk.store, last, commit, tasks)


def _or_none(evidence: Evidence | None) -> Evidence:
    return evidence or Evidence(architecture="same", interface="same", changed=0.0)


def _wanted(version: str) -> Version | None:
    try:
        return Version.parse(version) if version else None
    except LocalProtocolError as error:
        raise UserError(str(error)) from error


def _path(store: Store, commit: Commit, last: Release | None) -> list[Commit]:
    """Return the commits that this release has and the last one has not, oldest first."""
    graph = StoreGraph(store)
    exclude = [] if last is None else [last.commit]
    return [read_commit(store, digest) for digest in reversed(refs.history(graph, [commit.digest], exclude))]
