"""The folders that an interpreter needs to start: its env, and the installation that the env was made from."""

from __future__ import annotations

from pathlib import Path

LINKS = 40
"""As many as the kernel follows."""


def trees(python: Path, env_folder: Path) -> list[tuple[str, str]]:
    """Real folder and where it must appear, of each that code may read besides the system's; the env comes last.

    The interpreter of a venv is a link, often of a link (python -> cpython-3.11 -> cpython-3.11.9), and pyvenv.cfg
    names the folder where the standard library is found: each of these names must lead where it leads outside.
    """
    found: dict[str, str] = {}
    for binaries in (*(hop.parent for hop in _hops(python)), *_home(env_folder)):
        prefix = binaries.parent
        if not prefix.is_relative_to(env_folder) and any(prefix.glob("lib/python3*/os.py")):
            for shown in (prefix, prefix.resolve()):
                found[str(shown)] = str(prefix.resolve())
    ordered = sorted(found.items())
    return [*((real, shown) for shown, real in ordered), (str(env_folder), str(env_folder))]


def links(python: Path) -> list[tuple[str, str]]:
    """The links between the interpreter and its program, each with its target."""
    return [(str(hop), str(hop.readlink())) for hop in _hops(python) if hop.is_symlink()]


def _hops(python: Path) -> list[Path]:
    """The interpreter and all that it leads to, link by link."""
    hops = [python]
    while hops[-1].is_symlink() and len(hops) <= LINKS:
        hops.append((hops[-1].parent / hops[-1].readlink()).absolute())
    return hops


def _home(env_folder: Path) -> list[Path]:
    """What pyvenv.cfg names as home."""
    try:
        lines = (env_folder / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    settings = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines)}
    return [Path(settings["home"])] if settings.get("home") else []
