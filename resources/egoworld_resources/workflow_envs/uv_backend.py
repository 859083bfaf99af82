"""Envs of wheels: a uv project without a build of its own, its lock as the policy allows it, installed by pylock."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomli_w
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from egoworld_resources.artifacts.manifest import file_digest
from egoworld_resources.environments.building.generations import Ready, site_packages
from egoworld_resources.environments.building.installed_files import damaged_files, stamp_of, unrecorded
from egoworld_resources.environments.building.venv import Building, Content
from egoworld_resources.environments.declaration import read_toml
from egoworld_resources.environments.errors import (
    BadDeclaration,
    EnvBuildFailed,
    EnvDamaged,
    IndexUnreachable,
    LockRefused,
    PythonMissing,
    UvMissing,
)
from egoworld_resources.environments.locking.lockfile import PYTHONS, Lock, source_of
from egoworld_resources.environments.locking.resolve import linux_entries, write_lock
from egoworld_resources.environments.policy.licences import stated_licences
from egoworld_resources.environments.policy.rules import Policy
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.leases.locks import locked
from egoworld_resources.workflow_envs.backends import Declared, Wish
from egoworld_resources.workflow_envs.building_wheels import MakeEnv, WheelBuilder
from egoworld_resources.workflow_envs.bytecode import compile_packages
from egoworld_resources.workflow_envs.errors import (
    Damaged,
    DependencyNotFound,
    IndexSilent,
    NoSpace,
    NotAccessible,
    PolicyRefused,
    PythonNotFound,
    ResolutionFailed,
    UvAbsent,
    UvFailed,
)
from egoworld_resources.workflow_envs.from_git import FOLDER, Parts, as_wheels, wheels_for
from egoworld_resources.workflow_envs.keys import EnvKey
from egoworld_resources.workflow_envs.requirements import names_of, parsed
from egoworld_resources.workflow_envs.sources import (
    check_entries,
    check_indexes,
    judge_of,
    refuse_contradictions,
    rule_of,
)

PYPROJECT, UV_LOCK, PYLOCK = "pyproject.toml", "uv.lock", "pylock.toml"
LINUX = "sys_platform == 'linux' and platform_machine == 'x86_64'"
UNSOLVED = ("No solution found", "not found in the package registry", "no wheels with a matching", "is not compatible")
UNFIT = ("Using CPython", "hint: If you want to add the package regardless")
"""Lines of uv that do not help a caller, or advise an option that does not exist here."""
FULL = ("No space left on device", "os error 28")
SHUT = ("(os error 1)", "(os error 13)", "(os error 30)")
VERSION = re.compile(r"==(3\.\d+)\.\*")


class UvBackend:
    """Resolves with `uv add`, `uv remove` and `uv lock`, without ever building a package that no git commit pins.

    Where the builder has a folder of wheels, such as that of a kit, packages come from it alone.
    """

    name = "uv"
    files = (PYPROJECT, UV_LOCK, PYLOCK)
    folders = (FOLDER,)

    def __init__(self, building: Building, policy: Policy, *, bytecode: bool = False) -> None:
        """bytecode: compile what is installed, in the sandbox."""
        self._bytecode = bytecode
        self._uv = building.uv.judged_by(judge_of(policy))
        self._building = Building(self._uv, building.wheels)
        self._policy = policy

    def start(self, folder: Path, env: str, wish: Wish) -> None:
        """A project of the name ``env`` with the packages that are wished for."""
        self._declare(folder, env, wish.python, [])
        self._wish(folder, wish)

    def add(self, folder: Path, packages: Sequence[str]) -> None:
        """`uv add`: a package that names no version gets today's as its lowest."""
        _lock(folder, _project(folder))
        self._resolve(folder, ["add"], packages)

    def remove(self, folder: Path, packages: Sequence[str]) -> None:
        """`uv remove`."""
        _lock(folder, _project(folder))
        known = {canonicalize_name(Requirement(text).name) for text in _project(folder)["dependencies"]}
        names = names_of(packages)
        if missing := set(names) - known:
            raise DependencyNotFound(missing, known)
        self._resolve(folder, ["remove"], names)

    def update(self, folder: Path, wish: Wish) -> None:
        """Begin with another list or Python, keeping locked versions where they still fit."""
        project = _project(folder)
        python = wish.python or _python(project)
        try:
            _lock(folder, project)
        except Damaged:  # the declaration counts; nothing of a lock that somebody edited does
            for name in (PYLOCK, UV_LOCK):
                (folder / name).unlink(missing_ok=True)
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
        keep = [folder / name for name in self.files]
        content = Content(
            str(EnvKey.of_folder(generation.parent.name)),
            _lock(folder, project),
            project["requires-python"],
            keep=keep,
        )
        with _as_fabric_errors():
            ready = self._building.make(content, generation, held, trust=trust, operation=operation)
            if self._bytecode:
                compile_packages(generation, generation / ready.python)
        for name in self.folders:
            if (folder / name).is_dir():
                shutil.copytree(folder / name, generation / name)
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

    def _declare(
        self, folder: Path, name: str, python: str, dependencies: Sequence[str], built: Mapping[str, str] | None = None
    ) -> None:
        """A project that is nothing but its dependencies, and the root of a workspace: uv looks at no folder above.

        built: wheels below ``folder`` by the names of the packages that are taken from them.
        """
        if python not in PYTHONS:
            raise PythonNotFound(f"Python {python!r} is not offered; known: {', '.join(PYTHONS)}", known=list(PYTHONS))
        project = {
            "name": name,
            "version": "0",
            "requires-python": f"=={python}.*",
            "dependencies": list(dependencies),
        }
        rules: dict[str, Any] = {
            "package": False,
            "environments": [LINUX],
            "required-environments": [LINUX],
            "constraint-dependencies": list(self._policy.constraints),
            "workspace": {"members": []},
        }
        if built:
            rules["sources"] = {package: {"path": path} for package, path in built.items()}
        text = tomli_w.dumps({"project": project, "tool": {"uv": rules}})
        (folder / PYPROJECT).write_text(text, encoding="utf-8")

    def _wish(self, folder: Path, wish: Wish) -> None:
        upgrade = ["--upgrade"] if wish.upgrade else []
        self._resolve(folder, ["add" if wish.packages else "lock", *upgrade], wish.packages or ())

    def _resolve(self, folder: Path, command: Sequence[str], packages: Sequence[str] = ()) -> None:
        """Run a command of uv that changes the lock, then write the pylock that the policy allows of it.

        uv never builds and sees no address: what comes from git is built first, and resolved as a wheel.
        """
        wanted = parsed(packages) if command[0] != "remove" else []
        if not self._building.wheels:
            check_indexes(self._policy)
        refuse_contradictions(self._policy, wanted)
        project = _project(folder)
        before = parsed(project["dependencies"])
        declared = Parts.after(before, wanted, removed=packages if command[0] == "remove" else ())
        python = _python(project)
        wheels = self._wheels(declared, folder, python)
        by_address = bool(declared.git) or any(one.url for one in before)
        if by_address:
            self._declare(folder, project["name"], python, declared.bare(), wheels)
        words = [str(one) for one in wanted if not one.url]
        if command[0] == "remove":
            words = [name for name in packages if name in {canonicalize_name(one.name) for one in declared.others}]
        with _as_fabric_errors():
            entries = as_wheels(self._resolved(folder, project, command, words), declared.git)
            entries = linux_entries(project["name"], entries, python=project["requires-python"], policy=self._policy)
            self._policy.check(project["name"], entries)
        check_entries(self._policy, entries)
        if by_address:
            again = declared.restored(_project(folder)["dependencies"])
            self._declare(folder, project["name"], python, again)
        self._write_lock(folder, entries, project["requires-python"])

    def _wheels(self, declared: Parts, folder: Path, python: str) -> dict[str, str]:
        """Path of a wheel below ``folder`` for each package that comes from git."""
        if not declared.git:
            return {}
        file = folder / PYLOCK
        same = file.is_file() and Lock.read(folder.name, file).requires_python == f"=={python}.*"
        locked = Lock.read(folder.name, file).entries if same else []

        maker = self.env_maker(python, slots=folder.parent.parent)
        return wheels_for(declared.git, folder, locked, WheelBuilder(self._policy, maker))

    def env_maker(self, python: str, slots: Path) -> MakeEnv:
        """What makes the env of a build: from wheels alone, as the policy has it. slots: root that it is made in."""

        def make(at: Path, requires: Sequence[str]) -> Path:
            at.mkdir()
            self._declare(at, "build", python, requires)
            self._resolve(at, ["lock"])
            project = _project(at)
            content = Content("build", _lock(at, project), project["requires-python"])
            with _as_fabric_errors(), locked(at / ".lock") as held:
                ready = self._building.make(content, at / "env", held, slots=slots)
            return at / "env" / ready.python

        return make

    def _resolved(
        self, folder: Path, project: Mapping[str, Any], command: Sequence[str], words: Sequence[str]
    ) -> list[dict[str, Any]]:
        """The packages that uv finds for a command on the project in ``folder``."""
        interpreter = self._building.interpreter(project["name"], project["requires-python"], folder)
        wheels = self._building.wheels
        here = ["--no-index", "--find-links", wheels] if wheels else []
        frozen = [] if command[0] == "lock" or not words else ["--no-sync"]
        verb = [*command] if words else ["lock", *command[1:]]
        ended = ["--", *words] if words else []
        with self._policy_named():
            options = ["--python", interpreter, "--no-build", *here]
            self._uv.run([*verb, *frozen, *options, *ended], folder, what="resolving packages")
        exported = folder / "pylock.exported.toml"
        export = ["export", "--frozen", "--format", "pylock.toml", "--no-emit-project", "--quiet", "-o", exported.name]
        self._uv.run([*export, "--python", interpreter], folder, what="exporting the lock")
        found = read_toml(exported).get("packages", [])
        exported.unlink()
        return found

    def _write_lock(self, folder: Path, entries: list[dict[str, Any]], python: str) -> None:
        source = source_of(_project(folder)["dependencies"], python)
        facts = {"made_by": "egoworld env", "python": python, "source": source}
        write_lock(folder / PYLOCK, entries, **facts, resolved=file_digest(folder / UV_LOCK))

    @contextmanager
    def _policy_named(self) -> Iterator[None]:
        """What uv calls a wish of the project may be one of the policy: say so, and how a site allows less."""
        try:
            yield
        except EnvBuildFailed as error:
            broken = [one for one in self._policy.constraints if Requirement(one).name in str(error)]
            if not broken:
                raise
            rules = "\n".join(rule_of(self._policy, one) for one in broken)
            raise EnvBuildFailed(
                f"{error}\nenvs/policy.toml asks of every env: {', '.join(broken)}\n{rules}"
            ) from error


