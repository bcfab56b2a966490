"""`credits` and `certificate` on a home with some history, and the leaderboard that a running node keeps."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from amendments.samples import chain
from command_kit import Run, collab_node, live_in
from daemon.kit import EVENT, Step, helped, line, make_home, take
from rich.console import Console
from rounds.worlds import identity

from collab.node.cli.credit import _table
from collab.node.credit.leaderboard import Leaderboard, count_credits, read_names, remember_names
from collab.node.home import Home
from collab.node.rounds.catch_up import restore_history
from collab.node.store import Store
from collab.protocol.amendments import Coordinators, SignedAmendment
from collab.protocol.commit import Commit
from collab.protocol.credit_certificate import CreditCertificate
from collab.protocol.credits import Credit, credits

CHAIN = line(3, EVENT)
ME, OTHER = identity(1).peer_id, identity(2).peer_id


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    live_in(monkeypatch, tmp_path / "home")
    return collab_node


def named_home(path: Path, number: int, *steps: Step) -> Home:
    home = make_home(path, number, *steps)
    with Store.open(home.find_event().store_path) as store:
        remember_names(store, [(ME, "Ada"), (identity(9).peer_id, "nobody")], (ME, OTHER))
    return home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return named_home(tmp_path / "home", 1, *CHAIN)


def test_the_list_is_that_of_the_history(run: Run, home: Home) -> None:
    found = json.loads(run("credits", "--json").stdout)
    assert (found["round"], found["commit"]) == (3, CHAIN[-1][0].digest.hex())
    ranking = credits(EVENT, (commit for commit, _ in CHAIN))
    assert [row["peer"] for row in found["credits"]] == [credit.peer for credit in ranking]
    mine = next(row for row in found["credits"] if row["peer"] == ME)
    assert (mine["name"], mine["samples"], mine["contributions"]) == ("Ada", 60, 3)
    text = run("credits").stdout
    assert "Ada (you)" in text
    assert f"…{OTHER[-8:]}" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_certificate_is_compared_with_the_history(run: Run, home: Home, tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    assert run("certificate", "issue", file).exit_code == 0
    assert "already there" in run("certificate", "issue", file).stderr
    verified = run("certificate", "verify", file).stdout
    assert f"signature: good, by the contributor ({ME})" in verified
    assert "the same as this home's history says" in verified
    assert "does not have the event" in run("certificate", "verify", file, "--home", tmp_path / "elsewhere").stdout
    behind = named_home(tmp_path / "behind", 2, CHAIN[0])
    assert "does not have the commit of round 3" in run("certificate", "verify", file, "--home", behind.path).stdout


def test_whose_certificate_it_is_may_be_said_shortly(run: Run, home: Home, tmp_path: Path) -> None:
    for number, text in enumerate((OTHER, f"…{OTHER[-8:]}", OTHER[-6:], "Ada")):
        file = tmp_path / f"{number}.txt"
        assert run("certificate", "issue", file, "--peer", text).exit_code == 0
        assert (ME if text == "Ada" else OTHER) in file.read_text()
    for text in ("12D3nobody", "…", "Bo"):
        refused = run("certificate", "issue", tmp_path / "none.txt", "--peer", text)
        assert (refused.exit_code, "is no peer id, nor the end or the name" in refused.stderr) == (1, True)


def test_the_coordinators_signature_is_told_apart(run: Run, tmp_path: Path) -> None:
    named_home(tmp_path / "home", 0, *CHAIN)
    file = tmp_path / "ada.txt"
    assert run("certificate", "issue", file, "--peer", ME).exit_code == 0
    assert "contributor" in file.read_text()
    assert "by the event's coordinator" in run("certificate", "verify", file).stdout
    assert "has nothing of" in run("certificate", "issue", tmp_path / "x", "--peer", identity(9).peer_id).stderr


def test_who_served_is_in_the_list_and_gets_a_certificate(run: Run, tmp_path: Path) -> None:
    helper, file = identity(7), tmp_path / "helper.txt"
    named_home(tmp_path / "home", 1, *helped(helper, 700))
    rows = json.loads(run("credits", "--json").stdout)["credits"]
    assert [row["served"] for row in rows if row["peer"] == helper.peer_id] == [700]
    assert {row["gates"] for row in rows} == {0}
    assert "700 B" in run("credits").stdout
    assert run("certificate", "issue", file, "--peer", helper.peer_id).exit_code == 0
    assert re.search(r"^bytes served +700$", file.read_text(), re.MULTILINE)
    assert "the same as this home's history says" in run("certificate", "verify", file).stdout
    older = certified(file, served=0)
    assert "bytes served" not in older.read_text()
    assert "the same as this home's history says" in run("certificate", "verify", older).stdout
    assert "otherwise: served 700 and not 701" in run("certificate", "verify", certified(file, served=701)).stderr


def certified(file: Path, **amounts: int) -> Path:
    """The certificate with other amounts, signed again by who issued it."""
    said = CreditCertificate.parse(file.read_text()).open()
    other = said.model_copy(update={"credit": said.credit.model_copy(update=amounts)})
    changed = file.with_name("changed.txt")
    changed.write_text(CreditCertificate.seal(identity(1), other).text())
    return changed


@pytest.mark.parametrize("columns", [80, 120])
def test_the_list_fits_the_terminal(columns: int) -> None:
    most = Credit(
        peer=ME, samples=12_345_678, contributions=9_999, refused=1_234, bytes=123_400_000_000, checked=9_999, gates=29_999,
        served=123_400_000_000,
    )  # fmt: skip
    printed = io.StringIO()
    console = Console(width=columns, file=printed)
    console.print(_table((most,), {ME: "Ada Lovelace"}, ME, 12_345_678 if columns > 80 else 0))
    text = printed.getvalue()
    assert all(word in text for word in ("Ada Lovelac", "12,345,678", "9,999", "29,999", "123.4 GB", "served"))
    assert ("100.0%" in text) == (columns > 80)
    assert max(map(len, text.splitlines())) <= columns


def handed_over(*numbers: int, threshold: int = 1) -> tuple[SignedAmendment, tuple[Step, ...]]:
    """An amendment by which identity 0 hands the event over to others, and a history whose last commit names it."""
    said = Coordinators(keys=tuple(identity(number).peer_id for number in numbers), threshold=threshold)
    (signed,) = chain(said, manifest=EVENT)
    last = CHAIN[-1][0].model_copy(update={"amendment": signed.name})
    return signed, (*CHAIN[:-1], (last, CHAIN[-1][1]))


def join(path: Path, number: int, amendment: SignedAmendment, *steps: Step) -> Home:
    made = named_home(path, number, *steps)
    with Store.open(made.event(EVENT.digest).store_path) as store:
        store.amendments.add(amendment)
    return made


def test_who_coordinates_at_a_commit_certifies_it(run: Run, tmp_path: Path) -> None:
    amendment, steps = handed_over(3)
    for number, name in ((0, "creator"), (3, "now")):
        for at, until in (("before", steps[:2]), ("after", steps)):
            home = join(tmp_path / name / at, number, amendment, *until)
            assert run("certificate", "issue", tmp_path / f"{name} {at}", "--peer", ME, home=home.path).exit_code == 0
    reader = join(tmp_path / "reader", 5, amendment, *steps)
    for file in ("creator before", "now before", "now after"):
        assert "by the event's coordinator (" in run("certificate", "verify", tmp_path / file, home=reader.path).stdout
    refused = run("certificate", "verify", tmp_path / "creator after", home=reader.path)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert f"by {identity(0).peer_id}, who did not sign for the event any more at that commit" in refused.stderr
    behind = join(tmp_path / "behind", 6, amendment, *steps[:1])
    assert "by another peer" in run("certificate", "verify", tmp_path / "creator after", home=behind.path).stdout


def test_as_many_coordinators_sign_a_certificate_as_decide(run: Run, tmp_path: Path) -> None:
    amendment, steps = handed_over(3, 4, 6, threshold=2)
    homes = {number: join(tmp_path / str(number), number, amendment, *steps).path for number in (0, 3, 4, 5, 6)}
    file = tmp_path / "ada.txt"
    issued = run("certificate", "issue", file, "--peer", ME, home=homes[3])
    assert "once 1 who sign for it run `collab-node certificate sign" in issued.stdout
    assert "by a coordinator of the event, 1 more of whom must sign" in run("certificate", "verify", file, home=homes[5]).stdout
    for number, said in ((0, "does not sign for the event"), (5, "does not sign"), (3, "has signed it already")):
        assert said in run("certificate", "sign", file, home=homes[number]).stderr
    assert run("certificate", "sign", file, home=homes[4]).stdout == f"signed {file}: it is the event's own word now\n"
    assert "enough have signed" in run("certificate", "sign", file, home=homes[6]).stderr
    verified = run("certificate", "verify", file, home=homes[5]).stdout
    assert f"by the event's coordinators ({identity(3).peer_id}, {identity(4).peer_id})" in verified
    assert ["signed", "by", identity(4).peer_id] in [line.split() for line in file.read_text().splitlines()]


def test_a_lie_is_found_out(run: Run, home: Home, tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    run("certificate", "issue", file)
    file.write_text(file.read_text().replace("60 in 3", "61 in 3"))
    refused = run("certificate", "verify", file)
    assert (refused.exit_code, "no valid certificate" in refused.stderr) == (1, True)
    assert "cannot read" in run("certificate", "verify", tmp_path / "none").stderr
    file.write_bytes(b"\xff" * 40_000)
    assert "no valid certificate" in run("certificate", "verify", file).stderr


def test_names_are_kept_for_members_and_taken_back(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert read_names(store) == {}
        remember_names(store, [(ME, "Ada"), (OTHER, "Bo"), (identity(9).peer_id, "X")], (ME, OTHER))
        assert read_names(store) == {ME: "Ada", OTHER: "Bo"}
        remember_names(store, [(ME, ""), (OTHER, "Bob")], (ME, OTHER))
        assert read_names(store) == {OTHER: "Bob"}
        store.put_note("names", b"damaged")
        assert read_names(store) == {}


async def test_the_board_follows_the_chain_and_a_branch_that_won(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        restore_history(EVENT, store)
        heard: list[Commit] = []
        board = Leaderboard(EVENT, store, heard.append)
        await board.update()
        assert (board.ranking, board.place(ME)[0]) == ((), None)
        take(store, *CHAIN[:2])
        await board.update()
        take(store, CHAIN[2])
        await board.update()
        assert board.ranking == credits(EVENT, (commit for commit, _ in CHAIN))
        assert board.place(ME)[1].samples == 60
        assert heard == [commit for commit, _ in CHAIN]
        branch = line(1, EVENT, b"other", start=CHAIN[:1])
        take(store, *branch)
        await board.update()
        assert board.ranking == count_credits(EVENT, store, branch[0][0]).ranking()
        assert board.place(ME)[1].samples == 40
