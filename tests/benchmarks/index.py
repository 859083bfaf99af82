"""`python -m tests.benchmarks.index VIDEOS...`: `egoworld status` and `stale` beside `git status` and `dvc status`.

Of each size, in one run: every stage of that many videos, some of them failed, quarantined, stale or not begun, and a
tree of as many files as there are artifacts. Up to WRITTEN videos the artifacts are put into a store; above that their
rows are put into its index as the store puts them, without the files, which neither command opens.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from egoworld_assets.orchestration.registry import stages
from egoworld_resources.artifacts.made import Made
from egoworld_resources.artifacts.manifest import digest
from egoworld_resources.artifacts.staleness import fingerprint
from egoworld_resources.making.workbench import SOURCE, Workbench
from egoworld_resources.settings import Settings
from egoworld_resources.store.folder import FolderStore
from egoworld_resources.store.index import Index
from egoworld_resources.store.rows import Place as Row
from egoworld_resources.store.rows import Truth, write
from egoworld_resources.store.tables import ABOUT
from tests.benchmarks.made_store import FAILED, NEW, QUARANTINED, STALE, fill
from tests.benchmarks.place import Place, a_place, environment, middle, settings

WRITTEN = 100
COMMANDS = (("status",), ("stale",))
GIT = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_OPTIONAL_LOCKS": "0"}
LINE = "| {:,} | {} | {:.2f} | {:.2f} | {:,.0f} |"
TURNS = 3
AT_ONCE = 2_000
LOOKS_EVERY_S = 0.005


@dataclass(frozen=True)
class Used:
    """What a command took: seconds by the clock and of processors, and MB of memory at its peak."""

    seconds: float
    processor: float
    peak: float


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.index", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("videos", nargs="+", type=int, help="numbers of videos, growing")
    parser.add_argument("--dvc", type=Path, help="the dvc to compare with, in an env of its own; default none")
    parser.add_argument("--git-upto", type=int, default=10_000, help="videos up to which git is (default 10000)")
    parser.add_argument("--dvc-upto", type=int, default=10_000, help="videos up to which it is (default 10000)")
    asked = parser.parse_args(arguments)
    print("| videos | command | clock (s) | processors (s) | peak (MB) |\n|---|---|---|---|---|", flush=True)
    with a_place(quick=False, minutes=0, turns=TURNS) as place:
        for count in asked.videos:
            dvc = asked.dvc if count <= asked.dvc_upto else None
            for name, used in at_size(place, count, dvc, count <= asked.git_upto):
                print(LINE.format(count, name, used.seconds, used.processor, used.peak), flush=True)


def at_size(place: Place, count: int, dvc: Path | None, git: bool) -> Iterator[tuple[str, Used]]:
    """Every command at one size, each with the median of some turns."""
    home = place.home("index")
    make(settings(home), count)
    place.say(f"{count:,} videos are there")
    for command in COMMANDS:
        run = [sys.executable, "-m", "egoworld_assets.cli", *command]
        yield f"`egoworld {' '.join(command)}`", median_of(place, run, home, environment(home))
    tree = home / "tree"
    if not git:
        shutil.rmtree(home)
        return
    plant(tree, count)
    place.say(f"{count * len(stages()):,} files are there")
    for words in (["init", "-q"], ["add", "-A"], ["status"]):
        subprocess.run(["git", *words], cwd=tree, env={**os.environ, **GIT}, check=True, capture_output=True)
    yield "`git status`", median_of(place, ["git", "status"], tree, {**os.environ, **GIT})
    if dvc:
        shutil.rmtree(tree / ".git")
        for words in (["init", "-q", "--no-scm"], ["add", "-q", "artifacts"]):
            subprocess.run([str(dvc), *words], cwd=tree, check=True, capture_output=True)
        yield "`dvc status`", median_of(place, [str(dvc), "status"], tree, dict(os.environ))
    shutil.rmtree(home)


def median_of(place: Place, command: Sequence[str], folder: Path, env: Mapping[str, str]) -> Used:
    """The median of each figure over some turns, after one that counts for nothing."""
    turns = [used(command, folder, env) for _ in range(place.turns + 1)][1:]
    return Used(*(middle([getattr(one, name) for one in turns]) for name in ("seconds", "processor", "peak")))


def used(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> Used:
    """Run a command to its end. Raises RuntimeError when it fails."""
    began, peak = time.perf_counter(), 0
    child = subprocess.Popen(command, cwd=folder, env=dict(env), stdout=subprocess.DEVNULL)
    status = Path(f"/proc/{child.pid}/status")  # what wait4 calls the peak counts this process, too
    while not (ended := os.wait4(child.pid, os.WNOHANG))[0]:
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))
        peak = max(peak, int(found[1]) if found else 0)
        time.sleep(LOOKS_EVERY_S)
    seconds = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(ended[1])
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {child.returncode}")
    return Used(seconds, ended[2].ru_utime + ended[2].ru_stime, peak / 1024)


def make(configured: Settings, count: int) -> None:
    """That many videos with all of their artifacts."""
    if count <= WRITTEN:
        fill(configured, range(count))
    else:
        make_rows(configured, count)


def make_rows(configured: Settings, count: int, fresh: bool = False) -> None:
    """The rows of videos in the index, and their records in the store. fresh: none failed, is stale or not begun."""
    bench = Workbench(configured, store=FolderStore(configured.layout.store))
    index = Index(configured.layout.store / "index.sqlite", name="the folder's own")
    index.prepare()
    records = configured.layout.store / "records" / "videos"
    records.mkdir(parents=True)
    for start in range(0, count, AT_ONCE):
        videos = range(start, min(start + AT_ONCE, count))
        rows = [row for number in videos for row in of_video(bench, number, fresh)]
        for (kind, _, video), facts in rows:
            if kind == "video":
                (records / f"{video}.json").write_text(json.dumps(facts), encoding="utf-8")
        with index.writing() as connection:
            write(connection, rows)
    with index.writing() as connection:
        connection.execute(ABOUT.update().values(complete=True))


def of_video(bench: Workbench, number: int, fresh: bool) -> Iterator[tuple[Row, Truth]]:
    """What the index holds of one video: some failed, are quarantined, stale or not begun."""
    key = f"made-{number:05d}"
    number = 0 if fresh else number
    facts = {"name": f"{key}.mp4", "sha256": digest(key), "bytes": 40_000_000 + number, "suffix": ".mp4"}
    yield Row("video", "", key), facts
    usable: dict[str, str] = {}
    for name, stage in stages().items() if number % NEW != 1 else ():
        inputs = {asset: usable.get(asset) for asset in (*stage.inputs, *stage.optional)}
        if not all(inputs[asset] for asset in stage.inputs):
            continue
        recipe, used = bench.recipe(stage), {SOURCE: facts["sha256"], **inputs}
        if name == "tracks" and number % FAILED == 2:
            failure = {"reason": "no clip could be tracked", "fingerprint": fingerprint(recipe, used)}
            yield Row("failure", name, key), failure
            continue
        if name == "previews" and number % STALE == 3:
            recipe = recipe.model_copy(update={"params": {**recipe.params, "quality": number % 100}})
        bad = "no mask in any clip" if name == "masks" and number % QUARANTINED == 4 else ""
        made = Made.model_construct(
            asset=name,
            video=key,
            data_version=digest([name, key]),
            fingerprint=fingerprint(recipe, used),
            inputs=used,
            recipe=recipe,
            quarantine=bad,
            rows={name: 2200},
            seconds=38.0,
            bytes=4_000_000,
            frames=1200,
        )
        yield Row("artifact", name, key), made
        if not bad:
            usable[name] = made.data_version


def plant(tree: Path, count: int) -> None:
    """A file of some bytes for each artifact."""
    for name in stages():
        for number in range(count):
            folder = tree / "artifacts" / name / f"made-{number:05d}"
            folder.mkdir(parents=True)
            (folder / f"{name}.parquet").write_text(f"{name} of {number}", encoding="utf-8")


if __name__ == "__main__":
    main()
