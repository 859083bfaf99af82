"""One run of the real models over the small sample, for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from egoworld_resources.environments.building.builder import EnvBuilder
from tests.accuracy.sample_flow import SampleFlow, run_samples


@pytest.fixture(scope="session")
def flow(
    small_sample: Path, builder: EnvBuilder, uv: Path, uv_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> SampleFlow:
    """The small sample through every stage that something is measured of."""
    home = tmp_path_factory.mktemp("accuracy")
    return run_samples(home, builder.root, [small_sample], uv=uv, uv_cache=uv_cache)
