"""How much of an env is its own: the rest are hardlinks to what the cache and other envs hold."""

from __future__ import annotations

import os
import stat

from egoworld_resources.workflow_envs.api.models import Disk, named
from egoworld_resources.workflow_envs.env_facts import EnvFacts

BLOCK = 512


def disk_of(env: EnvFacts) -> Disk:
    """By the link counts of all files of the live generation, in bytes on disk."""
    own = shared = files = 0
    for folder, _, names in os.walk(env.env_path / env.generation):
        for name in names:
            try:
                found = os.lstat(os.path.join(folder, name))  # noqa: PTH118 thousands of files: a Path for each is slow
            except FileNotFoundError:
                continue  # the generation is being replaced
            files += 1
            if stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
                shared += found.st_blocks * BLOCK
            else:
                own += found.st_blocks * BLOCK
    return Disk(**named(env.key), files=files, own_bytes=own, shared_bytes=shared)
