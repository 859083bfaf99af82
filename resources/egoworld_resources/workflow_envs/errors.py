"""What can go wrong with the envs of workflows: one code and one HTTP status each.

FabricError
├── InvalidKey             INVALID_KEY 400                 a name that cannot be part of a key
├── InvalidPackages        INVALID_PACKAGES 400            not a valid requirement, or one that no index serves
├── PolicyRefused          POLICY_REFUSED 403              envs/policy.toml does not allow it
├── RunNotYours            RUN_NOT_YOURS 403               somebody else's run was to be cancelled
├── EnvNotFound            ENV_NOT_FOUND 404
├── RunNotFound            RUN_NOT_FOUND 404               no run of that id, now or lately
├── DependencyNotFound     DEPENDENCY_NOT_FOUND 404        remove names a package that is not a dependency
├── EnvAlreadyExists       ENV_ALREADY_EXISTS 409
├── RunIdTaken             RUN_ID_TAKEN 409                a run of that id is on its way
├── RunEnded               RUN_ENDED 409                   it ended by itself before it could be cancelled
├── RunAlreadyCancelled    RUN_ALREADY_CANCELLED 409
├── RunCancelled           RUN_CANCELLED 409               it was stopped while it waited for room
├── ResolutionFailed       PACKAGE_RESOLUTION_FAILED 422   with the resolver's own words
├── BuildFailed            BUILD_FAILED 422                a package from git could not be built in the sandbox
├── PythonNotFound         PYTHON_NOT_FOUND 422
├── InvalidTimeout         INVALID_TIMEOUT 422             longer than the service lets code run, or no time at all
├── EnvLocked              ENV_LOCKED 423                  another operation holds the env
├── Busy                   TOO_MANY_REQUESTS 429           more at once than the machine allows; names when to retry
│   └── TooManyRuns        TOO_MANY_RUNS 429
├── AuditFailed            DB_AUDIT_ERROR 500              the audit could not be written; nothing was done
├── UvAbsent               UV_MISSING 500                  the program uv is not there or cannot be started
├── UvFailed               UV_EXECUTION_ERROR 500
├── CondaFailed            CONDA_EXECUTION_ERROR 500
├── Damaged                ENV_DAMAGED 500                 files differ from what was installed
├── NotAccessible          ENV_NOT_ACCESSIBLE 500          a folder of the envs is read-only, or another user's
├── IndexSilent            INDEX_UNREACHABLE 502
├── SandboxFailed          SANDBOX_FAILED 500              what should keep code apart did not work (sandbox.py)
├── RunTimeout             EXECUTION_TIMEOUT 504
└── NoSpace                DISK_FULL 507
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from egoworld_resources.errors import EgoworldError


class FabricError(EgoworldError):
    """Root of the tree."""

    code: ClassVar[str] = "FABRIC_ERROR"
    status: ClassVar[int] = 500

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


class InvalidKey(FabricError):
    """A part of a key has characters that no folder should have."""

    code, status = "INVALID_KEY", 400

    def __init__(self, field: str, value: str, allowed: str) -> None:
        super().__init__(f"{field} {value!r} is not allowed; it must be: {allowed}", field=field)


class InvalidPackages(FabricError):
    """A requirement cannot be used; the message quotes it."""

    code, status = "INVALID_PACKAGES", 400


class PolicyRefused(FabricError):
    """The policy does not allow what was resolved."""

    code, status = "POLICY_REFUSED", 403


class EnvNotFound(FabricError):
    """No env has this key."""

    code, status = "ENV_NOT_FOUND", 404

    def __init__(self, key: object) -> None:
        super().__init__(f"there is no env {key}; `egoworld env list` shows those that exist", env=str(key))


class RunNotYours(FabricError):
    """A run belongs to the caller that started it."""

    code, status = "RUN_NOT_YOURS", 403

    def __init__(self, run_id: str, owner: str) -> None:
        super().__init__(
            f"run {run_id} was started by {owner}, who alone may cancel it, or who runs `egoworld env cancel` at a "
            "terminal of the server",
            run_id=run_id,
        )


class RunNotFound(FabricError):
    """No code runs under this id, and none did lately."""

    code, status = "RUN_NOT_FOUND", 404

    def __init__(self, run_id: str, running: Iterable[str]) -> None:
        known = ", ".join(running) or "none"
        super().__init__(f"there is no run {run_id} in this env; running: {known}", run_id=run_id)


class RunIdTaken(FabricError):
    """Two runs with one id in one env would be indistinguishable."""

    code, status = "RUN_ID_TAKEN", 409

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} is on its way in this env already; choose another run_id", run_id=run_id)


class RunEnded(FabricError):
    """The code ended by itself before it was cancelled."""

    code, status = "RUN_ENDED", 409

    def __init__(self, run_id: str, result: str) -> None:
        super().__init__(f"run {run_id} has ended already ({result}); there is nothing to cancel", run_id=run_id)


class RunAlreadyCancelled(FabricError):
    """Somebody cancelled it before."""

    code, status = "RUN_ALREADY_CANCELLED", 409

    def __init__(self, run_id: str) -> None:
        super().__init__(f"run {run_id} was cancelled before; there is nothing left to do", run_id=run_id)


class RunCancelled(FabricError):
    """It was stopped while it waited for room: nothing was run."""

    code, status = "RUN_CANCELLED", 409


class InvalidTimeout(FabricError):
    """Code may not run that long here."""

    code, status = "INVALID_TIMEOUT", 422


class DependencyNotFound(FabricError):
    """Something to be removed is not among the declared dependencies."""

    code, status = "DEPENDENCY_NOT_FOUND", 404

    def __init__(self, missing: Iterable[str], declared: Iterable[str]) -> None:
        names = sorted(missing)
        super().__init__(
            f"the env does not depend on {', '.join(names)} itself; its dependencies: "
            f"{', '.join(sorted(declared)) or 'none'}",
            missing=names,
        )


class EnvAlreadyExists(FabricError):
    """The key is taken."""

    code, status = "ENV_ALREADY_EXISTS", 409

    def __init__(self, key: object) -> None:
        super().__init__(f"env {key} exists; add or remove packages, delete it, or name another version", env=str(key))


class ResolutionFailed(FabricError):
    """The resolver found no answer; its own words are carried."""

    code, status = "PACKAGE_RESOLUTION_FAILED", 422


class BuildFailed(FabricError):
    """A package from git could not be built in the sandbox; the last words of its build are carried."""

    code, status = "BUILD_FAILED", 422


class PythonNotFound(FabricError):
    """No interpreter of the requested version is installed; none is ever downloaded."""

    code, status = "PYTHON_NOT_FOUND", 422


class EnvLocked(FabricError):
    """Another operation holds the env."""

    code, status = "ENV_LOCKED", 423

    def __init__(self, key: object, what: str = "another operation changes it") -> None:
        super().__init__(f"env {key} is locked: {what}; try again, or wait (--wait or ?wait=SECONDS)", env=str(key))


class Busy(FabricError):
    """More requests at once than the machine allows. retry_after: seconds to wait before the next try."""

    code, status = "TOO_MANY_REQUESTS", 429

    def __init__(self, message: str, retry_after: int, **details: Any) -> None:
        super().__init__(f"{message}; try again in {retry_after} s", retry_after=retry_after, **details)


class TooManyRuns(Busy):
    """No room for another run, by number or by memory."""

    code = "TOO_MANY_RUNS"

    def __init__(self, running: int, most: int, memory_bytes: int, retry_after: int) -> None:
        super().__init__(
            f"{running} runs are on their way, and this machine takes {most} at once with {memory_bytes / 10**9:g} GB "
            "together (EXECUTION_RUNS, EXECUTION_RUNS_MEMORY_GB); wait for room (--wait, or the field wait)",
            retry_after,
            running=running,
            most=most,
        )


class AuditFailed(FabricError):
    """The audit database does not answer or does not take the row."""

    code, status = "DB_AUDIT_ERROR", 500


class UvAbsent(FabricError):
    """The program uv was removed or cannot be started; nothing was made, and all works again once it is back."""

    code, status = "UV_MISSING", 500


class UvFailed(FabricError):
    """uv ended with an error that is not about the packages; its own words are carried."""

    code, status = "UV_EXECUTION_ERROR", 500


class CondaFailed(FabricError):
    """The conda backend failed in a way that is not about the packages."""

    code, status = "CONDA_EXECUTION_ERROR", 500


class Damaged(FabricError):
    """Files of an env differ from what was installed."""

    code, status = "ENV_DAMAGED", 500


class NotAccessible(FabricError):
    """The machine does not let the service read or write a folder of the envs; nothing of them is lost."""

    code, status = "ENV_NOT_ACCESSIBLE", 500


class IndexSilent(FabricError):
    """The package index does not answer and the cache does not hold what is needed."""

    code, status = "INDEX_UNREACHABLE", 502


class RunTimeout(FabricError):
    """Code ran longer than it may; everything that it started is gone."""

    code, status = "EXECUTION_TIMEOUT", 504


class NoSpace(FabricError):
    """The disk is full; nothing half-written stays."""

    code, status = "DISK_FULL", 507
