"""A whole server on free ports, as `make up` starts it: healthy, closed to strangers, hard to kill, loses nothing."""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from urllib.request import Request, urlopen

import psutil
import pytest
import yaml
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from egoworld_assets.serving.metrics import METRICS
from egoworld_resources.errors import StoreRefused
from egoworld_resources.s3.access import BUCKETS, S3Access
from egoworld_resources.s3.buckets import client
from egoworld_resources.s3.objects import Objects
from egoworld_resources.server import probes, s3_accounts
from egoworld_resources.server.__main__ import table
from egoworld_resources.server.environment import ServerSettings
from egoworld_resources.server.ports import orphans
from egoworld_resources.server.proxy import ROOT_CERTIFICATE, ask
from egoworld_resources.server.running import Server
from egoworld_resources.settings import PROJECT
from egoworld_resources.store.s3 import S3Store
from tests.made_server import ROWS, brought, in_env, in_proxy, indexed, s3_client, server_up
from tests.servers import temporary_home

PARTS = [
    "postgres", "s3", "code-location", "webserver", "webserver-viewer", "daemon", "files", "metrics", "envs",
    "inbox-keeper", "door", "proxy",
]  # fmt: skip
SET = b'{"query":"mutation{setConcurrencyLimit(concurrencyKey:\\"cpu\\",limit:3)}"}'
SHEETS = (
    '{assetNodeOrError(assetKey:{path:["previews"]}){... on AssetNode{assetMaterializations(limit:1)'
    "{metadataEntries{... on MarkdownMetadataEntry{mdStr}}}}}}"
)
ASK = b'{"query":"{instance{concurrencyLimit(concurrencyKey:\\"cpu\\"){slotCount}}}"}'


pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with temporary_home() as home, server_up(home, LOG_DIR=str(home / "said")) as server:
        yield server


@pytest.fixture
def settings(server: Server) -> ServerSettings:
    return server.parts.server


