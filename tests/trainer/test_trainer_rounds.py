from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from collab import kernels
from collab.node.recipe import codec_of
from collab.node.trainer import messages
from collab.node.trainer.client import part
from collab.node.trainer.errors import WorkerError
from collab.node.trainer.parts import share_of
from collab.protocol.event import Compression, Data, HuggingFaceModel, InnerOptimiser, Merge, OuterOptimiser
from collab.protocol.identity import Identity

FISHER = Merge(method="fisher", full_method="fisher")
Tensors = dict[str, torch.Tensor]
Spoil = Callable[[bytes], bytes]


def assert_close(one: Tensors, other: Tensors) -> None:
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def decoded(bench: Any, payload: messages.Compressed) -> Tensors:
    return kernels.decompress(Path(payload.path).read_bytes(), bench.service.session.layout)


def merge_of(base: bytes, *payloads: messages.Compressed, key: str = "k", **options: Any) -> messages.Merge:
    share = Fraction(1, len(payloads))
    parts = tuple(part(payload.path, share, fisher_path=payload.fisher_path) for payload in payloads)
    return messages.Merge(key=key, base=base, parts=parts, **{"method": "average", **options})


def contribute(bench: Any, **options: Any) -> messages.Compressed:
    bench.train()
    answer = bench.ask(messages.Compress(**options))
    assert isinstance(answer, messages.Compressed)
    return answer


def test_a_round_from_weights_to_weights(bench: Any) -> None:
    one = bench()
    session = one.service.session
    base = session.base_hash
    trained = one.train()
    assert (trained.steps, trained.samples, trained.position) == (3, 12, 12)
    payload = one.ask(messages.Compress())
    assert (payload.samples, payload.steps, payload.loss) == (12, 3, trained.loss)
    assert payload.size == Path(payload.path).stat().st_size
    merged = one.ask(merge_of(base, payload))
    assert merged.norm == pytest.approx(payload.norm)
    expected = {name: w - decoded(one, payload)[name] for name, w in session.base.weights.items()}
    assert one.ask(messages.Adopt(key="k", commit=b"1" * 32)).state == merged.state
    assert_close(session.base.weights, expected)
    assert all(torch.equal(one.local()[name], weight) for name, weight in session.base.weights.items())


def test_nothing_that_was_trained_is_lost_or_sent_twice(bench: Any) -> None:
    """Payload and residual together are what training did, for each payload of a base anew."""
    one = bench(event=None)
    session = one.service.session
    start = one.local()
    first = contribute(one)
    trained = {n: start[n] - w for n, w in one.local().items()}
    assert_close({n: decoded(one, first)[n] + session.residual[n] for n in start}, trained)
    between, residual = one.local(), session.residual
    one.train(steps=6)
    trained = {n: between[n] - w for n, w in one.local().items()}
    second = one.ask(messages.Compress())
    assert second.samples == 12
    total = {n: session.event.compression.decay * residual[n] + trained[n] for n in start}
    assert_close({n: decoded(one, second)[n] + session.residual[n] for n in start}, total)


@pytest.mark.parametrize("kept", [True, False])
def test_a_refused_payload_goes_back_into_the_residual(bench: Any, tmp_path: Path, kept: bool) -> None:
    one = bench()
    payload = contribute(one)
    before, sent = one.service.session.residual, decoded(one, payload)
    path = "" if kept else str(Path(payload.path).rename(tmp_path / "taken"))
    settle = messages.Settle(sha256=payload.sha256, path=path, accepted=False)
    one.ask(settle)
    assert_close(one.service.session.residual, {name: r + sent[name] for name, r in before.items()})
    with pytest.raises(WorkerError, match="not waiting for an answer"):
        one.ask(settle)


def test_what_is_not_finite_is_not_carried(bench: Any, tmp_path: Path) -> None:
    one = bench()
    other = bench("other", init=False)
    other.ask(messages.Init(seed=2))
    other.ask(messages.Snapshot(path=str(tmp_path / "base")))
    contribute(one)
    before = one.service.session.residual
    one.train(steps=4)
    with torch.no_grad():
        next(iter(one.service.session.model.weights().values())).fill_(float("nan"))
    one.ask(messages.Load(path=str(tmp_path / "base"), carry=True))
    assert one.service.session.residual is before


def test_an_accepted_payload_stays_sent(bench: Any) -> None:
    one = bench()
    payload = contribute(one)
    before = one.service.session.residual
    one.ask(messages.Settle(sha256=payload.sha256, path="", accepted=True))
    assert one.service.session.residual is before
    assert not one.service.session.outstanding


