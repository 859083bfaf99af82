"""Git repositories of made-up packages on this machine, and a build backend for them in the index."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

BACKEND = """
import base64, hashlib, os, zipfile

INFO = "gitted-1.0.dist-info"
METADATA = "Metadata-Version: 2.1\\nName: gitted\\nVersion: 1.0\\n"
WHEEL = "Wheel-Version: 1.0\\nGenerator: made\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"


def build_wheel(folder, config_settings=None, metadata_directory=None):
    said = {}
    exec(open("setup.py").read(), {"said": said})
    files = {"gitted.py": f"SAID = {said!r}\\n", f"{INFO}/METADATA": METADATA, f"{INFO}/WHEEL": WHEEL}
    rows = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(text.encode())}")
    files[f"{INFO}/RECORD"] = "\\n".join([*rows, f"{INFO}/RECORD,,"]) + "\\n"
    name = "gitted-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return name
"""
"""A backend that runs setup.py and puts what it says into the wheel; a module of a wheel called madebackend."""

PYPROJECT = '[build-system]\nrequires = ["madebackend"]\nbuild-backend = "madebackend"\n'


def made_repository(folder: Path, files: Mapping[str, str], links: Mapping[str, str] | None = None) -> str:
    """A repository with one commit of these files and links (name to target), served as plain files; its commit."""
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name, target in (links or {}).items():
        (folder / name).symlink_to(target)
    who = ("-c", "user.name=made", "-c", "user.email=made@up.example")

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", folder, *who, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "made")
    git("update-server-info")
    return git("rev-parse", "HEAD")
