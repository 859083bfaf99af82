"""What was said about a video as artifacts of its own, one a kind: by content, with who said it and about which bytes.

The live version is what holds. One about other bytes of the same name does not: its frames and pixels are not theirs.
"""

from __future__ import annotations

import getpass
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from egoworld_resources.artifacts.manifest import (
    ClipReport,
    Manifest,
    Recipe,
    canonical,
    data_version,
    stored_files,
)
from egoworld_resources.artifacts.staleness import fingerprint
from egoworld_resources.leases.scratch import scratch_folder
from egoworld_resources.store.protocol import Store
from egoworld_resources.store.snapshot import Snapshot
from egoworld_runner.annotations import Pictures
from egoworld_runner.job import WHOLE

SOURCE, VIDEOS = "source", "videos"
BY_A_PERSON = "annotation"
"""Env of the recipe of what no model made."""


@dataclass(frozen=True)
class Said:
    """What holds of one kind. of_these_bytes: whether it was said about the bytes that the video has now."""

    value: Any
    manifest: Manifest
    of_these_bytes: bool


def said(store: Store, kind: str, video: str) -> Said | None:
    """What was said of a kind about a video last; None for nothing, or when it was taken back."""
    made = store.current(kind, video)
    return Said(value_of(store, made), made, of_bytes_now(store, made)) if made else None


def of_bytes_now(store: Store, made: Manifest) -> bool:
    """Whether an annotation is about the bytes that its video has now."""
    return made.inputs[SOURCE] == (store.recorded(VIDEOS, made.video) or {}).get("sha256")


def value_of(store: Store, made: Manifest) -> Any:
    """The JSON value of one version."""
    with store.reading():
        return json.loads((store.folder(made) / f"{made.asset}.json").read_text(encoding="utf-8"))


def annotate(
    store: Store, kind: str, video: str, value: Any, facts: Mapping[str, Any], where: str, by: str | None = None
) -> str:
    """Make a checked value what holds of a kind; an empty one takes back what was said.

    facts: name, sha256 and bytes of the video that it is about. where: where it was said. Returns what changed:
    "given", "changed", "taken back", or "" for nothing.
    """
    before = store.current(kind, video)
    if not value:
        if before:
            store.retire(kind, video)
        return "taken back" if before else ""
    with scratch_folder(store.incoming, kind) as scratch:
        made = written(scratch / "files", kind, video, value, facts, where, by)
        about = before and dict(before.inputs) == dict(made.inputs)
        if before and about and before.data_version == made.data_version:
            return ""
        store.put(scratch / "files", made)
    return "changed" if about else "given"


def written(
    folder: Path, kind: str, video: str, value: Any, facts: Mapping[str, Any], where: str, by: str | None
) -> Manifest:
    """Write a value into a new folder, as an artifact with the manifest that is returned."""
    folder.mkdir()
    (folder / f"{kind}.json").write_text(canonical(value) + "\n", encoding="utf-8")
    files, inputs, recipe = stored_files(folder), {SOURCE: str(facts["sha256"])}, recipe_of(kind)
    source = {name: facts.get(name) for name in ("name", "sha256", "bytes")}
    return Manifest(
        asset=kind,
        video=video,
        data_version=data_version(files),
        fingerprint=fingerprint(recipe, inputs),
        files=files,
        inputs=inputs,
        recipe=recipe,
        clips=[ClipReport(unit=WHOLE, state="done", rows={kind: len(value) if isinstance(value, list) else 1})],
        checks=[],
        licences=[],
        source={**source, "rights": "", "said_by": by or getpass.getuser(), "said_in": where},
        run_id="",
        host=socket.gethostname(),
        gpu=None,
        seconds=0.0,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def recipe_of(kind: str) -> Recipe:
    """The recipe of what a person said: no model, no code."""
    return Recipe(
        stage=kind,
        env=BY_A_PERSON,
        model="",
        label="said by a person",
        runner="",
        contract="",
        lock="",
        packages={},
        weights={},
        params={},
        device="cpu",
        licence="",
        outputs="",
    )


def pictures_of(store: Store, video: str) -> Pictures | None:
    """Size and number of the frames of a video's current bytes; None before they were probed."""
    made = store.current(VIDEOS, video)
    if made is None or not of_bytes_now(store, made):
        return None
    import pyarrow.parquet as pq

    with store.reading():
        columns = ["width", "height", "frames"]
        rows = pq.read_table(store.folder(made) / f"{VIDEOS}.parquet", columns=columns).to_pylist()
    return Pictures(**rows[0]) if rows else None


class Supposed(Snapshot):
    """A store as it would be if something were said: what is supposed of one kind about one video, None for nothing."""

    def __init__(self, store: Store, kind: str, video: str, manifest: Manifest | None) -> None:
        super().__init__(store)
        self._place, self._supposed = (kind, video), manifest

    def current(self, asset: str, video: str) -> Manifest | None:
        return self._supposed if (asset, video) == self._place else super().current(asset, video)


def supposed(store: Store, kind: str, video: str, value: Any, facts: Mapping[str, Any]) -> Store:
    """The store as it would be after ``annotate``; nothing is written to it."""
    with scratch_folder(store.incoming, kind) as scratch:
        made = written(scratch / "files", kind, video, value, facts, "", None) if value else None
    return Supposed(store, kind, video, made)
