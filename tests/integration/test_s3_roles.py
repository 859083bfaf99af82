"""Least privilege on real servers: what each role may do, and above all what it may not."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from egoworld_resources.errors import StoreRefused
from egoworld_resources.inbox.bucket import BucketInbox
from egoworld_resources.s3.access import BUCKETS, ROLES, Role, S3Access
from egoworld_resources.s3.buckets import client, role_policy, temporary
from egoworld_resources.s3.objects import Objects, Transfer
from egoworld_resources.server import s3_accounts
from egoworld_resources.server.s3_servers import S3Address
from egoworld_resources.store.s3 import S3Store
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


THERE: dict[str, str] = {"artifacts": "artifacts/there", "inbox": "uploader/there"}
WAYS = [("minio", "account"), ("minio", "temporary keys"), ("versitygw", "account")]
"""How a role is given out: as an account of the server, as `make up` does it, or by STS for some hours."""


def of_role(role: Role, owner: S3Access, server: str, way: str = "account") -> S3Access:
    """Keys for a role."""
    if way == "temporary keys":
        return temporary(owner, role, 3600)
    keys = {"access_key": f"{role}-{secrets.token_hex(4)}", "secret_key": secrets.token_hex(16)}
    account = S3Access.model_validate({**owner.model_dump(), **keys})
    s3_accounts.make(server, owner, {role: account})
    return account


def tries(access: S3Access) -> dict[str, Callable[[], object]]:
    """Everything that somebody with keys might do."""
    found: dict[str, Callable[[], object]] = {}
    for which in BUCKETS:
        objects = Objects(access, access.bucket(which))
        prefix = {"artifacts": "artifacts/", "inbox": "uploader/"}.get(which, "")
        own = prefix if which == "inbox" else ""
        found[f"read {which}"] = lambda o=objects, p=prefix: o.get(f"{p}there")
        found[f"list {which}"] = lambda o=objects, p=own: list(o.list(p.rstrip("/")))
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


@pytest.mark.parametrize(("server", "way"), WAYS)
@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_it_needs_and_nothing_else(
    server: str, way: str, role: Role, request: pytest.FixtureRequest
) -> None:
    at: S3Address = request.getfixturevalue(server)
    owner = access_to(at)
    for which in BUCKETS:
        Objects(owner, owner.bucket(which)).put(THERE.get(which, "there"), b"there")
    Objects(owner, owner.bucket("artifacts")).put("sources/there", b"there")
    keys = of_role(role, owner, server, way)
    attempts = tries(keys)
    allowed = {name for name, attempt in attempts.items() if not refused(attempt)}
    assert allowed == MAY[role]
    kept = Objects(owner, owner.bucket("artifacts"))
    assert kept.get("sources/there") == b"there"
    for method, path in (("GET", "/minio/admin/v3/list-users"), ("PUT", "/minio/admin/v3/import-iam-v2")):
        assert s3_accounts.asked(keys, method, path)[0] in (403, 404)
    assert s3_accounts.asked(keys, "PATCH", "/list-users")[0] in (400, 403)
    with pytest.raises(ClientError, match="AccessDenied"):
        client(keys, keys.endpoint).create_bucket(Bucket=f"{owner.bucket_name}-more")


@pytest.mark.parametrize("server", SERVERS)
def test_the_pipeline_and_the_reader_have_what_the_store_needs(
    server: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    at: S3Address = request.getfixturevalue(server)
    owner = access_to(at)
    files = {"masks.parquet": b"x" * (9 << 20), "small": b"y"}
    _, manifest = artifact(tmp_path / "new", files)
    pipeline = S3Store(of_role("pipeline", owner, server), tmp_path / "here", BOUND)
    pipeline.put(tmp_path / "new", manifest)
    pipeline.record("failures", "x", {"reason": "y"})
    pipeline.record("failures", "x", None)
    assert pipeline.verify(manifest) == []
    reader = S3Store(of_role("reader", owner, server), tmp_path / "there", BOUND)
    assert reader.current("masks", "v") == manifest
    assert contents(reader.folder(manifest)) == files
    with pytest.raises(StoreRefused, match="AccessDenied"):
        reader.record("failures", "x", {"reason": "y"})
    (entry,) = BucketInbox(reader.access, tmp_path / "there").left_out()
    assert (entry.name, entry.state) == (f"s3://{owner.bucket('inbox')}", "waiting")
    assert entry.why.startswith("what waits is not shown, this key may not list the bucket")


@pytest.mark.parametrize("server", SERVERS)
def test_an_uploader_brings_a_big_video_in_parts(server: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    at: S3Address = request.getfixturevalue(server)
    owner = access_to(at)
    uploader = of_role("uploader", owner, server)
    _, manifest = artifact(tmp_path / "new", {"uploader/kitchen é.mp4": b"v" * (20 << 20)})
    file = manifest.files[0]
    transfer = Transfer(tmp_path / "new" / file.path, file.path, file.bytes, file.sha256)
    Objects(uploader, uploader.bucket("inbox")).put_parts(transfer)
    assert Objects(owner, owner.bucket("inbox")).digest(file.path) == file.sha256


@pytest.mark.parametrize("server", SERVERS)
def test_accounts_are_kept_as_they_are_set(server: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    owner = access_to(request.getfixturevalue(server))
    mark, suffix = tmp_path / "accounts", secrets.token_hex(4)

    def accounts(secret: str) -> dict[Role, S3Access]:
        return {
            role: S3Access.model_validate(
                {**owner.model_dump(), "access_key": f"{role}-{suffix}", "secret_key": f"{secret}-<&>{role}"}
            )
            for role in ROLES
        }

    def work(secret: str) -> set[bool]:
        return {s3_accounts.taken(access, role) for role, access in accounts(secret).items()}

    assert work("first") == {False}
    s3_accounts.keep(server, owner, accounts("first"), mark)
    assert work("first") == {True}
    written = mark.stat().st_ino
    s3_accounts.keep(server, owner, accounts("first"), mark)
    assert mark.stat().st_ino == written, "what is so already is left alone"
    s3_accounts.keep(server, owner, accounts("second"), mark)
    assert (work("first"), work("second")) == ({False}, {True})
    wrong = S3Access.model_validate({**owner.model_dump(), "secret_key": "not-the-owner's"})
    with pytest.raises(StoreRefused, match="status 403"):
        s3_accounts.keep(server, wrong, accounts("third"), mark)


def test_no_role_may_do_everything() -> None:
    somewhere = S3Access(endpoint="http://host", access_key="a", secret_key="b", bucket_name="x")
    for role in ROLES:
        for entry in role_policy(somewhere, role)["Statement"]:
            assert entry["Effect"] == "Allow"
            assert [action for action in entry["Action"] if "*" in action] == []
            assert [arn for arn in entry["Resource"] if not arn.startswith("arn:aws:s3:::x-")] == []
