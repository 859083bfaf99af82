"""A wheel of a git commit or an sdist, built in the sandbox: no network, no files of ours, an allowed backend.

Outside it only data is handled: files of the source, its [build-system], the wheels that this asks for, and at the end
the bytes of one wheel, whose metadata is read and compared before anything is installed.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tomllib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import Any, Protocol, cast

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from egoworld_resources.environments.policy.rules import Policy
from egoworld_resources.programs.output import words_of
from egoworld_resources.programs.redaction import redacted
from egoworld_resources.sandbox.means import MOUNT, NETWORK
from egoworld_resources.workflow_envs.code_sandbox import Bounds, SandboxFailed, capabilities, run_code
from egoworld_resources.workflow_envs.errors import BuildFailed, FabricError, PolicyRefused
from egoworld_resources.workflow_envs.git_trees import GitTrees, check_source, unpack
from egoworld_resources.workflow_envs.requirements import GitSource, parsed

SETUPTOOLS = "setuptools.build_meta"
IN_TREE = "in-tree"
"""In the policy: backends that a commit brings itself (backend-path)."""
SOURCE = "egoworld-source"
LARGEST_WHEEL = 256 << 20
LARGEST_TEXT = 1 << 20
GB = 10**9

PROGRAM = """
import base64, importlib, json, os, shutil, sys
plan = json.loads({plan!r})
out = os.dup(1)
os.dup2(2, 1)
shutil.copytree(plan["source"], "source", symlinks=True)
os.chdir(os.path.join("source", plan["subdirectory"]))
os.environ["SOURCE_DATE_EPOCH"] = "315532800"
sys.path[:0] = [os.path.join(os.getcwd(), path) for path in plan["path"]]
name, _, inner = plan["backend"].partition(":")
backend = importlib.import_module(name)
for part in filter(None, inner.split(".")):
    backend = getattr(backend, part)
if plan["asks"]:
    ask = getattr(backend, "get_requires_for_build_wheel", None)
    answer = json.dumps(dict(requires=list(ask(None)) if ask else []))
else:
    os.mkdir("/tmp/wheel")
    made = backend.build_wheel("/tmp/wheel", None)
    with open(os.path.join("/tmp/wheel", made), "rb") as file:
        answer = json.dumps(dict(name=made, wheel=base64.b64encode(file.read()).decode()))
with os.fdopen(out, "w") as output:
    output.write(answer)
"""

MakeEnv = Callable[[Path, Sequence[str]], Path]
"""From a folder and requirements, the interpreter of a new env there that has them, from allowed wheels alone."""


class Source(Protocol):
    """What is built; its text names it in errors. subdirectory: where its pyproject.toml is, "" for the top."""

    @property
    def subdirectory(self) -> str: ...


@dataclass(frozen=True)
class BuildSystem:
    """Of a pyproject.toml: https://packaging.python.org/en/latest/specifications/pyproject-toml"""

    backend: str
    requires: tuple[str, ...]
    path: tuple[str, ...]


@dataclass(frozen=True)
class BuiltWheel:
    """A wheel and its metadata."""

    file: str
    content: bytes
    requires: tuple[Requirement, ...] = ()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


class WheelBuilder:
    """Builds what the policy lets be built."""

    def __init__(self, policy: Policy, make_env: MakeEnv) -> None:
        self._policy = policy
        self._make_env = make_env
        self._trees = GitTrees(policy.private_sources)

    def build(self, name: str, source: GitSource, work: Path) -> BuiltWheel:
        """A wheel of the package ``name``; work: an empty folder on the partition of the envs.

        Raises PolicyRefused when this may not be built, BuildFailed with the last words of who built.
        """
        check_source(source, self._policy.private_sources)
        if self._policy.builds.git != "sandbox":
            raise _refused(source, "builds.git", "packages from git are not built here", '[builds]\ngit = "sandbox"')
        _refuse_an_open_sandbox(source)
        tree = work / "tree"
        self._trees.fetch(source, tree)
        return self._built(name, source, tree, work)

    def build_sdist(self, name: str, source: Source, fetch: Callable[[Path], None], work: Path) -> BuiltWheel:
        """As ``build``, of a source archive that ``fetch`` writes to a path; the archive holds one folder."""
        if self._policy.builds.sdists != "sandbox":
            raise _refused(source, "builds.sdists", "sdists are not built here", '[builds]\nsdists = "sandbox"')
        _refuse_an_open_sandbox(source)
        fetch(work / "sdist")
        unpack(work / "sdist", work / "unpacked", source)
        inside = [one for one in (work / "unpacked").iterdir() if one.is_dir() and not one.is_symlink()]
        if len(inside) != 1:
            raise BuildFailed(f"{source} is not an sdist: its archive holds {len(inside)} folders at its top, not one")
        return self._built(name, source, inside[0].rename(work / "tree"), work)

    def _built(self, name: str, source: Source, tree: Path, work: Path) -> BuiltWheel:
        system = self._system(source, tree)
        required = self._ran(source, system, work, tree, system.requires, asks=True).get("requires")
        more = [str(one) for one in cast("list[Any]", required)] if isinstance(required, list) else []
        made = self._ran(source, system, work, tree, [*system.requires, *more], asks=False)
        return _checked(name, source, made)

    def _system(self, source: Source, tree: Path) -> BuildSystem:
        system = _build_system(source, tree)
        allowed = self._policy.builds.backends
        wanted = IN_TREE if system.path else system.backend.removesuffix(":__legacy__")
        if wanted not in allowed:
            known = ", ".join(allowed) or "none"
            text = f"[builds]\nbackends = {json.dumps([*allowed, wanted])}"
            raise _refused(source, "builds.backends", f"it is built by {wanted}; allowed: {known}", text)
        return system

    def _ran(
        self, source: Source, system: BuildSystem, work: Path, tree: Path, requires: Sequence[str], *, asks: bool
    ) -> dict[str, Any]:
        """What the backend answers, in an env of its own each time: an env with packages is never installed into."""
        env = work / ("asks" if asks else "builds")
        python = self._make_env(env, requires)
        shown = python.parents[1] / SOURCE
        tree.rename(shown)
        try:
            return self._contained(source, system, work, python, asks=asks)
        finally:
            shown.rename(tree)

    def _contained(
        self, source: Source, system: BuildSystem, work: Path, python: Path, *, asks: bool
    ) -> dict[str, Any]:
        rules, env = self._policy.builds, python.parents[1]
        plan = {"source": str(env / SOURCE), "subdirectory": source.subdirectory, "asks": asks}
        plan |= {"backend": system.backend, "path": system.path}
        bounds = Bounds(
            timeout_s=rules.seconds,
            memory_bytes=int(rules.memory_gb * GB),
            output_bytes=LARGEST_WHEEL * 4 // 3 + LARGEST_TEXT,
            processes=256,
            disk_bytes=int(rules.disk_gb * GB),
        )
        scratch = work / f"{env.name}-scratch-{asks}"
        scratch.mkdir()
        with words_of(["build", str(source), *(["(what it requires)"] if asks else [])]) as log:
            code = PROGRAM.format(plan=json.dumps(plan))
            done = run_code(python, code, env_folder=env, scratch=scratch, bounds=bounds)
            log.file.write(redacted(done.stderr[-LARGEST_TEXT:]).encode(errors="replace"))
        if done.exit_code or done.killed_for:
            why = f"ended for its {done.killed_for}" if done.killed_for else f"exit status {done.exit_code}"
            raise BuildFailed(f"{source} could not be built in the sandbox ({why}): {redacted(done.stderr)[-2000:]}")
        try:
            answer: Any = json.loads(done.stdout)
        except (ValueError, RecursionError) as error:
            raise BuildFailed(f"{source}: what its build answers is not read: {error}") from error
        if not isinstance(answer, dict):
            raise BuildFailed(f"{source}: its build answers nothing")
        return cast("dict[str, Any]", answer)


