"""Bytes served, from receipts in merged contributions: the same however the history is read, and never more than it weighs."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from rounds.receipts import EVENT, Said, grown
from rounds.worlds import identity

from collab.protocol.canonical import DOCUMENT_LIMITS
from collab.protocol.commit import Accepted, Commit, Rejected
from collab.protocol.credits import CreditBook, credits
from collab.protocol.history import History
from collab.protocol.identity import Identity
from collab.protocol.merging import MAX_ACCEPTED, MAX_REJECTED
from collab.protocol.messages import MAX_RECEIPTS, MAX_RECEIVED, Blob, Contribution, Signed
from collab.protocol.tokens import Terms, TokenProof


def served(chain: list[Commit], number: int) -> int:
    return CreditBook(EVENT, chain).of(identity(number).peer_id).served


def weight(chain: list[Commit]) -> int:
    return sum(len(commit.encode()) + 1000 * len(commit.accepted) for commit in chain)


def test_who_served_has_credit_without_a_contribution() -> None:
    chain = grown([{0: {}, 1: {}}, {0: {9: 300}, 1: {9: 200, 8: 40}}])
    assert (served(chain, 9), served(chain, 8), served(chain, 1)) == (500, 40, 0)
    (helper,) = [credit for credit in credits(EVENT, chain) if credit.peer == identity(9).peer_id]
    assert (helper.samples, helper.first, helper.last, helper.gave) == (0, 2, 2, True)
    ranked = [credit.peer for credit in credits(EVENT, chain)]
    assert ranked[-2:] == [identity(9).peer_id, identity(8).peer_id]


def test_nothing_was_needed_before_the_first_commit() -> None:
    assert served(grown([{0: {9: 500}}]), 9) == 0


def test_what_is_too_much_is_cut_the_same_part_of_each() -> None:
    before = grown([{0: {}, 1: {}}])
    most = weight(before) - 1000  # one of the two payloads is its own
    chain = grown([{0: {}, 1: {}}, {0: {8: 3 * most, 9: most}}])
    assert (served(chain, 8), served(chain, 9)) == (3 * most // 4, most // 4)
    later = grown([{0: {}, 1: {}}, {0: {8: 3 * most, 9: most}}, {0: {8: MAX_RECEIVED}}])
    assert served(later, 8) == 3 * most // 4 + weight(chain) - weight(before) - 1000 + (most - 3 * most // 4 - most // 4)


def test_what_was_not_claimed_may_be_claimed_later() -> None:
    quiet: list[dict[int, Said]] = [{0: {}, 1: {}}] * 3
    most = weight(grown(quiet)) - 3000
    assert served(grown([*quiet, {0: {9: most}}]), 9) == most
    assert served(grown([*quiet, {2: {9: MAX_RECEIVED}}]), 9) == weight(grown(quiet))  # a newcomer missed everything


claims = st.dictionaries(
    st.integers(0, 3), st.dictionaries(st.integers(4, 8), st.integers(1, 3000) | st.just(MAX_RECEIVED), max_size=MAX_RECEIPTS),
    min_size=1, max_size=3,
)  # fmt: skip


@settings(max_examples=40)
@given(st.lists(claims, min_size=1, max_size=5), st.data())
def test_in_any_split_the_credit_is_the_same(rounds: list[dict[int, Said]], data: st.DataObject) -> None:
    chain = grown(rounds)
    cut = data.draw(st.integers(0, len(chain)))
    book = CreditBook(EVENT, chain[:cut])
    assert book.ranking() == credits(EVENT, chain[:cut])
    for commit in chain[cut:]:
        book.add(commit)
    assert book.ranking() == credits(EVENT, chain) == credits(EVENT, [History(EVENT).root, *chain])


@settings(max_examples=40)
@given(st.lists(st.integers(1, 6000) | st.just(MAX_RECEIVED), min_size=1, max_size=5), st.data())
def test_nobody_can_claim_more_than_the_history_weighs(sizes: list[int], data: st.DataObject) -> None:
    liars = data.draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    chain = grown([{0: {}, **({1: {9: size}} if lies else {})} for size, lies in zip(sizes, liars, strict=True)])
    claimed = own = most = 0
    for number, (size, lies) in enumerate(zip(sizes, liars, strict=True)):
        if lies:
            most = weight(chain[:number]) - own
            claimed = min(most, claimed + size)
            own += 1000
        assert served(chain[: number + 1], 9) == claimed <= most


def test_the_largest_commit_is_within_a_documents_limit() -> None:
    someone = Identity(bytes(32))
    most = (1 << 40) - 1
    blob = Blob(sha256=bytes(32), size=most)
    terms = Terms.seal(someone, bytes(32), bytes(32), expires=most, uses=most)
    claim = Contribution(
        event=bytes(32), base=bytes(32), round=most, payload=blob, fisher=blob, samples=most, steps=(1 << 32) - 1, loss=0.1,
        admission=TokenProof(token=bytes(32), terms=terms, signature=bytes(64)),
        received=tuple((bytes([number]) * 32, MAX_RECEIVED) for number in range(MAX_RECEIPTS)),
    )  # fmt: skip
    envelope = Signed.seal(someone, claim).encode()
    accepted = len(Accepted(envelope=envelope, numerator=bytes(16), denominator=bytes(16), clip=0.1).encode())
    rejected = len(Rejected(envelope=envelope, reason="gate." + "x" * 48).encode())
    rest = (700 + 340 + 90) * 1024  # a roster of 8192, 1024 goodbyes, a certificate and verdicts
    assert MAX_ACCEPTED * accepted + MAX_REJECTED * rejected + rest < DOCUMENT_LIMITS.size