@pytest.fixture(scope="module")
def worked(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    return brought(server, tmp_path_factory.mktemp("brought"))


def pids(server: Server) -> dict[str, int]:
    return {part.name: part.pid for part in server.health()}


def test_every_part_runs_and_is_healthy(server: Server) -> None:
    health = server.health()
    assert [part.name for part in health] == PARTS
    assert {part.name: part.said for part in health if not part.healthy} == {}
    assert all(part.state == "RUNNING" and part.pid for part in health)
    assert "lab-artifacts, lab-inbox, lab-weights" in health[1].said


def test_up_leaves_alone_what_runs(server: Server) -> None:
    before = pids(server)
    server.up()
    assert pids(server) == before


def test_strangers_are_kept_out_and_viewers_change_nothing(server: Server) -> None:
    assert in_proxy(server, None)[0] == 401
    assert in_proxy(server, None, "/graphql", SET)[0] == 401
    in_proxy(server, "viewer", "/graphql", SET)
    seen = [in_proxy(server, login, "/graphql", ASK) for login in ("viewer", "operator")]
    assert seen == [(200, '{"data":{"instance":{"concurrencyLimit":{"slotCount":1}}}}')] * 2
    in_proxy(server, "operator", "/graphql", SET)
    assert in_proxy(server, "viewer", "/graphql", ASK)[1].endswith('{"slotCount":3}}}}')


def test_a_command_in_its_environment_works_on_its_postgres_and_buckets(server: Server) -> None:
    attempts = (
        "from egoworld_assets.cli.flow import instance_of; from egoworld_resources.making.workbench import Workbench; "
        "from egoworld_resources.settings import Settings; bench = Workbench(Settings.load()); "
        "print(type(instance_of(bench).run_storage).__name__, type(bench.store).__name__)"
    )
    done = in_env(server, "python", "-c", attempts)
    assert done.stdout.split() == ["PostgresRunStorage", "S3Store"], done.stderr


def test_s3_is_reached_through_the_proxy_but_not_its_administration(server: Server, settings: ServerSettings) -> None:
    certificate = server.folder / "proxy" / "pki" / "authorities" / "local" / "root.crt"
    with closing(s3_client(settings, f"https://localhost:{settings.proxy_s3_port}", str(certificate))) as client:
        assert len(client.list_buckets()["Buckets"]) == 3
    folder = server.folder / "proxy"
    assert ask(settings, folder, None, "/minio/health/live", port=settings.proxy_s3_port).status == 404
    through = S3Access.model_validate(
        {**settings.s3_access.model_dump(), "endpoint": f"https://localhost:{settings.proxy_s3_port}"}
    )
    session = URLLib3Session(verify=str(certificate))
    assert session.send(s3_accounts.signed(through, "PATCH", "/list-users")).status_code == 405


def test_what_the_daemon_made_stands_in_the_servers_index(server: Server, worked: str) -> None:
    index, said = indexed(server, worked)
    assert index == "the index of the store in Postgres"
    assert {"videos", "episodes", "previews"} <= set(said)
    assert [versions for versions in said.values() if len(versions) != 2 or len(set(versions)) != 1] == []


def test_what_an_uploader_brings_the_pipelines_key_makes_a_dataset_of(server: Server, worked: str) -> None:
    done = in_env(server, "egoworld", "status", "--json")
    states = {(entry["video"], entry["asset"]): entry["state"] for entry in json.loads(done.stdout)["assets"]}
    assert {state for (key, _), state in states.items() if key == worked} == {"fresh"}, done.stdout + done.stderr

    def counted() -> str:
        metrics = in_proxy(server, "operator", "/metrics")[1]
        if f'egoworld_stage_rows{{stage="hand_poses"}} {ROWS}.0' not in metrics.splitlines():
            raise probes.Unhealthy(metrics)
        return metrics

    probes.wait(counted, 90)  # a look through the store is kept for half a minute


def test_the_pipeline_is_no_administrator(server: Server, settings: ServerSettings, worked: str) -> None:
    pipeline = settings.s3_as("pipeline")
    for method, path in (("GET", "list-users"), ("PUT", "import-iam-v2"), ("GET", "list-canned-policies")):
        assert s3_accounts.asked(pipeline, method, f"/minio/admin/v3/{path}")[0] == 403
    done = in_env(server, "egoworld", "buckets", "--keys", "uploader")
    assert (done.returncode, "server key uploader" in done.stderr) == (1, True)
    with closing(client(pipeline, pipeline.endpoint)) as s3:
        for refused in (
            lambda: s3.create_bucket(Bucket="lab-more"),
            lambda: s3.delete_bucket(Bucket="lab-artifacts"),
            lambda: s3.put_bucket_policy(Bucket="lab-inbox", Policy="{}"),
            lambda: s3.put_object(Bucket="lab-inbox", Key="x", Body=b""),
            lambda: s3.delete_object(Bucket="lab-inbox", Key="uploader/kitchen.mp4"),
            lambda: s3.put_object(Bucket="lab-weights", Key="x", Body=b""),
        ):
            with pytest.raises(ClientError, match="AccessDenied"):
                refused()


def test_uploader_and_reader_have_their_own_alone(settings: ServerSettings, worked: str, tmp_path: Path) -> None:
    uploader, reader = settings.s3_as("uploader"), settings.s3_as("reader")
    for access, bucket in ((uploader, "lab-artifacts"), (uploader, "lab-weights"), (reader, "lab-inbox")):
        with pytest.raises(StoreRefused):
            list(Objects(access, bucket).list(""))
    with pytest.raises(StoreRefused):
        Objects(uploader, "lab-inbox").get("uploader/kitchen.mp4")
    made = S3Store(reader, tmp_path, 1 << 30).current("hand_poses", worked)
    assert made is not None
    assert made.rows == {"hand_poses": ROWS}
    for key in ("artifacts/new", "records/new", "sources/new"):
        with pytest.raises(StoreRefused):
            Objects(reader, "lab-artifacts").put(key, b"")


def test_every_part_has_the_secrets_that_it_needs_and_no_other(server: Server, settings: ServerSettings) -> None:
    names = {
        getattr(settings, name).get_secret_value(): name
        for name, field in type(settings).model_fields.items()
        if field.annotation is SecretStr
    }
    found = {
        part.name: {
            name for secret, name in names.items() if secret in "\n".join(psutil.Process(part.pid).environ().values())
        }
        for part in server.health()
    }
    tokens = {"env_operator_token", "env_viewer_token"}
    assert found == {
        "postgres": set(),
        "s3": {"s3_secret_key"},
        "code-location": {"postgres_runs_password", "postgres_envs_password", "s3_pipeline_secret_key"},
        "webserver": {"postgres_dagster_password"},
        "webserver-viewer": {"postgres_viewer_password"},
        "daemon": {"postgres_dagster_password"},
        "files": {"s3_reader_secret_key"},
        "metrics": {"postgres_metrics_password", "s3_reader_secret_key"},
        "envs": {"postgres_envs_password", *tokens},
        "inbox-keeper": set(),
        "door": set(),
        "proxy": set(),
    }


def test_both_logins_see_contact_sheets_by_links_that_end(
    server: Server, settings: ServerSettings, worked: str, tmp_path: Path
) -> None:
    made = S3Store(settings.s3_as("reader"), tmp_path / "cache", 1 << 30).current("previews", worked)
    assert made is not None
    (sheet,) = (file for file in made.files if file.path == "contact_sheet.png")
    folder = f"/files/previews/{worked}/{made.data_version}"
    path = f"{folder}/contact_sheet.png"
    answers = [in_proxy(server, login, path)[0] for login in (None, "viewer", "operator")]
    assert answers == [401, 302, 302]
    assert in_proxy(server, "viewer", f"{folder}/manifest.json")[0] == 404
    viewer = ("viewer", settings.viewer_password.get_secret_value())
    link = ask(settings, server.folder / "proxy", viewer, path).location
    assert link.startswith(f"https://localhost:{settings.proxy_s3_port}/lab-artifacts/")
    assert "X-Amz-Expires=300" in link
    authority = ssl.create_default_context(cafile=str(server.folder / "proxy" / ROOT_CERTIFICATE))
    with urlopen(link, context=authority) as answer:
        assert sha256(answer.read()).hexdigest() == sheet.sha256
    query = json.dumps({"query": SHEETS}).encode()
    assert f"https://localhost:{settings.proxy_port}{path}" in in_proxy(server, "viewer", "/graphql", query)[1]


def test_metrics_are_for_the_operator(server: Server, worked: str) -> None:
    assert [in_proxy(server, login, "/metrics")[0] for login in (None, "viewer", "operator")] == [401, 403, 200]
    metrics = in_proxy(server, "operator", "/metrics")[1]
    assert re.search(r'^egoworld_runs\{status="failure"\} 1\.0$', metrics, re.MULTILINE)
    assert {family.name for family in text_string_to_metric_families(metrics)} == set(METRICS)


def test_the_documented_scrape_configuration_reaches_them(server: Server, settings: ServerSettings) -> None:
    """Followed here as Prometheus documents it: https://HOST:PORT/metrics of each target, with login and authority."""
    text = (PROJECT / "infra" / "SERVER.md").read_text(encoding="utf-8")
    (job,) = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    assert target == "localhost:8443", "the port of the template"
    assert "root.crt" in text.split("ca_file:")[1].splitlines()[0]
    login = f"{job['basic_auth']['username']}:{settings.operator_password.get_secret_value()}"
    url = f"{job['scheme']}://localhost:{settings.proxy_port}/metrics"
    headers = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}
    authority = ssl.create_default_context(cafile=str(server.folder / "proxy" / ROOT_CERTIFICATE))
    with urlopen(Request(url, headers=headers), context=authority) as answer:
        assert "egoworld_runs" in {family.name for family in text_string_to_metric_families(answer.read().decode())}


