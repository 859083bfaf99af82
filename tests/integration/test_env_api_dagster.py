"""Envs of workflows inside a real Dagster job."""

from pathlib import Path

import dagster as dg
import pytest

from egoworld_assets.orchestration.env_resource import EnvFabricResource
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.settings import Settings
from egoworld_resources.workflow_envs.keys import EnvKey
from egoworld_resources.workflow_envs.opening import open_fabric
from made_index import made_index

KEY = EnvKey("report", "measure")


@dg.op
def measure(envs: EnvFabricResource) -> str:
    if not envs.has(KEY):
        envs.create(KEY, packages=["tiny<2"])
    envs.add(KEY, ["leaf"])
    return envs.run(KEY, "import tiny, leaf; print(tiny.VERSION)").stdout


@dg.op
def tidy(envs: EnvFabricResource, version: str) -> None:
    assert [env.key for env in envs.envs()] == [KEY]
    envs.delete(KEY)


@dg.job(resource_defs={"envs": EnvFabricResource()})
def report() -> None:
    tidy(measure())


def test_a_job_uses_envs_and_the_audit_names_its_run(tmp_path: Path, uv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "policy.toml").write_text("private_sources = ['127.0.0.1']\n")
    given = {"EGOWORLD_HOME": tmp_path, "EGOWORLD_UV": uv, "EGOWORLD_PROJECT": tmp_path / "project"}
    for name, value in {**given, "UV_CACHE_DIR": tmp_path / "cache", "DATABASE_URL": ""}.items():
        monkeypatch.setenv(name, str(value))
    with made_index(tmp_path / "index") as index, dg.DagsterInstance.ephemeral() as instance:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        done = report.execute_in_process(instance=instance)
    assert done.output_for_node("measure") == "1.0\n"
    fabric = open_fabric(Settings.load())
    written = fabric.operations.history()
    fabric.operations.close()
    assert [one.action for one in written] == ["delete", "run", "add", "create"]
    assert {(one.actor, one.origin, one.result) for one in written} == {("dagster", f"run {done.run_id}", "ok")}


def test_outside_a_run_it_says_so() -> None:
    with pytest.raises(BadConfiguration, match="outside a run"):
        EnvFabricResource().get(KEY)
