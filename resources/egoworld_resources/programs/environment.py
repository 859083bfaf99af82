"""What a program that we start gets of our environment: names of a list, never whatever happens to be set.

Our own environment holds passwords (those of the .env among them) and settings by which a stranger's word could reach a
resolver (UV_CONSTRAINT, PIP_*, GIT_*); neither is passed on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PLAIN: Final = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "USER", "LOGNAME", "LD_LIBRARY_PATH")
"""What any program needs to start and to speak plainly."""

NETWORK: Final = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
)
"""How a site reaches the network."""

UV: Final = (
    *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS", "UV_NO_INDEX", "UV_OFFLINE", "UV_SYSTEM_CERTS"),
    *("UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES", "UV_CONCURRENT_DOWNLOADS", "UV_CONCURRENT_INSTALLS"),
)
"""Where a site's packages come from and how fast; nothing that names versions, builds or runs."""

NOWHERE: Final = "/nonexistent"
"""As HOME: no ~/.netrc, no ~/.config and no credentials of the user are found there."""

GIT: Final[Mapping[str, str]] = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_COUNT": "0",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_ASKPASS": "/bin/false",
    "SSH_ASKPASS": "/bin/false",
    "GIT_SSH_COMMAND": "/bin/false",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "/bin/false",
}
"""No configuration but what a command itself names, no password prompt or lookup, no program started by git."""

HOME: Final[Mapping[str, str]] = {"HOME": NOWHERE, "NETRC": os.devnull}


def environment_of(*names: str, outer: Mapping[str, str] = os.environ) -> dict[str, str]:
    """PLAIN and the variables called ``names``, as far as ``outer`` has them."""
    return {name: outer[name] for name in (*PLAIN, *names) if name in outer}


def uv_environment(outer: Mapping[str, str] = os.environ) -> dict[str, str]:
    """For uv and for the git that it starts: a site's index and proxy, no secret, no settings of a user's home.

    Interpreters that uv itself installed for this user are still found.
    """
    pythons = outer.get("UV_PYTHON_INSTALL_DIR") or str(_data_home(outer) / "uv" / "python")
    return {**environment_of(*NETWORK, *UV, outer=outer), **HOME, **GIT, "UV_PYTHON_INSTALL_DIR": pythons}


def git_environment(outer: Mapping[str, str] = os.environ) -> dict[str, str]:
    """For git alone."""
    certificates = {"GIT_SSL_CAINFO": outer["SSL_CERT_FILE"]} if outer.get("SSL_CERT_FILE") else {}
    return {**environment_of(*NETWORK, outer=outer), **HOME, **GIT, **certificates}


def _data_home(outer: Mapping[str, str]) -> Path:
    data_home = outer.get("XDG_DATA_HOME")
    return Path(data_home) if data_home else Path(outer.get("HOME") or NOWHERE) / ".local" / "share"