def _refuse_an_open_sandbox(source: Source) -> None:
    if lacking := {MOUNT, NETWORK} - set(capabilities().allowed):
        raise SandboxFailed(f"{source} is not built: this machine's sandbox lacks {', '.join(sorted(lacking))}")


def _build_system(source: Source, tree: Path) -> BuildSystem:
    file = tree / source.subdirectory / "pyproject.toml"
    if not file.resolve().is_relative_to(tree.resolve()):
        raise BuildFailed(f"{source}: pyproject.toml leads out of the commit")
    try:
        text = file.read_bytes()[: LARGEST_TEXT + 1] if file.is_file() else b""
        found: Any = tomllib.loads(text.decode()) if len(text) <= LARGEST_TEXT else None
        table: Any = found.get("build-system") or {"requires": ["setuptools"]}
        path, backend = table.get("backend-path", []), table.get("build-backend", f"{SETUPTOOLS}:__legacy__")
        wanted = [path, table["requires"], [backend]]
        if not all(isinstance(one, list) and all(isinstance(text, str) for text in one) for one in wanted):
            raise TypeError("[build-system] holds texts")
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BuildFailed(f"{source}: its pyproject.toml cannot be used: {error}") from error
    requires = [str(one) for one in parsed(table["requires"]) if not _by_address(source, one)]
    return BuildSystem(backend, tuple(requires), tuple(path))


def _by_address(source: Source, wanted: Requirement) -> bool:
    if wanted.url:
        raise BuildFailed(f"{source} asks for {wanted.name} by an address; what a build requires comes from the index")
    return False


def _checked(name: str, source: Source, made: dict[str, Any]) -> BuiltWheel:
    """The wheel, when it is one of this package that asks for nothing by an address. Raises BuildFailed."""
    try:
        file, content = str(made["name"]), base64.b64decode(made["wheel"], validate=True)
        called, version, _, _ = parse_wheel_filename(file)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            texts = [one for one in archive.infolist() if one.filename.endswith(".dist-info/METADATA")]
            if len(texts) != 1 or texts[0].file_size > LARGEST_TEXT or "/" in file:
                raise ValueError("it has no METADATA")
            metadata = HeaderParser().parsestr(archive.read(texts[0]).decode(errors="replace"))
        requires = [Requirement(text) for text in metadata.get_all("Requires-Dist", [])]
        stated = canonicalize_name(str(metadata["Name"])), str(metadata["Version"])
    except (KeyError, ValueError, TypeError, InvalidWheelFilename, InvalidRequirement, zipfile.BadZipFile) as error:
        raise BuildFailed(f"{source}: what was built is not a wheel: {error}") from error
    if called != canonicalize_name(name) or stated != (called, str(version)):
        raise BuildFailed(f"{source} is {stated[0]} {stated[1]} in {file}, not {name}; ask for it by its own name")
    if address := next((one for one in requires if one.url), None):
        raise BuildFailed(f"{source} requires {address.name} by an address; name that package yourself beside it")
    return BuiltWheel(file, content, tuple(requires))


def _refused(source: Source, rule: str, why: str, allows: str) -> FabricError:
    return PolicyRefused(
        f"{source}: {why} (rule {rule} of envs/policy.toml). A site allows it in its own policy.toml:\n{allows}",
        rule=rule,
    )
