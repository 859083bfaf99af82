"""Precision and recall of hands over the frames of videos: real ones seen by eye, and samples that wear gloves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.sample import SampleOptions, truth_folder
from egoworld_resources.sample.arrays import SampleTruth
from tests.accuracy.figures import Figure
from tests.accuracy.sample_flow import rendered
from tests.made_clips import ModelEnvRuns, Ran

Array = NDArray[np.float64]
Places = Mapping[int, Mapping[str, tuple[float, float]]]
GLOVED = "samples that wear gloves"
GLOVES = tuple(SampleOptions(seed=s, seconds=6.0, width=480, height=270, fps=15, gloves=True) for s in (5, 23))
KNUCKLES = (5, 9, 13, 17)
SEEN = {
    "blocks": "real hands that sort blocks, seen by eye",
    "dough": "real hands that knead dough, seen by eye",
    "coffee": "real hands that pour coffee, seen by eye",
}
FILES = {
    "blocks": ("sam2/demo/data/gallery/03_blocks.mp4", 292),
    "dough": ("LaViLa/hands-of-a-baker-kneading.gif", 50),
    "coffee": ("sam2/demo/data/gallery/04_coffee.mp4", 110),
}

# fmt: off
# Frame -> side -> (x, y) of the knuckles in px, about, of every hand whose knuckles are in the picture; with "?" one of
# which only fingers are seen: it may be found or not. Read off the pictures by eye, the sides by the person's arms.
BY_EYE: dict[str, Places] = {
    "blocks": {
        0: {"right": (236, 130), "left?": (860, 50)}, 12: {"right": (370, 130), "left?": (930, 45)},
        25: {"right": (825, 150)}, 37: {"right": (808, 322), "left": (980, 65)},
        50: {"right": (645, 288), "left": (925, 110)}, 63: {"right": (757, 300), "left?": (950, 30)},
        75: {"right": (804, 245), "left?": (1127, 22)}, 88: {"right": (830, 60), "left?": (1260, 60)},
        101: {"right?": (690, 15), "left?": (1225, 60)}, 113: {"right?": (520, 45), "left?": (1190, 60)},
        126: {"right": (330, 85), "left": (955, 65)}, 139: {"right": (165, 150), "left": (1000, 110)},
        151: {"right": (110, 215), "left": (1050, 110)}, 164: {"right": (240, 310), "left": (1210, 130)},
        177: {"right": (245, 455), "left": (1170, 130)}, 189: {"right": (314, 455), "left": (1195, 130)},
        202: {"right": (623, 314), "left": (1030, 85)}, 215: {"right": (778, 280), "left?": (1100, 35)},
        227: {"right": (740, 163), "left": (1212, 85)}, 240: {"left": (1152, 215)}, 253: {"left": (1204, 200)},
        265: {"left": (1122, 322)}, 278: {"left": (1148, 300)}, 291: {"left": (1217, 250)},
    },
    "dough": {
        0: {"left": (132, 85), "right?": (28, 85)}, 6: {"right": (110, 112), "left?": (240, 5)},
        8: {"right": (107, 105), "left": (176, 38)}, 10: {"left": (143, 80)},
        14: {"left": (183, 25), "right": (108, 92)},
        16: {"right": (152, 100), "left": (188, 40)}, 22: {"left": (192, 36), "right": (88, 105)},
        24: {"left": (181, 46), "right": (145, 138)}, 26: {"right": (72, 55), "left": (178, 72)},
        28: {"right": (55, 35), "left": (150, 98)}, 30: {"right": (104, 82), "left": (205, 35)},
        32: {"right": (152, 122), "left": (220, 55)}, 34: {"left": (215, 58), "right": (128, 18)},
        36: {"left": (188, 68), "right": (112, 50)}, 38: {"left": (200, 44), "right": (130, 32)},
        42: {"left": (145, 62), "right": (45, 45)}, 44: {"left": (95, 78), "right": (62, 26)}, 46: {"left": (75, 90)},
        48: {"left": (275, 42), "right": (80, 62)},
    },
    "coffee": {
        0: {"right": (370, 430), "left": (1020, 470)}, 12: {"right": (327, 300), "left": (1036, 450)},
        24: {"right": (331, 180), "left": (1020, 430)}, 37: {"right": (357, 142), "left": (1002, 430)},
        74: {"right?": (395, 35), "left": (1010, 425)}, 99: {"left": (1010, 410)},
    },
}
# fmt: on


def run(builder: EnvBuilder, catalog: Catalog, data: Path, folder: Path, names: Sequence[str]) -> Ran:
    """Labelled videos, each as one clip."""
    videos = {name: (data / FILES[name][0], [(0, FILES[name][1])]) for name in names}
    return ModelEnvRuns(builder, catalog, "mediapipe", "hand_poses").run(folder, videos)


def run_gloves(
    builder: EnvBuilder, catalog: Catalog, folder: Path, samples: Sequence[SampleOptions]
) -> tuple[Ran, dict[str, Places]]:
    """The hands of samples that wear gloves, a clip for each of their shots, and where they truly are."""
    paths = {str(options.seed): rendered(folder / "samples", options) for options in samples}
    half, whole = GLOVES[0].shot_starts[1], GLOVES[0].frame_count
    videos = {name: (path, [(0, half), (half, whole)]) for name, path in paths.items()}
    ran = ModelEnvRuns(builder, catalog, "mediapipe", "hand_poses").run(folder / "run", videos)
    return ran, {name: _true_places(SampleTruth(truth_folder(path))) for name, path in paths.items()}


def _true_places(truth: SampleTruth) -> Places:
    """Frames with a hand, and those in which nothing of it is in the picture."""
    hands = {frame: {row["side"]: _knuckles(row)} for frame, row in truth.hands.items()}
    return {frame: hands.get(frame, {}) for frame in truth.frames if frame in hands or frame not in truth.masks["hand"]}


def _knuckles(row: Mapping[str, Any]) -> tuple[float, float]:
    x, y = np.reshape(np.asarray(row["keypoints_2d"], dtype=np.float64), (21, 2))[list(KNUCKLES)].mean(axis=0)
    return float(x), float(y)


def over_frames(data: str, videos: Mapping[str, tuple[Sequence[Mapping[str, Any]], Places]]) -> list[Figure]:
    """Recall, precision and wrong sides of rows of hand_poses in the labelled frames of each video.

    A row belongs to the nearest labelled place within the size of its hand. Recall: of the hands, those that are found
    with their side. Precision: of the rows, those on a hand, with its side. Wrong side: of the rows on a hand.
    """
    shares: list[tuple[float, float, float]] = []
    for rows, places in videos.values():
        found, right, wrong, false = set[tuple[int, str]](), 0, 0, 0
        for row in (row for row in rows if row["frame"] in places):
            label = _label(row, places[row["frame"]])
            if label.rstrip("?") == row["side"]:
                right += 1
                found.add((row["frame"], label))
            elif label:
                wrong += 1
            else:
                false += 1
        hands = {(frame, side) for frame, at in places.items() for side in at if not side.endswith("?")}
        hands = {(frame, side) for frame, at in places.items() for side in at if not side.endswith("?")}
        rows_in_all, on_hands = right + wrong + false, right + wrong
        recall = 100 * len(found & hands) / len(hands)
        precision = 100 * right / rows_in_all if rows_in_all else np.nan
        shares.append((recall, precision, 100 * wrong / (on_hands or 1)))
    recalls, precisions, sides = (tuple(float(share) for share in kind) for kind in zip(*shares, strict=True))
    return [
        Figure("hand_poses", data, "recall: hands found, with their side", recalls, "%"),
        Figure("hand_poses", data, "precision: rows that are a hand, with its side", precisions, "%"),
        Figure("hand_poses", data, "wrong side", sides, "%"),
    ]


def _label(row: Mapping[str, Any], places: Mapping[str, tuple[float, float]]) -> str:
    """The label of the nearest hand that a row can be; empty when there is none."""
    size = float(np.ptp(np.reshape(row["keypoints_2d"], (21, 2)), axis=0).max())
    at = np.array(_knuckles(row))
    gaps = {label: float(np.linalg.norm(at - np.array(place))) for label, place in places.items()}
    nearest = min(gaps, key=lambda label: gaps[label], default="")
    return nearest if nearest and gaps[nearest] < size else ""


def figures(ran: Ran, names: Sequence[str]) -> list[Figure]:
    """Of each of the real videos."""
    rows = {name: ran.rows(name, (0, FILES[name][1])) for name in names}
    return [figure for name in names for figure in over_frames(SEEN[name], {name: (rows[name], BY_EYE[name])})]


def glove_figures(ran: Ran, true: Mapping[str, Places]) -> list[Figure]:
    """Of the samples that wear gloves."""
    half, whole = GLOVES[0].shot_starts[1], GLOVES[0].frame_count
    rows = {name: [*ran.rows(name, (0, half)), *ran.rows(name, (half, whole))] for name in true}
    return over_frames(GLOVED, {name: (rows[name], places) for name, places in true.items()})


def measure(data: Path, builder: EnvBuilder, catalog: Catalog, folder: Path, *, whole: bool = True) -> list[Figure]:
    """All of them; not whole: the shortest real video and one sample."""
    names = list(FILES) if whole else ["dough"]
    gloved = glove_figures(*run_gloves(builder, catalog, folder / "gloved", GLOVES if whole else GLOVES[:1]))
    return [*figures(run(builder, catalog, data, folder / "real", names), names), *gloved]
