"""``python -m egoworld_resources lock|build|verify|audit NAME...`` as the Makefile calls it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.catalog import BASE, Catalog
from egoworld_resources.environments.checkout import PROFILE, checkout_catalog, checkout_uv, checkout_wheels
from egoworld_resources.environments.declaration import OWN
from egoworld_resources.environments.locking.resolve import lock as make_lock
from egoworld_resources.environments.policy import vulnerabilities as audits
from egoworld_resources.errors import EgoworldError
from egoworld_resources.workflow_envs.sdists import SdistWheels

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Locks and builds the model envs of this checkout.")

Names = Annotated[list[str] | None, typer.Argument(help="names of model envs; default: all of them")]
Fresh = Annotated[bool, typer.Option(help="a new generation even if the old one is whole")]
Upgrade = Annotated[bool, typer.Option(help="take the newest versions that fit")]


@app.command()
def lock(
    names: Names = None,
    upgrade: Upgrade = False,
    profile: Annotated[str, typer.Option(envvar=PROFILE, help="of envs/policy.toml, for machines without a GPU")] = "",
) -> None:
    """Compile the lock of each env from its pyproject.toml."""
    project = Path.cwd()
    catalog, uv = checkout_catalog(project, profile), checkout_uv(project)
    own = [name for name in catalog.names if catalog.env(name).interpreter == OWN]
    for name in names or [*([] if profile else [BASE]), *own]:
        for file in make_lock(name, catalog, uv, upgrade=upgrade, profile=profile):
            typer.echo(file.relative_to(project))


@app.command()
def build(names: Names = None, fresh: Fresh = False) -> None:
    """Build model envs from their locks; those that are whole already take no time."""
    builder, catalog = _builder()
    for name in names or catalog.names:
        built = builder.ensure(name, fresh=fresh)
        typer.echo(f"{name}\t{built.python}")


@app.command()
def verify(names: Names = None) -> None:
    """Compare every installed file with its RECORD."""
    builder, catalog = _builder()
    for name in names or catalog.names:
        typer.echo(f"{name}\t{builder.verify(name)} files are as installed")


@app.command()
def audit(
    database: Annotated[Path | None, typer.Option(envvar="AUDIT_DB", help="OSV's export for PyPI, a zip")] = None,
    osv_url: Annotated[str, typer.Option(envvar="AUDIT_OSV_URL", help="a server of OSV's protocol")] = "",
    required: Annotated[
        bool, typer.Option(envvar="AUDIT_REQUIRED", help="fail if a package could not be checked")
    ] = False,
) -> None:
    """Known vulnerabilities of every locked package; exit status 1 when there is one that is not known to us."""
    project = Path.cwd()
    packages = audits.locked(project / "locks")
    made = audits.by_database(packages, database) if database else audits.by_pip_audit(packages, osv_url)
    lines, good = audits.judged(made, audits.known(project / "envs" / audits.KNOWN))
    typer.echo("\n".join(lines))
    if not good or (required and made.unchecked):
        raise typer.Exit(1)


def _builder() -> tuple[EnvBuilder, Catalog]:
    project = Path.cwd()
    catalog, uv = checkout_catalog(project), checkout_uv(project)
    wheels = checkout_wheels(project)
    root = project / "data" / "envs"
    return EnvBuilder(root, catalog, uv.program, uv.cache, wheels=wheels, sdists=SdistWheels), catalog


def main() -> None:
    """Run a command; a known error is one message and exit status 1, without a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        app()
    except EgoworldError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
