"""Read a whole dataset with the real LeRobot and say what was seen, as JSON: ``read_dataset.py ROOT BACKEND``."""

from __future__ import annotations

import json
import sys

import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from torch.utils.data import DataLoader


def main(root: str, backend: str) -> None:
    dataset = LeRobotDataset("egoworld/made", root=root, video_backend=backend)
    steps = {"action": [0.0, 1 / dataset.fps]}
    ahead = LeRobotDataset("egoworld/made", root=root, video_backend=backend, delta_timestamps=steps)
    rows = []
    for at in range(len(dataset)):
        item = dataset[at]
        picture = item["observation.images.ego"]
        rows.append(
            {
                "episode": int(item["episode_index"]),
                "frame": int(item["frame_index"]),
                "index": int(item["index"]),
                "timestamp": float(item["timestamp"]),
                "task": item["task"],
                "state": item["observation.state"].tolist(),
                "action": item["action"].tolist(),
                "action_ahead": ahead[at]["action"].tolist(),
                "grey": float(picture[:, picture.shape[1] // 5 : picture.shape[1] // 3].mean()) * 255,
                "shape": list(picture.shape),
                "finite": all(bool(torch.isfinite(v).all()) for v in item.values() if torch.is_tensor(v)),
            }
        )
    batch = next(iter(DataLoader(dataset, batch_size=4)))
    one = LeRobotDataset("egoworld/made", root=root, video_backend=backend, episodes=[dataset.num_episodes - 1])
    seen = {
        "fps": dataset.fps,
        "episodes": dataset.num_episodes,
        "robot_type": dataset.meta.robot_type,
        "tasks": list(dataset.meta.tasks.index),
        "batch": list(batch["observation.images.ego"].shape),
        "last_episode": [len(one), float(one[0]["timestamp"]), one[0]["observation.state"].tolist()],
        "stats": {key: dataset.meta.stats["action"][key].tolist() for key in ("mean", "std", "min", "max", "q50")},
        "rows": rows,
    }
    print(json.dumps(seen))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
