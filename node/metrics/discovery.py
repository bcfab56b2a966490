"""Who may be scraped: what `/sd` answers, in the format of Prometheus' HTTP service discovery.

https://prometheus.io/docs/prometheus/latest/http_sd/. A node that agreed puts the port of its metrics into its signed record in
the directory. The host is one that the record gives for peers anyway, so that nobody can point a Prometheus elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from itertools import islice
from typing import TypedDict

from ..errors import UserError
from ..net.addresses import hosts, is_loopback
from ..net.records import PeerRecord
from ..settings import Settings

_MOST_TARGETS = 1000


class TargetGroup(TypedDict):
    """One node: its `host:port`, and the labels that its series get."""

    targets: list[str]
    labels: dict[str, str]


def scrape_targets(records: Iterable[PeerRecord], *, loopback: bool) -> list[TargetGroup]:
    """Return the nodes that agreed to be scraped, at most 1000; those on this machine only with `loopback`."""
    found = ((record, _host(record, loopback)) for record in records if record.metrics_port)
    groups = (_group(record, host) for record, host in found if host is not None)
    return list(islice(groups, _MOST_TARGETS))


def _group(record: PeerRecord, host: str) -> TargetGroup:
    name = f"[{host}]" if ":" in host else host
    return {"targets": [f"{name}:{record.metrics_port}"], "labels": {"peer": record.peer}}


def _host(record: PeerRecord, loopback: bool) -> str | None:
    """Return the most widely reachable of a peer's hosts, None if there is none to scrape."""
    usable = [host for host in hosts(record.p2p) if _may_be_scraped(host, loopback)]
    return min(usable, key=lambda host: (not ip_address(host).is_global, is_loopback(host)), default=None)


def _may_be_scraped(host: str, loopback: bool) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return False
    strange = address.is_link_local or address.is_multicast or address.is_unspecified
    return not strange and (loopback or not address.is_loopback)


def check_sharing(settings: Settings) -> None:
    """Raise UserError if the metrics are to be shared and nobody could reach them."""
    if not settings.metrics_shared:
        return
    if not settings.metrics:
        raise UserError("metrics cannot be shared where there are none", "set metrics = true, or metrics_shared = false")
    if settings.reachability == "outgoing":
        raise UserError("metrics cannot be shared without incoming connections", "set metrics_shared = false")
    if is_loopback(settings.metrics_host) and not is_loopback(settings.host):
        hint = 'set metrics_host = "0.0.0.0", or metrics_shared = false'
        raise UserError(f"metrics cannot be shared from {settings.metrics_host}, which others cannot reach", hint)
