"""Put the clip folders that a runner wrote together into one artifact folder."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from egoworld_resources.artifacts.manifest import ClipReport
from egoworld_resources.making.gates import write_remarks
from egoworld_resources.running.clip_report import clip_report, failed
from egoworld_resources.running.outputs import Missing, NotTaken, opened, take
from egoworld_runner.job import REPORT, WHOLE
from egoworld_runner.space import FULL

CLIP_ID = "clip_id"
UNREADABLE = (pa.ArrowException, OSError, MemoryError, ValueError)


LeaveOut = Callable[[Path, Sequence[ClipReport]], Mapping[str, str]]
"""Asks which clips do not pass, of the folder in which each lies below its name: why, by clip."""


def assemble(
    output: Path,
    order: Sequence[str],
    into: Path,
    deaths: Mapping[str, str] | None = None,
    leave_out: LeaveOut = lambda *_: {},
) -> list[ClipReport]:
    """Take ``<output>/<unit>/…`` as ``<into>/<table>.parquet`` plus files, units in the given order.

    Files of a clip lie below ``<into>/<clip_id>/``; those of the whole video at the top. ``into`` must not exist.
    deaths: why the runner died, by the clip during which it did. A clip without a report is reported as failed, and so
    is one of which something cannot be taken, or that does not pass; it costs no other. Returns one report per unit.
    Nothing is followed out of ``output``, which is only read.
    """
    into.mkdir(parents=True)
    reports = {unit: _taken(output, unit, into, (deaths or {}).get(unit, "")) for unit in order}
    _fail(reports, into, _join_tables(into, _done(reports)))
    left_out = leave_out(into, list(reports.values()))
    if left_out:
        _fail(reports, into, left_out)
        _joined(into, _names(into, _done(reports)), [into / unit for unit in _done(reports)])
    for unit in _done(reports):
        _only_files(into / unit, into)
    write_remarks(into, list(reports.values()), left_out)
    return list(reports.values())


def _done(reports: Mapping[str, ClipReport]) -> list[str]:
    return [unit for unit, report in reports.items() if report.state == "done"]


def _fail(reports: dict[str, ClipReport], into: Path, reasons: Mapping[str, str]) -> None:
    """Report clips as failed and take nothing of them."""
    for unit, reason in reasons.items():
        reports[unit] = failed(unit, reason)
        shutil.rmtree(into / unit)


def _only_files(folder: Path, into: Path) -> None:
    """Leave of a clip's folder what is no table, for the tables are joined; what is of the whole video goes up."""
    if folder.name == WHOLE:
        for entry in list(folder.iterdir()):
            entry.rename(into / entry.name)
    else:
        for table in folder.glob("*.parquet"):
            table.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _taken(output: Path, unit: str, into: Path, death: str) -> ClipReport:
    """Copy the files of a clip that is done below ``into``; its report."""
    if death:
        return failed(unit, death)
    try:
        with opened(output.parent, output.name, unit) as folder:
            report = clip_report(folder, unit)
            if report.state == "done":
                take(folder, into / unit, but=REPORT)
            return report
    except Missing:
        return failed(unit, "the runner left no report for this clip")
    except NotTaken as error:
        shutil.rmtree(into / unit, ignore_errors=True)
        what = "a runner may leave only files and folders of its own"
        return failed(unit, f"{unit}/{error}; {what}, so nothing of this clip was taken")


def _names(into: Path, units: Sequence[str]) -> list[str]:
    """The names of all tables of some clips."""
    return sorted({path.name for unit in units if unit != WHOLE for path in (into / unit).glob("*.parquet")})


def _join_tables(into: Path, units: Sequence[str]) -> dict[str, str]:
    """Concatenate same-named tables, batch by batch so that memory stays bounded; why clips had to be left out."""
    left = {unit: into / unit for unit in units if unit != WHOLE}
    names = _names(into, units)
    faults: dict[str, str] = {}
    for name in names:
        faults.update(_faults({unit: folder / name for unit, folder in left.items() if (folder / name).is_file()}))
    while fault := _joined(into, names, [folder for unit, folder in left.items() if unit not in faults]):
        faults.update([fault])
    return faults


def _faults(parts: Mapping[str, Path]) -> dict[str, str]:
    """Why a table cannot be joined, by the clip that it is of: other columns, rows of another clip, not readable."""
    faults: dict[str, str] = {}
    schemas: dict[str, pa.Schema] = {}
    for unit, part in parts.items():
        try:
            with pq.ParquetFile(part) as file:
                schemas[unit] = file.schema_arrow
                if CLIP_ID in file.schema_arrow.names and not _all_of(unit, file):
                    faults[unit] = f"{part.name} has rows of another clip"
        except UNREADABLE as error:
            faults[unit] = _damaged(part, error)
    usual = Counter(str(schema.remove_metadata()) for schema in schemas.values()).most_common(1)
    for unit, schema in schemas.items():
        if str(schema.remove_metadata()) != usual[0][0]:
            faults.setdefault(unit, f"{parts[unit].name} has other columns than that of the other clips")
    return faults


def _all_of(unit: str, file: pq.ParquetFile) -> bool:
    ids = (batch.column(0) for batch in file.iter_batches(columns=[CLIP_ID]))
    return all(column.unique().to_pylist() in ([], [unit]) for column in ids)


def _joined(into: Path, names: Sequence[str], folders: Sequence[Path]) -> tuple[str, str] | None:
    """Write the tables of all clips; the first clip whose rows cannot be read, and why."""
    for name in names:
        parts = [folder / name for folder in folders if (folder / name).is_file()]
        (into / name).unlink(missing_ok=True)
        if not parts:
            continue
        schema = pq.read_schema(parts[0])
        with pq.ParquetWriter(into / name, schema) as writer:
            for part in parts:
                try:
                    for batch in pq.ParquetFile(part).iter_batches():
                        writer.write_table(pa.Table.from_batches([batch], schema))
                except UNREADABLE as error:
                    if isinstance(error, OSError) and error.errno in FULL:
                        raise
                    return part.parent.name, _damaged(part, error)
    return None


def _damaged(part: Path, error: Exception) -> str:
    return f"{part.name} cannot be read ({type(error).__name__}: {str(error)[:200]})"
