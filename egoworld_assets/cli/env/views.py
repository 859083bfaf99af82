"""`egoworld env list | show | verify | export | deps | licences | project | log`: looking at envs of workflows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from egoworld_assets.cli.console import Json, console
from egoworld_assets.cli.env.options import (
    Which,
    commands_of,
    fabric_so_far,
    fabric_with,
    key_of,
    print_json,
    show_env,
    when,
)
from egoworld_resources.settings import Settings

SHOWN = 100
app = typer.Typer()
command = commands_of(app)


@command
def list_(as_json: Json = False) -> None:
    """All envs of workflows: Python, packages, sizes, last use."""
    from egoworld_resources.workflow_envs.api.models import Envs, listed

    found = fabric_so_far()
    envs = Envs(envs=listed(found) if found else [])
    if as_json:
        print_json(envs)
        return
    table = Table(show_edge=False, pad_edge=False, box=None)
    for column in ("env", "status", "backend", "python", "packages", "size", "last used", "lock"):
        table.add_column(column, overflow="fold")
    for one in envs.envs:
        name = "/".join(part for part in (one.workflow_id, one.node_id, one.version_id) if part)
        figures = (str(one.packages), decimal(one.bytes), when(one.used_at), one.lock_digest[:12])
        table.add_row(name, one.status, one.backend, one.python_version, *figures)
    console.print(table if envs.envs else "no envs yet: `egoworld env create WORKFLOW/NODE PACKAGE...`")


@command
def show(env: Which, as_json: Json = False) -> None:
    """One env as it stands."""
    key = key_of(env)
    show_env(fabric_with(key).get(key), None, as_json)


@command
def verify(env: Which, as_json: Json = False) -> None:
    """Compare every byte of an env with what was installed."""
    key = key_of(env)
    show_env(fabric_with(key).verify(key), None, as_json)


@command
def export(
    env: Which,
    to: Annotated[Path | None, typer.Option(help="Folder for the files; without it they are printed.")] = None,
    conda_lock: Annotated[bool, typer.Option("--conda-lock", help="A conda-lock.yml of it instead.")] = False,
    as_json: Json = False,
) -> None:
    """Declaration and lock of an env: what makes it again."""
    key = key_of(env)
    found = fabric_with(key)
    made = found.get(key)
    names = found.backends[made.backend].files
    files = {name: (made.env_path / made.generation / name).read_text(encoding="utf-8") for name in names}
    if conda_lock:
        from egoworld_resources.workflow_envs.conda.exchange import conda_lock_of

        files = {"conda-lock.yml": conda_lock_of(found, key)}
    if to:
        to.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (to / name).write_text(text, encoding="utf-8")
    elif as_json:
        print(json.dumps(files, indent=2, ensure_ascii=False))
    else:
        for name, text in files.items():
            print(f"# {name}\n{text}")


@command
def project(as_json: Json = False) -> None:
    """Which env needs what of the main project: packages, versions, and where the two cannot agree."""
    from egoworld_resources.workflow_envs.api.project_models import ProjectInfo

    known = ProjectInfo.of_project(Settings.load().project, fabric_so_far())
    if as_json:
        print_json(known)
        return
    table = Table(show_edge=False, pad_edge=False, box=None)
    for column in ("env", "package", "project asks", "has", "env asks", "has", "conflict"):
        table.add_column(column, overflow="fold")
    for env in known.envs:
        for one in env.packages:
            versions = (one.project_asks, one.project_has, one.env_asks, one.env_has)
            table.add_row(env.env, one.name, *map(escape, versions), escape(one.conflict))
        if env.error:
            table.add_row(env.env, "not known", *4 * [""], escape(env.error))
    console.print(known.error or table)


@command
def deps(env: Which, as_json: Json = False) -> None:
    """What an env declares, and the versions that its lock chose."""
    from egoworld_resources.workflow_envs.api.models import Dependencies, named

    key = key_of(env)
    made = fabric_with(key).get(key).declared
    known = Dependencies(**named(key), dependencies=list(made.dependencies), locked_versions=made.locked_versions)
    if as_json:
        print_json(known)
        return
    for dependency in known.dependencies:
        print(dependency)
    for name, version in known.locked_versions.items():
        print(f"  {name}=={version}")


@command
def licences(env: Which, as_json: Json = False) -> None:
    """Under which licence each package of an env stands, and whether envs/policy.toml takes it."""
    from egoworld_resources.workflow_envs.api.models import Licences

    key = key_of(env)
    known = Licences.of_facts(key, fabric_with(key).licences(key))
    if as_json:
        print_json(known)
        return
    table = Table(show_edge=False, pad_edge=False, box=None)
    for column in ("package", "version", "licence", "policy"):
        table.add_column(column, overflow="fold")
    for one in known.packages:
        table.add_row(one.name, one.version, escape(one.licence or "none stated"), escape(one.refused or "takes it"))
    console.print(table)
    print(f"{len(known.packages)} packages; {known.refused} that the policy would not take")


def _short(message: str) -> str:
    """The line of a message that tells most: the last cause that uv names, else the first that introduces nothing."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    causes = [line.removeprefix("cause: ") for line in lines if line.startswith("cause: ")]
    line_shown = next((line for line in [*causes[::-1], *lines] if not line.endswith(":")), "")
    return line_shown if len(line_shown) <= SHOWN else f"{line_shown[: SHOWN - 1]}…"


@command
def log(
    env: Annotated[str | None, typer.Argument(metavar="[ENV]", help="Only of this env.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 30,
    running: Annotated[bool, typer.Option("--running", help="Only those without an end.")] = False,
    as_json: Json = False,
) -> None:
    """Who did what to envs, newest first."""
    from egoworld_resources.workflow_envs.api.models import OperationFacts, Operations

    parts = key_of(env).parts if env else None
    fabric = fabric_so_far()
    history = fabric.operations.history(parts=parts, limit=limit, running=running) if fabric else []
    found = [OperationFacts.of_operation(one) for one in history]
    if as_json:
        print_json(Operations(operations=found, next=found[-1].id if len(found) == limit else None))
        return
    table = Table(show_edge=False, pad_edge=False, box=None)
    for column in ("at", "who", "from", "did", "to", "result", "s", "lock", "message"):
        table.add_column(column, overflow="fold")
    for one in found:
        name = "/".join(part for part in (one.workflow_id, one.node_id, one.version_id) if part)
        lock = one.lock_before[:8] + ("→" + one.lock_after[:8] if one.lock_after != one.lock_before else "")
        result = "running" if one.running else one.result
        words = (one.action, name, result, f"{one.seconds:.2f}", lock, escape(_short(one.message)))
        table.add_row(when(one.started_at), escape(one.actor), escape(one.origin), *words)
    console.print(table if found else "nothing yet")
