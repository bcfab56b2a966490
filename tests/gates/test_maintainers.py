"""Several maintainers decide: a draft goes from one to the next, each replays it, and the last signature makes the commit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bench_gates.world import World
from gates.planted import COORDINATOR, Planted, make_planted
from history.kit import ALICE, make_world
from history_integrity.samples import Sample, killed_at
from store_samples import draft as samples_draft
from typer.testing import CliRunner, Result

from collab.node.cli.app import app
from collab.node.deciding.draft import Draft, read_draft, write_draft
from collab.node.deciding.signing import keep_draft
from collab.node.errors import UserError
from collab.node.home import Home
from collab.node.keys import create
from collab.node.store import Store
from collab.protocol.amendments.chain import Amendments
from collab.protocol.commit import Commit
from collab.protocol.cosigning import cosign
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.event import Maintainers
from collab.protocol.identity import Identity
from collab.protocol.messages import Signed
from collab.protocol.proposal import ProposalMerge, merge_commit
from collab.protocol.revert import Revert, revert_commit
from collab.protocol.stated import verify_signers
from collab.protocol.statement import verify_statement

OTHER, THIRD, STRANGER = (Identity(bytes(31) + bytes([number])) for number in (0x61, 0x62, 0x63))
RULE = Maintainers(keys=(COORDINATOR.peer_id, OTHER.peer_id, THIRD.peer_id), threshold=2)
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def planted(world: World, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    folder = tmp_path_factory.mktemp("maintained")
    made = make_planted(world, folder, {"harmless": 0}, gate=(), maintainers=RULE)
    shutil.copytree(made.home.path, folder / "other")
    (folder / "other" / "identity.key").write_text(OTHER.seed.hex())
    return made


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return lambda home, *words: CliRunner().invoke(app, [*map(str, words), "--home", str(home)], prog_name="collab-node")


def drafted(planted: Planted) -> Commit:
    with planted.store() as store:
        root, (chosen,) = store.head_commit(), planted.chosen(store, "harmless")
    made = ProposalMerge(
        event=planted.event.digest, base=root.digest, state=bytes(32), proposals=(chosen.signed.encode(),), method="average",
        parameters={}, tried=(), message="", time=4,
    )  # fmt: skip
    return merge_commit(COORDINATOR, root, None, made)


def with_signatures(commit: Commit, *signers: Identity) -> Commit:
    assert commit.statement is not None
    signatures = [cosign(signer, Signed.decode(commit.statement)) for signer in signers]
    return commit.model_copy(update={"cosigners": tuple(sorted(signatures, key=lambda each: each.peer))})


def test_as_many_sign_as_the_event_says_and_nobody_else(planted: Planted) -> None:
    commit = drafted(planted)
    verify_signers(planted.event, with_signatures(commit, OTHER))
    verify_signers(planted.event, with_signatures(commit, THIRD))
    forged = with_signatures(commit, OTHER).cosigners[0].model_copy(update={"signature": bytes(64)})
    for wrong, problem in (
        (commit, "too_few_signatures"),
        (with_signatures(commit, STRANGER), "not_a_maintainer"),
        (with_signatures(commit, COORDINATOR), "signed_twice"),
        (with_signatures(commit, OTHER, THIRD), "too_many_signatures"),
        (commit.model_copy(update={"cosigners": (forged,)}), "bad_signature"),
    ):
        with pytest.raises(RemoteProtocolError, match=problem):
            verify_signers(planted.event, wrong)


def test_a_revert_needs_them_too_where_there_are_maintainers(planted: Planted) -> None:
    with planted.store() as store:
        root = store.head_commit()
    said = Revert(
        event=planted.event.digest, base=root.digest, state=bytes(32), commits=(root.digest,), peers=(), message="", time=1
    )
    alone = planted.event.model_copy(update={"maintainers": None})
    verify_signers(alone, revert_commit(STRANGER, root, said))
    with pytest.raises(RemoteProtocolError, match="not_a_maintainer"):
        verify_signers(planted.event, revert_commit(STRANGER, root, said))
    verify_signers(planted.event, with_signatures(revert_commit(OTHER, root, said), THIRD))


def test_a_draft_survives_its_file_and_a_damaged_one_is_refused(planted: Planted, tmp_path: Path) -> None:
    path, draft = tmp_path / "a.draft", Draft("merged", drafted(planted))
    with planted.store() as store:
        write_draft(path, draft, store)
    read, payloads = read_draft(path)
    assert read == draft
    assert [signed.digest.hex() for signed, _ in payloads] == [planted.ids["harmless"]]
    whole = path.read_bytes()
    for data in (b"", whole[:3], b"\xff" * 8, whole[:-1], whole + b"x", whole[:-1] + bytes([whole[-1] ^ 1]), whole[:200]):
        path.write_bytes(data)
        with pytest.raises(UserError, match="is no draft of a commit"):
            read_draft(path)


def test_a_branch_that_moved_takes_no_draft(planted: Planted) -> None:
    commit = with_signatures(drafted(planted), OTHER)
    with planted.store() as store:
        store.refs.update("heads/moved", store.add_commit(commit), None)
        with pytest.raises(UserError, match="moved since the draft was made"):
            keep_draft(store, Draft("moved", with_signatures(commit, THIRD)))


def test_two_of_three_make_a_commit(planted: Planted, run: Run, world: World, tmp_path: Path) -> None:
    draft, mine, other = tmp_path / "the.draft", planted.home.path, planted.home.path.parent / "other"
    made = run(mine, "merge", planted.ids["harmless"], "--method", "average", "--draft", draft, "--json")
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["draft"] == str(draft)
    assert "heads/merged" not in branches(planted.path)
    again = run(mine, "sign", draft)
    assert (again.exit_code, again.stderr.splitlines()[0]) == (1, "error: you have signed this already")
    signed = run(other, "sign", draft, "--json")
    assert signed.exit_code == 0, signed.output
    told = json.loads(signed.stdout)
    assert (told["missing"], told["kept"], set(told["signers"])) == (0, True, {COORDINATOR.peer_id, OTHER.peer_id})
    taken = run(mine, "sign", draft)
    assert taken.exit_code == 0, taken.output
    assert "merged by average" in taken.stdout
    theirs = branches(other / planted.path.relative_to(mine))
    assert branches(planted.path)["heads/merged"] == theirs["heads/merged"] == bytes.fromhex(told["commit"])


def test_a_revert_waits_for_the_others_as_well(run: Run, tmp_path: Path) -> None:
    home, other = tmp_path / "home", tmp_path / "other"
    Home(home).prepare()
    create(Home(home).identity_path, COORDINATOR)
    made = make_world(home, samples_draft().model_copy(update={"maintainers": RULE}))
    made.round(ALICE)
    made.store.close()
    shutil.copytree(home, other)
    (other / "identity.key").write_text(OTHER.seed.hex())
    draft = tmp_path / "undo.draft"
    told = json.loads(run(home, "revert", "@1", "--draft", draft, "--json").stdout)
    assert (told["kept"], told["draft"]) == (False, str(draft))
    signed = run(other, "sign", draft)
    assert signed.exit_code == 0, signed.output
    assert "revert contributions" in signed.stdout
    with Store.open(Home(other).find_event().store_path, read_only=True) as store:
        digest = store.refs.get("heads/reverts")
        assert digest is not None
        assert {each.peer for each in store.commit(digest).cosigners} == {OTHER.peer_id}
        verify_statement(Amendments(made.event), store.head_commit(), store.commit(digest), store.commit)
    (other / "identity.key").write_text(STRANGER.seed.hex())
    refused = run(other, "revert", "@1")
    assert "only the event's maintainers decide on this" in refused.stderr


def branches(path: Path) -> dict[str, bytes]:
    with Store.open(path, read_only=True) as store:
        return store.refs.all()


@pytest.mark.parametrize("failpoint", ["proposal-kept", "merge-commit"])
def test_kill_9_while_the_last_one_signs_a_merge(
    planted: Planted, run: Run, world: World, tmp_path: Path, failpoint: str
) -> None:
    draft, other, branch = tmp_path / "the.draft", planted.home.path.parent / "other", f"killed-{failpoint}"
    words = ("merge", planted.ids["harmless"], "--method", "average", "--into", branch, "--draft", draft)
    assert run(planted.home.path, *words).exit_code == 0
    killed_at(Sample(other, world.folder), failpoint, "sign", draft)
    assert json.loads(run(other, "fsck", "--json").stdout)["errors"] == 0
    theirs = other / planted.path.relative_to(planted.home.path)
    assert f"heads/{branch}" not in branches(theirs)
    signed = run(other, "sign", draft)
    assert signed.exit_code == 0, signed.output
    assert f"heads/{branch}" in branches(theirs)
    assert json.loads(run(other, "fsck", "--json").stdout)["errors"] == 0
