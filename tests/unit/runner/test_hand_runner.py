"""Runners of hands through the command line of the contract: what is no hand, one skeleton, the pass backwards."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from egoworld_runner import clip_id
from egoworld_runner.hands.skeleton import bone_lengths
from egoworld_runner.job import Job, Span, VideoJob
from made_videos import make_video

FRAMES, FPS = 50, 25
WIDTH, HEIGHT = 480, 320
ROOM = np.kron(np.random.default_rng(7).integers(30, 226, (70, 130, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))

RUNNER = '''
"""Hands that the parameters describe: where each is in each frame, whether it bends, and whether it is seen at all."""

import numpy as np

from egoworld_runner.hands import HandRunner, Sighting

SHAPE = np.zeros((21, 2))
SHAPE[1:] = [(12.0 * (finger - 2), -30.0 - 8.0 * joint) for finger in range(5) for joint in range(4)]
SPACE = np.column_stack([SHAPE / 1000, np.zeros(21)])


class Told(HandRunner):
    def forget(self, params):
        self.hands, self.before = params["hands"], None

    def look(self, frame):
        self.last, self.before = self.before, frame.index
        return [one for hand in self.hands for one in self.seen(frame.index, **hand)]

    def seen(self, frame, path, p_right=0.98, bend=0.0, tremble=0.0, grown=0.0, first=0, last=1000):
        if not first <= frame < last:
            return
        noise = np.random.default_rng(frame)
        joints = SHAPE + np.array(path[frame]) + tremble * noise.standard_normal((21, 2))
        joints[12:, 0] += bend * np.sin(frame / 4)
        yield Sighting(frame, p_right, joints, SPACE * (1 + grown * noise.standard_normal()))


class Following(Told):
    """Finds a hand at x >= 240 only; keeps one that it had in the frame before or after, wherever that goes."""

    remembers = True

    def look(self, frame):
        seen = super().look(frame)
        kept = self.last is not None and abs(frame.index - self.last) == 1 and self.had
        self.had = [one for one in seen if kept or one.keypoints_2d[0, 0] >= 240]
        return self.had

    def forget(self, params):
        super().forget(params)
        self.had = []


class BareHands(Told):
    """Sees no gloves in colour: they begin at x >= 240; in grey it sees all hands."""

    knows_skin = True

    def look(self, frame):
        grey = (frame.rgb == frame.rgb[..., :1]).all()
        return [one for one in super().look(frame) if grey or one.keypoints_2d[0, 0] < 240]
'''


@dataclass(frozen=True)
class Bench:
    """A video of a wall with a moving or a still camera, and a runner that is given what it sees."""

    folder: Path

    def video(self, camera: Callable[[int], tuple[int, int]]) -> Path:
        views = [ROOM[y : y + HEIGHT, x : x + WIDTH] for x, y in map(camera, range(FRAMES))]
        return make_video(self.folder / "v.mp4", views)

    def run(
        self, *hands: dict[str, Any], entry: str = "Told", camera: Callable[[int], tuple[int, int]] | None = None
    ) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """The rows and the notes of one clip."""
        (self.folder / "runner.py").write_text(RUNNER)
        path = self.video(camera or moving)
        video = VideoJob("v", str(path), str(self.folder / "out"), clips=(Span(0, FRAMES),))
        job = Job("hand_poses", str(self.folder), f"runner:{entry}", (video,), params={"hands": list(hands)})
        job.write(self.folder / "job.json")
        command = [sys.executable, "-I", "-m", "egoworld_runner", "run", "--job", str(self.folder / "job.json")]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        made = self.folder / "out" / clip_id("v", 0, FRAMES)
        report = json.loads((made / "clip.json").read_text())
        assert report["state"] == "done", report
        return pq.read_table(made / "hand_poses.parquet").to_pylist(), report["notes"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def still(frame: int) -> tuple[int, int]:
    return 100, 100


def moving(frame: int) -> tuple[int, int]:
    """Where the picture's corner lies on the wall, px: the camera turns to the right, and up and down."""
    return 60 + 5 * frame, 100 + round(20 * np.sin(frame / 8))


def on_the_wall(at: tuple[int, int]) -> list[list[float]]:
    """The path in the picture of a thing on the wall while the camera moves; at: its place in the first frame."""
    return [[float(at[0] - (x - 60)), float(at[1] - (y - 100))] for x, y in map(moving, range(FRAMES))]


def in_hand(at: tuple[float, float]) -> list[list[float]]:
    """The path of a wearer's hand: it hangs before the camera and sways a little."""
    return [[at[0] + 6 * np.sin(f / 5), at[1] + 4 * np.cos(f / 7)] for f in range(FRAMES)]


def sides_at(rows: list[dict[str, Any]]) -> set[tuple[str, bool]]:
    """The sides of all rows, and whether their wrists are in the right half."""
    return {(row["side"], row["keypoints_2d"][0] > WIDTH / 2) for row in rows}


