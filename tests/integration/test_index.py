"""The index beside real stores: whatever is killed, damaged, lost or raced, it ends as the manifests say."""

from __future__ import annotations

import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import FrameType

import pytest
from sqlalchemy import text

from egoworld_resources.s3.access import S3Access
from egoworld_resources.server.postgres import PostgresAddress
from egoworld_resources.store import folder as folder_module
from egoworld_resources.store import index as index_module
from egoworld_resources.store import s3 as s3_module
from egoworld_resources.store.folder import FolderStore
from egoworld_resources.store.index import Index
from egoworld_resources.store.known import known
from egoworld_resources.store.reindex import catch_up, reindex
from egoworld_resources.store.s3 import S3Store
from tests.made_stores import BOUND, AnyStore, access_to, artifact
from tests.torture import sized

TRACED = {module.__file__ for module in (folder_module, index_module, s3_module)}
CHILDREN = get_context("forkserver")  # this process has threads of its own, of which a fork would take the locks
CHILDREN.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Opening:
    """How any process opens the store of a test with its index. access: None for a folder; url: "" for SQLite."""

    folder: Path
    access: S3Access | None
    url: str

    def __call__(self) -> AnyStore:
        def open_index() -> Index:
            return Index(self.folder / "store" / "index.sqlite", self.url)

        if self.access is None:
            return FolderStore(self.folder / "store", open_index)
        return S3Store(self.access, self.folder / "cache", BOUND, open_index)


def database(at: PostgresAddress) -> str:
    """The URL of an empty database of its own."""
    name = f"index_{secrets.token_hex(6)}"
    with closing(at.connect()) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(f"CREATE DATABASE {name}")
    return f"postgresql://{at.user}:{at.password}@/{name}?host={at.host}&port={at.port}"


