"""A kit from making to demo: installed where there is no network, killed in the middle, renewed by what changed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from egoworld_resources.environments.building.uv import Uv
from egoworld_resources.environments.checkout import checkout_catalog
from egoworld_resources.kit.interpreter import make_interpreter
from egoworld_resources.kit.keys import make_key
from egoworld_resources.kit.making import Made, Order, make
from egoworld_resources.kit.receiver.install import installed
from egoworld_resources.kit.tools import tool_wheel
from made_kit import small_checkout, tiny, without_network


class Delivery:
    """A small checkout whose kits are made with the network that is here, and a place where they go to."""

    def __init__(self, folder: Path, repository: Path, uv: Path, uv_cache: Path) -> None:
        self.folder = folder
        self.checkout = small_checkout(folder / "checkout", repository)
        self.to = folder / "to"
        self.fingerprint = make_key(folder / "kit.key")
        self._uv = Uv(uv, uv_cache)
        self._alone = without_network()

    def kit(self, name: str, previous: Path | None = None) -> Made:
        order = Order(
            project=self.checkout,
            target=self.folder / name,
            key=self.folder / "kit.key",
            fetched=self._uv.cache / "egoworld-kit-fetched",
            demo=frozenset({"tiny_env", "base"}),
            interpreter=False,
            previous=previous,
        )
        return make(order, checkout_catalog(self.checkout), self._uv, print)

    def installing(self, kit: Path, to: Path | None = None) -> subprocess.Popen[str]:
        """``install.sh`` of the kit, without a network, with an empty cache and a home of its own."""
        (self.folder / "home").mkdir(exist_ok=True)
        script = kit / "install.sh"
        command = [*self._alone, "sh", script, kit, "--to", to or self.to, "--key", self.fingerprint]
        outer = {"PATH": os.environ["PATH"], "HOME": str(self.folder / "home"), "PYTHON3": sys.executable}
        return subprocess.Popen(
            [str(word) for word in command],
            env=outer,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def install(self, kit: Path, to: Path | None = None) -> tuple[int, str]:
        """Exit status and output."""
        process = self.installing(kit, to)
        output = process.communicate()[0]
        return process.returncode, output

    def imports(self) -> str:
        """The version of the made-up wheel that the env imports."""
        python = self.to / "data" / "envs" / "tiny_env" / "current" / "bin" / "python"
        program = [python, "-I", "-c", "import tiny; print(tiny.VERSION)"]
        return subprocess.run(program, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory, repository: Path, uv: Path, uv_cache: Path) -> Delivery:
    return Delivery(tmp_path_factory.mktemp("delivery"), repository, uv, uv_cache)


@pytest.fixture(scope="module")
def first(delivery: Delivery) -> Path:
    """A whole kit, installed after an installation that was killed."""
    kit = delivery.kit("first").target
    process = delivery.installing(kit)
    begun = delivery.to / "data" / "kit" / "installing"
    while not begun.exists() and process.poll() is None:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    output = process.communicate()[0]
    assert begun.exists(), output
    assert installed(delivery.to) is None, "what was killed does not count as installed"
    assert not (delivery.to / ".venv" / ".ready").exists()
    status, output = delivery.install(kit)
    assert status == 0, output
    assert "files are here already" in output
    return kit


def test_without_a_network_every_env_is_built_and_the_demo_runs(delivery: Delivery, first: Path) -> None:
    assert delivery.imports() == "1.0"
    assert "files are as installed" in (delivery.to / "demo.txt").read_text()
    manifest = installed(delivery.to)
    assert manifest is not None
    assert manifest.envs == ("tiny_env",)
    assert not (delivery.to / "data" / "kit" / "installing").exists()
    assert (delivery.to / ".tools" / "bin" / "uv").is_file()
    licences = {file.path.split("/")[-1].partition("-")[0]: file.licence for file in manifest.of_kind("wheel")}
    assert (licences["pydantic"], licences["tiny"]) == ("MIT", "")


def test_what_changed_is_enough_for_the_next_delivery(delivery: Delivery, first: Path) -> None:
    tiny(delivery.checkout, "2.0")
    (delivery.checkout / "LICENSE").unlink()
    subprocess.run(["git", "add", "--all", "locks"], cwd=delivery.checkout, check=True)
    (delivery.checkout / "egoworld_assets" / "__init__.py").write_text('"""Renewed."""\n')
    (delivery.checkout / "pyproject.toml").write_text(
        (delivery.checkout / "pyproject.toml").read_text().replace('license-files = ["LICENSE"]\n', "")
    )
    made = delivery.kit("changes", previous=first)
    shipped = {str(path.relative_to(made.target)) for path in made.target.rglob("*") if path.is_file()}
    assert "wheels/tiny-2.0-py3-none-any.whl" in shipped
    assert [name for name in shipped if name.startswith("wheels/")] == ["wheels/tiny-2.0-py3-none-any.whl"]
    assert {"source/egoworld_assets/__init__.py", "source/pyproject.toml"} <= shipped
    status, output = delivery.install(made.target, delivery.folder / "nowhere")
    assert status == 1
    assert "install that kit first" in output
    assert not (delivery.folder / "nowhere" / "Makefile").exists()
    status, output = delivery.install(made.target)
    assert status == 0, output
    assert delivery.imports() == "2.0"
    assert (delivery.to / "egoworld_assets" / "__init__.py").read_text() == '"""Renewed."""\n'
    assert not (delivery.to / "LICENSE").exists()
    assert [path.name for path in (delivery.to / "data" / "kit" / "files" / "wheels").glob("tiny-*")] == [
        "tiny-2.0-py3-none-any.whl"
    ]


def test_the_interpreter_runs_from_any_folder(tmp_path: Path, repository: Path, uv: Path, uv_cache: Path) -> None:
    if shutil.which("apt-get") is None or not any(Path("/var/lib/apt/lists").glob("*_Packages*")):
        pytest.skip("the interpreter is made of Debian's packages, and here are no package lists: apt-get update")
    program = Uv(uv, uv_cache)
    wheel = tool_wheel(repository / "locks" / "kit.txt", program, uv_cache / "egoworld-kit-fetched")
    (tmp_path / "work").mkdir()
    made = make_interpreter(tmp_path / "work", wheel)
    place = tmp_path / "some where"
    place.mkdir()
    subprocess.run(["tar", "-xzf", made.archive, "-C", place], check=True)
    python = place / "usr" / "bin" / "python3.11"
    code = "import re, ssl, sqlite3, sys; maps = open('/proc/self/maps').read(); print(sys.prefix); print(maps)"
    done = subprocess.run([python, "-I", "-B", "-c", code], capture_output=True, text=True, check=True, env={})
    prefix, maps = done.stdout.split("\n", 1)
    assert Path(prefix) == place / "usr"
    libraries = [line.split(maxsplit=5)[5] for line in maps.splitlines() if "libssl" in line or "libsqlite3" in line]
    assert libraries
    assert [path for path in libraries if not Path(path).is_relative_to(place)] == []
    program.run(["venv", "--quiet", "--python", python, tmp_path / "venv"], tmp_path)
    inside = [tmp_path / "venv" / "bin" / "python", "-c", "import ssl, sys; print(sys.prefix)"]
    assert Path(subprocess.run(inside, capture_output=True, text=True, check=True).stdout.strip()) == tmp_path / "venv"
