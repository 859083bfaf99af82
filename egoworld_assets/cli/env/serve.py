"""`egoworld env serve` and `egoworld env token create | list | revoke`: the API of envs and who may use it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from egoworld_assets.cli.console import Json
from egoworld_assets.cli.errors import errors_shown
from egoworld_resources.settings import Settings

app = typer.Typer()
token = typer.Typer(no_args_is_help=True, help="Tokens of the API: who may look, who may change.")
app.add_typer(token, name="token")


@app.command()
@errors_shown
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8003,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Listen for other machines: a proxy with TLS must stand before.")
    ] = False,
    socket: Annotated[
        Path | None, typer.Option(help="Unix socket to listen on instead of a port; nobody else may use it.")
    ] = None,
) -> None:
    """Serve the API of envs and its page, on this machine only."""
    from egoworld_resources.workflow_envs.api.listening import on_port, on_socket
    from egoworld_resources.workflow_envs.extra import of_extra

    with of_extra():
        from egoworld_resources.workflow_envs.api.serving import serve

    where = on_socket(socket) if socket else on_port(host, port, elsewhere=allow_remote)
    settings = Settings.load()
    serve(settings, where, _say if settings.log_format == "text" else _say_json)


@token.command()
@errors_shown
def create(
    name: str, role: Annotated[str, typer.Option(help="reader: looks; writer: changes and runs code too.")] = "reader"
) -> None:
    """Make a token and print it, this once."""
    from egoworld_resources.workflow_envs.api.tokens import Tokens

    settings = Settings.load()
    settings.home.mkdir(parents=True, exist_ok=True)
    print(Tokens.of(settings).create(name, role))


@token.command(name="list")
@errors_shown
def list_tokens(as_json: Json = False) -> None:
    """Names and roles; nothing that lets anyone in."""
    from egoworld_resources.workflow_envs.api.tokens import Tokens

    tokens = Tokens.of(Settings.load()).all()
    if as_json:
        print(json.dumps([{"name": one.name, "role": one.role, "created_at": one.created_at} for one in tokens]))
        return
    for one in tokens:
        print(f"{one.name}\t{one.role}\t{time.strftime('%Y-%m-%d %H:%M', time.localtime(one.created_at))}")


@token.command()
@errors_shown
def revoke(name: str) -> None:
    """Make a token worthless, for a running service too."""
    from egoworld_resources.workflow_envs.api.tokens import Tokens

    Tokens.of(Settings.load()).revoke(name)


def _say(line: str) -> None:
    print(line, flush=True)


def _say_json(line: str) -> None:
    print(json.dumps({"envs": line}), flush=True)