@pytest.fixture(params=["folder, sqlite", "folder, postgres", "minio, sqlite", "minio, postgres"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    """A store with an index, opened as by another process each time."""
    store, kept_in = request.param.split(", ")
    url = database(request.getfixturevalue("postgres_server")) if kept_in == "postgres" else ""
    access = access_to(request.getfixturevalue("minio")) if store == "minio" else None
    return Opening(tmp_path, access, url)


def index_of(store: AnyStore) -> Index:
    assert store.index is not None
    return store.index


def versions(store: AnyStore, *videos: str) -> dict[str, str | None]:
    """Live versions of masks by the index."""
    found = index_of(store).ask(lambda connection: known(connection, "artifact", "masks", videos or ("v",)))
    return {place.video: getattr(truth, "data_version", None) for place, truth in found.items()}


def put(store: AnyStore, folder: Path, data: bytes, video: str = "v") -> str:
    new, manifest = artifact(folder, {"masks.parquet": data}, video=video)
    store.put(new, manifest)
    return manifest.data_version


EVERY = sized(17, 7)
"""Lines between the places where it is killed."""

WORK: dict[str, Callable[[AnyStore, Path], object]] = {
    "put": lambda store, folder: put(store, folder / "new", b"two"),
    "fail": lambda store, _: store.record("failures", "masks/v", {"reason": "dark", "fingerprint": "f"}),
    "forgive": lambda store, _: store.record("failures", "masks/w", None),
    "arrive": lambda store, _: store.record("videos", "v", {"name": "v.mp4", "sha256": "s", "bytes": 1}),
    "invalidate": lambda store, _: store.invalidate("masks", "w", store.current("masks", "w").data_version),
}


def killed_at(step: int, what: str, opened: Opening, folder: Path) -> int:
    """Do something in a process that kills itself before one line of the store or its index; its exit code."""
    child = CHILDREN.Process(target=do_and_die, args=(step, what, opened, folder))
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def do_and_die(step: int, what: str, opened: Opening, folder: Path) -> None:
    lines = 0

    def trace(frame: FrameType, event: str, argument: object) -> object:
        nonlocal lines
        if frame.f_code.co_filename not in TRACED:
            return None
        if event == "line":
            lines += 1
            if lines == step:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    threading.settrace(trace)
    sys.settrace(trace)
    WORK[what](opened(), folder)
    sys.settrace(None)


@pytest.mark.torture
@pytest.mark.parametrize("what", WORK)
def test_killed_at_any_step_the_next_look_is_what_the_store_says(opened: Opening, tmp_path: Path, what: str) -> None:
    ended, step = -signal.SIGKILL, 0
    while ended:
        step += EVERY
        store = opened()
        put(store, tmp_path / f"old{step}", b"one")
        put(store, tmp_path / f"other{step}", b"one", "w")
        store.record("failures", "masks/w", {"reason": "x", "fingerprint": "f"})
        store.record("failures", "masks/v", None)
        assert catch_up(index_of(store), store)
        (tmp_path / str(step)).mkdir()
        ended = killed_at(step, what, opened, tmp_path / str(step))
        assert ended in (0, -signal.SIGKILL)
        after = opened()
        index_of(after).settle_left(after)
        assert list(reindex(index_of(after), after)) == []
    assert step > 2 * EVERY, "it was killed at several of its lines"


def test_a_row_that_was_changed_behind_our_back_is_named_and_put_right(opened: Opening, tmp_path: Path) -> None:
    store = opened()
    version = put(store, tmp_path / "new", b"one")
    assert list(reindex(index_of(store), store)) == []
    with index_of(store).writing() as connection:
        other = "substr(line, 1, 8) || substr(line, 17, 8) || substr(line, 17)"
        connection.execute(text(f"UPDATE store_made SET line = {other}, rows = 7"))
    assert list(reindex(index_of(store), store)) == ["artifact/masks/v"]
    assert versions(store) == {"v": version}
    assert list(reindex(index_of(store), store)) == []


def test_many_writers_at_once_leave_what_the_store_says(opened: Opening, tmp_path: Path) -> None:
    def write(number: int) -> None:
        store = opened()
        for turn in range(3):
            put(store, tmp_path / f"{number}-{turn}", f"{number} {turn}".encode())
            put(store, tmp_path / f"{number}-{turn}-own", b"x", f"v{number}")
            store.record("failures", "masks/v", {"reason": str(number), "fingerprint": "f"} if turn % 2 else None)

    with ThreadPoolExecutor(4) as pool:
        making = pool.submit(lambda: catch_up(index_of(opened()), opened()))
        list(pool.map(write, range(4)))
        assert making.result()
    store = opened()
    live = store.current("masks", "v")
    assert live is not None
    assert versions(store)["v"] == live.data_version
    assert len(versions(store, *(f"v{number}" for number in range(4)))) == 4
    assert list(reindex(index_of(store), store)) == []


def test_an_index_that_is_made_while_something_is_invalidated_does_not_bring_it_back(
    opened: Opening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened()
    version = put(store, tmp_path / "new", b"one")
    with index_of(store).writing() as connection:
        connection.execute(text("DELETE FROM store_made"))
        connection.execute(text("UPDATE store_index SET complete = '0'"))
    early = store.current("masks", "v")

    class ReadAhead:
        """The store as a look read it before."""

        def current(self, asset: str, video: str) -> object:
            return early if (asset, video) == ("masks", "v") else None

        def recorded(self, _kind: str, _key: str) -> None:
            return None

    monkeypatch.setattr(type(store), "bulk_view", lambda _: ReadAhead())
    store.invalidate("masks", "v", version)
    assert catch_up(index_of(store), store)
    assert versions(store) == {}
    monkeypatch.undo()
    assert list(reindex(index_of(store), store)) == []


@pytest.mark.parametrize("damage", ["lost", "junk", "cut", "empty", "a table is gone"])
def test_a_file_that_is_lost_or_damaged_is_made_again(tmp_path: Path, damage: str) -> None:
    def opened() -> FolderStore:
        return FolderStore(tmp_path / "store", lambda: Index(tmp_path / "store" / "index.sqlite"))

    store = opened()
    version = put(store, tmp_path / "new", b"one")
    assert catch_up(index_of(store), store)
    file = tmp_path / "store" / "index.sqlite"
    for end in ("-wal", "-shm"):
        Path(f"{file}{end}").unlink(missing_ok=True)
    if damage == "lost":
        file.unlink()
    elif damage == "a table is gone":
        with index_of(store).writing() as connection:
            connection.execute(text("DROP TABLE store_made"))
    else:
        file.write_bytes({"junk": b"junk" * 3000, "cut": file.read_bytes()[:9000], "empty": b""}[damage])
    for again in (store, opened()):
        again.record("videos", "v", {"name": "v", "sha256": "s", "bytes": 1})
        versions(again)
        assert catch_up(index_of(again), again)
        assert versions(again) == {"v": version}
        assert list(reindex(index_of(again), again)) == []
