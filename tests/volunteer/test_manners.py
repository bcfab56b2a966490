"""When a guest rests and when it goes on: laws over all limits, machines and moments."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.node.errors import UserError
from collab.node.manners.decide import Manners, Pause, Run
from collab.node.manners.limits import LEAST_RATE, Limits, parse_assignments, within
from collab.node.manners.policies import POLICIES, Seen, objection

CALM = 60
optional = st.none() | st.floats(0, 120)
SEEN = st.builds(
    Seen, minute=st.integers(0, 1439), on_battery=st.none() | st.booleans(), idle_seconds=st.none() | st.floats(0, 10_000),
    others_cpu=st.none() | st.floats(0, 100), others_gpu=st.none() | st.integers(0, 3), cpu_temperature=optional,
    gpu_temperature=optional, uploaded_day=st.integers(0, 2000), uploaded_month=st.integers(0, 2000),
    downloaded_day=st.integers(0, 2000), downloaded_month=st.integers(0, 2000),
)  # fmt: skip
quota = st.sampled_from([0, 1000])
LIMITS = st.builds(
    Limits, hours=st.sampled_from(["", "22:00-07:00", "09:00-12:00,13:00-17:30"]), on_battery=st.booleans(),
    idle_minutes=st.sampled_from([0, 10]), others_cpu=st.sampled_from([0, 25]), share_gpu=st.booleans(),
    cpu_temperature=st.sampled_from([0, 80]), gpu_temperature=st.sampled_from([0, 80]), calm_seconds=st.just(CALM),
    upload_day=quota, upload_month=quota, download_day=quota, download_month=quota,
)  # fmt: skip
BAD, GOOD = Seen(on_battery=True), Seen(on_battery=False)


@given(LIMITS, SEEN, st.floats(0, 1e6))
def test_a_reason_holds_at_once(limits: Limits, seen: Seen, now: float) -> None:
    decision = Manners(limits).decide(seen, now)
    reason = objection(limits, seen)
    assert decision == (Run() if reason is None else Pause(reason))


@given(LIMITS, st.lists(st.tuples(SEEN, st.floats(0, 100)), max_size=30))
def test_it_runs_only_after_calm_and_always_after_it(limits: Limits, moments: list[tuple[Seen, float]]) -> None:
    manners, now, last = Manners(limits), 0.0, None
    for seen, step in moments:
        now += step
        objected = objection(limits, seen) is not None
        last = now if objected else last
        runs = isinstance(manners.decide(seen, now), Run)
        assert runs == (not objected and (last is None or now - last >= CALM))


@given(SEEN)
def test_without_limits_only_a_battery_and_a_taken_gpu_are_reasons(seen: Seen) -> None:
    assert (objection(Limits(), seen) is not None) == (bool(seen.on_battery) or bool(seen.others_gpu))
    assert objection(Limits(on_battery=True, share_gpu=True), seen) is None


@given(LIMITS)
def test_what_cannot_be_seen_is_no_reason(limits: Limits) -> None:
    assert objection(replace_hours(limits), Seen()) is None


def replace_hours(limits: Limits) -> Limits:
    return limits.changed({"hours": ""})


@given(LIMITS, SEEN, st.sampled_from(["others_cpu", "cpu_temperature", "idle_minutes", "upload_day", "hours"]))
def test_to_lift_a_limit_adds_no_reason(limits: Limits, seen: Seen, name: str) -> None:
    lifted = limits.changed({name: "" if name == "hours" else 0})
    reasons = {policy for policy in POLICIES if policy(limits, seen) is not None}
    assert {policy for policy in POLICIES if policy(lifted, seen) is not None} <= reasons


def test_every_reason_is_a_line_of_words() -> None:
    limits = Limits(
        hours="22:00-07:00", idle_minutes=10, others_cpu=25, cpu_temperature=80, gpu_temperature=70, upload_day=1000,
        download_month=2_000_000,
    )  # fmt: skip
    night = Seen(minute=0)
    for seen, words in (
        (Seen(minute=720), "outside of your hours (22:00-07:00)"), (replace(night, on_battery=True), "on battery"),
        (replace(night, idle_seconds=9.0), "you were here in the last 10 min"),
        (replace(night, others_gpu=1), "another program wants the GPU"),
        (replace(night, others_cpu=25.5), "other programs use more than 25% of the processor"),
        (replace(night, cpu_temperature=81.0), "the processor is hotter than 80 °C"),
        (replace(night, gpu_temperature=70.5), "the GPU is hotter than 70 °C"),
        (replace(night, uploaded_day=1000), "the day's upload of 1.0 kB is used up"),
        (replace(night, downloaded_month=3_000_000), "the month's download of 2.0 MB is used up"),
    ):  # fmt: skip
        assert objection(limits, seen) == words
    assert objection(limits, night) is None


def test_the_calm_says_what_it_waits_for() -> None:
    manners = Manners(Limits(calm_seconds=CALM))
    assert manners.decide(BAD, 0.0) == Pause("on battery")
    assert manners.decide(GOOD, 59.0) == Pause("on battery a moment ago")
    assert manners.decide(GOOD, 60.0) == Run()
    assert manners.decide(GOOD, 61.0) == Run()


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 1439))
def test_a_window_and_its_complement_share_the_day(start: int, end: int, minute: int) -> None:
    def clock(at: int) -> str:
        return f"{at // 60:02d}:{at % 60:02d}"

    if start != end:
        one, other = f"{clock(start)}-{clock(end)}", f"{clock(end)}-{clock(start)}"
        assert within(one, minute) != within(other, minute)
        assert within(f"{one},{other}", minute)
        assert within(one, start)
        assert not within(one, end)


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("upload_rate", "1.5 MB/s", 1_500_000), ("upload_rate", 64000, 64000), ("upload_day", "2GB", 2 * 10**9),
        ("download_month", "500kb", 500_000), ("others_cpu", "25%", 25), ("others_cpu", 30, 30), ("on_battery", "true", True),
        ("gpu_memory", "4096", 4096), ("gpu_memory", "4GB", 3814), ("cpu_temperature", "85 °C", 85),
        ("hours", ["22:00-24:00"], "22:00-24:00"), ("hours", " 01:00-02:00 , 03:00-04:00", "01:00-02:00,03:00-04:00"),
    ],
)  # fmt: skip
def test_limits_as_people_write_them(name: str, written: object, value: object) -> None:
    assert getattr(Limits().changed({name: written}), name) == value


@pytest.mark.parametrize(
    ("name", "written", "words"),
    [
        ("upload_rate", "10kB", f"at least {LEAST_RATE // 1000}kB"), ("upload_rate", "fast", "500kB, 2MB"),
        ("upload_day", "-1", "500kB, 2MB"), ("upload_day", "3k", "500kB"), ("hours", "25:00-26:00", "22:00-07:00"),
        ("hours", "10:00-10:00", "22:00-07:00"), ("others_cpu", "101%", "less than or equal to 100"), ("dance", "1", "no limit"),
        ("threads", "two", "a whole number"),
    ],
)  # fmt: skip
def test_what_is_no_limit_is_said_so(name: str, written: object, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Limits().changed({name: written})


def test_flags_are_pairs() -> None:
    assert parse_assignments(["threads=2", "hours= 22:00-07:00"]) == {"threads": "2", "hours": "22:00-07:00"}
    for wrong, said in (("threads", "KEY=VALUE"), ("dance=1", "no limit 'dance'")):
        with pytest.raises(UserError, match=said):
            parse_assignments([wrong])
