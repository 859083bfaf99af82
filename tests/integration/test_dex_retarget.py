"""dex-retargeting in its own env, fed with hands that MediaPipe found in real videos."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.catalog import Catalog
from egoworld_runner.tables import HandPose, schema
from made_clips import ModelEnvRuns, Ran

pytestmark = pytest.mark.env

WEBCAM = "dex-retargeting/example/vector_retargeting/data/human_hand_video.mp4"
BLOCKS = "sam2/demo/data/gallery/03_blocks.mp4"
SPANS = [(0, 8), (8, 16)]
BOTH = (140, 144)
EMPTY = (30, 32)
CONFIGS = "dex-retargeting/src/dex_retargeting/configs"
HANDS = "dex-urdf/robots/hands"
TIPS = {4: "thumb_tip", 8: "index_tip", 12: "middle_tip", 16: "ring_tip", 20: "little_tip"}


@pytest.fixture(scope="module")
def retarget(builder: EnvBuilder, catalog: Catalog) -> ModelEnvRuns:
    return ModelEnvRuns(builder, catalog, "dex_retarget", "robot_trajectories")


@pytest.fixture(scope="module")
def hand_poses(builder: EnvBuilder, catalog: Catalog, shared_data: Path, tmp_path_factory: Any) -> dict[str, Path]:
    """An artifact of hand poses for each video, as the store would hold it: the rows of all clips in one table."""
    folder = tmp_path_factory.mktemp("poses")
    videos = {"webcam": (shared_data / WEBCAM, SPANS), "blocks": (shared_data / BLOCKS, [BOTH])}
    ran = ModelEnvRuns(builder, catalog, "mediapipe", "hand_poses").run(folder / "run", videos)
    made: dict[str, Path] = {}
    for video, (_, spans) in videos.items():
        made[video] = folder / video
        made[video].mkdir()
        whole = pa.concat_tables([pq.read_table(ran.table(video, span)) for span in spans])
        pq.write_table(whole, made[video] / "hand_poses.parquet")
    return made


@pytest.fixture(scope="module")
def run(retarget: ModelEnvRuns, hand_poses: dict[str, Path], shared_data: Path, tmp_path_factory: Any) -> Any:
    """Runs both videos and a clip without hands, in one process, with parameters of the test."""
    nothing = tmp_path_factory.mktemp("nothing")
    pq.write_table(schema(HandPose).empty_table(), nothing / "hand_poses.parquet")

    def once(webcam: list[tuple[int, int]] = SPANS, poses: dict[str, Path] = hand_poses, **params: Any) -> Ran:
        videos = {name: (shared_data / file, spans) for name, file, spans in (
            ("webcam", WEBCAM, webcam), ("empty", WEBCAM, [EMPTY]), ("blocks", BLOCKS, [BOTH]))}  # fmt: skip
        given = {"empty": nothing, **poses}
        inputs = {video: {"hand_poses": given[video]} for video in videos}
        return retarget.run(tmp_path_factory.mktemp("robot"), videos, inputs, **params)

    return once


@pytest.fixture(scope="module")
def generic(run: Any) -> Ran:
    return run()


@pytest.fixture(scope="module")
def dexpilot(run: Any) -> Ran:
    return run(retargeting="dexpilot")


@pytest.fixture(scope="module")
def allegro(run: Any, shared_data: Path) -> Ran:
    return run(**robots(shared_data)["allegro"])


def all_rows(ran: Ran) -> list[dict[str, Any]]:
    return [row for span in SPANS for row in ran.rows("webcam", span)] + ran.rows("blocks", BOTH)


def numbers(text: str | None) -> NDArray[np.float64]:
    return np.array([float(x) for x in (text or "0 0 0").split()])


def limits(urdf: Path) -> dict[str, tuple[float, float]]:
    """Joint name to lower and upper limit, read from the XML."""
    found = {}
    for joint in ET.parse(urdf).getroot().iter("joint"):
        limit = joint.find("limit")
        if joint.get("type") == "revolute" and limit is not None:
            found[str(joint.get("name"))] = (float(limit.get("lower", "nan")), float(limit.get("upper", "nan")))
    return found


def link_positions(urdf: Path, at: dict[str, float]) -> dict[str, NDArray[np.float64]]:
    """Forward kinematics of our own, from the XML alone: link name to its origin in the root frame."""
    joints = list(ET.parse(urdf).getroot().iter("joint"))
    poses: dict[str, tuple[Rotation, NDArray[np.float64]]] = {"wrist": (Rotation.identity(), np.zeros(3))}
    for joint in joints:  # parents come before children in these files
        parent, child, origin, axis = (joint.find(tag) for tag in ("parent", "child", "origin", "axis"))
        assert parent is not None
        assert child is not None
        assert origin is not None
        turn, place = poses[str(parent.get("link"))]
        angle = at.get(str(joint.get("name")), 0.0)
        own = Rotation.from_euler("xyz", numbers(origin.get("rpy")))
        if axis is not None:
            own = own * Rotation.from_rotvec(angle * numbers(axis.get("xyz")))
        poses[str(child.get("link"))] = (turn * own, place + turn.apply(numbers(origin.get("xyz"))))
    return {link: place for link, (_, place) in poses.items()}


def wrist_frame(row: dict[str, Any]) -> NDArray[np.float64]:
    """Human joints along fingers (z), out of the palm (x) and y = z x x, written again, independently."""
    points = np.asarray(row["keypoints_3d"], dtype=np.float64).reshape(21, 3)
    points = points - points[0]
    z = points[9] / np.linalg.norm(points[9])
    out = np.cross(points[5], points[9]) * (1 if row["side"] == "right" else -1)
    x = out / np.linalg.norm(out)
    return points @ np.stack([x, np.cross(z, x), z], axis=1)


def urdf_of(repository: Path, side: str) -> Path:
    return repository / "envs" / "dex_retarget" / f"generic_hand_{side}.urdf"


def test_every_hand_gets_a_robot_pose_that_reaches_its_fingertips(
    generic: Ran, hand_poses: dict[str, Path], repository: Path
) -> None:
    human = {(r["clip_id"], r["frame"], r["side"]): r for p in hand_poses.values() for r in pq.read_table(
        p / "hand_poses.parquet").to_pylist()}  # fmt: skip
    rows = all_rows(generic)
    assert {(row["clip_id"], row["frame"], row["side"]) for row in rows} == set(human)
    assert {row["side"] for row in rows} == {"left", "right"}
    for row in rows:
        at = dict(zip(row["joint_names"], row["positions"], strict=True))
        links = link_positions(urdf_of(repository, row["side"]), at)
        points = wrist_frame(human[row["clip_id"], row["frame"], row["side"]])
        gap = np.mean([np.linalg.norm(links[link] - points[joint]) for joint, link in TIPS.items()])
        assert row["tip_error"] == pytest.approx(gap, abs=1e-5)
    webcam = [row["tip_error"] for span in SPANS for row in generic.rows("webcam", span)]
    assert np.median(webcam) < 0.02


def test_the_left_file_is_the_right_one_mirrored(repository: Path) -> None:
    right, left = (urdf_of(repository, side) for side in ("right", "left"))
    assert limits(right) == limits(left)
    rng = np.random.default_rng(0)
    at = {name: float(rng.uniform(low, high)) for name, (low, high) in limits(right).items()}
    assert len(at) == 21
    ours, mirrored = link_positions(right, at), link_positions(left, at)
    for link, place in ours.items():
        np.testing.assert_allclose(mirrored[link], place * (1, -1, 1), atol=1e-4, err_msg=link)


def mirrored_poses(hand_poses: dict[str, Path], folder: Path) -> dict[str, Path]:
    """The same hands as a mirror shows them: left for right, x for -x."""
    made: dict[str, Path] = {}
    for video, artifact in hand_poses.items():
        rows = pq.read_table(artifact / "hand_poses.parquet").to_pylist()
        for row in rows:
            row["side"] = "left" if row["side"] == "right" else "right"
            row["keypoints_3d"] = (np.asarray(row["keypoints_3d"]).reshape(21, 3) * (-1, 1, 1)).reshape(-1).tolist()
        made[video] = folder / video
        made[video].mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=schema(HandPose)), made[video] / "hand_poses.parquet")
    return made


def test_hands_are_mirrored_onto_a_robot_that_is_given_for_one_side(
    allegro: Ran, run: Any, hand_poses: dict[str, Path], shared_data: Path, tmp_path: Path
) -> None:
    """Every hand and its mirror image move the one Allegro hand alike."""
    expected = {(r["frame"], r["side"]): r for r in all_rows(allegro)}
    assert {side for _, side in expected} == {"left", "right"}
    for row in all_rows(run(poses=mirrored_poses(hand_poses, tmp_path), **robots(shared_data)["allegro"])):
        other = expected[row["frame"], "left" if row["side"] == "right" else "right"]
        np.testing.assert_allclose(row["positions"], other["positions"], atol=0.02)


def robots(data: Path) -> dict[str, dict[str, Any]]:
    urdf = {hand: str(data / HANDS / f"{hand}_hand" / f"{hand}_hand_right.urdf") for hand in ("allegro", "shadow")}
    config = {file: str(data / CONFIGS / f"{file}.yml") for file in (
        "teleop/allegro_hand_right", "teleop/shadow_hand_right_dexpilot", "offline/shadow_hand_right")}  # fmt: skip
    return {
        "allegro": {"robot": "allegro", "urdf": urdf["allegro"], "config": config["teleop/allegro_hand_right"]},
        "shadow": {"robot": "shadow", "urdf": urdf["shadow"], "config": config["teleop/shadow_hand_right_dexpilot"]},
        "shadow floating": {"robot": "shadow", "urdf": urdf["shadow"], "config": config["offline/shadow_hand_right"]},
    }


@pytest.mark.parametrize(
    ("robot", "joints", "reach"),
    [("allegro", 16, 0.06), ("shadow", 24, 0.03), ("shadow floating", 24, 0.03)],
)
def test_any_robot_follows_by_its_configuration_within_its_limits(
    robot: str, joints: int, reach: float, run: Any, shared_data: Path, request: pytest.FixtureRequest
) -> None:
    params = robots(shared_data)[robot]
    rows = all_rows(request.getfixturevalue("allegro") if robot == "allegro" else run(**params))
    assert len(rows) == 24
    assert {row["robot"] for row in rows} == {params["robot"]}
    assert {len(row["positions"]) for row in rows} == {joints}
    assert_within_limits(rows, limits(Path(params["urdf"])))
    assert np.median([row["tip_error"] for row in rows]) < reach
    assert np.ptp([row["positions"] for row in rows], axis=0).max() > 0.1, "the robot moves"


def test_joint_limits_of_the_generic_hand_are_kept(generic: Ran, dexpilot: Ran, repository: Path) -> None:
    rows, allowed = all_rows(generic) + all_rows(dexpilot), limits(urdf_of(repository, "right"))
    assert_within_limits(rows, allowed)
    bounds = np.array([allowed[name] for name in rows[0]["joint_names"]])
    positions = np.array([row["positions"] for row in rows])
    reached = np.isclose(positions, bounds[:, 0], atol=1e-6) | np.isclose(positions, bounds[:, 1], atol=1e-6)
    assert reached.any(), "no joint came to a limit: this proves nothing"


def assert_within_limits(rows: list[dict[str, Any]], allowed: dict[str, tuple[float, float]]) -> None:
    for row in rows:
        for name, position in zip(row["joint_names"], row["positions"], strict=True):
            low, high = allowed[name]
            assert low <= position <= high, (name, position)


def test_clips_know_nothing_of_each_other_and_come_out_the_same_again(dexpilot: Ran, run: Any) -> None:
    """DexPilot remembers most: the pose before, and which fingertips touched."""
    alone = run(webcam=SPANS[1:], retargeting="dexpilot")
    assert dexpilot.loads == 1
    assert len(alone.rows("webcam", SPANS[1])) == 8
    assert dexpilot.table("webcam", SPANS[1]).read_bytes() == alone.table("webcam", SPANS[1]).read_bytes()
    assert dexpilot.table("blocks", BOTH).read_bytes() == alone.table("blocks", BOTH).read_bytes()


def test_a_clip_without_hands_has_no_rows(generic: Ran) -> None:
    assert generic.report("empty", EMPTY)["state"] == "done"
    assert generic.rows("empty", EMPTY) == []


def test_nothing_is_printed(generic: Ran, allegro: Ran) -> None:
    assert generic.log == allegro.log == ""


def test_a_wrong_urdf_fails_its_clips_and_is_named(run: Any, tmp_path: Path) -> None:
    urdf = tmp_path / "broken.urdf"
    urdf.write_text("<robot name='broken'><link name='wrist'>", encoding="utf-8")
    ran = run(urdf=str(urdf))
    for video, span in (("webcam", SPANS[0]), ("blocks", BOTH)):
        assert ran.report(video, span)["state"] == "failed"
        assert f"{urdf} cannot be retargeted to" in ran.report(video, span)["reason"]


IN_THE_ENV = """
import json, sys
sys.path.insert(0, sys.argv[1])
from egoworld_runner import ClipFailed
from robot_hand import RobotHand, smoothed
import numpy as np
reasons = []
for params in json.loads(sys.argv[2]):
    try:
        RobotHand(params, "right")
        reasons.append("")
    except ClipFailed as error:
        reasons.append(str(error))
