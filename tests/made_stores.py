"""Every kind of store for tests: a folder, and S3 on real servers with a bucket for each test."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from egoworld_resources.artifacts.manifest import Manifest, data_version, stored_files
from egoworld_resources.s3.access import S3Access
from egoworld_resources.s3.buckets import Buckets
from egoworld_resources.s3.objects import Objects
from egoworld_resources.server.s3_servers import S3Address
from egoworld_resources.store.folder import FolderStore
from egoworld_resources.store.s3 import S3Store
from tests.unit.resources.artifacts.test_manifest import INPUTS, RECIPE, made

AnyStore = FolderStore | S3Store
SERVERS = ("minio", "versitygw")
KINDS = ("folder", *SERVERS)
BOUND = 1 << 30


@dataclass(frozen=True)
class Place:
    """A store, opened as from another machine each time that it is given another folder."""

    kind: str
    open: Callable[[Path], AnyStore]

    def put_bytes(self, store: AnyStore, key: str, data: bytes) -> None:
        """Write behind the store's back."""
        if isinstance(store, FolderStore):
            (store.root / key).parent.mkdir(parents=True, exist_ok=True)
            (store.root / key).unlink(missing_ok=True)
            (store.root / key).write_bytes(data)
        else:
            objects_of(store).put(key, data)


def access_to(at: S3Address, endpoint: str = "") -> S3Access:
    """Buckets of one test on a server."""
    access = S3Access(
        endpoint=endpoint or at.endpoint,
        access_key=at.access_key,
        secret_key=at.secret_key,
        bucket_name=f"t{secrets.token_hex(6)}",
    )
    Buckets(access).make()
    return access


def objects_of(store: S3Store) -> Objects:
    """The objects of a store, past the store."""
    return Objects(store.access, store.bucket)


def environment(access: S3Access) -> dict[str, str]:
    """The same as a person gives it."""
    return {
        "S3_ENDPOINT": access.endpoint,
        "S3_ACCESS_KEY": access.access_key.get_secret_value(),
        "S3_SECRET_KEY": access.secret_key.get_secret_value(),
        "S3_BUCKET_NAME": access.bucket_name,
    }


def place(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty store of a kind."""
    if kind == "folder":
        return Place(kind, lambda _machine: FolderStore(tmp_path / "store"))
    access = access_to(request.getfixturevalue(kind))
    return Place(kind, lambda machine: S3Store(access, machine / "cache", BOUND))


def artifact(
    folder: Path, files: Mapping[str, bytes], asset: str = "masks", video: str = "v", **changes: object
) -> tuple[Path, Manifest]:
    """A finished folder with its manifest."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    stored = stored_files(folder)
    facts = {"asset": asset, "video": video, "files": stored, "data_version": data_version(stored), **changes}
    return folder, made(RECIPE, INPUTS).model_copy(update=facts)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but a manifest."""
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json"]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}
