"""Which store is in force: a folder of this machine, or S3."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from egoworld_resources.layout import Layout
from egoworld_resources.settings import Settings
from egoworld_resources.store import FolderStore

if TYPE_CHECKING:
    from egoworld_resources.store_s3 import S3Store

S3_NEEDS = ("S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY")


def open_store(settings: Settings) -> FolderStore | S3Store:
    """The store of a configuration. Without a choice S3 when its endpoint and keys are in the environment."""
    layout = Layout(settings.home)
    if settings.store == "folder" or (settings.store is None and not all(map(os.environ.get, S3_NEEDS))):
        return FolderStore(layout.store)
    from egoworld_resources.s3_access import S3Access
    from egoworld_resources.store_s3 import S3Store

    return S3Store(S3Access.load(), layout.cache, int(settings.cache_gb * 1e9))
