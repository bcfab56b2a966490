"""Blocks as HTML, with the plots inside, and as Markdown, with the plots beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files

from .document import Block, Heading, Paragraph, Picture, Table

GENERATOR = '<meta name="generator" content="collab-node report">'
_STYLE = (files(__package__) / "style.css").read_text(encoding="utf-8")
_CODE, _MARKED = re.compile(r"`([^`]*)`"), r"<code>\1</code>"
_LONG_WORD = 30
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|])")


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """Return one page that needs no other file."""
    body = "\n".join(_html(block) for block in blocks)
    name = escape(title)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{GENERATOR}\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{name}</title>\n<style>{_STYLE}</style>\n'
        f"</head>\n<body>\n<main>\n<h1>{name}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{escape(text)}</h2>"
        case Paragraph(text):
            return f"<p>{_CODE.sub(_MARKED, escape(text))}</p>"
        case Picture(plot):
            return f"<figure>{_inline(plot.svg, plot.name, plot.caption)}<figcaption>{escape(plot.caption)}</figcaption></figure>"
        case Table(headings, rows, right):
            head = _row("th", headings, right)
            body = "\n".join(_row("td", row, right) for row in rows)
            return f"<div><table><thead>{head}</thead><tbody>\n{body}\n</tbody></table></div>"


def _row(tag: str, cells: Sequence[str], right: frozenset[int]) -> str:
    """Return a table's row; columns in `right` are numbers, and a word that is too long for a phone may be broken."""
    shown = []
    for n, cell in enumerate(cells):
        kinds = ["number"] * (n in right) + ["long"] * (max(map(len, cell.split()), default=0) > _LONG_WORD)
        shown.append(f'<{tag} class="{" ".join(kinds)}">{escape(cell)}</{tag}>' if kinds else f"<{tag}>{escape(cell)}</{tag}>")
    return f"<tr>{''.join(shown)}</tr>"


def _inline(svg: bytes, name: str, caption: str) -> str:
    """Return an SVG's element alone, its ids made unlike those of the page's other plots."""
    text = svg.decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(caption)}"', 1)


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    """Return the same as Markdown; plots are at `figures/NAME.svg`."""
    return f"# {_plain(title)}\n\n" + "\n\n".join(_markdown(block) for block in blocks) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(text):
            return f"## {_plain(text)}"
        case Paragraph(text):
            return "`".join(part if n % 2 else _plain(part) for n, part in enumerate(text.split("`")))
        case Picture(plot):
            return f"![{_plain(plot.caption)}](figures/{plot.name}.svg)"
        case Table(headings, rows, right):
            rule = ["--:" if n in right else "---" for n in range(len(headings))]
            cells = [[_plain(cell) for cell in row] for row in rows]
            return "\n".join(f"| {' | '.join(row)} |" for row in ([_plain(cell) for cell in headings], rule, *cells))


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", re.sub(r"\s+", " ", text))
