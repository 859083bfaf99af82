"""The cheap benchmarks in tiny sizes: they run, they say what they should, and what does not depend on time holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import PROJECT
from tests import headline
from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks import batches, frames, made_store, status
from tests.benchmarks.measure import HEADER, Measure, table
from tests.benchmarks.place import Place, settings


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "root").mkdir()
    return Place(tmp_path / "root", tmp_path, quick=True)


def test_frames_of_both_sides_are_counted(place: Place) -> None:
    measures = list(frames.run(place))
    assert {measure.letter for measure in measures} == {"b"}
    assert "20 frames" in measures[0].what
    assert measures[0].ratio is not None


def test_batches_are_made_in_full(place: Place) -> None:
    bench = Workbench(settings(place.home("idle"), extra_envs=(batches.idle_env(place.root / "more" / "envs"),)))
    keys = batches.arrived(place, bench, 3)
    with pytest.raises(RuntimeError, match="idle was not made: videos has not been made"):
        batches.cost(bench, batches.IDLE, keys)
    assert len(set(keys)) == 3


def test_the_made_up_store_holds_what_status_knows(place: Place) -> None:
    measures = list(status.run(place))
    assert [measure.letter for measure in measures] == ["g"] * (9 + len(status.OF_ONE))
    assert [m.what for m in measures if m.at_most] == [
        f"ms per video at 20, {name}" for name in ("egoworld status --json", "egoworld status", "egoworld stale")
    ]


def test_made_up_videos_are_in_every_state(place: Place) -> None:
    bench = Workbench(settings(place.home("made")))
    for number in range(6):
        made_store.add_video(bench, number)
    found = {
        number: {
            name: bench.state(stage, f"made-{number:05d}").condition for name, stage in made_store.stages().items()
        }
        for number in range(6)
    }
    assert set(found[0].values()) == {"fresh"}
    assert found[1]["videos"] == "missing"
    assert found[2]["tracks"] == "failed"
    assert found[3]["previews"] == "stale"
    assert found[4]["masks"] == "quarantined"
    assert found[4]["tracks"] == "blocked"


def broken(_place: Place) -> Iterator[Measure]:
    yield Measure("e", "first", 1.0, 2.0, at_most=1.0)
    raise RuntimeError("the disk is\nfull")


def test_one_that_cannot_run_says_why(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "run", broken)
    first, second = benchmarks.measured(place, ["e"])
    assert (first.ratio, first.met) == (0.5, True)
    assert second.absent == "RuntimeError: the disk is full"
    assert "not run: RuntimeError: the disk is full" in second.markdown()


def test_a_goal_is_met_or_not() -> None:
    assert Measure("a", "x", 1.1, 1.0, at_most=1.1).met
    assert not Measure("a", "x", 1.2, 1.0, at_most=1.1).met
    assert not Measure("b", "x", 0.9, 1.0, at_least=0.95).met
    assert Measure("b", "x", 0.9, 1.0).met is None
    assert Measure("g", "x", 0.9).ratio is None
    assert "**no**" in Measure("a", "x", 1.2, 1.0, at_most=1.1).markdown()


def test_the_table_goes_between_the_marks_of_the_page(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# before\n{benchmarks.BEGIN}old\n{benchmarks.END}\nafter\n", encoding="utf-8")
    flow = [Measure("a", "flow", 2.0, 1.0, "s", "script"), Measure("c", "env", 2.0, 1.0)]
    benchmarks.into_page(readme, flow, benchmarks.one_run({"cpu": "2 cores"}, None))
    lines = readme.read_text(encoding="utf-8").splitlines()
    assert (lines[0], lines[-1]) == ("# before", "after")
    assert HEADER.splitlines()[0] in lines
    assert "old" not in lines
    assert "- a, c: run of `make bench` on cpu: 2 cores." in lines
    benchmarks.into_page(readme, [Measure("b", "frames", 5.0, 1.0), Measure("c", "env", 3.0, 1.0)], "run of `b c`.")
    again = readme.read_text(encoding="utf-8").splitlines()
    rows = [line for line in again if line.startswith(("| a", "| b", "| c"))]
    assert rows == [m.markdown() for m in (flow[0], Measure("b", "frames", 5.0, 1.0), Measure("c", "env", 3.0, 1.0))]
    assert [line for line in again if line.startswith("- ")] == [
        "- a: run of `make bench` on cpu: 2 cores.",
        "- b, c: run of `b c`.",
    ]
    none = tmp_path / "none.md"
    none.write_text("x")
    with pytest.raises(SystemExit, match="lacks the lines"):
        benchmarks.into_page(none, flow, "run of `a`.")


def test_the_page_has_the_marks() -> None:
    page = (PROJECT / headline.SPEED).read_text(encoding="utf-8")
    assert page.count(benchmarks.BEGIN) == page.count(benchmarks.END) == 1


def test_every_letter_has_a_module_and_measures_go_to_programs(tmp_path: Path) -> None:
    for module in benchmarks.LETTERS.values():
        assert (Path(benchmarks.__file__).parent / f"{module}.py").is_file()
    with pytest.raises(SystemExit):
        benchmarks.main(["z"])
    data = json.loads(json.dumps(Measure("a", "x", 3.0, 2.0, at_most=2).as_data()))
    assert (data["ratio"], data["met"]) == (1.5, True)
    assert table([Measure("a", "x", 3.0, 2.0).markdown()]).count("\n") == HEADER.count("\n") + 1
