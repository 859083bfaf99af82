"""`egoworld env check | matrix | conflicts | phase`: what envs may contain, what they need, where they stand."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from egoworld_assets.cli.console import Json, console
from egoworld_assets.cli.errors import errors_shown
from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.environments.checkout import catalog_of, checkout_catalog, from_kit
from egoworld_resources.environments.policy.rules import Policy
from egoworld_resources.settings import Settings

app = typer.Typer()


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a command of `egoworld env`."""
    return app.command()(errors_shown(function))


def checkout(profile: str = "") -> Catalog:
    """The envs of the project and of its tests, with the locks of a profile or those of the servers."""
    return checkout_catalog(Settings.load().project, profile)


def everything(settings: Settings) -> Catalog:
    """The envs of the checkout and those of ``extra_envs``, with the locks in force."""
    known = checkout(settings.env_profile)
    return catalog_of((*known.envs_folders, *settings.extra_envs), settings.env_profile)


@command
def phase(as_json: Json = False) -> None:
    """For each env A (our own interpreter), B (its own env) or C (an image), and what C still lacks here."""
    from egoworld_resources.environments.policy.phase import Host, phases

    catalog, host = everything(Settings.load()), Host.of_this_machine()
    found = phases(catalog, catalog.names, host)
    if as_json:
        answer = {"machine": host.summary(), "envs": [asdict(one) for one in found]}
        print(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    table = Table(show_edge=False, pad_edge=False, box=None)
    for column in ("env", "phase", "driver from", "C lacks"):
        table.add_column(column, overflow="fold")
    for one in found:
        lacks = "; ".join(one.lacks) or "nothing of the driver gate; no image of it is made yet"
        table.add_row(one.env, f"{one.phase}: {one.why}", one.driver or "no CUDA", escape(lacks))
    console.print(host.summary(), highlight=False)
    console.print(table)


@command
def check(as_json: Json = False) -> None:
    """Ask every env, its lock and its code about the rules of envs/policy.toml; exit status 1 when one is broken."""
    from egoworld_resources.environments.policy import check
    from egoworld_resources.environments.policy.matrix import MATRIX, matrix_breach
    from egoworld_resources.workflow_envs.conda.policy import conda_breaches

    settings = Settings.load()
    project, built = settings.project, settings.layout.envs
    rules = Policy.read(project / "envs" / "policy.toml", settings.env_profile)
    catalog = everything(settings)
    checked = check.check(catalog, rules, built)
    checked.found += conda_breaches(catalog, rules)
    matrix_file = project / "envs" / MATRIX
    servers = Policy.read(project / "envs" / "policy.toml")
    if not from_kit(project) and (breach := matrix_breach(checkout(), servers, matrix_file)):
        checked.found.append(check.Found(matrix_file, breach))
    if as_json:
        found = [{"file": str(one.file), **asdict(one.breach)} for one in checked.found]
        print(json.dumps({"profile": rules.profile, "breaches": found, "told": checked.summary()}, indent=2))
    else:
        sys.stdout.writelines(f"{one.line(project)}\n" for one in checked.found)
        under = f", profile {rules.profile}: not for servers" if rules.profile else ""
        console.print(f"{checked.summary()}{under}", highlight=False, soft_wrap=True)
    if checked.found:
        raise typer.Exit(1)


@command
def matrix(
    check_only: Annotated[bool, typer.Option("--check", help="Write nothing; fail when it is out of date.")] = False,
) -> None:
    """Write envs/matrix.md: driver, glibc, CUDA and tools that each lock needs, and what changed in which lock."""
    from egoworld_resources.environments.policy.check import Found
    from egoworld_resources.environments.policy.matrix import MATRIX, matrix_breach, write_matrix

    envs = Settings.load().project / "envs"
    file, rules = envs / MATRIX, Policy.read(envs / "policy.toml")
    if check_only:
        if breach := matrix_breach(checkout(), rules, file):
            print(Found(file, breach).line(envs.parent))
            raise typer.Exit(1)
        return
    for change in write_matrix(checkout(), rules, file, dt.datetime.now(dt.UTC).date()):
        print(f"{change.env}: {change.what}")
    print(file)


@command
def conflicts(
    names: Annotated[list[str] | None, typer.Argument(help="Names of model envs; default all below envs/.")] = None,
    as_json: Json = False,
) -> None:
    """Which model envs could be one and which cannot, in uv's own words: a conflict is the only reason to split."""
    from egoworld_resources.environments.locking.conflicts import conflicts

    settings = Settings.load()
    catalog, envs = checkout(settings.env_profile), settings.project / "envs"
    asked = names or [name for name in catalog.names if catalog.env(name).folder.parent == envs]
    policy = Policy.read(envs / "policy.toml", settings.env_profile)
    answer = conflicts(catalog, Uv(settings.uv, settings.uv_cache_folder), policy, asked)
    if as_json:
        print(json.dumps({**asdict(answer), "split_without_conflict": answer.unneeded()}, indent=2, ensure_ascii=False))
        return
    for pair in answer.pairs:
        print(f"{' + '.join(pair.envs)}: {pair.summary()}{', uv says:' if pair.words else ''}")
        sys.stdout.writelines(f"    {line}\n" for line in pair.words.splitlines())
    print(f"fewest envs, taken in this order: {len(answer.groups)}")
    sys.stdout.writelines(f"    {' + '.join(group)}\n" for group in answer.groups)
    if unneeded := answer.unneeded():
        print(f"no conflict keeps these out of our own interpreter: {', '.join(unneeded)}")
    if answer.offline:
        print("the index could not be reached: uv's cache answered; with a network ask again what is not known")
