"""Stage detections: things named in plain English, by Grounding DINO (Liu et al. 2023, arXiv:2303.05499)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import nms
from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

from egoworld_runner import Clip, ClipFailed, Inputs, Params, Runner, tables
from egoworld_runner.hand_boxes import hand_boxes

BETWEEN = "."
"""What the model was trained to see between two names."""


class GroundedObjects(Runner):
    """Boxes of what the parameter ``names`` lists, in keyframes, and of "left hand" and "right hand" in every frame.

    Each keyframe is looked at by itself. On a CPU one thread: the same frame gives the same bytes.
    """

    writes = (tables.Detection,)

    def setup(self, weights: Mapping[str, Path], device: str) -> None:
        """Load the model from its folder, safetensors alone and without a network; raises OSError naming what lacks."""
        if device == "cpu":
            torch.set_num_threads(1)
        folder = weights["grounding_dino"]
        self._processor: Any = AutoProcessor.from_pretrained(folder, local_files_only=True)
        model: Any = AutoModelForZeroShotObjectDetection.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )
        self._model = model.to(device).eval()
        self._device = device

    def run(self, clip: Clip, inputs: Inputs, params: Params) -> Iterator[tables.Row]:
        """Rows ordered by frame and label. Raises ClipFailed for a parameter that cannot be used."""
        names = names_of(params)
        text = self._text(names)
        rows = list(hand_boxes(inputs.rows("hand_poses"), clip.width, clip.height))
        hands = len(rows)
        step = spacing(len(clip), clip.fps, params)
        for frame in clip.frames(step):
            rows += self._look(frame.index, frame.rgb, text, names, params)
            clip.progress(frame.index)
        yield from sorted(rows, key=lambda row: (row.frame, row.label, row.x0, row.y0))
        clip.note("keyframes", math.ceil(len(clip) / step))
        clip.note("objects_in_keyframes", len(rows) - hands)
        if not rows:
            clip.nothing(f"there is no hand, and nothing that looks like {', '.join(names)}")

    def _text(self, names: Sequence[str]) -> Any:
        """The names as the model reads them. Raises ClipFailed for more than it can read."""
        sentence = f"{BETWEEN} ".join(names) + BETWEEN
        text = self._processor.tokenizer(sentence, return_tensors="pt", return_token_type_ids=True).to(self._device)
        count, most = text["input_ids"].shape[1], self._model.config.max_text_len
        if count > most:
            raise ClipFailed(
                f"detections.names has {len(names)} names of {count} tokens in all, and the model reads {most}; "
                "name fewer things"
            )
        return text

    def _look(
        self, frame: int, rgb: NDArray[np.uint8], text: Any, names: Sequence[str], params: Params
    ) -> Iterator[tables.Detection]:
        height, width = rgb.shape[:2]
        picture = self._processor.image_processor(images=rgb, return_tensors="pt").to(self._device)
        least = float(params["box_threshold"])
        try:
            with torch.inference_mode():
                seen = self._model(**picture, **text)
        except torch.OutOfMemoryError as error:
            raise ClipFailed(
                f"the GPU has too little memory for a picture of {width}x{height} px: {str(error).splitlines()[0]} "
                "Free some of it, or run on another GPU"
            ) from error
        (found,) = self._processor.post_process_grounded_object_detection(
            seen, text["input_ids"], least, float(params["text_threshold"]), [(height, width)]
        )
        by_token = torch.sigmoid(seen.logits[0])
        by_name = agreement(by_token[by_token.max(dim=-1).values > least], spans(text["input_ids"][0], self._between))
        edges = found["boxes"].clamp(min=0).minimum(found["boxes"].new_tensor([width, height, width, height]))
        for at in nms(edges, found["scores"], float(params["max_overlap"])).tolist():
            score, which = by_name[at].max(dim=0)
            x0, y0, x1, y1 = (round(edge, 2) for edge in edges[at].tolist())
            if score > params["text_threshold"] and x0 < x1 and y0 < y1:
                sure = round(float(found["scores"][at]), 4)
                yield tables.Detection(frame, names[int(which)], sure, x0, y0, x1, y1)

    @property
    def _between(self) -> int:
        return self._processor.tokenizer.convert_tokens_to_ids(BETWEEN)


def names_of(params: Params) -> list[str]:
    """What to look for, in lower case, as the model was trained; raises ClipFailed for what cannot be used."""
    for name in ("box_threshold", "text_threshold", "max_overlap"):
        if not 0 < params[name] < 1:
            raise ClipFailed(f"detections.{name} is {params[name]}; set it between 0 and 1")
    for name in ("every_s", "most_keyframes"):
        if not params[name] > 0:
            raise ClipFailed(f"detections.{name} is {params[name]}; set it above 0")
    names = [str(name).strip().lower() for name in params["names"]]
    wrong = [name for name in names if not name or BETWEEN in name or name.endswith("hand")]
    if wrong or not names or len(set(names)) < len(names):
        said = f"has '{wrong[0]}'" if wrong else "is empty" if not names else "has a name twice"
        raise ClipFailed(
            f"detections.names {said}; give names such as 'cup' and 'toy block', each once, without a full stop; "
            "hands come from hand_poses"
        )
    return names


def spacing(frames: int, fps: float, params: Params) -> int:
    """Frames from one keyframe to the next: every_s apart, or further where that would be more than most_keyframes."""
    return max(1, round(params["every_s"] * fps), math.ceil(frames / int(params["most_keyframes"])))


def spans(tokens: torch.Tensor, between: int) -> list[slice]:
    """The tokens of each name, in the order in which they were given. tokens: [n], the first and last are no name's."""
    ends = [0, *(place for place, token in enumerate(tokens.tolist()) if token == between)]
    return [slice(start + 1, end) for start, end in pairwise(ends)]


def agreement(by_token: torch.Tensor, names: Sequence[slice]) -> torch.Tensor:
    """How well each box agrees with each name, 0-1, [boxes, names]: as well as with the name's best token."""
    return torch.stack([by_token[:, name].max(dim=1).values for name in names], dim=1)
