"""Envs of wheels: a uv project without a build of its own, its lock as the policy allows it, installed by pylock."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomli_w
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from egoworld_resources.environments.building import Building, Content
from egoworld_resources.environments.declaration import read_toml
from egoworld_resources.environments.errors import (
    BadDeclaration,
    EnvBuildFailed,
    EnvDamaged,
    IndexUnreachable,
    LockRefused,
    PythonMissing,
)
from egoworld_resources.environments.fabric.backends import Declared, Wish
from egoworld_resources.environments.fabric.bytecode import compile_packages
from egoworld_resources.environments.fabric.errors import (
    Damaged,
    DependencyNotFound,
    IndexSilent,
    NoSpace,
    PolicyRefused,
    PythonNotFound,
    ResolutionFailed,
    UvFailed,
)
from egoworld_resources.environments.fabric.keys import EnvKey
from egoworld_resources.environments.fabric.requirements import has_git, names_of, parsed
from egoworld_resources.environments.generations import Ready, site_packages
from egoworld_resources.environments.licences import stated_licences
from egoworld_resources.environments.lock import linux_entries, write_lock
from egoworld_resources.environments.lockfile import PYTHONS, Lock, source_of
from egoworld_resources.environments.policy import Policy
from egoworld_resources.environments.records import damaged_files, stamp_of, unrecorded
from egoworld_resources.errors import BadConfiguration

PYPROJECT, UV_LOCK, PYLOCK = "pyproject.toml", "uv.lock", "pylock.toml"
LINUX = "sys_platform == 'linux' and platform_machine == 'x86_64'"
UNSOLVED = ("No solution found", "not found in the package registry", "no wheels with a matching", "is not compatible")
UNFIT = ("Using CPython", "hint: If you want to add the package regardless")
"""Lines of uv that tell a caller nothing, or advise an option that there is none of here."""
FULL = ("No space left on device", "os error 28")
VERSION = re.compile(r"==(3\.\d+)\.\*")


class UvBackend:
    """Resolves with `uv add`, `uv remove` and `uv lock`, without ever building a package that no git commit pins.

    Where the builder has a folder of wheels, such as that of a kit, packages come from it alone.
    """

    name = "uv"
    files = (PYPROJECT, UV_LOCK, PYLOCK)

    def __init__(self, building: Building, policy: Policy, *, bytecode: bool = False) -> None:
        """bytecode: compile what is installed, in the sandbox."""
        self._bytecode = bytecode
        self._building = building
        self._uv = building.uv
        self._policy = policy

    def start(self, folder: Path, env: str, wish: Wish) -> None:
        """A project of the name ``env`` with the packages that are wished for."""
        self._declare(folder, env, wish.python, [])
        self._wish(folder, wish)

    def add(self, folder: Path, packages: Sequence[str]) -> None:
        """`uv add`: a package that names no version gets today's as its lowest."""
        self._resolve(folder, ["add"], packages)

    def remove(self, folder: Path, packages: Sequence[str]) -> None:
        """`uv remove`."""
        known = {canonicalize_name(Requirement(text).name) for text in _project(folder)["dependencies"]}
        names = names_of(packages)
        if missing := set(names) - known:
            raise DependencyNotFound(missing, known)
        self._resolve(folder, ["remove"], names)

    def update(self, folder: Path, wish: Wish) -> None:
        """Begin with another list or Python, keeping locked versions where they still fit."""
        project = _project(folder)
        python = wish.python or _python(project)
        if wish.packages is not None or python != _python(project):
            packages = project["dependencies"] if wish.packages is None else ()
            self._declare(folder, project["name"], python, packages)
        self._wish(folder, wish)

    def digest(self, folder: Path) -> str:
        """Of the pylock: packages, versions and the hashes of their files."""
        return _lock(folder, _project(folder)).digest

    def declared(self, folder: Path) -> Declared:
        """From pyproject.toml and the pylock."""
        project = _project(folder)
        python, lock = _python(project), _lock(folder, project)
        return Declared(
            python_version=python,
            dependencies=tuple(project["dependencies"]),
            locked_versions=lock.packages(python),
            declaration=(folder / PYPROJECT).read_text(encoding="utf-8"),
            lock=(folder / UV_LOCK).read_text(encoding="utf-8"),
        )

    def install(self, folder: Path, generation: Path, held: int, *, trust: bool, operation: str) -> Ready:
        """Made by the same builder as the model envs."""
        project = _project(folder)
        git = [requirement.name for requirement in parsed(project["dependencies"]) if requirement.url]
        keep = [folder / name for name in self.files]
        content = Content(
            str(EnvKey.of_folder(generation.parent.name)),
            _lock(folder, project),
            project["requires-python"],
            sdists=git,
            keep=keep,
        )
        with _as_fabric_errors():
            ready = self._building.make(content, generation, held, trust=trust, operation=operation)
            if self._bytecode:
                compile_packages(generation, generation / ready.python)
        return ready

    def stamp(self, generation: Path) -> str:
        """Over path, size and time of every file of its packages, its interpreter and its scripts."""
        return stamp_of(generation)

    def licences(self, generation: Path) -> Mapping[tuple[str, str], str]:
        """SPDX expressions from the core metadata."""
        return stated_licences(site_packages(generation))

    def damaged(self, generation: Path) -> list[str]:
        """Every byte against RECORD, and files that no package brought."""
        packages = site_packages(generation)
        return [*(file for files in damaged_files(packages).values() for file in files), *unrecorded(packages)]

    def _declare(self, folder: Path, name: str, python: str, dependencies: Sequence[str]) -> None:
        """A project that is nothing but its dependencies, and the root of a workspace: uv looks at no folder above."""
        if python not in PYTHONS:
            raise PythonNotFound(f"Python {python!r} is not offered; known: {', '.join(PYTHONS)}", known=list(PYTHONS))
        project = {
            "name": name,
            "version": "0",
            "requires-python": f"=={python}.*",
            "dependencies": list(dependencies),
        }
        rules = {
            "package": False,
            "environments": [LINUX],
            "required-environments": [LINUX],
            "constraint-dependencies": list(self._policy.constraints),
            "workspace": {"members": []},
        }
        text = tomli_w.dumps({"project": project, "tool": {"uv": rules}})
        (folder / PYPROJECT).write_text(text, encoding="utf-8")

    def _wish(self, folder: Path, wish: Wish) -> None:
        upgrade = ["--upgrade"] if wish.upgrade else []
        self._resolve(folder, ["add" if wish.packages else "lock", *upgrade], wish.packages or ())

    def _resolve(self, folder: Path, command: Sequence[str], packages: Sequence[str] = ()) -> None:
        """Run a command of uv that changes the lock, then write the pylock that the policy allows of it."""
        wanted = parsed(packages) if command[0] != "remove" else []
        project = _project(folder)
        name, python = project["name"], project["requires-python"]
        builds = has_git([*wanted, *parsed(project["dependencies"])])
        with _as_fabric_errors():
            interpreter = self._building.interpreter(name, python, folder)
            wheels = self._building.wheels
            here = ["--no-index", "--find-links", wheels] if wheels else []
            options = ["--python", interpreter, *([] if builds else ["--no-build"]), *here]
            frozen = [] if command[0] == "lock" else ["--no-sync"]
            names = packages if command[0] == "remove" else [str(requirement) for requirement in wanted]
            ended = ["--", *names] if names else []
            with self._policy_named():
                self._uv.run([*command, *frozen, *options, *ended], folder, what="resolving packages")
            exported = "pylock.exported.toml"
            export = ["export", "--frozen", "--format", "pylock.toml", "--no-emit-project", "--quiet", "-o", exported]
            self._uv.run([*export, "--python", interpreter], folder, what="exporting the lock")
            resolved = read_toml(folder / exported).get("packages", [])
            entries = linux_entries(name, resolved, python=python, policy=self._policy)
            self._policy.check(name, entries)
        (folder / exported).unlink()
        declared = _project(folder)["dependencies"]
        write_lock(folder / PYLOCK, entries, made_by="egoworld env", python=python, source=source_of(declared, python))

    @contextmanager
    def _policy_named(self) -> Iterator[None]:
        """What uv calls a wish of the project may be one of the policy: say so."""
        try:
            yield
        except EnvBuildFailed as error:
            asked = [one for one in self._policy.constraints if Requirement(one).name in str(error)]
            if not asked:
                raise
            raise EnvBuildFailed(f"{error}\nenvs/policy.toml asks of every env: {', '.join(asked)}") from error


