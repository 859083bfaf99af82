"""What only envs of workflows need is an extra of the distribution: an import without it fails and names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from egoworld_resources.errors import BadConfiguration

EXTRA = "workflow-envs"


@contextmanager
def of_extra() -> Iterator[None]:
    """Import packages of the extra. Raises BadConfiguration, naming the extra, when one of them is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise BadConfiguration(missing(error)) from error


def missing(error: ModuleNotFoundError) -> str:
    """What to do about a package of the extra that is not installed."""
    return f"{error.name} is not installed; it comes with the extra {EXTRA}: pip install 'egoworld[{EXTRA}]'"
