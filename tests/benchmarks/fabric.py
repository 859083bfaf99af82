"""(j) Envs of workflows: created, made from their lock, doubled, changed, against bare uv and against venv with pip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from egoworld_resources.environments.checkout import checkout_uv
from egoworld_resources.settings import PROJECT
from egoworld_resources.workflow_envs.actors import Actor
from egoworld_resources.workflow_envs.config import FabricConfig
from egoworld_resources.workflow_envs.env_facts import EnvFacts
from egoworld_resources.workflow_envs.fabric import Fabric
from egoworld_resources.workflow_envs.keys import EnvKey
from egoworld_resources.workflow_envs.opening import open_fabric
from tests.benchmarks import fabric_api
from tests.benchmarks.measure import Measure
from tests.benchmarks.place import Place, middle, settings

PACKAGES = ("numpy", "pandas")
ONE_MORE = "humanize"
TURNS = 5
MANY = 20
US = Actor("benchmark", "benchmark")


@dataclass(frozen=True)
class Sides:
    """Where each of the three makes envs, all with one cache of uv; ``numbers`` are those of folders."""

    root: Path
    fabric: Fabric
    cache: Path
    numbers: Iterator[int]

    def folder(self) -> Path:
        """A new one for an env of bare uv or pip."""
        made = self.root / f"bare-{next(self.numbers)}"
        made.mkdir()
        return made

    def uv(self, folder: Path, *arguments: str | Path) -> None:
        """Bare uv in a project's folder, with the same cache and Python."""
        program = [checkout_uv(PROJECT).program, "--quiet", *arguments, "--python", sys.executable]
        command(program, folder, UV_CACHE_DIR=str(self.cache), UV_PYTHON_DOWNLOADS="never")


