"""Asking each part whether it works: by doing what its clients do, never by looking at a process table."""

from __future__ import annotations

import http.client
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import boto3
import psycopg2
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from egoworld_resources.errors import Transient
from egoworld_resources.server.postgres import PostgresAddress
from egoworld_resources.server.s3_servers import HEALTH, S3Address
from egoworld_resources.sockets import UnixConnection

SECONDS = 5.0
"""How long one question may take."""
NO_FILE = "/previews/none/none/none"
PROBED = "artifacts"
"""The bucket that a probe writes into and removes from."""


class Unhealthy(Transient):
    """A part does not answer, or not as it should."""


Probe = Callable[[], str]
"""Says in a few words what works; raises Unhealthy."""


def postgres(at: PostgresAddress) -> str:
    """A word is written and read again, in a table of this role's own."""
    word = secrets.token_hex(8)
    try:
        with closing(at.connect(SECONDS)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = {int(SECONDS * 1000)}")
            cursor.execute(
                "INSERT INTO server_probe VALUES ('probe', %s) ON CONFLICT (part) DO UPDATE SET word = EXCLUDED.word",
                (word,),
            )
            connection.commit()
            cursor.execute("SELECT word FROM server_probe WHERE part = 'probe'")
            found = cursor.fetchone()
            version = connection.server_version
    except psycopg2.Error as error:
        raise Unhealthy(f"Postgres at {at.host}:{at.port}: {error}".strip()) from error
    if found is None:
        raise Unhealthy(f"Postgres at {at.host}:{at.port} does not hold the row that was just written")
    return f"PostgreSQL {version // 10000}.{version % 10000}, a row was written and read"


def s3(server: str, at: S3Address, bucket: str) -> str:
    """The server's own word; then an object is put, read and removed in a bucket that `make up` makes."""
    fetch(at.endpoint + HEALTH[server])
    client = boto3.client(
        "s3",
        endpoint_url=at.endpoint,
        aws_access_key_id=at.access_key,
        aws_secret_access_key=at.secret_key,
        region_name="us-east-1",
        config=Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 1}),
    )
    key, word = f"probe/{secrets.token_hex(8)}", secrets.token_bytes(16)
    try:
        names = [str(found.get("Name")) for found in client.list_buckets().get("Buckets", [])]
        if bucket in names:
            client.put_object(Bucket=bucket, Key=key, Body=word)
            read = client.get_object(Bucket=bucket, Key=key)["Body"].read()
            client.delete_object(Bucket=bucket, Key=key)
            if read != word:
                raise Unhealthy(f"{server} at {at.endpoint} gives other bytes than were put at s3://{bucket}/{key}")
    except (BotoCoreError, ClientError) as error:
        raise Unhealthy(f"{server} at {at.endpoint}: {error}") from error
    finally:
        client.close()
    did = "an object was put, read and removed" if bucket in names else f"no bucket {bucket} yet"
    return f"{server}, {did}; buckets: {', '.join(names) or 'none'}"


def files(socket: Path) -> str:
    """A file that does not exist, asked for by a name: only the store knows that."""
    status, _ = asked(socket, "GET", NO_FILE)
    if status != 404:
        raise Unhealthy(f"{socket}: {NO_FILE} is answered with {status}, not 404: the store does not answer it")
    return "looks into the store"


def metrics(socket: Path) -> str:
    """What Prometheus reads: that there are metrics, and when the store was last looked through."""
    said = fetch_at(socket, "/metrics").decode()
    found = [line for line in said.splitlines() if line.startswith("egoworld_")]
    scan = [line for line in found if line.startswith("egoworld_scan_timestamp_seconds ")]
    if not scan:
        raise Unhealthy(f"{socket}: /metrics says of no look through the store")
    return f"{len(found)} values, of {max(0.0, time.time() - float(scan[0].split()[1])):.0f} s ago"


def fetch_at(socket: Path, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> bytes:
    """The body of an answer at a Unix socket; raises Unhealthy for anything but success."""
    status, said = asked(socket, "POST" if body else "GET", path, body, headers)
    if not 200 <= status < 300:
        raise Unhealthy(f"{socket}: {path} is answered with {status}: {said[:200].decode(errors='replace')}")
    return said


def asked(
    socket: Path, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Status and body of an answer at a Unix socket; raises Unhealthy when nothing answers."""
    try:
        with closing(UnixConnection(socket, SECONDS)) as connection:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Unhealthy(f"{socket}: {error}") from error


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
