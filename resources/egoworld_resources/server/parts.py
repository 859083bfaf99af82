"""The parts of a server in the order in which they start: what each runs, where, and how it is asked for its health."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path

from egoworld_resources.errors import UnknownName
from egoworld_resources.leases.locks import locked
from egoworld_resources.server import dagster_parts, door, env_service, inbox_keeper, probes
from egoworld_resources.server.environment import EnvFile, ServerSettings
from egoworld_resources.server.launch import MARK, SUPERVISED, Launch, unprivileged
from egoworld_resources.server.places import Places
from egoworld_resources.server.postgres import LOG_FOLDER, Cluster, postgres
from egoworld_resources.server.proxy import answers, proxy
from egoworld_resources.server.roles import PostgresRole, hba, settled
from egoworld_resources.server.s3_servers import s3_server
from egoworld_resources.server.tools import Tools
from egoworld_resources.server.uploaders import Uploaders
from egoworld_resources.settings import PROJECT, Settings, config_file


@dataclass(frozen=True)
class Part:
    """One server process. ``ready_s``: how long a first start may take; ``stop``: the signal that ends it well."""

    name: str
    step: int
    """Parts of one step start together, when those of the step before are healthy."""
    launch: Callable[[], Launch]
    probe: probes.Probe
    where: str
    ports: tuple[int, ...] = ()
    ready_s: float = 60.0
    stop: str = "TERM"
    own_logs: Path | None = None
    """A folder of logs that it writes itself, beside what the supervisor keeps of it."""
    group: bool = False
    """Whether signals go to all of its process group: Dagster's processes start others that are to end with them."""


