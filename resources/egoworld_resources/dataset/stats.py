"""Statistics of several parts of a dataset as those of the whole, in LeRobot's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from egoworld_runner.lerobot import QUANTILES

Stats = Mapping[str, Any]


def merged(parts: Sequence[Mapping[str, Stats]]) -> dict[str, dict[str, Any]]:
    """Per feature: extremes of the extremes, mean and std of all frames, quantiles as means weighted by frames.

    The weighted quantile is LeRobot's own rule (aggregate_stats); it is exact only when the parts are alike.
    """
    return {name: _feature([part[name] for part in parts]) for name in parts[0]}


def _feature(parts: Sequence[Stats]) -> dict[str, Any]:
    counts = np.array([float(part["count"][0]) for part in parts])

    def weighted(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        return (counts / counts.sum()) @ np.stack(values).reshape(len(counts), -1)

    def every(kind: str) -> list[NDArray[np.float64]]:
        return [np.asarray(part[kind], dtype=np.float64) for part in parts]

    shape = np.shape(parts[0]["mean"])
    mean = weighted(every("mean")).reshape(shape)
    variance = weighted([s**2 + (m - mean) ** 2 for s, m in zip(every("std"), every("mean"), strict=True)])
    found = {"min": np.min(every("min"), axis=0), "max": np.max(every("max"), axis=0)}
    found |= {"mean": mean, "std": np.sqrt(variance)}
    found |= {kind: weighted(every(kind)) for kind in QUANTILES}
    return {**{kind: value.reshape(shape).tolist() for kind, value in found.items()}, "count": [int(counts.sum())]}
