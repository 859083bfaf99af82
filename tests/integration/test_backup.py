"""Backups of real Postgres and S3 servers: consistent, only what is new, never half; what is restored is the same."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import update

from egoworld_resources.errors import BadConfiguration, DamagedArtifact, UnknownName
from egoworld_resources.s3.access import BUCKETS, S3Access
from egoworld_resources.s3.buckets import client
from egoworld_resources.server.backup.copy import Whole, back_up, copy_buckets
from egoworld_resources.server.backup.dumps import connected, counted
from egoworld_resources.server.backup.files import Backup, Contents, Listing, backups, chosen
from egoworld_resources.server.backup.restore import NotEmpty, restore, verify
from egoworld_resources.server.postgres import PostgresAddress, binaries
from egoworld_resources.server.tools import Tools
from egoworld_resources.store.index import Index
from egoworld_resources.store.tables import ABOUT
from tests.made_stores import SERVERS, access_to, environment
from tests.wire import wire

OBJECTS = {
    "artifacts": {
        "artifacts/masks/v/d1/manifest.json": b'{"made": 1}',
        "artifacts/masks/v/d1/masks.parquet": b"masks" * 1000,
        "artifacts/masks/v/d1/v/points.ply": os.urandom(9 << 20),
        "records/live/masks/v.json": b'{"live": 1}',
        "records/videos/v.json": b"{}",
        "sources/ab.mp4": b"video",
    },
    "inbox": {"a.mp4": b"video", "day/Küche 1+%25.MOV": b"", "x y&=?.mp4": b"two", "folder/": b""},
    "weights": {"hands.task": b"weights"},
}
DIES = """
import sys
from pathlib import Path
from egoworld_resources.server.backup.copy import copy_buckets
from egoworld_resources.server.backup.files import Contents, Listing
from egoworld_resources.s3.access import S3Access

