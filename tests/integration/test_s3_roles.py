"""Least privilege on real servers: what each role may do, and above all what it may not."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from egoworld_resources.errors import StoreRefused
from egoworld_resources.production.s3_servers import S3Address
from egoworld_resources.production.tools import VERSITYGW, Tools
from egoworld_resources.s3_access import BUCKETS, S3Access
from egoworld_resources.s3_buckets import ROLES, Buckets, Role, role_policy, temporary
from egoworld_resources.s3_objects import Objects, Transfer
from egoworld_resources.store_s3 import S3Store
from tests.made_stores import BOUND, SERVERS, access_to, artifact, contents

MAY: dict[Role, set[str]] = {
    "uploader": {"write inbox", "list inbox"},
    "reader": {"read artifacts", "list artifacts"},
    "pipeline": {
        *("read inbox", "list inbox", "read weights", "list weights"),
        *("read artifacts", "list artifacts", "write artifacts", "remove artifacts", "read sources"),
    },
}
"""Everything that each role may do of all that is tried below."""


def of_role(role: Role, at: S3Address, owner: S3Access, server: str, tools: Tools) -> S3Access:
    """Keys for a role, as each server gives them: MinIO by STS, versitygw as an account named in bucket policies."""
    if server == "minio":
        return temporary(owner, role, 3600)
    program, name = tools.go_program(VERSITYGW), f"{role}-{owner.bucket_name}"
    admin = [program, "admin", "-a", at.access_key, "-s", at.secret_key, "-er", at.endpoint]
    account = ["create-user", "-a", name, "-s", f"secret-{name}", "-r", "user"]
    subprocess.run([*admin, *account], check=True, capture_output=True)
    Buckets(owner).allow({role: [name]})
    return S3Access(
        endpoint=owner.endpoint, access_key=name, secret_key=f"secret-{name}", bucket_name=owner.bucket_name
    )


def tries(access: S3Access) -> dict[str, Callable[[], object]]:
    """Everything that somebody with keys might do."""
    found: dict[str, Callable[[], object]] = {}
    for which in BUCKETS:
        objects = Objects(access, access.bucket(which))
        prefix = "artifacts/" if which == "artifacts" else ""
        found[f"read {which}"] = lambda o=objects, p=prefix: o.get(f"{p}there")
        found[f"list {which}"] = lambda o=objects: list(o.list(""))
        found[f"write {which}"] = lambda o=objects, p=prefix: o.put(f"{p}new", b"new")
        found[f"remove {which}"] = lambda o=objects, p=prefix: o.remove([f"{p}there"])
    found["read sources"] = lambda: Objects(access, access.bucket("artifacts")).get("sources/there")
    return found


def refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except StoreRefused:
        return True
    return False


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_it_needs_and_nothing_else(
    server: str, role: Role, request: pytest.FixtureRequest, tools: Tools
) -> None:
    at: S3Address = request.getfixturevalue(server)
    owner = access_to(at)
    for which in BUCKETS:
        Objects(owner, owner.bucket(which)).put("artifacts/there" if which == "artifacts" else "there", b"there")
    Objects(owner, owner.bucket("artifacts")).put("sources/there", b"there")
    attempts = tries(of_role(role, at, owner, server, tools))
    allowed = {name for name, attempt in attempts.items() if not refused(attempt)}
    assert allowed == MAY[role]
    kept = Objects(owner, owner.bucket("artifacts"))
    assert kept.get("sources/there") == b"there"


@pytest.mark.parametrize("server", SERVERS)
def test_the_pipeline_and_the_reader_have_what_the_store_needs(
    server: str, request: pytest.FixtureRequest, tools: Tools, tmp_path: Path
) -> None:
    at: S3Address = request.getfixturevalue(server)
    owner = access_to(at)
    files = {"masks.parquet": b"x" * (9 << 20), "small": b"y"}
    _, manifest = artifact(tmp_path / "new", files)
    pipeline = S3Store(of_role("pipeline", at, owner, server, tools), tmp_path / "here", BOUND)
    pipeline.put(tmp_path / "new", manifest)
    pipeline.record("failures", "x", {"reason": "y"})
    pipeline.record("failures", "x", None)
    assert pipeline.verify(manifest) == []
    reader = S3Store(of_role("reader", at, owner, server, tools), tmp_path / "there", BOUND)
    assert reader.current("masks", "v") == manifest
    assert contents(reader.folder(manifest)) == files
    with pytest.raises(StoreRefused, match="AccessDenied"):
        reader.record("failures", "x", {"reason": "y"})


@pytest.mark.parametrize("server", SERVERS)
def test_an_uploader_brings_a_big_video_in_parts(
    server: str, request: pytest.FixtureRequest, tools: Tools, tmp_path: Path
) -> None:
    at: S3Address = request.getfixturevalue(server)
    owner = access_to(at)
    uploader = of_role("uploader", at, owner, server, tools)
    _, manifest = artifact(tmp_path / "new", {"kitchen é.mp4": b"v" * (20 << 20)})
    file = manifest.files[0]
    transfer = Transfer(tmp_path / "new" / file.path, file.path, file.bytes, file.sha256)
    Objects(uploader, uploader.bucket("inbox")).put_parts(transfer)
    assert Objects(owner, owner.bucket("inbox")).digest(file.path) == file.sha256


def test_no_role_may_do_everything() -> None:
    somewhere = S3Access(endpoint="http://host", access_key="a", secret_key="b", bucket_name="x")
    for role in ROLES:
        for entry in role_policy(somewhere, role)["Statement"]:
            assert entry["Effect"] == "Allow"
            assert [action for action in entry["Action"] if "*" in action] == []
            assert [arn for arn in entry["Resource"] if not arn.startswith("arn:aws:s3:::x-")] == []
