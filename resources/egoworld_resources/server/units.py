"""systemd units of this checkout, from infra/systemd: the paths, and who the parts run as, are filled in."""

from __future__ import annotations

import os
import re
from pathlib import Path

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.named_paths import given
from egoworld_resources.server.tools import Tools
from egoworld_resources.settings import PROJECT, Settings

TEMPLATES = PROJECT / "infra" / "systemd"
CHECKOUT = "/opt/egoworld"
"""What the shipped units name as the checkout."""


def write_units(folder: Path, settings: Settings, user: str = "") -> list[Path]:
    """Write the units to ``folder``: for the system with the parts running as ``user``, or for a user's own systemd.

    Raises BadConfiguration for root (Postgres refuses it) and for paths that systemd would read otherwise.
    """
    if user == "root":
        raise BadConfiguration("Postgres refuses to run as root: name an ordinary user")
    places = {"EGOWORLD_HOME": settings.home, "UV_CACHE_DIR": settings.uv_cache_folder}
    places["EGOWORLD_TOOLS"] = Tools.of(settings).folder
    # a unit inherits no environment: what names a folder in ours has to stand in it
    more = {f"EGOWORLD_{name.upper()}": path for name, path in settings.folders.items() if given(name, os.environ)}
    more.pop("EGOWORLD_HOME", None)
    for path in (PROJECT, *places.values(), *more.values()):
        if re.search(r"[\s%\"'\\\\]", str(path)):
            raise BadConfiguration(
                f"systemd reads blanks, quotes, backslashes and % of {path} as its own signs: move it"
            )
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for template in sorted(TEMPLATES.iterdir()):
        text = template.read_text(encoding="utf-8")
        text = text.replace(f"={CHECKOUT}", f"={PROJECT}")
        for name, path in places.items():
            text = re.sub(rf"\b{name}=\S+", f"{name}={path}", text)
        text = re.sub(
            r"(?m)^(Environment=.*)$", " ".join([r"\1", *(f"{name}={path}" for name, path in more.items())]), text
        )
        if user:
            text = text.replace("User=egoworld", f"User={user}")
        else:  # a user's systemd knows neither other users nor the targets of the system
            text = re.sub(r"(?m)^(User=egoworld|(After|Wants)=network-online\.target)\n", "", text)
            text = text.replace("WantedBy=multi-user.target", "WantedBy=default.target")
        file = folder / template.name
        part = file.with_name(f".{file.name}.{os.getpid()}")
        part.write_text(text, encoding="utf-8")
        part.rename(file)
        written.append(file)
    return written
