"""Clips of real videos run through a model env by the runner command line."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.running.process import Process, run_job
from egoworld_runner import clip_id
from egoworld_runner.job import Job, Span, VideoJob

Spans = Sequence[tuple[int, int]]


@dataclass
class Ran:
    """What a job left: how often the model was loaded, the reports of its clips, what the runner wrote to stderr."""

    stage: str
    folder: Path
    loads: int
    log: str
    reports: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)

    def table(self, video: str, span: tuple[int, int]) -> Path:
        return self.folder / video / clip_id(video, *span) / f"{self.stage}.parquet"

    def rows(self, video: str, span: tuple[int, int]) -> list[dict[str, Any]]:
        return pq.read_table(self.table(video, span)).to_pylist()

    def report(self, video: str, span: tuple[int, int]) -> Mapping[str, Any]:
        return self.reports[video, clip_id(video, *span)]


@dataclass(frozen=True)
class ModelEnvRuns:
    """Runs one stage in one model env of the checkout."""

    builder: EnvBuilder
    catalog: Catalog
    env: str
    stage: str

    def run(
        self,
        folder: Path,
        videos: Mapping[str, tuple[Path, Spans]],
        inputs: Mapping[str, Mapping[str, Path]] | None = None,
        weights: Mapping[str, Path] | None = None,
        **params: Any,
    ) -> Ran:
        """One process for all clips; ``inputs``: video to asset to artifact folder; ``params`` replace defaults.

        weights: those that no package carries, by name.
        """
        model = self.catalog.model(self.stage, self.env)
        jobs = tuple(
            VideoJob(
                video=name,
                path=str(path),
                output=str(folder / name),
                inputs={asset: str(artifact) for asset, artifact in (inputs or {}).get(name, {}).items()},
                clips=tuple(Span(*span) for span in spans),
            )
            for name, (path, spans) in videos.items()
        )
        files = {name: str(file) for name, file in (weights or {}).items()}
        job = Job(self.stage, str(model.folder), model.runner, jobs, params={**model.params, **params}, weights=files)
        scratch = folder / "scratch"
        scratch.mkdir(parents=True)
        events: list[Mapping[str, Any]] = []
        loads = run_job(job, Process(self.builder.ensure(self.env).python, scratch), events.append).loads
        ran = Ran(self.stage, folder, loads, (scratch / "runner.log").read_text(encoding="utf-8", errors="replace"))
        ran.reports.update({(e["video"], e["unit"]): e for e in events if e["event"] == "clip"})
        return ran


def env_module(file: Path) -> ModuleType:
    """A module of a model env that needs nothing but the contract's packages."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module
