"""Declarations, locks, uv, envs and weights: each check seen to fail on files that are really missing or damaged."""

from __future__ import annotations

import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from egoworld_resources.doctor import Subject
from egoworld_resources.environments.building.builder import BuiltEnv, EnvBuilder
from egoworld_resources.environments.building.generations import Ready
from egoworld_resources.environments.building.installed_files import stamp_of
from egoworld_resources.environments.contract import root_source
from made_doctor import executable, findings, one, subject
from made_envs import made_catalog, made_env, made_lock, made_wheel

CONTENT = "root\n"
WEIGHTS = f"""
[[tool.egoworld.stages.clips.weights]]
name = "net"
path = "net.bin"
sha256 = "{sha256(CONTENT.encode()).hexdigest()}"
licence = "MIT"
"""


class Place:
    """A project with one env that serves clips, its lock of one wheel, a home and a uv cache."""

    def __init__(self, folder: Path, uv: Path, more: str = "", files: dict[str, str] | None = None) -> None:
        self.folder, self.uv = folder, uv
        self.env = made_env(folder, "tiny_env", more=more)
        self.install("1.0", files or {"tiny.py": "VERSION = 1\n"})

    def install(self, version: str, files: dict[str, str]) -> None:
        made_lock(self.folder, "tiny_env", [made_wheel(self.folder / "wheels", "tiny", version, files)])

    def build(self) -> BuiltEnv:
        root, cache = self.folder / "home" / "envs", self.folder / "cache"
        return EnvBuilder(root, made_catalog(self.folder), self.uv, cache).ensure("tiny_env")

    def subject(self, **more: Any) -> Subject:
        return subject(self.folder, {"clips": "tiny_env"}, **{"project": self.folder, "uv": self.uv, **more})


@pytest.fixture
def place(tmp_path: Path, uv: Path) -> Place:
    return Place(tmp_path, uv)


def change(file: Path, text: str, like: os.stat_result | None = None) -> None:
    """Write into an installed file, which is read-only; with ``like`` its times stay as they were."""
    file.chmod(0o644)
    file.write_text(text, encoding="utf-8")
    if like:
        os.utime(file, ns=(like.st_atime_ns, like.st_mtime_ns))


def test_names_that_nothing_has(place: Place) -> None:
    assert one("stages", place.subject()).state == "ok"
    given = {"stages": {"clps": "tiny_env"}, "params": {"clips": {"speed": 1}}}
    stage, parameter = findings("stages", place.subject(**given))
    assert (stage.state, stage.found) == ("fault", "unknown stage 'clps'; known: clips")
    assert (parameter.state, parameter.found) == ("fault", "unknown parameter of clips (tiny_env) 'speed'; known: none")
    env = one("stages", subject(place.folder, {"clips": "other"}, project=place.folder))
    assert (env.state, env.found) == ("fault", "unknown model env 'other'; known: tiny_env")


def test_a_declaration_that_is_wrong_is_named(place: Place) -> None:
    (place.env / "pyproject.toml").write_text("[tool.egoworld\n")
    found = one("stages", place.subject())
    assert found.state == "fault"
    assert str(place.env / "pyproject.toml") in found.found


def test_locks_that_are_stale_or_missing(place: Place) -> None:
    assert one("locks", place.subject()).state == "ok"
    text = (place.env / "pyproject.toml").read_text()
    (place.env / "pyproject.toml").write_text(text.replace("dependencies = []", 'dependencies = ["tiny==2.0"]'))
    stale = one("locks", place.subject())
    assert (stale.state, stale.fix) == ("fault", "make lock ENV=tiny_env")
    assert "was made from other dependencies" in stale.found
    (place.folder / "locks" / "pylock.tiny_env.toml").unlink()
    assert "does not exist" in one("locks", place.subject()).found
    not_in_force = one("locks", subject(place.folder, {}, project=place.folder))
    assert not_in_force.state == "warning"


def test_no_compiler_where_one_is_needed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert one("compilers", place.subject()).state == "not needed"
    text = (place.env / "pyproject.toml").read_text()
    (place.env / "pyproject.toml").write_text(text.replace("[tool.egoworld]", '[tool.egoworld]\nsdists = ["tiny"]', 1))
    monkeypatch.setenv("PATH", str(place.folder / "bin"))
    assert one("compilers", place.subject()).state == "fault"
    executable(place.folder / "bin" / "cc", "exit 0")
    assert one("compilers", place.subject()).state == "ok"


def test_uv_missing_failing_or_another(place: Place, tmp_path: Path) -> None:
    (place.folder / "locks" / "uv.txt").write_text("# pinned\nuv==0.0.7 --hash=sha256:00\n")
    another = one("uv", place.subject(uv=executable(tmp_path / "other", "echo uv 0.0.8")))
    assert (another.state, "pinned is 0.0.7" in another.found) == ("warning", True)
    assert one("uv", place.subject(uv=executable(tmp_path / "same", "echo uv 0.0.7"))).state == "ok"
    failing = one("uv", place.subject(uv=executable(tmp_path / "failing", "echo no such instruction >&2; exit 1")))
    assert (failing.state, "no such instruction" in failing.found) == ("fault", True)
    missing = one("uv", place.subject(uv=tmp_path / "nowhere"))
    assert (missing.state, "tiny_env cannot be built" in missing.found) == ("fault", True)
    place.build()
    assert one("uv", place.subject(uv=tmp_path / "nowhere")).state == "warning"


