"""Signed verdicts: strict, and of one mind with themselves."""

from typing import Any

import pytest
from rounds.worlds import identity

from collab.protocol.errors import RemoteProtocolError
from collab.protocol.messages import Signed
from collab.protocol.verdict import Measurement, Verdict, first_failure, open_verdict, sign_verdict


def measurement(**changes: Any) -> Measurement:
    fields: dict[str, Any] = {
        "gate": "poetry", "kind": "loss", "base": 2.0, "candidate": 1.9, "change": -0.1, "low": -0.12, "high": -0.08,
        "tolerance": 0.01, "samples": 32, "batches": 2, "passed": True, "reason": "no_worse",
    }  # fmt: skip
    return Measurement(**(fields | changes))


def verdict(**changes: Any) -> Verdict:
    fields: dict[str, Any] = {
        "event": bytes(32), "candidate": b"c" * 32, "against": b"a" * 32, "data": b"d" * 32, "hardware": "cpu, 2 threads",
        "measurement": measurement(),
    }  # fmt: skip
    return Verdict(**(fields | changes))


def test_a_verdict_survives_its_envelope() -> None:
    signed = Signed.decode(sign_verdict(identity(1), verdict()).encode())
    assert signed.signer == identity(1).peer_id
    assert open_verdict(signed) == verdict()


def test_a_changed_verdict_and_another_message_are_refused() -> None:
    signed = sign_verdict(identity(1), verdict())
    with pytest.raises(RemoteProtocolError, match="bad_signature"):
        open_verdict(signed.model_copy(update={"body": verdict(hardware="gpu").encode()}))
    with pytest.raises(RemoteProtocolError, match="unexpected_kind"):
        open_verdict(signed.model_copy(update={"kind": "progress"}))
    with pytest.raises(RemoteProtocolError, match="unknown_kind"):
        signed.open()  # the round machine never sees one


@pytest.mark.parametrize(
    "changes",
    [
        {"passed": False},
        {"reason": "worse"},
        {"reason": "not_finite", "passed": False},
        {"change": None},
        {"low": float("inf")},
        {"gate": "No Word"},
        {"samples": -1},
        {"reason": "because"},
    ],
)
def test_what_contradicts_itself_is_none(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Measurement"):
        measurement(**changes)


def test_the_first_that_fails_is_named_in_a_sentence() -> None:
    failed = measurement(gate="prose", passed=False, reason="worse", change=0.25)
    assert first_failure([measurement(), failed, failed]) == failed
    assert first_failure([measurement()]) is None
    assert failed.sentence() == "prose failed: loss 0.25 worse where 0.01 worse is allowed"
    assert measurement().sentence() == "poetry passed: loss 0.1 better where 0.01 worse is allowed"
