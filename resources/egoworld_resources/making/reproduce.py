"""Make an artifact again from its manifest alone, beside the store, and compare the bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from egoworld_resources.artifacts.manifest import ClipReport, Manifest, StoredFile, stored_files
from egoworld_resources.artifacts.staleness import recipe_reasons
from egoworld_resources.errors import DamagedArtifact, Terminal
from egoworld_resources.inbox.arrivals import suffix_of
from egoworld_resources.leases.scratch import scratch_folder
from egoworld_resources.making.assemble import assemble
from egoworld_resources.making.job import VideoWork, build_job
from egoworld_resources.making.workbench import SOURCE, Workbench
from egoworld_resources.running.process import Event, run_job
from egoworld_resources.weights import ModelPaths
from egoworld_runner.job import WHOLE


class CannotReproduce(Terminal):
    """What made an artifact is not here any more: its code, lock, weights, inputs, or the video's bytes."""


@dataclass(frozen=True)
class Reproduction:
    """What came out. differences: what is not as the manifest says; declared: what is known to vary, with why."""

    manifest: Manifest
    differences: tuple[str, ...]
    declared: tuple[str, ...]
    seconds: float

    @property
    def same(self) -> bool:
        return not self.differences


def reproduce(bench: Workbench, made: Manifest, listener: Callable[[Event], None] = lambda _: None) -> Reproduction:
    """Run an artifact's recipe on its inputs once more and compare; the store is not touched.

    Raises CannotReproduce naming what is gone or changed, and what running the model raises.
    """
    began = time.monotonic()
    recipe = made.recipe
    refuse_another_recipe(bench, made)
    with bench.store.reading(), scratch_folder(bench.layout.scratch, f"reproduce-{made.asset}") as scratch:
        work = work_of(bench, made, scratch / "videos" / made.video)
        with bench.process(recipe, scratch) as process:
            model, paths = bench.catalog.model(made.asset, recipe.env), ModelPaths.of(bench.settings)
            job = build_job(recipe, model, [work], process.python, bench.weights, paths)
            ran = run_job(job, process, listener)
        taken = scratch / "taken"
        reports = assemble(work.output, work.units, taken, ran.deaths_in(made.video), partial(left_out_then, made))
        found = [*clip_differences(made.clips, reports), *file_differences(made.files, stored_files(taken))]
    known = bench.catalog.model(made.asset, recipe.env).varies
    why = {path: known.get(path.rpartition("/")[2], "") for path, _ in found}
    return Reproduction(
        manifest=made,
        differences=tuple(f"{path}: {what}" for path, what in found if not why[path]),
        declared=tuple(f"{path}: {what} ({why[path]})" for path, what in found if why[path]),
        seconds=round(time.monotonic() - began, 3),
    )


def left_out_then(made: Manifest, _: Path, reports: Sequence[ClipReport]) -> dict[str, str]:
    """The clips that are done now and did not pass the gates when the artifact was made."""
    done = {report.unit for report in reports if report.state == "done"}
    return {then.unit: then.reason for then in made.clips if then.unit in done and then.state == "failed"}


def refuse_another_recipe(bench: Workbench, made: Manifest) -> None:
    """Raise CannotReproduce unless code, lock, weights and named files are those of the manifest.

    The device is that of then, whatever the configuration says today.
    """
    old = made.recipe
    known = bench.catalog.model(old.stage, old.env).params
    now = bench.recipe_with(old.stage, old.env, {name: v for name, v in old.params.items() if name in known})
    if changed := list(recipe_reasons(old, now.model_copy(update={"device": old.device}))):
        raise CannotReproduce(
            f"{made.asset} of {made.video} cannot be made as it was: {'; '.join(changed)}. Check out the code that "
            f"made it on {made.made_at[:10]}, or make it by today's with `egoworld refresh {made.video}`"
        )


def work_of(bench: Workbench, made: Manifest, output: Path) -> VideoWork:
    """What the runner was given, from the versions that the manifest names; raises CannotReproduce, DamagedArtifact."""
    source = made.source
    path = bench.store.source(source["sha256"], suffix_of(source["name"]))
    if not path.is_file():
        raise CannotReproduce(f"{made.asset} of {made.video}: the bytes of {source['name']!r} ({path}) are gone")
    inputs = {asset: input_of(bench, made, asset) for asset in made.inputs if asset != SOURCE}
    whole = [report.unit for report in made.clips] == [WHOLE]
    return VideoWork(
        video=made.video,
        path=path,
        name=source["name"],
        folders={asset: bench.store.folder(found) if found else None for asset, found in inputs.items()},
        clips=None if whole else bench.clips(inputs["clips"]),
        output=output,
    )


def input_of(bench: Workbench, made: Manifest, asset: str) -> Manifest | None:
    """The version of an input that an artifact was made from; None when it was made without."""
    version = made.inputs[asset]
    if version is None:
        return None
    found = bench.store.version(asset, made.video, version)
    if found is None:
        raise CannotReproduce(f"{made.asset} of {made.video}: its input {asset} (version {version}) is no longer kept")
    if faults := bench.store.verify(found):
        raise DamagedArtifact(f"{asset} of {made.video}: {'; '.join(faults)}; make it again")
    return found


def clip_differences(old: Iterable[ClipReport], new: Iterable[ClipReport]) -> Iterator[tuple[str, str]]:
    """Clips that fared otherwise: done or failed."""
    before = {report.unit: report.state for report in old}
    for report in new:
        if before.get(report.unit) != report.state:
            yield f"clip {report.unit}", f"{report.state} {report.reason}, was {before.get(report.unit, 'absent')}"


def file_differences(old: Iterable[StoredFile], new: Iterable[StoredFile]) -> Iterator[tuple[str, str]]:
    """Files that are missing, new, or of other bytes."""
    before, after = {file.path: file for file in old}, {file.path: file for file in new}
    for path in sorted({*before, *after}):
        if path not in after:
            yield path, "was not made again"
        elif path not in before:
            yield path, "was not there before"
        elif before[path].sha256 != after[path].sha256:
            yield path, f"sha256 {after[path].sha256[:12]}, was {before[path].sha256[:12]}"
