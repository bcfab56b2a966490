"""A node that hears nobody says so once, and says when others are back."""

from __future__ import annotations

from structlog.testing import capture_logs

from collab.node.rounds.company import Company


def test_silence_is_told_once_and_so_is_its_end() -> None:
    now = [100.0]
    company = Company(lambda: now[0])
    with capture_logs() as logs:
        company.look(3, 10.0)
        assert not company.alone
        assert company.words == ""
        now[0] = 170.0
        company.look(3, 10.0)
        company.look(3, 10.0)
        assert company.words.startswith("alone: no other node was heard for 1 min 10 s; check the network")
        company.heard()
        company.look(3, 10.0)
        assert company.words == ""
    assert [entry["log_level"] for entry in logs] == ["warning", "info"]
    assert logs[1]["event"] == "others are heard again"


def test_who_is_the_only_one_is_not_alone() -> None:
    now = [0.0]
    company = Company(lambda: now[0])
    now[0] = 1000.0
    company.look(0, 10.0)
    assert not company.alone
