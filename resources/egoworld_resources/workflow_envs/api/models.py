"""What the API takes and gives: what a caller may send, and what is known of an env."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from egoworld_resources.workflow_envs import env_facts
from egoworld_resources.workflow_envs.api.tokens import Role
from egoworld_resources.workflow_envs.audit import Operation
from egoworld_resources.workflow_envs.code_sandbox import Outcome
from egoworld_resources.workflow_envs.config import LONGEST_RUN_S
from egoworld_resources.workflow_envs.env_facts import EnvFacts
from egoworld_resources.workflow_envs.fabric import Fabric
from egoworld_resources.workflow_envs.keys import PART, EnvKey
from egoworld_resources.workflow_envs.runs import CodeRun

KEY_PART: Mapping[str, Any] = {"pattern": f"^{PART.pattern}$", "minLength": 1, "maxLength": 64}
VERSION_PART: Mapping[str, Any] = {"pattern": f"^({PART.pattern})?$", "maxLength": 64}
"""What OpenAPI documents for parts of a key; the library refuses others with INVALID_KEY."""
KEY_PARTS = ("workflow_id", "node_id", "version_id")
PYTHON = r"^(none|3\.[0-9]{1,2}(\.[0-9]{1,2})?)?$"
MOST_PACKAGES = 500
LONGEST_CODE = 500_000
SHORTEST_RUN_S = 0.1
LONGEST_WAIT_S = 600

Requirement = Annotated[str, Field(max_length=1000, json_schema_extra={"format": "pep508", "minLength": 1})]
NAME = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"
Name = Annotated[str, Field(max_length=200, json_schema_extra={"format": "package-name", "pattern": NAME})]
Packages = Annotated[list[Requirement], Field(max_length=MOST_PACKAGES)]
PythonVersion = Annotated[str, Field(pattern=PYTHON, json_schema_extra={"format": "python-version"})]


class Asked(BaseModel):
    """A body of a request: no other fields, no conversions."""

    model_config = ConfigDict(extra="forbid", strict=True)


class CreateEnv(Asked):
    """A new env.

    requirements: the text of a requirements.txt, added to packages; conda_file: the text of a conda-lock.yml, an
    explicit lock or an environment.yml, for the backend conda and instead of packages; python_version: "none" for an
    env of conda packages without Python.
    """

    workflow_id: str = Field(json_schema_extra=dict(KEY_PART))
    node_id: str = Field(json_schema_extra=dict(KEY_PART))
    version_id: str = Field("", json_schema_extra=dict(VERSION_PART))
    python_version: PythonVersion = ""
    packages: Packages = []
    requirements: Annotated[str, Field(json_schema_extra={"format": "requirements-txt"})] = ""
    conda_file: str = ""
    backend: Literal["uv", "conda"] = "uv"


class UpdateEnv(Asked):
    """packages: the whole new list, null keeps it; python_version: "" keeps it; upgrade: newest versions that fit."""

    python_version: PythonVersion = ""
    packages: Packages | None = None
    upgrade: bool = False


class AddPackages(Asked):
    """Packages to add, with versions where they matter."""

    packages: Annotated[Packages, Field(min_length=1)]


class RemovePackages(Asked):
    """Packages to remove, by name alone."""

    packages: list[Name] = Field(min_length=1, max_length=MOST_PACKAGES)


class RunCode(Asked):
    """Python code for the interpreter of an env.

    timeout: seconds; null: EXECUTION_TIMEOUT of the service, and no longer than its EXECUTION_TIMEOUT_MAX. run_id: by
    which the run is listed and can be cancelled while it runs, one that no other run of the env has now; without it
    the run gets one. wait: seconds to wait for room when as much runs as the machine takes.
    """

    code: str = Field(max_length=LONGEST_CODE, json_schema_extra={"format": "python-code"})
    timeout: float | None = Field(
        None, ge=SHORTEST_RUN_S, allow_inf_nan=False, json_schema_extra={"example": 30, "maximum": LONGEST_RUN_S}
    )
    run_id: str = Field("", json_schema_extra=dict(VERSION_PART))
    wait: float = Field(0, ge=0, le=LONGEST_WAIT_S, allow_inf_nan=False)


class Cleanup(Asked):
    """idle_hours: null means CLEANUP_IDLE_HOURS of the service; dry_run: only say which, unless false."""

    idle_hours: float | None = Field(None, ge=0, le=1_000_000, allow_inf_nan=False)
    dry_run: bool = True


class Key(BaseModel):
    """Which env. version_id: "" without one."""

    workflow_id: str
    node_id: str
    version_id: str

    @classmethod
    def of(cls, key: EnvKey) -> Self:
        return cls.model_validate(named(key))


Status = Literal["ready", "damaged", "created", "updated", "unchanged", "synced"]


class Env(Key):
    """An env. bytes: of its packages, those shared with other envs included; created_at: seconds since 1970.

    pyproject_toml, uv_lock: the texts of its declaration and of its lock, whichever backend made them.
    """

    backend: str
    env_path: str
    python: str
    python_version: str
    status: Status
    generation: str
    lock_digest: str
    dependencies: list[str]
    locked_versions: dict[str, str]
    bytes: int
    created_at: float
    pyproject_toml: str
    uv_lock: str

    @classmethod
    def of_facts(cls, env: EnvFacts, status: Status | None = None) -> Env:
        """``status``: what was done to it, if that changed anything, else "unchanged"."""
        fields = _facts(env, status if env.changed else "unchanged")
        return cls(**fields, pyproject_toml=env.declared.declaration, uv_lock=env.declared.lock)


class Synced(Env):
    packages_installed: int


class Listed(Key):
    """An env of a list, without its texts. used_at: when the last operation on it ended."""

    backend: str
    env_path: str
    python_version: str
    status: Status
    lock_digest: str
    dependencies: list[str]
    packages: int
    bytes: int
    created_at: float
    used_at: float

    @classmethod
    def of_facts(cls, env: EnvFacts, used: Mapping[str, float]) -> Listed:
        fields = {name: value for name, value in _facts(env, None).items() if name in cls.model_fields}
        last = max(env.created_at, used.get(env.key.folder, 0.0))
        return cls(**fields, packages=len(env.declared.locked_versions), used_at=last)


class Envs(BaseModel):
    envs: list[Listed]


class Exported(Key):
    """Everything that makes an env again."""

    backend: str
    lock_digest: str
    pyproject_toml: str
    uv_lock: str


class CondaLock(Key):
    """The text of a conda-lock.yml of an env of conda packages."""

    conda_lock: str


class Dependencies(Key):
    dependencies: list[str]
    locked_versions: dict[str, str]


class PackageLicence(BaseModel):
    """licence: SPDX expression, "" where the package states none; refused: why the policy would not take it, or ""."""

    name: str
    version: str
    licence: str
    refused: str


class Licences(Key):
    """The licence of each package of an env. refused: how many the policy would not allow."""

    packages: list[PackageLicence]
    refused: int

    @classmethod
    def of_facts(cls, key: EnvKey, packages: Sequence[env_facts.PackageLicence]) -> Licences:
        fields = [PackageLicence(**vars(one)) for one in packages]
        return cls(**named(key), packages=fields, refused=sum(1 for one in fields if one.refused))


class Disk(Key):
    """Where the bytes of an env are.

    own_bytes: of files that nothing else links to; shared_bytes: of those that the cache or other envs hold too.
    """

    files: int
    own_bytes: int
    shared_bytes: int


class Deleted(Key):
    status: Literal["deleted"] = "deleted"


class Cleaned(BaseModel):
    dry_run: bool
    removed: list[Key]


class Ran(Key):
    """What came of code.

    exit_code: of the interpreter, or 128 + N when signal N ended it; killed_for: "" or the bound that was broken
    ("memory"), or "cancelled"; timeout: its limit in seconds; isolation: how it was isolated.
    """

    run_id: str
    timeout: float
    exit_code: int
    stdout: str
    stderr: str
    truncated: bool
    killed_for: str
    seconds: float
    isolation: list[str]

    @classmethod
    def of_outcome(cls, key: EnvKey, run_id: str, timeout: float, outcome: Outcome) -> Ran:
        fields = {name: getattr(outcome, name) for name in cls.model_fields if hasattr(outcome, name)}
        fields |= {"run_id": run_id, "timeout": timeout, "isolation": list(outcome.isolation)}
        return cls.model_validate({**named(key), **fields})


class RunFacts(Key):
    """A run in progress. seconds: how long it has run; timeout: how long it may; actor, origin: who started it."""

    run_id: str
    actor: str
    origin: str
    seconds: float
    timeout: float

    @classmethod
    def of_run(cls, run: CodeRun) -> Self:
        fields = {"run_id": run.id, "actor": run.actor, "origin": run.origin, "timeout": run.timeout_s}
        return cls.model_validate({**named(EnvKey(*run.parts)), **fields, "seconds": round(run.seconds, 3)})


class RunningCode(BaseModel):
    """The oldest first. most: how many may run at once on this machine, for all callers."""

    runs: list[RunFacts]
    most: int


class CancelledRun(RunFacts):
    status: Literal["cancelled"] = "cancelled"


class OperationFacts(Key):
    """One operation. Of a running one ended_at is null, result is "" and seconds are those until now."""

    id: str
    action: str
    actor: str
    origin: str
    details: dict[str, Any]
    running: bool
    started_at: float
    ended_at: float | None
    result: str
    message: str
    seconds: float
    lock_before: str
    lock_after: str

    @classmethod
    def of_operation(cls, one: Operation) -> OperationFacts:
        fields = {name: getattr(one, name) for name in cls.model_fields if hasattr(one, name)}
        seconds = max(0.0, time.time() - one.started_at) if one.seconds is None else one.seconds
        fields |= {"details": dict(one.details), "running": one.ended_at is None, "seconds": round(seconds, 3)}
        return cls.model_validate({**dict(zip(KEY_PARTS, one.parts, strict=True)), **fields})


class Operations(BaseModel):
    """Newest first. next: as ``before`` it gives the following page; null on the last."""

    operations: list[OperationFacts]
    next: str | None


class OperationLog(BaseModel):
    """The output of uv in an operation, its last part if it is long."""

    id: str
    text: str


class Me(BaseModel):
    """Whose token was sent, and what it may do."""

    name: str
    role: Role


class Health(BaseModel):
    """The audit database answers; isolation: by what means code is kept apart here, and what is missing."""

    status: Literal["ok"] = "ok"
    isolation: list[str]


def named(key: EnvKey) -> dict[str, str]:
    """The parts of a key by their names."""
    return dict(zip(KEY_PARTS, key.parts, strict=True))


def _facts(env: EnvFacts, status: Status | None) -> dict[str, Any]:
    declared = env.declared
    return {
        **named(env.key),
        "backend": env.backend,
        "env_path": str(env.env_path),
        "python": str(env.python),
        "python_version": declared.python_version,
        "status": status or env.status,
        "generation": env.generation,
        "lock_digest": env.lock_digest,
        "dependencies": list(declared.dependencies),
        "locked_versions": declared.locked_versions,
        "bytes": env.bytes,
        "created_at": round(env.created_at, 3),
    }


def listed(fabric: Fabric) -> list[Listed]:
    """All envs."""
    used = fabric.operations.last_used()
    return [Listed.of_facts(env, used) for env in fabric.list()]
