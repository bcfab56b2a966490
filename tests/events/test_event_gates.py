"""`[[gate]]`: every mistake has its line, an event without gates keeps its name, and no event brings a command."""

import pytest
from command_kit import SHORT_EVENT
from events.test_event_file import problems_of
from store_samples import draft, manifest

from collab.node.event.file import parse_event
from collab.protocol.canonical import decode, encode
from collab.protocol.errors import RemoteProtocolError
from collab.protocol.event import EventManifest, Maintainers, Start
from collab.protocol.gates import ExactGate, GateFile, HeadGate, LossGate
from collab.protocol.identity import Identity

GATES = """\
[[gate]]
name = "held-out"
kind = "loss"
[[gate]]
name = "greeting"
kind = "exact"
cases = [{ input = "Good ", output = "morning" }]
[[gate]]
name = "topics"
kind = "f1"
path = "topics.jsonl"
rounds = false
"""


def test_gates_are_read_and_survive_the_manifest() -> None:
    event = parse_event(SHORT_EVENT + GATES, "event.toml").manifest(Identity(bytes(32)).peer_id, 0, Start(state=bytes(32)))
    assert [type(gate) for gate in event.gate] == [LossGate, ExactGate, HeadGate]
    assert [gate.name for gate in event.round_gates()] == ["held-out", "greeting"]
    assert EventManifest.decode(event.encode()) == event


def test_an_event_without_gates_has_the_bytes_that_it_had_before_there_were_gates() -> None:
    event = manifest()
    assert "gate" not in str(decode(event.encode()))
    assert event.digest.hex() == "b70217de8ff214b61bc0eabc67fcfa8c21c7e41b269eb6c90a5ba192a1c4a0be"


def test_gates_and_maintainers_that_say_nothing_new_keep_their_bytes() -> None:
    fields = decode(LossGate(name="held-out", kind="loss").encode())
    assert isinstance(fields, dict)
    assert "verdicts" not in fields
    assert b"verdicts" in LossGate(name="held-out", kind="loss", verdicts=2).encode()
    assert b"maintainers" not in manifest().encode()


KEY = Identity(bytes(32)).peer_id


def test_maintainers_are_read_and_survive_the_manifest() -> None:
    event = parse_event(SHORT_EVENT + f'[maintainers]\nkeys = ["{KEY}"]\n', "event.toml").manifest(KEY, 0, Start(state=bytes(32)))
    assert event.deciders() == event.maintainers == Maintainers(keys=(KEY,), threshold=1)
    assert EventManifest.decode(event.encode()) == event
    assert manifest().deciders().keys == (manifest().coordinator,)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (f'keys = ["{KEY}", "{KEY}"]', "maintainers.keys: names a maintainer twice"),
        (f'keys = ["{KEY}"]\nthreshold = 2', "maintainers.threshold: is more than the 1 maintainers that there are"),
        ("keys = []", "maintainers.keys: "),
        (f'keys = ["{KEY}"]\nthresold = 1', "maintainers.thresold: unknown key; did you mean 'threshold'?"),
        ("threshold = 1", "maintainers.keys: is missing"),
    ],
)
def test_mistakes_about_maintainers_have_lines(written: str, message: str) -> None:
    (problem,) = problems_of(f"{SHORT_EVENT}[maintainers]\n{written}\n")
    assert message in str(problem)


def test_an_empty_list_of_gates_is_not_the_canonical_encoding() -> None:
    fields = decode(manifest().encode())
    assert isinstance(fields, dict)
    with pytest.raises(RemoteProtocolError, match="not the canonical encoding"):
        EventManifest.decode(encode({**fields, "gate": []}))


@pytest.mark.parametrize(
    ("written", "offset", "message"),
    [
        ('name = "a"\nkind = "loss"\ntolerence = 1', 2, "gate[0].tolerence: unknown key; did you mean 'tolerance'?"),
        ('name = "a"\nkind = "loss"\ncases = []', 2, "gate[0].cases: unknown key"),
        ('name = "a"\nkind = "loss"\ntolerance = -1', 2, "gate[0].tolerance: must be greater than or equal to 0 (not -1)"),
        ('name = "a"\nkind = "loss"\nsignificance = 0.5', 2, "gate[0].significance: must be less than 0.5 (not 0.5)"),
        ('name = "a"\nkind = "loss"\nshard = [4, 4]', 2,
         "gate[0].shard: must be a number from 0 and, above it, how many there are"),
        ('name = "a"', -1, "gate[0].kind: is missing"),
        ('name = "a"\nkind = "f1"', -1, "gate[0].path: is missing"),
        ('name = "a"\nkind = "exact"\ncases = [\n  { input = "x", output = "y" },\n  { input = "x" },\n]', 4,
         "gate[0].cases[1].output: is missing"),
        ('name = "a"\nkind = "command"\ncommand = ["rm"]', 1,
         "gate[0].kind: 'command' is for gates in a file of your own (`collab-node gate run --file FILE`): "
         "an event brings no code"),
        ('name = "a"\nkind = "loss"\n[[gate]]\nname = "a"\nkind = "loss"', 3,
         "gate[1].name: is the name of another gate: 'a'"),
    ],
)  # fmt: skip
def test_a_mistake_has_its_line_and_its_sentence(written: str, offset: int, message: str) -> None:
    (problem,) = problems_of(SHORT_EVENT + "[[gate]]\n" + written)
    assert (problem.line, str(problem)) == (SHORT_EVENT.count("\n") + 2 + offset, message)


def test_a_table_where_a_list_belongs() -> None:
    (problem,) = problems_of(SHORT_EVENT + '[gate]\nname = "a"\n')
    assert (problem.line, str(problem)) == (12, "gate: must be a list of sections: write [[gate]]")


def test_a_command_is_for_a_file_of_ones_own_only() -> None:
    command = {"name": "mine", "kind": "command", "command": ("true",), "direction": "lower"}
    assert GateFile.model_validate({"gate": (command,)}).gate[0].name == "mine"
    fields = decode(draft().encode())
    assert isinstance(fields, dict)
    with pytest.raises(RemoteProtocolError, match=r"EventDraft\.gate\.0"):
        type(draft()).from_fields({**fields, "gate": (command,)})
