"""What a person says about a video: from the command line and from sidecars to what is stale, made, shown and kept."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from egoworld_assets.automation.inbox_sensor import requests_for
from egoworld_assets.cli.app import app
from egoworld_assets.orchestration.registry import stages
from egoworld_resources.annotations.said import pictures_of
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings
from tests.made_graph import Installation
from tests.made_up import video
from tests.sensors import Ticks, instance_of, partitions_in

CUP = ("--frame", "2", "--label", "cup", "--box", "10,20,30,25")
BEHIND_MASKS = {"tracks", "reconstructions", "object_poses", "previews", "episodes"}
LENS = {"model": "PINHOLE", "width": 640, "height": 480, "f": 500.0}


def keys_of(installed: Installation) -> list[str]:
    return sorted({video for _, video in installed.runs()})


def refused(installed: Installation, *arguments: str) -> str:
    """What a command says that refuses."""
    done = CliRunner().invoke(app, list(arguments), env={"EGOWORLD_CONFIG": installed.config, "EGOWORLD_HOME": None})
    assert done.exit_code == 1, done.output
    return " ".join(done.output.split())


def stale(installed: Installation, key: str, asset: str) -> str:
    """Why an asset is certainly made again; empty when it is not."""
    steps = {(step["video"], step["asset"]): step for step in installed.plan()["steps"] if step["certain"]}
    return steps[key, asset]["why"] if (key, asset) in steps else ""


def test_what_is_shown_makes_masks_stale_and_what_follows_and_can_be_taken_back(
    made_home: Path, tmp_path: Path
) -> None:
    installed = Installation.copy_of(made_home, tmp_path)
    key, other = keys_of(installed)
    before = installed.runs()

    told = installed.ask("prompt", key, *CUP, "--plan")
    assert "prompts given" in told
    assert installed.plan()["steps"] == [], "a plan changes nothing"

    assert "prompts given" in installed.ask("prompt", key, *CUP)
    steps = installed.plan()["steps"]
    assert {step["video"] for step in steps} == {key}, "the other video is as fresh as before"
    assert {step["asset"] for step in steps if step["certain"]} == {"masks"}
    assert {step["asset"] for step in steps} == {"masks", *BEHIND_MASKS}
    assert stale(installed, key, "masks") == "prompts given"

    installed.make("refresh", key)
    assert installed.plan()["steps"] == []
    assert installed.runs()[("masks", key)] != before["masks", key]
    assert installed.runs()[("masks", other)] == before["masks", other]
    assert "said 20" in installed.ask("lineage", f"{key}/masks")
    first = json.loads(installed.ask("prompt", key, "--json"))

    installed.ask("prompt", key, "--frame", "3", "--label", "bowl", "--inside", "5,6")
    assert stale(installed, key, "masks") == "prompts changed"
    second = json.loads(installed.ask("prompt", key, "--json"))
    assert [one["label"] for one in second["prompts"]] == ["cup", "bowl"]
    installed.ask("gc", "--keep", "0", "--older-than", "0", "--apply")
    assert json.loads(installed.ask("reproduce", f"{key}/masks", "--json"))[0]["state"] == "same", (
        "from the version of then"
    )

    installed.ask("prompt", key, "--remove", "--label", "bowl")
    assert json.loads(installed.ask("prompt", key, "--json"))["version"] == first["version"]
    assert installed.plan()["steps"] == [], "the same is said as when it was made"
    installed.ask("prompt", key, "--remove")
    assert stale(installed, key, "masks") == "prompts taken back"
    installed.ask("gc", "--keep", "0", "--older-than", "0", "--apply")
    assert "everything is as it should be" in installed.ask("fsck"), "what masks were made from is kept"
    assert json.loads(installed.ask("fsck", "--reindex", "--json"))["differed"] == []


def test_a_lens_makes_the_camera_stale_and_nothing_before_it(made_home: Path, tmp_path: Path) -> None:
    installed = Installation.copy_of(made_home, tmp_path)
    key, _ = keys_of(installed)
    size = size_of(installed, key)
    (tmp_path / "lens.json").write_text(json.dumps({**LENS, "width": size[0], "height": size[1]}))
    installed.ask("lens", key, str(tmp_path / "lens.json"))
    assert stale(installed, key, "reconstructions") == "lens given"
    assert {step["asset"] for step in installed.plan()["steps"] if step["certain"]} == {"reconstructions"}
    (tmp_path / "bad.json").write_text(json.dumps({**LENS, "model": "GLASS"}))
    assert "camera model 'GLASS' is not known" in refused(installed, "lens", key, str(tmp_path / "bad.json"))


def size_of(installed: Installation, key: str) -> tuple[int, int]:
    """Width and height of a video, px."""
    found = pictures_of(Workbench(Settings.load(home=installed.folder / "data")).store, key)
    assert found
    return found.width, found.height


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--frame", "99999", "--label", "cup", "--box", "1,1,5,5"), "frame 99999 is past the end"),
        (("--frame", "0", "--label", "cup", "--box", "1,1,99999,5"), "reaches out of the picture"),
        (("--frame", "0", "--label", "cup", "--inside", "-1,1"), "lies outside the picture"),
        (("--frame", "0", "--label", "left hand", "--box", "1,1,5,5"), "hands are found by hand_poses"),
        (("--frame", "0", "--box", "1,1,5,5"), "label must be a name"),
        (("--frame", "0", "--label", "cup", "--box", "1,1"), "must be [x, y, width, height]"),
        (("--frame", "0", "--label", "cup", "--box", "a,b,c,d"), "give numbers between commas"),
        (("--frame", "0", "--label", "cup"), "show the object by --box"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    made_home: Path, tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    installed = Installation.copy_of(made_home, tmp_path)
    key = keys_of(installed)[0]
    assert why in refused(installed, "prompt", key, *arguments)
    assert json.loads(installed.ask("prompt", key, "--json"))["prompts"] is None


def test_of_a_frame_that_was_cut_out_it_is_said_that_nothing_comes(tmp_path: Path) -> None:
    bench = Workbench(Settings.load(home=tmp_path / "data"))
    Arrivals(bench.store).take(video(tmp_path / "a.mp4", shots=(12, 4)), "a.mp4")
    (key,) = bench.store.keys("videos")
    of_a_home = {"EGOWORLD_HOME": str(tmp_path / "data")}

    def said_of(frame: str) -> str:
        words = ["prompt", key, *CUP]
        words[words.index("--frame") + 1] = frame
        return CliRunner().invoke(app, words, env=of_a_home).output

    assert "no clip" not in said_of("13"), "nothing is known before there are clips"
    for name in ("videos", "clips"):
        assert all(outcome.manifest for outcome in bench.make(stages()[name], [key], "run"))
    assert "no clip" in said_of("0")
    listed = json.loads(CliRunner().invoke(app, ["prompt", key, "--json"], env=of_a_home).output)
    assert listed["note"] == "frame 13 is in no clip: nothing comes of it"
    assert len(listed["prompts"]) == 2, "it is kept: other clips may be cut"


SIDECAR = {"prompts": [{"frame": 1, "label": "cup", "box": [4, 5, 20, 20]}]}


@pytest.mark.parametrize("first", ["video", "sidecar"])
def test_a_sidecar_in_the_inbox_is_taken_up_whichever_comes_first(tmp_path: Path, first: str) -> None:
    inbox = tmp_path / "inbox" / "alice"
    inbox.mkdir(parents=True)
    bench = Workbench(Settings.load(home=tmp_path / "data", inbox=tmp_path / "inbox", settle_s=0))
    with instance_of(bench) as instance:
        ticks = Ticks(bench, instance)
        steps = [
            lambda: video(inbox / "a.mp4"),
            lambda: (inbox / "a.mp4.egoworld.json").write_text(json.dumps(SIDECAR)),
        ]
        asked: list[dg.RunRequest] = []
        for step in steps if first == "video" else reversed(steps):
            step()
            asked = ticks.tick("inbox")
        (key,) = bench.store.keys("videos")
        assert partitions_in(instance, asked) == [key], "a run for what came last"
        assert bench.store.current("prompts", key)
        again = {request.run_key for request in ticks.tick("inbox")}
        assert again <= {request.run_key for request in asked}, "Dagster starts a run once per key"
        later = requests_for(bench, instance, {key: [key]}, [key])  # a look that names the video again, not the sidecar
        assert [request.run_key for request in later] == [request.run_key for request in asked]


HOSTILE = {
    "no JSON": (b"{", "is not JSON"),
    "deep": (b'{"prompts": ' + b"[" * 9000 + b"]" * 9000 + b"}", "nested deeper"),
    "large": (b'{"prompts": [' + b" " * 60_000 + b"]}", "larger than"),
    "no number": (b'{"prompts": [{"frame": 0, "label": "cup", "box": [NaN, 0, 9, 9]}]}', "is no number"),
    "unknown": (b'{"masks": []}', "'masks' is not known"),
    "twice": (b'{"prompts": [], "prompts": []}', "named twice"),
    "a picture": (b"\xff\xd8\xff\xe0", "is not JSON"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_bad_sidecar_is_refused_by_name_and_the_video_goes_on(tmp_path: Path, kind: str) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    text, why = HOSTILE[kind]
    (inbox / "a.mp4.egoworld.json").write_bytes(text)
    video(inbox / "a.mp4")
    bench = Workbench(Settings.load(home=tmp_path / "data", inbox=inbox, settle_s=0))
    with instance_of(bench) as instance:
        asked = partitions_in(instance, Ticks(bench, instance).tick("inbox"))
    assert asked == bench.store.keys("videos")
    ((_, refusal),) = bench.store.records("refusals")
    assert why in refusal["reason"]
    assert bench.store.current("prompts", asked[0]) is None
