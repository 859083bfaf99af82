"""Running code in envs, and ending it early."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from uuid import uuid4

from egoworld_resources.environments.building.generations import Ready
from egoworld_resources.workflow_envs.actors import Actor
from egoworld_resources.workflow_envs.audit import Operation
from egoworld_resources.workflow_envs.base import FabricBase, Step
from egoworld_resources.workflow_envs.code_sandbox import Bounds, Outcome, SandboxFailed, run_code
from egoworld_resources.workflow_envs.errors import (
    Damaged,
    FabricError,
    InvalidKey,
    InvalidTimeout,
    PythonNotFound,
    RunAlreadyCancelled,
    RunEnded,
    RunNotFound,
    RunNotYours,
    RunTimeout,
)
from egoworld_resources.workflow_envs.keys import PART, EnvKey
from egoworld_resources.workflow_envs.reconcile import CANCEL, RUN
from egoworld_resources.workflow_envs.runs import CodeRun, Runs, Stop

GB, MB = 10**9, 10**6
CODE_FAILED = "CODE_FAILED"
"""The result of a run whose code ended with another status than 0: the service did its part."""
CANCELLED = "CANCELLED"
"""The result of a run that somebody ended early."""
END_S = 30.0
"""How long the end of a cancelled run may take."""
RECENT = 500
"""Operations of an env among which a run that has ended is looked for."""
ANYBODYS = "cli"
"""Who sits at a terminal owns the folder of the envs, and may end every run."""


class CodeRuns(FabricBase):
    """Running code in the envs."""

    @property
    def runs(self) -> Runs:
        """What runs now, by any process."""
        return Runs(
            self.config.envs_base_path / ".runs", self.config.runs_at_once, int(self.config.runs_memory_gb * GB)
        )

    def run(
        self,
        key: EnvKey,
        code: str,
        actor: Actor,
        *,
        timeout_s: float | None = None,
        run_id: str = "",
        wait_s: float = 0,
        stop: Stop | None = None,
    ) -> Outcome:
        """Run Python code in an env, bounded and cut off from everything else.

        ``run_id``: by which it can be cancelled, one of its own when it is empty; ``wait_s``: for room among the runs;
        ``stop``: ends it early. Raises RunTimeout, InvalidTimeout, TooManyRuns, RunIdTaken. A run that was cancelled
        says so in its outcome.
        """
        bounds = self._bounds(timeout_s)
        run = self._begun(key, actor, bounds, run_id)
        digest = hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()
        details = {"run_id": run.id, "code_sha256": digest, "timeout": bounds.timeout_s}
        with self._disks_named(), self.places.running(key):
            generation, ready = self._runnable(key)
            with (
                self.runs.admitted(run, wait_s, stop) as stopping,
                self._written_down(RUN, key, actor, details, ready.lock_digest) as step,
                self.places.scratch() as at,
            ):
                step.lock_after = ready.lock_digest
                python = generation / ready.python
                outcome = run_code(python, code, env_folder=generation, scratch=at, bounds=bounds, cancel=stopping)
                _note(step, outcome, stopping)
                if outcome.timed_out:
                    raise RunTimeout(
                        f"the code ran longer than {bounds.timeout_s:g} s and was ended with all that it started",
                        run_id=run.id,
                        stdout=outcome.stdout,
                        stderr=outcome.stderr,
                    )
        return outcome

    def cancel(self, key: EnvKey, run_id: str, actor: Actor) -> CodeRun:
        """End a run early; when this returns, nothing of it is left and its end is in the audit.

        Raises RunNotFound, RunNotYours, RunAlreadyCancelled, RunEnded, EnvNotFound.
        """
        run = next((one for one in self.runs.running(key) if one.id == run_id), None)
        if run is None:
            raise self._gone(key, run_id)
        if not run.belongs_to(actor) and actor.origin != ANYBODYS:
            raise RunNotYours(run_id, run.actor)
        if self.runs.is_asked(run):
            raise RunAlreadyCancelled(run_id)
        with self.places.running(key), self._written_down(CANCEL, key, actor, {"run_id": run_id}):
            if not self.runs.ask(run, f"cancelled by {actor.name} ({actor.origin})"):
                raise RunAlreadyCancelled(run_id) if self.runs.is_asked(run) else self._gone(key, run_id)
            if not self.runs.ended(run, END_S):
                raise SandboxFailed(
                    f"run {run_id} was asked to stop {END_S:g} s ago and is still running; look at the machine"
                )
            last = self._last(key, run_id)
            if last is not None and last.result != CANCELLED:
                raise RunEnded(run_id, last.result)
        return run

    def _bounds(self, timeout_s: float | None) -> Bounds:
        limit = self.config.execution_timeout if timeout_s is None else timeout_s
        most = self.config.execution_timeout_max
        if not math.isfinite(limit) or not 0 < limit <= most:
            raise InvalidTimeout(
                f"code may not run {limit:g} s here: ask for more than 0 and at most {most:g} s "
                "(EXECUTION_TIMEOUT_MAX of the service)",
                most=most,
            )
        return Bounds(
            timeout_s=limit,
            memory_bytes=int(self.config.memory_gb * GB),
            output_bytes=int(self.config.output_mb * MB),
            processes=self.config.processes,
            disk_bytes=int(self.config.disk_gb * GB),
        )

    def _begun(self, key: EnvKey, actor: Actor, bounds: Bounds, run_id: str) -> CodeRun:
        if run_id and not PART.fullmatch(run_id):
            raise InvalidKey("run_id", run_id, PART.pattern)
        return CodeRun(
            id=run_id or uuid4().hex,
            parts=key.parts,
            actor=actor.name,
            origin=actor.origin,
            timeout_s=bounds.timeout_s,
            memory_bytes=bounds.memory_bytes,
        )

    def _runnable(self, key: EnvKey) -> tuple[Path, Ready]:
        """The live generation, unchanged since it was installed, with a Python."""
        generation, ready, backend = self._live(key)
        if backend.stamp(generation) != ready.stamp:
            raise Damaged(f"env {key}: its files changed after the installation; sync it, verify names them")
        if not ready.python:
            raise PythonNotFound(f"env {key} has no Python; add one, such as: python 3.11.*")
        return generation, ready

    def _gone(self, key: EnvKey, run_id: str) -> FabricError:
        """Why a run that does not run cannot be cancelled."""
        last = self._last(key, run_id)
        if last is None:
            self._left(key)
            return RunNotFound(run_id, [one.id for one in self.runs.running(key)])
        return RunAlreadyCancelled(run_id) if last.result == CANCELLED else RunEnded(run_id, last.result)

    def _last(self, key: EnvKey, run_id: str) -> Operation | None:
        """The newest run of that id that has ended."""
        history = self.operations.history(parts=key.parts, limit=RECENT)
        ended = (one for one in history if one.action == RUN and one.ended_at is not None)
        return next((one for one in ended if one.details.get("run_id") == run_id), None)


def _note(step: Step, outcome: Outcome, stopping: Stop) -> None:
    """Record in the audit how a run ended."""
    step.message = f"exit {outcome.exit_code}"
    if outcome.killed_for == "cancelled":
        step.message, step.result = stopping.why, CANCELLED
    elif outcome.killed_for:
        step.message += f", ended for its {outcome.killed_for}"
    if outcome.exit_code != 0 and step.result == "ok":
        step.result = CODE_FAILED