def _lock(folder: Path, project: Mapping[str, Any]) -> Lock:
    """The pylock of an env. Raises Damaged when it, uv.lock or the declaration is not as it was resolved."""
    try:
        lock = Lock.read(project["name"], folder / PYLOCK)
        lock.check(project["name"], source_of(project["dependencies"], project["requires-python"]), folder / PYPROJECT)
        whole = lock.resolved == file_digest(folder / UV_LOCK)
    except (BadConfiguration, KeyError, TypeError, AttributeError, OSError) as error:
        raise _edited() from error
    if not whole:
        raise _edited()
    return lock


def _edited() -> Damaged:
    return Damaged(
        f"{PYLOCK} or {UV_LOCK} of the env was changed since it was resolved, or {PYPROJECT} beside it; "
        "resolve again with `egoworld env update`, which follows the declaration",
        files=[PYLOCK, UV_LOCK, PYPROJECT],
    )


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
    """Errors of uv and of the builder as what they mean to a caller: the exit status alone is not enough."""
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
    except UvMissing as error:
        raise UvAbsent(str(error)) from error
    except BadConfiguration as error:
        raise UvFailed(str(error)) from error
    except EnvBuildFailed as error:
        words = "\n".join(line for line in str(error).splitlines() if not line.startswith(UNFIT))
        if any(sign in words for sign in FULL):
            raise NoSpace(words) from error
        if any(sign in words for sign in SHUT):
            raise NotAccessible(f"{words}\nMake the folder that is named writable for the service") from error
        if any(sign in words for sign in UNSOLVED):
            raise ResolutionFailed(words) from error
        raise UvFailed(words) from error
