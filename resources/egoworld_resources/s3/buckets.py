"""What surrounds the objects: buckets, who may do what in them, URLs for browsers, keys for a while. By boto3."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader, create_loader

from egoworld_resources.errors import StoreRefused, StoreUnreachable
from egoworld_resources.s3.access import BUCKETS, UPLOADER, Bucket, Role, S3Access

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

LIST = ("s3:ListBucket", "s3:GetBucketLocation")
READ = ("s3:GetObject",)
WRITE = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
REMOVE = ("s3:DeleteObject",)
CONFIG = Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 5})
OLD_DAYS = 30
"""Days for which an upload that was replaced can be had back."""
DENIED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "403"}


@dataclass(frozen=True)
class Right:
    """What a role may do in a bucket. objects: actions on objects, only those below ``below`` (empty: all of them)."""

    bucket: Bucket
    whole: tuple[str, ...]
    objects: tuple[str, ...]
    below: tuple[str, ...] = ("",)
    only: bool = False
    """Whether the bucket is listed below ``below`` alone."""


RIGHTS: Mapping[Role, tuple[Right, ...]] = {
    "uploader": (Right("inbox", LIST, WRITE, (f"{UPLOADER}/",), only=True),),
    "reader": (Right("artifacts", LIST, READ, ("artifacts/", "records/")),),
    "pipeline": (
        Right("inbox", LIST, READ),
        Right("artifacts", (*LIST, "s3:ListBucketMultipartUploads"), (*READ, *WRITE, *REMOVE)),
        Right("weights", LIST, READ),
    ),
}
"""Uploaders bring videos into a folder of their own, list it and read nothing; readers see what was made, not the
videos themselves; nobody but the pipeline writes artifacts; weights are put there by the administrator."""


def uploader(name: str, *, full: bool = False) -> str:
    """Who has the rights of an uploader with a name: the role for the account that every server has.

    full: one that may add nothing.
    """
    return UPLOADER if name == UPLOADER else f"{UPLOADER}/{name}{'/full' if full else ''}"


def rights(who: str) -> tuple[Right, ...]:
    """The rights of a role, or of an uploader as ``uploader`` names it."""
    role, name, full = (*who.split("/"), "", "")[:3]
    known_rights = {str(known): rights for known, rights in RIGHTS.items()}[role]
    if not name:
        return known_rights
    objects = WRITE[1:] if full else WRITE
    return tuple(replace(right, objects=objects, below=(f"{name}/",)) for right in known_rights)


@dataclass(frozen=True)
class Unfinished:
    """A multipart upload that was begun and neither finished nor aborted."""

    key: str
    upload: str
    begun: datetime


class Buckets:
    """The three buckets. Raises StoreRefused, StoreUnreachable."""

    def __init__(self, access: S3Access) -> None:
        self.access = access
        self._client = client(access, access.endpoint)

    def make(self) -> list[str]:
        """Make the buckets that are missing; their names."""
        made: list[str] = []
        for which in BUCKETS:
            bucket = self.access.bucket(which)
            with named_faults(f"bucket {bucket}"):
                there = {entry.get("Name") for entry in self._client.list_buckets()["Buckets"]}
                if bucket not in there:
                    self._client.create_bucket(Bucket=bucket)
                    made.append(bucket)
        self._keep_old_uploads()
        return made

    def _keep_old_uploads(self) -> None:
        """An upload under a name that is taken keeps what was there, for OLD_DAYS where the server counts days.

        MinIO removes old versions and uploads that never ended (after a day) by itself; versitygw has no lifecycles, so
        ``tidy`` does it there.
        """
        bucket = self.access.bucket("inbox")
        with named_faults(f"versions of bucket {bucket}"):
            self._client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        rules: Any = [
            {"ID": "old", "Filter": {"Prefix": ""}, "NoncurrentVersionExpiration": {"NoncurrentDays": OLD_DAYS}},
            {"ID": "gone", "Filter": {"Prefix": ""}, "Expiration": {"ExpiredObjectDeleteMarker": True}},
        ]
        rules = [{"Status": "Enabled", **rule} for rule in rules]
        try:
            self._client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != "NotImplemented":
                raise StoreUnreachable(f"lifecycle of bucket {bucket}: {error}") from None

    def sizes(self, which: Bucket) -> Iterator[tuple[str, int]]:
        """Every object in a bucket now: key and bytes."""
        bucket = self.access.bucket(which)
        with named_faults(f"objects of bucket {bucket}"):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                for entry in page.get("Contents", []):
                    yield entry.get("Key", ""), entry.get("Size", 0)

    def versions(self, which: Bucket) -> Iterator[tuple[str, int]]:
        """Every object of a bucket with every old version: key and bytes."""
        bucket = self.access.bucket(which)
        with named_faults(f"versions in bucket {bucket}"):
            for page in self._client.get_paginator("list_object_versions").paginate(Bucket=bucket):
                for entry in page.get("Versions", []):
                    yield entry.get("Key", ""), entry.get("Size", 0)

    def tidy(self, now: datetime) -> tuple[int, int]:
        """Remove what is old in the inbox: versions that were replaced, uploads that never ended; how many of each."""
        bucket, old = self.access.bucket("inbox"), now - timedelta(days=OLD_DAYS)
        with named_faults(f"old versions in bucket {bucket}"):
            pages = self._client.get_paginator("list_object_versions").paginate(Bucket=bucket)
            found = [version for page in pages for version in page.get("Versions", [])]
            # when a version was replaced is the time of the next one, which is listed before it
            replaced = [
                one
                for next_, one in pairwise(found)
                if next_.get("Key") == one.get("Key")
                and not one.get("IsLatest")
                and next_.get("LastModified", now) < old
            ]
            for version in replaced:
                self._client.delete_object(
                    Bucket=bucket, Key=version.get("Key", ""), VersionId=version.get("VersionId", "")
                )
        unfinished = self.unfinished("inbox", now - timedelta(days=1))
        for upload in unfinished:
            self.give_up("inbox", upload)
        return len(replaced), len(unfinished)

    def allow(self, principals: Mapping[str, Sequence[str]]) -> None:
        """Let accounts of the server act in roles, by bucket policies (AWS, versitygw). Replaces what was allowed."""
        for which in BUCKETS:
            bucket, policy = self.access.bucket(which), bucket_policy(self.access, which, principals)
            with named_faults(f"policy of bucket {bucket}"):
                if policy["Statement"]:
                    self._client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))
                else:
                    self._client.delete_bucket_policy(Bucket=bucket)

    def unfinished(self, which: Bucket, before: datetime) -> list[Unfinished]:
        """Multipart uploads of a bucket that were begun before some time. MinIO names none: it drops them by itself."""
        bucket = self.access.bucket(which)
        with named_faults(f"uploads to bucket {bucket}"):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
            found = [upload for page in pages for upload in page.get("Uploads", [])]
        all_ = [Unfinished(u.get("Key", ""), u.get("UploadId", ""), u["Initiated"]) for u in found if "Initiated" in u]
        return [upload for upload in all_ if upload.begun < before]

    def give_up(self, which: Bucket, upload: Unfinished) -> None:
        """Remove the parts of an unfinished upload."""
        with named_faults(f"upload of {upload.key}"):
            bucket = self.access.bucket(which)
            self._client.abort_multipart_upload(Bucket=bucket, Key=upload.key, UploadId=upload.upload)


def temporary(access: S3Access, who: str, seconds: int = 12 * 3600) -> S3Access:
    """Keys that can do what a role may and end by themselves, by STS (MinIO, AWS); at most 7 days there."""
    sts: Any = session(access).client("sts", endpoint_url=access.endpoint, config=CONFIG)  # pyright: ignore[reportCallIssue] typed for S3 alone
    with named_faults(f"keys for {who}"):
        known_rights = sts.assume_role(
            RoleArn="arn:aws:iam::000000000000:role/egoworld",
            RoleSessionName=f"egoworld-{who.replace('/', '-')}",
            Policy=json.dumps(role_policy(access, who)),
            DurationSeconds=seconds,
        )["Credentials"]
    keys = {
        "access_key": known_rights["AccessKeyId"],
        "secret_key": known_rights["SecretAccessKey"],
        "session_token": known_rights["SessionToken"],
    }
    return S3Access.model_validate({**access.model_dump(), **keys})


def presigned(access: S3Access, bucket: str, key: str, seconds: int) -> str:
    """A URL by which anybody can read one object for a limited number of seconds."""
    signer = client(access, access.public_endpoint or access.endpoint)
    return signer.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=seconds)


def role_policy(access: S3Access, who: str) -> dict[str, Any]:
    """What a role or an uploader may do, as a policy of an account, a key or a session (IAM's JSON)."""
    return policy([entry for right in rights(who) for entry in statements(access, right)])


def bucket_policy(access: S3Access, which: Bucket, principals: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What accounts may do in a bucket, as the policy of that bucket."""
    return policy(
        [
            {**entry, "Principal": {"AWS": list(names)}}
            for who, names in principals.items()
            for right in rights(who)
            if right.bucket == which and names
            for entry in statements(access, right)
        ]
    )


def policy(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """A policy document."""
    return {"Version": "2012-10-17", "Statement": entries}


def statements(access: S3Access, right: Right) -> Iterator[dict[str, Any]]:
    """A right in the words of a policy."""
    bucket = f"arn:aws:s3:::{access.bucket(right.bucket)}"
    if right.only:
        where = {"StringLike": {"s3:prefix": [f"{below}*" for below in right.below]}}
        yield {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [bucket], "Condition": where}
    whole = [action for action in right.whole if not (right.only and action == "s3:ListBucket")]
    yield {"Effect": "Allow", "Action": whole, "Resource": [bucket]}
    objects = [f"{bucket}/{below}*" for below in right.below]
    yield {"Effect": "Allow", "Action": list(right.objects), "Resource": objects}


def client(access: S3Access, endpoint: str) -> S3Client:
    """boto3's client for one address of the server."""
    return session(access).client("s3", endpoint_url=endpoint, config=CONFIG)


def session(access: S3Access) -> boto3.session.Session:
    """boto3 with our keys, and with no other that it may find on this machine."""
    core = botocore.session.Session()
    core.register_component("data_loader", descriptions())
    return boto3.session.Session(
        botocore_session=core,
        aws_access_key_id=access.access_key.get_secret_value(),
        aws_secret_access_key=access.secret_key.get_secret_value(),
        aws_session_token=access.session_token.get_secret_value() if access.session_token else None,
        region_name=access.region,
    )


@cache
def descriptions() -> Loader:
    """boto's descriptions of services, read once a process: a look at the inbox each few seconds is a client each."""
    return create_loader()


@contextmanager
def named_faults(what: str) -> Iterator[None]:
    """Turn what boto3 raises into our errors, without headers and signatures."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        kind = StoreRefused if code in DENIED else StoreUnreachable
        raise kind(f"{what}: {error}; check the key's policy and the server") from None
    except BotoCoreError as error:
        raise StoreUnreachable(f"{what}: {error}; check S3_ENDPOINT and that the server runs") from None
