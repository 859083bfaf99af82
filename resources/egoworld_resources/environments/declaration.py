"""What a folder under envs/ declares: the dependencies of a model env and the stages that it serves."""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from egoworld_resources.environments.errors import BadDeclaration

RUNNER_ENTRY = re.compile(r"^[A-Za-z_]\w*:[A-Za-z_]\w*$")
ENV_NAME = re.compile(r"^[a-z][a-z0-9_]{0,62}$")
OWN = "env"
"""What ``interpreter`` is for an env with an interpreter of its own."""

Param = bool | int | float | str | list[Any] | dict[str, Any]


def _requirement(text: str) -> str:
    try:
        Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(f"'{text}' is not a requirement: {error}") from error
    return text


def _specifier(text: str) -> str:
    SpecifierSet(text)
    return text


def _entry(text: str) -> str:
    if not RUNNER_ENTRY.match(text):
        raise ValueError(f"'{text}' must be module:Class, a module of this folder and a class in it")
    return text


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Weights(_Declared):
    """Weights: a file inside an installed package of the env, or a file or a model's folder below the model home."""

    name: str = Field(description="key under which the runner's setup receives the path")
    path: str = Field(description="path inside the package, or below the model home when no package is named")
    package: str | None = Field(None, description="import name of the installed package that carries the file")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of the file; of a folder's file with the parameters")
    revision: str = Field(
        "", pattern=r"^([0-9a-f]{40})?$", description="full commit at source; then path is a folder with its manifest"
    )
    licence: str = Field(description="SPDX id of the weights' licence")
    source: str = Field("", description="public address, or HUB:OWNER/NAME of a folder; said where it is missing")

    @property
    def digest(self) -> str:
        """What tells these weights from all others: the file's sha256; of a folder the commit counts as well."""
        return sha256(f"{self.sha256} {self.revision}".encode()).hexdigest() if self.revision else self.sha256


class StageModel(_Declared):
    """How one env serves one stage."""

    stage: str
    env: str
    folder: Path
    runner: Annotated[str, AfterValidator(_entry)] = Field(description="module:Class in the env's folder")
    device: Literal["cpu", "cuda"]
    licence: str = Field(min_length=1, description="SPDX id of the model's code; not stamped on what it makes")
    outputs: str = Field("", description="SPDX id that the model's terms put on what it makes; empty: none")
    label: str = Field("", description="written into every manifest, for instance 'classical'")
    params: dict[str, Param] = Field(default_factory=dict, description="parameters and their defaults")
    weights: tuple[Weights, ...] = ()
    endpoint: str = Field("", description="URL of a service that the runner asks; empty: it has no network")
    files: tuple[str, ...] = Field((), description="data files of the folder that the runner reads; globs")
    varies: dict[str, str] = Field(
        default_factory=dict,
        description="files whose bytes differ from run to run, their contents do not; and why",
    )

    @property
    def module(self) -> str:
        return self.runner.partition(":")[0]

    def data_files(self) -> list[Path]:
        """The files that ``files`` names, sorted; raises BadDeclaration for a pattern without a file."""
        found: set[Path] = set()
        for pattern in self.files:
            outside = Path(pattern).is_absolute() or ".." in Path(pattern).parts
            matched = [] if outside else [file for file in self.folder.glob(pattern) if file.is_file()]
            if not matched:
                raise self._wrong("files", f"'{pattern}' matches no file in this folder")
            found.update(matched)
        return sorted(found)

    def check(self) -> None:
        """Raise BadDeclaration unless the runner's module and the data files are there."""
        if not (self.folder / f"{self.module}.py").is_file():
            raise self._wrong("runner", f"{self.module}.py does not exist in this folder")
        self.data_files()

    def _wrong(self, field: str, reason: str) -> BadDeclaration:
        return BadDeclaration(self.folder / "pyproject.toml", f"tool.egoworld.stages.{self.stage}.{field}", reason)


class ModelEnv(_Declared):
    """One folder under envs/. Its dependencies are those of the env in whose interpreter it runs.

    interpreter: "env" for one of its own, "base" for ours, or the name of the env whose interpreter and lock it shares.
    """

    name: str
    folder: Path
    interpreter: str = Field(pattern=ENV_NAME.pattern)
    python: Annotated[str, AfterValidator(_specifier)] = Field(description="requires-python")
    dependencies: tuple[Annotated[str, AfterValidator(_requirement)], ...]
    sdists: tuple[str, ...] = Field(
        (),
        description="packages that exist only as source, built in the sandbox; dependencies name what they need",
    )
    overrides: tuple[Annotated[str, AfterValidator(_requirement)], ...] = ()
    stages: dict[str, StageModel]

    @property
    def runs_in(self) -> str:
        """Name of the env that has its interpreter and its lock: itself, "base", or the one that it shares."""
        return self.name if self.interpreter == OWN else self.interpreter

    @property
    def pyproject(self) -> Path:
        return self.folder / "pyproject.toml"


