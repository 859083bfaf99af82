"""A whole server on free ports, started by the code that `make up` starts it by; made-up models serve its stages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from egoworld_resources.environments.checkout import checkout_uv
from egoworld_resources.s3.objects import Objects
from egoworld_resources.server import probes
from egoworld_resources.server.environment import ServerSettings
from egoworld_resources.server.ports import orphans
from egoworld_resources.server.proxy import ask
from egoworld_resources.server.running import Server
from egoworld_resources.settings import PROJECT, Settings
from egoworld_resources.store.s3 import S3Store
from tests.bad_videos import MP4
from tests.made_graph import SERVED, Installation
from tests.made_up import video
from tests.servers import free_port

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

PORTS = ("PROXY_PORT", "PROXY_S3_PORT")
ROWS = 30
"""Frames of the video that goes through the server."""
MADE_S = 450
"""How long that may take on a busy machine: a tick of the sensor, one run."""


def on_free_ports() -> dict[str, str]:
    """What a .env says of where the parts listen."""
    given = {name: str(free_port()) for name in PORTS}
    given |= {"S3_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    return given | {"S3_PUBLIC_ENDPOINT": f"https://localhost:{given['PROXY_S3_PORT']}"}


@contextmanager
def server_up(home: Path, parts: Collection[str] = (), **settings: str) -> Iterator[Server]:
    """A server, or ``parts`` of it, while the context lasts; none of its processes outlives it.

    settings: further lines of its .env.
    """
    uv = checkout_uv(PROJECT)
    server = Server(Settings.load(home=home, uv=uv.program, uv_cache=uv.cache))
    server.parts.env_file.ensure(on_free_ports() | {"S3_BUCKET_NAME": "lab"})
    quick = Installation(home / "quick")
    with server.parts.env_file.path.open("a", encoding="utf-8") as out:
        out.write(f"EGOWORLD_EXTRA_ENVS='{json.dumps([str(quick.runner.parent.parent)])}'\n")
        out.write(f"EGOWORLD_STAGES='{json.dumps(dict.fromkeys(SERVED, 'quick'))}'\n")
        out.writelines(f"{name}={value}\n" for name, value in settings.items())
    try:
        server.up(parts)
        yield server
    finally:
        server.down()
        assert orphans(server.folder) == {}


def brought(server: Server, files: Path) -> str:
    """A video that an uploader put into the inbox bucket, made everything of; beside it one that nothing is made of."""
    (files / "bad.mp4").write_bytes(MP4 + b"no pictures")
    video(files / "kitchen.mp4", shots=(ROWS // 2, ROWS // 2))
    uploader = server.parts.server.s3_as("uploader")
    for name in ("kitchen.mp4", "bad.mp4"):
        Objects(uploader, uploader.bucket("inbox")).put(f"uploader/{name}", (files / name).read_bytes())
    store = S3Store(server.parts.server.s3_as("reader"), files / "cache", 1 << 30)

    def done() -> str:
        videos = {facts["name"]: key for key, facts in store.records("videos")}
        key = videos.get("uploader/kitchen.mp4", "")
        if not key or not all(store.current(asset, key) for asset in ("episodes", "previews")):
            raise probes.Unhealthy(f"not made yet; arrived: {videos}")
        bad = videos.get("uploader/bad.mp4", "")
        if not bad or not store.recorded("failures", f"videos/{bad}"):
            raise probes.Unhealthy(f"the bad video has not failed yet; arrived: {videos}")
        return key

    try:
        return probes.wait(done, MADE_S)
    except probes.Unhealthy as error:
        raise AssertionError(f"{error}\n{in_env(server, 'egoworld', 'status').stdout}") from error


def in_env(server: Server, *command: str) -> subprocess.CompletedProcess[str]:
    """A command in the environment of the server's Dagster, as the README says it."""
    env = {**os.environ, "EGOWORLD_HOME": str(server.parts.settings.home)}
    words = [sys.executable, "-m", "egoworld_resources.server", "env", *command]
    return subprocess.run(words, cwd=PROJECT, env=env, capture_output=True, text=True, check=False)


INDEXED = """
import json, sys
from egoworld_resources import Settings, open_store
from egoworld_resources.store.known import known

store, video = open_store(Settings.load()), sys.argv[1]
said = {}
for asset in store.assets():
    found = store.index.ask(lambda connection: known(connection, "artifact", asset, [video])).values()
    said[asset] = [store.current(asset, video).data_version, *(made.data_version for made in found)]
print(json.dumps([str(store.index), said]))
"""


def indexed(server: Server, key: str) -> tuple[str, dict[str, list[str]]]:
    """The name of the server's index, and of each artifact of a video its version by the store and by the index."""
    done = in_env(server, "python", "-c", INDEXED, key)
    assert done.returncode == 0, done.stderr
    name, versions = json.loads(done.stdout)
    return name, versions


def in_proxy(
    server: Server, login: str | None, path: str = "/server_info", body: bytes | None = None
) -> tuple[int, str]:
    """Status and text of an answer through the proxy, with a login of the UI or without."""
    settings = server.parts.server
    password = {"viewer": settings.viewer_password, "operator": settings.operator_password}
    user = (login, password[login].get_secret_value()) if login else None
    answer = ask(settings, server.folder / "proxy", user, path, body)
    return answer.status, answer.body.decode(errors="replace")


def s3_client(settings: ServerSettings, endpoint: str, certificate: str | None = None) -> S3Client:
    """A stock client with the owner's keys."""
    keys = {"aws_access_key_id": settings.s3.access_key, "aws_secret_access_key": settings.s3.secret_key}
    return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", verify=certificate, **keys)
