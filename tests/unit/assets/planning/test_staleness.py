"""Random graphs of stages under random changes: what is stale, and the plan of a refresh, against an oracle.

The oracle keeps what every artifact was made of as plain values and compares those; it knows no digest, no manifest and
no fingerprint. A stage's outcome is a function of what it is made of, with few different contents, so that what is
remade often comes out as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from hypothesis import event, given, settings
from hypothesis import strategies as st

from egoworld_assets.planning.plan import WANTS_WORK, plan
from egoworld_resources.artifacts.manifest import Manifest, Recipe, StoredFile, Verdict, data_version, digest
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.artifacts.staleness import fingerprint
from egoworld_resources.making.workbench import SOURCE, Workbench
from egoworld_resources.settings import Settings
from egoworld_resources.store.folder import FolderStore
from egoworld_resources.store.index import Index

VIDEOS = ("kitchen", "garage")
DECIDING = ("env", "model", "runner", "contract", "lock", "weights", "params", "files", "device")
WORDS = ("label", "licence", "packages")
"""What a recipe says of itself and what decides no contents: a change of it makes nothing stale."""

Place = tuple[str, str]
Made = tuple[Any, ...]


class Outcome(NamedTuple):
    state: str
    content: object


@dataclass
class World:
    """The oracle: knobs as they stand, and what was made of what."""

    stages: list[Stage]
    knobs: dict[str, dict[str, int]]
    bytes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VIDEOS, 0))
    made: dict[Place, tuple[Made, Outcome]] = field(default_factory=dict)
    failed: dict[Place, Made] = field(default_factory=dict)

    def usable(self, asset: str, video: str) -> object:
        held = self.made.get((asset, video))
        return held[1].content if held and held[1].state == "good" else None

    def of(self, stage: Stage, video: str) -> Made:
        """All that decides an artifact, as it is now."""
        knobs = tuple(self.knobs[stage.name][name] for name in DECIDING)
        given = tuple((a, self.usable(a, video)) for a in sorted((*stage.inputs, *stage.optional)))
        return (stage.name, video, knobs, self.bytes[video], given)

    def condition(self, stage: Stage, video: str) -> str:
        now, held = self.of(stage, video), self.made.get((stage.name, video))
        if any(self.usable(asset, video) is None for asset in stage.inputs):
            return "blocked"
        if self.failed.get((stage.name, video)) == now:
            return "failed"
        if held is None:
            return "missing"
        if held[0] != now:
            return "stale"
        return "quarantined" if held[1].state == "quarantined" else "fresh"

    def take(self, stage: Stage, video: str, outcome: Outcome) -> None:
        now = self.of(stage, video)
        if outcome.state == "failed":
            self.failed[stage.name, video] = now
        else:
            self.failed.pop((stage.name, video), None)
            self.made[stage.name, video] = (now, outcome)

    def refresh(self, outcome_of: Callable[[Made], Outcome]) -> Iterator[tuple[Stage, str, Outcome]]:
        """Make everything missing or stale as the flow does it: stage after stage."""
        for stage in self.stages:
            for video in VIDEOS:
                if self.condition(stage, video) in ("missing", "stale"):
                    outcome = outcome_of(self.of(stage, video))
                    yield stage, video, outcome
                    self.take(stage, video, outcome)


class MemoryStore(FolderStore):
    """A store without a disk; manifests go through their JSON as they do on one."""

    def __init__(self, index: Index | None = None) -> None:
        super().__init__(Path("memory"), (lambda: index) if index else None)
        self.manifests: dict[Place, str] = {}
        self.facts: dict[Place, dict[str, Any]] = {}

    def current(self, asset: str, video: str) -> Manifest | None:
        text = self.manifests.get((asset, video))
        return Manifest.model_validate_json(text) if text else None

    def videos(self, asset: str) -> list[str]:
        return sorted(video for held, video in self.manifests if held == asset)

    def assets(self) -> list[str]:
        return sorted({asset for asset, _ in self.manifests})

    def keys(self, kind: str) -> list[str]:
        return sorted(key for held, key in self.facts if held == kind)

    def make_live(self, manifest: Manifest) -> None:
        with self._changing(manifest.asset, manifest.video):
            self.manifests[manifest.asset, manifest.video] = manifest.model_dump_json()

    def record(self, kind: str, key: str, value: dict[str, Any] | None) -> None:
        with self._recording(kind, key):
            self.facts.pop((kind, key), None)
            if value is not None:
                self.facts[kind, key] = value

    def recorded(self, kind: str, key: str) -> dict[str, Any] | None:
        return self.facts.get((kind, key))

    def records(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from ((key, facts) for (held, key), facts in sorted(self.facts.items()) if held == kind)


class Declared(Workbench):
    """The real workbench with recipes that are declared instead of read from envs and locks."""

    def __init__(self, world: World, index: Index | None = None) -> None:
        super().__init__(configuration(), store=MemoryStore(index))
        self.world = world

    def recipe(self, stage: Stage) -> Recipe:
        knob = {name: str(value) for name, value in self.world.knobs[stage.name].items()}
        mapped = {name: {"it": knob.pop(name)} for name in ("weights", "params", "files", "packages")}
        return Recipe(stage=stage.name, **knob, **mapped)

    def publish(self, stage: Stage, video: str, outcome: Outcome) -> None:
        """What making an artifact leaves in the store."""
        assert isinstance(self.store, MemoryStore)
        inputs, key = self.state(stage, video).inputs, f"{stage.name}/{video}"
        if outcome.state == "failed":
            facts = {"reason": "too dark", "fingerprint": fingerprint(self.recipe(stage), inputs)}
            self.store.record("failures", key, facts)
            return
        files = [StoredFile(path="rows", bytes=1, sha256=digest(outcome.content))]
        manifest = Manifest(
            asset=stage.name,
            video=video,
            data_version=data_version(files),
            fingerprint=fingerprint(self.recipe(stage), inputs),
            files=files,
            inputs=inputs,
            recipe=self.recipe(stage),
            clips=[],
            checks=[Verdict(check="good", passed=outcome.state == "good", reason="noise")],
            licences=[],
            source={"sha256": inputs[SOURCE], "bytes": 1000},
            run_id="run",
            host="here",
            gpu=None,
            seconds=1.0,
            made_at="now",
        )
        self.store.make_live(manifest)
        self.store.record("failures", key, None)


@cache
def configuration() -> Settings:
    return Settings.load(home=Path("unused"))


def given_by(made: Made) -> Outcome:
    """A stage's outcome: always the same for the same things, rarely new, now and then bad."""
    number = crc32(repr(made).encode())
    state = {0: "failed", 1: "quarantined"}.get((number >> 8) % 9, "good")
    return Outcome(state, number % 3)


