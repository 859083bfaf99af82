"""Known vulnerabilities of what is locked. A package that could not be checked is counted as such, never as passed.

pip-audit queries PyPI, or a server of OSV's protocol (AUDIT_OSV_URL); a machine without a network gets the export of
OSV's database for PyPI as a zip (AUDIT_DB, from https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip).
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from egoworld_resources.environments.declaration import read_toml
from egoworld_resources.environments.errors import BadDeclaration
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.programs.environment import NETWORK, environment_of

KNOWN = "known_vulnerabilities.toml"
FIELDS = {"package", "id", "reason", "since"}
LIMIT_S = 600
Package = tuple[str, str]
"""Canonical name and version."""


@dataclass(frozen=True)
class Vulnerability:
    """One that a locked package has. names: its id and all others that it is known by."""

    package: Package
    names: tuple[str, ...]
    fixed_in: tuple[str, ...]


@dataclass
class Audit:
    """What was checked. unchecked: the reason, by package."""

    packages: dict[Package, list[str]]
    found: list[Vulnerability] = field(default_factory=list[Vulnerability])
    unchecked: dict[Package, str] = field(default_factory=dict[Package, str])

    @property
    def checked(self) -> int:
        return len(self.packages) - len(self.unchecked)


@dataclass(frozen=True)
class Known:
    """A vulnerability that cannot be fixed yet: why, and since when."""

    package: str
    id: str
    reason: str
    since: dt.date


def locked(locks: Path) -> dict[Package, list[str]]:
    """Every package of every lock (``pylock.*.toml``, ``*.txt``), with the names of the locks that have it."""
    found: dict[Package, list[str]] = {}
    for file in sorted(locks.iterdir()):
        for name, version in _of_lock(file):
            found.setdefault((canonicalize_name(name), version.partition("+")[0]), []).append(file.name)
    return found


def _of_lock(file: Path) -> Iterator[tuple[str, str]]:
    if file.name.startswith("pylock."):
        yield from ((entry["name"], entry["version"]) for entry in read_toml(file)["packages"] if "version" in entry)
    elif file.suffix == ".txt":
        yield from re.findall(r"(?m)^([\w.-]+)==([^\s;\\]+)", file.read_text(encoding="utf-8"))


def known(file: Path) -> list[Known]:
    """Known vulnerabilities that cannot be fixed yet. Raises BadDeclaration for an entry without its reason or date."""
    found: list[Known] = []
    for entry in read_toml(file).get("known", []) if file.is_file() else []:
        if set(entry) != FIELDS or not entry["reason"] or not isinstance(entry["since"], dt.date):
            raise BadDeclaration(file, "known", f"needs {', '.join(sorted(FIELDS))}, since as a date; this is {entry}")
        found.append(Known(canonicalize_name(entry["package"]), entry["id"], entry["reason"], entry["since"]))
    return found


def by_pip_audit(packages: Mapping[Package, list[str]], osv_url: str = "") -> Audit:
    """Ask PyPI or an OSV server through pip-audit; if nothing answers, every package is unchecked, with the reason."""
    audit = Audit(dict(packages))
    environ = environment_of(*NETWORK, "HOME", "XDG_CACHE_HOME", "REQUESTS_CA_BUNDLE") | {"NETRC": os.devnull}
    service = ["--vulnerability-service", "osv", "--osv-url", osv_url] if osv_url else []
    for together in _once_each(packages):
        with tempfile.TemporaryDirectory(prefix="egoworld-audit-") as folder:
            wanted = Path(folder) / "requirements.txt"
            wanted.write_text("\n".join(f"{name}=={version}" for name, version in together), encoding="utf-8")
            words = ["-r", str(wanted), "--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
            command = [sys.executable, "-m", "pip_audit", *words, *service]
            try:
                done = subprocess.run(
                    command, env=environ, capture_output=True, text=True, check=False, timeout=LIMIT_S
                )
            except subprocess.TimeoutExpired:
                audit.unchecked |= dict.fromkeys(together, f"pip-audit did not finish in {LIMIT_S} s")
                continue
        try:
            answers: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
        except (ValueError, KeyError):
            message = (done.stderr.strip() or "pip-audit printed nothing").splitlines()[-1][:300]
            audit.unchecked |= dict.fromkeys(together, message)
            continue
        by_name: dict[str, dict[str, Any]] = {canonicalize_name(answer["name"]): answer for answer in answers}
        for package in together:
            answer = by_name.get(package[0], {"skip_reason": "pip-audit skipped it"})
            if "skip_reason" in answer:
                audit.unchecked[package] = str(answer["skip_reason"])
            for vulnerability in answer.get("vulns", []):
                names = (vulnerability["id"], *vulnerability.get("aliases", []))
                audit.found.append(Vulnerability(package, names, tuple(vulnerability.get("fix_versions", []))))
    return audit


def _once_each(packages: Iterable[Package]) -> list[list[Package]]:
    """Packages in groups that hold each name once: locks may have several versions of one."""
    groups: list[dict[str, Package]] = []
    for package in packages:
        place = next((group for group in groups if package[0] not in group), None)
        if place is None:
            groups.append(place := {})
        place[package[0]] = package
    return [list(group.values()) for group in groups]


def by_database(packages: Mapping[Package, list[str]], database: Path) -> Audit:
    """Look packages up in OSV's export for PyPI. Raises BadConfiguration when the file is something else."""
    audit = Audit(dict(packages))
    by_name: dict[str, list[str]] = {}
    for name, version in packages:
        by_name.setdefault(name, []).append(version)
    try:
        with zipfile.ZipFile(database) as archive:
            records = [name for name in archive.namelist() if name.endswith(".json")]
            for record in records:
                audit.found += _matches(json.loads(archive.read(record)), by_name)
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
        raise BadConfiguration(f"AUDIT_DB={database} is not an export of OSV's database: {error}") from error
    if not records:
        raise BadConfiguration(f"AUDIT_DB={database} holds no vulnerability")
    return audit


