"""The .env: secrets of its own, upgrades that add, errors that name the variable and never its value."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.production.environment import TEMPLATE, EnvFile, ServerSettings


@pytest.fixture
def env_file(tmp_path: Path) -> EnvFile:
    file = EnvFile(tmp_path / "production" / ".env")
    file.ensure()
    return file


def test_a_new_one_is_private_and_has_secrets_that_no_other_has(env_file: EnvFile, tmp_path: Path) -> None:
    assert stat.S_IMODE(env_file.path.stat().st_mode) == 0o600
    other = EnvFile(tmp_path / "other" / ".env")
    other.ensure()
    found = [*env_file.load().secrets, *other.load().secrets]
    assert len(found) == 8
    assert len(set(found)) == 8
    assert all(len(secret) == 40 for secret in found)


def test_what_is_there_is_never_changed(env_file: EnvFile) -> None:
    before = env_file.path.read_bytes()
    env_file.path.chmod(0o644)
    env_file.ensure({"POSTGRES_PORT": "1"})
    assert env_file.path.read_bytes() == before
    assert stat.S_IMODE(env_file.path.stat().st_mode) == 0o600


def test_variables_of_a_newer_template_are_added(env_file: EnvFile) -> None:
    text = env_file.path.read_text(encoding="utf-8")
    older = re.sub(r"(?m)^(VIEWER_PASSWORD|PROXY_NAME)=.*\n", "", text)
    env_file.path.write_text(older, encoding="utf-8")
    with pytest.raises(BadConfiguration, match="PROXY_NAME: Field required"):
        env_file.load()
    env_file.ensure()
    assert env_file.path.read_text(encoding="utf-8").startswith(older)
    assert env_file.load().proxy_name == "localhost"
    assert len(env_file.load().viewer_password.get_secret_value()) == 40


def test_the_template_describes_every_variable() -> None:
    names = re.findall(r"(?m)^(\w+)=", TEMPLATE.read_text(encoding="utf-8"))
    assert sorted(names) == sorted(name.upper() for name in ServerSettings.model_fields)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("POSTGRES_PORT=notaport", "POSTGRES_PORT"),
        ("PROXY_PORT=70000", "PROXY_PORT"),
        ("S3_SERVER=ceph", "S3_SERVER.*'minio', 'versitygw' or 'none'"),
        ("S3_ENDPOINT=http://10.0.0.1:9000", "S3_SERVER=none"),
        ("DAGSTER_POOL_LIMITS=cpu:two", "DAGSTER_POOL_LIMITS.*cpu=2"),
        ("OPERATOR_PASSWORD=short", "OPERATOR_PASSWORD"),
        ("POSTGRESS_PORT=15432", "unknown POSTGRESS_PORT; known: .*POSTGRES_PORT"),
        ("EGOWORLD_HOME=elsewhere", "egoworld.toml"),
    ],
)
def test_a_wrong_value_is_named_but_not_shown(env_file: EnvFile, line: str, said: str) -> None:
    with env_file.path.open("a", encoding="utf-8") as out:
        out.write(line + "\n")
    with pytest.raises(BadConfiguration, match=said) as refused:
        env_file.load()
    assert not [secret for secret in ("short", "notaport", "10.0.0.1") if secret in str(refused.value)]


def test_pools_have_limits(env_file: EnvFile) -> None:
    with env_file.path.open("a", encoding="utf-8") as out:
        out.write("DAGSTER_POOL_LIMITS=cpu=2,gpu=1\nEGOWORLD_BATCH=8\n")
    assert env_file.load().pool_limits == {"cpu": 2, "gpu": 1}
    assert env_file.passed_on()["EGOWORLD_BATCH"] == "8"