def test_a_refused_payload_must_be_what_was_sent(bench: Any, tmp_path: Path) -> None:
    one = bench()
    payload = contribute(one)
    (tmp_path / "other").write_bytes(b"other")
    with pytest.raises(WorkerError, match="is not payload"):
        one.ask(messages.Settle(sha256=payload.sha256, path=str(tmp_path / "other"), accepted=False))
    assert payload.sha256 in one.service.session.outstanding


def test_a_full_merge_sends_the_residual_too(bench: Any, make_event: Any) -> None:
    one = bench(event=make_event(merge=Merge(full_every=2, full_rate=0.5)))
    session = one.service.session
    contribute(one)
    residual, between = session.residual, one.local()
    one.train(steps=6)
    total = {n: residual[n] + between[n] - w for n, w in one.local().items()}
    payload = one.ask(messages.Compress(full=True))
    torch.testing.assert_close(decoded(one, payload), total, rtol=2e-3, atol=1e-6)
    assert all(float(r.abs().max()) < 1e-3 for r in session.residual.values())
    base = session.base.weights
    one.ask(merge_of(session.base_hash, payload, full=True))
    one.ask(messages.Adopt(key="k", commit=b"1" * 32))
    assert_close(session.base.weights, {n: w - 0.5 * decoded(one, payload)[n] for n, w in base.items()})


@pytest.mark.parametrize("method", ["average", "fisher"])
@pytest.mark.parametrize("outer", [OuterOptimiser(rate=1.5), OuterOptimiser(kind="nesterov", rate=0.7, momentum=0.9)])
def test_everyone_gets_the_same_bits(bench: Any, make_event: Any, method: str, outer: OuterOptimiser) -> None:
    event = make_event(merge=FISHER, outer=outer)
    nodes = [bench(str(at), event=event, peer_id=Identity(bytes([at] * 32)).peer_id) for at in (1, 2)]
    late = bench("late", event=event, init=False, data=False)
    bases = {node.service.session.base_hash for node in nodes}
    late.ask(messages.Init(seed=1))
    for number in (1, 2):
        (base,) = bases
        payloads = []
        for node in nodes:
            node.train(number)
            payloads.append(node.ask(messages.Compress()))
        states = set()
        for threads, node in zip((1, 2, 1), [*nodes, late], strict=True):
            torch.set_num_threads(threads)
            states.add(node.ask(merge_of(base, *payloads, method=method)).state)
            node.ask(messages.Adopt(key="k", commit=bytes([number] * 32)))
        assert len(states) == 1
        bases = states


def test_what_was_trained_meanwhile_is_carried_on_request(bench: Any) -> None:
    for carry in (True, False):
        one = bench(f"carry-{carry}")
        payload = contribute(one)
        session = one.service.session
        sent, residual = one.local(), session.residual
        one.train(steps=5)
        unsent = {name: sent[name] - weight for name, weight in one.local().items()}
        one.ask(merge_of(session.base_hash, payload))
        one.ask(messages.Adopt(key="k", commit=b"1" * 32, carry=carry))
        expected = {name: r + unsent[name] if carry else r for name, r in residual.items()}
        assert_close(session.residual, expected)


def test_the_optimiser_goes_on_unless_told_otherwise(bench: Any) -> None:
    one = bench()
    for reset in (False, True):
        payload = contribute(one)
        session = one.service.session
        one.ask(merge_of(session.base_hash, payload))
        one.ask(messages.Adopt(key="k", commit=b"1" * 32, reset_optimiser=reset))
        session.position = 0
        assert (float(session.optimiser.tensors()["steps"]) == 0) == reset


def test_two_candidates_are_kept(bench: Any) -> None:
    one = bench()
    base = one.service.session.base_hash
    payload = contribute(one)
    for key in "abc":
        one.ask(merge_of(base, payload, key=key))
    with pytest.raises(WorkerError, match="no merge 'a' is kept"):
        one.ask(messages.Adopt(key="a", commit=b"1" * 32))
    one.ask(messages.Adopt(key="c", commit=b"1" * 32))
    with pytest.raises(WorkerError) as caught:
        one.ask(messages.Adopt(key="b", commit=b"1" * 32))
    assert caught.value.code == "unknown_candidate"
    with pytest.raises(WorkerError) as caught:
        one.ask(merge_of(base, payload))
    assert caught.value.code == "wrong_base"


def test_a_patch_that_is_too_large_is_clipped(bench: Any, make_event: Any) -> None:
    one = bench(event=make_event(merge=Merge(max_norm=1e-3)))
    payload = contribute(one)
    found = one.ask(messages.Inspect(path=payload.path))
    assert found.ok
    assert found.clip == 1e-3 / found.norm
    merged = one.ask(merge_of(one.service.session.base_hash, payload))
    assert merged.clips == (found.clip,)
    assert merged.norm == pytest.approx(1e-3, rel=1e-4)


