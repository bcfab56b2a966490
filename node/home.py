"""The home of one node: its key, its events and the lock that keeps it to one daemon.

    identity.key            the 32-byte seed, in hex
    daemon.lock             held by the running daemon, and says its process id
    node.log                the log of a node in the background; node.log.1 … are older
    paused, limits.json     what the owner asked for; usage.json: what went over the network
    control.sock            (or a short path in the runtime folder, where the home's is too long for a socket)
    events/<16 hex digits>/ manifest, invite, store/, admission.key, invites/, and what the trainer keeps
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..protocol.errors import RemoteProtocolError
from ..protocol.manifest import SignedManifest
from .errors import UserError, disk_errors
from .files import atomic_write, make_folder

_SOCKET_PATH_BYTES = 107
_EVENT_DIGITS = 16
_MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class EventFolder:
    """Where one event lives in a home."""

    path: Path

    @property
    def manifest_path(self) -> Path:
        """The signed manifest's bytes."""
        return self.path / "manifest"

    @property
    def store_path(self) -> Path:
        """The folder of commits and blobs."""
        return self.path / "store"

    @property
    def worker_path(self) -> Path:
        """The folder that the trainer keeps its own state in."""
        return self.path / "worker"

    @property
    def invite_path(self) -> Path:
        """The invite that this node joined with, for the next time."""
        return self.path / "invite"

    @property
    def admission_key_path(self) -> Path:
        """The seed of the admission key; only the coordinator of an invited event has one."""
        return self.path / "admission.key"

    @property
    def issued_path(self) -> Path:
        """The folder of what this home knows of the invites that it made: no seed among it."""
        return self.path / "invites"

    def exists(self) -> bool:
        """Say whether the event was created or joined here."""
        return self.manifest_path.is_file()

    def called(self) -> str:
        """Return the event's name in brackets, for lists; empty where it cannot be read."""
        try:
            return f" ({self.manifest().open().name})"
        except UserError:
            return ""

    def remove_unless_joined(self) -> None:
        """Leave nothing behind of an event that never came here."""
        if not self.exists():
            shutil.rmtree(self.path, ignore_errors=True)

    def save_manifest(self, manifest: SignedManifest) -> None:
        """Keep the signed manifest. Raises UserError."""
        atomic_write(self.manifest_path, manifest.encode())

    def manifest(self) -> SignedManifest:
        """Read the signed manifest, verified. Raises UserError."""
        try:
            signed = SignedManifest.decode_file(self.manifest_path.read_bytes())
            signed.open()
        except OSError as error:
            raise UserError(f"cannot read {self.manifest_path}: {error.strerror}") from error
        except RemoteProtocolError as error:
            hint = "move the event's folder away and join again"
            problem = f"{self.manifest_path} is damaged, or of another version of collab-node ({error})"
            raise UserError(problem, hint) from error
        return signed


@dataclass(frozen=True)
class Home:
    """The folder of one node."""

    path: Path

    @property
    def identity_path(self) -> Path:
        """The key's file."""
        return self.path / "identity.key"

    @property
    def lock_path(self) -> Path:
        """The file that the running daemon holds locked."""
        return self.path / "daemon.lock"

    @property
    def log_path(self) -> Path:
        """The log of a node that runs in the background."""
        return self.path / "node.log"

    @property
    def pause_path(self) -> Path:
        """Is there while the owner has paused the node, and holds the reason."""
        return self.path / "paused"

    @property
    def limits_path(self) -> Path:
        """What the owner set while a node ran."""
        return self.path / "limits.json"

    @property
    def usage_path(self) -> Path:
        """The bytes of this month by day."""
        return self.path / "usage.json"

    @property
    def events_path(self) -> Path:
        """The folder of all events."""
        return self.path / "events"

    @property
    def control_path(self) -> Path:
        """The control socket: in the home, or in a runtime folder of this user where the home's path is too long."""
        path = self.path.absolute() / "control.sock"
        if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES:
            return path
        name = hashlib.sha256(os.fsencode(self.path.absolute())).hexdigest()[:_EVENT_DIGITS]
        return _runtime_folder() / f"{name}.sock"

    def prepare(self) -> None:
        """Make the folder. Raises UserError."""
        with disk_errors(self.path):
            make_folder(self.path)
            make_folder(self.events_path)

    def event(self, event: bytes) -> EventFolder:
        """Return the folder of the event with this id, whether it is there yet or not."""
        return EventFolder(self.events_path / event.hex()[:_EVENT_DIGITS])

    def events(self) -> list[EventFolder]:
        """Return the events that were created or joined here, in the order of their ids."""
        if not self.events_path.is_dir():
            return []
        folders = [EventFolder(path) for path in sorted(self.events_path.iterdir()) if not path.name.startswith(".")]
        return [folder for folder in folders if folder.exists()]

    def find_event(self, prefix: str = "") -> EventFolder:
        """Return the one event whose id starts with `prefix`. Raises UserError if there is none, or more than one."""
        wanted = prefix.lower()[:_EVENT_DIGITS]
        found = [folder for folder in self.events() if folder.path.name.startswith(wanted)]
        if len(found) == 1:
            return found[0]
        if not found:
            which = f"no event that starts with {prefix}" if prefix else "no event"
            raise UserError(f"{self.path} has {which}", "`collab-node event create FILE` makes one, `join INVITE` fetches one")
        names = ", ".join(f"{folder.path.name}{folder.called()}" for folder in found)
        raise UserError(f"{self.path} has several events: {names}", "say which with --event ID")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the home for writing until the block ends. Raises UserError that says which process holds it."""
        self.prepare()
        with disk_errors(self.path):
            descriptor = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _take(descriptor, self.path)
            yield
        finally:
            # Closing gives the lock back; the file stays, because removing it would let two processes hold "the" lock.
            os.close(descriptor)

    def ensure_space(self, needed: int) -> None:
        """Raise UserError unless the disk has room for `needed` bytes."""
        place = next(path for path in (self.path.absolute(), *self.path.absolute().parents) if path.exists())
        free = shutil.disk_usage(place).free
        if free < needed:
            message = f"{-(-needed // _MEBIBYTE)} MiB are needed on the disk of {self.path}, {free // _MEBIBYTE} MiB are free"
            raise UserError(message, "free some, or choose another disk with --home DIR")


def _take(descriptor: int, home: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        who = f"process {holder}" if holder else "another process"
        hint = "`collab-node leave` ends it; or use another home with --home DIR"
        raise UserError(f"{who} runs a node in {home}", hint) from error
    with disk_errors(home):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _runtime_folder() -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(base) / "collab-node" if base else Path(tempfile.gettempdir()) / f"collab-node-{os.getuid()}"
    with disk_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    # In a shared folder such as /tmp somebody else could have made it first, and then listen to what we are told.
    if folder.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise UserError(f"{folder} is not a private folder of yours", f"remove it, or `chmod 700 {folder}`")
    return folder
