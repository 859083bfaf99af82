"""`egoworld env check | matrix | conflicts | phase`: what envs may contain, what they need, where they stand."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from egoworld_assets.cli_errors import errors_shown
from egoworld_resources.catalog import Catalog
from egoworld_resources.environments.checkout import checkout_catalog
from egoworld_resources.settings import Settings

app = typer.Typer()
console = Console(width=None if sys.stdout.isatty() else 200)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a command of `egoworld env`."""
    return app.command()(errors_shown(function))


def checkout() -> Catalog:
    """The envs of the project and of its tests."""
    return checkout_catalog(Settings.load().project)


@command
def phase(as_json: Json = False) -> None:
    """For each env A (our own interpreter), B (its own env) or C (an image), and what C still lacks here."""
    from egoworld_resources.environments.phase import Host, phases

    catalog, host = checkout(), Host.of_this_machine()
    found = phases(catalog, catalog.names, host)
    if as_json:
        told = {"machine": host.told(), "envs": [asdict(one) for one in found]}
        print(json.dumps(told, indent=2, ensure_ascii=False))
        return
    table = Table(show_edge=False, pad_edge=False, box=None)
    for column in ("env", "phase", "driver from", "C lacks"):
        table.add_column(column, overflow="fold")
    for one in found:
        lacks = "; ".join(one.lacks) or "nothing of the driver gate; no image of it is made yet"
        table.add_row(one.env, f"{one.phase}: {one.why}", one.driver or "no CUDA", escape(lacks))
    console.print(host.told(), highlight=False)
    console.print(table)
