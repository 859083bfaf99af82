"""Package strings of callers: only what an index serves, or git with a full commit. No flags, paths or addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from egoworld_resources.environments.fabric.errors import InvalidPackages

GIT = re.compile(r"git\+https://[^\s@]+@[0-9a-f]{40}(#[\w=&.-]+)?")
MOST = 500
"""Requirements in one call."""


def parsed(packages: Iterable[str]) -> list[Requirement]:
    """The requirements, in their order; what is asked of one package is asked at once: uv would take the last alone.

    Raises InvalidPackages quoting the first that is not allowed.
    """
    found = [_requirement(text) for text in packages]
    if len(found) > MOST:
        raise InvalidPackages(f"{len(found)} packages in one call; at most {MOST} are taken")
    joined: dict[tuple[str, str], Requirement] = {}
    for one in found:
        about = canonicalize_name(one.name), str(one.marker or "")
        joined[about] = _joined(joined[about], one) if about in joined else one
    return list(joined.values())


def _joined(first: Requirement, second: Requirement) -> Requirement:
    if first.url != second.url:
        raise InvalidPackages(f"{str(first)!r} and {str(second)!r} are about one package: only one address can be")
    both = Requirement(str(first))
    both.specifier &= second.specifier
    both.extras |= second.extras
    return both


def of_file(text: str) -> list[str]:
    """The lines of a requirements.txt that name packages; options such as -r and --index-url are refused."""
    lines = (line.partition(" #")[0].strip() for line in text.replace("\\\n", " ").splitlines())
    found = [line for line in lines if line and not line.startswith("#")]
    if hashed := next((line for line in found if "--hash" in line), None):
        name = hashed.split()[0]
        raise InvalidPackages(f"{name!r} comes with --hash: leave hashes out, the lock gets those of the index")
    return found


def names_of(packages: Sequence[str]) -> list[str]:
    """Canonical names of packages that are named without a version. Raises InvalidPackages."""
    names: list[str] = []
    for requirement in parsed(packages):
        if str(requirement) != requirement.name:
            raise InvalidPackages(f"{str(requirement)!r}: name the package alone, such as {requirement.name!r}")
        names.append(canonicalize_name(requirement.name))
    return names


def has_git(requirements: Iterable[Requirement]) -> bool:
    """Whether one of them comes from git: its metadata can then only be had by building it."""
    return any(requirement.url for requirement in requirements)


def _requirement(text: str) -> Requirement:
    shown = repr(text if len(text) <= 100 else f"{text[:100]}…")
    if not text.isprintable() or text.lstrip().startswith("-"):
        raise InvalidPackages(f"{shown} is no requirement: options, line breaks and control characters are not taken")
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        words = str(error).partition("\n")[0]
        raise InvalidPackages(f"{shown} is no requirement such as 'numpy>=1.24': {words}") from error
    if requirement.url and not GIT.fullmatch(requirement.url):
        raise InvalidPackages(f"{shown}: of addresses only git+https://…@<full commit of 40 hex digits> is taken")
    return requirement
