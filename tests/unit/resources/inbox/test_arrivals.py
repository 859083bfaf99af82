from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from egoworld_resources.inbox.arrivals import Arrival, Arrivals, Refused
from egoworld_resources.inbox.folder import FolderInbox, look
from egoworld_resources.store.folder import FolderStore

SETTLE_S = 3.0


@pytest.fixture
def arrivals(tmp_path: Path) -> Arrivals:
    return Arrivals(FolderStore(tmp_path / "store"))


def written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_a_file_is_copied_and_recorded(arrivals: Arrivals, tmp_path: Path) -> None:
    arrival = arrivals.take(written(tmp_path / "in" / "a.MP4", b"bytes"))
    facts = FolderStore(tmp_path / "store").recorded("videos", arrival.video)
    assert arrival.state == "new"
    assert facts is not None
    assert (tmp_path / "store" / "sources" / f"{facts['sha256']}.mp4").read_bytes() == b"bytes"


def test_the_same_bytes_again_change_nothing(arrivals: Arrivals, tmp_path: Path) -> None:
    file = written(tmp_path / "a.mp4", b"bytes")
    assert [arrivals.take(file).state for _ in range(3)] == ["new", "unchanged", "unchanged"]


def test_the_same_bytes_under_another_name_are_a_duplicate(arrivals: Arrivals, tmp_path: Path) -> None:
    first = arrivals.take(written(tmp_path / "a.mp4", b"bytes"))
    second = arrivals.take(written(tmp_path / "b.mp4", b"bytes"))
    assert (second.state, second.duplicate_of) == ("duplicate", first.video)


def test_of_equal_bytes_that_arrive_at_once_one_is_the_video(tmp_path: Path) -> None:
    names = [f"{number}.mp4" for number in range(8)]
    for name in names:
        written(tmp_path / name, b"equal bytes")
    for turn in range(10):
        store = FolderStore(tmp_path / f"store{turn}")
        with ThreadPoolExecutor(len(names)) as pool:
            begin = Barrier(len(names))

            def take(name: str, store: FolderStore = store, begin: Barrier = begin) -> Arrival:
                begin.wait()
                return Arrivals(store).take(tmp_path / name)

            found = list(pool.map(take, names))
        assert sorted(arrival.state for arrival in found) == [*["duplicate"] * 7, "new"]
        (winner,) = store.keys("videos")
        assert {arrival.duplicate_of or arrival.video for arrival in found} == {winner}


def test_new_bytes_under_an_old_name_replace_the_video(arrivals: Arrivals, tmp_path: Path) -> None:
    first = arrivals.take(written(tmp_path / "a.mp4", b"old"))
    second = arrivals.take(written(tmp_path / "a.mp4", b"new"))
    assert (second.state, second.video) == ("replaced", first.video)
    third = arrivals.take(written(tmp_path / "b.mp4", b"old"))
    assert third.state == "new", "bytes that no video has any more are free again"


@pytest.mark.parametrize("kind", ["folder", "link", "fifo", "empty", "missing"])
def test_what_is_no_video_file_is_refused_with_a_reason(arrivals: Arrivals, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing.mp4"
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(written(tmp_path / "secret", b"x"))
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "empty":
        path.touch()
    with pytest.raises(Refused, match=r"thing\.mp4"):
        arrivals.take(path)
    assert not list((tmp_path / "store" / "sources").glob(".incoming-*")), "nothing half-copied stays"


def test_only_regular_files_are_ready_oldest_first(tmp_path: Path) -> None:
    for name in ["b.mp4", "sub/a.mp4", ".hidden.mp4", "c.mp4.part", ".cache/x.mp4"]:
        written(tmp_path / name, b"x")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "b.mp4")
    os.mkfifo(tmp_path / "fifo.mp4")
    found = look(tmp_path)
    assert [f.name for f in found if f.state == "ready"] == ["b.mp4", "sub/a.mp4"]
    others = {f.name: (f.state, f.why) for f in found if f.state != "ready"}
    assert set(others) == {"c.mp4.part", "link.mp4", "fifo.mp4"}
    assert others["link.mp4"] == ("refused", "'link.mp4' is a symbolic link; put the file itself into the inbox")


