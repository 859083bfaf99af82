"""Weights that lie in the bucket alone: pushed by a command, fetched when a model needs them, checked on the way."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner

from egoworld_assets.cli.app import app
from egoworld_assets.orchestration.registry import stages
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.environments.declaration import Weights
from egoworld_resources.errors import DamagedArtifact
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.s3.access import S3Access
from egoworld_resources.s3.objects import Objects
from egoworld_resources.settings import Settings
from egoworld_resources.weights import WeightsMissing, local_weights
from egoworld_resources.weights.bucket import WeightsBucket
from made_doctor import findings, subject
from tests.made_envs import made_env
from tests.made_stores import BOUND, SERVERS, access_to, environment
from tests.made_up import video

DATA = b"weights" * 2_000_000
DIGEST = sha256(DATA).hexdigest()
WEIGHTS = Weights(name="hands", path="lab/hands.task", sha256=DIGEST, licence="CC0-1.0")
DECLARED = f"""
[[tool.egoworld.stages.weighed.weights]]
name = "hands"
path = "lab/hands.task"
sha256 = "{DIGEST}"
licence = "CC0-1.0"
"""
RUNNER = """
from dataclasses import dataclass
from egoworld_runner import Runner
from egoworld_runner.tables import Int, Row


@dataclass(frozen=True)
class Weighed_(Row):
    table = "weighed"
    bytes: Int


class Model(Runner):
    writes = (Weighed_,)

    def setup(self, weights, device):
        self.bytes = len(weights["hands"].read_bytes())

    def run(self, clip, inputs, params):
        yield Weighed_(self.bytes)
"""
WEIGHED = Stage("weighed", env="weighty", inputs=("videos",), unit="video")


@pytest.fixture(params=SERVERS)
def access(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3Access:
    """A server whose environment commands run in; there is no folder of weights on this machine."""
    made = access_to(request.getfixturevalue(request.param))
    for name, value in environment(made).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EGOWORLD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EGOWORLD_MODEL_HOME", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    return made


def push(folder: Path) -> str:
    """What the command says that uploads the weights."""
    (folder / "hands.task").write_bytes(DATA)
    done = CliRunner().invoke(app, ["weights", "push", str(folder / "hands.task")])
    assert done.exit_code == 0, done.output
    return done.output


def test_what_was_pushed_is_fetched_once_and_checked(access: S3Access, tmp_path: Path) -> None:
    bucket = WeightsBucket(access, tmp_path / "cache", BOUND)
    assert push(tmp_path) == f"hands.task: s3://{access.bucket('weights')}/{DIGEST}\n"
    assert push(tmp_path), "a second time nothing is wrong"
    path = local_weights([WEIGHTS], Path("python"), bucket)["hands"]
    assert (path.name, path.read_bytes() == DATA) == ("hands.task", True)
    assert path.stat().st_mode & 0o222 == 0
    Objects(access, access.bucket("weights")).remove([DIGEST])
    assert local_weights([WEIGHTS], Path("python"), bucket)["hands"] == path, "the server is not asked again"


def test_what_lies_on_the_disk_goes_first_and_what_lies_nowhere_is_reported(access: S3Access, tmp_path: Path) -> None:
    bucket = WeightsBucket(access, tmp_path / "cache", BOUND)
    with pytest.raises(WeightsMissing) as missing:
        local_weights([WEIGHTS], Path("python"), bucket)
    for part in ("weights 'hands'", f"s3://{access.bucket('weights')}/{DIGEST}", "egoworld weights push hands.task"):
        assert part in str(missing.value)
    (tmp_path / "models" / "lab").mkdir(parents=True)
    (tmp_path / "models" / "lab" / "hands.task").write_bytes(DATA)
    assert local_weights([WEIGHTS], Path("python"), bucket)["hands"].is_relative_to(tmp_path / "models")


def test_other_bytes_under_that_name_are_refused_and_not_kept(access: S3Access, tmp_path: Path) -> None:
    bucket = WeightsBucket(access, tmp_path / "cache", BOUND)
    Objects(access, access.bucket("weights")).put(DIGEST, DATA[:-1] + b"?")
    with pytest.raises(DamagedArtifact, match="is damaged"):
        local_weights([WEIGHTS], Path("python"), bucket)
    assert not list((tmp_path / "cache" / "entries").glob("weights*"))
    assert not list((tmp_path / "cache" / "files").rglob("*.task"))


@pytest.mark.parametrize("access", ["minio"], indirect=True)
def test_a_model_is_given_weights_that_lie_in_the_bucket_alone(access: S3Access, tmp_path: Path) -> None:
    env = made_env(tmp_path / "more", "weighty", stage="weighed", interpreter="base", more=DECLARED)
    (env / "runner.py").write_text(RUNNER, encoding="utf-8")
    bench = Workbench(Settings.load(extra_envs=(env.parent,)))
    key = Arrivals(bench.store).take(video(tmp_path / "kitchen.mp4")).video
    (probed,) = bench.make(stages()["videos"], [key], "run")
    assert probed.manifest, probed
    (outcome,) = bench.make(WEIGHED, [key], "run")
    assert f"s3://{access.bucket('weights')}/{DIGEST}" in outcome.why
    [missing, *_] = findings("weights", subject(tmp_path, {"weighed": "weighty"}, extra_envs=(env.parent,)))
    push(tmp_path)
    (tmp_path / "hands.task").unlink()
    [there, *_] = findings("weights", subject(tmp_path, {"weighed": "weighty"}, extra_envs=(env.parent,)))
    assert (missing.state, there.state) == ("fault", "ok")
    (outcome,) = bench.make(WEIGHED, [key], "again", force=True)
    assert outcome.manifest, outcome
    assert outcome.manifest.recipe.weights == {"hands": DIGEST}