def read_toml(file: Path) -> dict[str, Any]:
    """Parse a TOML file; raises BadDeclaration naming the file and the line.

    Callers must not change it: files with the same text share one object, because locks are read again and again.
    """
    try:
        return _parsed(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadDeclaration(file, "file", error.strerror or str(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadDeclaration(file, "TOML", str(error)) from error


@lru_cache(64)
def _parsed(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def read_env(folder: Path) -> ModelEnv | None:
    """The model env that ``folder`` declares, or None when it declares none (the runner contract, a stray folder)."""
    file = folder / "pyproject.toml"
    if not file.is_file():
        return None
    document = read_toml(file)
    egoworld = _table(document, "tool.egoworld", file)
    if egoworld is None:
        return None
    _check_name(file, folder.name, document)
    project: dict[str, Any] = _table(document, "project", file) or {}
    uv: dict[str, Any] = _table(document, "tool.uv", file) or {}
    stages: dict[str, Any] = _table(document, "tool.egoworld.stages", file) or {}
    known = {"interpreter", "sdists", "stages"}
    if unknown := sorted(set(egoworld) - known):
        raise BadDeclaration(file, f"tool.egoworld.{unknown[0]}", f"unknown field; known: {', '.join(sorted(known))}")
    raw = {
        "name": folder.name,
        "folder": folder,
        "interpreter": egoworld.get("interpreter", OWN),
        "python": project.get("requires-python"),
        "dependencies": project.get("dependencies", []),
        "sdists": egoworld.get("sdists", []),
        "overrides": uv.get("override-dependencies", []),
        "stages": {stage: {**_stage(file, stage, table), "folder": folder} for stage, table in stages.items()},
    }
    try:
        env = ModelEnv.model_validate(raw)
    except ValidationError as error:
        raise _explained(file, error) from error
    _check_shared(env)
    return env


def _table(document: dict[str, Any], dotted: str, file: Path) -> dict[str, Any] | None:
    table = document
    for part in dotted.split("."):
        value: Any = table.get(part)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise BadDeclaration(file, dotted, "must be a table")
        table = cast("dict[str, Any]", value)
    return table


def _stage(file: Path, stage: str, table: Any) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise BadDeclaration(file, f"tool.egoworld.stages.{stage}", "must be a table")
    fields = cast("dict[str, Any]", table)
    if own := {"stage", "env", "folder"} & set(fields):
        raise BadDeclaration(file, f"tool.egoworld.stages.{stage}.{min(own)}", "unknown field")
    return {**fields, "stage": stage, "env": file.parent.name}


def _check_name(file: Path, name: str, document: dict[str, Any]) -> None:
    if not ENV_NAME.match(name):
        raise BadDeclaration(file, "folder", f"'{name}' must be lower-case letters, digits and _, as a Python name")
    declared: Any = (_table(document, "project", file) or {}).get("name")
    expected = canonicalize_name(f"egoworld-{name}")
    if not isinstance(declared, str) or canonicalize_name(declared) != expected:
        raise BadDeclaration(file, "project.name", f"must be '{expected}' in this folder, not {declared!r}")


def _check_shared(env: ModelEnv) -> None:
    if env.interpreter == OWN:
        return
    where = "the root pyproject.toml" if env.interpreter == "base" else f"pyproject.toml of '{env.interpreter}'"
    fields = {"project.dependencies": env.dependencies, "tool.egoworld.sdists": env.sdists}
    fields["tool.uv.override-dependencies"] = env.overrides
    for field, given in fields.items():
        if given:
            reason = f"must be empty with interpreter = '{env.interpreter}'; {where} has them"
            raise BadDeclaration(env.pyproject, field, reason)


FIELDS = {
    "python": "project.requires-python",
    "dependencies": "project.dependencies",
    "overrides": "tool.uv.override-dependencies",
}


def _explained(file: Path, error: ValidationError) -> BadDeclaration:
    first = error.errors()[0]
    head, *rest = (str(part) for part in first["loc"])
    field = ".".join([FIELDS.get(head, f"tool.egoworld.{head}"), *rest])
    known = ""
    if first["type"] == "extra_forbidden":
        fields = Weights.model_fields if "weights" in rest else StageModel.model_fields
        known = f"; known: {', '.join(sorted(set(fields) - {'stage', 'env', 'folder'}))}"
    got = f" (got {first['input']!r})" if isinstance(first["input"], str | int | float | bool) else ""
    return BadDeclaration(file, field, f"{first['msg'].removeprefix('Value error, ')}{known}{got}")
