"""The .env: secrets of its own, upgrades that add, errors that name the variable and never its value."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from egoworld_resources.errors import BadConfiguration, UnknownName
from egoworld_resources.server.environment import TEMPLATE, EnvFile, ServerSettings
from egoworld_resources.server.keys import key_of


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
    assert len(found) == 32
    assert len(set(found)) == len(found)
    assert all(len(secret) == 40 for secret in found)


def test_what_is_there_is_never_changed(env_file: EnvFile) -> None:
    before = env_file.path.read_bytes()
    env_file.path.chmod(0o644)
    env_file.ensure({"PROXY_PORT": "1"})
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
    ("line", "message"),
    [
        ("PROXY_S3_PORT=notaport", "PROXY_S3_PORT"),
        ("PROXY_PORT=70000", "PROXY_PORT"),
        ("S3_SERVER=ceph", "S3_SERVER.*'minio', 'versitygw' or 'none'"),
        ("S3_ENDPOINT=http://10.0.0.1:9000", "S3_SERVER=none"),
        ("DAGSTER_POOL_LIMITS=cpu:two", "DAGSTER_POOL_LIMITS.*cpu=2"),
        ("OPERATOR_PASSWORD=short", "OPERATOR_PASSWORD"),
        ("POSTGRESS_DB=egoworld", "unknown POSTGRESS_DB; known: .*POSTGRES_DB"),
        ("EGOWORLD_HOME=elsewhere", "egoworld.toml"),
        ("S3_ACCESS_KEY=egoworld-reader", "S3_ACCESS_KEY is the owner's"),
    ],
)
def test_a_wrong_value_is_named_but_not_shown(env_file: EnvFile, line: str, message: str) -> None:
    with env_file.path.open("a", encoding="utf-8") as out:
        out.write(line + "\n")
    with pytest.raises(BadConfiguration, match=message) as refused:
        env_file.load()
    assert not [secret for secret in ("short", "notaport", "10.0.0.1") if secret in str(refused.value)]


def test_pools_have_limits(env_file: EnvFile) -> None:
    with env_file.path.open("a", encoding="utf-8") as out:
        out.write("DAGSTER_POOL_LIMITS=cpu=2,gpu=1\nEGOWORLD_BATCH=8\n")
    assert env_file.load().pool_limits == {"cpu": 2, "gpu": 1}
    assert env_file.passed_on()["EGOWORLD_BATCH"] == "8"


def test_the_pipelines_key_is_passed_on_and_no_other(env_file: EnvFile) -> None:
    server, passed = env_file.load(), env_file.passed_on()
    assert passed["S3_ACCESS_KEY"] == "egoworld-pipeline"
    assert passed["S3_SECRET_KEY"] == server.s3_pipeline_secret_key.get_secret_value()
    assert [secret for secret in server.secrets if secret in passed.values()] == [passed["S3_SECRET_KEY"]]


def test_a_server_that_is_not_ours_is_used_with_the_keys_that_were_given(env_file: EnvFile) -> None:
    with env_file.path.open("a", encoding="utf-8") as out:
        out.write("S3_SERVER=none\nS3_ENDPOINT=https://s3.example.org\nS3_ACCESS_KEY=ours\nS3_SECRET_KEY=given-to-us\n")
    passed = env_file.passed_on()
    assert (passed["S3_ACCESS_KEY"], passed["S3_SECRET_KEY"]) == ("ours", "given-to-us")
    assert env_file.load().s3_accounts == {}
    with pytest.raises(BadConfiguration, match="egoworld buckets --keys"):
        key_of("uploader", env_file, env_file.path.parent, secret=True)


def test_an_uploader_is_reported_where_its_secret_stands_and_the_secret_when_it_is_asked_for(env_file: EnvFile) -> None:
    secret = env_file.load().s3_uploader_secret_key.get_secret_value()
    text = "\n".join(key_of("uploader", env_file, env_file.path.parent / "proxy", secret=False))
    assert secret not in text
    assert f"S3_UPLOADER_SECRET_KEY of {env_file.path}" in text
    assert "the uploader's buckets: inbox" in text
    assert "S3_ACCESS_KEY=egoworld-uploader" in text
    assert f"S3_SECRET_KEY={secret}" in key_of("uploader", env_file, env_file.path.parent, secret=True)
    with pytest.raises(UnknownName, match="uploader"):
        key_of("owner", env_file, env_file.path.parent, secret=True)
