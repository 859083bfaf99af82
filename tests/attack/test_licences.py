"""Attacks on licences: every way to get data into a commercial export that may not be there."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from egoworld_assets.automation.dataset_asset import dataset
from egoworld_assets.cli.app import app
from egoworld_assets.orchestration.registry import stages
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings
from tests.made_graph import Installation
from tests.made_up import video


class Site(Installation):
    """Two videos with everything made and merged; the env of the hands declares weights."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.pyproject = self.runner.parent / "pyproject.toml"
        self.declared = self.pyproject.read_text(encoding="utf-8")
        self.configured = Path(self.config).read_text(encoding="utf-8")
        bench = self.bench()
        for name in ("alice/kitchen.mp4", "bob/garage.mp4"):
            path = video(folder / Path(name).name, shots=(9, 9) if "bob" in name else (12, 12))
            Arrivals(bench.store).take(path, name)
        self.videos = bench.store.keys("videos")
        for stage in stages().values():
            assert all(outcome.manifest for outcome in bench.make(stage, self.videos, "run"))
        self.merge()

    def bench(self) -> Workbench:
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("EGOWORLD_CONFIG", self.config)
            return Workbench(Settings.load())

    def merge(self) -> None:
        """Dagster's own asset, as the job of a refresh runs it."""
        assert dg.materialize([dataset], resources={"bench": self.bench()}, selection=[dataset]).success

    def reset(self) -> None:
        """As it was: nothing stated, nothing corrected."""
        self.pyproject.write_text(self.declared, encoding="utf-8")
        Path(self.config).write_text(self.configured, encoding="utf-8")
        for key in self.videos:
            self.bench().store.record("rights", key, None)

    def declare(self, old: str, new: str) -> None:
        self.pyproject.write_text(self.pyproject.read_text().replace(old, new), encoding="utf-8")

    def configured_with(self, more: str) -> None:
        Path(self.config).write_text(f"{self.configured}\n{more}\n", encoding="utf-8")

    def states(self, licence: str = "CC-BY-4.0", key: int | None = None) -> None:
        for video_key in self.videos if key is None else [self.videos[key]]:
            self.ask("rights", video_key, "--licence", licence, "--source", "our own camera")

    def export(self, *more: str) -> tuple[int, str]:
        """Exit status and output of a commercial export to the folder ``out``; what is there goes first."""
        shutil.rmtree(self.folder / "out", ignore_errors=True)
        words = ["export", "--commercial", "--to", str(self.folder / "out"), *more]
        done = CliRunner().invoke(app, words, env={"EGOWORLD_CONFIG": self.config})
        partial = [path for path in self.folder.iterdir() if path.name.startswith(".out")]
        assert not partial, "nothing half-written stays"
        assert (self.folder / "out").exists() is (done.exit_code == 0)
        return done.exit_code, done.output

    def versions(self) -> dict[str, str]:
        """Bytes of every manifest."""
        store = self.folder / "data" / "store" / "artifacts"
        return {str(path): path.read_text() for path in sorted(store.glob("*/*/*/manifest.json"))}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("licences"))


@pytest.fixture
def site(made: Site) -> Iterator[Site]:
    made.reset()
    yield made
    made.reset()


def test_no_rights_stated(site: Site) -> None:
    """Export commercially videos of which nobody stated the rights."""
    status, message = site.export()
    assert status == 1
    assert all(f"{key}: rights of {key}: no licence, unclear" in message for key in site.videos)
    site.states()
    status, message = site.export()
    assert status == 0, message
    card = (site.folder / "out" / "README.md").read_text()
    assert card.startswith("---\nlicense: cc-by-4.0\n"), "CC0-1.0 is the licence of the code"
    assert "| CC-BY-4.0 | our own camera |" in card
    merged = (site.folder / "data/dataset/README.md").read_text()
    assert "NON-COMMERCIAL" in merged, "the merged dataset is older; the export is current"


def test_an_expression_with_a_commercial_half(site: Site) -> None:
    """A model under `CC-BY-NC-4.0 AND (MIT OR Apache-2.0)`."""
    site.states()
    before = site.versions()
    site.declare('licence = "CC0-1.0"', 'licence = "CC-BY-NC-4.0 AND (MIT OR Apache-2.0)"')
    status, message = site.export()
    assert (status, "CC-BY-NC-4.0 AND (MIT OR Apache-2.0), non-commercial (CC-BY-NC-4.0" in message) == (1, True)
    site.declare('"CC-BY-NC-4.0 AND (MIT OR Apache-2.0)"', '"CC-BY-NC-4.0 OR (MIT AND Apache-2.0)"')
    assert site.export()[0] == 0
    assert site.versions() == before


@pytest.mark.parametrize("licence", ["research only", "", "MIT License", "LicenseRef-MANO", "CC-BY-NC-4.0+", "MIT AND"])
def test_outputs_under_odd_words(site: Site, licence: str) -> None:
    """A model whose terms on outputs are free text, empty words or of a research family."""
    site.states()
    site.configured_with(f'[licences.corrections.quick]\noutputs = "{licence}"\nreason = "its LICENSE"')
    allowed = licence == ""
    assert (site.export()[0] == 0) is allowed, "without terms on outputs nothing forbids it; all else is not commercial"


