"""Uploaders try each other's videos, on both S3 servers, with accounts made by the command that an operator types."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

from egoworld_resources.s3.access import S3Access
from egoworld_resources.s3.buckets import client
from egoworld_resources.server import probes
from egoworld_resources.server.running import Server
from egoworld_resources.settings import PROJECT
from tests.made_server import in_env, server_up
from tests.made_stores import SERVERS
from tests.servers import temporary_home

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

INBOX = "lab-inbox"
THEIRS = "anna/kitchen.mp4"
STOPPED_S = 60.0


@dataclass
class Two:
    """A server on which anna has brought a video and begun another, and ben, who wants both."""

    server: Server
    kind: str
    owner: S3Client
    anna: S3Client
    ben: S3Client
    begun: str


def command(server: Server, *words: str) -> str:
    """`python -m egoworld_resources.server uploader …` as an operator types it."""
    env = {**os.environ, "EGOWORLD_HOME": str(server.parts.settings.home)}
    line = [sys.executable, "-m", "egoworld_resources.server", "uploader", *words]
    done = subprocess.run(line, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def access(server: Server, lines: str) -> S3Access:
    """The access that lines for an .env give, straight to the S3 server."""
    given = dict(line.split("=", 1) for line in lines.splitlines() if line and not line.startswith("#"))
    settings = server.parts.server.s3_access.model_dump()
    keys = {"access_key": given["S3_ACCESS_KEY"], "secret_key": given["S3_SECRET_KEY"]}
    return S3Access.model_validate({**settings, **keys})


def keys(server: Server, lines: str) -> S3Client:
    made = access(server, lines)
    return client(made, made.endpoint)


@pytest.fixture(scope="module", params=SERVERS)
def two(request: pytest.FixtureRequest) -> Iterator[Two]:
    if request.param == "minio":
        yield brought(request.getfixturevalue("attacked_server"), "minio")
        return
    with temporary_home() as home, server_up(home, ["s3"], S3_SERVER="versitygw") as server:
        yield brought(server, "versitygw")


def brought(server: Server, kind: str) -> Two:
    anna, ben = (keys(server, command(server, "add", name, "--secret")) for name in ("anna", "ben"))
    anna.put_object(Bucket=INBOX, Key=THEIRS, Body=b"first")
    anna.put_object(Bucket=INBOX, Key=THEIRS, Body=b"anna's")
    begun = anna.create_multipart_upload(Bucket=INBOX, Key="anna/begun.mp4")["UploadId"]
    anna.upload_part(Bucket=INBOX, Key="anna/begun.mp4", UploadId=begun, PartNumber=1, Body=b"anna's part")
    owner = server.parts.server.s3_access
    s3 = client(owner, owner.endpoint)
    s3.put_object(Bucket="lab-artifacts", Key="sources/video", Body=b"secret")
    return Two(server, kind, s3, anna, ben, begun)


OTHERS = {"Bucket": INBOX, "Key": THEIRS}
BEGUN = {"Bucket": INBOX, "Key": "anna/begun.mp4"}
BUCKET = {"Bucket": INBOX}
RULES = {"Rules": [{"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]}
EVERYBODY = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}]}'

ATTEMPTS: dict[str, Callable[[Two], object]] = {
    "overwrite": lambda two: two.ben.put_object(**OTHERS, Body=b"ben's"),
    "overwrite by a detour": lambda two: two.ben.put_object(Bucket=INBOX, Key=f"ben/../{THEIRS}", Body=b"ben's"),
    "a name beside the folder": lambda two: two.ben.put_object(Bucket=INBOX, Key="ben2/a.mp4", Body=b"x"),
    "the folder itself": lambda two: two.ben.put_object(Bucket=INBOX, Key="ben", Body=b"x"),
    "no folder": lambda two: two.ben.put_object(Bucket=INBOX, Key="a.mp4", Body=b"x"),
    "another bucket": lambda two: two.ben.put_object(Bucket="lab-artifacts", Key="ben/a", Body=b"x"),
    "read": lambda two: two.ben.get_object(**OTHERS),
    "read the old version": lambda two: two.ben.get_object(**OTHERS, VersionId=oldest(two)),
    "ask for its size": lambda two: two.ben.head_object(**OTHERS),
    "read the own": lambda two: two.anna.get_object(**OTHERS),
    "list all": lambda two: two.ben.list_objects_v2(**BUCKET),
    "list all, the old way": lambda two: two.ben.list_objects(**BUCKET),
    "list the folders": lambda two: two.ben.list_objects_v2(**BUCKET, Delimiter="/"),
    "list another's": lambda two: two.ben.list_objects_v2(**BUCKET, Prefix="anna/"),
    "list by half a name": lambda two: two.ben.list_objects_v2(**BUCKET, Prefix="be"),
    "list versions": lambda two: two.ben.list_object_versions(**BUCKET, Prefix="anna/"),
    "list uploads": lambda two: two.ben.list_multipart_uploads(**BUCKET),
    "list another's uploads": lambda two: two.ben.list_multipart_uploads(**BUCKET, Prefix="anna/begun.mp4"),
    "list parts": lambda two: two.ben.list_parts(**BEGUN, UploadId=two.begun),
    "abort": lambda two: two.ben.abort_multipart_upload(**BEGUN, UploadId=two.begun),
    "a part into another's upload": lambda two: two.ben.upload_part(
        **BEGUN, UploadId=two.begun, PartNumber=1, Body=b"x"
    ),
    "the same under an own name": lambda two: two.ben.upload_part(
        Bucket=INBOX, Key="ben/begun.mp4", UploadId=two.begun, PartNumber=1, Body=b"x"
    ),
    "copy": lambda two: two.ben.copy_object(Bucket=INBOX, Key="ben/copy.mp4", CopySource=OTHERS),
    "copy from another bucket": lambda two: two.ben.copy_object(
        Bucket=INBOX, Key="ben/copy.mp4", CopySource={"Bucket": "lab-artifacts", "Key": "sources/video"}
    ),
    "copy as a part": lambda two: copied_part(two),
    "remove": lambda two: two.ben.delete_object(**OTHERS),
    "remove the old version": lambda two: two.ben.delete_object(**OTHERS, VersionId=oldest(two)),
    "remove many": lambda two: removed_many(two),
    "tag": lambda two: two.ben.put_object_tagging(**OTHERS, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]}),
    "read tags": lambda two: two.ben.get_object_tagging(**OTHERS),
    "open it to all": lambda two: two.ben.put_object_acl(**OTHERS, ACL="public-read"),
    "another policy": lambda two: two.ben.put_bucket_policy(**BUCKET, Policy=EVERYBODY),
    "no policy": lambda two: two.ben.delete_bucket_policy(**BUCKET),
    "no versions": lambda two: two.ben.put_bucket_versioning(**BUCKET, VersioningConfiguration={"Status": "Suspended"}),
    "remove all by a lifecycle": lambda two: two.ben.put_bucket_lifecycle_configuration(
        **BUCKET,
        LifecycleConfiguration=RULES,  # pyright: ignore[reportArgumentType]
    ),
    "remove the bucket": lambda two: two.ben.delete_bucket(**BUCKET),
    "a bucket of his own": lambda two: two.ben.create_bucket(Bucket="lab-ben"),
}


def oldest(two: Two) -> str:
    """The version of anna's video that she replaced."""
    return two.owner.list_object_versions(Bucket=INBOX, Prefix=THEIRS)["Versions"][-1]["VersionId"]


