"""Look through files that load as pickles, by modelscan in an env of its own, which loads none of them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from egoworld_resources.programs.environment import HOME, environment_of
from egoworld_resources.settings import Settings
from egoworld_resources.weights.clients import client_of
from egoworld_resources.weights.errors import WeightsRefused
from egoworld_resources.weights.manifest import format_of
from egoworld_resources.weights.pickles import begins_as_pickle
from egoworld_resources.weights.verify import files_below

SCANNER = "modelscan"
LONGEST_S = 3600.0


class Scanned(BaseModel):
    """What was found in one file. issues: operations that run code; fault: why it could not be looked through."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    issues: list[str]
    fault: str

    @property
    def clean(self) -> bool:
        """Whether it was looked through and has no such operation."""
        return not (self.issues or self.fault)

    def __str__(self) -> str:
        said = ", ".join(self.issues) or self.fault or "no operation that is known to run code"
        return f"{self.path}: {said}"


def pickles_below(folder: Path) -> list[Path]:
    """Files of a folder that load as pickles, by name or by how they begin; links are left out."""
    found = [folder / entry.path for entry in files_below(folder) if not entry.refusal]
    return [file for file in found if format_of(file.name) == "pickle" or begins_as_pickle(file)]


def scan(settings: Settings, files: Sequence[Path]) -> list[Scanned]:
    """Look through files, in their order. Raises WeightsRefused when the scanner ends early, and what building an env
    raises.
    """
    if not files:
        return []
    python, script = client_of(settings, SCANNER)
    command = [python, "-I", script, *(str(file.absolute()) for file in files)]
    environment = {**environment_of(), **HOME}
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=environment, timeout=LONGEST_S, cwd="/"
        )
        found = [Scanned.model_validate_json(line) for line in done.stdout.splitlines()]
    except subprocess.TimeoutExpired as error:
        raise WeightsRefused(f"{SCANNER} took longer than {LONGEST_S:g} s for {len(files)} files") from error
    except ValidationError as error:
        raise WeightsRefused(f"{SCANNER} said what cannot be read: {error.errors()[0]['msg']}") from error
    if done.returncode or len(found) != len(files):
        said = done.stderr.strip().splitlines()[-1:] or ["it gave no reason"]
        raise WeightsRefused(
            f"{SCANNER} ended with {done.returncode} after {len(found)} of {len(files)} files: {said[0]}"
        )
    return found
