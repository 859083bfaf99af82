"""Errors of rattler, translated for a caller: most differ by class, some by their message alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from egoworld_resources.workflow_envs.errors import (
    CondaFailed,
    FabricError,
    IndexSilent,
    InvalidPackages,
    NoSpace,
    ResolutionFailed,
)
from egoworld_resources.workflow_envs.extra import missing

FULL = ("No space left on device", "os error 28", "os error 122")
UNREACHED = (
    "error sending request",
    "HTTP status",
    "tcp connect error",
    "dns error",
    "timed out",
    "Name or service not known",
)


@contextmanager
def as_fabric_errors() -> Iterator[None]:
    """Raise what fails inside as an error of the fabric, with rattler's own words."""
    try:
        yield
    except FabricError:
        raise
    except ModuleNotFoundError as error:
        raise CondaFailed(missing(error)) from error
    except Exception as error:
        words = f"{error}".strip() or type(error).__name__
        raise _kind(type(error).__name__, words)(words) from error


def _kind(error: str, words: str) -> type[FabricError]:
    if any(sign in words for sign in FULL):
        return NoSpace
    if any(sign in words for sign in UNREACHED):
        return IndexSilent
    kinds: dict[str, type[FabricError]] = {
        "SolverError": ResolutionFailed,
        "GatewayError": IndexSilent,
        "FetchRepoDataError": IndexSilent,
        "InvalidMatchSpecError": InvalidPackages,
        "InvalidPackageNameError": InvalidPackages,
        "InvalidChannelError": InvalidPackages,
    }
    return kinds.get(error, CondaFailed)
