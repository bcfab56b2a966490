"""Multiaddresses as text, such as `/ip4/203.0.113.7/tcp/4001/p2p/12D3Koo…`; hostile ones arrive in records."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
from collections.abc import Iterable

from ...protocol.identity import public_key_of
from .errors import NetworkError

MAX_ADDRESS = 256
_HOST = r"/(?:ip4/[0-9.]{7,15}|ip6/[0-9a-fA-F:.]{2,45}|dns[46]?/[A-Za-z0-9.-]{1,253})"
_DIRECT = re.compile(rf"{_HOST}/(?:tcp/[0-9]{{1,5}}|udp/[0-9]{{1,5}}/quic(?:-v1)?)")
_PEER = r"[1-9A-HJ-NP-Za-km-z]{40,64}"
_FULL = re.compile(rf"(?P<route>/.+)/p2p/(?P<peer>{_PEER})")


def split(address: str) -> tuple[str, str]:
    """Return (route, peer id) of a full multiaddress, relayed ones included. Raises NetworkError if it is none."""
    match = _FULL.fullmatch(address) if len(address) <= MAX_ADDRESS else None
    if match is None or not _is_route(match["route"]):
        raise NetworkError(f"{address[:80]!r} is not a peer's address, such as /ip4/203.0.113.7/tcp/4001/p2p/12D3Koo…")
    try:
        public_key_of(match["peer"])
    except ValueError as error:
        raise NetworkError(str(error)) from error
    return match["route"], match["peer"]


def _is_route(route: str) -> bool:
    direct = route.removesuffix("/p2p-circuit")
    if direct != route:
        relay = _FULL.fullmatch(direct)
        return relay is not None and _DIRECT.fullmatch(relay["route"]) is not None
    return _DIRECT.fullmatch(route) is not None


def is_address(address: str) -> bool:
    """Say whether `split` would take it."""
    try:
        split(address)
    except NetworkError:
        return False
    return True


def tcp(host: str, port: int) -> str:
    """Return `/ip4/HOST/tcp/PORT`, or ip6, or dns for a name."""
    try:
        protocol = f"ip{ipaddress.ip_address(host).version}"
    except ValueError:
        protocol = "dns"
    return f"/{protocol}/{host}/tcp/{port}"


def hosts(routes: Iterable[str]) -> list[str]:
    """Return the distinct IP hosts of direct TCP routes, in their order."""
    found: dict[str, None] = {}
    for route in routes:
        parts = route.split("/")
        if "p2p-circuit" not in parts and len(parts) >= 4 and parts[1] in ("ip4", "ip6") and parts[3] == "tcp":
            found[parts[2]] = None
    return list(found)


def is_loopback(host: str) -> bool:
    """Say whether `host` is reachable from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_MENDS = {
    errno.EADDRINUSE: "; choose another port",
    errno.EADDRNOTAVAIL: "; leave --host out, or give an address of this machine",
}


def check_port(host: str, port: int) -> None:
    """Raise NetworkError if we cannot listen there. p2pd shares ports (SO_REUSEPORT), and would start on one that is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            code = error.errno if isinstance(error, OSError) else errno.EINVAL
            hint = _MENDS.get(code or 0, "")
            where = f"{host} port {port}" if port else host
            raise NetworkError(f"cannot listen on {where}: {os.strerror(code or 0)}{hint}") from error


def is_free(host: str, port: int) -> bool:
    """Say whether we could listen there."""
    try:
        check_port(host, port)
    except NetworkError:
        return False
    return True