def test_a_round_thing_on_a_wall_is_no_hand_however_sure_the_model_is(bench: Bench) -> None:
    wall = {"path": on_the_wall((400, 120)), "p_right": 0.98, "tremble": 1.0, "bend": 4.0}
    rows, notes = bench.run(wall, {"path": in_hand((150, 250)), "p_right": 0.05, "bend": 6.0})
    assert notes["not_hands_background"] == FRAMES
    assert [row["frame"] for row in rows] == list(range(FRAMES))
    assert sides_at(rows) == {("left", False)}


def test_the_hand_of_a_wearer_whose_head_turns_is_a_hand(bench: Bench) -> None:
    rows, notes = bench.run({"path": in_hand((300, 250)), "bend": 6.0, "tremble": 0.5})
    assert len(rows) == FRAMES
    assert (notes["not_hands_background"], notes["hands_that_never_moved"]) == (0, 0)


def test_a_hand_that_rests_before_a_still_camera_stays_and_is_counted(bench: Bench) -> None:
    rest = {"path": [[300.0, 250.0]] * FRAMES, "tremble": 0.8}
    rows, notes = bench.run(rest, camera=still)
    assert len(rows) == FRAMES
    assert notes["hands_that_never_moved"] == FRAMES
    assert [notes[f"not_hands_{reason}"] for reason in ("brief", "stiff", "background")] == [0, 0, 0]


@pytest.mark.parametrize("camera", [still, moving])
def test_a_circle_drawn_into_every_frame_is_no_hand(bench: Bench, camera: Callable[[int], tuple[int, int]]) -> None:
    rows, notes = bench.run({"path": [[300.0, 250.0]] * FRAMES, "p_right": 1.0}, camera=camera)
    assert rows == []
    assert notes["not_hands_stiff"] == FRAMES


def test_what_is_seen_in_a_few_frames_only_is_no_hand(bench: Bench) -> None:
    brief = {"path": in_hand((400, 120)), "first": 20, "last": 23, "bend": 6.0}
    rows, notes = bench.run(brief, {"path": in_hand((150, 250)), "p_right": 0.04, "bend": 6.0})
    assert notes["not_hands_brief"] == 3
    assert sides_at(rows) == {("left", False)}


def test_both_hands_have_the_bones_of_one_person(bench: Bench) -> None:
    """The model gives another size in every frame; the median of all is the person's."""
    rows, _ = bench.run(
        {"path": in_hand((350, 250)), "bend": 6.0, "grown": 0.1},
        {"path": in_hand((120, 250)), "bend": 6.0, "p_right": 0.02, "grown": 0.02},
    )
    lengths = bone_lengths(np.array([row["keypoints_3d"] for row in rows]).reshape(-1, 21, 3))
    np.testing.assert_allclose(lengths, np.broadcast_to(lengths[0], lengths.shape), rtol=1e-4)
    np.testing.assert_allclose(lengths[0, 1], 0.008, rtol=0.03)
    spread = {side: {row["bone_spread"] for row in rows if row["side"] == side} for side in ("left", "right")}
    assert all(len(of_hand) == 1 for of_hand in spread.values())
    (left,), (right,) = spread["left"], spread["right"]
    assert 0.01 < left < 0.04
    assert 0.06 < right < 0.16


def comes_in() -> list[list[float]]:
    """From the left edge to the right half of the picture."""
    return [[20.0 + 8 * f, 250.0] for f in range(FRAMES)]


def test_a_hand_is_followed_backwards_to_where_it_came_in(bench: Bench) -> None:
    """The model detects it at x >= 240, from frame 28 on; followed, it is there from the first frame on."""
    hand = {"path": comes_in(), "bend": 6.0}
    rows, notes = bench.run(hand, entry="Following")
    assert [row["frame"] for row in rows] == list(range(FRAMES))
    assert notes["seen_backwards"] == 28
    points: NDArray[np.float64] = np.array([row["keypoints_2d"][:2] for row in rows])
    np.testing.assert_allclose(points, comes_in(), atol=1e-3)


def test_a_pass_backwards_ends_where_the_hand_is_not_there(bench: Bench) -> None:
    rows, notes = bench.run({"path": comes_in(), "bend": 6.0, "first": 19}, entry="Following")
    assert [row["frame"] for row in rows] == list(range(19, FRAMES))
    assert notes["seen_backwards"] == 9


def test_a_gloved_hand_is_seen_in_the_frames_without_a_hand_by_its_shape(bench: Bench) -> None:
    """A bare hand from frame 30 on ends the second look: frames with a hand are not looked at again."""
    glove, bare = {"path": in_hand((350, 250)), "bend": 6.0}, {"path": in_hand((120, 250)), "bend": 6.0, "first": 30}
    rows, notes = bench.run(glove, {**bare, "p_right": 0.02}, entry="BareHands")
    assert [(row["frame"], row["side"]) for row in rows] == [(f, "right" if f < 30 else "left") for f in range(FRAMES)]
    assert notes["seen_without_colour"] == 30
