"""py-rattler, and nothing else of this project imports it: its API moves between versions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from egoworld_resources.workflow_envs.conda.faults import as_fabric_errors
from egoworld_resources.workflow_envs.conda.packages import PLATFORM, SUBFOLDERS, Package
from egoworld_resources.workflow_envs.errors import IndexSilent, ResolutionFailed

if TYPE_CHECKING:
    from rattler import Gateway, GenericVirtualPackage, RepoDataRecord

AT_ONCE = 4
"""Downloads."""


@dataclass(frozen=True)
class Spec:
    """A match spec as rattler read it. channel: its address, ending in "/", or ""."""

    text: str
    channel: str
    subdir: str | None
    namespace: str | None


class Rattler:
    """Solves, fetches and links conda packages; errors are those of the fabric. ``cache``: a folder of its own."""

    def __init__(self, cache: Path) -> None:
        self._repodata = cache / "repodata"
        self._unpacked = cache / "unpacked"

    def parsed(self, text: str) -> Spec:
        """Raises InvalidPackages with rattler's own words."""
        with as_fabric_errors():
            from rattler import MatchSpec

            spec = MatchSpec(text, strict=True, extras=False, conditionals=False, flags=False)
        channel = f"{spec.channel.base_url.rstrip('/')}/" if spec.channel else ""
        return Spec(str(spec), channel, spec.subdir, spec.namespace)

    def address(self, channel: str) -> str:
        """The address of a channel, from its name or its address; ends in "/"."""
        with as_fabric_errors():
            from rattler import Channel

            return Channel(channel).base_url.rstrip("/") + "/"

    def solve(
        self, channels: Sequence[str], specs: Sequence[str], locked: Sequence[Package], virtual: Mapping[str, str]
    ) -> list[Package]:
        """Packages that satisfy all ``specs``, those of ``locked`` where they still do. channels: addresses in order.

        The order is strict: a package comes from the first channel that has its name. rattler itself takes one that
        a spec asks for from a later channel when the first has no version that fits: that is refused here, unless
        the spec names the channel. Raises ResolutionFailed, IndexSilent.
        """
        with as_fabric_errors():
            return asyncio.run(_solve(self._gateway(channels), channels, specs, locked, virtual))

    def offered(self, channels: Sequence[str], spec: str) -> dict[str, bool]:
        """The versions that all channels have of the package of ``spec``, and whether each of them fits it."""
        with as_fabric_errors():
            from rattler import MatchSpec

            wanted = MatchSpec(spec)
            found = asyncio.run(_offered(self._gateway(channels), channels, [wanted.name.normalized]))
        return {str(record.version): wanted.matches(record) for record in found}

    def download(self, files: Mapping[str, Path]) -> None:
        """Fetch each address into its path. Raises IndexSilent."""
        with as_fabric_errors():
            asyncio.run(_download(files))

    def link(self, archives: Sequence[Path], prefix: Path, *, whole: bool) -> None:
        """Unpack archives into the cache and hardlink their files into the new ``prefix``; no script of them runs.

        whole: read every unpacked file that the cache already has, and unpack again what differs.
        """
        with as_fabric_errors():
            asyncio.run(_link(archives, prefix, self._unpacked, whole))

    def _gateway(self, channels: Sequence[str]) -> Gateway:
        """Reads every channel again, each once: what a channel serves now decides."""
        from rattler import Gateway

        for channel in channels:  # rattler takes a local channel that is not there for an empty one
            if channel.startswith("file://") and not Path(url2pathname(urlsplit(channel).path)).is_dir():
                raise IndexSilent(f"the channel {channel} is not there")
        self._repodata.mkdir(parents=True, exist_ok=True)
        return Gateway(cache_dir=self._repodata)


async def _solve(
    gateway: Gateway,
    channels: Sequence[str],
    specs: Sequence[str],
    locked: Sequence[Package],
    virtual: Mapping[str, str],
) -> list[Package]:
    from rattler import solve
    from rattler.channel import ChannelPriority

    kept = {one.sha256 for one in locked}
    before = await _offered(gateway, channels, [one.name for one in locked]) if locked else []
    records = await solve(
        channels,
        specs,
        gateway=gateway,
        platforms=SUBFOLDERS,
        locked_packages=[record for record in before if record.sha256 and record.sha256.hex() in kept],
        virtual_packages=[_virtual(name, version) for name, version in virtual.items()],
        channel_priority=ChannelPriority.Strict,
        channel_relations="disabled",  # a channel cannot bring in others that the policy does not name
    )
    named = {name for name in (_named(spec) for spec in specs) if name}
    await _refuse_later_channels(gateway, channels, [one for one in records if one.name.normalized not in named])
    return [_package(record) for record in records]


async def _refuse_later_channels(gateway: Gateway, channels: Sequence[str], records: list[RepoDataRecord]) -> None:
    first: dict[str, str] = {}
    for record in await _offered(gateway, channels, [record.name.normalized for record in records]):
        first.setdefault(record.name.normalized, record.channel)
    for record in records:
        name = record.name.normalized
        if first.get(name, record.channel) != record.channel:
            raise ResolutionFailed(
                f"{name} {record.version} is only in {record.channel}, and {first[name]} comes before it with other "
                f"versions of {name}. The order of channels is strict: ask for a version that the first one has, or "
                f"name the channel: {record.channel.rstrip('/')}::{name}"
            )


async def _offered(gateway: Gateway, channels: Sequence[str], names: Sequence[str]) -> list[RepoDataRecord]:
    """All records of these names, channel by channel."""
    found = await gateway.query(channels, SUBFOLDERS, names, recursive=False, channel_relations="disabled")
    return [record for records in found for record in records]


async def _download(files: Mapping[str, Path]) -> None:
    from rattler.networking.client import Client
    from rattler.package_streaming import download_to_path

    client, gate = Client.default_client(), asyncio.Semaphore(AT_ONCE)

    async def fetch(url: str, to: Path) -> None:
        async with gate:
            await download_to_path(client, url, to)

    await asyncio.gather(*(fetch(url, to) for url, to in files.items()))


async def _link(archives: Sequence[Path], prefix: Path, cache: Path, whole: bool) -> None:
    from rattler import RepoDataRecord, Subdir, install
    from rattler.package_cache import PackageCache, ValidationMode

    mode = ValidationMode.full() if whole else ValidationMode.fast()
    await install(
        [await RepoDataRecord.from_package_archive(archive) for archive in archives],
        prefix,
        package_cache=PackageCache.new_layered([cache], validation_mode=mode),
        installed_packages=[],
        platform=Subdir(PLATFORM),
        execute_link_scripts=False,
        show_progress=False,
    )


def _virtual(name: str, version: str) -> GenericVirtualPackage:
    from rattler import GenericVirtualPackage, PackageName, Version
    from rattler.package import BuildString

    number, _, build = version.partition("=")
    return GenericVirtualPackage(PackageName(name), Version(number), BuildString(build or "0"))


def _named(spec: str) -> str:
    """The package of a spec that names its channel, "" of others."""
    from rattler import MatchSpec

    parsed = MatchSpec(spec)
    return parsed.name.normalized if parsed.channel else ""


def _package(record: RepoDataRecord) -> Package:
    if not record.sha256:
        raise ResolutionFailed(f"{record.url} has no sha256 in its channel: what it holds could not be checked")
    return Package.of(record.url, record.sha256.hex())
