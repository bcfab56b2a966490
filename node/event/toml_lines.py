"""On which line of a TOML text each key stands, which `tomllib` does not tell.

The text has passed `tomllib` already, so this reads structure alone: headers, dotted keys, inline tables, arrays, and strings
only to step over them. Paths are tuples of key names and array positions: `("inner", "betas", 0)`.

Grammar: https://toml.io/en/v1.0.0
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]

_TOKEN = re.compile(
    r'''
      (?P<space>[ \t\r]+|\#[^\n]*)
    | (?P<newline>\n)
    | (?P<string>"""(?:\\.|[^\\])*?"{3,5} | \'\'\'.*?\'{3,5} | "(?:\\.|[^"\\\n])*" | '[^'\n]*')
    | (?P<mark>[\[\]{}=,.])
    | (?P<bare>[^\s\[\]{}=,."'\#]+)
    ''',
    re.VERBOSE | re.DOTALL,
)


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line (from 1) of every table, key and array item in `text`, which must be valid TOML."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._lines: dict[KeyPath, int] = {}
        self._tables: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._skip_newlines():
            if self._token == "[":
                table = self._header()
            else:
                self._assignment(table)
        return self._lines

    @property
    def _token(self) -> str:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._token
        self._at += 1
        return token

    def _skip_newlines(self) -> bool:
        while self._token == "\n":
            self._at += 1
        return self._token != ""

    def _note(self, path: KeyPath, line: int) -> None:
        for end in range(1, len(path) + 1):
            self._lines.setdefault(path[:end], line)

    def _header(self) -> KeyPath:
        line = self._tokens[self._at][1]
        self._next()
        is_array = self._token == "["
        if is_array:
            self._next()
        path = self._key("]")
        if is_array:
            self._next()
            item = self._tables[path] = self._tables.get(path, -1) + 1
            path = (*path, item)
        self._note(path, line)
        return path

    def _assignment(self, table: KeyPath) -> None:
        line = self._tokens[self._at][1]
        path = table + self._key("=")
        self._note(path, line)
        self._value(path)

    def _key(self, end: str) -> KeyPath:
        parts: list[str] = []
        while (token := self._next()) not in (end, ""):
            if token != ".":
                parts.append(_unquoted(token))
        return tuple(parts)

    def _value(self, path: KeyPath) -> None:
        if self._token == "{":
            self._inline_table(path)
        elif self._token == "[":
            self._array(path)
        else:
            while self._token not in ("\n", ",", "]", "}", ""):
                self._next()

    def _inline_table(self, path: KeyPath) -> None:
        self._next()
        while self._token not in ("}", ""):
            if self._token in (",", "\n"):
                self._next()
            else:
                self._assignment(path)
        self._next()

    def _array(self, path: KeyPath) -> None:
        self._next()
        item = 0
        while self._token not in ("]", ""):
            if self._token in (",", "\n"):
                self._next()
                continue
            self._note((*path, item), self._tokens[self._at][1])
            self._value((*path, item))
            item += 1
        self._next()


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    line = 1
    for match in _TOKEN.finditer(text):
        if match.lastgroup != "space":
            yield match.group(), line
        line += match.group().count("\n")


def _unquoted(token: str) -> str:
    if token[0] not in "\"'":
        return token
    (value,) = tomllib.loads(f"key = {token}").values()
    assert isinstance(value, str)
    return value
