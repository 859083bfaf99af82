"""Every stage with its real model gives the same bytes again, on one core too."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from egoworld_assets.orchestration.registry import stages
from egoworld_resources.making.reproduce import reproduce
from tests.accuracy.sample_flow import SampleFlow


@pytest.fixture
def one_core() -> Iterator[None]:
    """This process and what it starts may use one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.mark.env
@pytest.mark.usefixtures("one_core")
@pytest.mark.parametrize("asset", stages())
def test_the_same_bytes_come_out_on_one_core(flow: SampleFlow, asset: str) -> None:
    (video,) = flow.truths
    if flow.bench.store.current(asset, video) is None:
        flow.bench.make(stages()[asset], [video], "run")
    made = flow.bench.store.current(asset, video)
    assert made is not None
    assert made.recipe.device == "cpu"
    found = reproduce(flow.bench, made)
    assert found.differences == ()
    assert {told.partition(":")[0] for told in found.declared} == ({"recording.rrd"} if asset == "previews" else set())
