"""Weights on this machine: inside an env's packages, below the model home, or fetched from the bucket of weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from egoworld_resources.environments.declaration import Weights
from egoworld_resources.errors import Terminal
from egoworld_resources.manifest import file_digest

if TYPE_CHECKING:
    from egoworld_resources.weights.bucket import WeightsBucket


class WeightsMissing(Terminal):
    """A weights file is absent or not the one that the env declares."""


def local_weights(declared: Sequence[Weights], python: Path, bucket: WeightsBucket | None = None) -> dict[str, Path]:
    """Name to verified path. python: interpreter of the env, whose packages may carry weights.

    Files outside packages lie below EGOWORLD_MODEL_HOME (default ./models); what is not there is fetched from
    ``bucket``. Raises WeightsMissing naming the file, what was expected and the fix.
    """
    return {weights.name: _verified(weights, python, bucket) for weights in declared}


def model_home() -> Path:
    """Where weights outside packages lie: EGOWORLD_MODEL_HOME, default ./models."""
    return Path(os.environ.get("EGOWORLD_MODEL_HOME", "models")).resolve()


def _verified(weights: Weights, python: Path, bucket: WeightsBucket | None) -> Path:
    path = _folder(weights, python) / weights.path
    if not path.is_file() and bucket and weights.package is None:
        fetched = bucket.fetch(weights)
        if fetched is None:
            raise WeightsMissing(
                f"weights '{weights.name}': neither {path} nor {bucket.where(weights.sha256)} exists; put the file "
                f"with sha256 {weights.sha256} there: egoworld weights push {path.name}, with keys that may write there"
            )
        return fetched
    if not path.is_file():
        raise WeightsMissing(
            f"weights '{weights.name}': {path} does not exist; put the file with sha256 {weights.sha256} there"
        )
    found = file_digest(path)
    if found != weights.sha256:
        raise WeightsMissing(
            f"weights '{weights.name}': {path} has sha256 {found}, declared is {weights.sha256}; fetch it again"
        )
    return path


def _folder(weights: Weights, python: Path) -> Path:
    if weights.package is None:
        return model_home()
    root = python.parent.parent
    found = sorted(root.glob(f"lib/python3*/site-packages/{weights.package}"))
    if not found:
        raise WeightsMissing(
            f"weights '{weights.name}': package '{weights.package}' is not installed in {root}; build the env again"
        )
    return found[0]
