"""Put the clip folders that a runner wrote together into one artifact folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from egoworld_resources.manifest import ClipReport
from egoworld_runner.execute import REPORT, WHOLE


def assemble(output: Path, order: Sequence[str]) -> list[ClipReport]:
    """Turn ``<output>/<unit>/…`` into ``<output>/<table>.parquet`` plus files, units in the given order.

    Files of a clip stay below ``<clip_id>/``; those of the whole video come to the top. A clip without a report is
    reported as failed. Returns one report per unit.
    """
    reports = [_report(output / unit, unit) for unit in order]
    done = [output / report.unit for report in reports if report.state == "done"]
    _join_tables(output, done)
    for report in reports:
        folder = output / report.unit
        if report.state == "failed" or not any(folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
        elif report.unit == WHOLE:
            for entry in folder.iterdir():
                entry.rename(output / entry.name)
            folder.rmdir()
    return reports


def _report(folder: Path, unit: str) -> ClipReport:
    path = folder / REPORT
    if not path.is_file():
        return ClipReport(unit=unit, state="failed", reason="the runner left no report for this clip")
    raw = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    known = {name: raw[name] for name in ("state", "reason", "seconds", "rows", "notes") if name in raw}
    return ClipReport(unit=unit, **known)


def _join_tables(output: Path, folders: Sequence[Path]) -> None:
    """Concatenate same-named tables, batch by batch so that memory stays bounded."""
    names = sorted({path.name for folder in folders for path in folder.glob("*.parquet") if folder.name != WHOLE})
    for name in names:
        parts = [folder / name for folder in folders if (folder / name).is_file()]
        schema = pq.read_schema(parts[0])
        with pq.ParquetWriter(output / name, schema) as writer:
            for part in parts:
                for batch in pq.ParquetFile(part).iter_batches():
                    writer.write_table(pa.Table.from_batches([batch], schema))
                part.unlink()
