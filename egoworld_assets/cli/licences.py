"""`egoworld rights` and `egoworld export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings

console = Console(width=None if sys.stdout.isatty() else 200)
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def rights(
    video: Annotated[str | None, typer.Argument(help="Video key or name; default all.")] = None,
    licence: Annotated[str | None, typer.Option(help="SPDX expression, or LicenseRef-... of your own.")] = None,
    source: Annotated[str, typer.Option(help="Who holds the rights, or where that is written.")] = "",
    table: Annotated[
        Path | None, typer.Option("--csv", help="State many: columns video and licence, and source if you like.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take back what was stated for this video.")] = False,
    as_json: Json = False,
) -> None:
    """Under which licence source videos were given, who said so and when; or state it. Unknown is not commercial."""
    from egoworld_assets.cli import export

    bench = Workbench(Settings.load())
    export.change(bench, video, licence, source, table, remove)
    export.show_rights(bench, video, console, as_json)


def export(
    to: Annotated[Path, typer.Option(help="Folder that does not exist yet.")],
    commercial: Annotated[bool, typer.Option("--commercial", help="Refuse what forbids it, or is unclear.")] = False,
    exclude: Annotated[
        bool, typer.Option("--exclude-noncommercial", help="With --commercial: leave those videos out instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Hand the dataset out: a copy with a card of today's licences, whole or not at all."""
    from egoworld_assets.cli import export

    bench = Workbench(Settings.load())
    export.export(bench, to, console, commercial=commercial, leave_out=exclude, as_json=as_json)