def test_the_doctor_finds_the_server_sound(server: Server, worked: str) -> None:
    found = json.loads(in_env(server, "egoworld", "doctor", "--json").stdout)["findings"]
    states = {(one["check"], one["about"]): one for one in found if one["check"] in ("server", "Postgres", "S3")}
    assert {about: one for about, one in states.items() if one["state"] != "ok"} == {}
    assert {check for check, _ in states} == {"server", "Postgres", "S3"}
    assert any("Postgres" in one["about"] and "MinIO" in one["about"] for one in found if one["check"] == "disk")


def test_every_log_is_json_line_by_line(server: Server, worked: str) -> None:
    """But supervisord's own, which has one format, and what Postgres says before its log begins; all in LOG_DIR."""
    logs = server.parts.settings.home / "said" / "server"
    assert not (server.folder / "logs").exists()
    assert list(logs.parent.glob("failures/videos/*/runner.log")), "what a model said, too"
    plain = {"supervisord.log", "postgres.log"}
    files = [*logs.iterdir(), *(server.folder / "postgres" / "log").glob("*.json")]
    assert {f"{part}.log" for part in PARTS} <= {file.name for file in files}
    assert len(list((server.folder / "postgres" / "log").glob("*.json"))) == 1
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines() if file.name not in plain else []
        for line in lines:
            assert isinstance(json.loads(line), dict), (file, line)
    assert len((logs / "postgres.log").read_text(encoding="utf-8").splitlines()) <= 4
    assert "Execution of run for" in (logs / "code-location.log").read_text(encoding="utf-8")


