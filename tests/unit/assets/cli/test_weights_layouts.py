"""`egoworld weights prepare`, `slim`, `environment` and `verify` by the layouts of One-to-All that this project has."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from egoworld_assets.cli.app import app
from egoworld_resources.weights.manifest import MANIFEST, ModelManifest
from tests.made_models import write_files

MODEL = "One-to-All-14b"
FP8 = "One-to-All-14b-FP8"
WAN = "Wan2.1-T2V-14B-Diffusers"
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
TRANSFORMER: Mapping[str, bytes] = {
    "configuration.json": b"{}",
    "model.safetensors.index.json": json.dumps({"weight_map": {"a": SHARDS[0], "b": SHARDS[1]}}).encode(),
    **dict.fromkeys(SHARDS, b"\1" * 50_000),
}
PRETRAINED: Mapping[str, bytes] = {
    "DWPose/yolox_l.onnx": b"dwpose",
    "process_checkpoint/det/yolov10m.onnx": b"boxes",
    "process_checkpoint/pose2d/vitpose_h_wholebody.onnx/end2end.onnx": b"pose",
    "process_checkpoint/pose2d/vitpose_h_wholebody.onnx/weights.bin0": b"pose weights",
    f"{WAN}/model_index.json": b"{}",
    f"{WAN}/scheduler/scheduler_config.json": b"{}",
    f"{WAN}/text_encoder/model.safetensors": b"\2" * 70_000,
    f"{WAN}/tokenizer/spiece.model": b"words",
    f"{WAN}/vae/diffusion_pytorch_model.safetensors": b"\3" * 10_000,
}
SPARE: Mapping[str, bytes] = {
    f"{WAN}/transformer/config.json": b"{}",
    f"{WAN}/transformer/diffusion_pytorch_model-00001-of-00001.safetensors": b"\4" * 900_000,
}
OLD = "One-to-All-Animation/pretrained_models"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model home in force, under the name that the older programs had for it."""
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    for name in ("ONE_TO_ALL_MODEL_DIR", "ONE_TO_ALL_PRETRAINED_DIR", "WAN_T2V_14B_DIFFUSERS_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "models"


@pytest.fixture
def old(home: Path) -> Path:
    """What the older programs left: the transformer without a manifest, the rest in its old place."""
    write_files(home / MODEL, TRANSFORMER)
    return write_files(home / OLD, {**PRETRAINED, **SPARE, "notes.txt": b"mine"})


def weights(*arguments: str | Path) -> Result:
    """`egoworld weights` with these arguments."""
    return CliRunner().invoke(app, ["weights", *map(str, arguments)])


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder but the manifest."""
    found = [file for file in folder.rglob("*") if file.is_file() and file.name != MANIFEST]
    return {str(file.relative_to(folder)): file.read_bytes() for file in found}


def in_place(pretrained: Mapping[str, bytes]) -> dict[str, bytes]:
    """The transformer and these files where the layout has them."""
    return {**TRANSFORMER, **{f"pretrained_models/{path}": data for path, data in pretrained.items()}}


def test_the_old_place_is_brought_into_the_new_one_and_left_as_it_was(home: Path, old: Path) -> None:
    before = files(old)
    dry = weights("prepare", MODEL)
    assert dry.exit_code == 0, dry.output
    assert "nothing was changed" in dry.stdout
    assert "--with-wan-transformer takes it" in dry.stdout
    assert "notes.txt first: is no file of One-to-All-14b" in dry.stdout
    assert files(home / MODEL) == TRANSFORMER
    assert not (home / MODEL / MANIFEST).exists()
    done = weights("prepare", MODEL, "--apply")
    assert done.exit_code == 0, done.output
    assert files(home / MODEL) == in_place(PRETRAINED)
    assert files(old) == before
    assert weights("verify", MODEL).exit_code == 0
    sources = {part.source: len(part.files) for part in ModelManifest.read(home / MODEL).parts}
    assert sources == {
        "huggingface:FrancisRing/StableAnimator": 1,
        "huggingface:MochunniaN1/One-to-All-14b": 4,
        "huggingface:Wan-AI/Wan2.1-T2V-14B-Diffusers": 5,
        "huggingface:Wan-AI/Wan2.2-Animate-14B": 3,
    }
    assert weights("prepare", MODEL, "--apply").exit_code == 0, "a second time nothing is wrong"
    assert weights("verify", MODEL).exit_code == 0


def test_wans_transformer_is_taken_when_asked_for_and_slimmed_with_proof(home: Path, old: Path) -> None:
    assert weights("prepare", MODEL, "--with-wan-transformer", "--apply").exit_code == 0
    assert files(home / MODEL) == in_place({**PRETRAINED, **SPARE})
    dry = weights("slim", MODEL)
    assert dry.exit_code == 0, dry.output
    assert "0.90 MB in 2 files would go" in dry.stdout
    assert files(home / MODEL) == in_place({**PRETRAINED, **SPARE})
    done = weights("slim", MODEL, "--apply")
    assert done.exit_code == 0, done.output
    assert "the rest is whole, every byte compared: 13 files" in done.stdout
    assert files(home / MODEL) == in_place(PRETRAINED)
    assert not (home / MODEL / "pretrained_models" / WAN / "transformer").exists()
    assert weights("verify", MODEL).exit_code == 0
    assert "nothing to spare" in weights("slim", MODEL, "--apply").stdout


def test_slim_leaves_a_model_alone_whose_rest_is_not_whole(home: Path, old: Path) -> None:
    assert "egoworld weights prepare One-to-All-14b --apply" in weights("slim", MODEL).stderr
    weights("prepare", MODEL, "--with-wan-transformer", "--apply")
    encoder = home / MODEL / "pretrained_models" / WAN / "text_encoder" / "model.safetensors"
    encoder.unlink()
    refused = weights("slim", MODEL, "--apply")
    assert refused.exit_code == 1
    assert f"missing: pretrained_models/{WAN}/text_encoder/model.safetensors" in refused.stderr
    encoder.write_bytes(b"\5" * 70_000)
    damaged = weights("slim", MODEL, "--apply")
    assert damaged.exit_code == 1
    assert "the rest is not whole" in damaged.stdout


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (SHARDS[1], "model.safetensors.index.json names it"),
        ("pretrained_models/process_checkpoint/det/yolov10m.onnx", "One-to-All-14b needs it"),
        (
            "pretrained_models/process_checkpoint/pose2d/vitpose_h_wholebody.onnx/end2end.onnx",
            "vitpose_h_wholebody.onnx: One-to-All-14b needs it or ",
        ),
    ],
)
def test_verify_names_what_inference_needs(home: Path, old: Path, lost: str, said: str) -> None:
    origin = home / MODEL / lost
    origin = origin if origin.exists() else old / lost.removeprefix("pretrained_models/")
    origin.unlink()
    prepared = weights("prepare", MODEL, "--apply")
    assert prepared.exit_code == 1
    assert said in prepared.stdout
    result = weights("verify", MODEL)
    assert result.exit_code == 1
    assert said in result.stdout


def test_a_pose_model_may_be_one_file(home: Path, old: Path) -> None:
    folder = old / "process_checkpoint" / "pose2d" / "vitpose_h_wholebody.onnx"
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    folder.write_bytes(b"pose")
    assert weights("prepare", MODEL, "--apply").exit_code == 0
    assert weights("verify", MODEL).exit_code == 0


def test_a_pickle_in_the_old_place_is_refused(home: Path, old: Path) -> None:
    (old / "DWPose" / "dw-ll_ucoco.pth").write_bytes(b"\x80\x02}q\x00.")
    refused = weights("prepare", MODEL, "--apply")
    assert refused.exit_code == 1
    assert "refused: pretrained_models/DWPose/dw-ll_ucoco.pth: loads as a pickle" in refused.stderr
    assert not (home / MODEL / MANIFEST).exists()


def test_fp8_takes_the_rest_from_the_other_model(home: Path, old: Path) -> None:
    write_files(home / FP8, {**TRANSFORMER, ".msc": b"a client's notes"})
    alone = weights("prepare", FP8, "--apply")
    assert alone.exit_code == 1
    assert f"missing: {home}/One-to-All-14b/pretrained_models/process_checkpoint/det/yolov10m.onnx" in alone.stdout
    assert weights("prepare", MODEL, "--apply").exit_code == 0
    assert weights("slim", FP8, "--apply").exit_code == 0
    assert weights("verify", FP8).exit_code == 0


def test_the_variables_of_the_older_programs_are_given_and_heeded(
    home: Path, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretrained = home / MODEL / "pretrained_models"
    assert weights("environment", FP8).stdout.splitlines() == [
        f"MODELS_DIR={home}",
        f"ONE_TO_ALL_MODEL_DIR={FP8}",
        f"ONE_TO_ALL_PRETRAINED_DIR={pretrained}",
        f"WAN_T2V_14B_DIFFUSERS_DIR={pretrained / WAN}",
        f"ONE_TO_ALL_RUNTIME_DIR={tmp_path}/data/one_to_all_animation_runtime",
    ]
    weights("prepare", MODEL, "--apply")
    pretrained.rename(tmp_path / "elsewhere")
    monkeypatch.setenv("ONE_TO_ALL_PRETRAINED_DIR", str(tmp_path / "elsewhere"))
    (report,) = json.loads(weights("verify", MODEL, "--json").stdout)["models"]
    assert [one["reason"] for one in report["differences"] if one["reason"]] == []
    monkeypatch.delenv("ONE_TO_ALL_PRETRAINED_DIR")
    assert f"{MODEL} needs it" in weights("verify", MODEL).stdout


def test_an_unknown_option_or_model_is_named_with_those_that_there_are(home: Path, old: Path) -> None:
    assert "--with-wan-14b, --with-wan-transformer" in weights("prepare", MODEL, "--with-everything").stderr
    assert "known: One-to-All-14b, One-to-All-14b-FP8" in weights("prepare", "tiny").stderr
    assert "no public source of its part 'transformer' is known" in weights("download", FP8).stderr
    assert "has no part 'vae'" in weights("download", MODEL, "--revision", "vae=" + "1" * 40).stderr
    assert "is an option of a layout" in weights("download", "huggingface:lab/tiny", "--with-wan-14b").stderr


def test_a_layout_that_says_nonsense_is_named_with_its_field(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "envs" / "mine" / "layouts"
    folder.mkdir(parents=True)
    monkeypatch.setenv("EGOWORLD_EXTRA_ENVS", json.dumps([str(tmp_path / "envs")]))
    for text, said in {
        'model = "mine"\nrequired = ["{nowhere}/a"]\nparts = [{name = "a", files = ["*"]}]': "'nowhere' is not known",
        'model = "other"\nrequired = []\nparts = [{name = "a", files = ["*"]}]': "must be the file's name",
        'model = "mine"\nrequired = []\nparts = [{name = "a", files = ["../*"]}]': "parts.0.files.0",
    }.items():
        (folder / "mine.toml").write_text(text)
        refused = weights("prepare", "mine").stderr
        assert f"{folder}/mine.toml" in refused
        assert said in refused


KILLED = """
import os, signal, sys
from egoworld_assets.cli.app import app

left = int(sys.argv.pop(1))
for name in ("link", "unlink", "rename", "replace"):
    def counted(*args, call=getattr(os, name), **kwargs):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    setattr(os, name, counted)
app()
"""


@pytest.mark.parametrize("at", [4, 9])
def test_a_killed_prepare_leaves_no_manifest_and_is_done_again(home: Path, old: Path, at: int) -> None:
    command = [sys.executable, "-c", KILLED, str(at), "weights", "prepare", MODEL, "--apply"]
    killed = subprocess.run(command, check=False, env=dict(os.environ), capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert not (home / MODEL / MANIFEST).exists()
    assert weights("prepare", MODEL, "--apply").exit_code == 0
    assert weights("verify", MODEL).exit_code == 0


@pytest.mark.parametrize("at", [1, 2])
def test_a_killed_slim_is_done_again(home: Path, old: Path, at: int) -> None:
    weights("prepare", MODEL, "--with-wan-transformer", "--apply")
    command = [sys.executable, "-c", KILLED, str(at), "weights", "slim", MODEL, "--apply"]
    killed = subprocess.run(command, check=False, env=dict(os.environ), capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert "missing" not in weights("verify", MODEL).stdout
    assert weights("slim", MODEL, "--apply").exit_code == 0
    assert files(home / MODEL) == in_place(PRETRAINED)
    assert weights("verify", MODEL).exit_code == 0
