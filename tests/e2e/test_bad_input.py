"""Whatever arrives ends in a clear state with a reason, stops and hangs nothing, and writes only into the store."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from egoworld_assets.automation import inbox_sensor
from egoworld_assets.cli import status
from egoworld_assets.clips import STAGE as CLIPS
from egoworld_assets.definitions import resources
from egoworld_assets.orchestration.batches import RANGE
from egoworld_assets.orchestration.registry import stages
from egoworld_assets.orchestration.stage_assets import stage_assets
from egoworld_assets.videos import STAGE as VIDEOS
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.inbox.arrivals import Arrivals
from egoworld_resources.layout import readable
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings
from tests import bad_videos, made_up
from tests.bad_videos import Bad
from tests.sensors import take_in

videos, clips = "videos", "clips"
ASSETS = [stage_assets([stages()[videos], stages()[clips]])]

CAPABILITIES = (1, 2)
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: without them root, too, needs permission to read."""


def without_capabilities() -> None:
    for capability in CAPABILITIES:
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP, prctl(2)


def egoworld(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, as the user who runs the tests but bound by file permissions."""
    return subprocess.run(
        [sys.executable, "-m", "egoworld_assets.cli", *arguments],
        env={**os.environ, "EGOWORLD_HOME": str(home), "COLUMNS": "400"},
        cwd=home,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=100,
        check=False,
        preexec_fn=without_capabilities,
    )


def state_of(bench: Workbench, video: str, stage: Stage) -> tuple[str, str]:
    """State and reason as `egoworld status` gives them."""
    (entry,) = status.status_of(bench, [stage], video)
    return entry["state"], entry["why"]


def listing(folder: Path) -> dict[str, int]:
    """Every entry below a folder with its size."""
    return {str(p): p.lstat().st_size for p in folder.rglob("*")}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as opened:
        yield opened


def tick(bench: Workbench, instance: dg.DagsterInstance, cursor: str | None = None) -> tuple[list[str], str | None]:
    """One look of the inbox sensor: the videos that it wants run, and its new cursor."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"bench": bench})
    result = inbox_sensor.inbox(context)
    assert isinstance(result, dg.SensorResult)
    return take_in(instance, result), result.cursor


def run(bench: Workbench, instance: dg.DagsterInstance, asset: str, keys: list[str]) -> None:
    dg.materialize(
        ASSETS,
        selection=[asset],
        instance=instance,
        resources=resources(bench),
        tags=dict(zip(RANGE, (keys[0], keys[-1]), strict=True)),
        raise_on_error=False,
    )


@pytest.fixture
def growing() -> Iterator[Callable[[Path], None]]:
    """Keeps a file growing until the test ends."""
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def grow(path: Path) -> None:
        while not stop.wait(0.01):
            with path.open("ab") as file:
                file.write(b"x" * 1000)

    def start(path: Path) -> None:
        path.touch()
        threads.append(threading.Thread(target=grow, args=(path,)))
        threads[0].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join()


def no_files(inbox: Path, outside: Path) -> dict[str, tuple[str, str]]:
    """Entries that are no regular files at rest, with the state and reason that each must get."""
    (inbox / "link.mp4").symlink_to(bad_videos.good(outside / "secret.mp4"))
    (inbox / "folder link").symlink_to(outside)
    os.mkfifo(inbox / "fifo.mp4")
    (inbox / "folder.mp4").mkdir()
    (inbox / "upload.mp4.part").write_bytes(b"half")
    return {
        "link.mp4": ("refused", "symbolic link"),
        "folder link": ("refused", "symbolic link"),
        "fifo.mp4": ("refused", "not a regular file"),
        "folder.mp4": ("refused", "a folder with the name of a video"),
        "upload.mp4.part": ("waiting", "unfinished transfer"),
        "growing.mp4": ("waiting", "once it rests"),
    }


def test_a_batch_of_everything_through_the_inbox(
    tmp_path: Path, instance: dg.DagsterInstance, growing: Callable[[Path], None]
) -> None:
    bench = made_up.workbench(tmp_path, settle_s=1.5)
    home, inbox, outside = bench.settings.home, bench.settings.inbox_folder, tmp_path / "outside"
    inbox.mkdir(parents=True)
    outside.mkdir()
    good = [
        Bad(name, bad_videos.good if name.endswith("4") else bad_videos.encoded, "fresh") for name in bad_videos.GOOD
    ]
    made = bad_videos.write_all(inbox, [*good, *bad_videos.contents(), *bad_videos.names()])
    copy = inbox / "copy of good.mp4"
    copy.write_bytes((inbox / "good.mp4").read_bytes())
    special = no_files(inbox, outside)
    growing(inbox / "growing.mp4")
    nothing, cursor = tick(bench, instance)
    assert nothing == [], "a file is looked at twice"
    time.sleep(1.6)
    before = listing(outside) | {p: s for p, s in listing(inbox).items() if "growing" not in p}

    keys, _ = tick(bench, instance, cursor)
    ordered = instance.get_dynamic_partitions("videos")
    assert sorted(keys) == sorted(ordered)
    run(bench, instance, videos, ordered)
    run(bench, instance, clips, ordered)

    names = {facts["name"]: key for key, facts in bench.store.records("videos")}
    left_out = {entry["name"]: (entry["state"], entry["why"]) for entry in status.left_out(bench)}
    for file in made:
        shown = readable(file.name)
        state, why = left_out[shown] if file.state == "refused" else state_of(bench, names[shown], VIDEOS)
        assert (state, file.reason in why) == (file.state, True), (shown, state, why)
        assert state == "fresh" or shown in why, f"{shown}: the reason names the file: {why}"
        assert state != "fresh" or state_of(bench, names[shown], CLIPS) == ("fresh", "")
    assert [entry["name"] for entry in status.duplicates(bench)] == ["copy of good.mp4"]
    for name, (state, words) in special.items():
        assert (left_out[name][0], words in left_out[name][1]) == (state, True), (name, left_out[name])
    assert before == listing(outside) | {p: s for p, s in listing(inbox).items() if "growing" not in p}
    odd = ("[red].mp4", "x[/red].mp4", "escape \\x1b[31m.mp4", "not utf-8 \\xff\\xfe.mp4", "new\\nline.mp4")
    table = egoworld(home, "status", *(names[name] for name in odd))
    assert table.returncode == 0, table.stderr
    for name in odd:
        assert name in table.stdout
    assert egoworld(home, "status").returncode == 0


def test_the_demo_of_nothing_but_bad_files_says_why_for_each(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    wanted = ("zero.mp4", "nothing behind.mp4", "cut at 50.mp4", "cut at 50, index first.mp4", "huge.gif")
    made = [bad for bad in bad_videos.contents() if bad.name in wanted]
    made += [
        Bad(f"[/red] {os.fsdecode(bytes([255]))}.mp4".replace("/", "∕"), lambda p: p.write_text("x" * 99), "failed")
    ]
    bad_videos.write_all(tmp_path, made)
    locked = bad_videos.good(tmp_path / "locked.mp4")
    locked.chmod(0)
    (tmp_path / "link.mp4").symlink_to(locked)
    os.mkfifo(tmp_path / "fifo.mp4")
    (tmp_path / "folder.mp4").mkdir()
    others = [
        "locked.mp4",
        "link.mp4",
        "fifo.mp4",
        "folder.mp4",
        "missing.mp4",
        "l" * 300 + ".mp4",
        "../" * 40 + "x.mp4",
    ]
    before = {p: s for p, s in listing(tmp_path).items() if not p.startswith(str(home))}

    (home / "-dash.mp4").write_text("a name that is no option after --")

    status = egoworld(
        home, "demo", "--", "-dash.mp4", *(str(tmp_path / name) for name in [*(bad.name for bad in made), *others])
    )

    assert status.returncode == 1
    assert "Traceback" not in status.stdout + status.stderr, status.stdout + status.stderr
    for name in ["-dash.mp4", *(readable(bad.name) for bad in made), *others]:
        assert name in status.stdout, status.stdout
    for words in (
        "is empty",
        "chmod u+r",
        "symbolic link",
        "not a regular file",
        "no video at",
        "not a readable video",
    ):
        assert words in status.stdout, status.stdout
    bench = Workbench(Settings.load(home=home))
    states = {facts["name"]: state_of(bench, key, VIDEOS)[0] for key, facts in bench.store.records("videos")}
    assert states == {"-dash.mp4": "failed", **{readable(bad.name): "failed" for bad in made if bad.state == "failed"}}
    assert before == {p: s for p, s in listing(tmp_path).items() if not p.startswith(str(home))}


def test_refused_files_keep_no_other_waiting(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_sensor, "TAKEN_PER_TICK", 3)
    bench = made_up.workbench(tmp_path, settle_s=0.0)
    inbox = bench.settings.inbox_folder
    inbox.mkdir(parents=True)
    for number in range(7):
        (inbox / f"{number}.mp4").touch()
    made_up.video(inbox / "good.mp4")
    run_keys: list[str] = []
    cursor = None
    for _ in range(4):
        keys, cursor = tick(bench, instance, cursor)
        run_keys += keys
    assert [key.rpartition("-")[0] for key in dict.fromkeys(run_keys)] == ["good"]
    assert len(list(bench.store.records("refusals"))) == 7
    for number in range(7):
        (inbox / f"{number}.mp4").unlink()
    tick(bench, instance, cursor)
    assert list(bench.store.records("refusals")) == [], "a file that is gone is not refused any more"


def test_a_folder_that_is_moved_in_brings_its_old_files(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    bench = made_up.workbench(tmp_path, settle_s=0.0)
    inbox = bench.settings.inbox_folder
    inbox.mkdir(parents=True)
    (tmp_path / "day 1").mkdir()
    made_up.video(tmp_path / "day 1" / "old.mp4", shots=(9, 9))
    time.sleep(0.3)
    made_up.video(inbox / "new.mp4")
    time.sleep(0.3)
    _, cursor = tick(bench, instance)
    (tmp_path / "day 1").rename(inbox / "day 1")
    keys, _ = tick(bench, instance, cursor)
    assert "day-1-old" in {key.rpartition("-")[0] for key in keys}


@pytest.mark.parametrize("how", ["python", "native"])
def test_a_clip_that_wants_too_much_memory_costs_that_clip_only(tmp_path: Path, how: str) -> None:
    bench = made_up.workbench(tmp_path, params={"brightness": {"crash": how}}, memory_gb=2.0)
    runner = tmp_path / "more" / "envs" / "dimmer" / "runner.py"
    grab = '        self.kept = bytearray(4 << 30) if how == "python" else native()\n'
    native = (
        "\n\ndef native():\n    import ctypes\n"
        "    ctypes.memset(ctypes.CDLL(None).malloc(ctypes.c_size_t(4 << 30)), 0, 1)\n"
    )
    text = runner.read_text().replace("    def crash(self, how):\n", "    def crash(self, how):\n" + grab)
    runner.write_text(text + native)
    keys = [
        Arrivals(bench.store).take(made_up.video(tmp_path / f"{n}.mp4", shots=(14 + n, 14))).video for n in range(2)
    ]
    for stage in (VIDEOS, CLIPS):
        bench.make(stage, keys, "run")
    outcomes = bench.make(made_up.BRIGHTNESS, keys, "run")
    for outcome in outcomes:
        assert outcome.manifest is not None, outcome.why
        good, bad = outcome.manifest.clips
        assert (good.state, bad.state) == ("done", "failed")
        words = "not enough memory within 2 GB" if how == "python" else "killed by SIG"
        assert words in bad.reason
