"""Which store, inbox and weights are in force: folders of this machine, or buckets of S3."""

from __future__ import annotations

import os
import socket
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from egoworld_resources.inbox.folder import FolderInbox, Inbox
from egoworld_resources.settings import Settings
from egoworld_resources.store.folder import FolderStore

if TYPE_CHECKING:
    from egoworld_resources.s3.access import S3Access
    from egoworld_resources.store.index import Index
    from egoworld_resources.store.s3 import S3Store
    from egoworld_resources.weights.bucket import WeightsBucket

S3_NEEDS = ("S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY")


def in_s3(settings: Settings) -> bool:
    """Where a configuration keeps things. Without a choice in S3 when its endpoint and keys are in the environment."""
    return settings.store == "s3" or (settings.store is None and all(map(os.environ.get, S3_NEEDS)))


def open_store(settings: Settings) -> FolderStore | S3Store:
    """The store of a configuration."""
    layout = settings.layout
    if not in_s3(settings):
        return FolderStore(
            layout.store, partial(open_index, settings, layout.store / "index.sqlite", "the folder's own")
        )
    from egoworld_resources.s3.access import S3Access
    from egoworld_resources.store.s3 import S3Store

    access = S3Access.load()
    file = layout.cache / f"index-{place_of(access)}.sqlite"
    return S3Store(access, layout.cache, int(settings.cache_gb * 1e9), partial(open_index, settings, file))


def open_index(settings: Settings, file: Path, name: str = "") -> Index:
    """The index of a store: in the database that is configured, or else in a file of SQLite."""
    from egoworld_resources.store.index import Index

    if settings.index:
        return Index(url=settings.index.get_secret_value())
    return Index(file, name=name or machine_name(file))


def place_of(access: S3Access) -> str:
    """What tells one bucket of artifacts from others."""
    return sha256(f"{access.endpoint}/{access.bucket('artifacts')}".encode()).hexdigest()[:12]


def machine_name(file: Path) -> str:
    """What tells a file of this machine from those of others."""
    known = Path("/etc/machine-id")
    machine = known.read_text(encoding="ascii").strip() if known.is_file() else socket.gethostname()
    return sha256(f"{machine} {file.absolute()}".encode()).hexdigest()[:16]


def open_inbox(settings: Settings) -> Inbox:
    """The inbox beside the store of a configuration."""
    if not in_s3(settings):
        return FolderInbox(settings.inbox_folder, settings.settle_s)
    from egoworld_resources.inbox.bucket import BucketInbox
    from egoworld_resources.s3.access import S3Access

    return BucketInbox(S3Access.load(), settings.layout.cache)


def open_weights(settings: Settings) -> WeightsBucket | None:
    """The bucket of weights beside the store of a configuration; None when it has no buckets."""
    if not in_s3(settings):
        return None
    from egoworld_resources.s3.access import S3Access
    from egoworld_resources.weights.bucket import WeightsBucket

    return WeightsBucket(S3Access.load(), settings.layout.cache, int(settings.cache_gb * 1e9))
