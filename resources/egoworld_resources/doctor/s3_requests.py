"""What an S3 server is asked, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from egoworld_resources.doctor.finding import Finding, fault, ok
from egoworld_resources.s3.access import S3Access
from egoworld_resources.s3.buckets import CONFIG, session

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


def patient(access: S3Access, seconds: float) -> S3Client:
    """A client that tries once and not for long."""
    short = CONFIG.merge(Config(connect_timeout=seconds, read_timeout=seconds, retries={"total_max_attempts": 1}))
    return session(access).client("s3", endpoint_url=access.endpoint, config=short)


def asked(about: str, good: str, attempt: Callable[[], object]) -> Finding:
    """What came of an attempt."""
    try:
        attempt()
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == "NoSuchBucket":
            return fault(about, "there is no such bucket", "make up, or with the owner's key: egoworld buckets")
        return fault(
            about, f"{error}", "give the key the rights of the pipeline, or check S3_ACCESS_KEY and S3_SECRET_KEY"
        )
    except BotoCoreError as error:
        return fault(about, f"{error}", "check that the server runs: make ps")
    return ok(about, good)


def listed(client: S3Client, bucket: str) -> None:
    client.list_objects_v2(Bucket=bucket, MaxKeys=1)


def kept(client: S3Client, bucket: str, key: str) -> None:
    """Write an object of ours, read it, remove it."""
    client.put_object(Bucket=bucket, Key=key, Body=b"doctor")
    try:
        client.get_object(Bucket=bucket, Key=key)["Body"].read()
    finally:
        client.delete_object(Bucket=bucket, Key=key)
