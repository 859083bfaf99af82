"""All that is measured: the real models on the generated samples and on the real data beside the checkout."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.checkout import checkout_catalog, checkout_uv
from egoworld_resources.sample import SampleOptions
from tests.accuracy import cameras, cuts, hands_by_eye, hands_over_frames, moved_photograph, object_motion, retargeting
from tests.accuracy.figures import Figure, of_samples
from tests.accuracy.sample_flow import rendered, run_samples

SEEDS = (0, 23)
"""What was tuned was tuned on 0; nothing was tuned on 23."""
SAMPLE = "sample, seeds 0 and 23"
SHORT = SampleOptions(seed=5, seconds=6.0, width=480, height=270, fps=15)
"""The sample that CI runs through all stages: a quarter of the pixels and of the parallax, so larger errors."""
SHORT_SAMPLE = "short sample"
MORE = {
    "cameras that are hard to follow": cameras.measure,
    "cuts in real videos": cuts.measure,
    "hands in real pictures": hands_by_eye.measure,
    "hands over frames": hands_over_frames.measure,
    "moved photographs": moved_photograph.measure,
    "recorded objects": object_motion.measure,
    "recorded hands": retargeting.measure,
}


def measure(project: Path, home: Path, tell: Callable[[str], None]) -> list[Figure]:
    """Every figure of a checkout; takes minutes. home: where samples and their artifacts are kept between calls.

    Raises FileNotFoundError when the test data does not lie beside the checkout.
    """
    data = project.parent / "shared" / "data"
    if not data.is_dir():
        raise FileNotFoundError(f"no test data at {data}: the real videos and annotations lie beside the checkout")
    catalog, uv = checkout_catalog(project), checkout_uv(project)
    builder = EnvBuilder(project / "data" / "envs", catalog, uv.program, uv.cache)
    found: list[Figure] = []
    for name, options in {SAMPLE: [SampleOptions(seed=seed) for seed in SEEDS], SHORT_SAMPLE: [SHORT]}.items():
        tell(name)
        videos = [rendered(home / "samples", asked) for asked in options]
        flow = run_samples(home / name.split(",")[0], builder.root, videos, uv=uv.program, uv_cache=uv.cache)
        found += of_samples(name, flow.measure().values())
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        for number, (name, of) in enumerate(MORE.items()):
            tell(name)
            found += of(data, builder, catalog, Path(scratch, str(number)))
    return found
