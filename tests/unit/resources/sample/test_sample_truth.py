"""The truth of a sample agrees with its own pixels."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from egoworld_resources.errors import UnknownName
from egoworld_resources.sample import SampleOptions, decode_mask, load_truth, render

OPTIONS = SampleOptions(seed=3, seconds=8 / 15, width=320, height=180, workers=1)
CORNERS = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("sample") / "small.mp4"
    render(path, OPTIONS)
    return path


@pytest.fixture(scope="module")
def truth(video):
    return video.with_suffix(".truth")


@pytest.fixture(scope="module")
def images(video):
    with av.open(str(video)) as container:
        return [frame.to_ndarray(format="rgb24").astype(float) for frame in container.decode(video=0)]


def camera_of(truth):
    fx, fy, cx, cy = load_truth(truth, "reconstructions")[0]["intrinsics"]
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])


def project(k, points):
    image = points @ k.T
    return image[:, :2] / image[:, 2:]


def poses(rows, column):
    return {row["frame"]: np.reshape(row[column], (4, 4)) for row in rows}


def masks_of(truth, label):
    return {row["frame"]: decode_mask(row) for row in load_truth(truth, "masks") if row["label"] == label}


def test_the_video_has_the_frames_that_were_asked_for(images):
    assert [image.shape for image in images] == [(180, 320, 3)] * 8


def test_the_cut_is_where_the_colours_change_most(truth, images):
    assert [row["frame"] for row in load_truth(truth, "cuts")] == [0, 4]
    change = [np.abs(b.mean(axis=(0, 1)) - a.mean(axis=(0, 1))).max() for a, b in pairwise(images)]
    assert int(np.argmax(change)) + 1 == 4


def test_camera_poses_are_rigid_and_move(truth):
    trajectory = poses(load_truth(truth, "reconstructions"), "T_world_camera")
    assert sorted(trajectory) == list(range(8))
    for t in trajectory.values():
        np.testing.assert_allclose(t[:3, :3] @ t[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(t[:3, :3]) == pytest.approx(1.0)
        np.testing.assert_array_equal(t[3], [0, 0, 0, 1])
    steps = [np.linalg.norm(trajectory[i + 1][:3, 3] - trajectory[i][:3, 3]) for i in (0, 1, 2, 4, 5, 6)]
    assert min(steps) > 0.02


def test_camera_poses_move_the_table_as_the_pixels_move(truth, images):
    """The table's plane, mapped from one frame into the next by the poses, lands on the same texture."""
    trajectory, k = poses(load_truth(truth, "reconstructions"), "T_world_camera"), camera_of(truth)

    def from_table(frame):
        t = np.linalg.inv(trajectory[frame])
        return k @ np.stack([t[:3, 0], t[:3, 1], t[:3, 2] * 0.74 + t[:3, 3]], axis=1)

    here, there = images[4].mean(axis=2).astype(np.float32), images[5].mean(axis=2).astype(np.float32)
    between = from_table(5) @ np.linalg.inv(from_table(4))
    warped = cv2.warpPerspective(here, between, (320, 180), borderValue=(-1.0,))
    table = warped >= 0
    for label in ("hand", "sleeve", "object"):
        for masks in masks_of(truth, label).items():
            if masks[0] == 5:
                table &= ~masks[1]
    table[:60] = False
    aligned = np.median(np.abs(warped - there)[table])
    left_alone = np.median(np.abs(here - there)[table])
    assert aligned < 0.5 * left_alone


def test_joints_lie_in_the_hand_or_behind_the_object(truth):
    hands, objects, rows = masks_of(truth, "hand"), masks_of(truth, "object"), load_truth(truth, "hand_poses")
    assert len(rows) >= 3
    seen = []
    for row in rows:
        hand = cv2.dilate(hands[row["frame"]].astype(np.uint8), np.ones((3, 3), np.uint8))
        behind = objects[row["frame"]]
        for x, y in np.round(np.reshape(row["keypoints_2d"], (21, 2))).astype(int):
            if 0 <= x < 320 and 0 <= y < 180:
                assert hand[y, x] or behind[y, x], f"frame {row['frame']}: joint at {x}, {y}"
                seen.append(bool(hand[y, x]))
    assert np.mean(seen) > 0.7