def copied_part(two: Two) -> None:
    own = two.ben.create_multipart_upload(Bucket=INBOX, Key="ben/part.mp4")["UploadId"]
    where = {"Bucket": INBOX, "Key": "ben/part.mp4", "UploadId": own}
    try:
        two.ben.upload_part_copy(**where, PartNumber=1, CopySource=OTHERS)
    finally:
        two.ben.abort_multipart_upload(**where)


def removed_many(two: Two) -> None:
    errors = two.ben.delete_objects(Bucket=INBOX, Delete={"Objects": [{"Key": THEIRS}]}).get("Errors")
    if errors:
        raise ClientError({"Error": {"Code": errors[0]["Code"]}}, "DeleteObjects")


def test_another_uploaders_videos(two: Two) -> None:
    """An uploader tries to overwrite, list, read, abort, copy, remove, tag and open what another one brought."""
    before = {THEIRS, *(key for key in keys_in(two) if not key.startswith("ben/"))}
    done = [name for name, attempt in ATTEMPTS.items() if not refused(partial(attempt, two))]
    assert done == []
    unpacked(two)
    assert two.owner.get_object(**OTHERS)["Body"].read() == b"anna's"
    assert [part["Size"] for part in two.anna.list_parts(**BEGUN, UploadId=two.begun)["Parts"]] == [len("anna's part")]
    assert {key for key in keys_in(two) if not key.startswith("ben/")} == before


def keys_in(two: Two) -> set[str]:
    """Everything in the inbox bucket."""
    return {entry["Key"] for entry in two.owner.list_objects_v2(Bucket=INBOX).get("Contents", ())}


def refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except ClientError as error:
        return error.response.get("Error", {}).get("Code") != "InternalError"
    return False


