"""The one .env of a server: made from the template with secrets of its own, read by all parts, shown by none."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.leases.locks import write_private
from egoworld_resources.named_paths import PATHS, given
from egoworld_resources.s3.access import ROLES, Role, S3Access
from egoworld_resources.server.launch import LOOPBACK
from egoworld_resources.server.places import Places
from egoworld_resources.server.postgres import SOCKET_PORT, PostgresAddress
from egoworld_resources.server.roles import POSTGRES_ROLES, PostgresRole, name_of
from egoworld_resources.server.s3_servers import S3Address
from egoworld_resources.settings import PROJECT, Settings
from egoworld_resources.workflow_envs.config import DATA_ROOT, VARIABLES

TEMPLATE = PROJECT / "infra" / "env.template"
GENERATED = "<generated>"
PASSED_ON = (
    *("EGOWORLD_", "S3_", "CUDA_", "NVIDIA_", "UV_", "HF_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("LOG_DIR", "MODELS_DIR"),
)
"""Beginnings of further names: they reach Dagster's processes as they stand."""

OF_ENVS = frozenset({DATA_ROOT, *VARIABLES.values()}) - {"DATABASE_URL", "UV_CACHE_DIR"}
"""Settings of the environment service that may stand in the .env; its audit and its cache are the server's."""

ACCOUNT = "egoworld-{role}"
"""The access key of a role on the S3 server of ours."""

RETIRED = (
    "POSTGRES_PORT",
    "POSTGRES_USER",
    "POSTGRES_PASSWORD",
    "DAGSTER_CODE_PORT",
    "DAGSTER_OPERATOR_PORT",
    "DAGSTER_VIEWER_PORT",
    "FILES_PORT",
    "METRICS_PORT",
)
"""What earlier versions had: ports of parts that listen on Unix sockets now, and the login of a superuser."""

Port = Field(ge=1, le=65535)
Secret = Field(min_length=8)


