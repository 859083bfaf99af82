"""S3 servers over one folder: MinIO, and versitygw, which is maintained. Both on loopback only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from egoworld_resources.errors import UnknownName
from egoworld_resources.server.launch import LOOPBACK, Launch
from egoworld_resources.server.tools import MINIO, VERSITYGW, Tools


@dataclass(frozen=True)
class S3Address:
    """Where an S3 server listens, and the keys of its owner."""

    port: int
    access_key: str
    secret_key: str

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"


def minio(tools: Tools, folder: Path, at: S3Address) -> Launch:
    """MinIO over ``folder``; no console, no calls home."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = (tools.go_program(MINIO), "server", "--json", "--address", f"{LOOPBACK}:{at.port}", folder)
    env = {
        "MINIO_ROOT_USER": at.access_key,
        "MINIO_ROOT_PASSWORD": at.secret_key,
        "MINIO_BROWSER": "off",
        "MINIO_UPDATE": "off",
        "MINIO_CALLHOME_ENABLE": "off",
    }
    return Launch(tuple(str(word) for word in command), env)


def versitygw(tools: Tools, folder: Path, at: S3Address) -> Launch:
    """versitygw over ``folder``: objects are plain files there; users and versions lie beside it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    objects, users, versions = (folder / name for name in ("objects", "users", "versions"))
    for part in (objects, users, versions):
        part.mkdir(mode=0o700, parents=True, exist_ok=True)
    program = tools.go_program(VERSITYGW)
    # Its cache of accounts keeps names in buffers that later requests overwrite: changed keys and rights get mixed up.
    accounts = ("--iam-dir", users, "--iam-cache-disable")
    front = (program, "--port", f"{LOOPBACK}:{at.port}", "--quiet", "--health", "/health", *accounts)
    command = (*front, "posix", "--versioning-dir", versions, objects)
    env = {"ROOT_ACCESS_KEY": at.access_key, "ROOT_SECRET_KEY": at.secret_key}
    return Launch(tuple(str(word) for word in command), env)


SERVERS: dict[str, Callable[[Tools, Path, S3Address], Launch]] = {"minio": minio, "versitygw": versitygw}
HEALTH = {"minio": "/minio/health/live", "versitygw": "/health"}


def s3_server(name: str, tools: Tools, folder: Path, at: S3Address) -> Launch:
    """The server that the configuration names."""
    if name not in SERVERS:
        raise UnknownName("S3 server", name, SERVERS)
    return SERVERS[name](tools, folder, at)
