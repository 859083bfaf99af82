"""Package strings of callers: what an index serves, or git at a full commit; parsed, and built again from their parts.

No flag, path, file or other address is taken, and no character by which a program after us would expand anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from egoworld_resources.environments.policy.addresses import Origin
from egoworld_resources.programs.redaction import redacted
from egoworld_resources.workflow_envs.errors import InvalidPackages

GIT = "git+"
COMMIT = re.compile(r"[0-9a-f]{40}")
PART = r"\.?[A-Za-z0-9_~+-][A-Za-z0-9._~+-]*"
PATH = re.compile(rf"(?:/{PART})+")
SUBDIRECTORY = re.compile(rf"subdirectory=({PART}(?:/{PART})*)")
PLAIN = re.compile(r"[A-Za-z0-9 ._,;:@#/+~<>=!()\[\]'\"*-]*")
"""Characters of a requirement: none that a shell, uv or git expands ($, %, backslash, backquote, braces)."""
ARCHIVE = re.compile(r"(?i)\.(whl|zip|tar|tgz|tbz|txz|tlz|tar\.\w+|gz|bz2|xz|zst|egg|txt)$")
"""Names that uv takes for files."""
MOST = 500
"""Requirements in one call."""
EXPECTED = "name @ git+https://host/path@<commit of 40 hex digits>"


@dataclass(frozen=True)
class GitSource:
    """Where a package comes from that no index has. url: without git+; subdirectory: "" for the top."""

    url: str
    commit: str
    subdirectory: str = ""

    @property
    def origin(self) -> Origin:
        return Origin.of(self.url)

    def __str__(self) -> str:
        fragment = f"#subdirectory={self.subdirectory}" if self.subdirectory else ""
        return f"{GIT}{self.url}@{self.commit}{fragment}"


def parsed(packages: Iterable[str]) -> list[Requirement]:
    """The requirements, in their order; all requirements on one package are joined: uv would use the last alone.

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
    lines = (line.partition(" #")[0].strip() for line in text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines())
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


def git_source(requirement: Requirement) -> GitSource | None:
    """Where in git a requirement comes from; None for one of an index. Raises InvalidPackages."""
    if not requirement.url:
        return None
    shown = quoted(str(requirement))
    address, _, fragment = requirement.url.partition("#")
    url, _, commit = address.rpartition("@")
    if not address.startswith(GIT) or not COMMIT.fullmatch(commit):
        raise InvalidPackages(f"{shown}: of addresses only {EXPECTED} is taken")
    url = url.removeprefix(GIT)
    try:
        origin = Origin.of(url)
    except ValueError as error:
        raise InvalidPackages(f"{shown}: {error}; write {EXPECTED}") from error
    path = url.partition("://")[2].partition("/")[2]
    if not PATH.fullmatch(f"/{path}"):
        raise InvalidPackages(f"{shown}: a path holds letters, digits and . _ ~ + - between single slashes")
    inside = SUBDIRECTORY.fullmatch(fragment)
    if fragment and not inside:
        raise InvalidPackages(f"{shown}: after # only subdirectory=FOLDER is taken, a folder below the top")
    return GitSource(f"{origin}/{path}", commit, inside[1] if inside else "")


def quoted(text: str) -> str:
    """A text of a caller as messages show it."""
    text = redacted(text)  # before it is cut: half a secret is not known as one
    return repr(text if len(text) <= 100 else f"{text[:100]}…")


def _requirement(text: str) -> Requirement:
    shown = quoted(text)
    if not text.isprintable() or text.lstrip().startswith("-"):
        raise InvalidPackages(
            f"{shown} is not a requirement: options, line breaks and control characters are not taken"
        )
    if strange := sorted({character for character in text if not PLAIN.fullmatch(character)}):
        raise InvalidPackages(
            f"{shown} is not a requirement: {' '.join(strange[:5])} is not taken; nothing is expanded"
        )
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        words = str(error).partition("\n")[0]
        raise InvalidPackages(f"{shown} is not a requirement such as 'numpy>=1.24': {words}") from error
    if ARCHIVE.search(requirement.name):
        raise InvalidPackages(f"{shown} is the name of a file, not of a package")
    if any(one.operator == "===" for one in requirement.specifier):
        raise InvalidPackages(f"{shown}: === compares texts, not versions, and is not taken; write ==")
    return _rebuilt(requirement)


def _rebuilt(requirement: Requirement) -> Requirement:
    """The same, written from its parts alone: what the parser took for nothing is not passed on."""
    source = git_source(requirement)
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    where = f" @ {source}" if source else str(requirement.specifier)
    marker = f"{' ' * bool(source)}; {requirement.marker}" if requirement.marker else ""
    return Requirement(f"{requirement.name}{extras}{where}{marker}")
