"""Invites on the command line: tokens with terms, the list of them, and the picture of one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import segno
from typer.testing import Result

from collab.node import keys
from collab.node.event.inviting import Wanted, make_invite
from collab.node.event.qr import BORDER, qr_text
from collab.node.home import EventFolder, Home
from collab.protocol.admission import EXPIRED, Admitted, admit, refusal
from collab.protocol.identity import Identity
from collab.protocol.invite import Invite

Run = Callable[..., Result]
PEER = "12D3KooWDhJnKw8BVXY6Z3wsqtuEgZ8LXxx9wTxML3M2co9igCYi"
ADDRESS = f"/ip4/203.0.113.7/tcp/4001/p2p/{PEER}"
LOCAL, HOME_NETWORK = f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER}", f"/ip4/192.168.0.7/tcp/4001/p2p/{PEER}"
PUBLIC = f"/dns4/node.example.org/tcp/4001/p2p/{PEER}"
GUEST = Identity(b"g" * 32).peer_id


@pytest.fixture
def folder(run: Run, event_file: Path, home: Path) -> EventFolder:
    """An event by invitation."""
    assert run("event", "create", event_file, "--invited").exit_code == 0
    return Home(home).find_event()


def invite(run: Run, *flags: object) -> Invite:
    result = run("event", "invite", "--address", ADDRESS, *flags)
    assert result.exit_code == 0, result.output
    return Invite.parse(result.stdout)


def test_every_invite_has_a_token_of_its_own(run: Run, folder: EventFolder) -> None:
    event = folder.manifest().open()
    made = [invite(run), invite(run, "--uses", 2)]
    assert folder.admission_key_path.stat().st_mode & 0o777 == 0o600
    folder.admission_key_path.unlink()
    made.append(invite(run))  # the coordinator's word does as well
    assert len({one.token for one in made}) == 3
    for one in made:
        assert one.token is not None
        assert refusal(event, GUEST, admit(event, GUEST, one.token, one.terms)) is None


def test_who_may_not_invite_is_told(run: Run, folder: EventFolder, home: Path) -> None:
    folder.admission_key_path.unlink()
    (home / "identity.key").unlink()
    keys.create(home / "identity.key")
    result = run("event", "invite", "--address", ADDRESS)
    assert result.exit_code == 1
    assert "error: this home has neither the event's admission key nor its coordinator's key" in result.stderr
    assert not folder.issued_path.exists()


def test_terms_are_what_was_asked_for_and_are_listed(run: Run, folder: EventFolder, home: Path) -> None:
    assert "no invite was made" in run("event", "invites").stdout
    event = folder.manifest().open()
    made = make_invite(Home(home), folder, [ADDRESS], Wanted(7 * 86400, 20, "for the meetup"), now=1000.5)
    assert made.token is not None
    assert made.terms is not None
    assert (made.terms.expires, made.terms.uses) == (1000 + 7 * 86400, 20)
    shown = admit(event, GUEST, made.token, made.terms)
    assert refusal(event, GUEST, shown, Admitted(times=(made.terms.expires,))) == EXPIRED
    invite(run, "--expires", "90m", "--uses", 1, "--note", "[red]for Ada[/red]")
    first, second = json.loads(run("event", "invites", "--json").stdout)["invites"]
    assert first == {
        "id": Identity(made.token).public_key.hex(), "created": 1000, "expires": 605800, "uses": 20, "used": 0, "revoked": False,
        "note": "for the meetup",
    }  # fmt: skip
    assert second["expires"] - second["created"] == 90 * 60
    table = run("event", "invites").stdout
    assert "expired" in table
    assert "0 of 20" in table
    assert "[red]for Ada[/red]" in table
    assert made.token.hex().encode() not in b"".join(path.read_bytes() for path in folder.issued_path.iterdir())


def test_revoking_takes_an_id_from_the_list(run: Run, folder: EventFolder) -> None:
    made = invite(run, "--note", "leaked")
    assert made.token is not None
    token = Identity(made.token).public_key
    assert run("event", "revoke", "zz").stderr.startswith("error: no invite of this home has an id that begins with zz")
    said = run("event", "revoke", token.hex()[:8], "--reason", "it leaked").stdout
    assert f"invite {token.hex()[:12]} is revoked" in said
    assert "revoked" in run("event", "invites").stdout
    assert json.loads(run("event", "invites", "--json").stdout)["invites"][0]["revoked"] is True
    assert run("event", "revoke", "00" * 32).exit_code == 0, "one that was made elsewhere"


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--expires", "soon"), "error: --expires must be a number of seconds"),
        (("--expires", "0s"), "error: --expires 0s is no time for an invite"),
        (("--expires", "99999999999d"), "no time for an invite"),
        (("--note", "x" * 201), "error: the note is longer than 200 characters"),
    ],
)
def test_terms_that_make_no_sense(run: Run, folder: EventFolder, flags: tuple[str, str], problem: str) -> None:
    result = run("event", "invite", "--address", ADDRESS, *flags)
    assert result.exit_code == 1
    assert problem in result.stderr


def test_an_open_event_has_no_terms(run: Run, event_file: Path) -> None:
    assert run("event", "create", event_file).exit_code == 0
    result = run("event", "invite", "--address", ADDRESS, "--uses", 3)
    assert result.exit_code == 1
    assert "error: this event is open" in result.stderr


def test_an_expired_invite_is_refused_before_anything_is_made(run: Run, folder: EventFolder, home: Path, tmp_path: Path) -> None:
    old = make_invite(Home(home), folder, [ADDRESS], Wanted(3600), now=1_000_000_000)
    result = run("join", old.text(), "--home", tmp_path / "new")
    assert result.exit_code == 3
    assert result.stderr.startswith("error: this invite expired on 2001-09-09 ")
    assert "hint: ask the coordinator for a new one" in result.stderr
    assert not (tmp_path / "new").exists()


def test_an_invite_that_only_a_wrong_clock_takes_for_expired(
    run: Run, folder: EventFolder, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    good = make_invite(Home(home), folder, [ADDRESS], Wanted(300), now=now)
    monkeypatch.setattr("time.time", lambda: now + 600)
    result = run("join", good.text(), "--home", tmp_path / "new")
    error, hint = result.stderr.splitlines()
    assert (result.exit_code, error.endswith(" by this machine's clock")) == (3, True)
    assert hint == "hint: ask the coordinator for a new one, or set the clock if it is wrong"


def modules(lines: list[str]) -> list[list[bool]]:
    """The code's modules (True: dark), read back from its blocks."""
    dark = {"█": (False, False), "▀": (False, True), "▄": (True, False), " ": (True, True)}
    return [[dark[block][half] for block in line] for line in lines for half in (0, 1)]


