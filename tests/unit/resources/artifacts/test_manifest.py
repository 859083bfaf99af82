from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from egoworld_resources.artifacts.manifest import Manifest, Recipe, data_version, stored_files
from egoworld_resources.artifacts.staleness import fingerprint, reasons

RECIPE = Recipe(
    stage="masks",
    env="base",
    model="masks:GrabCutMasks",
    runner="r1",
    contract="c1",
    lock="l1",
    packages={"numpy": "1.26.3"},
    weights={},
    params={"width": 320},
    device="cpu",
    licence="Apache-2.0",
)
INPUTS = {"source": "s1", "clips": "d1", "object_poses": None}

CHANGES = {
    "env": ({"env": "sam2"}, "served by env sam2 instead of base"),
    "runner": ({"runner": "r2"}, "runner source of base changed"),
    "contract": ({"contract": "c2"}, "the runner contract changed"),
    "lock": ({"lock": "l2", "packages": {"numpy": "1.26.4"}}, "lock of base changed: numpy 1.26.3 → 1.26.4"),
    "weights": ({"weights": {"sam": "ab" * 32}}, "weights changed: sam none → abababababab"),
    "params": ({"params": {"width": 640}}, "parameters changed: width 320 → 640"),
    "files": ({"files": {"urdf": "cd" * 32}}, "files named by parameters changed: urdf none → cdcdcdcdcdcd"),
    "device": ({"device": "cuda"}, "device changed: cpu → cuda"),
}


def made(recipe: Recipe, inputs: dict[str, str | None]) -> Manifest:
    return Manifest(
        asset="masks",
        video="v",
        data_version="d",
        fingerprint=fingerprint(recipe, inputs),
        files=[],
        inputs=inputs,
        recipe=recipe,
        clips=[],
        checks=[],
        licences=[],
        source={},
        run_id="",
        host="",
        gpu=None,
        seconds=0,
        made_at="",
    )


def test_nothing_changed_means_no_reason() -> None:
    assert reasons(made(RECIPE, INPUTS), RECIPE, INPUTS) == []


@given(st.sampled_from(sorted(CHANGES)))
def test_each_change_is_seen_and_named(which: str) -> None:
    change, reason = CHANGES[which]
    changed = RECIPE.model_copy(update=change)
    assert fingerprint(changed, INPUTS) != fingerprint(RECIPE, INPUTS)
    assert reasons(made(RECIPE, INPUTS), changed, INPUTS) == [reason]


@given(
    st.dictionaries(st.sampled_from(["source", "clips", "hands"]), st.sampled_from(["a", "b", None])),
    st.dictionaries(st.sampled_from(["source", "clips", "hands"]), st.sampled_from(["a", "b", None])),
)
def test_inputs_decide_the_fingerprint_exactly_when_there_is_a_reason(
    old: dict[str, str | None], new: dict[str, str | None]
) -> None:
    same = fingerprint(RECIPE, old) == fingerprint(RECIPE, new)
    assert same == (reasons(made(RECIPE, old), RECIPE, new) == [])


def test_words_do_not_decide_the_fingerprint() -> None:
    renamed = RECIPE.model_copy(update={"label": "classical", "licence": "MIT", "packages": {"numpy": "9"}})
    assert fingerprint(renamed, INPUTS) == fingerprint(RECIPE, INPUTS)


def test_the_data_version_follows_contents_and_names_only(tmp_path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        (folder / "clip").mkdir(parents=True)
        (folder / "clip" / "points.ply").write_bytes(b"ply")
        (folder / "masks.parquet").write_bytes(b"rows")
    assert data_version(stored_files(first)) == data_version(stored_files(second))
    (second / "masks.parquet").rename(second / "other.parquet")
    assert data_version(stored_files(first)) != data_version(stored_files(second))
