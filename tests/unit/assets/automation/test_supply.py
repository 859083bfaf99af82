"""The group `supply` in Dagster: the job that compares the models of this machine, and the resource for other code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from egoworld_assets.definitions import build
from egoworld_assets.orchestration.weights_resource import WeightsResource
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings
from egoworld_resources.weights import WeightsMissing
from tests.made_dagster import dagster_in
from tests.made_models import FILES, write_model


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model home in force; there is no bucket."""
    monkeypatch.setenv("EGOWORLD_MODEL_HOME", str(tmp_path / "models"))
    monkeypatch.setenv("EGOWORLD_HOME", str(tmp_path / "data"))
    return tmp_path / "models"


def supplied(instance: dg.DagsterInstance, wanted: Mapping[str, Any]) -> tuple[bool, Mapping[str, dg.MetadataValue]]:
    """Whether the check of a run of the job passed, and the metadata of the models."""
    job = build(Workbench(Settings.load())).resolve_job_def("supply_of_models")
    run = job.execute_in_process(run_config={"ops": {"models": {"config": wanted}}}, instance=instance)
    (check,) = run.get_asset_check_evaluations()
    return check.passed, run.asset_materializations_for_node("models")[0].metadata


def test_the_job_compares_every_byte_and_shows_what_is_not_whole(home: Path, tmp_path: Path) -> None:
    write_model(home / "tiny")
    write_model(home / "other")
    with dagster_in(tmp_path / "dagster") as instance:
        (home / "tiny" / "config.json").write_bytes(FILES["config.json"][:-1] + b"?")
        passed, metadata = supplied(instance, {"quick": True})
        assert (passed, metadata["models"].value, metadata["not_whole"].value) == (True, 2, "none")
        passed, metadata = supplied(instance, {})
        assert (passed, metadata["not_whole"].value) == (False, "tiny")
        rows = {record.data["model"]: record.data["differences"] for record in metadata["table"].value.records}
        assert rows == {"other": 0, "tiny": 1}


def test_other_code_gets_a_whole_model_or_an_error(home: Path, tmp_path: Path) -> None:
    write_model(home / "tiny")

    @dg.asset
    def animations(weights: WeightsResource) -> str:
        return str(weights.whole("tiny"))

    with dagster_in(tmp_path / "dagster") as instance:
        made = dg.materialize([animations], instance=instance, resources={"weights": WeightsResource()})
        assert made.output_for_node("animations") == str(home / "tiny")
    (home / "tiny" / "config.json").unlink()
    with pytest.raises(WeightsMissing, match=r"missing: config\.json"):
        WeightsResource().whole("tiny")
    with pytest.raises(WeightsMissing, match=r"unsigned: egoworld-weights\.sig"):
        WeightsResource(public_key=public_key(tmp_path)).whole("tiny", quick=True)


def public_key(folder: Path) -> str:
    """A key that nothing was signed with."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    pem, public = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    (folder / "key.pub").write_bytes(key.public_bytes(pem, public))
    return str(folder / "key.pub")
