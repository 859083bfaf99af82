"""Files of weights that load as pickles, and so may run code: which endings they have, which are excepted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from egoworld_resources.environments.declaration import ModelEnv
from egoworld_resources.environments.policy.rules import Breach, Policy

PICKLES = ("pt", "pth", "ckpt", "bin", "pkl", "pickle", "joblib")
"""Endings of names; what loads as a pickle in one library and not in another counts as one."""


def pickle_breaches(env: ModelEnv, policy: Policy) -> Iterator[Breach]:
    """Weights that an env declares, load as pickles and are not excepted by their sha256."""
    for model in env.stages.values():
        for weights in model.weights:
            ending = PurePosixPath(weights.path).suffix.lower().lstrip(".")
            if ending in PICKLES and weights.sha256 not in policy.pickles:
                yield Breach(
                    "pickles",
                    f"weights {weights.name} load as a pickle, which can run code",
                    f"take them as safetensors, or except {weights.sha256} in [pickles] of envs/policy.toml",
                )