def _lock(folder: Path, project: Mapping[str, Any]) -> Lock:
    """The pylock of an env. Raises Damaged when it is not as it was resolved, or not from the declaration beside it."""
    try:
        lock = Lock.read(project["name"], folder / PYLOCK)
        lock.check(project["name"], source_of(project["dependencies"], project["requires-python"]), folder / PYPROJECT)
    except (BadConfiguration, KeyError, TypeError) as error:
        raise Damaged(
            f"{PYLOCK} of the env was changed since it was resolved, or {PYPROJECT} beside it; "
            "resolve anew with `egoworld env update`, which takes what the declaration says",
            files=[PYLOCK, PYPROJECT],
        ) from error
    return lock


def _project(folder: Path) -> dict[str, Any]:
    """Its declaration. Raises Damaged when it cannot be read."""
    try:
        project = read_toml(folder / PYPROJECT)["project"]
        return {name: project[name] for name in ("name", "requires-python", "dependencies")}
    except (BadDeclaration, KeyError, TypeError, OSError) as error:
        raise Damaged(
            f"{PYPROJECT} of the env cannot be read ({error}); delete the env and create it again", files=[PYPROJECT]
        ) from error


def _python(project: Mapping[str, Any]) -> str:
    return project["requires-python"].removeprefix("==").removesuffix(".*")


@contextmanager
def _as_fabric_errors() -> Iterator[None]:
    """Errors of uv and of the builder as what they mean to a caller: the exit status alone does not tell."""
    try:
        yield
    except IndexUnreachable as error:
        raise IndexSilent(str(error)) from error
    except PythonMissing as error:
        raise PythonNotFound(str(error)) from error
    except LockRefused as error:
        raise PolicyRefused(str(error)) from error
    except EnvDamaged as error:
        raise Damaged(str(error)) from error
    except BadConfiguration as error:  # such as a uv that is not there, or no program
        raise UvFailed(str(error)) from error
    except EnvBuildFailed as error:
        words = "\n".join(line for line in str(error).splitlines() if not line.startswith(UNFIT))
        if any(sign in words for sign in FULL):
            raise NoSpace(words) from error
        if any(sign in words for sign in UNSOLVED):
            raise ResolutionFailed(words) from error
        raise UvFailed(words) from error