def test_our_interpreter_is_not_what_its_lock_says(tmp_path: Path) -> None:
    made_env(tmp_path, "own", interpreter="base")
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text('[project]\nrequires-python = ">=3.11"\ndependencies = []\n')
    wheels = [made_wheel(tmp_path / "wheels", "tiny", "1.0", {}), made_wheel(tmp_path / "wheels", "numpy", "0.1", {})]
    made_lock(tmp_path, "base", wheels, source=root_source(pyproject))
    found = one("our interpreter", subject(tmp_path, {"clips": "own"}, project=tmp_path))
    assert found.state == "fault"
    assert "tiny missing (locked: 1.0)" in found.found
    assert "(locked: 0.1)" in found.found
    assert one("our interpreter", subject(tmp_path, {}, project=tmp_path)).state == "not needed"


def test_an_env_from_not_built_to_damaged(place: Place) -> None:
    assert one("envs", place.subject()).state == "warning"
    built = place.build()
    assert one("envs", place.subject()).state == "ok"

    file = built.site_packages / "tiny.py"
    before = file.stat()
    change(file, "VERSION = 2\n", like=before)
    assert one("envs", place.subject()).state == "ok", "same size and time: only reading every byte tells"
    cheap, thorough = findings("envs", place.subject(thorough=True))
    assert (cheap.state, thorough.state) == ("ok", "fault")
    assert "tiny.py" in thorough.found

    change(file, "VERS")
    truncated = one("envs", place.subject())
    assert (truncated.state, "changed after they were installed" in truncated.found) == ("fault", True)
    assert truncated.fix.startswith(f"rm -rf {place.folder / 'home' / 'envs' / 'tiny_env'};")


def test_an_env_that_was_not_finished(place: Place) -> None:
    built = place.build()
    (built.python.parent.parent / "ready.json").unlink()
    found = one("envs", place.subject())
    assert (found.state, "was not finished" in found.found) == ("fault", True)


def say_unchanged(generation: Path) -> None:
    """As if this were what was installed: what changes outside an env leaves its files as they are."""
    ready = Ready.read(generation)
    assert ready is not None
    replace(ready, stamp=stamp_of(generation)).write(generation)


def test_an_env_whose_python_is_gone_or_fails(place: Place) -> None:
    built = place.build()
    built.python.unlink()
    executable(built.python, "echo libpython3.11.so: cannot open >&2; exit 127")
    other = one("envs", place.subject())
    assert (other.state, "changed after they were installed" in other.found) == ("fault", True)
    say_unchanged(built.python.parents[1])
    failing = one("envs", place.subject())
    assert (failing.state, "libpython3.11.so: cannot open" in failing.found) == ("fault", True)
    built.python.unlink()
    say_unchanged(built.python.parents[1])
    gone = one("envs", place.subject())
    assert (gone.state, "cannot be started: No such file or directory" in gone.found) == ("fault", True)


def test_an_env_from_an_older_lock(place: Place) -> None:
    place.build()
    place.install("2.0", {"tiny.py": "VERSION = 2\n"})
    found = one("envs", place.subject())
    assert (found.state, "an older lock" in found.found) == ("warning", True)


def test_stages_that_share_our_interpreter_need_no_env(tmp_path: Path) -> None:
    assert one("envs", subject(tmp_path, {})).state == "not needed"


def test_weights_in_a_package(tmp_path: Path, uv: Path) -> None:
    files = {"tiny/__init__.py": "", "tiny/net.bin": CONTENT}
    place = Place(tmp_path, uv, more=WEIGHTS.replace('name = "net"', 'name = "net"\npackage = "tiny"'), files=files)
    assert one("weights", place.subject()).state == "warning", "the env is not built"
    built = place.build()
    assert one("weights", place.subject()).state == "ok"
    assert one("weights folder", place.subject()).state == "not needed"
    change(built.site_packages / "tiny" / "net.bin", "toor\n")
    damaged = one("weights", place.subject())
    assert damaged.state == "fault"
    assert "declared is " in damaged.found
    assert damaged.fix.startswith("rm -rf ")


def test_weights_in_their_folder(tmp_path: Path, uv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path, uv, more=WEIGHTS)
    place.build()
    models = tmp_path / "models"
    monkeypatch.setenv("EGOWORLD_MODEL_HOME", str(models))
    assert one("weights", place.subject()).state == one("weights folder", place.subject()).state == "fault"
    models.mkdir()
    (models / "net.bin").write_text(CONTENT)
    assert one("weights", place.subject()).state == "ok"
    assert one("weights folder", place.subject(free_gb=0)).state == "ok"
    assert one("weights folder", place.subject(free_gb=1e9)).state == "warning"
    (models / "net.bin").write_text("roo")
    damaged = one("weights", place.subject())
    assert (damaged.state, damaged.fix) == ("fault", "put there the file whose sha256 is named")


def test_no_weights_in_force(place: Place) -> None:
    assert one("weights", place.subject()).state == "not needed"
