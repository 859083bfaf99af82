"""SAM 2.1 over a video of any length: one frame at a time, and no more of the past than the model looks back at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from asking import Ask
from numpy.typing import NDArray
from transformers import Sam2VideoModel, Sam2VideoProcessor

KEPT_ASKS = 4
"""Frames in which a thing was shown that the model still looks at; more would be memory that grows with time."""

LARGE = ("high_res_masks", "pred_masks")
"""What the session keeps of each frame and the model does not look back at."""


@dataclass(frozen=True)
class Model:
    """The network and what prepares its inputs. dtype: bfloat16 on a GPU, as its authors run it; float32 on a CPU."""

    network: Any
    processor: Any
    device: str
    dtype: torch.dtype

    @classmethod
    def load(cls, folder: Path, device: str) -> Model:
        """From a folder, safetensors alone and without a network; raises OSError naming what lacks."""
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        network: Any = Sam2VideoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=dtype)
        processor = Sam2VideoProcessor.from_pretrained(folder, local_files_only=True)
        return cls(network.to(device).eval(), processor, device, dtype)

    @property
    def looks_back(self) -> int:
        """Frames of the past that it may use, but for those in which something was shown."""
        return max(self.network.config.num_maskmem, self.network.config.max_object_pointers_in_encoder)


class Stream:
    """One clip in the model's eyes, from the first frame in which something is shown."""

    def __init__(self, model: Model, size: tuple[int, int]) -> None:
        """size: height and width of the pictures, px."""
        self._model, self._size = model, size
        self._session = model.processor.init_video_session(inference_device=model.device, dtype=model.dtype)

    def step(
        self, frame: int, rgb: NDArray[np.uint8], asks: Sequence[Ask]
    ) -> Iterator[tuple[int, float, NDArray[np.bool_]]]:
        """obj_id, score and pixels [h, w] of what is seen in the next frame."""
        for ask in asks:
            self._show(frame, ask)
        self._session.obj_with_new_inputs = [ask.obj_id for ask in asks]
        if not self._session.obj_ids:
            return
        with torch.inference_mode():
            picture = self._model.processor.image_processor(images=rgb, return_tensors="pt").pixel_values
            seen = self._model.network(self._session, frame=picture.to(self._model.device), frame_idx=frame)
            scores = torch.sigmoid(seen.object_score_logits.float()).flatten().tolist()
            (masks,) = self._model.processor.post_process_masks([seen.pred_masks.float()], [self._size])
        self._forget(frame)
        for obj_id, score, mask in zip(seen.object_ids, scores, masks, strict=True):
            if score > 0.5 and mask.any():
                yield obj_id, score, mask[0].cpu().numpy()

    def _show(self, frame: int, ask: Ask) -> None:
        points = [*ask.inside, *ask.outside]
        labels = [1] * len(ask.inside) + [0] * len(ask.outside)
        self._model.processor.add_inputs_to_inference_session(
            self._session,
            frame_idx=frame,
            obj_ids=ask.obj_id,
            input_boxes=[[list(ask.box)]] if ask.box else None,
            input_points=[[[list(point) for point in points]]] if points else None,
            input_labels=[[labels]] if points else None,
            original_size=self._size,
        )

    def _forget(self, frame: int) -> None:
        """Drop what the model will not look at any more: pictures, full masks, frames too far back, old questions."""
        session, first = self._session, frame - self._model.looks_back
        session.processed_frames.clear()
        for known in (*session.point_inputs_per_obj.values(), *session.mask_inputs_per_obj.values()):
            known.clear()
        for tracked in session.frames_tracked_per_obj.values():
            drop(tracked, [at for at in tracked if at < first])
        for outputs in session.output_dict_per_obj.values():
            drop(outputs["non_cond_frame_outputs"], [at for at in outputs["non_cond_frame_outputs"] if at < first])
            drop(outputs["cond_frame_outputs"], sorted(outputs["cond_frame_outputs"])[:-KEPT_ASKS])
            for kind in outputs.values():
                drop(kind.get(frame, {}), LARGE)


def drop(known: dict[Any, Any], keys: Sequence[Any]) -> None:
    """Remove some keys where they are there."""
    for key in keys:
        known.pop(key, None)
