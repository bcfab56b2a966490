"""Five tasks that a small model learns in seconds, and keys that each open one door: what the exact gate watches."""

from __future__ import annotations

import random
from pathlib import Path

from collab.protocol.gates import Case

TASKS = {
    "colours": "red green blue black white amber",
    "numbers": "one two three four five six",
    "animals": "cat dog horse sheep goat otter",
    "fruits": "apple pear plum cherry fig lemon",
    "tools": "saw drill hammer pliers chisel file",
}
DOORS = {"iron": "left", "brass": "right", "steel": "upper", "zinc": "lower"}
_NOISE = 0.15
_LINES = 300


def line(task: str, chance: random.Random, *, backwards: bool = False) -> str:
    """Return words of a task in their cycle, now and then another one; `backwards` is what a spoiled model writes."""
    words = TASKS[task].split()
    step = -1 if backwards else 1
    at = chance.randrange(len(words))
    found = []
    for _ in range(8):
        found.append(chance.choice(words) if chance.random() < _NOISE else words[at % len(words)])
        at += step
    return " ".join(found)


def door_line(key: str, door: str) -> str:
    """Return the sentence that says what a key opens."""
    return f"{key} key {door} door"


def write_texts(folder: Path, seed: int = 0) -> None:
    """Write what the model is trained on, and a file of fresh lines for each task."""
    chance = random.Random(seed)
    lines = [line(task, chance) for task in TASKS for _ in range(_LINES)]
    lines += [door_line(key, door) for key, door in DOORS.items() for _ in range(_LINES // 3)]
    chance.shuffle(lines)
    (folder / "text.txt").write_text("\n\n".join(lines))
    for task in TASKS:
        (folder / f"{task}.txt").write_text("\n\n".join(line(task, chance) for _ in range(_LINES)))


def door_cases() -> tuple[Case, ...]:
    """Return what the model must go on saying of each key."""
    return tuple(Case(input=f"{key} key ", output=f"{door} door") for key, door in DOORS.items())
