"""The table of metrics in monitoring/ is what a node shows, word for word."""

from pathlib import Path

from collab.node.metrics.metrics import Metrics
from collab.node.net.traffic import Traffic

README = Path(__file__).parents[2] / "monitoring" / "README.md"
_SUFFIX = {"counter": "_total", "info": "_info"}


def table() -> list[str]:
    """The README's lines about metrics, as the code says them."""
    metrics = Metrics()
    metrics.read_traffic(Traffic())
    families = [family for family in metrics.registry.collect() if family.name.startswith("collab_")]
    rows = []
    for family in families:
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = family.name + _SUFFIX.get(family.type, "")
        rows.append(f"| `{name}` | {family.type} | {', '.join(labels)} | {family.documentation} |")
    return rows


def test_every_metric_is_listed_and_nothing_else() -> None:
    listed = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("| `collab_")]
    assert listed == table()
