"""`collab-node report`: an event in one folder, for the project's page, for thanks, and for a paper."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from ..errors import UserError
from ..files import atomic_write
from ..home import EventFolder
from ..reading import open_store
from .document import document, title
from .figures import EventRecord
from .plots import draw_plots
from .render import GENERATOR, to_html, to_markdown

_COLUMNS = ("peer", "samples", "contributions", "refused", "bytes", "rounds", "checked", "first", "last", "gates", "served")


def write_report(event: EventFolder, folder: Path) -> None:
    """Write `report.html`, `report.md`, `figures.json`, `credits.csv` and the plots into `folder`, over an older report.

    Raises UserError: nothing to report, matplotlib missing, or something else called `report.html` in the folder.
    """
    page = folder / "report.html"
    if page.exists() and GENERATOR not in page.read_text(encoding="utf-8", errors="replace"):
        raise UserError(f"{page} is another report", "choose a folder of its own")
    with open_store(event) as store:
        record = EventRecord.read(event.manifest().open(), event, store)
    figures, plots = record.figures(), draw_plots(record)
    blocks = document(record, figures, plots)
    for plot in plots:
        atomic_write(folder / "figures" / f"{plot.name}.svg", plot.svg)
        atomic_write(folder / "figures" / f"{plot.name}.pdf", plot.pdf)
    name = title(record, figures)
    atomic_write(folder / "figures.json", (json.dumps(figures, indent=2, allow_nan=False) + "\n").encode())
    atomic_write(folder / "credits.csv", _credits(record).encode())
    atomic_write(folder / "report.md", to_markdown(name, blocks).encode())
    atomic_write(page, to_html(name, blocks).encode())


def _credits(record: EventRecord) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow([*_COLUMNS, "name"])
    for credit in record.ledger.ranking:
        writer.writerow([*(getattr(credit, column) for column in _COLUMNS), record.names.get(credit.peer, "")])
    return file.getvalue()
