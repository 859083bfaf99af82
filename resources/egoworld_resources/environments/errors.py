"""What can go wrong with an environment.

Transient
└── IndexUnreachable      packages could not be fetched; trying again may help
Terminal
├── BadConfiguration
│   ├── BadDeclaration    an envs/<name>/pyproject.toml is wrong; file and field are named
│   ├── LockMissing       no locks/pylock.<env>.toml
│   ├── UvMissing         uv is not there or cannot be started
│   └── LockStale         the lock was made from other dependencies than the pyproject names now
│       └── LockEdited    the lock is not as it was written
├── LockRefused           the resolver or the policy does not allow what was requested
├── EnvBuildFailed        uv could not make the env; its own words are carried
└── EnvDamaged            an installed file differs from its RECORD
"""

from __future__ import annotations

from pathlib import Path

from egoworld_resources.errors import BadConfiguration, Terminal, Transient


class BadDeclaration(BadConfiguration):
    """A pyproject.toml of a model env is wrong."""

    def __init__(self, file: Path, field: str, reason: str) -> None:
        super().__init__(f"{file}: {field}: {reason}")


class LockMissing(BadConfiguration):
    """A model env has no lock."""

    def __init__(self, env: str, path: Path) -> None:
        super().__init__(f"{path} does not exist; make it with: make lock ENV={env}")


class LockStale(BadConfiguration):
    """A lock and its source disagree."""

    def __init__(self, env: str, path: Path, source: Path) -> None:
        super().__init__(
            f"{path} was made from other dependencies than {source} names; renew it with: make lock ENV={env}"
        )


class LockEdited(LockStale):
    """A lock was changed by hand after it was made: nobody resolved what it names now."""

    def __init__(self, env: str, path: Path) -> None:
        fix = f"restore it, or make it again with: make lock ENV={env}"
        BadConfiguration.__init__(self, f"{path} was changed by hand; {fix}")


class UvMissing(BadConfiguration):
    """uv is not where it should be, or cannot be started."""


class IndexUnreachable(Transient):
    """The package index did not answer and the cache does not hold what is needed."""


class LockRefused(Terminal):
    """No lock was written: the resolver found no answer or the policy forbids it."""


class EnvBuildFailed(Terminal):
    """An env could not be made."""


class PythonMissing(EnvBuildFailed):
    """No installed interpreter fits; Python itself is never downloaded."""


class EnvDamaged(Terminal):
    """Installed files differ from what was installed."""

    def __init__(self, env: str, folder: Path, damaged: list[str]) -> None:
        super().__init__(
            f"env '{env}' at {folder}: {some_of(damaged)} changed after the installation; "
            f"make a new generation with: python -m egoworld_resources build --fresh {env}"
        )
        self.damaged = tuple(damaged)


def some_of(files: list[str]) -> str:
    """The first five of many files, and how many there are besides."""
    return ", ".join(files[:5]) + (f" and {len(files) - 5} more" if len(files) > 5 else "")
