"""What the index says of how videos stand, beside what the manifests say, after any changes: no difference."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from egoworld_assets.planning.plan import plan_of
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.making.overview import by_index
from egoworld_resources.making.views import OneByOne
from egoworld_resources.store.index import Index
from tests.unit.assets.planning.test_staleness import CHANGES, VIDEOS, Change, apply, graphs, start


@settings(deadline=None, max_examples=25)
@given(graphs(), st.lists(CHANGES, max_size=24))
def test_the_index_says_the_same_as_the_manifests(stages: list[Stage], changes: list[Change]) -> None:
    with TemporaryDirectory() as folder:
        world, bench = start(stages, Index(Path(folder, "index.sqlite")))
        for change in changes:
            apply(world, bench, change)
        view, manifests = by_index(bench, bench.store, stages, None), OneByOne(bench, sorted(VIDEOS))
        assert view is not None
        for stage in stages:
            for video in VIDEOS:
                indexed, by_manifest = view.state(stage, video), bench.state(stage, video)
                assert (indexed.condition, indexed.why) == (by_manifest.condition, by_manifest.why)
                assert indexed.inputs == by_manifest.inputs
                assert indexed.condition == world.condition(stage, video)
        alike = [group.videos for group in view.groups()]
        assert sorted(video for group in alike for video in group) == sorted(VIDEOS)
        for group in (group for group in alike if len(group) > 1):
            told = [[(bench.state(s, v).condition, bench.state(s, v).why) for s in stages] for v in group]
            assert told[0] == told[1]
        assert plan_of(bench, stages, view) == plan_of(bench, stages, manifests)
