"""Credit from commits, and certificates of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rounds.worlds import draft_on, event, finality, identity, signed_contribution

from collab.protocol.commit import Commit, Rejected
from collab.protocol.cosigning import MAX_COSIGNERS
from collab.protocol.credit_certificate import CreditCertificate, Statement
from collab.protocol.credits import Credit, CreditBook, credits
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.history import History
from collab.protocol.messages import Signed
from collab.protocol.names import MAX_LETTERS, check_name
from collab.protocol.record import sha256

EVENT = event()


def grown(rounds: list[list[int]]) -> list[Commit]:
    """A chain whose rounds merged a contribution of each of these identities."""
    history = History(EVENT)
    for number, who in enumerate(rounds):
        ancestry = history.ancestry(history.head.digest)
        draft = draft_on(EVENT, ancestry, history.certificate(history.head.digest), who)
        commit = draft.complete(sha256(b"%d" % number), 7)
        history.add(commit, finality(EVENT, ancestry.base, commit))
    return history.chain(history.root.digest, history.head.digest)


CHAIN = grown([[0, 1], [1], [0, 1, 2]])


def of(number: int, commits: list[Commit] = CHAIN) -> Credit:
    return CreditBook(EVENT, commits).of(identity(number).peer_id)


def test_credit_is_what_the_commits_say() -> None:
    assert (of(1).samples, of(1).contributions, of(1).rounds, of(1).bytes) == (60, 3, 3, 3000)
    assert (of(1).first, of(1).last, of(2).first, of(2).last) == (1, 3, 3, 3)
    assert of(0).last == 3, "the check of round 2, which round 3 proves, is no later work"
    assert of(9) == Credit(peer=identity(9).peer_id)
    assert sum(credit.samples for credit in credits(EVENT, CHAIN)) == CHAIN[-1].samples
    # The coordinator alone is the first committee; who attested is known one commit later.
    assert of(0).checked >= 1
    assert sum(credit.checked for credit in credits(EVENT, CHAIN)) == sum(
        len(commit.parent_certificate.precommits) for commit in CHAIN if commit.parent_certificate is not None
    )


def test_the_ranking_is_by_samples_and_the_same_whoever_counts() -> None:
    ranking = credits(EVENT, CHAIN)
    assert [credit.peer for credit in ranking] == [identity(1).peer_id, identity(0).peer_id, identity(2).peer_id]
    book = CreditBook(EVENT, CHAIN[:2])
    book.add(CHAIN[2])
    assert book.ranking() == ranking
    assert (book.rank(identity(1).peer_id), book.rank(identity(9).peer_id), book.round) == (1, None, 3)


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4, unique=True), min_size=1, max_size=4))
def test_samples_add_up_to_the_commits(rounds: list[list[int]]) -> None:
    chain = grown(rounds)
    assert sum(credit.samples for credit in credits(EVENT, chain)) == chain[-1].samples
    assert sum(credit.contributions for credit in credits(EVENT, chain)) == sum(map(len, rounds))


def refusing(commit: Commit, *envelopes: bytes) -> Commit:
    return commit.model_copy(update={"rejected": tuple(Rejected(envelope=envelope, reason="norm") for envelope in envelopes)})


def test_a_refusal_counts_once_and_only_if_its_peer_said_it() -> None:
    signed, _ = signed_contribution(EVENT, CHAIN[0], 3, steps=3)
    forged = Signed(kind=signed.kind, signer=identity(4).peer_id, body=signed.body, signature=signed.signature)
    chain = [CHAIN[0], refusing(CHAIN[1], signed.encode(), forged.encode(), b"noise"), refusing(CHAIN[2], signed.encode())]
    assert (of(3, chain).refused, of(3, chain).samples, of(4, chain).refused) == (1, 0, 0)


def statement() -> Statement:
    return Statement(
        event=EVENT.digest, title="test", commit=CHAIN[-1].digest, round=3, name="Amar Sonar", credit=of(1),
        issuer=identity(0).peer_id, time=9,
    )  # fmt: skip


def test_a_certificate_can_be_read_and_checked() -> None:
    text = CreditCertificate.seal(identity(0), statement()).text()
    assert "60 in 3 merged contributions of 3 rounds" in text
    assert f"Amar Sonar ({identity(1).peer_id})" in text
    assert max(map(len, text.splitlines())) <= 100
    assert CreditCertificate.parse(text).open() == statement()


def test_neither_the_words_nor_the_numbers_can_be_changed() -> None:
    certificate = CreditCertificate.seal(identity(0), statement())
    with pytest.raises(RemoteProtocolError, match="changed"):
        CreditCertificate.parse(certificate.text().replace("60 in 3", "90 in 3"))
    richer = statement().model_copy(update={"credit": of(1).model_copy(update={"samples": 90})})
    with pytest.raises(RemoteProtocolError, match="bad_signature"):
        CreditCertificate(body=richer.encode(), signature=certificate.signature).text()


def test_others_sign_the_issuers_words() -> None:
    alone = CreditCertificate.seal(identity(0), statement())
    assert b"cosigners" not in alone.encode()
    together = alone.signed_by(identity(4)).signed_by(identity(3))
    assert set(together.signers) == {identity(number).peer_id for number in (0, 3, 4)}
    assert CreditCertificate.parse(together.text()).signers == together.signers
    with pytest.raises(RemoteProtocolError, match="signed_twice"):
        together.signed_by(identity(3)).open()
    with pytest.raises(RemoteProtocolError, match="signed_twice"):
        alone.signed_by(identity(0)).open()
    swapped = together.model_copy(update={"cosigners": together.cosigners[::-1]})
    with pytest.raises(RemoteProtocolError, match="signed_twice"):
        swapped.open()
    other = CreditCertificate.seal(identity(0), statement().model_copy(update={"round": 2})).signed_by(identity(3))
    with pytest.raises(RemoteProtocolError, match="bad_signature"):
        alone.model_copy(update={"cosigners": other.cosigners}).text()


def test_as_many_as_may_sign_fit_into_a_file() -> None:
    certificate = CreditCertificate.seal(identity(0), statement())
    for number in range(10, 10 + MAX_COSIGNERS):
        certificate = certificate.signed_by(identity(number))
    assert len(CreditCertificate.parse(certificate.text()).signers) == 1 + MAX_COSIGNERS


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_any_text_is_refused(text: str) -> None:
    wrapped = f"x\n-----BEGIN COLLAB-NODE CREDIT CERTIFICATE-----\n{text}\n-----END COLLAB-NODE CREDIT CERTIFICATE-----\n"
    for file in (text, wrapped):
        with pytest.raises(RemoteProtocolError):
            CreditCertificate.parse(file)


@pytest.mark.parametrize("name", ["", "Ada", "Ada Lovelace", "আমার সোনার বাংলা", "ক্ষ্মী", "x_y-z.7", "Zoë", "北京"])
def test_names_of_any_script(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "a" * (MAX_LETTERS + 1), " a", "a ", "a  b", "a\nb", "<b>", "a\u202eb", "e\u0301", "a\u0302\u0303\u0304\u0305", "[red]",
        "🙂", "a\u200bb", "\u0301",
    ],
)  # fmt: skip
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError):
        check_name(name)
