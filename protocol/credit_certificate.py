"""A signed statement of what a peer gave to an event: to be kept, shown, and checked by anyone.

The file is a text for people and, below it, the signed record in base64. Whoever checks it renders the text anew from the record:
so the text cannot say anything else. Who has the event's history computes the credit again, and need not trust the issuer either.
Where several people sign for the event, the others sign the issuer's words.
"""

from __future__ import annotations

import textwrap
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field

from .canonical import Limits, encode
from .cosigning import MAX_COSIGNERS, Cosignature
from .credits import Credit
from .errors import RemoteProtocolError
from .identity import Identity, PeerId, verify
from .messages import Round
from .names import Name
from .record import Digest, Moment, Record, Signature, later

MAX_TEXT = 32 * 1024
_DOMAIN = b"collab-node/credit-certificate/1\0"
_LIMITS = Limits(size=16 * 1024, depth=4, items=512)
_BEGIN, _END = "-----BEGIN COLLAB-NODE CREDIT CERTIFICATE-----", "-----END COLLAB-NODE CREDIT CERTIFICATE-----"


class Statement(Record):
    """`credit` is what the commits up to `commit` of `round` say; `time` is the issuer's clock (Unix seconds), for people."""

    event: Digest
    title: Annotated[str, Field(max_length=64)]
    commit: Digest
    round: Round
    name: Name
    credit: Credit
    issuer: PeerId
    time: Moment


class CreditCertificate(Record):
    """A statement's canonical bytes, its issuer's signature over them, and those of others, in the order of their peer ids."""

    body: Annotated[bytes, Field(max_length=2048)]
    signature: Signature
    cosigners: Annotated[tuple[Cosignature, ...], Field(max_length=MAX_COSIGNERS)] = later(())

    @classmethod
    def seal(cls, identity: Identity, statement: Statement) -> Self:
        """Sign `statement`, whose issuer must be `identity`."""
        assert statement.issuer == identity.peer_id
        body = statement.encode()
        return cls(body=body, signature=identity.sign(_signed(body)))

    def signed_by(self, identity: Identity) -> Self:
        """Return it with one more signature."""
        added = Cosignature(peer=identity.peer_id, signature=identity.sign(_signed(self.body)))
        return self.model_copy(update={"cosigners": tuple(sorted((*self.cosigners, added), key=lambda each: each.peer))})

    @property
    def signers(self) -> tuple[PeerId, ...]:
        """Who signed, the issuer first, by their own account: `open` checks it."""
        return (Statement.decode(self.body, _LIMITS).issuer, *(each.peer for each in self.cosigners))

    def open(self) -> Statement:
        """Return the statement. Raises RemoteProtocolError: "malformed", "bad_signature" or "signed_twice"."""
        signers, others = self.signers, self.signers[1:]
        if len(set(signers)) < len(signers) or list(others) != sorted(others):
            raise RemoteProtocolError("signed_twice", "or not in order")
        for signer, signature in zip(signers, (self.signature, *(each.signature for each in self.cosigners)), strict=True):
            if not verify(signer, signature, _signed(self.body)):
                raise RemoteProtocolError("bad_signature", signer)
        return Statement.decode(self.body, _LIMITS)

    def text(self) -> str:
        """Return the file's text."""
        block = "\n".join(textwrap.wrap(b64encode(self.encode()).decode(), 76))
        return f"{_readable(self.open(), self.signers)}\n{_BEGIN}\n{block}\n{_END}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a certificate's file. Raises RemoteProtocolError: "malformed", "bad_signature", or "changed" readable text."""
        _, begin, rest = text[:MAX_TEXT].partition(f"{_BEGIN}\n")
        block, end, after = rest.partition(f"\n{_END}\n")
        if not begin or not end or after:
            raise RemoteProtocolError("malformed", "no certificate of collab-node")
        try:
            data = b64decode(block.replace("\n", ""), validate=True)
        except ValueError as error:
            raise RemoteProtocolError("malformed", "the signed block is not base64") from error
        certificate = cls.decode(data, _LIMITS)
        if certificate.text() != text:
            raise RemoteProtocolError("changed", "the readable part is not what was signed")
        return certificate


def _signed(body: bytes) -> bytes:
    return _DOMAIN + encode([body])


def _readable(statement: Statement, signers: Sequence[PeerId]) -> str:
    credit = statement.credit
    who = f"{statement.name} ({credit.peer})" if statement.name else credit.peer
    rows = [
        ("event", f"{statement.title} {statement.event.hex()}"),
        ("contributor", who),
        ("samples", f"{credit.samples:,} in {credit.contributions:,} merged contributions of {credit.rounds:,} rounds"),
        ("merges checked", f"{credit.checked:,}"),
        *([("gates run", f"{credit.gates:,}")] if credit.gates else []),
        *([("bytes served", f"{credit.served:,}")] if credit.served else []),
        ("refused", f"{credit.refused:,}"),
        ("bytes", f"{credit.bytes:,}"),
        ("rounds", f"{credit.first} to {credit.last}"),
        ("counted up to", f"round {statement.round}, commit {statement.commit.hex()}"),
        ("issued by", statement.issuer),
        *(("signed by", signer) for signer in signers[1:]),
    ]
    width = max(len(label) for label, _ in rows)
    lines = "\n".join(f"{label:<{width}}  {value}" for label, value in rows)
    return f"CERTIFICATE OF CONTRIBUTION\n\n{lines}\n"