def longer(payload: bytes) -> bytes:
    return payload + bytes(1 << 16)


def flipped(payload: bytes) -> bytes:
    return bytes([payload[0] ^ 1]) + payload[1:]


@pytest.mark.parametrize(("spoil", "reason"), [(longer, "payload_size"), (flipped, "payload_malformed")])
def test_bad_payloads_are_told_apart(bench: Any, tmp_path: Path, spoil: Spoil, reason: str) -> None:
    one = bench()
    payload = contribute(one)
    bad = tmp_path / "bad"
    bad.write_bytes(spoil(Path(payload.path).read_bytes()))
    found = one.ask(messages.Inspect(path=str(bad)))
    assert (found.ok, found.reason) == (False, reason)
    with pytest.raises(WorkerError) as caught:
        one.ask(merge_of(one.service.session.base_hash, payload.model_copy(update={"path": str(bad)})))
    assert caught.value.code == "bad_payload"


def test_a_payload_of_another_codec_is_told(bench: Any, make_event: Any) -> None:
    one = bench()
    other = bench("other", event=make_event(compression=Compression(k=64)))
    sparser = contribute(other)
    assert one.ask(messages.Inspect(path=sparser.path)).reason == "payload_codec"
    assert one.ask(messages.Inspect(path=sparser.path, full=True)).reason == "payload_codec"


def test_an_empty_patch_is_told(bench: Any, tmp_path: Path) -> None:
    one = bench()
    session = one.service.session
    payload, _ = kernels.compress(session.layout.zeros(), None, codec_of(session.event.compression))
    (tmp_path / "empty").write_bytes(payload)
    assert one.ask(messages.Inspect(path=str(tmp_path / "empty"))).reason == "payload_empty"


def test_fishers_are_checked(bench: Any, make_event: Any, tmp_path: Path) -> None:
    one = bench(event=make_event(merge=FISHER))
    payload = contribute(one)
    assert payload.fisher_size > 0
    assert one.ask(messages.Inspect(path=payload.path, fisher_path=payload.fisher_path)).ok
    assert one.ask(messages.Inspect(path=payload.path)).reason == "fisher_missing"
    (tmp_path / "bad").write_bytes(b"bad")
    assert one.ask(messages.Inspect(path=payload.path, fisher_path=str(tmp_path / "bad"))).reason == "fisher_malformed"
    (tmp_path / "bad").write_bytes(bytes(1 << 20))
    assert one.ask(messages.Inspect(path=payload.path, fisher_path=str(tmp_path / "bad"))).reason == "fisher_size"
    plain = bench("plain")
    assert plain.ask(messages.Inspect(path=payload.path, fisher_path=payload.fisher_path)).reason == "fisher_unexpected"


def test_without_an_estimate_the_fisher_has_no_opinion(bench: Any, make_event: Any) -> None:
    one = bench(event=make_event(merge=FISHER))
    base = one.service.session.base_hash
    one.train()
    one.service.close()
    again = bench(event=make_event(merge=FISHER))
    payload = again.ask(messages.Compress())
    assert again.ask(messages.Inspect(path=payload.path, fisher_path=payload.fisher_path)).ok
    weighted = again.ask(merge_of(base, payload, payload, method="fisher"))
    assert weighted.norm == pytest.approx(again.ask(merge_of(base, payload, payload)).norm, rel=1e-5)


def test_diverged_training_restarts_from_the_base(bench: Any) -> None:
    one = bench()
    session = one.service.session
    one.train()
    with torch.no_grad():
        next(iter(session.model.weights().values())).fill_(float("nan"))
    with pytest.raises(WorkerError) as caught:
        one.ask(messages.Compress())
    assert caught.value.code == "non_finite"
    assert all(torch.equal(one.local()[name], weight) for name, weight in session.base.weights.items())
    assert one.ask(messages.Evaluate(of="local")).loss > 0


def test_endless_divergence_ends_the_training(bench: Any) -> None:
    one = bench()
    with torch.no_grad():
        next(iter(one.service.session.model.weights().values())).fill_(float("nan"))
    one.ask(messages.Train(round=1, base_samples=0))
    while one.service.training:
        one.service.step()
    failed = one.notices[-1]
    assert isinstance(failed, messages.Failed)
    assert failed.code == "diverged"


