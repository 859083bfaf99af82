"""`make backup`, `make restore`: the server of this home, copied while it runs and made again."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import Annotated, get_args

import typer

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.leases.locks import write_private
from egoworld_resources.leases.removals import copying, removing
from egoworld_resources.server import probes
from egoworld_resources.server.backup.copy import Whole, back_up
from egoworld_resources.server.backup.files import Backup, Total, chosen
from egoworld_resources.server.backup.last import LastBackup, note
from egoworld_resources.server.backup.restore import ALL, What, restore, verify
from egoworld_resources.server.postgres import binaries
from egoworld_resources.server.roles import PostgresRole
from egoworld_resources.server.running import Server
from egoworld_resources.server.uploaders import FILE as UPLOADERS
from egoworld_resources.settings import Settings, config_file
from egoworld_resources.sockets import answers

log = logging.getLogger(__name__)

ENV = "env"
CONFIG = "egoworld.toml"
SHOWN = 50

To = Annotated[Path, typer.Argument(help="a folder for backups of this server, on another disk than the server's")]
From = Annotated[Path, typer.Argument(help="the folder that was backed up to")]
At = Annotated[str, typer.Option(help="which backup, as its folder is named; default the newest")]


def backup(to: To, keep: Annotated[int, typer.Option(min=0, help="How many backups to keep; 0: all.")] = 0) -> None:
    """Copy the server while it runs: the database, what is new in the buckets, the .env (mode 0600)."""
    server = Server(Settings.load())
    for name, probe in storages(server).items():
        try:
            probe()
        except probes.Unhealthy as error:
            raise BadConfiguration(f"{name} must run to be backed up ({error}); `make up` starts it") from error
    with copying(server.parts.settings.home):
        made = back_up(whole_of(server, "backup"), to.absolute(), keep)
    note(server.folder, LastBackup(folder=made.folder, made_at=datetime.fromisoformat(made.facts.made_at)))
    buckets = ", ".join(f"{name} {shown(total)}" for name, total in made.facts.buckets.items())
    typer.echo(f"{made.folder}: {sum(made.facts.tables.values())} rows; {buckets}; new: {shown(made.facts.new)}")
    typer.echo(f"it holds the server's passwords and keys: {made.folder / ENV}")


def check_backup(folder: From, at: At = "") -> None:
    """Read every byte of a backup and compare it with its sha256; exit status 1 when one is wrong."""
    found = chosen(folder.absolute(), at)
    faults = verify(found)
    for fault in faults[:SHOWN]:
        typer.echo(fault)
    typer.echo(f"{found.folder}: {f'{len(faults)} faults' if faults else 'every byte is as it was'}")
    if faults:
        raise typer.Exit(1)


def restore_backup(
    folder: From,
    at: At = "",
    force: Annotated[bool, typer.Option("--force", help="Replace what the server holds.")] = False,
    only: Annotated[str, typer.Option(help="postgres or buckets, when only that was lost.")] = "",
) -> None:
    """Make the server again from a backup; its Dagster must not run. `make up` then starts it."""
    wanted: dict[str, tuple[What, ...]] = {"": ALL, **{name: (name,) for name in get_args(What)}}
    if only not in wanted:
        raise BadConfiguration(f"--only is {' or '.join(get_args(What))}, not {only!r}")
    found, server = chosen(folder.absolute(), at), Server(Settings.load())
    bring_env(found, server)
    refuse_running(server)
    start_storages(server)
    with removing(server.parts.settings.home):
        restore(found, whole_of(server, "owner"), force, wanted[only])
        if "postgres" in wanted[only]:
            server.make_tables()
    forget_seen(server.parts.settings)
    same_config(found)
    typer.echo(f"{found.folder} is restored; start the rest: make up")


def whole_of(server: Server, role: PostgresRole) -> Whole:
    """What is to be copied of a server, and the role that reads or writes its database."""
    settings, parts = server.parts.server, server.parts
    files = {ENV: parts.env_file.path, UPLOADERS: parts.uploaders.path, CONFIG: config_file()}
    there = {name: file for name, file in files.items() if file.is_file()}
    programs = binaries(parts.tools, parts.folder / "postgres")
    return Whole(settings.postgres_as(role), programs, settings.s3_access, there)


def storages(server: Server) -> dict[str, probes.Probe]:
    """How the parts that hold state are asked."""
    return {part.name: part.probe for part in server.parts.all() if part.name in ("postgres", "s3")}


def bring_env(found: Backup, server: Server) -> None:
    """Put the .env of the backup where there is none; one that is there stays, as its Postgres knows its password."""
    brought, there = found.folder / UPLOADERS, server.parts.uploaders.path
    if brought.is_file() and not there.is_file():
        there.parent.mkdir(parents=True, exist_ok=True)
        write_private(there, brought.read_text(encoding="utf-8"))
    file, kept = server.parts.env_file, found.folder / ENV
    if file.path.is_file() or not kept.is_file():
        return
    file.write(kept.read_bytes().decode())
    log.info("%s is that of the backup: passwords, keys and ports are as they were", file.path)


def refuse_running(server: Server) -> None:
    """Raises BadConfiguration while Dagster runs: it would write into what is being restored."""
    server.parts.prepare()
    for name in ("code-location", "webserver"):
        if answers(server.parts.places.of(name)):
            raise BadConfiguration(f"{name} runs; stop the server first: make down")


def start_storages(server: Server) -> None:
    """Start Postgres and S3 unless they run already, under whichever supervisor."""
    for name, probe in storages(server).items():
        try:
            probe()
        except probes.Unhealthy:
            server.up([name])


def forget_seen(settings: Settings) -> None:
    """Drop the index of what the inbox sensor dealt with: it may know of more than the restored database does."""
    for file in settings.layout.cache.glob("inbox-*.sqlite*"):
        file.unlink()


def same_config(found: Backup) -> None:
    """Say so when the configuration differs from that of the backup: artifacts may count as stale under it."""
    then, now = found.folder / CONFIG, config_file()
    if then.is_file() and not (now.is_file() and now.read_bytes() == then.read_bytes()):
        typer.echo(f"the configuration differs from that of the backup: compare {now} with {then}")


def shown(total: Total) -> str:
    """Objects and bytes for people."""
    return f"{total.objects} objects ({total.bytes:,} bytes)"