def test_a_declaration_corrected_after_the_merge(site: Site) -> None:
    """A model is declared MIT, made and merged; then somebody reads its licence: CC-BY-NC-4.0."""
    site.states()
    site.merge()
    assert json.loads(site.ask("stale", "--json"))["dataset"] == []
    before = site.versions()
    site.declare('runner = "runner:Hands"', 'outputs = "CC-BY-NC-4.0"\nrunner = "runner:Hands"')
    assert site.export()[0] == 1, "before any merge"
    stale = json.loads(site.ask("stale", "--json"))
    assert stale["steps"] == [], "no artifact is stale"
    change = "outputs of hand_poses: not stated → CC-BY-NC-4.0 (non-commercial)"
    assert stale["dataset"] == [f"{key}: {change}" for key in site.videos]
    assert f"dataset stale: licence: {site.videos[0]}: {change}" in site.ask("stale")
    site.merge()
    card = (site.folder / "data/dataset/README.md").read_text()
    assert "NON-COMMERCIAL" in card
    assert "- hand_poses (outputs): none, today CC-BY-NC-4.0" in card, "what was declared then is said"
    assert json.loads(site.ask("stale", "--json"))["dataset"] == []
    assert site.versions() == before, "nothing was made again"


def test_rights_of_other_bytes(site: Site) -> None:
    """State the rights in a video, then put other bytes under its name."""
    site.states()
    store = site.bench().store
    key = site.videos[0]
    facts = store.recorded("videos", key)
    assert facts
    store.record("videos", key, {**facts, "sha256": "0" * 64})
    try:
        assert "was stated for other bytes" in site.ask("rights", key)
        assert json.loads(site.ask("rights", key, "--json"))[0]["terms"] == "unclear"
    finally:
        store.record("videos", key, facts)


def test_a_name_that_only_begins_like_a_prefix(site: Site) -> None:
    """Rights of the folder `ali` for the uploader `alice`, and of `alice` for `alice2`."""
    site.configured_with('[rights.prefixes]\nali.licence = "CC0-1.0"\n"bob/".licence = "CC-BY-4.0"')
    rights = {one["name"]: one for one in json.loads(site.ask("rights", "--json"))}
    assert (rights["alice/kitchen.mp4"]["licence"], rights["bob/garage.mp4"]["stated"]) == ("", "prefix bob/")
    status, message = site.export()
    assert (status, "rights of alice-kitchen" in message, "rights of bob" in message) == (1, True, False)


def test_narrowing_leaves_nothing_behind(site: Site) -> None:
    """Leave out what is not commercial, and look for it in what was handed out."""
    site.states(key=0)
    site.states("CC-BY-NC-4.0", key=1)
    status, message = site.export("--exclude-noncommercial")
    assert (status, f"left out: {site.videos[1]}" in message) == (0, True)
    out = site.folder / "out"
    assert not [p for p in out.rglob("*") if p.is_file() and site.videos[1].encode() in p.read_bytes()]
    assert len(list(out.rglob("*.mp4"))) == 1
    assert all(p.stat().st_nlink == 1 for p in out.rglob("*") if p.is_file()), "nobody's change reaches the store"
    site.states("CC-BY-NC-4.0", key=0)
    assert site.export("--exclude-noncommercial")[0] == 1, "nothing is left: refused, no empty dataset"


def test_words_that_make_a_forbidden_licence_allowed(site: Site) -> None:
    """Configure CC-BY-NC-4.0 as commercial."""
    site.states("CC-BY-NC-4.0")
    site.configured_with('[licences.terms."CC-BY-NC-4.0"]\ncommercial = true\nreason = "please"')
    status, message = site.export()
    assert (status, "forbids commercial use in any reading" in message) == (1, True)


def test_rows_of_a_table_that_are_half_right(site: Site) -> None:
    """A CSV file of rights of which one row is free text: nothing of it is recorded."""
    table = site.folder / "rights.csv"
    rows = "video,licence,source\nalice/kitchen.mp4,CC-BY-4.0,Anna\n"
    table.write_text(rows + "bob/garage.mp4,ours,\n")
    bench = site.bench()
    with pytest.raises(AssertionError, match=r"line 3 \(bob/garage.mp4\): 'ours' is not an SPDX expression"):
        site.make("rights", "--csv", str(table))
    assert list(bench.store.records("rights")) == []
    table.write_text(rows + "bob/garage.mp4,CC0-1.0,\n")
    site.ask("rights", "--csv", str(table))
    assert {record["licence"] for _, record in bench.store.records("rights")} == {"CC-BY-4.0", "CC0-1.0"}
    lineage = site.ask("lineage", f"{site.videos[0]}/episodes")
    assert re.search(r"rights CC-BY-4.0, commercial .*Anna, \w+, 20\d\d-", lineage)
