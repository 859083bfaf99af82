"""What a kit of a checkout consists of, each piece with the bytes that it ships."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from egoworld_resources.artifacts.manifest import file_digest
from egoworld_resources.environments.building.wheelhouse import localized, write_local
from egoworld_resources.environments.catalog import BASE, Catalog
from egoworld_resources.environments.contract import strings
from egoworld_resources.environments.declaration import Weights
from egoworld_resources.environments.locking.lockfile import Lock
from egoworld_resources.environments.policy.rules import Policy
from egoworld_resources.kit.fetched import Wanted, fetch, licence_of, requirements_of, unpacked_bytes, wanted
from egoworld_resources.kit.receiver.manifest import KitFile
from egoworld_resources.kit.receiver.refused import KitRefused
from egoworld_resources.programs.environment import environment_of
from egoworld_resources.weights import ModelPaths, WeightsMissing, local_weights
from egoworld_resources.weights.manifest import MANIFEST, ModelManifest

TESTS = ("tests/", ".ci/")
OWN = ("HOME", "XDG_CONFIG_HOME")
"""Git's settings of the developer, such as safe.directory."""


@dataclass(frozen=True)
class Piece:
    """A file of a kit and where its bytes are."""

    file: KitFile
    content: Path | bytes


def piece(path: str, kind: str, content: Path | bytes, *, origin: str = "", executable: bool = False) -> Piece:
    """A piece with its size, digest and, of a wheel, licence and unpacked size."""
    if isinstance(content, bytes):
        size, digest = len(content), hashlib.sha256(content).hexdigest()
    else:
        size, digest = content.stat().st_size, file_digest(content)
    file = KitFile(path, kind, size, digest, executable=executable, origin=origin)
    if isinstance(content, Path) and content.suffix == ".whl":
        file = replace(file, unpacked=unpacked_bytes(content), licence=licence_of(content))
    return Piece(file, content)


def wheel_pieces(files: dict[str, Wanted], fetched: Path) -> list[Piece]:
    """The files of locks, below wheels/."""
    paths = fetch(files, fetched)
    return [piece(f"wheels/{name}", "wheel", paths[name], origin=files[name].origin) for name in sorted(files)]


def needed_wheels(
    catalog: Catalog, project: Path, envs: Sequence[str], policy: Policy, python: str, fetched: Path, *, dev: bool
) -> dict[str, Wanted]:
    """Name to file of everything that our own interpreter and ``envs`` install; raises KitRefused when two disagree."""
    locks = project / "locks"
    base = Lock.read(BASE, locks / f"pylock.{'dev' if dev else BASE}.toml")
    tools = Lock.read(BASE, locks / "pylock.dev.toml")
    found = [*wanted(BASE, base, python, policy), *build_backend(project, wanted(BASE, tools, python, policy), fetched)]
    for name in envs:
        env = catalog.host(name)
        if env.runs_in != BASE:
            found += wanted(name, catalog.lock(name), python, policy, env.sdists)
    files: dict[str, Wanted] = {}
    for file in found:
        if files.setdefault(file.name, file).sha256 != file.sha256:
            raise KitRefused(f"two locks name {file.name} with different sha256; lock both envs again")
    return files


def source_pieces(project: Path, *, tests: bool) -> list[Piece]:
    """The files that git tracks, as they are on disk, below source/."""
    found: list[Piece] = []
    for name in tracked(project):
        path = project / name
        if path.is_symlink():
            raise KitRefused(f"{path} is a link; a kit holds none")
        if not path.is_file() or (not tests and name.startswith(TESTS)):
            continue
        found.append(piece(f"source/{name}", "source", path, executable=bool(path.stat().st_mode & 0o100)))
    return found


def tracked(project: Path) -> list[str]:
    """Names of the files of the project: as git lists them, or as the kit lists them that it was installed from."""
    if (project / ".git").exists():
        words = ["git", "ls-files", "-z"]
        done = subprocess.run(words, cwd=project, env=environment_of(*OWN), capture_output=True, check=False)
        if done.returncode != 0:
            raise KitRefused(f"git does not list the files of {project}: {done.stderr.decode().strip()}")
        return [name for name in done.stdout.decode().split("\0") if name]
    raise KitRefused(f"{project} is not a git checkout; a kit is made where the project is developed")


def lock_pieces(locks: Sequence[Lock], wheels: Path, work: Path) -> Iterator[Piece]:
    """Copies of locks whose files are paths into wheels/, for uv to install from."""
    for lock in locks:
        copy = write_local(lock, work / lock.path.name, localized(lock.entries, wheels, "../wheels"))
        yield piece(f"locks/{lock.path.name}", "lock", copy.read_bytes())