class ServerSettings(BaseModel):
    """What infra/env.template describes, checked. Secrets are shown by neither repr nor errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    _state: Path = PrivateAttr(default=Path())
    postgres_owner_password: SecretStr = Secret
    postgres_dagster_password: SecretStr = Secret
    postgres_runs_password: SecretStr = Secret
    postgres_viewer_password: SecretStr = Secret
    postgres_metrics_password: SecretStr = Secret
    postgres_envs_password: SecretStr = Secret
    postgres_backup_password: SecretStr = Secret
    postgres_probe_password: SecretStr = Secret
    env_operator_token: SecretStr = Field(min_length=32)
    env_viewer_token: SecretStr = Field(min_length=32)
    postgres_db: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    s3_server: Literal["minio", "versitygw", "none"]
    s3_endpoint: str
    s3_public_endpoint: str
    s3_access_key: str = Field(min_length=3)
    s3_secret_key: SecretStr = Field(min_length=8)
    s3_pipeline_secret_key: SecretStr = Field(min_length=8)
    s3_uploader_secret_key: SecretStr = Field(min_length=8)
    s3_reader_secret_key: SecretStr = Field(min_length=8)
    s3_bucket_name: str
    inbox_keeper_every_s: float = Field(ge=1, le=300)
    dagster_pool_limits: str
    proxy_address: str
    proxy_name: str
    proxy_port: int = Port
    proxy_s3_port: int = Port
    proxy_tls: str
    viewer_password: SecretStr = Field(min_length=8)
    operator_password: SecretStr = Field(min_length=8)

    @field_validator("dagster_pool_limits")
    @classmethod
    def _limits(cls, value: str) -> str:
        if value and not re.fullmatch(r"[\w-]+=\d+(,[\w-]+=\d+)*", value):
            raise ValueError("write pools as cpu=2,gpu=1")
        return value

    @model_validator(mode="after")
    def _own_server_on_loopback(self) -> Self:
        parts = urlsplit(self.s3_endpoint)
        if self.s3_server != "none" and (parts.scheme != "http" or parts.hostname != LOOPBACK or not parts.port):
            raise ValueError(f"S3_ENDPOINT must be http://{LOOPBACK}:PORT for a server of ours; else S3_SERVER=none")
        if self.s3_access_key in (ACCOUNT.format(role=role) for role in ROLES):
            raise ValueError("S3_ACCESS_KEY is the owner's and cannot be named as a role's account")
        return self

    @property
    def places(self) -> Places:
        """Where the parts listen."""
        return Places(self._state)

    def at(self, state: Path) -> Self:
        """The settings of the server whose state lies in a folder."""
        self._state = state
        return self

    @property
    def postgres(self) -> PostgresAddress:
        """The database as its owner, which no part is given."""
        return self.postgres_as("owner")

    def postgres_as(self, role: PostgresRole) -> PostgresAddress:
        """The database as one of its roles."""
        password = self.postgres_passwords[role]
        return PostgresAddress(SOCKET_PORT, name_of(role), password, self.postgres_db, str(self.places.postgres))

    @property
    def postgres_passwords(self) -> dict[PostgresRole, str]:
        """Of every role."""
        found: dict[PostgresRole, SecretStr] = {
            role: getattr(self, f"postgres_{role}_password") for role in POSTGRES_ROLES
        }
        return {role: password.get_secret_value() for role, password in found.items()}

    @property
    def s3(self) -> S3Address:
        """The S3 server of ours."""
        port = urlsplit(self.s3_endpoint).port or 80
        return S3Address(port, self.s3_access_key, self.s3_secret_key.get_secret_value())

    @property
    def s3_access(self) -> S3Access:
        """The S3 server as its clients know it, with the keys of its owner."""
        return S3Access.model_validate(
            {
                "endpoint": self.s3_endpoint,
                "public_endpoint": self.s3_public_endpoint,
                "access_key": self.s3_access_key,
                "secret_key": self.s3_secret_key,
                "bucket_name": self.s3_bucket_name,
            }
        )

    def s3_as(self, role: Role) -> S3Access:
        """The same with the key of a role; on a server that is not ours with the keys that were given."""
        return self.s3_accounts.get(role, self.s3_access)

    @property
    def s3_accounts(self) -> dict[str, S3Access]:
        """The accounts of the roles on the S3 server of ours."""
        if self.s3_server == "none":
            return {}
        keys: dict[Role, SecretStr] = {
            "pipeline": self.s3_pipeline_secret_key,
            "uploader": self.s3_uploader_secret_key,
            "reader": self.s3_reader_secret_key,
        }
        owner = self.s3_access.model_dump()
        return {
            role: S3Access.model_validate({**owner, "access_key": ACCOUNT.format(role=role), "secret_key": keys[role]})
            for role in ROLES
        }

    @property
    def pool_limits(self) -> dict[str, int]:
        pairs = (pair.split("=") for pair in self.dagster_pool_limits.split(",") if pair)
        return {pool: int(limit) for pool, limit in pairs}

    @property
    def secrets(self) -> list[str]:
        """Every secret, to look for where none may be."""
        fields = (getattr(self, name) for name in type(self).model_fields)
        return [field.get_secret_value() for field in fields if isinstance(field, SecretStr)]


class EnvFile:
    """The .env at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ensure(self, own: Mapping[str, str] | None = None) -> None:
        """Make the file from the template, or bring it up to it: what is new is added, what is retired is left out.

        own: values that go before those of the template.
        """
        if not self.path.exists():
            self.write(_filled(TEMPLATE.read_text(encoding="utf-8"), own or {}))
            return
        self.path.chmod(0o600)
        wanted = re.findall(r"^(\w+)=.*$", TEMPLATE.read_text(encoding="utf-8"), re.MULTILINE)
        values = self.values()
        missing, retired = set(wanted) - set(values), [name for name in RETIRED if name in values]
        if not missing and not retired:
            return
        kept = self.path.read_text(encoding="utf-8")
        for name in retired:
            kept = re.sub(rf"(?m)^\s*(export\s+)?{name}\s*=.*(\n|\Z)", "", kept)
        lines = TEMPLATE.read_text(encoding="utf-8").splitlines()
        added = [line for line in lines if line.partition("=")[0] in missing]
        self.write(kept + (_filled("\n".join(["", *added, ""]), own or {}) if added else ""))

    def values(self) -> dict[str, str]:
        """Names and values as they stand in the file; raises BadConfiguration when there is none."""
        if not self.path.is_file():
            raise BadConfiguration(f"there is no {self.path}; `make up` makes it")
        return {name: value or "" for name, value in dotenv_values(self.path, interpolate=False).items()}

    def load(self) -> ServerSettings:
        """The checked settings. Raises BadConfiguration that names the variable, never its value."""
        values = self.values()
        known = {name.upper() for name in ServerSettings.model_fields}
        strange = [
            name for name in values if name not in known | OF_ENVS and not name.startswith((*PASSED_ON, *RETIRED))
        ]
        if strange:
            raise BadConfiguration(f"{self.path}: unknown {', '.join(strange)}; known: {', '.join(sorted(known))}")
        if "EGOWORLD_HOME" in values:
            raise BadConfiguration(f"{self.path} lies in EGOWORLD_HOME and cannot name it: put it into egoworld.toml")
        try:
            checked = {name.lower(): value for name, value in values.items() if name in known}
            return ServerSettings.model_validate(checked).at(self.path.parent)
        except ValidationError as error:
            found = error.errors(include_input=False, include_context=False)
            wrong = "; ".join(f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in found)
            hint = "infra/env.template describes each, `make up` adds what is missing"
            raise BadConfiguration(f"{self.path}: {wrong}; {hint}") from None

    def passed_on(self) -> dict[str, str]:
        """What Dagster's processes get of it, with the S3 key of the pipeline: that of the owner stays here."""
        pipeline = self.load().s3_as("pipeline")
        found = {name: value for name, value in self.values().items() if name.startswith(PASSED_ON)}
        kept = {name: value for name, value in found.items() if not re.fullmatch(r"S3_[A-Z]+_SECRET_KEY", name)}
        return kept | {
            "S3_ACCESS_KEY": pipeline.access_key.get_secret_value(),
            "S3_SECRET_KEY": pipeline.secret_key.get_secret_value(),
        }

    def over(self, settings: Settings) -> Settings:
        """Settings with the folders that the file names, if there is one, in place of those named elsewhere."""
        values = self.values() if self.path.is_file() else {}
        names = {name: next(iter(given(name, values).values()), "") for name in PATHS if name != "home"}
        return settings.with_folders({name: Path(folder) for name, folder in names.items() if folder})

    def write(self, text: str) -> None:
        """Put the text in the file's place, whole, for nobody else to read."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_private(self.path, text)


def _filled(text: str, own: Mapping[str, str]) -> str:
    for name, value in own.items():
        text = re.sub(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
    return re.sub(rf"(?m)^(\w+=){GENERATED}$", lambda found: found[1] + secrets.token_hex(20), text)
