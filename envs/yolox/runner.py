"""Stage detections: things named as in COCO, by YOLOX (Ge et al. 2021, arXiv:2107.08430) on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from coco import NAMES
from numpy.typing import NDArray

from egoworld_runner import Clip, ClipFailed, Inputs, Params, Runner, tables
from egoworld_runner.hand_boxes import hand_boxes

Array = NDArray[np.float32]

STRIDES = (8, 16, 32)
"""px of the network's input between the cells of its three grids."""

GREY = 114
"""The colour beside a picture that is not square."""


class YoloxObjects(Runner):
    """Boxes of "left hand" and "right hand" from the hand poses, and of all that the network knows, by COCO's names.

    Every frame is looked at by itself. One thread: others of the batch use the other cores, and the same frame
    gives the same bytes.
    """

    writes = (tables.Detection,)

    def setup(self, weights: Mapping[str, Path], device: str) -> None:
        """Load the network; raises onnxruntime's own error for a file that is no ONNX model."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(weights["yolox_nano"]), options, providers=["CPUExecutionProvider"]
        )
        given = self._session.get_inputs()[0]
        self._input, self._size = given.name, (given.shape[2], given.shape[3])
        self._cells = cells(*self._size)

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[tables.Row]:
        """Rows ordered by frame and label. Raises ClipFailed for a parameter that cannot be used."""
        cv2.setNumThreads(1)
        check(params)
        hands: dict[int, list[tables.Detection]] = {}
        for row in hand_boxes(inputs.rows("hand_poses"), clip.width, clip.height):
            hands.setdefault(row.frame, []).append(row)
        named: set[str] = set()
        for frame in clip.frames():
            found = list(self._look(frame.index, frame.rgb, params))
            named.update(row.label for row in found)
            rows = [*found, *hands.get(frame.index, [])]
            yield from sorted(rows, key=lambda row: (row.frame, row.label, row.x0, row.y0))
            clip.progress(frame.index)
        clip.note("labels", ", ".join(sorted(named)))
        if not named and not hands:
            clip.nothing("there is no hand, and nothing that the model has a name for")

    def _look(self, frame: int, rgb: NDArray[np.uint8], params: Params) -> Iterator[tables.Detection]:
        picture, scale = letterboxed(rgb, self._size)
        (raw,) = self._session.run(None, {self._input: picture})
        edges, scores, classes = decoded(raw[0], self._cells)
        wanted = (scores >= params["min_score"]) & ~np.isin(
            classes, [NAMES.index(name) for name in params["leave_out"]]
        )
        edges, scores, classes = edges[wanted], scores[wanted], classes[wanted]
        height, width = rgb.shape[:2]
        for at in distinct(edges, scores, float(params["max_overlap"])):
            corners = (edges[at].reshape(2, 2) / scale).clip(0, (width, height)).astype(np.float64).round(2)
            (x0, y0), (x1, y1) = corners.tolist()
            if x0 < x1 and y0 < y1:
                yield tables.Detection(frame, NAMES[classes[at]], round(float(scores[at]), 4), x0, y0, x1, y1)


def check(params: Params) -> None:
    """Raise ClipFailed unless the parameters can be used."""
    for name in ("min_score", "max_overlap"):
        if not 0 < params[name] < 1:
            raise ClipFailed(f"detections.{name} is {params[name]}; set it between 0 and 1")
    if unknown := sorted(set(params["leave_out"]) - set(NAMES)):
        raise ClipFailed(f"detections.leave_out has '{unknown[0]}', which is no name of COCO: {', '.join(NAMES)}")


def letterboxed(rgb: NDArray[np.uint8], size: tuple[int, int]) -> tuple[Array, Array]:
    """The network's input [1, 3, h, w], BGR 0-255, the picture in its upper left; and its scale (x, y) to the video.

    size: height and width of the input, px.
    """
    height, width = rgb.shape[:2]
    ratio = min(size[0] / height, size[1] / width)
    small = cv2.resize(rgb, (max(1, int(width * ratio)), max(1, int(height * ratio))), interpolation=cv2.INTER_LINEAR)
    canvas = np.full((*size, 3), GREY, np.float32)
    canvas[: small.shape[0], : small.shape[1]] = small[..., ::-1]
    scale = np.array([small.shape[1] / width, small.shape[0] / height], np.float32)
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)[None]), scale


def cells(height: int, width: int) -> Array:
    """Left, top and stride of every cell of the three grids, px [n, 3], in the order of the network's output."""
    found: list[Array] = []
    for stride in STRIDES:
        ys, xs = np.mgrid[0:height:stride, 0:width:stride].astype(np.float32)
        found.append(np.stack([xs.ravel(), ys.ravel(), np.full(xs.size, stride, np.float32)], axis=1))
    return np.concatenate(found)


def decoded(raw: Array, grid: Array) -> tuple[Array, Array, NDArray[np.int64]]:
    """Edges x0, y0, x1, y1 [n, 4] in px of the input, score and class [n] of every cell's box.

    raw: [n, 5 + classes], centre in cells from the cell's corner, log of the size in cells, chance of a thing, of each
    class; grid: see ``cells``.
    """
    middle = grid[:, :2] + raw[:, :2] * grid[:, 2:]
    half = np.exp(raw[:, 2:4]) * grid[:, 2:] / 2
    classes = raw[:, 5:].argmax(axis=1)
    scores = raw[:, 4] * raw[np.arange(len(raw)), 5 + classes]
    return np.concatenate([middle - half, middle + half], axis=1), scores, classes


def distinct(edges: Array, scores: Array, most: float) -> list[int]:
    """Which boxes stay, the surest first, when of two with an IoU above ``most`` the less sure one goes."""
    sized = np.concatenate([edges[:, :2], edges[:, 2:] - edges[:, :2]], axis=1)
    return np.asarray(cv2.dnn.NMSBoxes(sized, scores, 0.0, most), np.int64).reshape(-1).tolist()
