"""Invites survive a paste, and say what is wrong with one that did not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.protocol.identity import Identity
from collab.protocol.invite import Invite, InviteError
from collab.protocol.record import sha256
from collab.protocol.tokens import Terms

ADDRESS = "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5"
INVITE = Invite(event=b"e" * 32, bootstrap=(ADDRESS, ADDRESS.replace("4001", "4002")), token=b"t" * 32)


@pytest.mark.parametrize("token", [None, b"t" * 32])
def test_an_invite_comes_back_from_its_line(token: bytes | None) -> None:
    invite = Invite(event=b"e" * 32, bootstrap=(ADDRESS,), token=token)
    assert Invite.parse(invite.text()) == invite
    assert "\n" not in invite.text()


def test_an_invite_with_terms_comes_back_and_one_without_has_its_old_bytes() -> None:
    terms = Terms.seal(Identity(b"k" * 32), INVITE.event, Identity(b"t" * 32).public_key, expires=1_800_000_000, uses=20)
    invite = INVITE.model_copy(update={"terms": terms})
    assert Invite.parse(invite.text()) == invite
    assert sha256(INVITE.text().encode()).hex() == "c8052421a4568c6f4c2e6443b7016872edac44f6fe96c0a90805d38ada39948c"
    with pytest.raises(ValueError, match="terms without a token"):
        Invite(event=INVITE.event, bootstrap=INVITE.bootstrap, terms=terms)


@given(st.lists(st.tuples(st.integers(0, 400), st.sampled_from([" ", "\n", "\r\n", "\t", "\u00a0"])), max_size=8))
def test_white_space_from_mail_and_terminals_does_not_matter(spaces: list[tuple[int, str]]) -> None:
    text = INVITE.text()
    for at, space in spaces:
        text = text[:at] + space + text[at:]
    assert Invite.parse(text) == INVITE


@given(st.integers(9, len(INVITE.text()) - 1))
def test_a_truncated_invite_says_so(length: int) -> None:
    with pytest.raises(InviteError, match="paste the whole line again"):
        Invite.parse(INVITE.text()[:length])


@given(st.data())
def test_a_mistyped_letter_is_noticed(data: st.DataObject) -> None:
    text = INVITE.text()
    at = data.draw(st.integers(8, len(text) - 3))  # the last letters have bits that no byte takes
    letter = data.draw(st.sampled_from("ABCXYZabcxyz0189-_+/=!é").filter(lambda letter: letter != text[at]))
    with pytest.raises(InviteError, match="paste the whole line again"):
        Invite.parse(text[:at] + letter + text[at + 1 :])


@pytest.mark.parametrize("text", ["", "   ", "hello", "collab2-AAAA", "COLLAB1-AAAA", ADDRESS])
def test_what_is_no_invite_says_where_to_get_one(text: str) -> None:
    with pytest.raises(InviteError, match="an invite starts with 'collab1-'; ask the coordinator"):
        Invite.parse(text)


@given(st.text(max_size=80))
def test_any_text_is_an_invite_error(text: str) -> None:
    for candidate in (text, "collab1-" + text):
        with pytest.raises(InviteError):
            Invite.parse(candidate)


def test_an_invite_of_another_version_says_so() -> None:
    from base64 import urlsafe_b64encode

    from collab.protocol.canonical import encode
    from collab.protocol.record import sha256

    body = encode({"event": b"e" * 32, "bootstrap": (ADDRESS,), "token": None, "more": 1})
    text = "collab1-" + urlsafe_b64encode(body + sha256(body)[:4]).decode().rstrip("=")
    with pytest.raises(InviteError, match="from another version of collab-node"):
        Invite.parse(text)