def test_a_glove_changes_the_hand_and_nothing_else(video, truth, images, tmp_path):
    """The same truth and the same picture, but for the colour of what was skin."""
    path = tmp_path / "gloved.mp4"
    render(path, replace(OPTIONS, gloves=True))
    gloved = path.with_suffix(".truth")
    for table in ("hand_poses", "masks", "reconstructions"):
        assert load_truth(gloved, table) == load_truth(truth, table)
    with av.open(str(path)) as container:
        pictures = [frame.to_ndarray(format="rgb24").astype(float) for frame in container.decode(video=0)]
    hands = {frame: mask for frame, mask in masks_of(truth, "hand").items() if mask.sum() > 200}
    assert len(hands) >= 3
    for frame, hand in hands.items():
        skin, glove = images[frame][hand].mean(axis=0), pictures[frame][hand].mean(axis=0)
        assert skin[0] - skin[2] > 20
        assert glove[0] - glove[2] < 0
        away = ~cv2.dilate(hand.astype(np.uint8), np.ones((17, 17), np.uint8)).astype(bool)
        assert np.abs(pictures[frame] - images[frame])[away].mean() < 3


def test_keypoints_2d_are_the_projected_keypoints_3d(truth):
    k = camera_of(truth)
    for row in load_truth(truth, "hand_poses"):
        joints = np.reshape(row["keypoints_3d"], (21, 3))
        np.testing.assert_allclose(project(k, joints), np.reshape(row["keypoints_2d"], (21, 2)), atol=1e-6)
        assert 0.14 < np.linalg.norm(np.diff(joints[[0, 9, 10, 11, 12]], axis=0), axis=1).sum() < 0.23


def test_the_hand_is_a_right_hand_seen_from_the_back(truth):
    """Seen from the back with the fingers up, a right hand has its thumb on the left."""
    for row in load_truth(truth, "hand_poses"):
        p = np.reshape(row["keypoints_2d"], (21, 2))
        fingers, thumb_side = p[9] - p[0], p[5] - p[17]
        assert fingers[0] * thumb_side[1] - fingers[1] * thumb_side[0] < 0


def test_object_mask_is_its_posed_box(truth):
    k, t, masks = (
        camera_of(truth),
        poses(load_truth(truth, "object_poses"), "T_camera_object"),
        masks_of(truth, "object"),
    )
    hands = masks_of(truth, "hand")
    for row in load_truth(truth, "object_poses"):
        frame = row["frame"]
        corners = (CORNERS * row["size"]) @ t[frame][:3, :3].T + t[frame][:3, 3]
        outline = project(k, corners)
        ys, xs = np.nonzero(masks[frame])
        box = np.array([xs.min(), ys.min(), xs.max(), ys.max()])
        expected = np.concatenate([outline.min(axis=0), outline.max(axis=0)])
        assert (box[:2] > expected[:2] - 1.5).all()
        assert (box[2:] < expected[2:] + 1.5).all()
        if frame not in hands:
            np.testing.assert_allclose(box, expected, atol=1.5)


def test_object_stands_still_until_it_is_lifted_and_after_it_is_set_down(truth):
    cameras = poses(load_truth(truth, "reconstructions"), "T_world_camera")
    rows = load_truth(truth, "object_poses")
    assert {row["obj_id"] for row in rows[:4]} == {3}
    assert {row["obj_id"] for row in rows[4:]} == {4}
    places = {row["frame"]: cameras[row["frame"]] @ np.reshape(row["T_camera_object"], (4, 4)) for row in rows}
    for first, last in ((0, 3), (4, 7)):
        assert np.linalg.norm(places[last][:3, 3] - places[first][:3, 3]) > 0.15
        assert places[last][2, 3] == pytest.approx(places[first][2, 3])


def test_the_truth_says_what_made_it(truth):
    about = json.loads((truth / "truth.json").read_text())
    assert about["seed"] == 3
    assert about["licence"] == "CC0-1.0"
    shape = {"width": 320, "height": 180, "fps": 15, "gloves": False}
    hard = {"head": "sway", "k1": 0.0, "readout": 0.0, "exposure": 0.0}
    assert about["options"] == {"seed": 3, "seconds": 8 / 15, **shape, **hard}


def test_unknown_table_and_missing_folder_are_refused(truth, tmp_path):
    with pytest.raises(UnknownName, match="hand_poses"):
        load_truth(truth, "hands")
    with pytest.raises(FileNotFoundError, match="render the sample again"):
        load_truth(Path(tmp_path), "masks")