def test_the_picture_is_the_invite_in_80_columns(home: Path, folder: EventFolder) -> None:
    made = make_invite(Home(home), folder, [LOCAL, HOME_NETWORK, PUBLIC], Wanted(60, 3), now=1_800_000_000)
    held, lines = qr_text(made, 80)
    assert held.bootstrap[0] == PUBLIC
    assert held.token == made.token
    width = len(lines[0])
    assert width <= 80
    expected = segno.make_qr(held.text(), error="l", boost_error=False).matrix_iter(border=BORDER)
    assert modules(lines)[:width] == [[bool(module) for module in row] for row in expected]
    everything, wide = qr_text(made, 200)
    assert set(everything.bootstrap) == set(made.bootstrap)
    assert len(wide[0]) > 80


@pytest.mark.parametrize("columns", [80, 60])
def test_a_narrow_terminal_gets_a_hint(run: Run, folder: EventFolder, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    result = run("event", "invite", "--address", ADDRESS, "--uses", 3, "--expires", "7d", "--qr")
    assert result.exit_code == 0
    line, *picture = result.stdout.splitlines()
    assert Invite.parse(line).bootstrap == (ADDRESS,)
    assert bool(picture) == (columns == 80)
    assert result.stderr == ("" if picture else "hint: the QR code needs 73 columns, this terminal has 60: make it wider\n")
