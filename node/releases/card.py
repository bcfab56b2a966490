"""The texts beside a release's weights: a model card in Hugging Face's form, and a citation.

Model cards: https://huggingface.co/docs/hub/model-cards. Citation files: https://github.com/citation-file-format, 1.2.0.
Values are written as JSON, which is YAML too, so that no text from an event or a commit can become structure.
"""

from __future__ import annotations

import json
import time
from typing import Any

from ...protocol.event import EventManifest
from ...protocol.release import Release
from ...protocol.verdict import Measurement
from ...protocol.versions import Interface

_TASKS = {"gpt": "text-generation", "albert": "fill-mask"}


def model_card(event: EventManifest, release: Release, format: str) -> str:
    """Return README.md: YAML for machines, then Markdown for people."""
    head: dict[str, Any] = {
        "license": release.licence,
        "library_name": "transformers" if format == "transformers" else "safetensors",
        "pipeline_tag": _task(event),
        "tags": ["collab-node"],
    }
    if results := [_result(event, task) for task in _tasks(release)]:
        head["model-index"] = [{"name": f"{event.name}-{release.version}", "results": results}]
    parts = [
        _yaml(head), f"# {event.name} {release.version}", _plain(event.description), _plain(release.message),
        _what(event, release), "## What changed", _plain(release.changelog), "## How it was measured", _metrics(release),
        _modules(release), "## Who made it", _people(release), "## Licence", f"`{release.licence}`",
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def citation(event: EventManifest, release: Release) -> str:
    """Return CITATION.cff."""
    authors = [{"name": f"The contributors of {event.name}"}, *({"name": credit.peer} for credit in release.credits[:100])]
    fields = {
        "cff-version": "1.2.0", "message": "If you use this model, please cite it as below.", "type": "software",
        "title": f"{event.name} {release.version}", "version": release.version, "authors": authors,
        "date-released": _day(release.time), "abstract": event.description or f"A model that {event.name} trained together.",
        "identifiers": [{"type": "other", "value": f"sha256:{release.commit.hex()}", "description": "The commit"}],
    }  # fmt: skip
    if release.licence != "unknown":
        fields["license"] = release.licence
    return "".join(f"{name}: {json.dumps(value, ensure_ascii=True)}\n" for name, value in fields.items())


def package_manifest(event: EventManifest, release: Release) -> str:
    """Return module.toml, with which the exported directory is a package that modules can require."""
    interface: Interface = release.interface
    lines = [
        f"name = {json.dumps(event.name)}", f"version = {json.dumps(release.version)}", 'kind = "base"',
        f"licence = {json.dumps(release.licence)}", "requires = []", "", "[interface]",
        f"tokenizer = {json.dumps(interface.tokenizer.hex())}", f"inputs = {json.dumps(list(interface.inputs))}",
        f"outputs = {json.dumps(list(interface.outputs))}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _yaml(fields: dict[str, Any]) -> str:
    return "---\n" + "".join(f"{name}: {json.dumps(value, ensure_ascii=True)}\n" for name, value in fields.items()) + "---"


def _task(event: EventManifest) -> str:
    if event.model.family == "huggingface":
        return "text-generation" if event.model.task == "causal-lm" else "fill-mask"
    return _TASKS[event.model.family]


def _tasks(release: Release) -> tuple[Measurement, ...]:
    tasks = release.evidence.tasks if release.evidence is not None else ()
    return tuple(task for task in tasks if task.candidate is not None)


def _result(event: EventManifest, task: Measurement) -> dict[str, Any]:
    return {
        "task": {"type": _task(event)}, "dataset": {"name": task.gate, "type": task.gate},
        "metrics": [{"type": task.kind, "value": task.candidate, "name": task.gate}],
    }  # fmt: skip


def _what(event: EventManifest, release: Release) -> str:
    data = event.data
    rows = [
        ("event", f"`{release.event.hex()}`"), ("commit", f"`{release.commit.hex()}`, round {release.round}"),
        ("state hash", f"`{release.state.hex()}`"), ("record", f"`{release.digest.hex()}`"),
        ("model", f"{event.model.family}"), ("data", _plain(f"{data.source} {data.name or data.path}".strip())),
        ("tokenizer", _plain(data.tokenizer)), ("released", f"{_day(release.time)} by `{release.releaser}`"),
    ]  # fmt: skip
    if release.evidence is not None:
        rows.append(("why this version", _plain(release.evidence.reason())))
    return "\n".join(["| | |", "| --- | --- |", *(f"| {label} | {value} |" for label, value in rows)])


def _metrics(release: Release) -> str:
    tasks = release.evidence.tasks if release.evidence is not None else ()
    if not tasks:
        return "The event has no gates, or this is its first release: nothing was compared."
    rows = [
        f"| {task.gate} | {task.kind} | {_number(task.base)} | {_number(task.candidate)} | "
        f"{_number(task.low)} to {_number(task.high)} |"
        for task in tasks
    ]
    return "\n".join(["| gate | kind | before | now | worse by, interval |", "| --- | --- | --- | --- | --- |", *rows])


def _modules(release: Release) -> str:
    """Return what became of the modules that were re-tested; nothing where none was."""
    lines = [f"- {_plain(line)}" for each in release.dependents for line in each.lines()]
    return "\n".join(["## What depends on it", "", *lines]) if lines else ""


def _people(release: Release) -> str:
    if not release.credits:
        return "Nobody but its coordinator yet."
    heads = ["| peer | samples | contributions | merges checked | gates run | bytes served |", "| --- " * 6 + "|"]
    rows = [
        f"| `{each.peer}` | {each.samples:,} | {each.contributions:,} | {each.checked:,} | {each.gates:,} | {each.served:,} |"
        for each in release.credits
    ]
    return "\n".join([*heads, *rows])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _plain(text: str) -> str:
    """Return a stranger's text with nothing in it that Markdown or HTML would act on."""
    return "".join(f"&#{ord(letter)};" if letter in "<>&|[]`" else letter for letter in text)


def _day(moment: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment))
