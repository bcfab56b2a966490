"""The weights after commits of a store, and those of a checkpoint, as tensors of this process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from ...protocol.commit import Commit
from ...protocol.event import EventManifest
from ..errors import UserError
from ..history.replay import Replay
from ..interchange.read import convert
from ..trainer.errors import WorkerError
from ..trainer.tensor_file import read_tensors

Weights = dict[str, Tensor]

_IN_A_FOLDER = "model.safetensors"


async def weights_of(replay: Replay, *commits: Commit) -> dict[bytes, Weights]:
    """Return the weights after each commit, by its digest, replayed and checked: the oldest first, so that it is one way."""
    found: dict[bytes, Weights] = {}
    with tempfile.TemporaryDirectory(prefix="collab-weights-") as folder:
        for commit in sorted(commits, key=lambda commit: commit.round):
            if commit.digest not in found:
                path = Path(folder) / commit.digest.hex()
                await replay.go_to(commit)
                await replay.write(path)
                found[commit.digest] = {name: tensor.clone() for name, tensor in load_file(path).items()}
    return found


@contextmanager
def checkpoint_file(event: EventManifest, path: Path) -> Iterator[Path]:
    """Give the safetensors file at `path`, or `model.safetensors` in the folder there; what `save_pretrained` wrote is converted.

    Raises UserError.
    """
    if (path / "config.json").is_file():
        with tempfile.TemporaryDirectory(prefix="collab-checkpoint-") as folder:
            converted = Path(folder) / _IN_A_FOLDER
            convert(event, path, converted)
            yield converted
        return
    file = path / _IN_A_FOLDER if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"there is no checkpoint {file}", "name a safetensors file, or a folder with model.safetensors")
    yield file.absolute()


def read_checkpoint(file: Path, like: Weights) -> Weights:
    """Return the weights in a safetensors file: the names and shapes of `like`, in float32. Raises UserError."""
    try:
        return read_tensors(file, {name: tuple(tensor.shape) for name, tensor in like.items()})
    except WorkerError as error:
        raise UserError(error.text, "`collab-node export` writes a file of the form that is expected") from error
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
