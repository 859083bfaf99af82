"""The server that belongs to home, as `make up` starts it, for the checks that ask its parts."""

from __future__ import annotations

import os
from pathlib import Path

from egoworld_resources.doctor.finding import Subject
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.server.environment import EnvFile, ServerSettings


def folder(subject: Subject) -> Path:
    """Where its state lies, or would lie."""
    return subject.layout.server


def env_file(subject: Subject) -> EnvFile | None:
    """Its .env; None when no server was set up here."""
    file = EnvFile(folder(subject) / ".env")
    return file if file.path.is_file() else None


def settings(subject: Subject) -> ServerSettings | None:
    """Its settings; None when there is none, or the .env is wrong, which the check of it says."""
    file = env_file(subject)
    try:
        return file.load() if file else None
    except BadConfiguration:
        return None


def in_force(subject: Subject) -> bool:
    """Whether we work with it now: then a part that does not answer is a fault, else a server that was taken down."""
    return os.environ.get("DAGSTER_HOME") == str(folder(subject) / "dagster")


def data(subject: Subject) -> dict[str, Path]:
    """The folders that its parts write, by name; only those that are there."""
    names = {"S3 objects (MinIO)": "minio", "S3 objects (versitygw)": "versitygw", "Postgres": "postgres"}
    found = {name: folder(subject) / below for name, below in names.items()}
    found["logs of the server"] = subject.layout.server_logs
    return {name: path for name, path in found.items() if path.is_dir()}
