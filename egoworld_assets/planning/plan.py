"""What a refresh would make, why, and what it will cost, before anything runs."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from egoworld_assets.planning.cost import Cost, cost_of, frames_expected, frames_per_byte
from egoworld_resources.artifacts.manifest import Manifest, Recipe
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.artifacts.staleness import fingerprint, reasons
from egoworld_resources.errors import EgoworldError
from egoworld_resources.making.workbench import Condition, State, Workbench

WANTS_WORK = ("missing", "stale")
MADE = ("fresh", "quarantined")


@dataclass(frozen=True)
class Step:
    """One asset of one video that a refresh makes.

    certain: it is made whatever the steps before it give, as long as they succeed. Otherwise it is possible: whether
    it is made depends on what they yield. state: its state now. roots: the reasons, by the asset that has them.
    seconds, gpu_seconds: by past runs; None where nothing was measured.
    """

    video: str
    asset: str
    state: Condition
    certain: bool
    roots: Mapping[str, str]
    seconds: float | None = None
    gpu_seconds: float | None = None

    @property
    def why(self) -> str:
        """The reasons in words: its own, or those of the assets that it depends on."""
        if self.asset in self.roots:
            return self.roots[self.asset]
        assets: dict[str, list[str]] = {}
        for asset, reason in self.roots.items():
            assets.setdefault(reason, []).append(asset)
        return "; ".join(f"behind {', '.join(names)}: {reason}" for reason, names in assets.items())


@dataclass(frozen=True)
class Plan:
    """The steps of a refresh, video by video, inputs first; what a stage costs; what could not be judged, and why."""

    steps: list[Step] = field(default_factory=list[Step])
    costs: Mapping[str, Cost] = field(default_factory=dict[str, Cost])
    faults: list[str] = field(default_factory=list[str])

    @property
    def videos(self) -> list[str]:
        """Videos that have a step."""
        return list(dict.fromkeys(step.video for step in self.steps))


Failures = Container[tuple[str, str]]
"""(stage, video) of what failed and is to be tried again."""


def plan(bench: Workbench, stages: Sequence[Stage], videos: Iterable[str], retried: Failures = ()) -> Plan:
    """What a refresh of some videos makes. What failed under this recipe and these inputs is a step of it only when it
    is in ``retried``.
    """
    faults: dict[str, None] = {}
    steps = [step for video in videos for step in steps_of(bench, stages, video, faults, retried)]
    wanted = {step.asset for step in steps}
    costs = {stage.name: cost_of(bench, stage) for stage in stages if stage.name in wanted}
    per_byte = frames_per_byte(bench) if steps else None
    frames = {video: frames_expected(bench, video, per_byte) for video in {step.video for step in steps}}
    return Plan([priced(step, costs[step.asset], frames[step.video]) for step in steps], costs, list(faults))


def priced(step: Step, cost: Cost, frames: float | None) -> Step:
    """A step with its cost on a video with that number of frames."""
    seconds = None if cost.per_frame is None or frames is None else cost.per_frame * frames
    return replace(step, seconds=seconds, gpu_seconds=seconds if cost.gpu else 0.0)


def steps_of(
    bench: Workbench, stages: Iterable[Stage], video: str, faults: dict[str, None], retried: Failures
) -> list[Step]:
    """The steps of one video; an asset that cannot be judged goes into ``faults``."""
    steps: dict[str, Step] = {}
    for stage in stages:
        try:
            step = step_of(bench, stage, video, steps, retried)
        except EgoworldError as error:
            faults[f"{stage.name}: {error}"] = None
            continue
        if step:
            steps[stage.name] = step
    return list(steps.values())


def step_of(bench: Workbench, stage: Stage, video: str, steps: Mapping[str, Step], retried: Failures) -> Step | None:
    """What becomes of an asset when the steps before it are taken; None when it stays as it is."""
    state = bench.state(stage, video)
    before = {asset: steps[asset] for asset in (*stage.inputs, *stage.optional) if asset in steps}
    if not before:
        if state.condition == "failed" and (stage.name, video) in retried:
            why = f"failed: {state.why}"
            return Step(video, stage.name, state.condition, certain=True, roots={stage.name: why})
        if state.condition not in WANTS_WORK:
            return None
        return Step(video, stage.name, state.condition, certain=True, roots={stage.name: state.why})
    lacking = [asset for asset in stage.inputs if state.inputs[asset] is None]
    if any(asset not in before for asset in lacking):
        return None
    own = direct_reasons(state, bench.recipe(stage), before)
    failed_once = bench.store.recorded("failures", f"{stage.name}/{video}") is not None
    certain = bool(own) and not failed_once and all(before[asset].certain for asset in lacking)
    behind = {asset: reason for step in before.values() for asset, reason in step.roots.items()}
    return Step(video, stage.name, state.condition, certain, {stage.name: "; ".join(own)} if certain else behind)


def direct_reasons(state: State, recipe: Recipe, before: Mapping[str, Step]) -> list[str]:
    """Why an asset is made whatever contents the steps before it give; empty when it depends on them."""
    made = state.manifest
    if made is None:
        return ["never made"]
    rest = {name: version for name, version in state.inputs.items() if name not in before}
    found = reasons(without_pending_inputs(made, before), recipe, rest)
    if not found and fingerprint(recipe, made.inputs) != made.fingerprint:
        found = ["made by another recipe"]
    return found + [f"input {name} is new" for name in before if input_appears(name, made, state, before[name])]


def without_pending_inputs(made: Manifest, before: Mapping[str, Step]) -> Manifest:
    """A manifest without the inputs that a step before makes again: their contents are not known yet."""
    return made.model_copy(update={"inputs": {n: v for n, v in made.inputs.items() if n not in before}})


def input_appears(name: str, made: Manifest, state: State, step: Step) -> bool:
    """Whether an input that an artifact was made without is there once its step is taken."""
    return made.inputs.get(name) is None and (step.certain or state.inputs[name] is not None)


def within(plan: Plan, hours: float) -> list[str]:
    """Videos that fit into some hours one after the other, each whole, with every possible step and one model load a
    stage. A video that does not fit, or whose cost is not known, is left and the next one tried.
    """
    left = hours * 3600
    loaded: set[str] = set()
    fitting: list[str] = []
    for video, steps in by_video(plan).items():
        stages = {step.asset for step in steps} - loaded
        known = [step.seconds for step in steps if step.seconds is not None]
        cost = sum(known) + sum(plan.costs[stage].load or 0.0 for stage in stages)
        if hours > 0 and len(known) == len(steps) and cost <= left:
            left -= cost
            loaded |= stages
            fitting.append(video)
    return fitting


def by_video(plan: Plan) -> dict[str, list[Step]]:
    """The steps of each video."""
    found: dict[str, list[Step]] = {}
    for step in plan.steps:
        found.setdefault(step.video, []).append(step)
    return found
