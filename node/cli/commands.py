"""How commands end: errors that a person can cause are one or two lines on standard error and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from ..errors import UserError, disk_errors
from ..units import printable
from . import INTERRUPTED


class Commands(TyperGroup):
    """A group of commands whose errors are short."""

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None, complete_var: str | None = None,
        standalone_mode: bool = True, windows_expand_args: bool = True, **extra: Any,
    ) -> Any:  # fmt: skip
        """Parse and run `args` (default: the process's), and exit. Usage errors exit with 2, others with 1."""
        try:
            with disk_errors("the files that were named"):
                result = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
            sys.exit(result or 0)
        except UserError as error:
            _fail(error.lines(), error.exit_code)
        except typer.TyperException as error:
            said = error.format_message()  # empty where the help was printed, because nothing was asked for
            _fail([f"error: {said}", f"hint: {self._help_hint(error)}"] if said else [], error.exit_code)
        except FileNotFoundError as error:  # where nothing can be made, such as /proc
            _fail([f"error: {error.filename}: no such file or folder", "hint: check the place"], 1)
        except (typer.Abort, KeyboardInterrupt):
            _fail(["interrupted"], INTERRUPTED)

    def _help_hint(self, error: typer.TyperException) -> str:
        context = getattr(error, "ctx", None)
        return f"see `{context.command_path if context is not None else 'collab-node'} --help`"


def _fail(lines: Sequence[str], code: int) -> None:
    for line in lines:
        typer.echo(printable(line), err=True)  # some say what a peer answered
    sys.exit(code)
