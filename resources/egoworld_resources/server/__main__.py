"""``python -m egoworld_resources.server up|down|ps|run|key|env``, as the Makefile, systemd and compose call it."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from egoworld_resources.errors import EgoworldError
from egoworld_resources.server import uploaders_cli
from egoworld_resources.server.backup import cli
from egoworld_resources.server.env_service import PATH as ENVS
from egoworld_resources.server.keys import key_of
from egoworld_resources.server.parts import Parts
from egoworld_resources.server.postgres import binaries as postgres_binaries
from egoworld_resources.server.running import Health, Server
from egoworld_resources.server.tools import MINIO, VERSITYGW, Tools
from egoworld_resources.server.units import write_units
from egoworld_resources.settings import Settings

PartName = Annotated[str, typer.Argument(help="a part as `ps` names it")]

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The parts of a server.")
app.command()(cli.backup)
app.command()(cli.check_backup)
app.command("restore")(cli.restore_backup)
app.add_typer(uploaders_cli.app, name="uploader")


@app.command()
def up(
    parts: Annotated[list[str] | None, typer.Argument(help="parts as `ps` names them; all when none is")] = None,
) -> None:
    """Start every part that does not run; asks each whether it works before the next."""
    server = Server(Settings.load())
    server.up(parts or ())
    settings = server.parts.server
    site = f"https://{settings.proxy_name}:{settings.proxy_port}"
    typer.echo(f"UI: {site}  (logins viewer and operator)")
    typer.echo(f"envs: {site}{ENVS}/  (ENV_VIEWER_TOKEN, ENV_OPERATOR_TOKEN)")
    typer.echo(f"S3: {settings.s3_public_endpoint}  (here: {settings.s3_endpoint})")
    typer.echo(f"passwords and keys: {server.parts.env_file.path}")
    typer.echo("keys for S3: python -m egoworld_resources.server key uploader|reader|pipeline")
    typer.echo(f"logs: {server.parts.logs}")


@app.command()
def down() -> None:
    """Stop every part, the last started first. Nothing is lost."""
    Server(Settings.load()).down()


@app.command()
def ps() -> None:
    """What runs, where, and how healthy; exit status 1 when a part is not."""
    server = Server(Settings.load())
    server.parts.upgrade()
    looked_after = server.supervision()
    health = [*([looked_after] if looked_after else []), *server.health()]
    typer.echo(table(health))
    if not all(part.healthy for part in health):
        raise typer.Exit(1)


@app.command()
def run(part: PartName) -> None:
    """Become one part, in the foreground: what supervisord, systemd and containers start."""
    os.umask(0o077)  # nothing that a part writes is for other users
    parts = Parts(Settings.load())
    parts.prepare()
    parts.one(part).launch().become()


@app.command()
def ready(
    part: Annotated[str | None, typer.Argument(help="a part as `ps` names it; all in turn when none is")] = None,
    seconds: Annotated[float, typer.Option(help="how long; a first start may build from source")] = 840,
) -> None:
    """Wait until a part is healthy, then make what it holds (buckets, accounts, limits); exit status 1 if it is not."""
    server = Server(Settings.load())
    if not server.parts.env_file.path.is_file():
        server.parts.prepare()
    for one in [server.parts.one(part)] if part else server.parts.all():
        typer.echo(f"{one.name}: {server.ready(one, seconds)}")


@app.command()
def migrate() -> None:
    """Bring the tables of an earlier version of Dagster up to this one; Postgres must run, Dagster must not."""
    server = Server(Settings.load())
    server.parts.upgrade()
    server.migrate()


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help="a statement, or none for a prompt")] = "",
) -> None:
    """psql on the server's database, as the owner of its tables."""
    parts = Parts(Settings.load())
    parts.upgrade()
    found = shutil.which("psql") or str(postgres_binaries(parts.tools, parts.folder / "postgres") / "psql")
    own = parts.server.postgres
    login = {"PGUSER": own.user, "PGPASSWORD": own.password, "PGDATABASE": own.database, "PGPORT": str(own.port)}
    words = [found, *(["-c", statement] if statement else [])]
    os.execve(found, words, {**os.environ, **login, "PGHOST": own.host})


@app.command()
def tools() -> None:
    """Fetch and build every program now, for a machine that will have no network."""
    own = Tools.of(Settings.load())
    programs = (own.wheel("supervisor"), postgres_binaries(own, Path("no cluster yet")), own.caddy())
    for program in (*programs, own.go_program(MINIO), own.go_program(VERSITYGW)):
        typer.echo(program)


@app.command()
def units(
    folder: Annotated[Path, typer.Argument(help="~/.config/systemd/user, or /etc/systemd/system with --user")],
    user: Annotated[str, typer.Option(help="who the parts run as; without it: units of a user's own systemd")] = "",
) -> None:
    """Write systemd units for this checkout."""
    for file in write_units(folder, Settings.load(), user):
        typer.echo(file)


@app.command()
def key(
    role: Annotated[str, typer.Argument(help="uploader, reader, pipeline, or the name of an uploader")],
    secret: Annotated[bool, typer.Option("--secret", help="show the secret key too")] = False,
) -> None:
    """What somebody needs to work with the S3 server in a role: endpoint, buckets, key."""
    parts = Parts(Settings.load())
    parts.upgrade()
    for line in key_of(role, parts.env_file, parts.folder / "proxy", secret=secret):
        typer.echo(line)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def env(command: Annotated[list[str], typer.Argument(help="a command and its arguments")]) -> None:
    """Run a command in the environment of the server's Dagster: `env egoworld status`."""
    parts = Parts(Settings.load())
    parts.upgrade()
    own = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])  # noqa: PTH120
    os.execvpe(command[0], command, {**os.environ, **parts.command_environment(), "PATH": own})


def table(health: list[Health]) -> str:
    """One line for each part."""
    rows = [("PART", "STATE", "PID", "WHERE", "HEALTH")]
    for part in health:
        said = part.said if part.healthy else f"UNHEALTHY: {part.said.splitlines()[0]}"
        rows.append((part.name, part.state, str(part.pid or "-"), part.where, said))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(n) for cell, n in zip(row, widths, strict=False)), row[4]]) for row in rows
    )


def main() -> None:
    """Run a command; a known error is one message and exit status 1, without a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        app()
    except EgoworldError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
