"""Rights in source videos: under which licence a video was provided, who stated that, and when.

Stated for one video (a record in the store, by `egoworld rights`), for all below a folder or prefix of names, or for
all (egoworld.toml). The nearest statement holds; without any the rights are unknown, and unknown is not commercial.
"""

from __future__ import annotations

import csv
import getpass
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.licences.expressions import canonical
from egoworld_resources.licences.tables import Given, RightsTable
from egoworld_resources.store.protocol import Store

RECORD, STAMP = "rights", "stamps"
EARLIER = 20
"""Former statements that a record keeps."""


@dataclass(frozen=True)
class Rights:
    """What is known of the rights in a video. stated: where ("video", "prefix alice", "default"); "" for nowhere.

    by, at: who stated it and when. note: why a statement does not count.
    """

    licence: str = ""
    source: str = ""
    by: str = ""
    at: str = ""
    stated: str = ""
    note: str = ""


UNKNOWN = Rights()


def rights_of(store: Store, table: RightsTable, video: str, sha256: str = "") -> Rights:
    """The rights in a video; sha256: which bytes are meant, by default the current ones.

    A statement for one video is about the bytes that it had: it does not pass to others that came under its name.
    """
    facts = store.recorded("videos", video) or {}
    record, note = store.recorded(RECORD, video), ""
    if record and record["sha256"] == (sha256 or facts.get("sha256")):
        return Rights(record["licence"], record["source"], record["by"], record["at"], "video")
    if record:
        note = f"{record['licence']} was stated for other bytes of this name; state the rights again"
    stated, where = _nearest(table, str(facts.get("name", "")))
    return Rights(stated.licence, stated.source, "egoworld.toml", "", where, note) if stated else Rights(note=note)


def _nearest(table: RightsTable, name: str) -> tuple[Given | None, str]:
    parts = [part for part in name.split("/") if part]
    below = {tuple(part for part in prefix.split("/") if part): prefix for prefix in table.prefixes}
    for count in range(len(parts), 0, -1):
        prefix = below.get(tuple(parts[:count]))
        if prefix is not None:
            return table.prefixes[prefix], f"prefix {prefix}"
    return table.default, "default"


def state_rights(store: Store, video: str, licence: str, source: str, by: str | None = None) -> dict[str, Any]:
    """Record the rights in a video's current bytes; earlier statements stay in the record. Returns the record.

    Raises BadConfiguration for a licence that is not an SPDX expression.
    """
    written = checked(licence)
    facts = store.recorded("videos", video) or {}
    before = store.recorded(RECORD, video)
    same = {"sha256": facts["sha256"], "licence": written, "source": source}
    if before and all(before[name] == value for name, value in same.items()):
        return before
    earlier = [*before["earlier"], {k: v for k, v in before.items() if k != "earlier"}] if before else []
    at = datetime.now(UTC).isoformat(timespec="microseconds")
    record = {**same, "by": by or getpass.getuser(), "at": at, "earlier": earlier[-EARLIER:]}
    store.record(RECORD, video, record)
    store.record(STAMP, RECORD, {"at": at, "video": video})
    return record


def take_back(store: Store, video: str) -> None:
    """Forget what was stated for a video."""
    store.record(RECORD, video, None)
    store.record(STAMP, RECORD, {"at": datetime.now(UTC).isoformat(timespec="microseconds"), "video": video})


def rights_stamp(store: Store) -> str:
    """Another text each time that rights were stated or taken back for a video."""
    return " ".join((store.recorded(STAMP, RECORD) or {}).values())


def checked(licence: str) -> str:
    """A licence as SPDX writes it. Raises BadConfiguration, which explains how to name a licence that SPDX lacks."""
    written = canonical(licence)
    if written is None:
        raise BadConfiguration(
            f"'{licence}' is not an SPDX expression such as CC-BY-4.0; name a contract of your own "
            "LicenseRef-Contract-7 and say under [licences.terms] of egoworld.toml what it allows"
        )
    return written


def read_csv(file: Path) -> Iterator[tuple[str, Given]]:
    """Rows of a CSV file with the columns video and licence, and source if it has one. Raises BadConfiguration."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines, strict=True)
            missing = {"video", "licence"} - set(rows.fieldnames or ())
            if missing:
                raise BadConfiguration(f"{file} has no column {', '.join(sorted(missing))}; it needs video and licence")
            for row in rows:
                yield _row(file, rows.line_num, row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadConfiguration(f"{file} cannot be read as CSV: {error}") from error


def _row(file: Path, line: int, row: Mapping[str | None, Any]) -> tuple[str, Given]:
    video, licence = (str(row[name] or "").strip() for name in ("video", "licence"))
    if not video:
        raise BadConfiguration(f"{file}, line {line}: names no video")
    try:
        return video, Given(licence=checked(licence), source=str(row.get("source") or "").strip())
    except BadConfiguration as error:
        raise BadConfiguration(f"{file}, line {line} ({video}): {error}") from error