class Clock:
    """A clock that goes on when a test says so; off: seconds that it is ahead of the files'."""

    def __init__(self, off: float) -> None:
        self.now = time.time() + off

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("off", [0.0, 7200.0, -7200.0])
def test_a_file_is_taken_when_two_looks_find_it_the_same(arrivals: Arrivals, tmp_path: Path, off: float) -> None:
    """Whatever the clock of the machine says that keeps it: ahead of ours, or behind."""
    folder, clock = tmp_path / "inbox", Clock(off)
    inbox = FolderInbox(folder, SETTLE_S, clock)
    video = b"\0\0\0\x18ftypisom" + bytes(16)
    cursor: str | None = None

    def tick(after_s: float) -> list[str]:
        nonlocal cursor
        clock.now += after_s
        looked = inbox.tick(arrivals, cursor, 100)
        cursor = looked.cursor
        return [arrival.name for arrival in looked.taken if not arrival.known]

    written(folder / "resting.mp4", video)
    growing = written(folder / "growing.mp4", video + b"1")
    assert tick(0.0) == []
    written(growing, video + b"12")
    assert tick(SETTLE_S) == ["resting.mp4"]
    written(growing, video + b"123")
    assert tick(SETTLE_S) == []
    assert tick(SETTLE_S / 2) == []
    written(folder / "day" / "later.mp4", video + b"later")
    assert tick(SETTLE_S / 2) == ["growing.mp4"]
    assert tick(SETTLE_S) == ["day/later.mp4"]
    assert tick(SETTLE_S) == []


def test_more_new_files_than_are_watched_at_a_time_are_all_taken(
    arrivals: Arrivals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("egoworld_resources.inbox.folder.WATCHED", 3)
    folder, clock = tmp_path / "inbox", Clock(0.0)
    inbox = FolderInbox(folder, SETTLE_S, clock)
    names = [f"{folder}/{number}.mp4" for folder in ("a", "b") for number in range(5)]
    for name in names:
        written(folder / name, b"\0\0\0\x18ftypisom" + name.encode())
    cursor: str | None = None
    taken: list[str] = []
    for _ in range(12):
        looked = inbox.tick(arrivals, cursor, 2)
        cursor, clock.now = looked.cursor, clock.now + SETTLE_S
        taken += [arrival.name for arrival in looked.taken if not arrival.known]
    assert sorted(taken) == names


def test_a_refusal_is_kept_until_the_file_is_good(arrivals: Arrivals, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    path = written(tmp_path / "a.mp4", b"")
    with pytest.raises(Refused):
        arrivals.take(path)
    assert [facts["reason"] for _, facts in store.records("refusals")] == ["'a.mp4' is empty (0 bytes); copy it again"]
    arrivals.take(written(path, b"bytes"))
    assert list(store.records("refusals")) == []


def test_a_file_that_was_taken_is_not_read_again(arrivals: Arrivals, tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4", b"bytes")
    taken = arrivals.take(path)
    facts = FolderStore(tmp_path / "store").recorded("videos", taken.video)
    assert facts is not None
    source = tmp_path / "store" / "sources" / f"{facts['sha256']}.mp4"
    source.unlink()
    assert arrivals.take(path).state == "unchanged"
    assert not source.exists()


def test_equal_names_in_two_folders_are_two_videos_and_keep_their_places(arrivals: Arrivals, tmp_path: Path) -> None:
    files = [written(tmp_path / day / "GX02.mp4", day.encode()) for day in ("day1", "day2")]

    def again() -> list[tuple[str, str]]:
        return [(a.name, a.state) for a in (arrivals.take(file, arrivals.name_for(file)) for file in files)]

    assert again() == [("GX02.mp4", "new"), ("day2/GX02.mp4", "new")]
    assert again() == [("GX02.mp4", "unchanged"), ("day2/GX02.mp4", "unchanged")]
    written(files[1], b"new bytes")
    assert again() == [("GX02.mp4", "unchanged"), ("day2/GX02.mp4", "replaced")]