@st.composite
def graphs(draw: st.DrawFn) -> list[Stage]:
    """Stages whose inputs are any of those before them."""
    found: list[Stage] = []
    for number in range(draw(st.integers(2, 6))):
        uses = [draw(st.sampled_from(("no", "needs", "may"))) for _ in found]
        inputs = tuple(s.name for s, use in zip(found, uses, strict=True) if use == "needs")
        optional = tuple(s.name for s, use in zip(found, uses, strict=True) if use == "may")
        found.append(Stage(f"stage{number}", env="made-up", inputs=inputs, optional=optional))
    return found


Change = tuple[str, int, int]
CHANGES = st.tuples(
    st.sampled_from((*DECIDING, *WORDS, "bytes", *("make", "refresh") * 4)), st.integers(0, 11), st.integers(0, 2)
)


def start(stages: list[Stage], index: Index | None = None) -> tuple[World, Declared]:
    world = World(stages, {stage.name: dict.fromkeys((*DECIDING, *WORDS), 0) for stage in stages})
    bench = Declared(world, index)
    for video in VIDEOS:
        arrive(bench, world, video)
    return world, bench


def arrive(bench: Declared, world: World, video: str) -> None:
    bench.store.record("videos", video, {"name": video, "sha256": f"{video}{world.bytes[video]}", "bytes": 1000})


def apply(world: World, bench: Declared, change: Change) -> None:
    what, where, value = change
    stage, video = world.stages[where % len(world.stages)], VIDEOS[where % 2]
    if what == "bytes":
        world.bytes[video] = value
        arrive(bench, world, video)
    elif what == "make":
        if world.condition(stage, video) in ("missing", "stale"):
            outcome = given_by(world.of(stage, video))
            bench.publish(stage, video, outcome)
            world.take(stage, video, outcome)
    elif what == "refresh":
        refresh(world, bench)
    elif what == "contract":
        for knobs in world.knobs.values():
            knobs["contract"] = value
    else:
        world.knobs[stage.name][what] = value


def refresh(world: World, bench: Declared) -> None:
    """Make the plan, then a refresh, and hold the one against the other."""
    steps = plan(bench, world.stages, VIDEOS).steps
    planned = {(step.asset, step.video): step.certain for step in steps}
    assert len(planned) == len(steps)
    made, lost = set[Place](), set[Place]()
    for stage, video, outcome in world.refresh(given_by):
        assert bench.state(stage, video).condition in WANTS_WORK
        bench.publish(stage, video, outcome)
        made.add((stage.name, video))
        if outcome.state != "good":
            lost.add((stage.name, video))
    assert made <= planned.keys(), "nothing is made that was not planned"
    missed = {place for place, certain in planned.items() if certain} - made
    assert all(behind_lost(world.stages, place, lost) for place in missed), "what is certain is made"
    event("a possible step was left" if planned.keys() - made - missed else "all steps were taken")


def behind_lost(stages: list[Stage], place: Place, lost: set[Place]) -> bool:
    stage = next(s for s in stages if s.name == place[0])
    before = [(asset, place[1]) for asset in (*stage.inputs, *stage.optional)]
    return any(above in lost or behind_lost(stages, above, lost) for above in before)


def agree(world: World, bench: Declared) -> None:
    """No false fresh and no false stale."""
    for stage in world.stages:
        for video in VIDEOS:
            assert bench.state(stage, video).condition == world.condition(stage, video)


