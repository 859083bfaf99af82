"""What a refresh would make, why, and what it will cost, before anything runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from egoworld_assets.planning.cost import Cost, cost_of, frames_expected, frames_per_byte
from egoworld_resources.artifacts.made import Artifact
from egoworld_resources.artifacts.manifest import Recipe
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.artifacts.staleness import fingerprint, input_reasons, recipe_reasons
from egoworld_resources.errors import EgoworldError
from egoworld_resources.making.views import Group, View, view_of
from egoworld_resources.making.workbench import Condition, State, Workbench

WANTS_WORK = ("missing", "stale")
MADE = ("fresh", "quarantined")


@dataclass(frozen=True)
class Step:
    """One asset of one video that a refresh makes.

    certain: it is made whatever the steps before it give, as long as they succeed. Otherwise it is possible: whether
    it is made depends on what they give. state: how it stands now. roots: why, by the asset where the reason lies.
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
        """The reasons in words: its own, or those of the assets that it lies behind."""
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


Failures = Collection[tuple[str, str]]
"""(stage, video) of what failed and is asked for again."""


def plan(
    bench: Workbench, stages: Sequence[Stage], videos: Sequence[str] | None = None, retried: Failures = ()
) -> Plan:
    """What a refresh of some videos makes, or of all. What failed under this recipe and these inputs is a step of it
    only when it is in ``retried``.
    """
    return plan_of(bench, stages, view_of(bench, stages, videos), retried)


def plan_of(bench: Workbench, stages: Sequence[Stage], view: View, retried: Failures = ()) -> Plan:
    """The same, of videos that are looked at already."""
    faults: dict[str, None] = {}
    alike: list[tuple[Group, list[Step]]] = []
    for group in view.groups(dict.fromkeys(retried, "retried")):
        steps = steps_of(view, stages, group.example, faults, retried)
        if steps:
            alike.append((group, steps))
    wanted = {step.asset for _, steps in alike for step in steps}
    costs = {stage.name: cost_of(bench, stage, view) for stage in stages if stage.name in wanted}
    per_byte = frames_per_byte(view) if alike else None
    order = sorted(((video, steps) for group, steps in alike for video in group.videos), key=lambda pair: pair[0])
    frames = frames_expected(view, [video for video, _ in order], per_byte)
    priced_steps = (priced(step, video, costs[step.asset], frames[video]) for video, steps in order for step in steps)
    return Plan(list(priced_steps), costs, list(faults))


def priced(step: Step, video: str, cost: Cost, frames: float | None) -> Step:
    """The step of a video like another one's, with what it costs on a number of frames."""
    seconds = None if cost.per_frame is None or frames is None else cost.per_frame * frames
    on_gpu = seconds if cost.gpu else 0.0
    return Step(video, step.asset, step.state, step.certain, step.roots, seconds, on_gpu)


def steps_of(view: View, stages: Iterable[Stage], video: str, faults: dict[str, None], retried: Failures) -> list[Step]:
    """The steps of one video; an asset that cannot be judged goes into ``faults``."""
    steps: dict[str, Step] = {}
    for stage in stages:
        try:
            step = step_of(view, stage, video, steps, retried)
        except EgoworldError as error:
            faults[f"{stage.name}: {error}"] = None
            continue
        if step:
            steps[stage.name] = step
    return list(steps.values())


def step_of(view: View, stage: Stage, video: str, steps: Mapping[str, Step], retried: Failures) -> Step | None:
    """What becomes of an asset when the steps before it are taken; None when it stays as it is."""
    state = view.state(stage, video)
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
    own = direct_reasons(state, view.recipe(stage), before)
    failed_once = view.recorded("failures", f"{stage.name}/{video}") is not None
    certain = bool(own) and not failed_once and all(before[asset].certain for asset in lacking)
    behind = {asset: reason for step in before.values() for asset, reason in step.roots.items()}
    return Step(video, stage.name, state.condition, certain, {stage.name: "; ".join(own)} if certain else behind)


def direct_reasons(state: State[Artifact], recipe: Recipe, before: Mapping[str, Step]) -> list[str]:
    """Why an asset is made whatever contents the steps before it give; empty when it depends on them."""
    made = state.manifest
    if made is None:
        return ["never made"]
    old, new = ({n: v for n, v in inputs.items() if n not in before} for inputs in (made.inputs, state.inputs))
    found = [*recipe_reasons(made.recipe, recipe), *input_reasons(old, new)]
    if not found and fingerprint(recipe, made.inputs) != made.fingerprint:
        found = ["made by another recipe"]
    return found + [f"input {name} is new" for name in before if input_appears(name, made, state, before[name])]


def input_appears(name: str, made: Artifact, state: State[Artifact], step: Step) -> bool:
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
