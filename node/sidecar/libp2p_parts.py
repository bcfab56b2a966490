"""Keeps out of the sidecar what py-libp2p imports for transports and services that we do not use.

It imports QUIC, ACME, mDNS, UPnP and all that they are made of wherever it only might need them: a second of a processor at each
start, and memory, for nothing. So packages that import everything come in without running their `__init__`, and modules that we
have no use for are stand-ins whose names are empty classes: nothing is an instance of one, and none can be made.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec
from types import ModuleType

import dns._features

_PACKAGES = ("libp2p", "libp2p.transport", "libp2p.transport.quic", "libp2p.relay", "libp2p.relay.circuit_v2")
_UNUSED = (
    "libp2p.transport.quic.config", "libp2p.transport.quic.stream", "libp2p.discovery.mdns.mdns", "libp2p.discovery.upnp.upnp",
    "libp2p.security.tls.autotls.acme", "libp2p.security.tls.autotls.broker",
)  # fmt: skip


def _without_its_init(package: str) -> ModuleType:
    spec = find_spec(package)
    assert spec is not None
    return module_from_spec(spec)


def _stand_in(name: str) -> ModuleType:
    module = ModuleType(name)

    def unused(what: str) -> type:
        if what.startswith("__"):
            raise AttributeError(what)

        def refuse(*_: object, **__: object) -> None:
            raise NotImplementedError(f"{name}.{what} is left out of this process")

        setattr(module, what, type(what, (), {"__init__": refuse}))
        return getattr(module, what)  # type: ignore[no-any-return]

    module.__getattr__ = unused  # type: ignore[method-assign]
    return module


def _place(name: str, module: ModuleType) -> None:
    sys.modules[name] = module
    parent, _, last = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], last, module)


if "libp2p" not in sys.modules:  # else it is whole, and there is nothing to spare
    for _feature in ("doh", "doq"):
        dns._features.force(_feature, False)  # names are asked for over plain DNS
    for _name in _PACKAGES:
        _place(_name, _without_its_init(_name))
    for _name in _UNUSED:
        _place(_name, _stand_in(_name))
