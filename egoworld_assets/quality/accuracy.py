"""How far the flow's results on a sample video are from its truth, stage by stage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.table import Table

from egoworld_resources.artifacts.manifest import Manifest
from egoworld_resources.artifacts.stage import Draft
from egoworld_resources.errors import DamagedArtifact, EgoworldError
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.sample import truth_errors
from egoworld_resources.sample.arrays import SampleTruth, matrices, run_lengths, truth_of
from egoworld_resources.sample.truth_errors import Array, Rle
from egoworld_runner.tables import MOVING

CLIPS = "clips"
FIRST_OBJECT = 3
ON_THE_HAND = 0.5
"""A hand that was found is the true one when its joints are this near on average, as a share of the hand's size."""
FEWEST_POSES = 5
"""Of fewer poses the free choice of the object's own frame would explain away the error."""
ATE_GOAL = 2.0


@dataclass(frozen=True)
class Measurement:
    """One number about one stage. value: None where it could not be measured, detail explains why.

    goal: what the value may not exceed; ok: whether it does not, None without a goal or a value.
    """

    stage: str
    what: str
    value: float | None
    unit: str
    goal: float | None
    ok: bool | None
    detail: str


def measured(
    stage: str, what: str, value: float | None, unit: str = "", detail: str = "", goal: float | None = None
) -> Measurement:
    """A measurement, held against its goal; a value that is not finite counts as not measured."""
    if value is not None:
        value = float(value) if np.isfinite(value) else None
    ok = None if goal is None or value is None else bool(value <= goal)
    return Measurement(stage, what, value, unit, goal, ok, detail)


def sample_truth(bench: Workbench, video: str) -> Path | None:
    """The truth folder of a video that `egoworld demo` rendered, found by the video's bytes; None for other videos."""
    facts = bench.store.recorded("videos", video)
    return truth_of(bench.layout.home / "sample", facts["sha256"]) if facts else None


def accuracy_of(bench: Workbench, video: str, truth: Path) -> list[Measurement]:
    """The errors of every stage of a sample video, in data-flow order.

    A stage whose artifact is missing, failed, quarantined, damaged or of another video's bytes gets one line that says
    so. Raises FileNotFoundError for a folder that holds no truth.
    """
    case = Case(bench, video, SampleTruth(truth))
    found: list[Measurement] = []
    for stage, measure in MEASURES.items():
        if fault := case.fault(stage):
            found.append(measured(stage, "not measured", None, detail=fault))
        else:
            found += [*case.failed_clips(stage), *measure(case)]
    return found


def accuracy_table(measurements: Sequence[Measurement], *, brief: bool = False) -> Table:
    """One line per measurement; the value is green when the goal is kept and red when not. brief: without the how."""
    columns = ["stage", "measured against the truth", "value", "goal", *([] if brief else ["how"])]
    table = Table(*columns, header_style="bold")
    last = ""
    for m in measurements:
        if m.stage != last:
            table.add_section()
        colour = {None: "white", True: "green", False: "red"}[m.ok]
        goal = "" if m.goal is None else f"at most {_shown(m.goal)} {m.unit}"
        value = "–" if m.value is None else f"[{colour}]{_shown(m.value)} {m.unit}[/{colour}]"
        row = [m.stage if m.stage != last else "", m.what, value, goal, m.detail]
        table.add_row(*row[: len(columns)])
        last = m.stage
    return table


