"""Model runners that mean harm, through the one entry by which Dagster and people make artifacts."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from egoworld_assets.orchestration.registry import stages
from egoworld_resources.artifacts.manifest import ClipReport, Manifest
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.sandbox import capabilities
from egoworld_resources.settings import PROJECT
from tests.made_attacks import ATTACKS, FRAMES, STAGE, hostile_bench
from tests.made_up import video
from tests.waiting import wait_for

SECRET = "POSTGRES_PASSWORD=hunter2-and-nobody-else"
REFUSED = {
    "a_link_to_a_secret": "link.txt is a symbolic link",
    "a_folder_that_is_a_link": "folder is a symbolic link",
    "a_table_that_is_a_link": "extra.parquet is a symbolic link",
    "a_hardlink": "hard.txt is a hardlink",
    "a_fifo": "fifo is a FIFO",
    "a_device": "",
    "a_socket": "socket is a socket",
    "a_set_id_program": "",
    "a_name_with_a_line_break": r"two\nlines' is not a name",
    "a_name_with_a_dot_first": "..hidden' is not a name",
    "a_name_that_is_too_long": "is not a name",
    "folders_too_deep": "deeper than 8 folders",
    "our_own_manifest": "manifest.json is a name that egoworld writes itself",
    "a_hole": "hole is a hole: 4398046511104 bytes",
    "rows_of_another_clip": "attacks.parquet has rows of another clip",
    "a_table_of_other_columns": "attacks.parquet has other columns",
    "a_table_that_is_none": "attacks.parquet cannot be read",
    "a_report_that_is_a_link": "clip.json is a symbolic link",
    "a_report_that_is_deep": "clip.json cannot be read (RecursionError",
    "a_report_that_is_huge": "clip.json is larger than",
    "a_report_of_other_types": "state must be one of done, failed",
    "a_report_that_no_json_holds": "must be a whole number",
}


REACHED = (
    "the secret",
    "our environment",
    "home",
    "other files",
    "passwords",
    "the project",
    "processes",
    "a server of this machine",
    "a socket in the home",
    "the video",
    "an input",
    "the job",
    "the env",
    "the system",
    "an interpreter",
    "the store",
    "a host name",
    "rights",
    "root",
    "a new namespace",
    "looking into processes",
)


@dataclass(frozen=True)
class Made:
    """What came of a video each of whose clips was an attack."""

    manifest: Manifest
    folder: Path

    def clip(self, attack: str) -> ClipReport:
        return self.manifest.clips[ATTACKS.index(attack)]

    def files(self, attack: str) -> list[Path]:
        return [path for path in (self.folder / self.clip(attack).unit).rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """All attacks at once: the second half of what is shown is that each costs its own clip and no other."""
    folder = tmp_path_factory.mktemp("hostile")
    secret = folder / "server" / ".env"
    secret.parent.mkdir()
    secret.write_text(SECRET)
    secret.chmod(0o600)
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("SERVICE_TOKEN", SECRET)
    listening = socket.create_server(("127.0.0.1", 0))
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(folder / "server" / "socket"))
    unix.listen()
    places = {"home": str(Path.home()), "project": str(PROJECT), "socket": str(folder / "server" / "socket")}
    bench = hostile_bench(folder, secret, port=listening.getsockname()[1], **places)
    key = Arrivals(bench.store).take(video(folder / "a.mp4", shots=(FRAMES * len(ATTACKS),))).video
    for stage in (stages()["videos"], stages()["clips"], STAGE):
        (outcome,) = bench.make(stage, [key], "run")
        assert outcome.manifest is not None, outcome.why
    assert [span[1:] for span in bench.clips(bench.store.current("clips", key))] == [
        (start * FRAMES, (start + 1) * FRAMES) for start in range(len(ATTACKS))
    ]
    monkeypatch.undo()
    with listening, unix:
        yield Made(outcome.manifest, bench.store.folder(outcome.manifest))
    assert secret.read_text() == SECRET


@pytest.mark.parametrize("attack", REFUSED)
def test_what_is_no_file_of_its_own_costs_the_clip(made: Made, attack: str) -> None:
    """A runner leaves something other than its own files and rows in its output"""
    report = made.clip(attack)
    assert (report.state, made.files(attack)) == ("failed", [])
    assert REFUSED[attack] in report.reason
    assert SECRET not in report.reason


def test_no_other_clip_pays_for_it(made: Made) -> None:
    """Twenty hostile clips take an honest one along"""
    assert made.clip("honest").state == "done"
    assert [path.read_text() for path in made.files("honest")] == ["kept"]
    assert made.manifest.rows["attacks"] == sum(clip.state == "done" for clip in made.manifest.clips)


def test_the_secret_is_nowhere_in_the_artifact(made: Made) -> None:
    """A runner gets a file of ours published as its artifact"""
    for path in made.folder.rglob("*"):
        assert not path.is_symlink()
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()
    assert SECRET not in made.manifest.model_dump_json()


def test_events_that_are_none_are_passed_over(made: Made) -> None:
    """A runner floods the event stream with huge lines, deep JSON, wrong types and clips nobody asked for"""
    assert made.clip("a_flood_of_events_that_are_none").state == "done"


@pytest.mark.parametrize("place", REACHED)
def test_what_it_reaches(made: Made, place: str) -> None:
    """A runner reads, writes, calls or becomes something that its job does not name"""
    if "mount" not in made.manifest.isolation:
        pytest.skip("this kernel grants no mounts; doctor and the manifest say so")
    assert made.clip("a_look_around").notes[place] == ""


def test_the_manifest_says_what_kept_it_apart(made: Made) -> None:
    """An artifact does not say by which means its runner was kept apart"""
    allowed = set(capabilities().allowed)
    assert set(made.manifest.isolation) - {"user", "uid"} == allowed - {"user", "uid"}


def test_a_swap_loses(made: Made) -> None:
    """A child swaps a file for a link to a secret while the output is taken"""
    report = made.clip("a_swap_that_goes_on")
    texts = [path.read_text() for path in made.files("a_swap_that_goes_on")]
    assert (report.state, texts) in (("done", ["plain"]), ("failed", []))


def test_no_process_is_left(made: Made) -> None:
    """A runner leaves a child in a session of its own"""
    wait_for(lambda: not any(is_left(process) for process in psutil.process_iter(["cmdline"])))


def is_left(process: psutil.Process) -> bool:
    words = process.info["cmdline"] or []
    return "left-by-the-hostile-runner" in words and process.pid != os.getpid()
