"""The cache: one download for all, bytes that are right, a bound, and nothing taken from under a reader."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest

from egoworld_resources.artifacts.manifest import StoredFile
from egoworld_resources.store.cache import MARK, Cache

SIZE = 10_000


def files_of(number: int) -> list[StoredFile]:
    data = bytes_of(number)
    return [StoredFile(path=f"sub/{number}.bin", bytes=len(data), sha256=sha256(data).hexdigest())]


def bytes_of(number: int) -> bytes:
    return number.to_bytes(4, "big") * (SIZE // 4)


class Far:
    """Where entries come from; counts what is fetched."""

    def __init__(self) -> None:
        self.fetched: list[str] = []

    def __call__(self, files: Sequence[StoredFile], folder: Path) -> None:
        for file in files:
            self.fetched.append(file.path)
            (folder / file.path).write_bytes(bytes_of(int(Path(file.path).stem)))


def read(cache: Cache, number: int, far: Far) -> bytes:
    return (cache.entry(f"masks/v/{number}", files_of(number), far) / f"sub/{number}.bin").read_bytes()


def test_what_is_here_is_not_fetched_again(tmp_path: Path) -> None:
    far = Far()
    for _ in range(2):
        assert read(Cache(tmp_path, 1 << 20), 7, far) == bytes_of(7)
    assert far.fetched == ["sub/7.bin"]


def test_equal_bytes_of_two_entries_are_kept_once(tmp_path: Path) -> None:
    cache, far = Cache(tmp_path, 1 << 20), Far()
    first = cache.entry("masks/v/a", files_of(1), far) / "sub/1.bin"
    second = cache.entry("masks/w/b", files_of(1), far) / "sub/1.bin"
    assert far.fetched == ["sub/1.bin"]
    assert first.stat().st_ino == second.stat().st_ino
    assert cache.size() == SIZE


def test_the_longest_unread_make_room_and_those_that_are_read_stay(tmp_path: Path) -> None:
    cache, far = Cache(tmp_path, 5 * SIZE), Far()
    with cache.reading():
        kept = cache.entry("masks/v/0", files_of(0), far) / "sub/0.bin"
        for number in range(1, 20):
            with cache.reading():
                assert read(cache, number, far) == bytes_of(number)
                os.utime(tmp_path / f"entries/masks~v~{number}", (number, number))
            assert cache.size() <= 5 * SIZE
        assert kept.read_bytes() == bytes_of(0)
    entries = {p.name for p in (tmp_path / "entries").iterdir()}
    assert entries == {"masks~v~0", *(f"masks~v~{n}" for n in range(16, 20))}
    with cache.reading():
        read(cache, 30, far)
        read(cache, 31, far)
    assert "masks~v~16" not in {p.name for p in (tmp_path / "entries").iterdir()}


def test_what_is_read_at_once_may_pass_the_bound_and_goes_later(tmp_path: Path) -> None:
    cache, far = Cache(tmp_path, 2 * SIZE), Far()
    with cache.reading():
        paths = [cache.entry(f"masks/v/{n}", files_of(n), far) / f"sub/{n}.bin" for n in range(6)]
        assert [path.read_bytes() for path in paths] == [bytes_of(n) for n in range(6)]
    with cache.reading():
        read(cache, 9, far)
    assert cache.size() <= 2 * SIZE


@pytest.mark.parametrize("damage", ["shorter", "gone", "another start of the system"])
def test_a_damaged_entry_is_fetched_again(tmp_path: Path, damage: str) -> None:
    far = Far()
    path = Cache(tmp_path, 1 << 20).entry("masks/v/3", files_of(3), far) / "sub/3.bin"
    if damage == "gone":
        path.unlink()
        next((tmp_path / "files").glob("*/*")).unlink()
    else:
        path.chmod(0o644)
        path.write_bytes(bytes_of(3)[:-1] if damage == "shorter" else bytes_of(4))
        (path.parents[2] / MARK).write_text("before the power cut\n")
    assert read(Cache(tmp_path, 1 << 20), 3, far) == bytes_of(3)
    assert len(far.fetched) == 2


def test_after_another_start_sound_bytes_are_kept(tmp_path: Path) -> None:
    far = Far()
    path = Cache(tmp_path, 1 << 20).entry("masks/v/3", files_of(3), far) / "sub/3.bin"
    (path.parents[2] / MARK).write_text("yesterday\n")
    assert read(Cache(tmp_path, 1 << 20), 3, far) == bytes_of(3)
    assert len(far.fetched) == 1


def test_a_fetch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(files: Sequence[StoredFile], folder: Path) -> None:
        (folder / files[0].path).write_bytes(b"half")
        raise ConnectionError("cut")

    cache = Cache(tmp_path, 1 << 20)
    with pytest.raises(ConnectionError):
        cache.entry("masks/v/3", files_of(3), fail)
    assert [p for p in tmp_path.rglob("*") if p.name == "3.bin"] == []
    assert read(cache, 3, Far()) == bytes_of(3)


def test_many_threads_and_a_small_bound(tmp_path: Path) -> None:
    faults: list[str] = []

    def reader(seed: int) -> None:
        cache, far = Cache(tmp_path, 3 * SIZE), Far()
        for step in range(40):
            number = (seed * 7 + step * 3) % 11
            with cache.reading():
                path = cache.entry(f"masks/v/{number}", files_of(number), far) / f"sub/{number}.bin"
                faults.extend(f"{number} in read {n}" for n in range(3) if path.read_bytes() != bytes_of(number))

    threads = [threading.Thread(target=reader, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert Cache(tmp_path, 3 * SIZE).size() <= 9 * SIZE


def test_one_process_fetches_for_all_and_a_killed_one_leaves_the_place(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.unit.resources.store.test_cache import Cache, Far, bytes_of, files_of

class Slow(Far):
    def __call__(self, files, folder):
        super().__call__(files, folder)
        print("fetching", flush=True)
        time.sleep(600)

Cache(Path(sys.argv[1]), 1 << 20).entry("masks/v/3", files_of(3), Slow())
"""
    root = str(Path(__file__).parents[3])
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path), root], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"fetching\n"
        waiting = threading.Timer(0.5, first.kill)
        waiting.start()
        far = Far()
        assert read(Cache(tmp_path, 1 << 20), 3, far) == bytes_of(3), "after the kill we fetch ourselves"
        waiting.join()
    assert far.fetched == ["sub/3.bin"]
    assert len(list((tmp_path / "incoming").iterdir())) == 0