def unpacked(two: Two) -> None:
    """MinIO unpacks an archive that says so: into the uploader's own folder, or not at all."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in (THEIRS, f"../{THEIRS}", "no-folder.mp4"):
            entry = tarfile.TarInfo(name)
            entry.size = 5
            archive.addfile(entry, io.BytesIO(b"ben's"))
    headers = {"X-Amz-Meta-Snowball-Auto-Extract": "true", "X-Amz-Meta-Minio-Snowball-Prefix": "anna"}
    url = f"{two.server.parts.server.s3_endpoint}/{INBOX}/ben/pack.tar"
    request = AWSRequest(method="PUT", url=url, data=packed.getvalue(), headers=headers)
    own = two.server.parts.uploaders.all()["ben"]
    S3SigV4Auth(Credentials(f"egoworld-uploader-{own.name}", own.secret), "s3", "us-east-1").add_auth(request)
    assert URLLib3Session().send(request.prepare()).status_code in (200, 403)


def test_what_an_uploader_may(two: Two) -> None:
    """An uploader brings videos in one piece and in parts, lists its own; what it overwrites can be had back."""
    listed = [entry["Key"] for entry in two.anna.list_objects_v2(Bucket=INBOX, Prefix="anna/")["Contents"]]
    assert listed == [THEIRS]
    parts = two.anna.list_parts(**BEGUN, UploadId=two.begun)["Parts"]
    whole = {"Parts": [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in parts]}
    two.anna.complete_multipart_upload(**BEGUN, UploadId=two.begun, MultipartUpload=whole)  # pyright: ignore[reportArgumentType]
    assert two.owner.get_object(**BEGUN)["Body"].read() == b"anna's part"
    assert two.owner.get_object(**OTHERS, VersionId=oldest(two))["Body"].read() == b"first"


def test_more_than_a_quota(two: Two) -> None:
    """An uploader brings more files and bytes than it may, as new files and as new versions of one."""
    dora = keys(two.server, command(two.server, "add", "dora", "--files", "3", "--secret"))
    for number in range(3):
        dora.put_object(Bucket=INBOX, Key="dora/same.mp4", Body=b"%d" % number)
    assert "over quota: dora" in command(two.server, "watch", "--once")
    assert refused(lambda: dora.put_object(Bucket=INBOX, Key="dora/more.mp4", Body=b"x"))
    assert refused(lambda: dora.create_multipart_upload(Bucket=INBOX, Key="dora/more.mp4"))
    two.ben.put_object(Bucket=INBOX, Key="ben/not-he.mp4", Body=b"x")
    command(two.server, "add", "dora", "--gb", "0.000001")
    assert command(two.server, "watch", "--once") == "over quota: nobody\n"
    dora.put_object(Bucket=INBOX, Key="dora/more.mp4", Body=b"x" * 2_000)
    assert "over quota: dora" in command(two.server, "watch", "--once")
    assert refused(lambda: dora.put_object(Bucket=INBOX, Key="dora/most.mp4", Body=b"x"))


def test_a_quota_while_nobody_looks(attacked_server: Server) -> None:
    """An uploader goes on over its quota: the running part stops it, and shows why and what to do."""
    erik = keys(attacked_server, command(attacked_server, "add", "erik", "--files", "2", "--secret"))
    for number in range(2):
        erik.put_object(Bucket=INBOX, Key=f"erik/{number}.mp4", Body=b"x")

    def stopped() -> str:
        if not refused(lambda: erik.put_object(Bucket=INBOX, Key="erik/0.mp4", Body=b"again")):
            raise probes.Unhealthy("it may still write")
        return "stopped"

    probes.wait(stopped, STOPPED_S)
    for output in (in_env(attacked_server, "egoworld", "status", "--refused").stdout, command(attacked_server, "list")):
        words = " ".join(output.replace("│", " ").split())
        assert re.search(r"erik/?.* of 2 files, old versions counted", words), output
        assert "uploader add erik" in words
    health = {part.name: part.said for part in attacked_server.health()}
    assert "erik" in health["inbox-keeper"]
    command(attacked_server, "add", "erik", "--files", "1000")

    def going_on() -> str:
        if refused(lambda: erik.put_object(Bucket=INBOX, Key="erik/more.mp4", Body=b"x")):
            raise probes.Unhealthy("a look that began before the quota was raised has stopped it")
        return "going on"

    probes.wait(going_on, STOPPED_S)
    assert "erik/ " not in in_env(attacked_server, "egoworld", "status", "--refused").stdout


def test_a_key_that_was_taken_away(two: Two) -> None:
    """An uploader goes on with a key that was changed, and with an account that was taken away."""
    lines = command(two.server, "add", "carl", "--secret")
    old = keys(two.server, lines)
    old.put_object(Bucket=INBOX, Key="carl/1.mp4", Body=b"x")
    new = keys(two.server, command(two.server, "rotate", "carl", "--secret"))
    new.put_object(Bucket=INBOX, Key="carl/2.mp4", Body=b"x")
    assert refused(lambda: old.put_object(Bucket=INBOX, Key="carl/1.mp4", Body=b"y"))
    command(two.server, "remove", "carl")
    assert refused(lambda: new.put_object(Bucket=INBOX, Key="carl/2.mp4", Body=b"y"))
    two.ben.put_object(Bucket=INBOX, Key="ben/still.mp4", Body=b"x")
    shown = command(two.server, "list")
    assert "carl: 2 files" in shown
    assert "no account" in shown
    for secret in (lines, *(one.secret for one in two.server.parts.uploaders.all().values())):
        assert secret not in shown