step = np.repeat([[0.0], [1.0]], 8, axis=0)
print(json.dumps({"reasons": reasons, "step": smoothed(step, 0.5)[:, 0].tolist()}))
"""

WRONG = [
    ({"urdf": "{tmp}/missing.urdf"}, ["missing.urdf does not exist"]),
    ({"urdf": "hand.urdf"}, ["hand.urdf is not an absolute path"]),
    ({"urdf": "{tmp}/other.urdf"}, ["other.urdf cannot be retargeted to", "is not a link name"]),
    ({"urdf": "{tmp}/other.urdf", "config": "{tmp}/list.yml"}, ["list.yml: not a dex-retargeting YAML"]),
    ({"urdf": "{tmp}/other.urdf", "robot_side": "up"}, ["robot_side is 'up'", "left, right"]),
    ({"retargeting": "magic"}, ["'magic'", "vector, position, dexpilot"]),
    ({"human_joints": [4, 8]}, ["target_links and human_joints must be of one length"]),
]
OTHER = (
    "<robot name='other'><link name='base'/><link name='tip'/><joint name='j' type='revolute'><parent link='base'/>"
    "<child link='tip'/><axis xyz='0 0 1'/><limit lower='-1' upper='1' effort='1' velocity='1'/></joint></robot>"
)


def test_wrong_parameters_are_named_and_the_filter_has_no_delay(retarget: ModelEnvRuns, tmp_path: Path) -> None:
    (tmp_path / "other.urdf").write_text(OTHER, encoding="utf-8")
    (tmp_path / "list.yml").write_text("- 1\n- 2\n", encoding="utf-8")
    model = retarget.catalog.model("robot_trajectories", "dex_retarget")
    given = [{**model.params, **changed} for changed, _ in WRONG]
    text = json.dumps(given).replace("{tmp}", str(tmp_path))
    command = [str(retarget.builder.ensure("dex_retarget").python), "-I", "-c", IN_THE_ENV, str(model.folder), text]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout)
    for (_, words), reason in zip(WRONG, answer["reasons"], strict=True):
        assert all(word in reason for word in words), reason
    step = np.array(answer["step"])
    assert np.all(np.diff(step) >= 0)
    assert 0.1 < step[7] < 0.5 < step[8] < 0.9
    assert step[7] + step[8] == pytest.approx(1.0, abs=0.2), "a delay would push both below the middle"
