"""What people call videos and artifacts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from egoworld_resources.artifacts.manifest import Manifest
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.errors import UnknownName
from egoworld_resources.layout import readable
from egoworld_resources.making.workbench import Workbench


def artifact(bench: Workbench, stages: Iterable[Stage], name: str) -> Manifest:
    """The live artifact named VIDEO/ASSET; raises UnknownName listing what there is."""
    video, _, asset = name.rpartition("/")
    if not video:
        raise UnknownName("artifact, give VIDEO/ASSET", name, [f"{name}/{stage.name}" for stage in stages])
    video = find_video(bench, video)
    made = bench.store.current(asset, video)
    if made is None:
        raise UnknownName(f"artifact of {video}", asset, [s.name for s in stages if bench.store.current(s.name, video)])
    return made


def find_video(bench: Workbench, name: str) -> str:
    """The key of a video given by key or by file name; raises UnknownName listing the keys."""
    known = dict(bench.store.records("videos"))
    shown = readable(name)
    found = [key for key, facts in known.items() if shown in (key, facts["name"], Path(facts["name"]).name)]
    if len(found) != 1:
        raise UnknownName("video", name, known)
    return found[0]
