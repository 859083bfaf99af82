"""Rows of one clip out of a table of many: all of them, in order, and nothing else is even read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from egoworld_runner.clip_rows import by_clip, clip_ids, rows_of_clip
from egoworld_runner.inputs import Inputs

Groups = Sequence[Sequence[str]]


def written(folder: Path, groups: Groups) -> Path:
    """A table ``masks`` with the given clip ids in each row group; ``frame`` counts its rows."""
    schema = pa.schema(
        [pa.field("clip_id", pa.string()), pa.field("frame", pa.int64()), ("xy", pa.list_(pa.int64(), 2))]
    )
    path, frame = folder / "masks.parquet", 0
    with pq.ParquetWriter(path, schema) as writer:
        for ids in groups:
            frames = list(range(frame, frame + len(ids)))
            frame += len(ids)
            table = {"clip_id": list(ids), "frame": frames, "xy": [[at, -at] for at in frames]}
            writer.write_table(pa.table(table, schema=schema))
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=5), max_size=6))
def test_every_row_comes_under_its_clip_once_and_in_order(tmp_path: Path, groups: Groups) -> None:
    path = written(tmp_path, groups)
    flat = [clip for ids in groups for clip in ids]
    assert clip_ids(path) == list(dict.fromkeys(flat))
    for clip in "abcd":
        rows = rows_of_clip(path, clip)
        assert rows["frame"].to_pylist() == [at for at, one in enumerate(flat) if one == clip]
        assert rows["xy"].to_pylist() == [[at, -at] for at in rows["frame"].to_pylist()]
        assert rows.schema.equals(pq.read_schema(path))
    tables = list(by_clip(path, ["frame"]))
    assert [table.column_names for table in tables] == [["frame"]] * len(set(flat))
    assert sorted(frame for table in tables for frame in table["frame"].to_pylist()) == list(range(len(flat)))


def test_what_belongs_to_other_clips_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path, [["a"] * 50, ["b"] * 50, ["c"] * 50])
    found = pq.read_metadata(path).row_group(1).column(1)
    damaged = bytearray(path.read_bytes())
    start = found.dictionary_page_offset or found.data_page_offset
    damaged[start : start + found.total_compressed_size] = b"\xff" * found.total_compressed_size
    path.write_bytes(damaged)
    assert rows_of_clip(path, "a").num_rows == rows_of_clip(path, "c").num_rows == 50
    assert rows_of_clip(path, "b", ["xy"]).num_rows == 50
    with pytest.raises(OSError, match=r"."):
        rows_of_clip(path, "b")


def test_inputs_show_one_clip_or_all_of_them(tmp_path: Path) -> None:
    written(tmp_path, [["a", "a"], ["b"]])
    whole = Inputs({"masks": tmp_path, "tracks": None}, None)
    assert whole.clips("masks") == ["a", "b"]
    assert whole.clips("tracks") == []
    assert whole.table("masks", columns=["frame"]).to_pylist() == [{"frame": 0}, {"frame": 1}, {"frame": 2}]
    assert whole.of_clip("b").rows("masks") == [{"clip_id": "b", "frame": 2, "xy": [2, -2]}]
    assert whole.of_clip("b").table("tracks", columns=["x", "y"]).column_names == ["x", "y"]