def command(words: Sequence[str | Path], folder: Path, **more: str) -> None:
    """A command in a folder; raises RuntimeError with its last words."""
    kept = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(words, cwd=folder, env={**kept, **more}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{list(words)[:3]} failed: {done.stderr[-1500:]}")


def seconds(what: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def sides_of(place: Place, name: str, cache: Path) -> Sides:
    """A fabric of its own with an audit in SQLite; envs and cache on one partition."""
    root = place.root / name
    root.mkdir()
    environ = {"ENVS_BASE_PATH": str(root / "envs"), "UV_CACHE_DIR": str(cache)}
    config = settings(root)
    return Sides(root, open_fabric(config, FabricConfig.load(config, environ)), cache, count())


def run(place: Place) -> Iterator[Measure]:
    """All of it in one run; the envs hold numpy and pandas (109 MB)."""
    turns = 1 if place.quick else TURNS
    sides = sides_of(place, "warm", checkout_uv(PROJECT).cache)
    yield from created(sides, turns)
    yield from from_lock(sides, turns)
    yield one_more(sides, turns)
    yield from second(sides)
    yield from many(sides, 3 if place.quick else MANY)
    yield from fabric_api.added(sides.fabric, sides.root, turns)
    if not place.quick:
        yield from cold(place)


def created(sides: Sides, turns: int) -> Iterator[Measure]:
    """Resolved and installed with everything in the cache; the first turn fills it and does not count."""
    mine = [seconds(partial(create, sides, EnvKey("created", str(turn)))) for turn in range(turns + 1)]
    theirs = [seconds(partial(bare_create, sides)) for _ in range(turns + 1)]
    yield Measure("j", "new env, warm", middle(mine[1:]), middle(theirs[1:]), "s", "uv init + uv add")


def from_lock(sides: Sides, turns: int) -> Iterator[Measure]:
    """The same env made again from its lock, against `uv sync` of the same lock and against pip with its cache."""
    key = EnvKey("locked", "env")
    env = create(sides, key)
    pins = [f"{name}=={version}" for name, version in env.declared.locked_versions.items()]
    files = env.env_path / "current"
    mine: list[float] = []
    bare: list[float] = []
    pip: list[float] = []
    for turn in range(turns + 1):
        mine.append(seconds(partial(sides.fabric.sync, key, US)))
        bare.append(seconds(partial(bare_sync, sides, files)))
        if turn < 2:
            pip.append(seconds(partial(venv_and_pip, sides, pins)))
    what = "env from its lock, warm"
    yield Measure("j", what, middle(mine[1:]), middle(bare[1:]), "s", "uv sync --frozen", at_most=1.2)
    yield Measure("j", what, middle(mine[1:]), pip[-1], "s", "venv + pip, warm", at_most=1 / 20)


def one_more(sides: Sides, turns: int) -> Measure:
    """A small package more in an env that is there."""
    key = EnvKey("more", "env")
    create(sides, key)
    folder = bare_create(sides)
    mine: list[float] = []
    theirs: list[float] = []
    for _ in range(turns + 1):
        mine.append(seconds(partial(sides.fabric.add, key, [ONE_MORE], US)))
        sides.fabric.remove(key, [ONE_MORE], US)
        theirs.append(seconds(partial(sides.uv, folder, "add", ONE_MORE)))
        sides.uv(folder, "remove", ONE_MORE)
    return Measure("j", "one package more", middle(mine[1:]), middle(theirs[1:]), "s", "uv add in place")


def second(sides: Sides) -> Iterator[Measure]:
    """A second env of the same packages: how long it takes, and how many bytes on the disk it adds."""
    theirs = seconds(partial(bare_create, sides))
    began = time.perf_counter()
    env = create(sides, EnvKey("second", "env"))
    mine = time.perf_counter() - began
    yield Measure("j", "second env of the same packages", mine, theirs, "s", "uv init + uv add")
    files = [path.lstat() for path in env.env_path.rglob("*") if not path.is_dir() or path.is_symlink()]
    folders = [path.lstat() for path in env.env_path.rglob("*") if path.is_dir() and not path.is_symlink()]
    new = sum(512 * one.st_blocks for one in [*folders, *(one for one in files if one.st_nlink == 1)])
    whole = sum(512 * one.st_blocks for one in [*folders, *files])
    yield Measure("j", "new disk of a second env", new / 1e6, whole / 1e6, "MB", "of the env", at_most=0.03)


def many(sides: Sides, number: int) -> Iterator[Measure]:
    """Envs asked for at once: new ones, each of which asks the index, and then all of them from their locks."""
    keys = [EnvKey("many", str(index)) for index in range(number)]
    with ThreadPoolExecutor(number) as pool:

        def at_once(make: Callable[[EnvKey], object]) -> float:
            return seconds(lambda: list(pool.map(make, keys)))

        theirs = at_once(lambda _: bare_create(sides))
        mine = at_once(partial(create, sides))
        yield Measure("j", f"{number} new envs at once, warm", mine, theirs, "s", "as many uv init + uv add")
        files = sides.fabric.get(keys[0]).env_path / "current"
        theirs = at_once(lambda _: bare_sync(sides, files))
        mine = at_once(lambda key: sides.fabric.sync(key, US))
        yield Measure("j", f"{number} envs from locks at once, warm", mine, theirs, "s", "as many uv sync --frozen")


def cold(place: Place) -> Iterator[Measure]:
    """With empty caches, over the network, once: what the index takes is in it."""
    ours, theirs = (sides_of(place, name, place.root / name / "uv-cache") for name in ("cold", "cold-bare"))
    mine = seconds(partial(create, ours, EnvKey("cold", "env")))
    bare = seconds(partial(bare_create, theirs))
    pip = seconds(partial(venv_and_pip, theirs, PACKAGES, "--no-cache-dir"))
    yield Measure("j", "new env, empty cache", mine, bare, "s", "uv init + uv add")
    yield Measure("j", "new env, empty cache", mine, pip, "s", "venv + pip")


def create(sides: Sides, key: EnvKey) -> EnvFacts:
    return sides.fabric.create(key, US, packages=PACKAGES)


def bare_create(sides: Sides) -> Path:
    folder = sides.folder()
    sides.uv(folder, "init", "--bare", "--no-workspace", "--name", "bare")
    sides.uv(folder, "add", *PACKAGES)
    return folder


def bare_sync(sides: Sides, files: Path) -> None:
    folder = sides.folder()
    for name in ("pyproject.toml", "uv.lock"):
        shutil.copyfile(files / name, folder / name)
    sides.uv(folder, "sync", "--frozen")


def venv_and_pip(sides: Sides, packages: Sequence[str], *options: str) -> None:
    folder = sides.folder()
    command([sys.executable, "-m", "venv", folder / "venv"], folder)
    pip = [folder / "venv" / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    command([*pip, *options, *packages], folder)
