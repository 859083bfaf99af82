"""An index that may be asked and leads on, by a redirect, to an address that may not."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from made_api import Served, command, served
from made_attacked_envs import Door, made, redirecting, shut_door, site_rules
from made_envs import made_wheel
from made_index import MadeIndex, Quiet, made_index
from servers import answering


class Leading(Quiet):
    """Files of a folder; some paths lead on to another address."""

    leads: ClassVar[dict[str, str]] = {}

    def send_head(self):
        """Answer with a redirect, or with the file."""
        target = self.leads.get(self.path)
        if target is None:
            return super().send_head()
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None


@dataclass(frozen=True)
class Place:
    home: Path
    api: Served
    index: MadeIndex
    door: Door
    moved: str
    behind: Door
    other: str

    def package(self, name: str, target: str, *, path: str = "", more: str = "") -> None:
        """A package of the index, whose file (or what ``path`` says) leads on to ``target``."""
        self.index.add(name, "1.0")
        file = f"/files/{name}-1.0-py3-none-any.whl"
        Leading.leads[path or file] = target
        if more:
            page = self.index.folder / "simple" / name / "index.html"
            page.write_text(page.read_text().replace("<a ", f"<a {more} "))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, uv: Path) -> Iterator[Place]:
    home, files = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("index")
    other = tmp_path_factory.mktemp("other")
    with (
        made_index(files),
        answering(partial(Leading, directory=str(files))) as address,
        answering(partial(Quiet, directory=str(other))) as listed,
        shut_door() as door,
        redirecting() as (moved, behind),
    ):
        (home / "policy.toml").write_text(site_rules(address, moved, listed))
        made_wheel(other, "onward", "1.0", {"onward.py": ""})
        index = MadeIndex(files, address)
        with served(home, uv, index.url, UV_HTTP_RETRIES="0") as api:
            yield Place(home, api, index, door, moved, behind, listed)
        Leading.leads.clear()


@pytest.fixture
def writer(place: Place) -> Iterator[httpx.Client]:
    with place.api.client() as client:
        yield client


def refused(answer: httpx.Response, rule: str = "private_sources") -> str:
    assert answer.status_code == 403, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["details"]["rule"]) == ("POLICY_REFUSED", rule), error
    return error["message"]


@pytest.mark.parametrize("how", ["a file", "a page", "metadata", "a server that may be asked"])
def test_an_index_leads_to_this_machine(place: Place, writer: httpx.Client, how: str) -> None:
    """A redirect of the index leads to an address of this machine that nobody listed"""
    name = how.replace(" ", "")
    door, target = place.door, f"http://127.0.0.1:{place.door.port}/x.whl"
    if how == "a page":
        place.package(name, target, path=f"/simple/{name}/")
    elif how == "metadata":
        file = f"/files/{name}-1.0-py3-none-any.whl.metadata"
        place.package(name, target, path=file, more='data-dist-info-metadata="true" data-core-metadata="true"')
    elif how == "a file":
        place.package(name, target)
    else:
        door = place.behind
        place.package(name, f"{place.moved}/x.whl")
    message = refused(made(writer, name, name))
    assert f"leads to http://127.0.0.1:{door.port}" in message
    assert "private_sources = " in message
    assert (place.door.opened, place.behind.opened) == ([], [])
    assert writer.get(f"/envs/attack/{name}").status_code == 404
    (row,) = writer.get("/operations", params={"env": f"attack/{name}"}).json()["operations"]
    assert row["result"] == "POLICY_REFUSED"


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "10.0.0.1", "[::1]", "localhost", "2130706433", "[::ffff:127.0.0.1]"]
)
def test_an_index_leads_into_the_network(place: Place, writer: httpx.Client, host: str) -> None:
    """A redirect of the index leads to another machine of the network, or to this one in another spelling"""
    name = f"near{abs(hash(host))}"
    place.package(name, f"http://{host}:{place.door.port}/x.whl")
    refused(made(writer, name, name))
    assert place.door.opened == []


def test_an_index_leads_elsewhere_later(place: Place, writer: httpx.Client) -> None:
    """A redirect of the index leads elsewhere once an env is locked, when its files are fetched again"""
    place.index.add("later", "1.0")
    assert made(writer, "later", "later").status_code == 201
    place.package("later", f"http://127.0.0.1:{place.door.port}/x.whl")
    shutil.rmtree(place.home / "uv-cache")
    refused(writer.post("/envs/attack/later/sync"))
    assert place.door.opened == []
    assert writer.post("/envs/attack/later/run", json={"code": "import later; print(1)"}).json()["stdout"] == "1\n"


def test_an_index_leads_to_one_that_is_listed(place: Place, writer: httpx.Client) -> None:
    """A redirect of the index leads to an address that the policy lists, which is no attack"""
    shutil.copy(next(Path(place.home).parent.glob("other*")) / "onward-1.0-py3-none-any.whl", place.index.folder)
    page = place.index.folder / "simple" / "onward" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text('<html><body><a href="/files/onward-1.0-py3-none-any.whl">onward-1.0-py3-none-any.whl</a></body>')
    Leading.leads["/files/onward-1.0-py3-none-any.whl"] = f"{place.other}/onward-1.0-py3-none-any.whl"
    answer = made(writer, "onward", "onward")
    assert answer.status_code == 201, answer.text


def test_an_index_leads_to_a_public_address(place: Place) -> None:
    """A redirect leads to a public server that is not one of the policy's indexes"""
    rules = place.home / "indexes.toml"
    rules.write_text(f"indexes = ['{place.index.url}']\n")
    place.package("public", "https://packages.example.com/x.whl")
    words = command("env", "create", "attack/public", "public", "--json")
    environ = {**place.api.environ, "EGOWORLD_POLICY": str(rules)}
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    error = json.loads(done.stdout)["error"]
    assert (error["code"], error["details"].get("rule")) == ("POLICY_REFUSED", "indexes"), error
    assert "leads to https://packages.example.com" in error["message"]
