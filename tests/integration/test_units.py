"""The systemd units, as systemd itself reads them, and the compose file: both run the parts that `make up` runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.server.parts import Parts
from egoworld_resources.server.units import TEMPLATES, write_units
from egoworld_resources.settings import PROJECT, Settings


def test_there_is_a_unit_for_every_part(tmp_path: Path) -> None:
    parts = Parts(Settings.load(home=tmp_path))
    parts.prepare()
    wanted = {f"egoworld-{part.name}.service" for part in parts.all()}
    assert {file.name for file in TEMPLATES.glob("*.service")} == wanted
    target = (TEMPLATES / "egoworld.target").read_text(encoding="utf-8")
    assert set(re.findall(r"egoworld-[\w-]+\.service", target)) == wanted


def test_there_is_a_container_for_every_part(tmp_path: Path) -> None:
    parts = Parts(Settings.load(home=tmp_path))
    parts.prepare()
    services = yaml.safe_load((PROJECT / "infra" / "compose.yaml").read_text(encoding="utf-8"))["services"]
    wanted = {part.name: ["run", part.name] for part in parts.all()}
    assert {name: service["command"] for name, service in services.items()} == {**wanted, "settled": ["ready"]}
    for name, service in services.items():
        assert set(service.get("depends_on", ())) <= set(services)
        assert "healthcheck" not in service or name in service["healthcheck"]["test"]
        assert service["network_mode"] == "host", "all parts share one loopback and one .env"


@pytest.mark.parametrize("user", ["", "daemon"], ids=["a user's", "the system's"])
def test_systemd_takes_the_units(tmp_path: Path, user: str) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    files = write_units(tmp_path / "units", Settings.load(home=tmp_path / "home"), user)
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    whose = ["--user"] if not user else []
    done = subprocess.run(
        [analyze, *whose, "verify", *files],
        env={**os.environ, "XDG_RUNTIME_DIR": str(runtime)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_units_name_the_folders_of_who_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit inherits no environment: without it each part would build its programs again, and log elsewhere."""
    monkeypatch.setenv("EGOWORLD_TOOLS", str(tmp_path / "programs"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("LOG_DIR", str(tmp_path / "logs"))
    wanted = f"EGOWORLD_HOME={tmp_path}/home UV_CACHE_DIR={tmp_path}/cache EGOWORLD_TOOLS={tmp_path}/programs"
    wanted += f" EGOWORLD_LOGS={tmp_path}/logs"
    for file in write_units(tmp_path / "units", Settings.load(home=tmp_path / "home"), "daemon"):
        text = file.read_text(encoding="utf-8")
        assert file.suffix == ".target" or f"Environment={wanted}\n" in text
        assert "/opt/egoworld" not in text


def test_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match="root"):
        write_units(tmp_path / "units", Settings.load(home=tmp_path), "root")
    with pytest.raises(BadConfiguration, match="move it"):
        write_units(tmp_path / "units", Settings.load(home=tmp_path / "a b"))
    assert not (tmp_path / "units").exists()
