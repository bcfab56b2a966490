"""The list of metrics in monitoring/ is the list of metrics that a node shows."""

import re
from pathlib import Path

from collab.node.metrics import Metrics
from collab.node.net.traffic import Traffic

README = Path(__file__).parents[2] / "monitoring" / "README.md"
_SUFFIX = {"counter": "_total", "info": "_info"}


def test_every_metric_is_listed_and_nothing_else() -> None:
    metrics = Metrics()
    metrics.read_traffic(Traffic())
    shown = {family.name + _SUFFIX.get(family.type, "") for family in metrics.registry.collect()}
    listed = set(re.findall(r"^\| `(collab_\w+)` \|", README.read_text(encoding="utf-8"), re.MULTILINE))
    assert listed == shown