def test_all_but_the_proxy_bind_loopback_and_the_proxy_what_it_is_reported(server: Server) -> None:
    processes = [
        process
        for part in server.health()
        for process in [psutil.Process(part.pid), *psutil.Process(part.pid).children(recursive=True)]
    ]
    listening: set[str] = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # a run has ended
            connections = process.net_connections("inet")
            listening |= {one.laddr[0] for one in connections if one.status == psutil.CONN_LISTEN}
    assert "127.0.0.1" in listening
    assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_secrets_stand_in_the_env_file_alone(server: Server, settings: ServerSettings, worked: str) -> None:
    """Searched: every file of the server (logs, supervisor, tables), every object, what parts and commands say.

    But for the accounts of the S3 server itself: who checks a signature has to know the key.
    """
    assert stat.S_IMODE(server.parts.env_file.path.stat().st_mode) == 0o600
    with closing(settings.postgres.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*), string_agg(event, ' ') FROM event_logs")
        count, events = cursor.fetchone() or (0, "")
    assert count > 50
    accounts = server.folder / "minio" / ".minio.sys" / "config" / "iam" / "users"
    own = [server.parts.env_file.path, *accounts.glob("egoworld-*/identity.json/xl.meta")]
    assert len(own) == 4
    shown = {
        str(file): file.read_bytes()
        for file in server.parts.settings.home.rglob("*")
        if file.is_file() and file not in own
    }
    assert str(server.parts.logs / "proxy.log") in shown
    for which in BUCKETS:
        objects = Objects(settings.s3_access, settings.s3_access.bucket(which))
        shown |= {objects.url(file.key): objects.get(file.key) or b"" for file in objects.list("")}
    assert [name for name in shown if name.endswith("manifest.json")]
    shown["event log"] = events.encode()
    shown["metrics"] = in_proxy(server, "operator", "/metrics")[1].encode()
    shown["ps"] = table(server.health()).encode()
    for command in (["doctor", "--json"], ["status"], ["lineage", f"{worked}/episodes"], ["buckets"]):
        done = in_env(server, "egoworld", *command)
        shown[command[0]] = (done.stdout + done.stderr).encode()
    wrong = {"S3_SECRET_KEY": "x" * 40, "POSTGRES_PORT": "1"}
    for name, value in wrong.items():
        done = in_env(server, "env", f"{name}={value}", "egoworld", "status")
        shown[f"status with a wrong {name}"] = (done.stdout + done.stderr).encode()
        assert done.returncode != 0 or name == "POSTGRES_PORT"
    for secret in settings.secrets:
        assert [name for name, content in shown.items() if secret.encode() in content] == []
        assert secret not in repr(settings)
    lines: list[str] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has ended
            lines += [" ".join(process.cmdline())] if process.pid != os.getpid() else []
    assert not [line for line in lines for secret in settings.secrets if secret in line]


@pytest.mark.parametrize("part", ["postgres", "s3", "code-location"])
def test_a_part_killed_is_started_again(server: Server, part: str) -> None:
    old = pids(server)[part]
    psutil.Process(old).kill()

    def again() -> str:
        health = {one.name: one for one in server.health()}
        if health[part].pid in (0, old) or not all(one.healthy for one in health.values()):
            raise probes.Unhealthy(str(health))
        return health[part].said

    probes.wait(again, 120)


def test_down_and_up_lose_nothing(server: Server, settings: ServerSettings) -> None:
    with closing(settings.postgres.connect()) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept (word text)")
        cursor.execute("INSERT INTO kept VALUES ('still here')")
    with closing(s3_client(settings, settings.s3_endpoint)) as client:
        client.put_object(Bucket="lab-inbox", Key="a/b.mp4", Body=b"bytes")
    known = pids(server)

    server.down()

    assert not [pid for pid in known.values() if psutil.pid_exists(pid)]
    assert not any(part.healthy for part in server.health())
    stale = server.folder / "supervisord.pid"
    stale.write_text(str(os.getpid()), encoding="ascii")  # as after a power cut: a number that is now another's

    server.up(["postgres", "s3"])

    assert [part.name for part in server.health() if part.healthy] == ["postgres", "s3"]
    with closing(settings.postgres.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT word FROM kept")
        assert cursor.fetchall() == [("still here",)]
    with closing(s3_client(settings, settings.s3_endpoint)) as client:
        assert client.get_object(Bucket="lab-inbox", Key="a/b.mp4")["Body"].read() == b"bytes"


def test_down_ends_parts_whose_supervisor_was_killed(server: Server) -> None:
    """The last test: the server is down after it."""
    before = server.supervision()
    assert before
    assert (before.healthy, before.said) == (True, f"looks after {len(PARTS)} parts")
    supervisor = psutil.Process(int((server.folder / "supervisord.pid").read_text(encoding="ascii")))
    supervisor.suspend()
    hung = server.supervision()
    assert hung
    assert f"process {supervisor.pid} runs and does not answer" in hung.said
    supervisor.kill()
    left = orphans(server.folder)
    assert sorted(left) == ["postgres", "s3"]
    dead = server.supervision()
    assert dead
    assert not dead.healthy
    assert "it has ended" in dead.said
    assert f"postgres ({left['postgres'][0].pid})" in dead.said
    server.down()
    assert orphans(server.folder) == {}
    assert not [process for found in left.values() for process in found if process.is_running()]
