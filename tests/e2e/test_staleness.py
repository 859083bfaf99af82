"""Staleness from the command line to Dagster and back: what is told beforehand is what is then made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.made_graph import RUNNER, SERVED, Installation

BEHIND_HANDS = {*SERVED, "episodes"} - {"hand_poses"}
BEHIND_MASKS = {"tracks", "reconstructions", "object_poses", "previews", "episodes"}


@pytest.fixture(scope="module")
def installed(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Everything fresh."""
    return Installation.copy_of(made_home, tmp_path_factory.mktemp("installed"))


@pytest.fixture
def fresh(installed: Installation) -> Installation:
    """The same, with whatever an earlier test left stale made again."""
    if installed.plan()["steps"]:
        installed.make("refresh")
    assert "nothing is missing or stale" in installed.ask("stale")
    return installed


def changed(before: dict[tuple[str, str], str], after: dict[tuple[str, str], str]) -> set[str]:
    """Assets that were made again, and that for both videos."""
    places = {place for place, run in after.items() if before[place] != run}
    assets = {asset for asset, _ in places}
    assert len(places) == 2 * len(assets)
    return assets


def test_a_parameter_is_listed_with_its_reason_and_price_and_then_exactly_that_is_made(fresh: Installation) -> None:
    before = fresh.runs()
    change = fresh.change("hand_poses", "shift")
    planned = fresh.plan()
    certain = {step["asset"]: step for step in planned["steps"] if step["certain"]}
    possible = {step["asset"]: step for step in planned["steps"] if not step["certain"]}
    assert certain.keys() == {"hand_poses"}
    assert certain["hand_poses"]["why"] == f"parameters changed: {change}"
    assert possible.keys() == BEHIND_HANDS
    assert {step["why"] for step in possible.values()} == {f"behind hand_poses: parameters changed: {change}"}
    assert all(step["seconds"] > 0 and step["gpu_seconds"] == 0 for step in planned["steps"])
    assert planned["total"]["seconds"] > planned["total"]["seconds_certain"] > 0
    assert (planned["total"]["steps"], planned["total"]["unknown"]) == (18, 0)

    printed = fresh.ask("refresh", "--plan")
    assert f"parameters changed: {change}" in printed
    nothing = fresh.ask("refresh", "--max-hours", "0")
    assert "0 of 2 videos fit into 0 h" in nothing
    assert nothing.count("left: ") == 2
    assert fresh.runs() == before, "neither runs anything"

    fresh.make("refresh", "--max-hours", "1")
    made = changed(before, fresh.runs())
    assert {"hand_poses", "masks", "tracks", "robot_trajectories", "episodes"} <= made <= {"hand_poses", *BEHIND_HANDS}
    assert fresh.plan()["steps"] == []


def test_what_comes_out_the_same_leaves_all_behind_it_fresh(fresh: Installation) -> None:
    before = fresh.runs()
    fresh.change("masks", "unused")
    steps = fresh.plan()["steps"]
    assert {step["asset"] for step in steps if step["certain"]} == {"masks"}
    assert {step["asset"] for step in steps if not step["certain"]} == BEHIND_MASKS
    fresh.make("refresh")
    assert changed(before, fresh.runs()) == {"masks"}
    assert fresh.plan()["steps"] == []


def test_a_comment_or_another_format_of_a_runner_changes_nothing(fresh: Installation) -> None:
    words = RUNNER.replace("Every stage", "All stages").replace("    def run", "    # rows of one clip\n    def run")
    fresh.runner.write_text(words.replace('"right", 0.9, points', "'right',\n  0.90,  points"), encoding="utf-8")
    assert fresh.plan()["steps"] == []
    fresh.runner.write_text(RUNNER.replace("0.9, points", "0.8, points"), encoding="utf-8")
    steps = fresh.plan()["steps"]
    fresh.runner.write_text(RUNNER, encoding="utf-8")
    assert {step["why"] for step in steps if step["asset"] == "hand_poses"} == {"runner source of quick changed"}


def test_only_videos_that_fit_are_made_and_the_others_are_said(fresh: Installation) -> None:
    before = fresh.runs()
    fresh.change("masks", "unused")
    found = fresh.plan()
    costs = dict.fromkeys({step["video"] for step in found["steps"]}, 0.0)
    for step in found["steps"]:
        costs[step["video"]] += step["seconds"]
    small, large = sorted(costs, key=lambda video: costs[video])
    loads = found["total"]["load_seconds"]
    output = fresh.make("refresh", "--max-hours", str((costs[small] + loads + 1e-6) / 3600))
    assert "1 of 2 videos fit into" in output
    assert f"left: {large}: takes " in output
    after = fresh.runs()
    assert {place for place in after if after[place] != before[place]} == {("masks", small)}
    assert {step["video"] for step in fresh.plan()["steps"]} == {large}
