"""What a plan comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from egoworld_assets.orchestration.registry import stages
from egoworld_assets.planning.plan import Failures, Plan, Step, plan
from egoworld_resources.making.workbench import Workbench


@dataclass(frozen=True)
class Total:
    """What some steps and their model loads cost. unknown: steps without a known price, left out of the sums."""

    steps: int
    certain: int
    seconds_certain: float
    seconds: float
    gpu_seconds: float
    load_seconds: float | None
    unknown: int


def planned(bench: Workbench, videos: Sequence[str] | None, retried: Failures = ()) -> Plan:
    """The plan of a refresh of some videos, or of all, by the stages that there are."""
    return plan(bench, list(stages().values()), videos, retried)


def total(found: Plan, steps: Sequence[Step]) -> Total:
    """The sum over some steps of a plan, one model load a stage included."""
    priced = [step for step in steps if step.seconds is not None]
    assets, certain = {step.asset for step in steps}, {step.asset for step in steps if step.certain}
    loads = {asset: found.costs[asset].load for asset in assets}
    known = {asset: load for asset, load in loads.items() if load is not None}
    on_gpu = sum(load for asset, load in known.items() if found.costs[asset].gpu)
    return Total(
        steps=len(steps),
        certain=sum(step.certain for step in steps),
        seconds_certain=sum(s.seconds or 0.0 for s in priced if s.certain) + sum(known.get(a, 0.0) for a in certain),
        seconds=sum(step.seconds or 0.0 for step in priced) + sum(known.values()),
        gpu_seconds=sum(step.gpu_seconds or 0.0 for step in steps) + on_gpu,
        load_seconds=sum(known.values()) if known else None,
        unknown=len(steps) - len(priced),
    )


def totals(found: Plan) -> dict[str, Total]:
    """The sum of each stage that has a step."""
    return {asset: total(found, [step for step in found.steps if step.asset == asset]) for asset in found.costs}


def seconds(value: float | None) -> str:
    """Seconds as people read them."""
    return "unknown" if value is None else f"{value:,.1f}"