def _matches(record: Mapping[str, Any], by_name: Mapping[str, list[str]]) -> Iterator[Vulnerability]:
    """Source: the OSV schema, affected[] of https://ossf.github.io/osv-schema/."""
    if record.get("withdrawn"):
        return
    for affected in record.get("affected", []):
        package = affected.get("package", {})
        if package.get("ecosystem") != "PyPI":
            continue
        name = canonicalize_name(package["name"])
        ranges = [span["events"] for span in affected.get("ranges", []) if span.get("type") == "ECOSYSTEM"]
        fixed = tuple(event["fixed"] for events in ranges for event in events if "fixed" in event)
        for version in by_name.get(name, ()):
            if version in affected.get("versions", ()) or any(_within(version, events) for events in ranges):
                yield Vulnerability((name, version), (record["id"], *record.get("aliases", ())), fixed)


def _within(version: str, events: Iterable[Mapping[str, str]]) -> bool:
    """Whether a version is in a range that its events describe."""
    inside = False
    try:
        own = Version(version)
        for event in events:
            if "introduced" in event and (event["introduced"] == "0" or own >= Version(event["introduced"])):
                inside = True
            if "fixed" in event and own >= Version(event["fixed"]):
                inside = False
            if "last_affected" in event and own > Version(event["last_affected"]):
                inside = False
    except InvalidVersion:
        return True  # better one too many, which a person looks at
    return inside


def judged(audit: Audit, accepted: Iterable[Known]) -> tuple[list[str], bool]:
    """Lines for people, the count last, and whether nothing is wrong: only what is known, and no entry outdated."""
    lines: list[str] = []
    entries = list(accepted)
    used: set[Known] = set()
    for found in sorted(audit.found, key=lambda one: (one.package, one.names)):
        name, version = found.package
        match = [entry for entry in entries if entry.package == name and entry.id in found.names]
        used |= set(match)
        shown = f"{name} {version}: {', '.join(found.names)} ({', '.join(audit.packages[found.package])})"
        fix = f"fixed in {', '.join(found.fixed_in)}" if found.fixed_in else "no version fixes it"
        lines.append(
            f"known since {match[0].since}: {shown}: {match[0].reason}" if match else f"VULNERABLE: {shown}; {fix}"
        )
    outdated = [entry for entry in entries if entry not in used] if not audit.unchecked else []
    lines += [f"OUTDATED: {KNOWN} names {one.id} of {one.package}, which no lock has: remove it" for one in outdated]
    reasons: dict[str, list[str]] = {}
    for (name, version), why in audit.unchecked.items():
        reasons.setdefault(re.sub(rf"{re.escape(name)}\S*( \({re.escape(version)}\))?", "…", why), []).append(name)
    for why, names in reasons.items():
        lines.append(f"not audited: {len(names)} packages ({', '.join(names[:5])}{', …' * (len(names) > 5)}): {why}")
    bad = sum(line.startswith(("VULNERABLE", "OUTDATED")) for line in lines)
    state = "done" if not audit.unchecked else "NOT DONE" if not audit.checked else "DONE IN PART"
    total = f"audit: {state}: {audit.checked} of {len(audit.packages)} locked packages checked"
    return [*lines, total + (f", {bad} wrong" if audit.checked else "")], bad == 0
