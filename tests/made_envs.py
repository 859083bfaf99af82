"""Made-up model envs for tests: tiny wheels of our own, so that real uv installs real files without a network."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile
from pathlib import Path

from egoworld_resources.environments.catalog import Catalog
from egoworld_resources.environments.locking.lockfile import Lock, addresses_of

PYPROJECT = """\
[project]
name = "egoworld-{name}"
version = "0"
requires-python = "{python}"
dependencies = {dependencies}

[tool.egoworld]
interpreter = "{interpreter}"

[tool.egoworld.stages.{stage}]
runner = "runner:Model"
device = "cpu"
licence = "MIT"
{more}"""

RUNNER = "class Model:\n    pass\n"


def made_env(
    parent: Path,
    name: str,
    *,
    stage: str = "clips",
    dependencies: tuple[str, ...] = (),
    interpreter: str = "env",
    python: str = ">=3.11",
    more: str = "",
) -> Path:
    """A model env folder below ``parent``/envs, with a runner that does nothing."""
    folder = parent / "envs" / name
    folder.mkdir(parents=True)
    text = PYPROJECT.format(
        name=name,
        python=python,
        dependencies=json.dumps(list(dependencies)),
        interpreter=interpreter,
        stage=stage,
        more=more,
    )
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    (folder / "runner.py").write_text(RUNNER, encoding="utf-8")
    return folder


def made_catalog(parent: Path) -> Catalog:
    """The catalog of ``parent``/envs and ``parent``/locks."""
    return Catalog.load(parent / "envs", parent / "locks")


def made_wheel(folder: Path, name: str, version: str, modules: dict[str, str], requires: tuple[str, ...] = ()) -> Path:
    """A pure-Python wheel with ``modules`` (file name to source) and a RECORD."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        **modules,
        f"{info}/METADATA": "\n".join(
            ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
            + [f"Requires-Dist: {requirement}" for requirement in requires]
            + [""]
        ),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{file},sha256={_record_digest(text)},{len(text.encode())}" for file, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]) + "\n"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return wheel


def made_lock(parent: Path, env: str, wheels: list[Path], source: str | None = None) -> Path:
    """The lock of ``env`` that installs ``wheels``; made from its pyproject unless another ``source`` is given."""
    lines = ['lock-version = "1.0"', 'created-by = "test"', 'requires-python = ">=3.11"']
    for wheel in wheels:
        name, version, *_ = wheel.name.split("-")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        file = f"{{ path = {json.dumps(str(wheel))}, hashes = {{ sha256 = '{digest}' }} }}"
        lines += ["", "[[packages]]", f'name = "{name}"', f'version = "{version}"', f"wheels = [{file}]"]
    (parent / "locks").mkdir(exist_ok=True)
    lines += ["", "[tool.egoworld]", f'source = "{source or made_catalog(parent).lock_source(env)}"', ""]
    target = parent / "locks" / f"pylock.{env}.toml"
    target.write_text("\n".join(lines), encoding="utf-8")
    sealed(target)
    return target


def sealed(lock: Path) -> None:
    """Write into a lock, whose last table is ours, the digest that it has now, as if it had been made so."""
    lines = lock.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(("digest = ", "addresses = "))]
    found = Lock.read(lock.name, lock)
    seal = [f'digest = "{found.digest}"', f'addresses = "{addresses_of(found.entries)}"', ""]
    lock.write_text("\n".join([*kept, *seal]), encoding="utf-8")


def _record_digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
