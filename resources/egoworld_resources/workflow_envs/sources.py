"""Where packages of an index may come from: what the policy lists, else no address of this machine or its network."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from egoworld_resources.environments.guard import Judge
from egoworld_resources.environments.locking.indexes import host_allowed, origin_allowed
from egoworld_resources.environments.locking.lockfile import built_from
from egoworld_resources.environments.policy.addresses import Origin, PrivateAddress, Unresolved, listed, reachable
from egoworld_resources.environments.policy.rules import Policy
from egoworld_resources.programs.redaction import redacted
from egoworld_resources.workflow_envs.errors import PolicyRefused

INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS")
REMOTE = ("http://", "https://")


def check_indexes(policy: Policy, environ: Mapping[str, str] = os.environ) -> None:
    """The indexes that uv will ask. Raises PolicyRefused."""
    for name in INDEXES:
        for text in environ.get(name, "").replace(",", " ").split():
            address = text.partition("=")[2] if "=" in text.partition("://")[0] else text
            if address.startswith(REMOTE):
                _check(address, policy, f"the index {redacted(address)} ({name})", of_index=True)


def judge_of(policy: Policy) -> Judge:
    """Which addresses uv may ask while it works, wherever a page or a redirect leads it."""

    def judge(origin: Origin) -> tuple[str, ...]:
        of_index = host_allowed(str(origin), policy.indexes)
        if policy.indexes and not of_index and not listed(origin, policy.private_sources):
            raise PolicyRefused(
                f"the index leads to {origin}, which is not one of the indexes of envs/policy.toml "
                f"({', '.join(policy.indexes)}); nothing was fetched from there",
                rule="indexes",
            )
        try:
            return reachable(origin, (*policy.private_sources, *([str(origin)] if of_index else [])))
        except Unresolved:
            return ()
        except PrivateAddress as error:
            raise _private(f"the index leads to {origin}", error, origin) from error

    return judge


def refuse_contradictions(policy: Policy, wanted: Iterable[Requirement]) -> None:
    """Raise PolicyRefused for a pinned version that a constraint of the policy excludes; this needs no index."""
    for one in wanted:
        for text in policy.constraints:
            rule = Requirement(text)
            pins = [pin.version for pin in one.specifier if pin.operator == "==" and "*" not in pin.version]
            same = canonicalize_name(rule.name) == canonicalize_name(one.name)
            if same and pins and not all(rule.specifier.contains(pin, prereleases=True) for pin in pins):
                message = f"{one} is not allowed: envs/policy.toml asks of every env: {text}"
                allows = rule_of(policy, text, pins[0])
                raise PolicyRefused(f"{message}\n{allows}", rule="constraints", constraint=text)


def rule_of(policy: Policy, text: str, version: str = "") -> str:
    """Why a constraint is there, and how a site allows less than it does: ``version`` and what follows."""
    rule = Requirement(text)
    reason = policy.reasons.get(canonicalize_name(rule.name), "")
    less = f"{rule.name}>={version}" if version else f"{rule.name}>=VERSION"
    others = [less if one == text else one for one in policy.constraints]
    why = f" ({reason})" if reason else ""
    return (
        f"This is the rule constraints, {text}{why}. A site that takes the risk writes into its own policy.toml, which "
        f"is in EGOWORLD_HOME or where EGOWORLD_POLICY points: constraints = {json.dumps(others)}; then start the "
        "service again"
    )


def check_entries(policy: Policy, entries: Iterable[dict[str, Any]]) -> None:
    """The files of a lock, and their indexes. Raises PolicyRefused naming the first package."""
    seen: set[str] = set()
    for entry in entries:
        if strange := {"vcs", "directory", "archive", "sdist"} & entry.keys():
            raise PolicyRefused(f"{entry['name']} comes as {min(strange)}; only wheels are installed", rule="source")
        for address in _addresses(entry):
            host = address.partition("://")[2].partition("/")[0]
            if host not in seen:
                _check(address, policy, f"a file of {entry['name']} at {redacted(address)}", of_index=False)
                seen.add(host)


def _addresses(entry: Mapping[str, Any]) -> Iterator[str]:
    if not built_from(entry):
        places = (str(wheel.get("url", "")) for wheel in entry.get("wheels", []))
        yield from (place for place in places if place.startswith(REMOTE))


def _check(address: str, policy: Policy, what: str, *, of_index: bool) -> None:
    if policy.indexes and origin_allowed(address, policy.indexes, of_index=of_index):
        return
    try:
        origin = Origin.of(_without_login(address))
    except ValueError as error:
        raise PolicyRefused(f"{what}: {error}", rule="indexes") from error
    try:
        reachable(origin, policy.private_sources)
    except Unresolved:
        return  # uv itself reports what it cannot reach
    except PrivateAddress as error:
        raise _private(what, error, origin) from error


def _private(what: str, error: PrivateAddress, origin: Origin) -> PolicyRefused:
    return PolicyRefused(
        f"{what}: {error}, from which no packages are taken. A site allows it in its own policy.toml: "
        f'private_sources = ["{origin}"]',
        rule="private_sources",
    )


def _without_login(address: str) -> str:
    """An operator's index may need a login; a host is what follows it."""
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
