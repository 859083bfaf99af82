"""What a model must be: one class with setup and run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from egoworld_runner.clip import Clip
from egoworld_runner.inputs import Inputs
from egoworld_runner.tables import Row

Params = Mapping[str, Any]


class Runner:
    """A model that serves one stage.

    ``writes`` lists the row classes that ``run`` may yield; each becomes ``<table>.parquet``, empty when nothing
    was found. Files that ``run`` leaves in ``clip.folder`` become part of the artifact.

    Example:
        class Brightness(Runner):
            writes = (tables.Detection,)

            def run(self, clip, inputs, params):
                for frame in clip.frames():
                    if frame.rgb.mean() > params["level"]:
                        yield tables.Detection(frame.index, "bright", 1.0, 0, 0, clip.width, clip.height)
    """

    writes: ClassVar[tuple[type[Row], ...]] = ()

    def setup(self, weights: Mapping[str, Path], device: str) -> None:
        """Load the model, once per process. weights: name to verified local file; device: "cpu" or "cuda"."""

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[Row]:
        """Yield the rows of one clip. Raise ClipFailed, saying what to do, when it cannot be served."""
        raise TypeError(f"{type(self).__name__} does not define run(clip, inputs, params)")
