"""A signed statement of what a peer gave to an event: to be kept, shown, and checked by anyone.

The file is a text for people and, below it, the signed record in base64. Whoever checks it renders the text anew from the record:
so the text cannot say anything else. Who has the event's history computes the credit again, and need not trust the issuer either.
"""

from __future__ import annotations

import textwrap
from base64 import b64decode, b64encode
from typing import Annotated, Self

from pydantic import Field

from .canonical import Limits, encode
from .credits import Credit
from .errors import RemoteProtocolError
from .identity import Identity, PeerId, verify
from .messages import Round
from .names import Name
from .record import Count, Digest, Record, Signature

MAX_TEXT = 16 * 1024
_DOMAIN = b"collab-node/credit-certificate/1\0"
_LIMITS = Limits(size=4096, depth=4, items=64)
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
    time: Count


class CreditCertificate(Record):
    """A statement's canonical bytes, and its issuer's signature over them."""

    body: Annotated[bytes, Field(max_length=2048)]
    signature: Signature

    @classmethod
    def seal(cls, identity: Identity, statement: Statement) -> Self:
        """Sign `statement`, whose issuer must be `identity`."""
        assert statement.issuer == identity.peer_id
        body = statement.encode()
        return cls(body=body, signature=identity.sign(_DOMAIN + encode([body])))

    def open(self) -> Statement:
        """Return the statement. Raises RemoteProtocolError: "malformed" or "bad_signature"."""
        statement = Statement.decode(self.body, _LIMITS)
        if not verify(statement.issuer, self.signature, _DOMAIN + encode([self.body])):
            raise RemoteProtocolError("bad_signature", statement.issuer)
        return statement

    def text(self) -> str:
        """Return the file's text."""
        block = "\n".join(textwrap.wrap(b64encode(self.encode()).decode(), 76))
        return f"{_readable(self.open())}\n{_BEGIN}\n{block}\n{_END}\n"

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


def _readable(statement: Statement) -> str:
    credit = statement.credit
    who = f"{statement.name} ({credit.peer})" if statement.name else credit.peer
    rows = (
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
    )
    width = max(len(label) for label, _ in rows)
    lines = "\n".join(f"{label:<{width}}  {value}" for label, value in rows)
    return f"CERTIFICATE OF CONTRIBUTION\n\n{lines}\n"
