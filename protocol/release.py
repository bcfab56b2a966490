"""The record of a release: which commit has which version, why it is that one, and who made it what it is.

The record says what was decided; that the maintainers said so is the business of the metadata that names its hash
(`node/releases`, The Update Framework, https://theupdateframework.github.io/specification/latest/).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from .canonical import DOCUMENT_LIMITS
from .credits import Credit
from .dependent import MAX_DEPENDENTS, Dependent
from .errors import LocalProtocolError
from .event import EventManifest
from .identity import PeerId
from .messages import Envelope, Round, Signed
from .record import Digest, Moment, Record, Word, later
from .verdict import Verdict, contradictions, open_about, too_few
from .versions import Evidence, Interface, Tasks, Version, next_version

MAX_CREDITS = 4096
MAX_RELEASE_VERDICTS = 256
MAX_DESPITE = 200
MAX_RELEASE_BYTES = DOCUMENT_LIMITS.size


class Release(Record):
    """A version of an event's weights. `previous` is the hash of the last release's record, `evidence` the comparison with it.

    Both are None for the first. `verdicts` are signed envelopes; `time` is the releaser's clock (Unix seconds), for people.
    `despite`: why it was released although verdicts contradict each other. `dependents`: modules that were re-tested on it.
    `tasks` are what it promises, by the names of gates: the next release is tested on them.
    """

    event: Digest
    title: Annotated[str, Field(max_length=64)]
    version: Annotated[str, Field(max_length=32)]
    commit: Digest
    state: Digest
    round: Round
    previous: Digest | None
    interface: Interface
    evidence: Evidence | None
    verdicts: Annotated[tuple[Envelope, ...], Field(max_length=MAX_RELEASE_VERDICTS)]
    message: Annotated[str, Field(max_length=4096)]
    changelog: Annotated[str, Field(max_length=256 * 1024)]
    credits: Annotated[tuple[Credit, ...], Field(max_length=MAX_CREDITS)]
    licence: Word
    releaser: PeerId
    time: Moment
    despite: Annotated[str, Field(max_length=MAX_DESPITE)] = later("")
    dependents: Annotated[tuple[Dependent, ...], Field(max_length=MAX_DEPENDENTS)] = later(())
    tasks: Tasks = later(())

    @field_validator("version")
    @classmethod
    def _is_a_version(cls, text: str) -> str:
        try:
            parsed = Version.parse(text)
        except LocalProtocolError as error:
            raise ValueError(str(error)) from error
        if str(parsed) != text:
            raise ValueError("a version has no v")
        return text

    @model_validator(mode="after")
    def _is_compared_with_what_it_follows(self) -> Release:
        if (self.previous is None) != (self.evidence is None):
            raise ValueError("evidence and previous go together")
        return self

    def check_follows(self, last: Release | None) -> None:
        """Raise LocalProtocolError unless this is a successor of `last` with a version that its evidence allows."""
        if (last is None) != (self.evidence is None) or (last is not None and last.digest != self.previous):
            raise LocalProtocolError(f"{self.version} is not compared with the release before it")
        if last is not None and self.evidence is not None:
            if (self.evidence.promised, self.evidence.promises) != (last.tasks, self.tasks):
                raise LocalProtocolError(f"{self.version} does not promise what {last.version} and its own tests say")
            next_version(Version.parse(last.version), self.evidence, Version.parse(self.version))

    def check_verdicts(self, event: EventManifest) -> None:
        """Raise LocalProtocolError unless each gate has verdicts of as many peers as it asks for, and nobody contradicts them.

        The first release is compared with nothing, and has none. Raises RemoteProtocolError for what is no verdict about it.
        """
        if self.previous is None:
            return
        verdicts = [(peer, verdict) for peer, verdict in self.opened_verdicts() if peer not in event.admission.banned]
        if (lacking := too_few(event.gate, [(peer, verdict.measurement.gate) for peer, verdict in verdicts])) is not None:
            raise LocalProtocolError(lacking)
        if not self.despite and (against := contradictions(verdicts)):
            raise LocalProtocolError(against[0])

    @property
    def tag(self) -> str:
        """The name of its tag: `v1.2.0`."""
        return f"v{self.version}"

    def opened_verdicts(self) -> list[tuple[PeerId, Verdict]]:
        """Return the verdicts and who signed them, each about this state. Raises RemoteProtocolError."""
        return [open_about(Signed.decode(envelope), self.event, self.state) for envelope in self.verdicts]


def decode_release(data: bytes) -> Release:
    """Return the release that `data` encodes. Raises RemoteProtocolError."""
    return Release.decode(data, DOCUMENT_LIMITS)