class Parts:
    """All parts of the server whose state lies under ``<home>/production``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.folder = settings.layout.server
        self.env_file = EnvFile(self.folder / ".env")
        self.places = Places(self.folder)
        self.uploaders = Uploaders(self.folder)
        self.tools = Tools.of(settings)

    @property
    def settings(self) -> Settings:
        """Those of the user who starts the parts, with the folders that the .env names."""
        return self.env_file.over(self._settings)

    @property
    def logs(self) -> Path:
        """Where the supervisor keeps what the parts say."""
        return self.settings.layout.server_logs

    @property
    def server(self) -> ServerSettings:
        return self.env_file.load()

    @property
    def dagster_home(self) -> Path:
        return self.folder / "dagster"

    @property
    def digest(self) -> str:
        """Changes with every file that says how the parts are started, and with where they log."""
        own = [
            PROJECT / "infra" / name for name in ("Caddyfile", "dagster.production.yaml", "workspace.production.yaml")
        ]
        files = [self.env_file.path, config_file(), *own]
        read = [file.read_bytes() for file in files if file.is_file()]
        return sha256(b"\0".join([os.fsencode(self.logs), *read])).hexdigest()

    def dagster_environment(self, role: PostgresRole = "dagster") -> dict[str, str]:
        """The environment of every process that works on this server as Dagster does."""
        return dagster_parts.dagster_environment(self.settings, self.env_file, self.dagster_home, role)

    def command_environment(self, role: PostgresRole = "dagster") -> dict[str, str]:
        """The same for our code and commands: with the index and the audit of the environment service."""
        audit = {"DATABASE_URL": self.server.postgres_as("envs").url}
        return self.dagster_environment(role) | audit | self.index_as(role)

    def index_as(self, role: PostgresRole) -> dict[str, str]:
        """Where the index of what is made lies, with the login of a role."""
        return {"EGOWORLD_INDEX": self.server.postgres_as(role).url}

    def prepare(self) -> None:
        """Make the .env and DAGSTER_HOME, or bring them up to this version of egoworld."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Nobody but us looks into it; as root, the user that Postgres runs as has to pass through.
        self.folder.chmod(0o711 if unprivileged() else 0o700)
        with locked(self.folder / ".preparing.lock"):
            self.env_file.ensure()
            dagster_parts.write_home(self.dagster_home)
            self.places.make()

    def upgrade(self) -> None:
        """Give the .env of an earlier version what this one knows; nothing when there is none."""
        if self.env_file.path.is_file():
            self.prepare()

    def one(self, name: str) -> Part:
        """A part by its name."""
        found = {part.name: part for part in self.all()}
        if name not in found:
            raise UnknownName("part", name, found)
        return found[name]

    def all(self) -> list[Part]:
        """The parts, each after those that it needs."""
        reading = [self._files(), self._metrics()]
        asked = [self._envs(), *self._keeper(), self._door(), self._proxy()]
        listed = [self._postgres(), *self._s3(), *self._dagster(), *reading, *asked]
        return [replace(part, launch=partial(self._marked, part)) for part in listed]

    def _marked(self, part: Part) -> Launch:
        launch = part.launch()
        if SUPERVISED not in os.environ:  # systemd and containers know their own
            return launch
        return replace(launch, env={**launch.env, MARK: f"{self.folder}:{part.name}"})

    def _postgres(self) -> Part:
        server = self.server
        cluster = Cluster(self.folder / "postgres", server.postgres_db, self.places.postgres)
        statements = tuple(settled(server.postgres_db, server.postgres_passwords))
        launch = partial(postgres, self.tools, cluster, hba(server.postgres_db), statements)
        logs = cluster.folder / LOG_FOLDER
        probe = partial(probes.postgres, server.postgres_as("probe"))
        # INT is Postgres' fast shutdown: clients are cut off, everything committed stays
        return Part("postgres", 1, launch, probe, f"{cluster.sockets}/{cluster.database}", stop="INT", own_logs=logs)

    def _s3(self) -> list[Part]:
        name, at = self.server.s3_server, self.server.s3
        if name == "none":
            return []
        launch = partial(s3_server, name, self.tools, self.folder / name, at)
        probe = partial(probes.s3, name, at, self.server.s3_access.bucket(probes.PROBED))
        return [Part("s3", 1, launch, probe, at.endpoint, (at.port,))]

    def _dagster(self) -> list[Part]:
        home, of = self.dagster_home, self.places.of
        code, operator, viewer = of("code-location"), of("webserver"), of("webserver-viewer")
        runs = self.command_environment("runs")
        env, looking = (without_keys(self.dagster_environment(role)) for role in ("dagster", "viewer"))
        slow = partial(Part, ready_s=180.0, group=True)
        return [
            slow(
                "code-location",
                2,
                partial(dagster_parts.code_location, self.places, runs),
                partial(dagster_parts.code_answers, code),
                str(code),
            ),
            slow(
                "webserver",
                3,
                partial(dagster_parts.webserver, operator, home, env, read_only=False),
                partial(dagster_parts.webserver_answers, operator),
                str(operator),
            ),
            slow(
                "webserver-viewer",
                3,
                partial(dagster_parts.webserver, viewer, home, looking, read_only=True),
                partial(dagster_parts.webserver_answers, viewer),
                str(viewer),
            ),
            slow(
                "daemon",
                3,
                partial(dagster_parts.daemon, home, env),
                partial(dagster_parts.daemon_beats, operator),
                "no port",
            ),
        ]

    def _reading(self) -> dict[str, str]:
        """The environment of a part that only reads what was made."""
        reader = self.server.s3_as("reader")
        return self.dagster_environment("metrics") | {
            "S3_ACCESS_KEY": reader.access_key.get_secret_value(),
            "S3_SECRET_KEY": reader.secret_key.get_secret_value(),
        }

    def _files(self) -> Part:
        socket = self.places.of("files")
        env = {name: value for name, value in self._reading().items() if not name.startswith("POSTGRES_")}
        return Part("files", 3, partial(dagster_parts.files, socket, env), partial(probes.files, socket), str(socket))

    def _metrics(self) -> Part:
        socket = self.places.of("metrics")
        return Part(
            "metrics",
            3,
            partial(dagster_parts.metrics, socket, self._reading() | self.index_as("metrics")),
            partial(probes.metrics, socket),
            str(socket),
            ready_s=600.0,  # the first answer waits for a look through the whole store
        )

    def _envs(self) -> Part:
        server, socket = self.server, self.places.of("envs")
        env = env_service.environment(self.env_file, self.dagster_environment())
        return Part(
            "envs",
            3,
            partial(env_service.env_service, dagster_parts.program("egoworld"), socket, env),
            partial(env_service.answers, socket, server.env_viewer_token.get_secret_value()),
            str(socket),
        )

    def _keeper(self) -> list[Part]:
        if self.server.s3_server == "none":
            return []
        launch = partial(inbox_keeper.keeper, self.folder, self.settings.home)
        return [Part("inbox-keeper", 3, launch, partial(inbox_keeper.keeps, self.folder), "no port")]

    def _door(self) -> Part:
        socket = self.places.of("door")
        return Part("door", 3, partial(door.door, socket, self.server), partial(door.answers, socket), str(socket))

    def _proxy(self) -> Part:
        server, folder = self.server, self.folder / "proxy"
        return Part(
            "proxy",
            3,
            partial(proxy, self.tools, folder, server, self.places.of("door")),
            partial(answers, server, folder),
            f"https://{server.proxy_name}:{server.proxy_port}, S3 {server.s3_public_endpoint}",
            (server.proxy_port, server.proxy_s3_port),
            ready_s=180.0,
        )


def without_keys(env: dict[str, str]) -> dict[str, str]:
    """For processes that hold none of our code: what they need is in Postgres."""
    return {name: value for name, value in env.items() if not name.startswith("S3_")}
