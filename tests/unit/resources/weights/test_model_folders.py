"""Weights that are a whole folder of a hub: of the declared commit, every byte as its manifest says, or refused."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from egoworld_resources.environments.declaration import Weights
from egoworld_resources.kit.pieces import weights_pieces
from egoworld_resources.kit.receiver.refused import KitRefused
from egoworld_resources.weights import ModelPaths, WeightsMissing, local_weights
from egoworld_resources.weights.manifest import MANIFEST
from made_envs import made_catalog, made_env
from made_models import FILES, ORIGIN, write_model

PARAMETERS = "model-00001-of-00002.safetensors"
DECLARED = Weights(
    name="tiny",
    path="tiny",
    source=ORIGIN.source,
    revision=ORIGIN.revision,
    sha256=sha256(FILES[PARAMETERS]).hexdigest(),
    licence="Apache-2.0",
)


def found(home: Path, declared: Weights = DECLARED) -> Path:
    return local_weights([declared], Path("python"), paths=ModelPaths(home), env="model")["tiny"]


def test_a_whole_folder_is_given_to_the_model(tmp_path: Path) -> None:
    write_model(tmp_path / "tiny")
    assert found(tmp_path) == tmp_path / "tiny"
    elsewhere = ModelPaths(tmp_path / "none", {"model/tiny": tmp_path / "tiny"})
    assert local_weights([DECLARED], Path("python"), paths=elsewhere, env="model") == {"tiny": tmp_path / "tiny"}


def test_what_is_missing_is_said_with_the_command_that_fetches_it(tmp_path: Path) -> None:
    command = f"egoworld weights download {ORIGIN.source} --revision {ORIGIN.revision} --name tiny"
    with pytest.raises(WeightsMissing, match=rf"'tiny': .*/tiny does not exist.*{command}"):
        found(tmp_path)
    write_model(tmp_path / "tiny")
    (tmp_path / "tiny" / MANIFEST).unlink()
    with pytest.raises(WeightsMissing, match=rf"has no {MANIFEST}.*{command}"):
        found(tmp_path)


def test_another_byte_file_commit_or_model_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "tiny")
    other = "2" * 40
    with pytest.raises(WeightsMissing, match=rf"at {ORIGIN.revision}, declared is {ORIGIN.source} at {other}"):
        found(tmp_path, DECLARED.model_copy(update={"revision": other}))
    with pytest.raises(WeightsMissing, match=f"has no file with sha256 {'0' * 64}"):
        found(tmp_path, DECLARED.model_copy(update={"sha256": "0" * 64}))
    config = tmp_path / "tiny" / "config.json"
    config.write_bytes(config.read_bytes().replace(b"Tiny", b"Tony"))
    (tmp_path / "tiny" / "more.py").write_text("print()")
    with pytest.raises(WeightsMissing, match=r"damaged: config\.json: .*, and 1 more"):
        found(tmp_path)


def test_a_new_commit_is_other_weights_even_with_the_same_parameters() -> None:
    moved = DECLARED.model_copy(update={"revision": "2" * 40})
    assert len({DECLARED.digest, moved.digest, DECLARED.sha256}) == 3
    assert DECLARED.model_copy(update={"revision": ""}).digest == DECLARED.sha256


def test_a_kit_carries_the_folder_with_its_manifest(tmp_path: Path) -> None:
    fields = ", ".join(f'{name} = "{value}"' for name, value in DECLARED.model_dump().items() if value)
    made_env(tmp_path, "model", more=f"weights = [{{ {fields} }}]\n")
    catalog, home = made_catalog(tmp_path), tmp_path / "models"
    with pytest.raises(KitRefused, match="tiny does not exist"):
        weights_pieces(catalog, ["model"], home)
    write_model(home / "tiny")
    pieces = [one.file.path for one in weights_pieces(catalog, ["model"], home)]
    assert pieces == ["weights.json", *(f"weights/tiny/{file}" for file in (MANIFEST, *sorted(FILES)))]
