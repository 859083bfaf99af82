"""How much memory a runner may have, and who goes first when there is none left."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path


def bound_memory(size: int) -> None:
    """Let this process and its children have ``size`` bytes of private memory each; the kernel refuses more.

    RLIMIT_DATA counts memory that is the process's own and can be written (getrlimit(2)). RLIMIT_AS would count address
    space, of which CUDA and the arenas of allocators reserve many times what they use.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bound = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))


def memory_bound() -> str:
    """The bound in words, empty when there is none."""
    bound, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return "" if bound == resource.RLIM_INFINITY else f" within {bound / 1e9:g} GB"


def die_first() -> None:
    """Name this process to the kernel as the one to kill when memory runs out: it costs a clip, its parent a batch."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