@settings(deadline=None, max_examples=400)
@given(graphs(), st.lists(CHANGES, max_size=24))
def test_nothing_is_falsely_fresh_and_nothing_falsely_stale(stages: list[Stage], changes: list[Change]) -> None:
    world, bench = start(stages)
    agree(world, bench)
    for change in changes:
        apply(world, bench, change)
        agree(world, bench)
    refresh(world, bench)
    agree(world, bench)
    assert plan(bench, stages, VIDEOS).steps == [], "after a refresh there is nothing to do"


@settings(deadline=None, max_examples=400)
@given(graphs(), st.lists(CHANGES, max_size=24), st.integers(0, 99))
def test_the_plan_holds_whatever_comes_out(stages: list[Stage], changes: list[Change], salt: int) -> None:
    """If every step succeeds: the certain ones are made whatever contents come out, all of them when all is new."""
    world, bench = start(stages)
    for change in changes:
        apply(world, bench, change)
    steps = plan(bench, stages, VIDEOS).steps
    certain = {(step.asset, step.video) for step in steps if step.certain}

    def made(outcome_of: Callable[[Made], Outcome]) -> set[Place]:
        return {(stage.name, video) for stage, video, _ in deepcopy(world).refresh(outcome_of)}

    everything = made(lambda of: Outcome("good", f"new {of}"))
    assert everything == {(step.asset, step.video) for step in steps}
    for number in range(6):
        some = made(lambda of, number=number: Outcome("good", crc32(f"{salt} {number} {of}".encode()) % 3))
        assert certain <= some <= everything
    for step in steps:
        assert step.why
        assert set(step.roots) == {step.asset} if step.certain else step.asset not in step.roots


def test_the_oracle_notices_a_workbench_that_forgets_an_input() -> None:
    """The property can fail: a recipe that leaves the lock out is found."""

    class Forgetful(Declared):
        def recipe(self, stage: Stage) -> Recipe:
            return super().recipe(stage).model_copy(update={"lock": "any"})

    stage = Stage("stage0", env="made-up")
    world = World([stage], {"stage0": dict.fromkeys((*DECIDING, *WORDS), 0)})
    bench = Forgetful(world)
    for video in VIDEOS:
        arrive(bench, world, video)
    for place in VIDEOS:
        bench.publish(stage, place, Outcome("good", 1))
        world.take(stage, place, Outcome("good", 1))
    agree(world, bench)
    world.knobs["stage0"]["lock"] = 1
    assert (bench.state(stage, "kitchen").condition, world.condition(stage, "kitchen")) == ("fresh", "stale")


ABOVE = Stage("above", env="made-up")
MIDDLE = Stage("middle", env="made-up", inputs=("above",))
LOW = Stage("low", env="made-up", inputs=("middle",))
EXTRA = Stage("extra", env="made-up", inputs=("above",), optional=("middle",))


def put(world: World, bench: Declared, stage: Stage, outcome: Outcome) -> None:
    for video in VIDEOS:
        bench.publish(stage, video, outcome)
        world.take(stage, video, outcome)


def states_of(world: World, bench: Declared) -> dict[str, tuple[bool, str]]:
    steps = plan(bench, world.stages, VIDEOS[:1]).steps
    return {step.asset: (step.certain, step.why) for step in steps}


def test_what_was_never_made_is_certain_behind_what_is_stale() -> None:
    world, bench = start([ABOVE, MIDDLE, LOW])
    put(world, bench, ABOVE, Outcome("good", 1))
    world.knobs["above"]["params"] = 1
    assert states_of(world, bench) == {
        "above": (True, "parameters changed: it 0 → 1"),
        "middle": (True, "never made"),
        "low": (True, "never made"),
    }


def test_what_waits_for_a_quarantined_input_is_possible_only() -> None:
    world, bench = start([ABOVE, MIDDLE, LOW])
    put(world, bench, ABOVE, Outcome("good", 1))
    put(world, bench, MIDDLE, Outcome("quarantined", 1))
    assert states_of(world, bench) == {}, "the same input would give the same quarantine"
    world.knobs["above"]["lock"] = 1
    world.knobs["above"]["packages"] = 1
    behind = "behind above: lock of 0 changed: it 0 → 1"
    assert states_of(world, bench)["middle"] == states_of(world, bench)["low"] == (False, behind)


def test_an_input_that_was_not_there_before_is_a_reason() -> None:
    world, bench = start([ABOVE, MIDDLE, EXTRA])
    put(world, bench, ABOVE, Outcome("good", 1))
    put(world, bench, EXTRA, Outcome("good", 1))
    assert states_of(world, bench) == {"middle": (True, "never made"), "extra": (True, "input middle is new")}


def test_reasons_of_the_root_are_reported_far_behind_it_and_grouped() -> None:
    world, bench = start([ABOVE, MIDDLE, EXTRA, LOW])
    for stage in world.stages:
        put(world, bench, stage, Outcome("good", 1))
    world.knobs["above"]["runner"] = world.knobs["middle"]["runner"] = 1
    assert states_of(world, bench)["low"] == (False, "behind middle: runner source of 0 changed")
    assert states_of(world, bench)["extra"] == (False, "behind above, middle: runner source of 0 changed")
