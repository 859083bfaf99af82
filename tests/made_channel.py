"""Conda channels of tiny packages in folders, so that rattler solves, fetches and links without a network."""

from __future__ import annotations

import bz2
import hashlib
import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

PREFIX = "/opt/anaconda1anaconda2anaconda3"
"""Stands in files for the folder they will lie in; rattler writes that folder in its place."""

TIME = (2026, 1, 1, 0, 0, 0)


class MadeChannel:
    """The packages of the channel in ``folder``; ``url`` is what a policy names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"file://{folder}"
        self._entries: dict[str, dict[str, dict[str, Any]]] = {}
        for subdir in ("linux-64", "noarch"):
            (folder / subdir).mkdir(parents=True)
            self._entries[subdir] = {"packages": {}, "packages.conda": {}}
            self._index(subdir)

    def add(
        self,
        name: str,
        version: str,
        files: Mapping[str, str] | None = None,
        *,
        depends: tuple[str, ...] = (),
        links: Mapping[str, str] | None = None,
        kind: str = ".conda",
        sha256: bool = True,
        noarch: bool = False,
        lies: bool = False,
    ) -> Path:
        """A package whose files default to share/NAME.txt, which says its version.

        sha256: the channel tells it; noarch: of Python modules, with a program of its name that calls NAME.main;
        lies: its files are not those that it says it brings.
        """
        subdir = "noarch" if noarch else "linux-64"
        texts = {f"share/{name}.txt": version} if files is None else files
        contents = {path: text.encode() for path, text in texts.items()}
        about = {"name": name, "version": version, "build": "0", "build_number": 0, "license": "MIT"}
        about |= {"depends": list(depends)}
        about |= {"subdir": "noarch", "noarch": "python"} if noarch else {"subdir": subdir}
        told = {path: content[::-1] if lies else content for path, content in contents.items()}
        info = {
            "info/index.json": json.dumps(about).encode(),
            "info/paths.json": json.dumps({"paths_version": 1, "paths": _paths(told, links or {})}).encode(),
            "info/files": "\n".join([*contents, *(links or {})]).encode(),
        }
        if noarch:
            programs = {"noarch": {"type": "python", "entry_points": [f"{name} = {name}:main"]}}
            info["info/link.json"] = json.dumps({**programs, "package_metadata_version": 1}).encode()
        archive = self.folder / subdir / f"{name}-{version}-0{kind}"
        archive.write_bytes(_packed(archive.name.removesuffix(".conda"), info, contents, links or {}, kind))
        data = archive.read_bytes()
        entry = about | {"size": len(data), "md5": hashlib.md5(data).hexdigest()}
        entry |= {"sha256": hashlib.sha256(data).hexdigest()} if sha256 else {}
        self._entries[subdir]["packages.conda" if kind == ".conda" else "packages"][archive.name] = entry
        self._index(subdir)
        return archive

    def add_python(self, version: str = "3.11.9") -> Path:
        """A python that is the interpreter of the tests, and a script that names the folder it lies in."""
        files = {"bin/where": f"#!/bin/sh\necho {PREFIX}\n", "lib/python.txt": version}
        return self.add("python", version, files, links={"bin/python": sys.executable})

    def _index(self, subdir: str) -> None:
        index = {"info": {"subdir": subdir}, **self._entries[subdir], "repodata_version": 1}
        (self.folder / subdir / "repodata.json").write_text(json.dumps(index), encoding="utf-8")


def _paths(contents: Mapping[str, bytes], links: Mapping[str, str]) -> list[dict[str, Any]]:
    paths: list[dict[str, Any]] = []
    for path, content in contents.items():
        entry: dict[str, Any] = {"_path": path, "path_type": "hardlink", "size_in_bytes": len(content)}
        entry |= {"sha256": hashlib.sha256(content).hexdigest()}
        if PREFIX.encode() in content:
            entry |= {"prefix_placeholder": PREFIX, "file_mode": "text"}
        paths.append(entry)
    return paths + [{"_path": path, "path_type": "softlink"} for path in links]


def _packed(
    name: str, info: Mapping[str, bytes], contents: Mapping[str, bytes], links: Mapping[str, str], kind: str
) -> bytes:
    """The two formats: https://docs.conda.io/projects/conda/en/stable/user-guide/concepts/packages.html"""
    if kind == ".tar.bz2":
        return bz2.compress(_tar({**info, **contents}, links))
    parts = {
        "metadata.json": b'{"conda_pkg_format_version": 2}',
        f"pkg-{name}.tar.zst": pa.compress(_tar(contents, links), codec="zstd", asbytes=True),
        f"info-{name}.tar.zst": pa.compress(_tar(info, {}), codec="zstd", asbytes=True),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for part, data in parts.items():
            archive.writestr(zipfile.ZipInfo(part, TIME), data)
    return packed.getvalue()


def _tar(contents: Mapping[str, bytes], links: Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, content in contents.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o755 if path.startswith("bin/") else 0o644
            archive.addfile(member, io.BytesIO(content))
        for path, target in links.items():
            member = tarfile.TarInfo(path)
            member.type, member.linkname, member.mode = tarfile.SYMTYPE, target, 0o777
            archive.addfile(member)
    return packed.getvalue()
