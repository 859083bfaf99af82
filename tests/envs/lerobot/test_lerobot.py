"""Our datasets in the real LeRobot, which runs in an environment of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from egoworld_resources.dataset.episodes import EpisodeArtifact
from egoworld_resources.dataset.merge import merge
from egoworld_resources.environments.building.builder import EnvBuilder
from tests.made_artifacts import MadeVideo, declared_params, joint_positions, level, make, run_stage

BASE = Path(__file__).parents[3] / "envs" / "base"
SCRIPT = Path(__file__).parent / "read_dataset.py"
TASKS = {"first": "stack blocks", "second": "pour coffee"}

pytestmark = pytest.mark.env


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[MadeVideo]:
    """Two videos of other sizes and rates; a clip of the second has no robot trajectory."""
    folder = tmp_path_factory.mktemp("videos")
    return [
        make(folder, "first", frames=48, fps=30.0, clips=((0, 24), (24, 48))),
        make(folder, "second", frames=40, fps=20.0, clips=((0, 10), (10, 40)), robot_clips=(1,), size=(120, 160)),
    ]


@pytest.fixture(scope="module")
def dataset(videos: list[MadeVideo], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    artifacts = []
    for video in videos:
        declared = declared_params(BASE / "pyproject.toml", "episodes")
        params = {**declared, "width": 128, "height": 96, "task": TASKS[video.name]}
        output = folder / video.name
        place, report = run_stage(BASE, "episodes:LeRobotEpisodes", "episodes", video, output, params)
        assert report["state"] == "done", report
        artifacts.append(EpisodeArtifact(video.name, place, "v"))
    assert merge(artifacts, folder / "merged").written
    return folder / "merged"


@pytest.fixture(scope="module")
def ffmpeg_libraries(builder: EnvBuilder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FFmpeg's libraries of the env's own PyAV wheel under plain names, where torchcodec looks for the system's."""
    python = builder.ensure("lerobot").python
    libraries = next(python.parents[1].glob("lib/python3*/site-packages/av.libs"))
    folder = tmp_path_factory.mktemp("ffmpeg")
    for file in libraries.iterdir():
        named = re.match(r"(lib(?:av|sw)[a-z]+)-[0-9a-f]+(\.so\.[0-9]+)", file.name)
        if named:
            (folder / (named[1] + named[2])).symlink_to(file)
    return folder


@pytest.fixture(scope="module", params=["pyav", "torchcodec"])
def seen(
    request: pytest.FixtureRequest,
    dataset: Path,
    builder: EnvBuilder,
    ffmpeg_libraries: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What LeRobot read with one of its two video backends, offline."""
    home = tmp_path_factory.mktemp("home")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_HUB_OFFLINE": "1",
        "LD_LIBRARY_PATH": str(ffmpeg_libraries),
    }
    command = [str(builder.ensure("lerobot").python), "-I", str(SCRIPT), str(dataset), request.param]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=home, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def chosen(video: MadeVideo, number: int, fps: int) -> list[int]:
    start, end = video.clips[number]
    times = video.times[start:end]
    count = int((times[-1] - times[0]) * fps + 1e-6) + 1
    return [start + int(np.abs(times - times[0] - k / fps).argmin()) for k in range(count)]


def test_every_frame_is_read_and_is_the_right_one(seen: dict[str, Any], videos: list[MadeVideo]) -> None:
    first, second = videos
    episodes = [(first, 0), (first, 1), (second, 1)]
    assert (seen["fps"], seen["episodes"], seen["robot_type"]) == (15, 3, "generic_hand")
    wanted = [
        (e, k, video, frame) for e, (video, n) in enumerate(episodes) for k, frame in enumerate(chosen(video, n, 15))
    ]
    assert len(seen["rows"]) == len(wanted)
    for at, (row, (episode, k, video, frame)) in enumerate(zip(seen["rows"], wanted, strict=True)):
        assert (row["index"], row["episode"], row["frame"], row["task"]) == (at, episode, k, TASKS[video.name])
        assert row["timestamp"] == pytest.approx(k / 15, abs=1e-5)
        assert row["state"][:4] == pytest.approx(joint_positions(frame, "right"), abs=1e-5)
        assert row["shape"] == [3, 96, 128]
        assert row["finite"]
    grey = [row["grey"] for row in seen["rows"] if row["episode"] < 2]
    levels = [level(frame) for episode, _, _, frame in wanted if episode < 2]
    assert np.abs(np.array(grey) - levels).max() < 4


def test_actions_are_the_next_states_and_stop_at_the_episode(seen: dict[str, Any]) -> None:
    for row, after in zip(seen["rows"], [*seen["rows"][1:], None], strict=True):
        if after is not None and after["episode"] == row["episode"]:
            assert row["action"] == after["state"]
            assert row["action_ahead"] == [row["action"], after["action"]]
        else:
            assert row["action"] == row["state"]
            assert row["action_ahead"] == [row["action"]] * 2


def test_tasks_statistics_batches_and_single_episodes(seen: dict[str, Any]) -> None:
    assert seen["tasks"] == list(TASKS.values())
    assert seen["batch"] == [4, 3, 96, 128]
    actions = np.array([row["action"] for row in seen["rows"]])
    np.testing.assert_allclose(seen["stats"]["mean"], actions.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(seen["stats"]["std"], actions.std(axis=0), atol=1e-5)
    np.testing.assert_allclose(seen["stats"]["max"], actions.max(axis=0), atol=1e-5)
    last = [row for row in seen["rows"] if row["episode"] == 2]
    assert seen["last_episode"][0] == len(last)
    assert seen["last_episode"][1] == 0.0
    assert seen["last_episode"][2] == pytest.approx(last[0]["state"])
