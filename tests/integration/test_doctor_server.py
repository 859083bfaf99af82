"""The doctor on a server: its .env, Postgres, S3; real servers, healthy and not."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from egoworld_resources.doctor import Finding, server
from egoworld_resources.doctor.checks.server import TABLES
from egoworld_resources.s3.access import ROLES, S3Access
from egoworld_resources.s3.buckets import client
from egoworld_resources.s3.objects import Objects
from egoworld_resources.server import s3_accounts
from egoworld_resources.server.backup.last import LastBackup, note
from egoworld_resources.server.environment import EnvFile, ServerSettings
from egoworld_resources.server.s3_servers import S3Address
from made_doctor import findings, subject
from tests.made_stores import SERVERS, access_to, environment
from tests.servers import answering, lent


def set_up(folder: Path, **given: str) -> EnvFile:
    """A server of ``folder``/home as `make up` sets it up, not started."""
    file = EnvFile(server.folder(subject(folder)) / ".env")
    file.ensure(given)
    return file


def findings_of(title: str, folder: Path) -> dict[str, Finding]:
    return {finding.about: finding for finding in findings(title, subject(folder, seconds=20))}


def test_without_a_server_nothing_is_judged(tmp_path: Path) -> None:
    for title in ("server", "Postgres", "S3", "backup"):
        assert {finding.state for finding in findings_of(title, tmp_path).values()} == {"not needed"}


def test_an_env_file_that_others_may_read_is_a_fault(tmp_path: Path) -> None:
    file = set_up(tmp_path)
    assert [finding.state for finding in findings_of("server", tmp_path).values()] == ["ok", "ok"]
    file.path.chmod(0o640)
    found = findings_of("server", tmp_path)[".env"]
    assert (found.state, found.fix) == ("fault", f"chmod 600 {file.path}")


def test_a_wrong_setting_is_named_and_no_secret_shown(tmp_path: Path) -> None:
    file = set_up(tmp_path)
    with file.path.open("a", encoding="utf-8") as out:
        out.write("OPERATOR_PASSWORD=short\n")
    found = findings_of("server", tmp_path)["settings"]
    assert found.state == "fault"
    assert "OPERATOR_PASSWORD" in found.found
    assert "short'" not in found.found
    assert findings_of("Postgres", tmp_path)["server"].found == "its .env is wrong"


def test_postgres_that_is_down_is_a_fault_for_who_works_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(tmp_path)
    assert findings_of("Postgres", tmp_path)["server"].state == "warning", "a server that was taken down"
    monkeypatch.setenv("DAGSTER_HOME", str(server.folder(subject(tmp_path)) / "dagster"))
    found = findings_of("Postgres", tmp_path)["server"]
    assert (found.state, found.fix) == ("fault", "make ps shows what runs, make up starts it")


def test_postgres_and_its_schema(tmp_path: Path, server_postgres: ServerSettings) -> None:
    at = server_postgres.postgres
    set_up(tmp_path, **lent(server_postgres, server.folder(subject(tmp_path))))
    found = findings_of("Postgres", tmp_path)
    assert (found["server"].state, found["connections"].state) == ("ok", "ok")
    assert found["schema"].state == "warning"
    assert "lacks Dagster's tables runs, event_logs, job_ticks" in found["schema"].found
    with (
        closing(at.connect()) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        for table in TABLES:
            cursor.execute(f"CREATE TABLE {table} (id int)")
        cursor.execute("CREATE TABLE alembic_version (version_num text)")
        cursor.execute("INSERT INTO alembic_version VALUES ('abc')")
    try:
        assert findings_of("Postgres", tmp_path)["schema"].found == "Dagster's tables of revision abc"
        other = lent(server_postgres, server.folder(subject(tmp_path / "other")))
        set_up(tmp_path / "other", POSTGRES_DB=other["POSTGRES_DB"])
        wrong = findings_of("Postgres", tmp_path / "other")["server"]
        assert (wrong.state, "password authentication failed" in wrong.found) == ("warning", True)
    finally:
        with closing(at.connect()) as connection:
            connection.autocommit = True
            connection.cursor().execute(f"DROP TABLE alembic_version, {', '.join(TABLES)}")


@pytest.fixture(params=SERVERS)
def owner(request: pytest.FixtureRequest, tmp_path: Path) -> S3Access:
    """The owner of a server whose buckets and accounts are set up, with a home that knows of it."""
    at: S3Address = request.getfixturevalue(request.param)
    owner = access_to(at)
    file = set_up(
        tmp_path,
        S3_SERVER=request.param,
        S3_ENDPOINT=at.endpoint,
        S3_ACCESS_KEY=at.access_key,
        S3_SECRET_KEY=at.secret_key,
        S3_BUCKET_NAME=owner.bucket_name,
    )
    s3_accounts.make(request.param, owner, file.load().s3_accounts)
    return owner


def test_the_pipelines_key_can_what_it_must(owner: S3Access, tmp_path: Path) -> None:
    found = findings_of("S3", tmp_path)
    assert {finding.state for finding in found.values()} == {"ok"}, found
    assert len(found) == 5
    assert list(Objects(owner, owner.bucket("artifacts")).list("")) == [], "nothing of the doctor stays"


def test_a_key_that_may_too_much_or_too_little_is_reported(
    owner: S3Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(owner).items():
        monkeypatch.setenv(name, value)
    found = findings_of("S3", tmp_path)
    assert (found["key"].state, "the owner's" in found["key"].found) == ("warning", True)
    artifacts = f"bucket {owner.bucket('artifacts')}"
    accounts = EnvFile(server.folder(subject(tmp_path)) / ".env").load().s3_accounts
    for role, good in (("uploader", set[str]()), ("reader", {artifacts})):  # an uploader lists its own folder alone
        for name, value in environment(accounts[role]).items():
            monkeypatch.setenv(name, value)
        found = findings_of("S3", tmp_path)
        assert {about for about, finding in found.items() if finding.state == "ok"} == {"server", *good}
        assert found[f"{artifacts}: objects"].state == "fault"
    monkeypatch.setenv("S3_SECRET_KEY", "x" * 40)
    assert "S3_SECRET_KEY" in findings_of("S3", tmp_path)[artifacts].fix
    assert set(accounts) == set(ROLES)


def test_a_bucket_that_is_gone_is_reported(owner: S3Access, tmp_path: Path) -> None:
    bucket = owner.bucket("weights")
    client(owner, owner.endpoint).delete_bucket(Bucket=bucket)
    found = findings_of("S3", tmp_path)[f"bucket {bucket}"]
    assert found.state == "fault"
    assert found.found == "there is no such bucket" or "AccessDenied" in found.found, "which, MinIO does not tell all"


class LateServer(BaseHTTPRequestHandler):
    """Refuses everything, with a clock that went wrong."""

    date = ""

    def do_GET(self) -> None:
        self.send_response_only(403)
        self.send_header("Date", self.date)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_PUT(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def log_message(self, *args: object) -> None:
        pass


def test_a_clock_that_is_wrong_and_a_server_that_is_gone_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LateServer, "date", "Sat, 01 Jan 2000 00:00:00 GMT")
    monkeypatch.setenv("S3_ACCESS_KEY", "key")
    monkeypatch.setenv("S3_SECRET_KEY", "secret-key")
    with answering(LateServer) as endpoint:
        monkeypatch.setenv("S3_ENDPOINT", endpoint)
        found = findings_of("S3", tmp_path)["server"]
    assert (found.state, "set-ntp" in found.fix) == ("fault", True)
    gone = findings_of("S3", tmp_path)
    assert (list(gone), gone["server"].state) == (["server"], "fault")


def test_the_newest_backup_is_young_and_still_there(tmp_path: Path) -> None:
    set_up(tmp_path)
    state, made = server.folder(subject(tmp_path)), tmp_path / "to" / "backups" / "2026"
    assert findings_of("backup", tmp_path)["newest"].state == "warning", "none was made"
    made.mkdir(parents=True)
    note(state, LastBackup(folder=made, made_at=datetime.now(UTC)))
    assert "is not there now" in findings_of("backup", tmp_path)["newest"].found
    (made / "backup.json").write_text("{}")
    assert findings_of("backup", tmp_path)["newest"].state == "ok"
    note(state, LastBackup(folder=made, made_at=datetime.now(UTC) - timedelta(days=3)))
    found = findings_of("backup", tmp_path)["newest"]
    assert (found.state, "3.0 days old" in found.found) == ("warning", True)
