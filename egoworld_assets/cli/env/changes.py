"""`egoworld env create | sync | add | remove | update | delete | cleanup`: changing envs of workflows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from egoworld_assets.cli.console import Json
from egoworld_assets.cli.env.options import (
    Packages,
    Python,
    Wait,
    Which,
    commands_of,
    fabric,
    key_of,
    me,
    print_json,
    show_env,
    text_of,
)

if TYPE_CHECKING:
    pass

RequirementsFile = Annotated[Path | None, typer.Option("-r", "--requirements", help="A requirements.txt to read too.")]

app = typer.Typer()
command = commands_of(app)


@command
def create(
    env: Which,
    packages: Annotated[list[str] | None, typer.Argument(metavar="[PACKAGE]...")] = None,
    python: Python = "",
    requirements: RequirementsFile = None,
    backend: Annotated[str, typer.Option(help="uv, or conda for what PyPI lacks.")] = "uv",
    conda_file: Annotated[
        Path | None, typer.Option(help="conda-lock.yml, explicit lock or environment.yml, instead of packages.")
    ] = None,
    wait: Wait = 0,
    as_json: Json = False,
) -> None:
    """Make an env of these packages."""
    from egoworld_resources.workflow_envs.api import foreign

    text = text_of(conda_file) if conda_file else ""
    made = foreign.create(
        fabric(),
        key_of(env),
        me(),
        python_version=python,
        packages=[*(packages or ()), *_from_file(requirements)],
        backend="conda" if text else backend,
        conda_file=text,
        wait_s=wait,
    )
    show_env(made, "created", as_json)


@command
def sync(env: Which, wait: Wait = 0, as_json: Json = False) -> None:
    """Make an env again from its lock, whatever happened to its files."""
    show_env(fabric().sync(key_of(env), me(), wait_s=wait), "synced", as_json)


@command
def add(env: Which, packages: Packages, wait: Wait = 0, as_json: Json = False) -> None:
    """Declare more packages."""
    show_env(fabric().add(key_of(env), packages, me(), wait_s=wait), "updated", as_json)


@command
def remove(env: Which, packages: Packages, wait: Wait = 0, as_json: Json = False) -> None:
    """Declare fewer packages, named without versions."""
    show_env(fabric().remove(key_of(env), packages, me(), wait_s=wait), "updated", as_json)


@command
def update(
    env: Which,
    packages: Annotated[
        list[str] | None, typer.Argument(metavar="[PACKAGE]...", help="The whole new list; none keeps it.")
    ] = None,
    python: Python = "",
    requirements: RequirementsFile = None,
    upgrade: Annotated[bool, typer.Option("--upgrade", help="Newest versions that fit.")] = False,
    wait: Wait = 0,
    as_json: Json = False,
) -> None:
    """Another Python, another list of packages, or newer versions."""
    wanted = [*(packages or ()), *_from_file(requirements)] or None
    options: dict[str, Any] = {"python_version": python, "upgrade": upgrade, "wait_s": wait}
    show_env(fabric().update(key_of(env), me(), packages=wanted, **options), "updated", as_json)


@command
def delete(env: Which, wait: Wait = 0, as_json: Json = False) -> None:
    """Remove an env."""
    from egoworld_resources.workflow_envs.api.models import Deleted

    fabric().delete(key_of(env), me(), wait_s=wait)
    if as_json:
        print_json(Deleted.of(key_of(env)))
    else:
        print(f"deleted {env}")


@command
def cleanup(
    idle_hours: Annotated[float | None, typer.Option(min=0, help="Default: CLEANUP_IDLE_HOURS.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Remove them; without this only say which.")] = False,
    as_json: Json = False,
) -> None:
    """Remove envs that nothing was done with for a while; those in use stay."""
    from egoworld_resources.workflow_envs.api.models import Cleaned, Key

    gone = fabric().cleanup(me(), idle_hours=idle_hours, dry_run=not apply)
    if as_json:
        print_json(Cleaned(dry_run=not apply, removed=[Key.of(key) for key in gone]))
        return
    for key in gone:
        print(key)
    print(f"{len(gone)} {'removed' if apply else 'would be removed (dry run; --apply removes them)'}")


def _from_file(path: Path | None) -> Sequence[str]:
    from egoworld_resources.workflow_envs.requirements import of_file

    return of_file(text_of(path)) if path else ()
