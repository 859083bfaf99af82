"""What the commands on envs of workflows share: options, the fabric, and how an env is shown.

The same library as the API; keys are written WORKFLOW/NODE or WORKFLOW/NODE/VERSION.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO, cast

import typer
from rich.filesize import decimal

from egoworld_assets.cli.errors import errors_shown
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.programs.redaction import RedactedStream
from egoworld_resources.settings import Settings

if TYPE_CHECKING:
    from egoworld_resources.workflow_envs.actors import Actor
    from egoworld_resources.workflow_envs.env_facts import EnvFacts
    from egoworld_resources.workflow_envs.fabric import Fabric
    from egoworld_resources.workflow_envs.keys import EnvKey

Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for an env that is locked.")]
Which = Annotated[str, typer.Argument(metavar="ENV", help="WORKFLOW/NODE or WORKFLOW/NODE/VERSION")]
Packages = Annotated[list[str], typer.Argument(metavar="PACKAGE...")]
Python = Annotated[str, typer.Option(help="Version of Python, such as 3.11.")]


def commands_of(app: typer.Typer) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Registers functions as commands of ``app``; a trailing underscore is not part of the name."""

    def command(function: Callable[..., None]) -> Callable[..., None]:
        return app.command(name=function.__name__.rstrip("_"))(errors_shown(without_secrets(function)))

    return command


def without_secrets(function: Callable[..., None]) -> Callable[..., None]:
    """A command whose output, for people or as JSON, passes the redaction that every answer of the API passes."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        out, err = RedactedStream(sys.stdout), RedactedStream(sys.stderr)
        with redirect_stdout(cast("TextIO", out)), redirect_stderr(cast("TextIO", err)):
            try:
                function(*args, **kwargs)
            finally:
                out.close()
                err.close()

    return run


def fabric() -> Fabric:
    """The fabric of the configuration in force."""
    from egoworld_resources.workflow_envs.opening import open_fabric

    return open_fabric(Settings.load())


def fabric_so_far() -> Fabric | None:
    """The fabric for who only looks: None, and nothing is made, where there never was an env."""
    from egoworld_resources.workflow_envs.config import FabricConfig
    from egoworld_resources.workflow_envs.opening import open_fabric

    settings = Settings.load()
    config = FabricConfig.load(settings)
    return open_fabric(settings, config) if config.envs_base_path.is_dir() else None


def fabric_with(env: EnvKey) -> Fabric:
    """The fabric for who looks at one env. Raises EnvNotFound where there never was any."""
    from egoworld_resources.workflow_envs.errors import EnvNotFound

    found = fabric_so_far()
    if found is None:
        raise EnvNotFound(env)
    return found


def key_of(text: str) -> EnvKey:
    """The key that is written with slashes. Raises InvalidKey, BadConfiguration."""
    from egoworld_resources.workflow_envs.keys import EnvKey

    parts = text.split("/")
    if not 2 <= len(parts) <= 3:
        raise BadConfiguration(f"{text!r} names no env; write WORKFLOW/NODE or WORKFLOW/NODE/VERSION")
    return EnvKey(*parts)


def me() -> Actor:
    """Who sits here."""
    from egoworld_resources.workflow_envs.actors import Actor

    return Actor.at_terminal()


def print_json(value: Any) -> None:
    """A model of the API as JSON."""
    print(json.dumps(value.model_dump(), indent=2, ensure_ascii=False))


def show_env(env: EnvFacts, status: Any, as_json: bool) -> None:
    """An env for people or as JSON; ``status``: what was done to it, None for how it stands."""
    from egoworld_resources.workflow_envs.api.models import Env

    model = Env.of_facts(env, status)
    if as_json:
        print_json(model)
        return
    print(f"{env.key}: {model.status}, Python {model.python_version} ({model.backend}), {decimal(model.bytes)}")
    print(f"  {model.python}\n  lock {model.lock_digest[:12]}, {len(model.locked_versions)} packages")
    for dependency in model.dependencies:
        print(f"  {dependency}")


def text_of(path: Path | None) -> str:
    """The content of a file. Raises BadConfiguration."""
    try:
        return Path(path or "").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfiguration(f"cannot read {path}: {error}") from error


def when(at: float) -> str:
    """A time of this machine's zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
