"""What was measured, as one list over all sources of truth."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from egoworld_assets.quality.accuracy import Measurement

SPAN = re.compile(r", frames \d+ to \d+")


@dataclass(frozen=True)
class Figure:
    """One measured quantity: of a stage, on some data; values: one for each video or clip that it was measured on."""

    stage: str
    data: str
    what: str
    values: tuple[float, ...]
    unit: str = ""
    detail: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What a bound or a peer's figure is found by."""
        return self.stage, self.data, self.what


def of_samples(data: str, samples: Iterable[Iterable[Measurement]]) -> list[Figure]:
    """The figures of some sample videos: what was measured of each clip of each video, side by side."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for m in (m for sample in samples for m in sample):
        key = (m.stage, SPAN.sub("", m.what), m.unit)
        found.setdefault(key, []).append(np.nan if m.value is None else m.value)
    return [Figure(stage, data, what, tuple(values), unit) for (stage, what, unit), values in found.items()]