def _shown(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


class Case:
    """One video's artifacts beside its truth."""

    def __init__(self, bench: Workbench, video: str, truth: SampleTruth) -> None:
        self.bench, self.video, self.truth = bench, video, truth

    @cached_property
    def spans(self) -> list[tuple[str, int, int]]:
        """Clip id, start and end frame of every clip."""
        return self.bench.clips(self.bench.store.current("clips", self.video))

    def made(self, stage: str) -> Manifest:
        """The live artifact of a stage that has no fault."""
        made = self.bench.store.current(stage, self.video)
        if made is None:
            raise DamagedArtifact(f"{stage} of {self.video} went away while it was measured; run this again")
        return made

    def fault(self, stage: str) -> str:
        """Why a stage cannot be measured; empty when it can."""
        try:
            made = self.bench.store.current(stage, self.video)
        except DamagedArtifact as error:
            return f"damaged: {error}"
        if failure := self.bench.store.recorded("failures", f"{stage}/{self.video}"):
            return f"failed: {failure['reason']}"
        if made is None:
            return "it has not been made"
        if made.quarantine:
            return f"quarantined: {made.quarantine}"
        if made.source.get("sha256") != self.truth.about["video_sha256"]:
            return "it was made from other bytes than the video of this truth; run `egoworld refresh`"
        if faults := self.bench.store.verify(made):
            return f"damaged: {faults[0]}"
        without = "" if stage == CLIPS else self.fault(CLIPS)
        return f"clips: {without}" if without else ""

    def failed_clips(self, stage: str) -> Iterator[Measurement]:
        """A line when some clips of a stage failed: what follows counts their frames as not served."""
        clips = self.made(stage).clips
        bad = [clip for clip in clips if clip.state == "failed"]
        if bad:
            yield measured(stage, "clips that failed", 100 * len(bad) / len(clips), "%", bad[0].reason, goal=0)

    def table(self, stage: str) -> pa.Table:
        """All rows of a stage."""
        made = self.made(stage)
        return Draft(stage, self.bench.store.folder(made), made.clips, {}).table()

    @cached_property
    def masks(self) -> dict[tuple[str, int], dict[int, Rle]]:
        """Masks by clip and obj_id, then by frame; empty where the stage cannot be measured."""
        found: dict[tuple[str, int], dict[int, Rle]] = defaultdict(dict)
        for row in [] if self.fault("masks") else self.table("masks").to_pylist():
            found[row["clip_id"], row["obj_id"]][row["frame"]] = run_lengths(row)
        return dict(found)

    @cached_property
    def objects(self) -> dict[str, int]:
        """The obj_id by clip whose masks overlap the true object's best; clips without an overlap are left out."""
        found: dict[str, int] = {}
        for clip, start, end in self.spans:
            true = {f: m for f, m in self.truth.masks["object"].items() if start <= f < end}
            ids = [obj_id for c, obj_id in self.masks if c == clip and obj_id >= FIRST_OBJECT]
            overlaps = {i: sum(_overlaps(self.masks[clip, i], true).values()) for i in ids}
            best = max(overlaps, key=lambda i: overlaps[i], default=None)
            if best is not None and overlaps[best] > 0:
                found[clip] = best
        return found

    @cached_property
    def cameras(self) -> dict[str, dict[int, dict[str, Any]]]:
        """Registered rows of the reconstructions by clip and frame; empty where they cannot be measured."""
        found: dict[str, dict[int, dict[str, Any]]] = {clip: {} for clip, _, _ in self.spans}
        for row in [] if self.fault("reconstructions") else self.table("reconstructions").to_pylist():
            if row["registered"]:
                found.setdefault(row["clip_id"], {})[row["frame"]] = row
        return found

    def positions(self, clip: str, frames: Sequence[int]) -> tuple[Array, Array]:
        """Estimated and true camera positions [n x 3] in those of some frames of a clip where it is known."""
        kept = [frame for frame in frames if self.cameras[clip].get(frame, {}).get("kind") == MOVING]
        rows = [self.cameras[clip][frame] for frame in kept]
        return matrices(rows, "T_world_camera")[:, :3, 3], self.truth.t_world_camera[kept, :3, 3]


def _clips(case: Case) -> Iterator[Measurement]:
    rows = sorted(case.table("clips").to_pylist(), key=lambda row: row["start_frame"])
    found = {after["start_frame"] for before, after in pairwise(rows) if after["shot"] != before["shot"]}
    true = set(case.truth.cuts)
    detail = f"true cuts at {sorted(true)}, found at {sorted(found)}"
    yield measured("clips", "cuts found at the exact frame", len(true & found), "cuts", f"of {len(true)}")
    yield measured("clips", "cuts missed", len(true - found), "cuts", detail, goal=0)
    yield measured("clips", "false cuts", len(found - true), "cuts", detail, goal=0)


def _hand_poses(case: Case) -> Iterator[Measurement]:
    truth, found = case.truth, defaultdict[int, list[tuple[str, Array]]](list)
    for row in case.table("hand_poses").select(["frame", "side", "keypoints_2d"]).to_pylist():
        found[row["frame"]].append((row["side"], np.reshape(np.array(row["keypoints_2d"], float), (21, 2))))
    right, wrong, near, beside, errors = 0, 0, 0, 0, list[Array]()
    for frame, row in truth.hands.items():
        true = np.reshape(row["keypoints_2d"], (21, 2))
        counted = ((true >= -0.5) & (true < truth.size - 0.5)).all(axis=1)
        gaps = [
            (s, np.linalg.norm(k - true, axis=1)[counted] / truth_errors.box_diagonal(true)) for s, k in found[frame]
        ]
        on = sorted(((s, gap) for s, gap in gaps if gap.mean() < ON_THE_HAND), key=lambda hand: hand[1].mean())
        same = [gap for side, gap in on if side == row["side"]]
        right, near, beside = right + bool(same), near + bool(on), beside + (len(gaps) > bool(on))
        if on:
            wrong += on[0][0] != row["side"]
            errors.append(same[0] if same else on[0][1])
    pooled = np.concatenate(errors) if errors else np.array([])
    size = "of the hand's size: the diagonal of the box around its true joints"
    seen, known = f"of {len(truth.hands)} frames with the hand in view", f"of {near} frames with the hand found"
    free = [f for f in truth.frames if f not in truth.hands and f not in truth.masks["hand"]]
    false = sum(bool(found.get(frame)) for frame in free)
    yield measured("hand_poses", "the hand found, with its side", _percent(right, len(truth.hands)), "%", seen)
    yield measured("hand_poses", "wrong side", _percent(wrong, near), "%", known, goal=0)
    yield measured("hand_poses", "keypoint error, mean", 100 * _mean(pooled), "%", f"{size}; joints in the picture")
    yield measured("hand_poses", "keypoint error, median", 100 * _quantile(pooled, 0.5), "%", size)
    yield measured("hand_poses", "a second hand that does not exist", _percent(beside, len(truth.hands)), "%", seen)
    seen = f"of {len(free)} frames without a hand"
    yield measured("hand_poses", "a hand where none is", _percent(false, len(free)), "%", seen)


def _masks(case: Case) -> Iterator[Measurement]:
    truth, hands, objects = case.truth, defaultdict[int, list[Rle]](list), dict[int, Rle]()
    for (clip, obj_id), masks in case.masks.items():
        if obj_id < FIRST_OBJECT:
            for frame, rle in masks.items():
                hands[frame].append(rle)
        elif obj_id == case.objects.get(clip):
            objects.update(masks)
    in_view = {f: m for f, m in truth.masks["hand"].items() if f in truth.hands}
    moving = {f: m for f, m in truth.masks["object"].items() if truth.moving[f]}
    overlaps = {f: truth_errors.mask_iou(hands[f], [m]) if hands[f] else 0.0 for f, m in in_view.items()}
    yield from _overlap("hand", overlaps, {f for f in hands if hands[f]}, "bare skin, both sides' masks as one")
    yield from _overlap("object while it moves", _overlaps(objects, moving), set(objects), "the obj_id that fits best")
    yield from _overlap("object", _overlaps(objects, truth.masks["object"]), set(objects), "the obj_id that fits best")


def _overlap(what: str, overlaps: dict[int, float], covered: set[int], how: str) -> Iterator[Measurement]:
    held = [iou for frame, iou in overlaps.items() if frame in covered]
    detail = f"{how}; no mask counts 0; {_shown(_mean(held))} where there is one" if held else f"{how}; no mask at all"
    yield measured("masks", f"{what}: mean IoU", _mean(list(overlaps.values())), "", detail)
    seen = f"of {len(overlaps)} frames"
    yield measured("masks", f"{what}: has a mask", _percent(len(held), len(overlaps)), "%", seen)


def _tracks(case: Case) -> Iterator[Measurement]:
    truth, table = case.truth, case.table("tracks")
    order = [(column, "ascending") for column in ("clip_id", "track_id", "frame")]
    table = table.filter(table["visible"]).sort_by(order)
    frames, pixels = table["frame"].to_numpy(), np.column_stack([table["x"].to_numpy(), table["y"].to_numpy()])
    clips, ids = table["clip_id"].combine_chunks().dictionary_encode().indices.to_numpy(), table["track_id"].to_numpy()
    first = np.ones(len(frames), bool)
    first[1:] = (np.diff(clips) != 0) | (np.diff(ids) != 0)
    births, track = np.flatnonzero(first), np.cumsum(first) - 1
    on_object, on_room, points = np.zeros(len(births), bool), np.zeros(len(births), bool), np.zeros((len(births), 3))
    for frame in np.unique(frames[births]):
        here = np.flatnonzero(frames[births] == frame)
        on_object[here], on_room[here], points[here] = truth.surface(int(frame), pixels[births[here]])
    later = ~first & (truth.shots[frames] == truth.shots[frames[births]][track]) if len(frames) else first
    kinds = (
        ("object", on_object, truth.t_camera_object),
        ("background", on_room, truth_errors.rigid_inverse(truth.t_world_camera)),
    )
    for name, born, poses in kinds:
        rows = np.flatnonzero(later & born[track])
        at = frames[rows]
        true = truth_errors.transformed(poses[at], points[track[rows]]) if len(rows) else np.zeros((0, 3))
        errors = np.linalg.norm(pixels[rows] - truth_errors.project(truth.intrinsics[at], true), axis=1)
        errors = errors[np.isfinite(errors)]
        how = f"{len(errors)} points of {len(np.unique(track[rows]))} tracks that were born on the {name}"
        if name == "background" and not truth.room:
            how = "the sample was rendered by another version of egoworld; run `egoworld demo` again"
        yield measured("tracks", f"{name}: error, median", _quantile(errors, 0.5), "px", how)
        yield measured("tracks", f"{name}: error, 90th percentile", _quantile(errors, 0.9), "px", how)


def _reconstructions(case: Case) -> Iterator[Measurement]:
    truth = case.truth
    for clip, start, end in case.spans:
        frames, name = truth.shot_frames(start, end), f"frames {start} to {end - 1}"
        cut = f"; only frames {frames[0]} to {frames[-1]}, a cut is in it" if len(frames) < end - start else ""
        found, true = case.positions(clip, frames)
        length = truth_errors.path_length(truth.t_world_camera[frames, :3, 3])
        try:
            error = truth_errors.trajectory_error(found, true)
            how = f"{1000 * error:.1f} mm RMSE after the best similarity, of a path of {length:.2f} m{cut}"
        except ValueError as fault:
            error, how = float("nan"), f"{len(found)} frames registered: {fault}"
        known = [f for f in frames if f in case.cameras[clip]]
        lenses = {f: case.cameras[clip][f]["intrinsics"] for f in known}
        focal = [lens[0] / truth.intrinsics[f, 0] for f, lens in lenses.items() if lens is not None]
        poses = matrices((case.cameras[clip][f] for f in known), "T_world_camera")
        turns = truth_errors.orientation_errors(poses[:, :3, :3], truth.t_world_camera[known, :3, :3])
        wrong, detail = 100 * abs(_quantile(focal, 0.5) - 1), f"of {len(frames)} frames"
        share = 100 * error / length if length else float("nan")
        yield measured("reconstructions", f"ATE, {name}", share, "%", how, goal=ATE_GOAL)
        yield measured("reconstructions", f"registered, {name}", _percent(len(known), len(frames)), "%", detail)
        turned = "RMS after the best rotation of the world"
        yield measured("reconstructions", f"rotation error, {name}", _rms(turns), "deg", turned)
        yield measured("reconstructions", f"focal length error, {name}", wrong, "%", "median of the registered frames")


def _object_poses(case: Case) -> Iterator[Measurement]:
    truth, rows = case.truth, case.table("object_poses").to_pylist()
    for clip, start, end in case.spans:
        frames, name = truth.shot_frames(start, end), f"frames {start} to {end - 1}"
        key = (clip, case.objects.get(clip))
        mine = [row for row in rows if (row["clip_id"], row["obj_id"]) == key and row["frame"] in frames]
        turn, gap, detail = np.array([]), np.array([]), ("", "")
        try:
            if len(mine) < FEWEST_POSES:
                raise ValueError(f"{len(mine)} poses of the true object, fewer than {FEWEST_POSES}")
            scale = truth_errors.umeyama(*case.positions(clip, frames)).scale
            true = truth.t_camera_object[[row["frame"] for row in mine]]
            turn, gap = truth_errors.object_pose_errors(matrices(mine, "T_camera_object"), true, scale)
            detail = tuple(f"90th percentile {_shown(_quantile(e, 0.9))}" for e in (turn, 1000 * gap))
        except ValueError as fault:
            detail = (str(fault), str(fault))
        seen = [frame for frame in frames if frame in truth.masks["object"]]
        share, of = _percent(len(mine), len(seen)), f"of {len(seen)} frames with the object"
        yield measured("object_poses", f"rotation error, {name}, median", _quantile(turn, 0.5), "deg", detail[0])
        yield measured(
            "object_poses", f"translation error, {name}, median", 1000 * _quantile(gap, 0.5), "mm", detail[1]
        )
        yield measured("object_poses", f"has a pose, {name}", share, "%", of)


def _robot_trajectories(case: Case) -> Iterator[Measurement]:
    rows = case.table("robot_trajectories").to_pylist()
    limits = {side: _joint_limits(case, side) for side in ("left", "right")}
    over = [
        max(low - position, position - high)
        for row in rows
        for name, position in zip(row["joint_names"], row["positions"], strict=True)
        for low, high in [limits[row["side"]].get(name, (np.nan, np.nan))]
    ]
    known = np.array([excess for excess in over if np.isfinite(excess)])
    detail = f"of {len(known)} joint positions, by the robot's URDF; {len(over) - len(known)} without a known limit"
    outside = _percent(int((known > 1e-6).sum()), len(known))
    yield measured("robot_trajectories", "joints outside their limits", outside, "%", detail, goal=0)
    errors = [1000 * row["tip_error"] for row in rows]
    detail = "to the human hand as it was found"
    yield measured("robot_trajectories", "fingertip error, mean", _mean(errors), "mm", detail)


def _joint_limits(case: Case, side: str) -> dict[str, tuple[float, float]]:
    """Lower and upper limit by joint from the URDF that the stage was made with; empty where it is not known."""
    recipe = case.made("robot_trajectories").recipe
    urdf, config = str(recipe.params.get("urdf", "")), recipe.params.get("config")
    try:
        own = [] if urdf or config else case.bench.catalog.model(recipe.stage, recipe.env).data_files()
    except EgoworldError:  # the env is no longer there; the positions still are
        own = []
    files = [Path(urdf.replace("{side}", side))] if urdf else [file for file in own if side in file.stem]
    known = [file for file in files if file.suffix == ".urdf" and file.is_file()]
    return {name: limit for file in known for name, limit in truth_errors.joint_limits(file).items()}


Measure = Callable[[Case], Iterator[Measurement]]
MEASURES: dict[str, Measure] = {
    "clips": _clips,
    "hand_poses": _hand_poses,
    "masks": _masks,
    "tracks": _tracks,
    "reconstructions": _reconstructions,
    "object_poses": _object_poses,
    "robot_trajectories": _robot_trajectories,
}


def _overlaps(found: dict[int, Rle], true: dict[int, Rle]) -> dict[int, float]:
    """IoU by true frame; a frame without a mask counts 0."""
    return {f: truth_errors.mask_iou([found[f]], [m]) if f in found else 0.0 for f, m in true.items()}


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else float("nan")


def _mean(values: Sequence[float] | Array) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2))) if len(values) else float("nan")


def _quantile(values: Sequence[float] | Array, share: float) -> float:
    return float(np.quantile(values, share)) if len(values) else float("nan")
