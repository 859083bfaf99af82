"""Merge the episodes of many videos into one LeRobot v3.0 dataset, moving as few bytes as possible."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from egoworld_resources.dataset import card, stats
from egoworld_resources.dataset.episodes import EpisodeArtifact
from egoworld_resources.dataset.lineage import LINEAGE, entries_of
from egoworld_resources.dataset.placing import link, replaced
from egoworld_resources.dataset.rewrite import INDEX_COLUMNS, Place, rewrite_data, rewrite_episodes
from egoworld_resources.dataset.source import BadSource, Source
from egoworld_runner import lerobot

DECIDES_DATA = ("sha256", "data_version", "episodes", "frames", "place")
Take = Callable[[Path, Path], None]


@dataclass(frozen=True)
class MergeReport:
    """What a merge did. refused: video to reason; linked and rewritten: files taken over as they are, or written.

    licences: of the videos, weights and outputs behind the data; code_licences: of the programs that made it.

    written is False when no video could be taken; the target was left as it was.
    """

    target: Path
    written: bool
    videos: tuple[str, ...] = ()
    episodes: int = 0
    frames: int = 0
    linked: int = 0
    rewritten: int = 0
    commercial: bool = False
    licences: tuple[str, ...] = ()
    code_licences: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict[str, str])


def merge(
    episodes: Sequence[EpisodeArtifact], target: Path, previous: Path | None = None, take: Take = link
) -> MergeReport:
    """Write the dataset of these videos to ``target``, in order of their names; an old one there is replaced.

    One data, one episodes and one video file per source video. The mp4 files are hardlinked to the artifacts; data
    files whose place did not change since ``previous`` are hardlinked to it, in the others only index columns are
    rewritten. The result does not depend on ``previous``. A video whose files are damaged, or whose frame rate,
    robot or features are not those of most videos, is refused with a reason in the report. take: how files are taken
    over, where they are not to be hardlinks.
    """
    sources, refused = _open(episodes)
    if not sources:
        return MergeReport(target, written=False, refused=refused)
    tasks = list(dict.fromkeys(task for source in sources for task in source.tasks))
    before = entries_of(previous)
    counts = {"linked": 0, "rewritten": 0}
    parts: list[dict[str, Any]] = []
    with replaced(target) as folder:
        entries: list[dict[str, Any]] = []
        for source, place in _places(sources, tasks):
            entry = _entry(source, place)
            old = previous if _same_data(before.get(source.artifact.video), entry) else None
            counts["linked" if old else "rewritten"] += 2
            counts["linked"] += 1
            parts.append(_take(source, place, folder, old, take))
            entries.append(entry)
        report = MergeReport(
            target,
            written=True,
            videos=tuple(source.artifact.video for source in sources),
            episodes=sum(source.episodes for source in sources),
            frames=sum(source.frames for source in sources),
            commercial=not any(source.artifact.offending() for source in sources),
            licences=_licences(sources, code=False),
            code_licences=_licences(sources, code=True),
            refused=refused,
            **counts,
        )
        _describe(folder, sources, report, tasks, entries, stats.merged(parts))
    return report


def _open(episodes: Sequence[EpisodeArtifact]) -> tuple[list[Source], dict[str, str]]:
    """Sources that fit together, by video name, and why the others do not."""
    refused: dict[str, str] = {}
    sources: list[Source] = []
    for artifact in sorted(episodes, key=lambda one: one.video):
        if sources and sources[-1].artifact.video == artifact.video:
            raise ValueError(f"video {artifact.video} is listed twice; list each video once")
        try:
            sources.append(Source(artifact))
        except BadSource as error:
            refused[artifact.video] = str(error)
    groups: list[list[Source]] = []
    for source in sources:
        group = next((group for group in groups if not source.differs(group[0])), None)
        groups.append([source]) if group is None else group.append(source)
    kept = max(groups, key=len, default=[])
    for source in sources:
        why = source.differs(kept[0])
        if why:
            refused[source.artifact.video] = f"{why}; make its episodes again with the same parameters and robot"
    return kept, dict(sorted(refused.items()))


def _places(sources: Sequence[Source], tasks: Sequence[str]) -> Iterator[tuple[Source, Place]]:
    episode = frame = 0
    for number, source in enumerate(sources):
        per_folder = int(source.info["chunks_size"])
        task_at = tuple(tasks.index(task) for task in source.tasks)
        yield source, Place(number // per_folder, number % per_folder, episode, frame, task_at)
        episode += source.episodes
        frame += source.frames


def _take(source: Source, place: Place, folder: Path, previous: Path | None, take: Take) -> dict[str, Any]:
    """Bring one video's files in; gives the statistics of its frames at their new place."""
    at = (place.chunk, place.file)
    data, listed = folder / lerobot.data_file(*at), folder / lerobot.episodes_file(*at)
    take(source.video, folder / lerobot.video_file(*at))
    if previous is not None:
        take(previous / lerobot.data_file(*at), data)
        take(previous / lerobot.episodes_file(*at), listed)
    else:
        rewrite_data(source.data, data, place)
        rewrite_episodes(source.episode_file, listed, data, place)
    columns = pq.read_table(data, columns=list(INDEX_COLUMNS))
    return {**source.stats, **{name: lerobot.vector_stats(columns[name].to_numpy()) for name in INDEX_COLUMNS}}


def _entry(source: Source, place: Place) -> dict[str, Any]:
    artifact = source.artifact
    return {
        "video": artifact.video,
        "sha256": artifact.sha256,
        "data_version": artifact.data_version,
        "rights": asdict(artifact.rights),
        "licences": [bearing.as_json() for bearing in artifact.bearings()],
        "offending": [str(bearing) for bearing in artifact.offending()],
        "made_from": [one.as_json() for one in sorted(artifact.lineage, key=lambda one: one.asset)],
        "episodes": source.episodes,
        "frames": source.frames,
        "place": place.as_json(),
    }


def _same_data(before: Mapping[str, Any] | None, entry: Mapping[str, Any]) -> bool:
    """Whether an earlier dataset has these very rows at this very place; licences are not in the rows."""
    return before is not None and all(before.get(name) == entry[name] for name in DECIDES_DATA)


def _licences(sources: Sequence[Source], *, code: bool) -> tuple[str, ...]:
    """Licences of the code, or of all else, that bear on some videos; "" is an unknown one."""
    bearings = (bearing for source in sources for bearing in source.artifact.bearings())
    found = {
        one.licence for one in bearings if (one.kind == "code") == code and not (one.commercial and not one.licence)
    }
    return tuple(sorted(found))


def _describe(
    folder: Path,
    sources: Sequence[Source],
    report: MergeReport,
    tasks: Sequence[str],
    entries: Sequence[Mapping[str, Any]],
    all_stats: Mapping[str, Any],
) -> None:
    counts = {"total_episodes": report.episodes, "total_frames": report.frames, "total_tasks": len(tasks)}
    info = {**sources[0].info, **counts, "splits": {"train": f"0:{report.episodes}"}}
    lineage = {"commercial": report.commercial, "videos": entries, "refused": report.refused}
    for name, value in ((lerobot.INFO, info), (lerobot.STATS, all_stats), (LINEAGE, lineage)):
        (folder / name).write_text(json.dumps(value, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")
    lerobot.write_tasks(folder / lerobot.TASKS, tasks)
    text = card.text(info, entries, report.refused, commercial=report.commercial)
    (folder / "README.md").write_text(text, encoding="utf-8")
