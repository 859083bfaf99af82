"""Who may know whom: what import-linter cannot see because model envs are no packages, and what loading costs."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ENVS = sorted(file.parent for file in (REPOSITORY / "envs").glob("*/pyproject.toml") if file.parent.name != "runner")

WATCHED_IMPORT = """
import json, os, sys

ours, seen = (os.path.join(sys.argv[1], "egoworld_assets"), os.path.join(sys.argv[1], "resources")), []


def culprit():
    # Where our code does it, itself or through a library; what happens while a module is imported does not count.
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib"):
            return None
        if file.startswith(ours):
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return None


def audit(event, arguments):
    if event in WATCHED:
        where = culprit()
        if where:
            seen.append(f"{where}: {event} {arguments[:1]}")


WATCHED = {"open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove", "socket.connect"}
WATCHED |= {"subprocess.Popen"}
THEIRS = ("PYDANTIC_", "DAGSTER_")  # read by the library whenever a model class or an asset is declared
THEIRS += ("ARROW_DEFAULT_MEMORY_POOL",)  # set for Arrow, unless the user has chosen
read = os._Environ.__getitem__


def watched_read(self, key):
    where = not key.startswith(THEIRS) and culprit()
    if where:
        seen.append(f"{where}: environment {key}")
    return read(self, key)


os._Environ.__getitem__ = watched_read
sys.addaudithook(audit)
import egoworld_assets.definitions

print(json.dumps({"modules": sorted(sys.modules), "seen": seen}))
"""


def load(root: Path, cwd: Path) -> dict[str, list[str]]:
    """What importing the definitions below ``root`` brings in and does, in a fresh interpreter."""
    program = [sys.executable, "-c", WATCHED_IMPORT, str(root)]
    path = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=cwd, env=path)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    return load(REPOSITORY, tmp_path_factory.mktemp("elsewhere"))


def test_the_watch_sees_what_it_forbids(tmp_path: Path) -> None:
    package = tmp_path / "egoworld_assets"
    package.mkdir()
    (package / "__init__.py").write_text("")
    source = "import os, pathlib, json\nX = os.environ.get('HOME')\nY = pathlib.Path(__file__).read_text()\n"
    (package / "definitions.py").write_text(source)
    seen = [line.partition("definitions.py:")[2].partition("(")[0].strip() for line in load(tmp_path, tmp_path)["seen"]]
    assert seen == ["2: environment HOME", "3: open"]


def test_loading_the_definitions_brings_no_tensor_library(loaded: dict[str, list[str]]) -> None:
    heavy = {"torch", "cv2", "scipy", "mediapipe", "pycolmap", "rerun", "scenedetect", "tensorflow", "jax", "pandas"}
    assert heavy & set(loaded["modules"]) == set()


def test_loading_the_definitions_reads_no_file_and_no_environment_variable(loaded: dict[str, list[str]]) -> None:
    assert loaded["seen"] == []


@pytest.mark.parametrize("folder", ENVS, ids=lambda folder: folder.name)
def test_a_model_env_knows_only_itself_and_the_contract(folder: Path) -> None:
    others = {env.name for env in ENVS if env != folder} | {"envs"}
    own = {file.stem for file in folder.glob("*.py")}
    forbidden = {"egoworld_assets", "egoworld_resources", "dagster"} | (others - own - {folder.name})
    libraries = {"rerun", "mediapipe", "pycolmap"}  # folders that carry their library's name
    found = [
        f"{file.name}:{node.lineno}: {name}"
        for file in sorted(folder.glob("**/*.py"))
        for node, name in imports(file)
        if name in forbidden - (libraries if name not in own else set())
    ]
    assert found == []


@pytest.mark.parametrize("folder", ENVS, ids=lambda folder: folder.name)
def test_runners_shadow_no_standard_module(folder: Path) -> None:
    assert {file.stem for file in folder.glob("*.py")} & sys.stdlib_module_names == set()


def imports(file: Path) -> list[tuple[ast.stmt, str]]:
    """Every imported top-level name of a file."""
    found: list[tuple[ast.stmt, str]] = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            found += [(node, alias.name.partition(".")[0]) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append((node, node.module.partition(".")[0]))
    return found
