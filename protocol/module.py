"""Packages: a module's manifest, the hashes of its files, and its publisher's signature.

A module is an adapter, an expert, a head or a datastore, published on its own; a `base` is a release that modules build on. What
it requires are packages in ranges of versions.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from .canonical import DOCUMENT_LIMITS
from .errors import LocalProtocolError, RemoteProtocolError
from .gates import Gates, check_names
from .identity import Identity, PeerId, verify
from .messages import Blob
from .ranges import Range
from .record import Record, Signature, Word
from .versions import Interface, Version

MAX_FILES = 4096
MAX_PACKAGE_BYTES = 1024 * 1024
_DOMAIN = b"collab-node/package/1\0"
_REQUIREMENT = re.compile(r"\s*([a-z0-9][a-z0-9_.-]{0,63})\s*(?:@\s*)?((?<=[\s@])[^@]*|)")
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_. -]*")


class Requirement(NamedTuple):
    """A package by its name, in a range of versions."""

    name: str
    range: Range

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Return what `bengali-bert >=1.2,<2`, `bengali-bert@^1.2` or `bengali-bert` require. Raises LocalProtocolError."""
        found = _REQUIREMENT.fullmatch(text) if len(text) <= 256 else None
        if found is None:
            raise LocalProtocolError(f"{text[:60]!r} is no requirement, such as bengali-bert@^1.2")
        return cls(found.group(1), Range.parse(found.group(2)))

    def __str__(self) -> str:
        return f"{self.name} {self.range}"


class Module(Record):
    """What `module.toml` says."""

    name: Word
    version: Annotated[str, Field(max_length=32)]
    kind: Literal["base", "adapter", "expert", "head", "datastore"]
    description: Annotated[str, Field(max_length=2000)] = ""
    licence: Word = "unknown"
    requires: Annotated[tuple[Annotated[str, Field(max_length=256)], ...], Field(max_length=64)] = ()
    interface: Interface | None = None
    gate: Gates = ()

    @field_validator("version")
    @classmethod
    def _is_a_version(cls, text: str) -> str:
        try:
            return str(Version.parse(text))
        except LocalProtocolError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _makes_sense(self) -> Module:
        check_names(self.gate)
        try:
            names = [requirement.name for requirement in self.requirements()]
        except LocalProtocolError as error:
            raise ValueError(f"requires: {error}") from error
        if len(set(names)) < len(names) or self.name in names:
            raise ValueError("requires: each package once, and not itself")
        return self

    def requirements(self) -> list[Requirement]:
        """Return what it requires."""
        return [Requirement.parse(text) for text in self.requires]


class PackageFile(Record):
    """A file by its path in the package, with slashes, and its bytes' hash and size; an empty file has no blob."""

    path: Annotated[str, Field(max_length=512)]
    blob: Blob | None

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        if not all(_PART.fullmatch(part) for part in path.split("/")):
            raise ValueError(f"{path!r} is no path of a package")
        return path


class Package(Record):
    """A module with its files, in the order of their paths."""

    module: Module
    files: Annotated[tuple[PackageFile, ...], Field(max_length=MAX_FILES)]
    publisher: PeerId

    @model_validator(mode="after")
    def _files_are_in_order(self) -> Package:
        paths = [file.path.casefold() for file in self.files]
        if paths != sorted(set(paths)):
            raise ValueError("files: in the order of their paths, no two alike")
        return self


class SignedPackage(Record):
    """A package's canonical bytes, and its publisher's signature over them. Its digest is what a lock file pins."""

    package: Annotated[bytes, Field(max_length=MAX_PACKAGE_BYTES)]
    signature: Signature

    @classmethod
    def seal(cls, identity: Identity, package: Package) -> Self:
        """Sign `package`, whose publisher is `identity`. Raises LocalProtocolError if it is too large."""
        body = package.encode()
        if len(body) > MAX_PACKAGE_BYTES:
            raise LocalProtocolError(f"the package's record has {len(body)} bytes; {MAX_PACKAGE_BYTES} are allowed")
        return cls(package=body, signature=identity.sign(_DOMAIN + body))

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Return what `encode` wrote; such records may be larger than messages. Raises RemoteProtocolError."""
        return cls.decode(data, DOCUMENT_LIMITS)

    def open(self) -> Package:
        """Return the package. Raises RemoteProtocolError: "malformed" or "bad_signature"."""
        package = Package.decode(self.package, DOCUMENT_LIMITS)
        if not verify(package.publisher, self.signature, _DOMAIN + self.package):
            raise RemoteProtocolError("bad_signature", package.publisher)
        return package
