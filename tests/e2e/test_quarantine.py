"""A video that fails: shown in Dagster, left alone while nothing changes, tried again when its runner does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg

from egoworld_assets.automation.schedules import hourly_quarantine
from egoworld_assets.definitions import build
from egoworld_assets.orchestration.registry import stages
from egoworld_assets.planning.outdated import outdated
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings
from tests.made_graph import RUNNER, Installation
from tests.made_up import video

READS_NONE = RUNNER.replace(
    "class Hands(Runner):\n    writes = (tables.HandPose,)\n\n    def run(self, clip, inputs, params):\n",
    "class Hands(Runner):\n    writes = (tables.HandPose,)\n\n    def run(self, clip, inputs, params):\n"
    '        raise ClipFailed("the lens was covered; film again")\n',
).replace("import Runner, tables", "import ClipFailed, Runner, tables")


def refreshed(installed: Installation, *arguments: str, open_files: int = 1024) -> int:
    """Exit status of a refresh; failed videos make it 1. open_files: `ulimit -n` of it and of all that it starts."""
    limit = ["bash", "-c", f'ulimit -Sn {open_files} && exec "$@"', "bash"]
    command = [*limit, sys.executable, "-m", "egoworld_assets.cli", "refresh", *arguments]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EGOWORLD_")}
    env = {**kept, "EGOWORLD_CONFIG": installed.config}
    return subprocess.run(command, env=env, capture_output=True, check=False, timeout=600).returncode


def bench_of(installed: Installation) -> Workbench:
    envs = installed.runner.parent.parent
    served = dict.fromkeys(installed.params, "quick")
    return Workbench(Settings.load(home=installed.folder / "data", extra_envs=(envs,), stages=served))


def table(bench: Workbench) -> list[dict[str, object]]:
    """What the job of the hourly schedule shows."""
    job = build(bench).resolve_job_def(hourly_quarantine.job_name)
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance)
        [event] = result.asset_materializations_for_node("quarantine")
    return [dict(record.data) for record in event.metadata["table"].records]


def test_what_failed_is_shown_and_tried_again_once_its_runner_changed(tmp_path: Path) -> None:
    assert "ClipFailed(" in READS_NONE
    installed = Installation(tmp_path, READS_NONE)
    installed.make("ingest", str(video(tmp_path / "a.mp4")))
    assert refreshed(installed) == 1
    bench = bench_of(installed)
    [key] = [key for key, _ in bench.store.records("videos")]

    [row] = table(bench)
    assert (row["video"], row["name"], row["stage"], row["state"]) == (key, "a.mp4", "hand_poses", "failed")
    assert "the lens was covered" in str(row["reason"])
    assert row["attempts"] == 1
    repeated = subprocess.run(["bash", "-c", str(row["reproduce"])], capture_output=True, text=True, check=False)
    assert "the lens was covered" in repeated.stdout + repeated.stderr

    assert outdated(bench, stages().values(), key) == [], "the same would fail again"
    assert installed.plan()["steps"] == []

    installed.runner.write_text(RUNNER, encoding="utf-8")
    bench = bench_of(installed)
    assert "hand_poses" in outdated(bench, stages().values(), key)
    assert table(bench) == []
    assert refreshed(installed) == 0
    assert {entry["state"] for entry in json.loads(installed.ask("status", "--json"))["assets"]} == {"fresh"}


CIRCLES = RUNNER.replace(
    "            points = [[",
    "            drawn = clip.start_frame == 0 or clip.video.startswith('drawn')\n"
    "            still = [[30 + 9 * math.cos(at), 20 + 9 * math.sin(at)] for at in range(21)]\n"
    "            points = still if drawn else [[",
).replace("from egoworld_runner import", "import math\n\nfrom egoworld_runner import")
"""A circle that never moves, for a hand, in the first clip and in every clip of one video."""


def test_a_circle_drawn_for_a_hand_does_not_get_through(tmp_path: Path) -> None:
    """A video of circles is quarantined; of another one the good clip goes on, and what is missing is said."""
    installed = Installation(tmp_path, CIRCLES)
    videos = {"drawn": (40, 40), "half": (40, 41)}
    paths = [video(tmp_path / f"{name}.mp4", shots=shots, rate=30) for name, shots in videos.items()]
    installed.make("ingest", *map(str, paths))
    refreshed(installed)
    rows = json.loads(installed.ask("status", "--json"))["assets"]
    hands = {entry["video"].partition("-")[0]: entry for entry in rows if entry["asset"] == "hand_poses"}
    why = "hands that never change their pose are no hands: 100% of the rows"
    assert {name: entry["state"] for name, entry in hands.items()} == {"drawn": "quarantined", "half": "fresh"}
    assert hands["drawn"]["why"].startswith("hands_are_alive: in 2 of 2 clips: ")
    assert why in hands["drawn"]["why"]
    assert hands["half"]["why"].startswith("1 of 2 clips left out: hands_are_alive: ")
    card = (installed.folder / "data" / "dataset" / "README.md").read_text(encoding="utf-8")
    assert "- episodes: 1\n" in card
    missing = card.partition("## What is missing")[2].partition("## ")[0]
    assert f"| {hands['half']['video']} | hand_poses | 1 of 2 clips left out" in missing
    assert "no object was handled" in missing
    assert "drawn" not in card.partition("## Videos left out")[0]


def greedy_for(stage: str, video_key: str, source: str) -> str:
    """The runner, which needs a thousand open files at one stage of one video."""
    head = f"class {stage}(Runner):"
    before, after = source.split(head)
    run = "    def run(self, clip, inputs, params):\n"
    assert run in after
    need = f"        if clip.video == {video_key!r} and resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1000:\n"
    need += '            raise ClipFailed("too many files are open; raise ulimit -n")\n'
    return before + head + after.replace(run, run + need, 1)


def failed(installed: Installation) -> set[tuple[str, str]]:
    """Stage and video of what `egoworld status` calls failed."""
    rows = json.loads(installed.ask("status", "--json"))["assets"]
    return {(entry["asset"], entry["video"]) for entry in rows if entry["state"] == "failed"}


def behind(stage: str) -> set[str]:
    """Stages that are made of a stage, itself included."""
    found = {stage}
    for name, one in stages().items():
        if found & {*one.inputs, *one.optional}:
            found.add(name)
    return found


def test_retry_failed_makes_what_failed_and_nothing_else(tmp_path: Path) -> None:
    """Two videos need more open files than the shell allows. More are allowed then: no recipe and no input has changed,
    so a refresh leaves the two alone until it is told to try again.
    """
    installed = Installation(tmp_path)
    installed.make("ingest", *(str(video(tmp_path / f"{n}.mp4", shots=(8 + n,))) for n in range(3)))
    good, at_hands, at_tracks = bench_of(installed).store.keys("videos")
    source = greedy_for("Tracks", at_tracks, greedy_for("Hands", at_hands, RUNNER))
    imports = "import resource\n\nfrom egoworld_runner import ClipFailed, Runner"
    source = source.replace("from egoworld_runner import Runner", imports)
    installed.runner.write_text(source, encoding="utf-8")
    assert refreshed(installed, open_files=600) == 1
    assert failed(installed) == {("hand_poses", at_hands), ("tracks", at_tracks)}
    before = installed.runs()
    assert {stage for stage, key in before if key == good} == set(stages())

    assert refreshed(installed) == 1
    assert failed(installed) == {("hand_poses", at_hands), ("tracks", at_tracks)}
    assert installed.runs() == before, "what failed is not tried again unasked"

    assert refreshed(installed, "--retry-failed", "--stage", "hand_poses") == 0
    assert failed(installed) == {("tracks", at_tracks)}, "the other stage was not asked for"
    assert refreshed(installed, "--retry-failed") == 0
    assert failed(installed) == set()
    after = installed.runs()
    again = {made for made in before if after[made] != before[made]}
    allowed = {(stage, at_hands) for stage in behind("hand_poses")} | {(stage, at_tracks) for stage in behind("tracks")}
    assert again <= allowed, "what does not rest on what failed was not made again"
    assert set(after) == {(stage, key) for stage in stages() for key in (good, at_hands, at_tracks)}
    assert refreshed(installed, "--retry-failed") == 0
    assert installed.runs() == after, "nothing failed, nothing is made"
