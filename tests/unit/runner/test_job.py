"""A wrong job file is refused before anything runs, by the name of what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from egoworld_runner import BadJob
from egoworld_runner.job import Job, Span, VideoJob

VIDEO: dict[str, Any] = {"video": "v", "path": "v.mp4", "output": "out", "clips": [{"start_frame": 0, "end_frame": 3}]}
JOB: dict[str, Any] = {"contract": 1, "stage": "s", "folder": "env", "entry": "runner:R", "videos": [VIDEO]}


def test_a_job_is_read_as_it_was_written(tmp_path: Path) -> None:
    job = Job("s", "env", "runner:R", (VideoJob("v", "v.mp4", "out", "f.parquet", {"a": "b"}, (Span(0, 3),)),), "cuda")
    job.write(tmp_path / "job.json")
    assert Job.read(tmp_path / "job.json") == job


WRONG: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "not a readable job file"),
    "no object": (json.dumps([]), "contract must be 1"),
    "other contract": (json.dumps({**JOB, "contract": 2}), "contract must be 1"),
    "no videos": (json.dumps({**JOB, "videos": None}), "videos must be a list"),
    "no entry": (json.dumps({k: v for k, v in JOB.items() if k != "entry"}), "'entry'"),
    "unknown field": (json.dumps({**JOB, "colour": 1}), "'colour'"),
    "video is text": (json.dumps({**JOB, "videos": ["v"]}), r"videos\[0\] must be an object"),
    "video without path": (json.dumps({**JOB, "videos": [{"video": "v"}]}), r"videos\[0\].*'path'"),
    "clips is text": (json.dumps({**JOB, "videos": [{**VIDEO, "clips": "all"}]}), r"videos\[0\].clips must be a list"),
    "span is a list": (json.dumps({**JOB, "videos": [{**VIDEO, "clips": [[0, 3]]}]}), r"clips\[0\]"),
    "span backwards": (
        json.dumps({**JOB, "videos": [{**VIDEO, "clips": [{"start_frame": 3, "end_frame": 3}]}]}),
        r"clips\[0\]: needs 0 <= start_frame < end_frame, got \[3, 3\)",
    ),
    "span not whole": (
        json.dumps({**JOB, "videos": [{**VIDEO, "clips": [{"start_frame": 0, "end_frame": 2.5}]}]}),
        r"clips\[0\]: start_frame and end_frame must be whole numbers",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_job_names_its_fault(tmp_path: Path, kind: str) -> None:
    text, reason = WRONG[kind]
    path = tmp_path / "job.json"
    path.write_text(text)
    with pytest.raises(BadJob, match=reason) as refusal:
        Job.read(path)
    assert str(path) in str(refusal.value)


def test_a_job_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadJob, match="not a readable job file"):
        Job.read(tmp_path / "none.json")
