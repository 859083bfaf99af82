"""`egoworld kit ...`: one signed folder or tar with which a machine without a network is set up, and renewed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from egoworld_assets.cli.errors import errors_shown
from egoworld_resources.environments.checkout import PROFILE, checkout_catalog, checkout_uv
from egoworld_resources.errors import UnknownName
from egoworld_resources.settings import Settings

app = typer.Typer()
console = Console(soft_wrap=True, highlight=False)

KEY = Path("~/.config/egoworld/kit.key")
Env = Annotated[list[str] | None, typer.Option("--env", help="Model envs; all of the project when none is given.")]
Key = Annotated[Path, typer.Option(help="The private key that signs; `egoworld kit key` makes one.")]
Dev = Annotated[bool, typer.Option("--with-dev", help="Also the tests and what `make test` and `make check` need.")]
Server = Annotated[bool, typer.Option("--with-server", help="Also the programs of `make up`; --with-dev has them.")]
Profile = Annotated[str, typer.Option(envvar=PROFILE, help="Of envs/policy.toml: cpu for machines without a GPU.")]
Weights = Annotated[bool, typer.Option("--weights", help="Also the weights files below EGOWORLD_MODEL_HOME.")]
Conda = Annotated[list[Path] | None, typer.Option("--conda-lock", help="Explicit conda locks whose packages go along.")]
Fetched = Annotated[Path | None, typer.Option(help="Folder that keeps wheels for the next kit; default <home>/kit.")]
NoInterpreter = Annotated[bool, typer.Option("--no-interpreter", help="The receiver has Python 3.11 of its own.")]


@app.command()
@errors_shown
def key(file: Annotated[Path, typer.Argument(help="Where the private key is written.")] = KEY) -> None:
    """Make the key that signs kits; tell receivers its fingerprint on another way than the kits go."""
    from egoworld_resources.kit.keys import make_key

    place = file.expanduser()
    fingerprint = make_key(place)
    console.print(f"{place} signs (keep it to yourself); {place}.pub and this fingerprint are for receivers:")
    console.print(fingerprint)


@app.command()
@errors_shown
def build(
    target: Annotated[Path, typer.Argument(help="A folder, or a file ending in .tar.")],
    env: Env = None,
    key: Key = KEY,
    with_dev: Dev = False,
    with_server: Server = False,
    profile: Profile = "",
    weights: Weights = False,
    conda_lock: Conda = None,
    fetched: Fetched = None,
    no_interpreter: NoInterpreter = False,
) -> None:
    """Everything that an installation needs, in one signed folder or tar."""
    _make(target, None, env, key, with_dev, with_server, profile, weights, conda_lock, fetched, no_interpreter)


@app.command()
@errors_shown
def diff(
    old: Annotated[Path, typer.Argument(help="The kit that the receiver has installed, or its kit.json.")],
    to: Annotated[Path, typer.Option(help="A folder, or a file ending in .tar.")],
    env: Env = None,
    key: Key = KEY,
    with_dev: Dev = False,
    with_server: Server = False,
    profile: Profile = "",
    weights: Weights = False,
    conda_lock: Conda = None,
    fetched: Fetched = None,
    no_interpreter: NoInterpreter = False,
) -> None:
    """A current kit with only the files that OLD does not have; it is installed over that one."""
    _make(to, old, env, key, with_dev, with_server, profile, weights, conda_lock, fetched, no_interpreter)


@app.command()
@errors_shown
def install(
    kit: Annotated[Path, typer.Argument(help="Folder or tar of a kit.")],
    to: Annotated[Path, typer.Option(help="Folder of the installation; the same one to renew it.")],
    key: Annotated[str, typer.Option(help="Fingerprint of the maker's key, or a file with it.")] = "",
    python: Annotated[Path | None, typer.Option(help="Rest on this interpreter instead of the kit's.")] = None,
    demo: Annotated[bool, typer.Option(help="Run make demo at the end.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite project files changed there.")] = False,
    older: Annotated[bool, typer.Option("--older", help="Also a kit made before the installed one.")] = False,
) -> None:
    """Verify signature and every byte, install, run the demo; no network is used."""
    from egoworld_resources.kit.receiver.install import Wish
    from egoworld_resources.kit.receiver.install import install as install_kit

    install_kit(Wish(kit, to, key, python, demo, overwrite, older), console.print)


def _make(
    target: Path,
    previous: Path | None,
    env: list[str] | None,
    key: Path,
    with_dev: bool,
    with_server: bool,
    profile: str,
    weights: bool,
    conda_lock: list[Path] | None,
    fetched: Path | None,
    no_interpreter: bool,
) -> None:
    from egoworld_resources.kit.making import Order, make
    from egoworld_resources.server.tools import Tools

    settings = Settings.load()
    catalog = checkout_catalog(settings.project, profile)
    if unknown := sorted(set(env or ()) - set(catalog.names)):
        raise UnknownName("model env", unknown[0], catalog.names)
    order = Order(
        project=settings.project,
        target=target.absolute(),
        key=key.expanduser(),
        fetched=(fetched or settings.home / "kit" / "fetched").absolute(),
        envs=env or (),
        demo=_envs_of_demo(settings),
        dev=with_dev,
        server=Tools.of(settings) if with_dev or with_server else None,
        profile=profile,
        interpreter=not no_interpreter,
        weights=settings.model_home if weights else None,
        conda_locks=conda_lock or (),
        previous=previous,
    )
    made = make(order, catalog, checkout_uv(settings.project), console.print)
    for kind, size in made.sizes.items():
        if size:
            console.print(f"  {kind:17} {size / 1e6:10,.1f} MB")
    console.print(f"{made.target}: {made.shipped} of {len(made.manifest.files)} files, {made.bytes / 1e6:,.1f} MB")
    console.print("Tell the receiver, on another way than the kit goes:")
    console.print(f"  key         {made.fingerprint}")
    console.print(f"  install.sh  sha256 {made.installer}")


def _envs_of_demo(settings: Settings) -> frozenset[str]:
    """The envs that serve the stages now."""
    from egoworld_assets.orchestration.registry import stages

    return frozenset(settings.stages.get(stage.name, stage.env) for stage in stages().values())
