"""The environment service: what a user writes, fetches and builds takes no secret out and no code in."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from made_api import Served, served
from made_index import MadeIndex, made_index

PASSWORD = "tr0ub4dor&3/kept+secret"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ENV_FILE = "OPERATOR_PASSWORD=\"of-the-env-file 'quoted'\"\nS3_SECRET_KEY=s3-secret-of-the-file\n"
OF_THE_FILE = ("of-the-env-file 'quoted'", "s3-secret-of-the-file")
SECRETS = {"POSTGRES_PASSWORD": PASSWORD, "SOME_API_TOKEN": "token-of-somebody-else", "UV_CONSTRAINT": "/dev/null"}


@dataclass(frozen=True)
class Place:
    """The service under attack: its home, its API, the index that it may ask."""

    home: Path
    api: Served
    index: MadeIndex

    def told(self) -> str:
        """All that the service has told so far, in answers to readers, in its audit and in its logs."""
        with self.api.client(self.api.reader) as reader:
            answers = [reader.get(path).text for path in ("/operations?limit=500", "/envs", "/openapi.json")]
            operations = reader.get("/operations?limit=500").json()["operations"]
            answers += [reader.get(f"/operations/{one['id']}/log").text for one in operations]
        files = [self.home / "serve.err", *(self.home / "workflow_envs" / ".logs").glob("*")]
        files += sorted(self.home.glob("env_operations.sqlite*"))
        return "\n".join([*answers, *(file.read_bytes().decode("utf-8", "replace") for file in files)])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, uv: Path) -> Iterator[Place]:
    home = tmp_path_factory.mktemp("home")
    (home / "production").mkdir()
    (home / "production" / ".env").write_text(ENV_FILE)
    with made_index(tmp_path_factory.mktemp("index")) as index:
        policy = home / "project" / "envs" / "policy.toml"
        policy.parent.mkdir(parents=True)
        policy.write_text(f"private_sources = ['{index.url.removesuffix('/simple')}']\n")
        more = {**SECRETS, "UV_HTTP_RETRIES": "0"}
        with served(home, uv, index.url, **more) as api:
            yield Place(home, api, index)


@pytest.fixture
def writer(place: Place) -> Iterator[httpx.Client]:
    with place.api.client() as client:
        yield client


def made(writer: httpx.Client, node: str, *packages: str, **more: Any) -> httpx.Response:
    return writer.post("/envs", json={"workflow_id": "attack", "node_id": node, "packages": packages, **more})


def encodings(secret: str) -> list[str]:
    """What a secret looks like where it comes out."""
    login = base64.b64encode(f"egoworld:{secret}".encode()).decode()
    return [secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1], secret.encode().hex(), login]


SPELLED = [
    "x @ git+https://127.0.0.1:1/${POSTGRES_PASSWORD}/z@" + COMMIT,
    "x @ git+https://${POSTGRES_PASSWORD}/z@" + COMMIT,
    "x @ git+https://127.0.0.1:1/$POSTGRES_PASSWORD/z@" + COMMIT,
    "x @ git+https://127.0.0.1:1/z@" + COMMIT + "#subdirectory=${POSTGRES_PASSWORD}",
    "x @ git+https://127.0.0.1:1/z@" + COMMIT + "#egg=${POSTGRES_PASSWORD}",
    "x @ git+https://user:${POSTGRES_PASSWORD}@127.0.0.1:1/z@" + COMMIT,
    "x @ git+https://127.0.0.1:1/%24%7BPOSTGRES_PASSWORD%7D/z@" + COMMIT,
    "x @ git+https://127.0.0.1:1/`env`/z@" + COMMIT,
    "x==${POSTGRES_PASSWORD}",
    "x===${POSTGRES_PASSWORD}",
    "x[${POSTGRES_PASSWORD}]",
    "x; python_version == '${POSTGRES_PASSWORD}'",
    "x @ https://127.0.0.1:1/${POSTGRES_PASSWORD}.whl",
    "${POSTGRES_PASSWORD}",
    "x\\${POSTGRES_PASSWORD}",
]


@pytest.mark.parametrize("wanted", SPELLED, ids=range(len(SPELLED)))
def test_expanded(place: Place, writer: httpx.Client, wanted: str) -> None:
    """A requirement that names a variable of the service is expanded by what reads it."""
    answers = [
        made(writer, "expanded", wanted),
        made(writer, "expanded", requirements=f"tiny\n{wanted}\n"),
        made(writer, "expanded", wanted, backend="conda"),
    ]
    for answer in answers:
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["code"] == "INVALID_PACKAGES"
    told = "".join(answer.text for answer in answers) + place.told()
    for form in encodings(PASSWORD):
        assert form not in told
