"""Package strings of callers: match specs of packages in allowed channels. No addresses, paths, flags or scripts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from egoworld_resources.workflow_envs.conda.adapter import Rattler
from egoworld_resources.workflow_envs.conda.declaration import name_of
from egoworld_resources.workflow_envs.conda.packages import SUBFOLDERS
from egoworld_resources.workflow_envs.errors import InvalidPackages, PolicyRefused
from egoworld_resources.workflow_envs.requirements import MOST, quoted

PLAIN = re.compile(r"[A-Za-z0-9 ._,:=<>!~*|()\[\]'\"/+-]*")
"""Characters of a spec or a channel: none that anything after us expands, and no patterns ($, ^)."""
BRACKET = re.compile(r"[\[,]\s*(\w+)\s*=")
TAKEN = {"build", "build_number", "channel", "version"}
NO_DEFAULTS = "nodefaults"
"""What an environment.yml writes to say that it wants no channel but those it names."""

HINT = "such as 'cmake >=3.28', 'python 3.11.*' or 'conda-forge::ffmpeg'"


class Specs:
    """Match specs as the channels of the policy allow them. channels: addresses in their order, ending in "/"."""

    def __init__(self, rattler: Rattler, channels: Sequence[str]) -> None:
        self._rattler = rattler
        self._names = tuple(channels)

    @property
    def channels(self) -> tuple[str, ...]:
        """Raises InvalidPackages when the policy allows none."""
        if not self._names:
            raise InvalidPackages("envs/policy.toml allows no conda channels; name them, in their order, in `channels`")
        return tuple(self._rattler.address(name) for name in self._names)

    def check(self, channels: Sequence[str]) -> None:
        """Raise PolicyRefused unless these channels are allowed and in the order of the policy."""
        for name in channels:
            _refuse_strange(name, quoted(name))
        addresses = [self._rattler.address(name) for name in channels if name != NO_DEFAULTS]
        if addresses != [channel for channel in self.channels if channel in addresses]:
            raise PolicyRefused(
                f"the channels {', '.join(channels)} are not those of envs/policy.toml, in its order: "
                f"{', '.join(self._names)}"
            )

    def parsed(self, packages: Sequence[str]) -> list[str]:
        """The specs as rattler writes them. Raises InvalidPackages quoting the first that is not allowed."""
        if len(packages) > MOST:
            raise InvalidPackages(f"{len(packages)} packages in one call; at most {MOST} are taken")
        found: dict[str, str] = {}
        for spec in (self._parsed(text) for text in packages):
            name = name_of(spec)
            before = found.setdefault(name, spec)
            if name not in (before, spec) and before != spec:
                raise InvalidPackages(f"{before!r} and {spec!r} are about one package; write them as one spec")
            found[name] = before if spec == name else spec
        return list(found.values())

    def names(self, packages: Sequence[str]) -> list[str]:
        """Packages that are named without a version. Raises InvalidPackages."""
        for text in packages:
            if self.parsed([text]) != [name_of(text)]:
                raise InvalidPackages(f"{text!r}: name the package alone, such as {name_of(text)!r}")
        return [name_of(text) for text in packages]

    def _parsed(self, text: str) -> str:
        shown = quoted(text)
        plain = text.rpartition("::")[2]
        if not text.isprintable() or text.lstrip().startswith("-"):
            raise InvalidPackages(
                f"{shown} is not a match spec: options, line breaks, control characters are not taken"
            )
        _refuse_strange(text, shown)
        if "/" in plain or "@" in plain:
            raise InvalidPackages(f"{shown}: packages come from channels, not from paths or addresses; write it {HINT}")
        try:
            spec = self._rattler.parsed(text)
        except InvalidPackages as error:
            raise InvalidPackages(f"{shown} is not a match spec {HINT}: {error}") from error
        if refused := sorted(set(BRACKET.findall(spec.text)) - TAKEN):
            raise InvalidPackages(f"{shown}: {', '.join(refused)} is not taken; name, version, build and channel are")
        if spec.namespace or (spec.subdir and spec.subdir not in SUBFOLDERS):
            raise InvalidPackages(f"{shown}: only packages for {' and '.join(SUBFOLDERS)} are taken")
        if spec.channel and spec.channel not in self.channels:
            allowed = ", ".join(self._names)
            raise InvalidPackages(f"{shown}: the channel {spec.channel} is not one of those allowed: {allowed}")
        return spec.text


def _refuse_strange(text: str, shown: str) -> None:
    if strange := sorted({character for character in text if not PLAIN.fullmatch(character)}):
        raise InvalidPackages(f"{shown}: {' '.join(map(repr, strange[:5]))} is not taken; nothing is expanded")
