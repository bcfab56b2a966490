"""A node's key in a file that is safe to keep anywhere: encrypted with a passphrase.

    collab-node key backup, version 1
    peer 12D3Koo…
    <base64 of salt (16 bytes) ‖ nonce (12) ‖ ciphertext of the 32-byte seed (48)>

The passphrase becomes a key by scrypt (RFC 7914) with n = 2¹⁷, r = 8, p = 1: 128 MiB and some tenths of a second for each guess.
The cipher is ChaCha20-Poly1305 (RFC 8439); the first two lines are authenticated with it. The costs belong to the version and not
to the file, so a file cannot ask for more.
"""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from ..protocol.identity import Identity
from .errors import UserError

MAX_BYTES = 4096
LEAST_LETTERS = 8
_TITLE = "collab-node key backup, version "
_VERSION = "1"
_SALT, _NONCE, _BOX = 16, 12, 48


def seal(identity: Identity, passphrase: str) -> str:
    """Return the backup's text. Raises UserError for a passphrase that is too short."""
    if len(passphrase) < LEAST_LETTERS:
        raise UserError(f"the passphrase has fewer than {LEAST_LETTERS} letters", "take four or five words of your own")
    salt, nonce = secrets.token_bytes(_SALT), secrets.token_bytes(_NONCE)
    header = _header(identity.peer_id)
    box = ChaCha20Poly1305(_key(passphrase, salt)).encrypt(nonce, identity.seed, header.encode())
    return f"{header}{b64encode(salt + nonce + box).decode()}\n"


def unseal(text: str, passphrase: str) -> Identity:
    """Return the identity in a backup. Raises UserError: it is none, is damaged, or has another passphrase."""
    peer, body = _parse(text)
    salt, nonce, box = body[:_SALT], body[_SALT : _SALT + _NONCE], body[_SALT + _NONCE :]
    try:
        seed = ChaCha20Poly1305(_key(passphrase, salt)).decrypt(nonce, box, _header(peer).encode())
    except InvalidTag as error:
        raise UserError("the passphrase is wrong, or the backup was changed") from error
    identity = Identity(seed)
    if identity.peer_id != peer:
        raise UserError("the backup names another peer than its key is")
    return identity


def peer_of(text: str) -> str:
    """Return the peer id that a backup says it holds. Raises UserError."""
    return _parse(text)[0]


def _parse(text: str) -> tuple[str, bytes]:
    lines = text.splitlines()
    if not lines or not lines[0].startswith(_TITLE):
        raise UserError("this file is no key backup of collab-node")
    version = lines[0].removeprefix(_TITLE)
    if version != _VERSION:
        raise UserError(f"the backup is of version {version[:20]!r}, and this collab-node knows {_VERSION}", "update collab-node")
    try:
        body = b64decode(lines[2], validate=True)
        if len(lines) != 3 or not lines[1].startswith("peer ") or len(body) != _SALT + _NONCE + _BOX:
            raise ValueError
    except (ValueError, IndexError) as error:
        raise UserError("the backup is damaged: it has three lines, the last of 104 characters") from error
    return lines[1].removeprefix("peer "), body


def _header(peer: str) -> str:
    return f"{_TITLE}{_VERSION}\npeer {peer}\n"


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=1 << 17, r=8, p=1).derive(passphrase.encode())
