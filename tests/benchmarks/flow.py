"""(a) The whole flow over 8 videos against a straight script, and (d) how often the models were loaded for it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from egoworld_assets.orchestration.registry import stages
from egoworld_resources.artifacts.manifest import stored_files
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.making.reproduce import file_differences
from egoworld_resources.making.workbench import SOURCE, Workbench
from egoworld_resources.running.process import Process
from egoworld_resources.weights import local_weights
from tests.benchmarks import backfill
from tests.benchmarks.measure import Measure
from tests.benchmarks.place import Place, Took, middle, ours, settings

WHAT = "whole flow over {} videos"
AGAINST = "straight script, same runners"


def flow_videos(place: Place) -> list[Path]:
    """Short samples with different seeds; tiny ones of one seed when only trying out."""
    if place.quick:
        sample = place.sample(1, 2.0, 320, 180, 10)
        return [place.copy(sample, place.root / "flow", f"{n}.mp4") for n in range(2)]
    return [place.copy(place.sample(n, 3.0), place.root / "flow", f"sample-{n}.mp4") for n in range(1, 9)]


def run(place: Place) -> Iterator[Measure]:
    """Both sides in turn, each in a new process and a new home, from start to end of the process."""
    videos = flow_videos(place)
    mine: list[Took] = []
    theirs: list[Took] = []
    parts: list[tuple[dict[str, float], dict[str, float]]] = []
    told: dict[str, Any] = {}
    for turn in range(1 if place.quick else place.turns):
        home = place.home("flow")
        ours("tests.benchmarks.whole_flow", home)  # Dagster makes its databases once per installation
        took, told = ours("tests.benchmarks.whole_flow", home, *videos)
        if told["faults"]:
            raise RuntimeError(f"the flow had faults: {told['faults']}")
        mine.append(took)
        place.say(f"a: turn {turn + 1}: whole flow {took} {told['parts']}")
        plan = straight_plan(Workbench(settings(home)), home / "plan.json")
        work = home / "straight"
        work.mkdir()
        took, said = ours("tests.benchmarks.straight", home, plan, work)
        theirs.append(took)
        parts.append((told["parts"], said["parts"]))
        place.say(f"a: turn {turn + 1}: straight script {took} {said['parts']}")
    bench = Workbench(settings(home))
    what = WHAT.format(len(videos))
    clocks = [middle([took.seconds for took in side]) for side in (mine, theirs)]
    yield Measure("a", what, *clocks, "s", AGAINST, at_most=1.10)
    if not place.quick:
        through_daemon = backfill.seconds(place, videos)
        yield Measure(
            "a",
            "the same as one backfill through Dagster's daemon",
            through_daemon,
            clocks[1],
            "s",
            AGAINST,
            at_most=1.10,
        )
    processors = [middle([took.processor for took in side]) for side in (mine, theirs)]
    yield Measure("a", "the same in processor seconds", *processors, "s", AGAINST)
    yield Measure("a", "artifacts of both with the same contents", *same(bench, work), "", "artifacts", at_least=1)
    yield from split(parts)
    loads = sum(told["loads"].values())
    yield Measure("d", f"model loads for {len(videos)} videos", loads, len(told["loads"]), "", "stages", at_most=1)


def split(parts: Sequence[tuple[dict[str, float], dict[str, float]]]) -> Iterator[Measure]:
    """Where the difference lies: the stages alone, and what only we do."""
    named = list(parts[0][1])
    mine = middle([sum(whole[name] for name in named) for whole, _ in parts])
    theirs = middle([sum(straight.values()) for _, straight in parts])
    yield Measure("a", "its stages alone, by the clock", mine, theirs, "s", "the same of the script")
    rest = middle([sum(s for name, s in whole.items() if name not in named) for whole, _ in parts])
    yield Measure("a", "taking files in, definitions, the dataset over all", rest)


def same(bench: Workbench, work: Path) -> tuple[int, int]:
    """How many artifacts of the script have our bytes, what is declared to vary aside; and how many there are."""
    folders = [(stage, folder) for stage in stages() for folder in sorted((work / stage).glob("*"))]
    equal = 0
    for stage, folder in folders:
        made = bench.store.current(stage, folder.name)
        if made is not None:
            varies = bench.catalog.model(stage, made.recipe.env).varies
            differing = {path.rpartition("/")[2] for path, _ in file_differences(made.files, stored_files(folder))}
            equal += differing <= set(varies)
    return equal, len(folders)


def straight_plan(bench: Workbench, path: Path) -> Path:
    """What the straight script needs to know, taken from what the flow made: the same stages of the same videos."""
    listed: list[dict[str, Any]] = []
    for stage in stages().values():
        made = [m for video in bench.store.videos(stage.name) if (m := bench.store.current(stage.name, video))]
        given = {m.video: [name for name, version in m.inputs.items() if version and name != SOURCE] for m in made}
        listed.append(plan_of(bench, stage, path.parent, given))
    facts = dict(bench.store.records("videos"))
    sources = {v: (str(bench.store.source(fact["sha256"], fact["suffix"])), fact["name"]) for v, fact in facts.items()}
    path.write_text(json.dumps({"stages": listed, "sources": sources}, indent=1), encoding="utf-8")
    return path


def plan_of(bench: Workbench, stage: Stage, folder: Path, videos: Mapping[str, list[str]]) -> dict[str, Any]:
    """What the straight script needs to know of one stage; videos: the assets that each is given. folder: for it."""
    recipe = bench.recipe(stage)
    model = bench.catalog.model(stage.name, recipe.env)
    python = bench.builder.ensure(recipe.env).python
    return {
        "name": stage.name,
        "unit": stage.unit,
        "python": str(python),
        "environment": Process(python, folder / "straight").environment(),
        "folder": str(model.folder),
        "entry": model.runner,
        "device": recipe.device,
        "params": dict(recipe.params),
        "weights": {name: str(file) for name, file in local_weights(model.weights, python).items()},
        "inputs": [*stage.inputs, *stage.optional],
        "videos": dict(videos),
    }
