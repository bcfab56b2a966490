"""What a person sets about a node: a TOML file, overridden by `COLLAB_…` in the environment, overridden by flags."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import AfterValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ..protocol.names import Name
from .errors import UserError
from .manners.limits import Limits, sentence

APPLICATION = "collab-node"
ENVIRONMENT_PREFIX = "COLLAB_"

Port = Annotated[int, Field(ge=0, le=65535)]
Folder = Annotated[Path, AfterValidator(Path.expanduser)]


class Settings(BaseSettings, Limits):
    """The settings of one node. Ports of 0 are chosen by the system. The limits among them can be changed while it runs.

    `metrics_shared`: tell the event's nodes where our metrics are, so that its monitoring scrapes them. `evaluate_every`: compute
    the held-out loss of every so many commits; 0: only when asked.
    """

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    home: Folder = Field(default_factory=lambda: platformdirs.user_data_path(APPLICATION))
    cache_dir: Folder = Field(default_factory=lambda: platformdirs.user_cache_path(APPLICATION))
    data_dir: Folder | None = None
    name: Name = ""

    host: str = "0.0.0.0"
    port: Port = 0
    gossip_port: Port = 0
    reachability: Literal["auto", "public", "outgoing"] = "auto"
    announce: Annotated[tuple[str, ...], NoDecode] = ()

    metrics: bool = True
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 0
    metrics_shared: bool = False
    evaluate_every: Annotated[int, Field(ge=0, le=1 << 20)] = 0

    device: Literal["auto", "cpu", "cuda"] = "auto"
    micro_batch: Annotated[int, Field(ge=0, le=1 << 20)] = 0

    log_file: Folder | None = None
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def limits(self) -> Limits:
        """The owner's limits alone."""
        return Limits(**{name: getattr(self, name) for name in Limits.model_fields})

    @field_validator("announce", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Take a list, or text with commas: an environment variable has no lists."""
        if isinstance(value, str):
            return tuple(part for part in (part.strip() for part in value.split(",")) if part)
        return value


def load_settings(config: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings from the file at `config` (default: the user's, if there is one), the environment and `flags`.

    Flags that are None were not given. Raises UserError that says where a wrong setting came from.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    path = config or platformdirs.user_config_path(APPLICATION) / f"{APPLICATION}.toml"
    file = _read(path, required=config is not None)
    from_file = {name: value for name, value in file.items() if name not in given and _variable(name) is None}
    try:
        return Settings(**from_file, **given)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        name = str(detail["loc"][0])
        where = _origin(name, given, path)
        if detail["type"] == "extra_forbidden":
            known = f"the settings are {', '.join(Settings.model_fields)}"
            raise UserError(f"{where}: there is no such setting", known) from error
        raise UserError(f"{where}: {sentence(detail)} (not {detail['input']!r})") from error


def _read(path: Path, required: bool) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if required:
            raise UserError(f"there is no settings file {path}") from error
        return {}
    except OSError as error:
        raise UserError(f"cannot read the settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"the settings file {path} is not TOML: {error}") from error


def _variable(name: str) -> str | None:
    """Return the environment variable that sets `name`, spelled as it is there; None if there is none."""
    wanted = (ENVIRONMENT_PREFIX + name).upper()
    return next((variable for variable, value in os.environ.items() if variable.upper() == wanted and value), None)


def _origin(name: str, flags: Mapping[str, Any], path: Path) -> str:
    if name in flags:
        return f"--{name.replace('_', '-')}"
    return _variable(name) or f"{name} in {path}"
