"""Asking each part whether it works: by doing what its clients do, never by looking at a process table."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable

import boto3
import psycopg2
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from egoworld_resources.errors import Transient
from egoworld_resources.production.launch import LOOPBACK
from egoworld_resources.production.postgres import PostgresAddress
from egoworld_resources.production.s3_servers import HEALTH, S3Address

SECONDS = 5.0
"""How long one question may take."""


class Unhealthy(Transient):
    """A part does not answer, or not as it should."""


Probe = Callable[[], str]
"""Says in a few words what works; raises Unhealthy."""


def postgres(at: PostgresAddress) -> str:
    """SELECT 1 as the owner of the database."""
    try:
        connection = at.connect(SECONDS)
    except psycopg2.Error as error:
        raise Unhealthy(f"Postgres at {at.host}:{at.port}: {error}".strip()) from error
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            version = connection.server_version
    finally:
        connection.close()
    return f"PostgreSQL {version // 10000}.{version % 10000}, SELECT 1 answered"


def s3(server: str, at: S3Address) -> str:
    """The server's own word, then its buckets as their owner sees them."""
    fetch(at.endpoint + HEALTH[server])
    client = boto3.client(
        "s3",
        endpoint_url=at.endpoint,
        aws_access_key_id=at.access_key,
        aws_secret_access_key=at.secret_key,
        region_name="us-east-1",
        config=Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 1}),
    )
    try:
        names = [str(bucket.get("Name")) for bucket in client.list_buckets().get("Buckets", [])]
    except (BotoCoreError, ClientError) as error:
        raise Unhealthy(f"{server} at {at.endpoint}: {error}") from error
    finally:
        client.close()
    return f"{server}, buckets: {', '.join(names) or 'none'}"


def files(port: int) -> str:
    """Files are given by name alone: the root is nobody's."""
    url = f"http://{LOOPBACK}:{port}/"
    try:
        fetch(url)
    except Unhealthy as error:
        if isinstance(error.__cause__, urllib.error.HTTPError) and error.__cause__.code == 404:
            return "answers"
        raise
    raise Unhealthy(f"{url} answers, but is no server of artifacts")


def metrics(port: int) -> str:
    """What Prometheus reads: that there are metrics, and when the store was last looked through."""
    told = fetch(f"http://{LOOPBACK}:{port}/metrics").decode()
    found = [line for line in told.splitlines() if line.startswith("egoworld_")]
    scan = [line for line in found if line.startswith("egoworld_scan_timestamp_seconds ")]
    if not scan:
        raise Unhealthy(f"http://{LOOPBACK}:{port}/metrics tells of no look through the store")
    return f"{len(found)} values, of {max(0.0, time.time() - float(scan[0].split()[1])):.0f} s ago"


def fetch(url: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
    """The body of an HTTP answer; raises Unhealthy for anything but success."""
    request = urllib.request.Request(url, data=data, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.read()
    except (urllib.error.URLError, OSError) as error:
        raise Unhealthy(f"{url}: {error}") from error


def wait(probe: Probe, seconds: float, alive: Callable[[], bool] = lambda: True) -> str:
    """Ask until the part is healthy; raises its last Unhealthy when it ends or the time is over."""
    end = time.monotonic() + seconds
    while True:
        try:
            return probe()
        except Unhealthy:
            if not alive() or time.monotonic() > end:
                raise
        time.sleep(0.1)
