"""``python -m egoworld_resources.server uploader add|list|rotate|remove|tidy``: who may bring videos."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.s3.buckets import Buckets
from egoworld_resources.server import inbox_keeper
from egoworld_resources.server.keys import key_of
from egoworld_resources.server.parts import Parts
from egoworld_resources.server.uploaders import Lying, Uploader, lying, settle
from egoworld_resources.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Who may bring videos, each into a folder of the inbox of its own.")

Name = Annotated[str, typer.Argument(help="1 to 31 of a-z, 0-9 and -: the folder in the inbox, too")]


@app.command()
def add(
    name: Name,
    gb: Annotated[float, typer.Option(min=0, help="GB that may lie in its folder; 0: no bound")] = 0,
    files: Annotated[int, typer.Option(min=0, help="files that may lie in its folder; 0: no bound")] = 0,
    secret: Annotated[bool, typer.Option("--secret", help="show the secret key too")] = False,
) -> None:
    """Give somebody an account, or another quota; prints what is needed to bring videos."""
    parts = opened()
    parts.uploaders.add(name, gb, files)
    settle(parts.folder, parts.server)
    inbox_keeper.tell(parts.folder, parts.server, {name: ""})
    show(parts, name, secret)


@app.command("list")
def listed() -> None:
    """Every uploader, what lies in its folder (old versions counted), and its quota."""
    parts = opened()
    all_, known = lying(Buckets(parts.server.s3_access)), parts.uploaders.all()
    for name in sorted({*known, *all_, "uploader"}):
        lies = all_.get(name, Lying())
        quota = said(known[name], lies) if name in known else ("no quota" if name == "uploader" else "no account")
        typer.echo(f"{name or '(no folder)'}: {lies.files:,} files, {lies.bytes_ / 1e9:.3f} GB, {quota}")


@app.command()
def rotate(
    name: Name, secret: Annotated[bool, typer.Option("--secret", help="show the secret key too")] = False
) -> None:
    """Give one another key; the old one ends at once."""
    parts = opened()
    parts.uploaders.rotate(name)
    settle(parts.folder, parts.server)
    show(parts, name, secret)


@app.command()
def remove(name: Name) -> None:
    """Take somebody's account away; what was brought stays."""
    parts = opened()
    gone = parts.uploaders.remove(name)
    settle(parts.folder, parts.server, gone)
    inbox_keeper.tell(parts.folder, parts.server, {name: ""})
    typer.echo(f"{name} can bring nothing any more; what it brought stays in the inbox")


@app.command()
def watch(once: Annotated[bool, typer.Option("--once", help="look once and end")] = False) -> None:
    """Keep uploaders within their quotas: the part `inbox-keeper` of a server."""
    parts = opened()
    if once:
        typer.echo(f"over quota: {', '.join(inbox_keeper.look(parts.folder, parts.server)) or 'nobody'}")
    else:
        inbox_keeper.watch(parts.folder)


@app.command()
def tidy() -> None:
    """Remove from the inbox what was replaced 30 days ago, and uploads that were begun a day ago and never ended."""
    replaced, unfinished = Buckets(opened().server.s3_access).tidy(datetime.now(UTC))
    typer.echo(f"{replaced} old versions and {unfinished} unfinished uploads removed")


def opened() -> Parts:
    """The parts of a server that has an S3 server of its own. Raises BadConfiguration."""
    parts = Parts(Settings.load())
    parts.upgrade()
    if parts.server.s3_server == "none":
        raise BadConfiguration("S3_SERVER=none: make accounts with the means of that server, one folder each")
    return parts


def show(parts: Parts, name: str, secret: bool) -> None:
    """What somebody needs who brings videos."""
    for line in key_of(name, parts.env_file, parts.folder / "proxy", secret=secret):
        typer.echo(line)


def said(one: Uploader, lies: Lying) -> str:
    """A quota in words."""
    bounds = [f"{one.gb:g} GB"] * bool(one.gb) + [f"{one.files:,} files"] * bool(one.files)
    used_up = one.used_up(lies)
    return f"at most {' and '.join(bounds)}{f'; {used_up}' if used_up else ''}" if bounds else "no quota"
