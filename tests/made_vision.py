"""Small models of transformers with random weights, made and called bare by the interpreter of the env `vision`.

``python -I made_vision.py WHAT JSON``: WHAT is a function of this file that takes the members of the JSON by name.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "cup", "toy", "block", "bottle")


def call(python: Path, what: str, **given: Any) -> Any:
    """What a function of this file answers, called in another interpreter."""
    command = [str(python), "-I", __file__, what, json.dumps(given, default=str)]
    environ = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def grounding_dino(folder: str, picture: str, names: list[str], threshold: float) -> Any:
    """Save a Grounding DINO of 0.4 M parameters, as its authors' is saved, and say what it sees in a picture.

    picture: a .npy file, uint8 [h, w, 3]. Answers boxes [n, 4] px and scores [n], before any overlap is left out.
    """
    import numpy as np
    import torch
    from transformers import (
        BertConfig,
        BertTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    torch.manual_seed(0)
    torch.set_num_threads(1)
    swin = SwinConfig(embed_dim=16, depths=[1, 1, 1, 1], num_heads=[1, 2, 2, 4], window_size=4, out_indices=[2, 3, 4])
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    text = BertConfig(vocab_size=len(WORDS), **small)
    config = GroundingDinoConfig(
        backbone_config=swin,
        text_config=text,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        num_queries=80,
        **heads,
    )
    model = GroundingDinoForObjectDetection(config).eval()
    model.model.decoder.layer_norm.weight.data *= 0.1  # or all scores were 1
    model.save_pretrained(folder)
    vocabulary = Path(folder) / "vocab.txt"
    vocabulary.write_text("\n".join(WORDS))
    scaled = GroundingDinoImageProcessor(size={"shortest_edge": 96, "longest_edge": 160})
    processor = GroundingDinoProcessor(scaled, BertTokenizer(vocab=str(vocabulary)))
    processor.save_pretrained(folder)
    rgb = np.load(picture)
    given = processor(images=rgb, text=[names], return_tensors="pt")
    with torch.inference_mode():
        seen = model(**given)
    (found,) = processor.post_process_grounded_object_detection(
        seen, given["input_ids"], threshold, 0.25, [rgb.shape[:2]]
    )
    return {"boxes": found["boxes"].tolist(), "scores": found["scores"].tolist()}


def sam2(folder: str, pictures: str, shown: dict[str, list[float]]) -> list[int]:
    """Save a SAM 2.1 of 1.3 M parameters for pictures of 128 px, as Meta's is saved, and follow one thing by it.

    pictures: a .npy file, uint8 [n, h, w, 3]; shown: box of the thing by frame, as text. Answers the area of its mask
    in each frame, px, when nothing is ever forgotten. The network says of everything that it is there.
    """
    import numpy as np
    import torch
    from transformers import (
        Sam2HieraDetConfig,
        Sam2ImageProcessor,
        Sam2VideoConfig,
        Sam2VideoModel,
        Sam2VideoProcessor,
        Sam2VideoVideoProcessor,
        Sam2VisionConfig,
    )

    torch.manual_seed(0)
    side, width = 128, 128
    hiera = Sam2HieraDetConfig(
        hidden_size=16,
        num_attention_heads=1,
        image_size=[side, side],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[16, 32, 64, 128],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[4, 4, 4, 4],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[4, 4],
    )
    vision = Sam2VisionConfig(
        backbone_config=hiera,
        backbone_channel_list=[128, 64, 32, 16],
        backbone_feature_sizes=[[side // step, side // step] for step in (4, 8, 16)],
        fpn_hidden_size=width,
    )
    decoder = {"hidden_size": width, "mlp_dim": 64, "num_attention_heads": 2, "iou_head_hidden_dim": 32}
    config = Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": width, "image_size": side, "patch_size": 16},
        mask_decoder_config=decoder,
        image_size=side,
        memory_attention_hidden_size=width,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=64,
        memory_attention_rope_feat_sizes=[side // 16, side // 16],
        memory_encoder_hidden_size=width,
        memory_encoder_output_channels=64,  # the only one that its memory attention takes
        mask_downsampler_embed_dim=width,
        memory_fuser_num_layers=1,
        memory_fuser_embed_dim=width,
        memory_fuser_intermediate_dim=64,
    )
    model = Sam2VideoModel(config).eval()
    there = model.mask_decoder.pred_obj_score_head.proj_out
    there.bias.data.fill_(5.0)
    model.save_pretrained(folder)
    size = {"height": side, "width": side}
    scaled = Sam2ImageProcessor(size=size, mask_size={"height": side // 4, "width": side // 4})
    Sam2VideoProcessor(scaled, Sam2VideoVideoProcessor(size=size)).save_pretrained(folder)
    processor = Sam2VideoProcessor.from_pretrained(folder, local_files_only=True)
    session, areas = processor.init_video_session(), list[int]()
    torch.set_num_threads(1)
    for frame, rgb in enumerate(np.load(pictures)):
        if box := shown.get(str(frame)):
            processor.add_inputs_to_inference_session(
                session, frame_idx=frame, obj_ids=3, input_boxes=[[box]], original_size=rgb.shape[:2]
            )
        with torch.inference_mode():
            given = processor.image_processor(images=rgb, return_tensors="pt").pixel_values
            seen = model(session, frame=given, frame_idx=frame)
        (mask,) = processor.post_process_masks([seen.pred_masks], [rgb.shape[:2]])
        areas.append(int(mask.sum()))
    return areas


def bytes_held(folder: str, runner: str, frames: int, every: int) -> list[int]:
    """Bytes of all tensors that live after each tenth frame of a stream in which two things are shown again and again.

    In bfloat16, as on a GPU. runner: the folder of the env whose streaming module is asked.
    """
    import gc
    from dataclasses import replace

    import numpy as np
    import torch

    sys.path.insert(0, runner)
    from asking import Ask  # type: ignore[import-not-found]
    from streaming import Model, Stream  # type: ignore[import-not-found]

    torch.set_num_threads(1)
    whole = Model.load(Path(folder), "cpu")
    model = replace(whole, network=whole.network.to(torch.bfloat16), dtype=torch.bfloat16)
    stream, rng = Stream(model, (96, 128)), np.random.default_rng(0)
    held: list[int] = []
    for frame in range(frames):
        asks = [Ask(n, "cup", 0.9, (10.0 * n, 10.0, 10.0 * n + 30, 60.0)) for n in (3, 4)] if frame % every == 0 else []
        list(stream.step(frame, rng.integers(0, 255, (96, 128, 3), np.uint8), asks))
        if frame % 10 == 9:
            gc.collect()
            held.append(sum(one.untyped_storage().nbytes() for one in gc.get_objects() if type(one) is torch.Tensor))
    return held


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))