def test_held_out_loss_of_base_local_and_candidate(bench: Any, make_event: Any) -> None:
    one = bench(event=make_event(inner=InnerOptimiser(batch=8, steps=30, rate=1e-2, total_samples=1000)))
    one.train(steps=30)
    base = one.ask(messages.Evaluate())
    local = one.ask(messages.Evaluate(of="local"))
    assert (base.tokens, base.samples) == (32 * 16, 32)
    assert local.loss < base.loss - 0.5
    assert one.ask(messages.Evaluate()) == base
    payload = one.ask(messages.Compress())
    one.ask(merge_of(one.service.session.base_hash, payload))
    assert local.loss < one.ask(messages.Evaluate(of="candidate", key="k")).loss < base.loss
    assert one.ask(messages.Evaluate(samples=4)).samples == 4
    assert one.ask(messages.Evaluate(of="local")) == local


def test_the_rate_follows_the_swarm(bench: Any, make_event: Any) -> None:
    inner = InnerOptimiser(batch=4, rate=1e-2, warmup_samples=10_000, total_samples=100_000)
    one = bench(event=make_event(inner=inner))
    alone = one.train(1, 2)
    assert one.train(2, 2, peers=10).rate > alone.rate


def test_training_is_told_of_at_most_twice_a_second(bench: Any) -> None:
    one = bench()
    one.ask(messages.Train(round=1, base_samples=0))
    training = one.service._training
    assert training is not None
    times = iter([at / 10 for at in range(1000)])
    training.clock = lambda: next(times)
    told = [training.step() for _ in range(10)]
    assert [at for at, notice in enumerate(told) if notice is not None] == [0, 3, 6, 9]


def test_stopping_leaves_the_round_as_it_is(bench: Any) -> None:
    one = bench()
    one.ask(messages.Train(round=1, base_samples=0))
    one.service.step()
    one.ask(messages.Stop())
    assert not one.service.training
    assert isinstance(one.notices[-1], messages.Trained)
    assert one.train(steps=2).steps == 2
    assert one.train(steps=2).steps == 2, "the round has its steps already"


def test_an_order_that_makes_no_sense_is_one_line(bench: Any, make_event: Any) -> None:
    closed = bench("closed", init=False, data=False)
    for request, code in (
        (messages.Train(round=1, base_samples=0), "no_base"),
        (messages.Evaluate(), "no_data"),
        (messages.Snapshot(path="/nowhere"), "no_base"),
        (closed.request, "bad_request"),
    ):
        with pytest.raises(WorkerError) as caught:
            closed.ask(request)
        assert caught.value.code == code
    closed.ask(messages.Init(seed=1))
    with pytest.raises(WorkerError, match="started without the event's data"):
        closed.ask(messages.Train(round=1, base_samples=0))
    one = bench()
    with pytest.raises(WorkerError) as caught:
        one.ask(messages.Compress())
    assert caught.value.code == "nothing_trained"
    with pytest.raises(WorkerError) as caught:
        one.ask(messages.Load(path="/no/such/file"))
    assert caught.value.code == "file"
    for op, fields in (("nonsense", {}), ("train", {"round": "x"}), ("stop", {"more": 1})):
        with pytest.raises(WorkerError) as caught:
            one.service.handle(op, fields)
        assert caught.value.code == "bad_request"


def test_an_event_that_does_not_fit_together_is_one_line(bench: Any, make_event: Any) -> None:
    config: dict[str, bool | int | float | str] = {"vocab_size": 100, "n_embd": 16, "n_layer": 1, "n_head": 2}
    small = HuggingFaceModel(family="huggingface", task="causal-lm", architecture="gpt2", config=config)
    with pytest.raises(WorkerError, match="256 ids, but the event's model only 100"):
        bench(event=make_event(model=small))
    with pytest.raises(WorkerError, match="put the event's data there"):
        bench(event=make_event(data=Data(source="text", path="none.txt")))


def test_a_manifest_that_is_none(bench: Any) -> None:
    one = bench(init=False)
    with pytest.raises(WorkerError, match="the event cannot be read"):
        type(one.service)(one.notices.append).handle("open", {**one.request.model_dump(), "manifest": b"x"})


@given(st.fractions(0, 1).filter(lambda share: share > 0))
def test_shares_travel_exactly(share: Fraction) -> None:
    sent = part("/p", share)
    assert (int.from_bytes(sent.numerator, "big"), int.from_bytes(sent.denominator, "big")) == share.as_integer_ratio()
    assert share_of(sent) == float(share)


@pytest.mark.parametrize(("numerator", "denominator"), [(b"\0", b"\1"), (b"\2", b"\1"), (b"\1", b"\0"), (b"", b"")])
def test_a_share_that_is_none_is_refused(numerator: bytes, denominator: bytes) -> None:
    with pytest.raises(ValueError, match="a share is a fraction"):
        share_of(messages.Part(path="/p", numerator=numerator, denominator=denominator))
