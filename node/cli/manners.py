"""`limits` and `set`: what the owner allows, shown and changed while the node runs or not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError
from .flags import ConfigFlag, HomeFlag, JsonFlag, home_of, settings_of

if TYPE_CHECKING:
    from pathlib import Path

    from ..home import Home

_SECONDS = 60.0  # other threads or memory: the worker is started again


def limits(home: HomeFlag = None, config: ConfigFlag = None, as_json: JsonFlag = False) -> None:
    """List the limits that hold: of the running node, or those that the next one begins with."""
    from ..control.socket import NotRunning, call

    node_home = home_of(home, config)
    try:
        state = call(node_home.path, "limits")
    except NotRunning:
        state = _at_rest(node_home, home, config)
    if as_json:
        typer.echo(json.dumps(state))
    else:
        _show(state)


def set_limit(
    key: Annotated[str, typer.Argument(metavar="KEY", help="One of what `collab-node limits` lists; or KEY=VALUE.")],
    value: Annotated[str, typer.Argument(metavar="[VALUE]", help="Such as 2, 500kB, 25%, 22:00-07:00, true; or default.")] = "",
    home: HomeFlag = None,
    config: ConfigFlag = None,
) -> None:
    """Change a limit, at once and for later."""
    from ..control.socket import NotRunning, call
    from ..manners.overrides import read_overrides, with_override, write_overrides

    if not value:
        key, _, value = key.partition("=")
    if not value:
        raise UsageError(f"{key} lacks a value", f"collab-node set {key} default: as it was")
    node_home = home_of(home, config)
    try:
        state = call(node_home.path, "set", timeout=_SECONDS, key=key, value=value)
    except NotRunning:
        path = node_home.limits_path
        base = settings_of(config, home=home).limits
        write_overrides(path, with_override(base, read_overrides(path), key, value))
        state = _at_rest(node_home, home, config)
    typer.echo(f"{key} is {_text(key, state['limits'][key])}")
    if state.get("rests"):
        typer.echo(f"the node rests: {state['rests']}")


def _at_rest(node_home: Home, home: Path | None, config: Path | None) -> dict[str, Any]:
    from ..manners.overrides import effective, read_overrides

    overrides = read_overrides(node_home.limits_path)
    found = effective(settings_of(config, home=home).limits, overrides)
    return {"limits": found.model_dump(), "set": sorted(overrides)}


def _show(state: dict[str, Any]) -> None:
    from ..manners.limits import Limits
    from ..units import bytes_text

    width = max(map(len, state["limits"]))
    for name, value in state["limits"].items():
        by_hand = "*" if name in state["set"] else ""
        known = Limits.model_fields.get(name)
        means = known.description if known is not None else ""
        typer.echo(f"{name:<{width}}  {_text(name, value) + by_hand:<12}  {means}".rstrip())
    if state["set"]:
        typer.echo("* set by you; `collab-node set KEY default` takes it back")
    for span in ("day", "month"):
        if f"used_{span}" in state:
            up, down = state[f"used_{span}"]
            typer.echo(f"this {span}: {bytes_text(up)} up, {bytes_text(down)} down")
    if state.get("rests"):
        typer.echo(f"the node rests: {state['rests']}")


_UNIT = {"gpu_memory": " MiB", "idle_minutes": " min", "calm_seconds": " s", "others_cpu": "%"}


def _text(name: str, value: object) -> str:
    from ..units import bytes_text

    if isinstance(value, bool):
        return "yes" if value else "no"
    if value in (0, "") and name != "calm_seconds":
        return "no limit" if name != "hours" else "any hour"
    if isinstance(value, int) and name.startswith(("upload", "download")):
        return bytes_text(value) + ("/s" if name.endswith("rate") else "")
    return f"{value}{' °C' if name.endswith('temperature') else _UNIT.get(name, '')}"
