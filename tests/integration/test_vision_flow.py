"""Detections and masks by models of transformers, from the configuration to the stored artifacts: the project's own
runners with small random weights, declared, verified and loaded as the real ones are.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from egoworld_assets.orchestration.registry import stages
from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings
from egoworld_resources.weights.importing import Origin, described
from egoworld_resources.weights.manifest import MANIFEST, ModelManifest
from made_videos import make_video
from made_vision import call
from tests.made_up import add_env

pytestmark = pytest.mark.env

SIZE = (96, 128)
WHOLE = [1.0, 1.0, 127.0, 95.0]
NAMES = ["cup", "toy block", "bottle"]
LEAST = 0.5
COMMIT = "a" * 40
ONE_HAND = """
import numpy as np
from egoworld_runner import Runner, tables


class Hand_poses(Runner):
    writes = (tables.HandPose,)

    def run(self, clip, inputs, params):
        turn = np.linspace(-1, 1, 21)
        for number, frame in enumerate(range(clip.start_frame, clip.end_frame)):
            spread = 12 + 3 * np.sin(number / 2)
            joints = np.stack([60 + number + spread * np.sin(3 * turn), 48 + spread * np.cos(3 * turn) * turn], axis=1)
            yield tables.HandPose(frame, "right", 0.9, joints)
"""
CHAIN = ("videos", "clips", "hand_poses", "detections", "masks")


def small(folder: Path, model: str) -> ModelManifest:
    """The manifest of a saved model, as a download leaves it."""
    manifest = described(folder, folder.name, Origin(f"huggingface:lab/{model}", "Apache-2.0", COMMIT))
    (folder / MANIFEST).write_text(manifest.text())
    return manifest


def declared(envs: Path, project_env: Path, manifest: ModelManifest) -> str:
    """A copy of an env of the project that loads a small model instead; returns its name."""
    name = f"small_{project_env.name}"
    shutil.copytree(project_env, envs / name, ignore=shutil.ignore_patterns("__pycache__"))
    (part,) = manifest.parts
    sha256 = next(file.sha256 for file in part.files if file.path == "model.safetensors")
    text = (project_env / "pyproject.toml").read_text().replace(f"egoworld-{project_env.name}", f"egoworld-{name}")
    fields = {"path": manifest.model, "source": part.source, "revision": part.revision, "sha256": sha256}
    lines = [
        f'{field} = "{fields[field]}"' if (field := line.partition(" ")[0]) in fields else line
        for line in text.splitlines()
    ]
    (envs / name / "pyproject.toml").write_text("\n".join(lines) + "\n")
    return name


@pytest.fixture(scope="module")
def bench(builder: EnvBuilder, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """An installation whose detections and masks are made by small models of its model home, on the CPU."""
    home = tmp_path_factory.mktemp("home")
    python = builder.ensure("vision").python
    models, envs = home / "models", home / "more" / "envs"
    models.mkdir()
    picture, pictures = home / "picture.npy", home / "pictures.npy"
    np.save(picture, np.zeros((*SIZE, 3), np.uint8))
    np.save(pictures, np.zeros((1, *SIZE, 3), np.uint8))
    call(python, "grounding_dino", folder=models / "small-dino", picture=picture, names=NAMES, threshold=LEAST)
    call(python, "sam2", folder=models / "small-sam", pictures=pictures, shown={"0": WHOLE})
    add_env(envs, "one_hand", "Hand_poses", ONE_HAND, {})
    chosen = {
        "hand_poses": "one_hand",
        "detections": declared(envs, repository / "envs" / "groundingdino", small(models / "small-dino", "dino")),
        "masks": declared(envs, repository / "envs" / "sam2", small(models / "small-sam", "sam")),
    }
    (home / "data").mkdir()
    (home / "data" / "envs").symlink_to(builder.root)  # built once for all tests
    return Workbench(
        Settings.load(
            home=home / "data",
            extra_envs=(envs,),
            model_home=models,
            stages=chosen,
            on_cpu=("detections", "masks"),
            params={
                "detections": {"names": NAMES, "box_threshold": LEAST, "max_overlap": 0.1},
                "masks": {"most_objects": 2},
            },
        )
    )


def test_a_video_becomes_detections_and_masks(bench: Workbench, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    pictures = list(rng.integers(0, 255, (12, 6, 8, 3), np.uint8).repeat(16, axis=1).repeat(16, axis=2))
    video = Arrivals(bench.store).take(make_video(tmp_path / "a.mp4", pictures)).video
    for name in CHAIN:
        (made,) = bench.make(stages()[name], [video], "run")
        assert made.state == "made", f"{name}: {made.why}"
    for name in ("detections", "masks"):
        made = bench.store.current(name, video)
        assert made is not None
        assert made.recipe.device == "cpu"
        assert made.licences == ["Apache-2.0"]
        assert bench.state(stages()[name], video).condition == "fresh"
        table = pq.read_table(bench.store.folder(made) / f"{name}.parquet")
        labels = set(table["label"].to_pylist())
        assert "right hand" in labels
        assert labels & set(NAMES)
        assert labels <= {*NAMES, "right hand"}
    config = bench.settings.model_home / "small-dino" / "config.json"
    config.write_text(config.read_text() + "\n")
    (refused,) = bench.make(stages()["detections"], [video], "run", force=True)
    assert refused.state != "made"
    assert "damaged: config.json" in refused.why
