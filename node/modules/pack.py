"""Making a package of a folder: its `module.toml`, and all files beside it."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from ...protocol.errors import LocalProtocolError, RemoteProtocolError
from ...protocol.identity import Identity
from ...protocol.messages import Blob
from ...protocol.module import MAX_FILES, Module, Package, PackageFile, SignedPackage
from ..errors import UserError, disk_errors
from ..store.blobs import file_digest
from .index import Held, Index
from .kinds import check_module

MANIFEST = "module.toml"
_MOST_BYTES = 256 * 1024
_CODE = (".bin", ".ckpt", ".dll", ".pickle", ".pkl", ".pt", ".pth", ".py", ".so")
"""Files that run when they are loaded: a package has none."""


def read_module(folder: Path) -> Module:
    """Return what the folder's module.toml says. Raises UserError."""
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise UserError(f"{path} is too large")
        fields: dict[str, Any] = tomllib.loads(text.decode())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "docs/RELEASES.md says what stands in it") from error
    except ValueError as error:
        raise UserError(f"{path} is not valid TOML: {error}") from error
    try:
        return Module.from_fields(_frozen(fields))
    except RemoteProtocolError as error:
        raise UserError(f"{path}: {error.detail}", "docs/RELEASES.md says what stands in it") from error


def _frozen(value: Any, key: str = "") -> Any:
    """Return TOML's value as records take it: arrays as tuples, a tokenizer's hash as bytes."""
    if isinstance(value, dict):
        return {name: _frozen(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return tuple(_frozen(each) for each in value)
    if key == "tokenizer" and isinstance(value, str):
        try:
            return bytes.fromhex(value)
        except ValueError:
            return value
    return value


def pack(folder: Path, index: Index, signer: Identity) -> Held:
    """Publish the folder as a package of the index. Raises UserError."""
    module = read_module(folder)
    check_module(module, folder)
    with disk_errors(folder):
        files = tuple(_file(folder, path) for path in _paths(folder))
    try:
        package = Package.from_fields({"module": module, "files": files, "publisher": signer.peer_id})
        signed = SignedPackage.seal(signer, package)
    except (RemoteProtocolError, LocalProtocolError) as error:
        raise UserError(f"{folder} cannot be packed: {error}") from error
    return index.publish(signed, folder)


def _paths(folder: Path) -> list[str]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent) / name
            if name.startswith("."):
                continue
            if path.is_symlink() or not path.is_file():
                raise UserError(f"{path} is no plain file", "a package has plain files only")
            if path.suffix.lower() in _CODE:
                raise UserError(f"{path} could run code when it is loaded", "store weights as safetensors")
            found.append(path.relative_to(folder).as_posix())
    if len(found) > MAX_FILES:
        raise UserError(f"{folder} has {len(found)} files; a package has {MAX_FILES} at most")
    return sorted(found, key=str.casefold)


def _file(folder: Path, path: str) -> PackageFile:
    size = (folder / path).stat().st_size
    blob = Blob(sha256=file_digest(folder / path), size=size) if size else None
    try:
        return PackageFile.from_fields({"path": path, "blob": blob})
    except RemoteProtocolError as error:
        raise UserError(f"{folder}: {error.detail}", "rename it: letters, digits, - _ . and spaces") from error
