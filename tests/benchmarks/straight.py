"""What somebody would write without egoworld: each runner started once over all videos, outputs put together.

`python -m tests.benchmarks.straight PLAN.json WORK`. No store, no manifests, no checks, no Dagster. The plan names
per stage the interpreter, its environment, the job, and which videos with which inputs (straight_plan in flow.py).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from egoworld_resources.making.assemble import assemble
from egoworld_runner import clip_id
from egoworld_runner.job import WHOLE, Job, Span, VideoJob


def run_stage(stage: dict[str, Any], sources: dict[str, list[str]], work: Path) -> None:
    """One runner process for all videos of a stage."""
    name = stage["name"]
    videos = tuple(video_job(stage, video, *sources[video], work) for video in stage["videos"])
    job = Job(name, stage["folder"], stage["entry"], videos, stage["device"], stage["params"], stage["weights"])
    job.write(work / f"{name}.json")
    command = [stage["python"], "-I", "-m", "egoworld_runner", "run", "--job", str(work / f"{name}.json")]
    with (work / f"{name}.events").open("wb") as events, (work / f"{name}.log").open("wb") as log:
        subprocess.run(command, cwd=work, env=stage["environment"], stdout=events, stderr=log, check=True)
    for job_of in videos:
        units = [clip_id(job_of.video, span.start_frame, span.end_frame) for span in job_of.clips or ()]
        output, taken = Path(job_of.output), Path(f"{job_of.output}-taken")
        assemble(output, units if job_of.clips is not None else [WHOLE], taken)
        shutil.rmtree(output)
        taken.rename(output)


def video_job(stage: dict[str, Any], video: str, source: str, name: str, work: Path) -> VideoJob:
    """The job of one video, with what earlier stages wrote of it."""
    made = {name: str(work / name / video) for name in stage["videos"][video]}
    index = f"{made['videos']}/frames.parquet" if "videos" in made else None
    clips = spans(work / "clips" / video / "clips.parquet") if stage["unit"] == "clip" else None
    inputs = {name: made.get(name) for name in stage["inputs"]}
    return VideoJob(video, source, str(work / stage["name"] / video), index, inputs, clips, name)


def spans(table: Path) -> tuple[Span, ...]:
    """The clips that the clips stage found."""
    columns = pq.read_table(table, columns=["start_frame", "end_frame"]).to_pydict()
    return tuple(Span(*both) for both in zip(columns["start_frame"], columns["end_frame"], strict=True))


def main(plan: Path, work: Path) -> None:
    asked = json.loads(plan.read_text(encoding="utf-8"))
    seconds: dict[str, float] = {}
    for stage in asked["stages"]:
        began = time.perf_counter()
        run_stage(stage, asked["sources"], work)
        seconds[stage["name"]] = round(time.perf_counter() - began, 3)
    print(json.dumps({"parts": seconds}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
