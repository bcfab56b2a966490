"""Making a head or a datastore of a version of an event's model, and of data in the volunteer's folder."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ...protocol.commit import Commit
from ...protocol.event import EventManifest
from ...protocol.gates import HeadGate, LossGate
from ..errors import UserError
from ..history.replay import replaying
from ..settings import Settings
from ..store import Store
from ..trainer.messages import MakeModule, VersionRef
from .datastore import DatastoreConfig

R = TypeVar("R", bound=BaseModel)


def a_head(folder: Path, *, path: str, field: str, label: str) -> MakeModule:
    """Return what asks for a head that is trained on labelled texts. Raises UserError."""
    gate = _checked(HeadGate, name="texts", kind="accuracy", path=path, field=field, label=label)
    return MakeModule(gate=gate.encode(), version=VersionRef(), folder=_new(folder))


def a_datastore(
    folder: Path, *, path: str, field: str, shard: str, entries: int, k: int, temperature: float, share: float
) -> MakeModule:
    """Return what asks for a datastore of a text, or of every OFth of its blocks from N on (`shard` N/OF). Raises UserError."""
    gate = _checked(LossGate, name="text", kind="loss", path=path, field=field, shard=_shard(shard))
    config = _checked(DatastoreConfig, k=k, temperature=temperature, **{"lambda": share})
    settings = config.model_dump_json(by_alias=True)
    return MakeModule(
        gate=gate.encode(), version=VersionRef(), folder=_new(folder), entries=entries, settings=settings
    )  # fmt: skip


def _shard(text: str) -> tuple[int, int]:
    number, _, of = (text or "0/1").partition("/")
    if not (number.isdecimal() and of.isdecimal()):
        raise UserError(f"--shard is two numbers such as 0/2 (not {text[:20]!r})")
    return int(number), int(of)


def _checked(what: type[R], **fields: Any) -> R:
    try:
        return what(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UserError(f"--{'.'.join(map(str, first['loc']))}: {first['msg']}".replace("--: ", "")) from error


def _new(folder: Path) -> str:
    if folder.exists():
        raise UserError(f"{folder} is already there", "choose another name")
    return str(folder.absolute())


async def make(event: EventManifest, store: Store, settings: Settings, commit: Commit, asked: MakeModule) -> int:
    """Write the tensors and the configuration of a module for the version after a commit; return how many labels or entries it
    has. Raises UserError."""
    with tempfile.TemporaryDirectory(prefix="collab-module-") as place:
        base = Path(place) / "base.safetensors"
        async with replaying(event, store, settings, data=True) as replay:
            await replay.go_to(commit)
            await replay.write(base)
            version = VersionRef(of="file", path=str(base))
            return (await replay.make_module(asked.model_copy(update={"version": version}))).size
