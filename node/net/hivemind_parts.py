"""The parts of hivemind that we use: p2pd's client and the DHT, without torch.

The `__init__` of hivemind's packages imports all that they have, and with it torch and scipy: seconds of a processor and some
200 MB of memory in each daemon, for nothing. So its packages come in with their names left out, but for the few that the
modules we use ask for. Whoever asks one of them for another name gets it: then the package's `__init__` runs after all.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

# Package → the names that hivemind's own modules import from it, and where they are defined.
_PACKAGES: dict[str, dict[str, str]] = {
    "hivemind": {},
    "hivemind.utils": {
        "get_logger": "logging", "MSGPackSerializer": "serializer", "SerializerBase": "serializer",
        "get_dht_time": "timed_storage",
    },
    "hivemind.dht": {},
}  # fmt: skip


def _postpone(package: str) -> ModuleType:
    """Put `package` in its place without running its `__init__`."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.loader is not None
    loader, module = spec.loader, module_from_spec(spec)

    def complete(name: str) -> Any:
        if name.startswith("__") or f"{package}.{name}" in sys.modules:  # a part that is being imported
            raise AttributeError(name)
        del module.__getattr__
        loader.exec_module(module)
        return getattr(module, name)

    module.__getattr__ = complete  # type: ignore[method-assign]
    sys.modules[package] = module
    parent, _, last = package.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, module)
    return module


for _package, _names in _PACKAGES.items():
    if _package not in sys.modules:
        _module = _postpone(_package)
        for _name, _part in _names.items():
            setattr(_module, _name, getattr(import_module(f"{_package}.{_part}"), _name))

from hivemind.dht.node import DHTNode  # noqa: E402
from hivemind.dht.routing import DHTID  # noqa: E402
from hivemind.dht.validation import DHTRecord, RecordValidatorBase  # noqa: E402
from hivemind.p2p import P2P, PeerID  # noqa: E402
from hivemind.p2p.p2p_daemon_bindings.utils import (  # noqa: E402
    ControlFailure,
    DispatchFailure,
    P2PDaemonError,
    P2PHandlerError,
    raise_if_failed,
    read_pbmsg_safe,
    write_pbmsg,
)
from hivemind.proto import p2pd_pb2  # noqa: E402
from hivemind.utils.multiaddr import Multiaddr  # noqa: E402
from hivemind.utils.serializer import MSGPackSerializer  # noqa: E402
from hivemind.utils.timed_storage import get_dht_time  # noqa: E402

__all__ = [
    "DHTID", "P2P", "ControlFailure", "DHTNode", "DHTRecord", "DispatchFailure", "MSGPackSerializer", "Multiaddr",
    "P2PDaemonError", "P2PHandlerError", "PeerID", "RecordValidatorBase", "get_dht_time", "p2pd_pb2", "raise_if_failed",
    "read_pbmsg_safe", "write_pbmsg",
]  # fmt: skip
