"""An index of packages in a folder: `packages/NAME/VERSION` holds a signed record, `blobs/` what the records name by hash.

Nothing in it is believed: a record only with its signature, a file only with the hash that the record gives.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ...protocol.errors import RemoteProtocolError
from ...protocol.module import MAX_PACKAGE_BYTES, Package, PackageFile, SignedPackage
from ...protocol.record import sha256
from ...protocol.versions import Version
from ..errors import UserError, disk_errors
from ..files import atomic_write, make_folder, replacing, sync
from ..store.blobs import Blobs, file_digest

_PACKAGES = "packages"
_MOST_BYTES = MAX_PACKAGE_BYTES + 1024


@dataclass(frozen=True)
class Held:
    """A package of an index; `digest` is its signed record's."""

    digest: bytes
    package: Package

    @property
    def version(self) -> Version:
        """Its version."""
        return Version.parse(self.package.module.version)


class Index:
    """Read-only until `publish` is called. Methods raise UserError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._blobs = Blobs(folder)

    @classmethod
    def open(cls, folder: Path) -> Index:
        """Return the index in a folder, which must be one."""
        if not (folder / _PACKAGES).is_dir():
            raise UserError(f"{folder} is no index of packages", "`collab-node module pack DIR --index FOLDER` makes one")
        return cls(folder)

    def names(self) -> list[str]:
        """Return the packages' names."""
        return sorted(path.name for path in (self.folder / _PACKAGES).iterdir() if path.is_dir())

    def versions(self, name: str) -> list[Held]:
        """Return a package's versions, the newest first; none if there is no such package."""
        folder = self.folder / _PACKAGES / name
        if not folder.is_dir():
            return []
        found = [self._held(name, path) for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
        return sorted(found, key=lambda held: held.version, reverse=True)

    def find(self, name: str, version: str) -> Held:
        """Return one version of a package."""
        path = self.folder / _PACKAGES / name / version
        if not path.is_file():
            raise UserError(f"{self.folder} has no {name} {version}")
        return self._held(name, path)

    def _held(self, name: str, path: Path) -> Held:
        with disk_errors(path):
            if path.stat().st_size > _MOST_BYTES:
                raise UserError(f"{path} is too large for a package's record")
            data = path.read_bytes()
        try:
            package = SignedPackage.read(data).open()
        except RemoteProtocolError as error:
            raise UserError(f"{path} is no signed record of a package: {error}") from error
        if (package.module.name, package.module.version) != (name, path.name):
            raise UserError(f"{path} is the record of {package.module.name} {package.module.version}")
        return Held(sha256(data), package)

    def publish(self, signed: SignedPackage, folder: Path) -> Held:
        """Keep a package whose files are in `folder`. A version that is there is never replaced."""
        package = signed.open()
        self._check_new(package, signed.encode())
        for file in package.files:
            self._keep(file, folder / file.path)
        return self.add(signed)

    def add(self, signed: SignedPackage) -> Held:
        """Keep the record of a package whose files' blobs are here. A version that is there is never replaced."""
        package, data = signed.open(), signed.encode()
        self._check_new(package, data)
        for file in package.files:
            if file.blob is not None and self._blobs.size(file.blob.sha256) != file.blob.size:
                raise UserError(f"{self.folder} lacks {file.path} of {package.module.name} {package.module.version}")
        atomic_write(self._path(package), data)
        return Held(sha256(data), package)

    def records(self) -> dict[str, bytes]:
        """Return the signed records' bytes as NAME/VERSION, none of which was looked at."""
        folder = self.folder / _PACKAGES
        paths = [path for path in sorted(folder.glob("*/*")) if path.is_file() and not path.name.startswith(".")]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths if path.stat().st_size <= _MOST_BYTES}

    def record(self, name: str, version: str) -> bytes | None:
        """Return the signed record's bytes, not looked at; None if it is not here."""
        path = self.folder / _PACKAGES / name / version
        return path.read_bytes() if path.is_file() and path.stat().st_size <= _MOST_BYTES else None

    def _path(self, package: Package) -> Path:
        return self.folder / _PACKAGES / package.module.name / package.module.version

    def _check_new(self, package: Package, data: bytes) -> None:
        path = self._path(package)
        if path.exists() and path.read_bytes() != data:
            what = f"{package.module.name} {package.module.version} is already published, and is another one"
            raise UserError(what, "raise `version` in module.toml")

    def _keep(self, file: PackageFile, source: Path) -> None:
        if file.blob is None or self._blobs.has(file.blob.sha256):
            return
        with replacing(self._blobs.path(file.blob.sha256)) as temporary:
            shutil.copyfile(source, temporary)
            if file_digest(temporary) != file.blob.sha256:
                raise UserError(f"{source} changed while it was packed", "repeat when nothing writes to it")

    def copy(self, file: PackageFile, target: Path) -> None:
        """Write a package's file to `target`, which is not there. Raises UserError, and leaves none, if its hash is another."""
        with disk_errors(target):
            make_folder(target.parent)
            if file.blob is None:
                target.touch()
                return
            source = self._blobs.path(file.blob.sha256)
            if not source.is_file():
                raise UserError(f"{self.folder} lacks {file.path}")
            if (size := source.stat().st_size) != file.blob.size:
                raise UserError(f"{file.path} has {size} bytes, not {file.blob.size}: it is not what was published")
            shutil.copyfile(source, target)
            if file_digest(target) != file.blob.sha256:
                target.unlink()
                raise UserError(f"{file.path} has another hash: it is not what was published")
            sync(target)
