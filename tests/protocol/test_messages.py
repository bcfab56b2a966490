"""Records and messages: strict, frozen, one encoding each, and signatures that bind what was said, how and by whom."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from collab.protocol.canonical import Limits, decode, encode
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.event import EventManifest
from collab.protocol.identity import Identity
from collab.protocol.messages import MESSAGES, Blob, Contribution, Goodbye, Message, Progress, Signed, admission_bytes


def refused(data: bytes, kind: type[Message] = Contribution) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        kind.decode(data)
    return str(caught.value)


def fields_of(message: Message) -> dict[str, Any]:
    fields = decode(message.encode())
    assert isinstance(fields, dict)
    return fields


def progress(event: bytes = bytes(32), **changes: Any) -> Progress:
    fields: dict[str, Any] = {"base": bytes(32), "round": 1, "samples": 8, "steps": 1, "loss": 2.5, "rate": 1.0}
    return Progress(event=event, trains=True, done=False, sequence=0, **(fields | changes))


def test_a_message_comes_back_from_its_bytes(contribution: Contribution) -> None:
    again = Contribution.decode(contribution.encode())
    assert again == contribution
    assert (again.encode(), again.digest) == (contribution.encode(), contribution.digest)


def test_a_message_cannot_be_changed(contribution: Contribution) -> None:
    with pytest.raises(ValidationError):
        contribution.samples = 5  # type: ignore[misc]


def test_a_copy_is_checked_and_named_anew(contribution: Contribution) -> None:
    old = contribution.digest
    other = contribution.model_copy(update={"samples": 5})
    assert (other.samples, other.payload) == (5, contribution.payload)
    assert other.digest != old
    assert Contribution.decode(other.encode()) == other
    with pytest.raises(ValidationError):
        contribution.model_copy(update={"samples": 0})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("base", b"b" * 31), ("base", "b" * 32), ("round", -1), ("round", 1 << 40), ("round", "3"), ("round", 3.0),
        ("round", True), ("samples", 0), ("loss", float("inf")), ("loss", "2.5"), ("loss", None), ("payload", None),
        ("payload", (b"p" * 32, 1000)),
        ("payload", {"sha256": b"p" * 32}), ("payload", {"sha256": b"p" * 32, "size": 0}), ("admission", b"x" * 63),
        ("payload", {"sha256": b"p" * 32, "size": 1, "more": 1}), ("event", None), ("more", 1),
    ],
)  # fmt: skip
def test_a_wrong_field_is_refused_and_named(contribution: Contribution, field: str, value: Any) -> None:
    text = refused(encode(fields_of(contribution) | {field: value}))
    assert text.startswith(f"malformed: Contribution.{field}")


def test_a_missing_field_is_refused_even_if_it_may_be_none(contribution: Contribution) -> None:
    for field in fields_of(contribution):
        fields = fields_of(contribution)
        del fields[field]
        assert refused(encode(fields)).startswith(f"malformed: Contribution.{field}")


def test_an_integer_where_a_float_belongs_is_not_canonical() -> None:
    message = progress(loss=2.0)
    assert refused(encode(fields_of(message) | {"loss": 2}), Progress) == "malformed: not the canonical encoding"
    assert progress(loss=2) == message  # our own code may write either: it becomes a float at once
    assert progress(loss=2).encode() == message.encode()


def test_a_default_must_be_written_out(event: EventManifest) -> None:
    fields = decode(event.encode())
    assert isinstance(fields, dict)
    del fields["description"]
    with pytest.raises(RemoteProtocolError, match="not the canonical encoding"):
        EventManifest.decode(encode(fields))


@pytest.mark.parametrize("value", [None, 1, "text", (), ({},), b"bytes"])
def test_what_is_no_map_is_no_message(value: Any) -> None:
    assert refused(encode(value)) == "malformed: not a Contribution"


def test_limits_are_the_callers(contribution: Contribution) -> None:
    with pytest.raises(RemoteProtocolError, match="oversized"):
        Contribution.decode(contribution.encode(), Limits(size=20))


def test_every_kind_is_listed_under_its_name() -> None:
    assert {kind: message.KIND for kind, message in MESSAGES.items()} == {kind: kind for kind in MESSAGES}
    of_rounds = {kind for kind in Message.__subclasses__() if kind.__module__ == Message.__module__}
    assert set(MESSAGES.values()) == of_rounds


def test_an_envelope_opens_to_what_was_sealed(identities: list[Identity], contribution: Contribution) -> None:
    signed = Signed.decode(Signed.seal(identities[0], contribution).encode())
    assert (signed.kind, signed.signer) == ("contribution", identities[0].peer_id)
    assert signed.open() == signed.open_as(Contribution) == contribution


@pytest.mark.parametrize("change", ["signer", "kind", "body", "signature"])
def test_the_signature_binds_kind_signer_and_body(identities: list[Identity], change: str) -> None:
    goodbye = Goodbye(event=bytes(32), base=bytes(32), round=1)
    other = {
        "signer": identities[1].peer_id,
        "kind": "progress",
        "body": goodbye.model_copy(update={"round": 2}).encode(),
        "signature": bytes(64),
    }
    signed = Signed.seal(identities[0], goodbye)
    with pytest.raises(RemoteProtocolError) as caught:
        signed.model_copy(update={change: other[change]}).open()
    assert caught.value.reason == "bad_signature"


def test_the_signature_is_checked_before_the_body(identities: list[Identity]) -> None:
    signed = Signed(kind="progress", signer=identities[0].peer_id, body=b"\xc1", signature=bytes(64))
    with pytest.raises(RemoteProtocolError, match="bad_signature"):
        signed.open()


def test_a_message_means_something_in_its_event_only(identities: list[Identity]) -> None:
    here, there = (Signed.seal(identities[0], progress(event=bytes([number]) * 32)) for number in (1, 2))
    assert here.open().event != there.open().event
    with pytest.raises(RemoteProtocolError, match="bad_signature"):
        here.model_copy(update={"signature": there.signature}).open()


def test_kinds_that_do_not_belong(identities: list[Identity], contribution: Contribution) -> None:
    signed = Signed.seal(identities[0], contribution)
    with pytest.raises(RemoteProtocolError, match="unexpected_kind: contribution where progress belongs"):
        signed.open_as(Progress)
    with pytest.raises(RemoteProtocolError, match="unknown_kind"):
        signed.model_copy(update={"kind": "vote"}).open()


@given(st.binary(max_size=80))
def test_any_bytes_are_refused_as_an_envelope(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        Signed.decode(data)


def test_a_body_larger_than_an_announcement_is_refused(identities: list[Identity]) -> None:
    fields = {"kind": "progress", "signer": identities[0].peer_id, "body": bytes(60 * 1024 + 1), "signature": bytes(64)}
    with pytest.raises(RemoteProtocolError, match=r"Signed\.body"):
        Signed.decode(encode(fields))


@given(st.data())
def test_a_changed_byte_of_an_envelope_never_opens(data: st.DataObject) -> None:
    encoded = bytearray(Signed.seal(Identity(b"\1" * 32), progress()).encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RemoteProtocolError):
        Signed.decode(bytes(encoded)).open()


def test_admission_is_for_one_event_and_one_peer(identities: list[Identity]) -> None:
    peers = [identity.peer_id for identity in identities[:2]]
    assert len({admission_bytes(event, peer) for event in (bytes(32), b"e" * 32) for peer in peers}) == 4


def test_a_blob_has_a_size(contribution: Contribution) -> None:
    for size in (0, 1 << 40):
        with pytest.raises(ValidationError):
            Blob(sha256=bytes(32), size=size)


def receipted(contribution: Contribution, *received: tuple[bytes, int]) -> dict[str, Any]:
    return fields_of(contribution) | {"received": received}


def test_receipts_are_in_the_bytes_only_where_there_are_some(contribution: Contribution) -> None:
    assert "received" not in fields_of(contribution)
    with_two = contribution.model_copy(update={"received": ((b"a" * 32, 1), (b"b" * 32, 9))})
    assert Contribution.decode(encode(receipted(contribution, (b"a" * 32, 1), (b"b" * 32, 9)))) == with_two
    assert refused(encode(receipted(contribution))) == "malformed: not the canonical encoding"


@pytest.mark.parametrize(
    "received",
    [
        [(b"b" * 32, 1), (b"a" * 32, 1)], [(b"a" * 32, 1), (b"a" * 32, 2)], [(b"a" * 32, 0)], [(b"a" * 32, 1 << 40)],
        [(b"a" * 31, 1)], [("a" * 32, 1)], [(b"a" * 32, 1, 1)], [(bytes([number]) * 32, 1) for number in range(5)],
    ],
)  # fmt: skip
def test_wrong_receipts_are_refused(contribution: Contribution, received: list[Any]) -> None:
    assert refused(encode(receipted(contribution, *received))).startswith("malformed: Contribution.")
