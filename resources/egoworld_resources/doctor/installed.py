"""What is installed of a model env, looked at without building anything."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from packaging.utils import canonicalize_name

from egoworld_resources.doctor.finding import Subject
from egoworld_resources.environments.building.generations import Generations, Ready
from egoworld_resources.environments.catalog import BASE, ModelEnv


def live(subject: Subject, env: ModelEnv) -> Path | None:
    """The live generation of an env, whole or not; None when nothing was built yet."""
    return Generations(subject.layout.envs / env.runs_in).current()


def interpreter(subject: Subject, env: ModelEnv) -> Path | None:
    """The Python of an env; None while it is not built."""
    if env.runs_in == BASE:
        return Path(sys.executable)
    generation = live(subject, env)
    ready = Ready.read(generation) if generation else None
    return generation / ready.python if generation and ready else None


def rebuilding(subject: Subject, env: ModelEnv) -> str:
    """What makes an env new, wherever home is."""
    return f"rm -rf {subject.layout.envs / env.runs_in}; the next run that uses it builds it again"


def unlike_the_lock(locked: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Packages of a lock that are missing or of another version, each with what there is."""
    others: list[str] = []
    for name, version in locked.items():
        there = found.get(canonicalize_name(name))
        if there != version:
            others.append(f"{name} {there or 'missing'} (locked: {version})")
    return others
