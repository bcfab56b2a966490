"""What stands in a package's folder: a configuration in JSON, and the header of a safetensors file, none of its weights."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError, safe_open

from ..errors import UserError

_MOST_BYTES = 1024 * 1024
_FLOATS = ("F32", "F16", "BF16")

C = TypeVar("C", bound=BaseModel)


class Header(NamedTuple):
    """A tensor's shape, and its type as safetensors writes it (`F32`)."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def is_float(self) -> bool:
        """Whether its values are floating-point numbers."""
        return self.dtype in _FLOATS


def read_config(path: Path, kind: type[C], hint: str) -> C:
    """Return the configuration in a JSON file. Raises UserError; `hint` says where such a file comes from."""
    try:
        with path.open("rb") as file:
            return kind.model_validate_json(file.read(_MOST_BYTES))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", hint) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}", hint) from error


def read_headers(path: Path, hint: str) -> dict[str, Header]:
    """Return the tensors' headers by name. Raises UserError."""
    try:
        with safe_open(path, framework="numpy") as file:
            views = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {name: Header(tuple(view.get_shape()), view.get_dtype()) for name, view in views.items()}
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read {path}: {error}", hint) from error
