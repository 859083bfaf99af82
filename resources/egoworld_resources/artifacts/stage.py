"""A stage as the platform sees it: what it reads, which env serves it by default, which checks it must pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from egoworld_resources.artifacts.manifest import ClipReport, Verdict
from egoworld_resources.errors import CheckRaised, EgoworldError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Draft:
    """An artifact before it is published: what the checks look at. Arrow is loaded when a table is read.

    folder: its files; inputs: folders of the artifacts that it was made from.
    """

    asset: str
    folder: Path
    clips: Sequence[ClipReport]
    inputs: Mapping[str, Path]

    def table(self, *columns: str) -> pa.Table:
        """Rows of its table, of these columns only when any is named; what grows with a video is read by clip."""
        import pyarrow.parquet as pq

        return pq.read_table(self.folder / f"{self.asset}.parquet", columns=list(columns) or None)

    def by_clip(self, *columns: str) -> Iterator[pa.Table]:
        """These columns of its table, the rows of one clip after the other."""
        from egoworld_runner.clip_rows import by_clip

        return by_clip(self.folder / f"{self.asset}.parquet", columns)

    def rows(self, table: str) -> int:
        """How many rows one of its tables has, without reading them."""
        import pyarrow.parquet as pq

        return pq.read_metadata(self.folder / f"{table}.parquet").num_rows

    def input_table(self, asset: str) -> pa.Table:
        """Rows of an input's table."""
        import pyarrow.parquet as pq

        return pq.read_table(self.inputs[asset] / f"{asset}.parquet")

    def of_clip(self, report: ClipReport) -> Draft:
        """The same before its clips are joined: the folder of one clip, as its runner left it."""
        return Draft(self.asset, self.folder / report.unit, [report], self.inputs)


Check = Callable[[Draft], Verdict]


@dataclass(frozen=True)
class Stage:
    """One asset module's stage.

    env: the model env that serves it unless configured otherwise. inputs: assets that must exist and be
    valid. optional: assets that are passed in if they exist. annotations: kinds of what a person said about the video
    that it goes by; where nobody did, they are no input. unit: whether the model sees clip by clip or the whole
    video. checks: what the artifact must be as a whole. gates: what each clip must be; one that is not is left out
    while another one is good. shows_quarantined: optional inputs are passed in even when quarantined (a preview shows
    what is wrong). description, kinds: what the UI of Dagster shows of the asset.
    """

    name: str
    env: str
    inputs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    unit: Literal["clip", "video"] = "clip"
    checks: tuple[Check, ...] = ()
    gates: tuple[Check, ...] = ()
    shows_quarantined: bool = False
    description: str = ""
    kinds: tuple[str, ...] = ()


def verdict_of(check: Check, draft: Draft) -> Verdict:
    """The verdict of a check on a draft. Raises CheckRaised when it ends with an exception of its own."""
    try:
        return check(draft)
    except EgoworldError:
        raise
    except Exception as error:
        name = check.__qualname__.partition(".")[0] if hasattr(check, "__qualname__") else type(check).__name__
        raise CheckRaised(name, error) from error