def weights_pieces(catalog: Catalog, envs: Sequence[str], home: Path | None) -> list[Piece]:
    """weights.json: every weights file that the envs declare, with licence; with ``home`` also the files there."""
    declared = [
        (name, stage.stage, weights)
        for name in envs
        for stage in catalog.env(name).stages.values()
        for weights in stage.weights
    ]
    listed = [{"env": env, "stage": stage, **weights.model_dump()} for env, stage, weights in declared]
    found = [piece("weights.json", "weights manifest", (json.dumps(listed, indent=1) + "\n").encode())]
    own = {weights.path: weights for _, _, weights in declared if weights.package is None}
    return [*found, *(one for weights in own.values() if home for one in _weights(weights, home))]


def licence_piece(catalog: Catalog, envs: Sequence[str], pieces: Sequence[Piece]) -> Piece:
    """licences.json: of every stage's model, and of every package as its wheel states it ("" where it states none)."""
    models = [
        {"env": name, "stage": stage.stage, "licence": stage.licence, "outputs": stage.outputs}
        for name in envs
        for stage in catalog.env(name).stages.values()
    ]
    packages = {one.file.path.rpartition("/")[2]: one.file.licence for one in pieces if one.file.kind == "wheel"}
    return piece(
        "licences.json", "licences", (json.dumps({"models": models, "packages": packages}, indent=1) + "\n").encode()
    )


def conda_pieces(locks: Sequence[Path], fetched: Path) -> list[Piece]:
    """The packages of explicit conda locks, where the conda backend looks for them, and the locks themselves."""
    from egoworld_resources.workflow_envs.conda.packages import read_explicit

    files: dict[str, Wanted] = {}
    found: list[Piece] = []
    for lock in locks:
        text = lock.read_text(encoding="utf-8")
        files |= {
            f"{package.sha256}/{package.file}": Wanted(f"{package.sha256}-{package.file}", package.sha256, package.url)
            for package in read_explicit(text)
        }
        found.append(piece(f"conda/{lock.name}", "conda", text.encode()))
    paths = fetch(files, fetched)
    return [
        *found,
        *(piece(f"conda/archives/{name}", "conda", paths[name], origin=files[name].origin) for name in paths),
    ]


def version_of(project: Path) -> tuple[str, str]:
    """Version in pyproject.toml, and the commit, with "+" when files differ from it."""
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'(?m)^version = "([^"]+)"', text)
    head = _git(project, "rev-parse", "HEAD")
    changed = _git(project, "status", "--porcelain", "--untracked-files=no")
    return version[1] if version else "0", head + ("+" if head and changed else "")


def _git(project: Path, *words: str) -> str:
    command = ["git", *words]
    done = subprocess.run(command, cwd=project, env=environment_of(*OWN), capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def build_backend(project: Path, tools: Sequence[Wanted], fetched: Path) -> list[Wanted]:
    """Of ``tools`` those that an editable install of our own packages needs, with all that they need in turn.

    Raises KitRefused naming what the lock of the developer tools lacks.
    """
    by_name = {
        canonicalize_name(parse_wheel_filename(file.name)[0]): file for file in tools if file.name.endswith(".whl")
    }
    left = [Requirement(text) for text in strings(project / "pyproject.toml", "build-system.requires")]
    found: dict[str, Wanted] = {}
    while left:
        name = canonicalize_name(left.pop().name)
        if name in found:
            continue
        if name not in by_name:
            raise KitRefused(f"building our own packages needs {name}, which locks/pylock.dev.toml lacks")
        found[name] = by_name[name]
        wheel = fetch({name: by_name[name]}, fetched)[name]
        left += [need for need in requirements_of(wheel) if not need.marker or need.marker.evaluate({"extra": ""})]
    return list(found.values())


def _weights(weights: Weights, home: Path) -> Iterator[Piece]:
    path = home / weights.path
    if weights.revision:
        try:
            local_weights([weights], path, paths=ModelPaths(home))
        except WeightsMissing as error:
            raise KitRefused(str(error)) from error
        for file in [MANIFEST, *sorted(file.path for file in ModelManifest.read(path).files())]:
            yield piece(f"weights/{weights.path}/{file}", "weights", path / file)
        return
    if not path.is_file() or file_digest(path) != weights.sha256:
        raise KitRefused(f"weights '{weights.name}': {path} is not there with sha256 {weights.sha256}")
    yield piece(f"weights/{weights.path}", "weights", path)
