"""Where commands print, and the options that several of them take."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

console = Console(width=None if sys.stdout.isatty() else 200)
"""Programs and files that read our output get lines that are not cut at 80 columns."""

Socket = Annotated[Path | None, typer.Option(help="A Unix socket instead, in a folder that only you may enter.")]
Videos = Annotated[list[str] | None, typer.Argument(help="Video files, folders or globs.")]
Known = Annotated[list[str] | None, typer.Argument(help="Video keys or names; default all.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Planned = Annotated[
    bool, typer.Option("--plan", help="Only say what it would make stale and what that costs; change nothing.")
]