folder = Path(sys.argv[1])
contents = Contents(folder)
contents.prepare()
part = folder / "backups" / ".part"
part.mkdir(parents=True)
copy_buckets(S3Access.load(), contents, Listing(part / "objects.sqlite"), None)
"""


@pytest.fixture
def programs(tools: Tools) -> Path:
    return binaries(tools, Path("no cluster"))


@pytest.fixture
def whole(request: pytest.FixtureRequest, postgres_server: PostgresAddress, programs: Path, tmp_path: Path) -> Whole:
    """A server with a little in it."""
    (tmp_path / ".env").write_text("S3_SECRET_KEY=secret\n", encoding="utf-8")
    at = database(postgres_server)
    with closing(connected(at)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE runs (id serial, body text)")
        cursor.execute("INSERT INTO runs (body) SELECT 'run ' || n FROM generate_series(1, 500) n")
    access = access_to(request.getfixturevalue(getattr(request, "param", "minio")))
    fill(access, OBJECTS)
    return Whole(at, programs, access, {"env": tmp_path / ".env"})


def database(server: PostgresAddress) -> PostgresAddress:
    """A new, empty database."""
    name = f"t{secrets.token_hex(6)}"
    with closing(connected(server)) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name}")
    return PostgresAddress(server.port, server.user, server.password, name)


def fill(access: S3Access, objects: dict[str, dict[str, bytes]]) -> None:
    with closing(client(access, access.endpoint)) as s3:
        for bucket, by_key in objects.items():
            for key, data in by_key.items():
                s3.put_object(Bucket=access.bucket(bucket), Key=key, Body=data)


def held(access: S3Access) -> dict[str, dict[str, bytes]]:
    """Every byte of every bucket."""
    found: dict[str, dict[str, bytes]] = {}
    with closing(client(access, access.endpoint)) as s3:
        for bucket in BUCKETS:
            name = access.bucket(bucket)
            keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=name).get("Contents", [])]
            found[bucket] = {key: s3.get_object(Bucket=name, Key=key)["Body"].read() for key in keys}
    return found


def empty(whole: Whole, server: PostgresAddress, at: object) -> Whole:
    """A fresh server."""
    return Whole(database(server), whole.programs, access_to(at), {})


@pytest.mark.parametrize("whole", SERVERS, indirect=True)
@pytest.mark.parametrize("onto", SERVERS)
def test_what_is_restored_is_what_was(
    whole: Whole, onto: str, postgres_server: PostgresAddress, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    before = held(whole.access)
    made = back_up(whole, tmp_path / "to")
    assert made.facts.tables == {"runs": 500}
    assert made.facts.buckets["inbox"].objects == len(before["inbox"])
    assert verify(made) == []
    fresh = empty(whole, postgres_server, request.getfixturevalue(onto))
    index = Index(url=fresh.postgres.url)
    index.prepare()
    with index.writing() as connection:
        connection.execute(update(ABOUT).values(complete=True))
    restore(made, fresh)
    assert not index.complete, "it is made again from what was restored"
    assert held(fresh.access) == before
    with closing(connected(fresh.postgres)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT body FROM runs WHERE id = 77")
        assert cursor.fetchone() == ("run 77",)
    again = back_up(fresh, tmp_path / "again")
    assert (again.facts.tables, again.facts.buckets) == (made.facts.tables, made.facts.buckets)
    restore(made, Whole(database(postgres_server), fresh.programs, fresh.access, {}))
    assert held(fresh.access) == before, "the rest of a restore that was interrupted is no obstacle"


def test_nobody_else_reads_it_and_no_argument_shows_a_password(whole: Whole, tmp_path: Path) -> None:
    made = back_up(whole, tmp_path / "to")
    assert stat.S_IMODE((made.folder / "env").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "to").stat().st_mode) == 0o700
    assert whole.postgres.password not in (made.folder / "backup.json").read_text()


def test_a_second_backup_copies_only_what_is_new(whole: Whole, tmp_path: Path) -> None:
    first = back_up(whole, tmp_path / "to")
    assert first.facts.new.objects == sum(len(objects) for objects in held(whole.access).values())
    nothing = back_up(whole, tmp_path / "to")
    assert (nothing.facts.new.objects, nothing.facts.new.bytes) == (0, 0)
    assert nothing.facts.buckets == first.facts.buckets
    fill(whole.access, {"artifacts": {"records/videos/v.json": b'{"new": 1}'}, "inbox": {"b.mp4": b"video"}})
    second = back_up(whole, tmp_path / "to")
    assert second.facts.new.objects == 2
    assert [copy.folder for copy in backups(tmp_path / "to")] == [first.folder, nothing.folder, second.folder]
    assert chosen(tmp_path / "to").folder == second.folder
    for copy, record in ((first, b"{}"), (second, b'{"new": 1}')):
        (one,) = copy.listing.known("artifacts", ["records/videos/v.json"]).values()
        assert Contents(tmp_path / "to").path(one.sha256).read_bytes() == record
    same = {one.sha256 for key in ("a.mp4", "b.mp4") for one in second.listing.known("inbox", [key]).values()}
    assert len(same) == 1, "the same bytes lie there once"


def test_old_backups_go_with_what_they_alone_name(whole: Whole, tmp_path: Path) -> None:
    back_up(whole, tmp_path / "to")
    fill(whole.access, {"inbox": {"a.mp4": b"another"}, "artifacts": {"sources/ab.mp4": b"others"}})
    kept = back_up(whole, tmp_path / "to", keep=1)
    assert backups(tmp_path / "to") == [kept]
    assert verify(kept) == []
    held_now = {file.name for file in (tmp_path / "to" / "contents").glob("??/*")}
    assert held_now == {one.sha256 for one in kept.listing.all()}


def test_damage_is_named_before_anything_is_changed(
    whole: Whole, postgres_server: PostgresAddress, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    made = back_up(whole, tmp_path / "to")
    (live,) = made.listing.known("artifacts", ["records/live/masks/v.json"]).values()
    file = Contents(tmp_path / "to").path(live.sha256)
    right = file.read_bytes()
    fresh = empty(whole, postgres_server, request.getfixturevalue("minio"))
    file.write_bytes(right[::-1])
    assert verify(made) == [f"{file} is damaged: artifacts/records/live/masks/v.json"]
    with pytest.raises(DamagedArtifact, match=r"records/live/masks/v\.json cannot be restored"):
        restore(made, fresh)
    with closing(connected(fresh.postgres)) as connection:
        assert counted(connection) == {}, "the database comes last"
    assert "records/live/masks/v.json" not in held(fresh.access)["artifacts"]
    file.unlink()
    with pytest.raises(DamagedArtifact, match="missing or cut off: artifacts/records"):
        restore(made, empty(whole, postgres_server, request.getfixturevalue("minio")))
    file.write_bytes(right)
    with (made.folder / "postgres.dump").open("ab") as dump:
        dump.write(b"x")
    with pytest.raises(DamagedArtifact, match=r"postgres\.dump is missing or damaged"):
        restore(made, fresh)


def test_what_is_there_is_not_mixed_unless_forced(whole: Whole, tmp_path: Path) -> None:
    before = held(whole.access)
    made = back_up(whole, tmp_path / "to")
    with pytest.raises(NotEmpty, match="knows of runs or partitions"):
        restore(made, whole)
    newer = {"artifacts": {"records/live/masks/w.json": b"newer"}, "inbox": {"new.mp4": b"new"}}
    fill(whole.access, newer)
    with pytest.raises(NotEmpty, match=r"(records/live/masks/w\.json|new\.mp4) is not in the backup"):
        restore(made, whole, only=("buckets",))
    with closing(connected(whole.postgres)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM runs")
    restore(made, whole, only=("postgres",))
    with closing(connected(whole.postgres)) as connection:
        assert counted(connection) == {"runs": 500}
    restore(made, whole, force=True)
    assert held(whole.access) == {**before, "inbox": {**before["inbox"], "new.mp4": b"new"}}, "uploads stay"


def test_a_newer_postgres_is_not_restored_onto_an_older_one(whole: Whole, tmp_path: Path) -> None:
    made = back_up(whole, tmp_path / "to")
    newer = Backup(made.folder, made.facts.model_copy(update={"postgres": made.facts.postgres + 1}))
    with pytest.raises(BadConfiguration, match=f"the backup is of PostgreSQL {newer.facts.postgres}, here runs"):
        restore(newer, whole, force=True)


def test_killed_anywhere_it_leaves_no_backup_and_the_next_one_is_whole(whole: Whole, tmp_path: Path) -> None:
    to, status, request = tmp_path / "to", -signal.SIGKILL, 0
    port = int(whole.access.endpoint.rpartition(":")[2])
    while status == -signal.SIGKILL:
        request += 3
        shutil.rmtree(to / "backups", ignore_errors=True)
        status = copy_and_die(whole.access, to, port, request)
        assert backups(to) == []
        for file in (to / "contents").glob("??/*"):
            assert Contents(to).fault(file.name, file.stat().st_size) == ""
    assert (status, request > 6) == (0, True)
    made = back_up(whole, to)
    assert verify(made) == []
    assert not list((to / "incoming").iterdir())
    assert [folder.name for folder in (to / "backups").iterdir()] == [made.folder.name]


def copy_and_die(access: S3Access, to: Path, port: int, at: int) -> int:
    """Copy the buckets in a process that is killed when its ``at``-th request is half on its way; its exit status."""
    with wire(port, at, lambda: child.kill()) as between:
        env = os.environ | environment(access) | {"S3_ENDPOINT": f"http://127.0.0.1:{between.port}"}
        child = subprocess.Popen([sys.executable, "-c", DIES, str(to)], env=env)
        return child.wait()


def test_there_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown backup in"):
        chosen(tmp_path)


def test_an_artifact_made_meanwhile_is_whole_or_not_there(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the records are being listed, a whole new version of everything appears and becomes live."""
    from egoworld_resources.server.backup import copy

    pages, late = (
        copy.pages,
        {
            "artifacts/masks/v/d2/masks.parquet": b"later",
            "artifacts/masks/v/d2/manifest.json": b'{"made": 2}',
            "records/live/masks/v.json": b'{"live": 2}',
        },
    )

    def and_then(access: S3Access, s3: object, bucket: str, prefix: str = "") -> Iterator[object]:
        yield from pages(access, s3, bucket, prefix)
        if prefix == "records/":
            fill(access, {"artifacts": late})

    monkeypatch.setattr(copy, "pages", and_then)
    contents, listing = Contents(tmp_path / "to"), Listing(tmp_path / "objects.sqlite")
    contents.prepare()
    copy_buckets(whole.access, contents, listing, None)
    (live,) = listing.known("artifacts", ["records/live/masks/v.json"]).values()
    assert json.loads(contents.path(live.sha256).read_bytes()) == {"live": 1}, "the moment of the backup"
    assert set(listing.known("artifacts", list(late))) == set(late)
