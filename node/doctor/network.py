"""What `doctor` says of the network: findings from what the running node probed, and of the clock."""

from __future__ import annotations

import ipaddress
import re
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..clock_warning import ADVICE, SKEW_BAD, SKEW_NOTE
from ..errors import UserError
from ..units import bytes_text, counted, seconds_text
from .machine import Finding

_NTP_PORT, _NTP_SECONDS = 123, 3.0
_NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970
_HOST = re.compile(r"^/ip[46]/([^/]+)/")
_SLOW = 100_000.0


def network_findings(probed: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield findings from what `probing.probe` returned."""
    yield from _parts(probed["alive"])
    yield Finding("port", "ok", f"listens on {probed['port']}, gossip on {probed['gossip_port']}")
    yield reachability(probed["addresses"], str(probed["reachability"]), str(probed["host"]))
    peers = int(probed["peers"])
    lonely = "alone: no other peer of the event is in the directory"
    advice = "" if peers else "wait a minute; if it stays so, ask the coordinator whether a bootstrap node is running"
    text = f"{peers} in the directory, {probed['gossip_peers']} in gossip, {counted(probed['connections'] or 0, 'connection')}"
    yield Finding("peers", "ok" if peers else "note", text if peers else lonely, advice)
    known = int(probed["dht"])
    filling = "" if known else "it fills when the first peer is there"
    yield Finding("DHT", "ok" if known else "note", f"{counted(known, 'node')} in the routing table", filling)
    yield from _silence(probed)
    yield clock_finding(probed["clock_ahead"], "the peers'")
    yield from _speed(probed)


def _parts(alive: Mapping[str, bool]) -> Iterator[Finding]:
    dead = sorted(part for part, works in alive.items() if not works)
    advice = "they are started again by themselves; `collab-node logs` says why they end" if dead else ""
    text = f"not running: {', '.join(dead)}" if dead else f"running: {', '.join(sorted(alive))}"
    yield Finding("processes", "bad" if dead else "ok", text, advice)


def _silence(probed: Mapping[str, Any]) -> Iterator[Finding]:
    """Say who is not heard, and what the round waits for."""
    if probed.get("alone"):
        advice = "ask whether they stopped; if not, look at this machine's cable, router and firewall"
        yield Finding("company", "note", str(probed["alone"]).split(";")[0], advice)
    if probed.get("waits"):
        advice = "ask for what is missing: `collab-node event invite` makes a line to send, `collab-node join` trains"
        yield Finding("round", "note", str(probed["waits"]), advice)


def reachability(addresses: Sequence[str], setting: str, host: str) -> Finding:
    """Say how others reach us, from the addresses that p2pd tells them."""
    relayed = [address for address in addresses if "/p2p-circuit" in address]
    hosts = {match[1] for address in addresses if address not in relayed and (match := _HOST.match(address))}
    public = sorted(address for address in hosts if _is_public(address))
    if public:
        return Finding("reachability", "ok", f"open: peers reach {', '.join(public[:3])}")
    if any("/dns" in address for address in addresses):
        return Finding("reachability", "ok", "open, by the name that you announce")
    if relayed:
        advice = "it works; forward a port and give it with --port N for more speed"
        text = f"behind a NAT: peers come over {counted(len(relayed), 'relay')}, and dig holes where they can"
        return Finding("reachability", "ok", text, advice)
    if hosts and all(ipaddress.ip_address(address).is_loopback for address in hosts):
        return Finding("reachability", "note", f"this machine alone (--host {host})", "leave --host out to be reached by others")
    if hosts:
        advice = "forward a port of your router and give it with --port N, or use --reachability outgoing"
        return Finding("reachability", "note", "behind a NAT that nobody outside of your network gets through yet", advice)
    if setting == "outgoing":
        return Finding("reachability", "ok", "outgoing connections only, as you chose; no relay has been found yet")
    return Finding("reachability", "unknown", "p2pd knows no address of ours yet", "ask again in a minute")


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return False


def clock_finding(ahead: float | None, whose: str) -> Finding:
    """Say whether our clock is right; `ahead` in seconds, None if nobody could be asked."""
    if ahead is None:
        return Finding("clock", "unknown", "nobody to compare with", "start the node, or ask a time server with --ntp HOST")
    text = f"{seconds_text(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} {whose}"
    if abs(ahead) < 1.0:
        return Finding("clock", "ok", f"right within a second of {whose}")
    if abs(ahead) >= SKEW_BAD:
        return Finding("clock", "bad", text, f"{ADVICE}; until then others cannot find this node")
    return Finding("clock", "note" if abs(ahead) >= SKEW_NOTE else "ok", text, ADVICE if abs(ahead) >= SKEW_NOTE else "")


def _speed(probed: Mapping[str, Any]) -> Iterator[Finding]:
    up, down, delay = probed["upload"], probed["download"], probed["round_trip"]
    if up is None or delay is None:
        yield Finding("bandwidth", "unknown", "no peer to measure with")
        return
    parts = [f"at least {bytes_text(up)}/s up"]
    if down is not None:
        parts.append(f"{bytes_text(down)}/s down")
    slow = min(rate for rate in (up, down) if rate is not None) < _SLOW
    advice = "contributions will take long to send: choose an event with a small payload" if slow else ""
    yield Finding("bandwidth", "note" if slow else "ok", f"{', '.join(parts)}; {delay * 1000:.0f} ms to a peer and back", advice)


def ask_ntp(host: str) -> float:
    """Return by how many seconds our clock is ahead of a time server's (SNTP, RFC 4330). Raises UserError."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(_NTP_SECONDS)
            sock.connect((host, _NTP_PORT))
            before = time.time()
            sock.send(b"\x23" + bytes(47))  # version 4, client
            answer = sock.recv(512)
            after = time.time()
    except OSError as error:
        raise UserError(f"the time server {host} does not answer: {error}", "try another with --ntp HOST") from error
    return (before + after) / 2 - ntp_time(answer)


def ntp_time(answer: bytes) -> float:
    """Return the middle of a server's receive and transmit times (Unix seconds). Raises UserError for what is no answer."""
    if len(answer) < 48 or answer[0] & 0x07 != 4:
        raise UserError("the time server answers with something else than the time", "try another with --ntp HOST")
    received, sent = (struct.unpack_from("!II", answer, offset) for offset in (32, 40))
    return float(sum(seconds + fraction / 2**32 for seconds, fraction in (received, sent))) / 2 - _NTP_EPOCH
