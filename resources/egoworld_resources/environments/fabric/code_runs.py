"""Running code in envs."""

from __future__ import annotations

import hashlib

from egoworld_resources.environments.fabric.actors import Actor
from egoworld_resources.environments.fabric.base import FabricBase
from egoworld_resources.environments.fabric.errors import Damaged, PythonNotFound, RunTimeout
from egoworld_resources.environments.fabric.keys import EnvKey
from egoworld_resources.environments.fabric.sandbox import Bounds, Outcome, run_code

GB, MB = 10**9, 10**6
CODE_FAILED = "CODE_FAILED"
"""The result of a run whose code ended with another status than 0: the service did its part."""


class CodeRuns(FabricBase):
    """Running code in the envs."""

    def run(self, key: EnvKey, code: str, actor: Actor, *, timeout_s: float | None = None) -> Outcome:
        """Run Python code in an env, bounded and cut off from everything else. Raises RunTimeout."""
        limit = timeout_s or self.config.execution_timeout
        bounds = Bounds(
            timeout_s=limit,
            memory_bytes=int(self.config.memory_gb * GB),
            output_bytes=int(self.config.output_mb * MB),
            processes=self.config.processes,
            disk_bytes=int(self.config.disk_gb * GB),
        )
        details = {"code_sha256": hashlib.sha256(code.encode()).hexdigest(), "timeout": limit}
        with self.places.running(key):
            generation, ready, backend = self._live(key)
            if backend.stamp(generation) != ready.stamp:
                raise Damaged(f"env {key}: its files changed after the installation; sync it, verify names them")
            if not ready.python:
                raise PythonNotFound(f"env {key} has no Python; add one, such as: python 3.11.*")
            with self._written_down("run", key, actor, details, ready.lock_digest) as step, self.places.scratch() as at:
                step.lock_after = ready.lock_digest
                outcome = run_code(generation / ready.python, code, env_folder=generation, scratch=at, bounds=bounds)
                step.message = f"exit {outcome.exit_code}"
                if outcome.killed_for:
                    step.message += f", ended for its {outcome.killed_for}"
                step.result = step.result if outcome.exit_code == 0 else CODE_FAILED
                if outcome.timed_out:
                    raise RunTimeout(
                        f"the code ran longer than {limit:g} s and was ended with all that it started",
                        stdout=outcome.stdout,
                        stderr=outcome.stderr,
                    )
        return outcome
