"""Stages of envs/base run over whole videos by the runner command line."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from egoworld_runner.job import Job, VideoJob

BASE = Path(__file__).parents[1] / "envs" / "base"


def run_stage(stage: str, videos: dict[str, Path], folder: Path, **params: Any) -> dict[str, dict[str, Any]]:
    """Run a stage of envs/base over whole videos in one process; the report of each."""
    declared = tomllib.loads((BASE / "pyproject.toml").read_text())["tool"]["egoworld"]["stages"][stage]
    jobs = tuple(VideoJob(name, str(path), str(folder / name)) for name, path in videos.items())
    Job(stage, str(BASE), declared["runner"], jobs, params={**declared["params"], **params}).write(folder / "job.json")
    command = [sys.executable, "-I", "-m", "egoworld_runner", "run", "--job", str(folder / "job.json")]
    subprocess.run(command, check=True, capture_output=True)
    return {name: json.loads((folder / name / "whole" / "clip.json").read_text()) for name in videos}


def rows(folder: Path, name: str, table: str) -> list[dict[str, Any]]:
    return pq.read_table(folder / name / "whole" / f"{table}.parquet").to_pylist()
