"""What an amendment may say: a closed set of kinds."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from ..event import Compression, InnerOptimiser, Merge, OuterOptimiser, Rounds, Size
from ..identity import PeerId
from ..record import Digest, Record

MAX_COORDINATORS = 16
MAX_ADDRESSES = 16


def _one_line(text: str) -> str:
    if text != text.strip() or not text.isprintable():
        raise ValueError("is one printable line, without spaces at its ends")
    return text


Reason = Annotated[str, Field(max_length=200), AfterValidator(_one_line)]
Sentence = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_one_line)]
Address = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_one_line)]
RoundNumber = Annotated[int, Field(ge=1, lt=1 << 40)]


class Ban(Record):
    """A peer takes part no more: it is neither heard nor served, and its contributions are refused."""

    kind: Literal["ban"] = "ban"
    peer: PeerId
    reason: Reason = ""


class Admit(Record):
    """A ban is lifted, or a peer may take part in an invited event without an invite."""

    kind: Literal["admit"] = "admit"
    peer: PeerId
    reason: Reason = ""


class Revoke(Record):
    """An invite's token, by its id, lets nobody in any more."""

    kind: Literal["revoke"] = "revoke"
    token: Digest
    reason: Reason = ""


class Pause(Record):
    """The swarm makes no rounds until it is opened again."""

    kind: Literal["pause"] = "pause"
    reason: Reason = ""


class Open(Record):
    """The swarm goes on making rounds."""

    kind: Literal["open"] = "open"


class Extend(Record):
    """Another last round (0: there is none), or another number of samples that the learning rate's cosine ends at."""

    kind: Literal["extend"] = "extend"
    last_round: Annotated[int, Field(ge=0, lt=1 << 40)] | None = None
    total_samples: Size | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Extend:
        if self.last_round is None and self.total_samples is None:
            raise ValueError("last_round or total_samples is needed")
        return self


class Close(Record):
    """The event is over after the commit of this round."""

    kind: Literal["close"] = "close"
    after: RoundNumber


class Recipe(Record):
    """Sections of the event that are replaced, whole, for rounds from `from_round` on."""

    kind: Literal["recipe"] = "recipe"
    from_round: RoundNumber
    inner: InnerOptimiser | None = None
    compression: Compression | None = None
    outer: OuterOptimiser | None = None
    merge: Merge | None = None
    rounds: Rounds | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Recipe:
        if not self.sections():
            raise ValueError("at least one section is needed")
        return self

    def sections(self) -> dict[str, Record]:
        """Return the sections that are replaced, by name."""
        return {name: section for name in SECTIONS if (section := getattr(self, name)) is not None}


SECTIONS = ("inner", "compression", "outer", "merge", "rounds")


class Coordinators(Record):
    """From now on these keys are the coordinators', and so many of them sign an amendment. The first leads a small swarm."""

    kind: Literal["coordinators"] = "coordinators"
    keys: Annotated[tuple[PeerId, ...], Field(min_length=1, max_length=MAX_COORDINATORS)]
    threshold: Annotated[int, Field(ge=1, le=MAX_COORDINATORS)]

    @model_validator(mode="after")
    def _can_be_reached(self) -> Coordinators:
        if len(set(self.keys)) != len(self.keys):
            raise ValueError("keys names one twice")
        if self.threshold > len(self.keys):
            raise ValueError("threshold is more than there are keys")
        return self


class Bootstrap(Record):
    """Where the event's peers are found from now on, in place of what invites and earlier amendments say."""

    kind: Literal["bootstrap"] = "bootstrap"
    addresses: Annotated[tuple[Address, ...], Field(min_length=1, max_length=MAX_ADDRESSES)]


class Announce(Record):
    """A sentence for the volunteers."""

    kind: Literal["announce"] = "announce"
    text: Sentence


Body: TypeAlias = Annotated[
    Ban | Admit | Revoke | Pause | Open | Extend | Close | Recipe | Coordinators | Bootstrap | Announce,
    Field(discriminator="kind"),
]
