"""The dataset card: what the hub shows, under which licences, and where every number comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from egoworld_resources.dataset import licence_section
from egoworld_resources.dataset.licence_section import cell

NON_COMMERCIAL = (
    "> [!WARNING]\n> **NON-COMMERCIAL, or unclear terms.** At least one video or model behind this dataset does not\n"
    "> allow, or is not known to allow, commercial use; the licences below name it. A commercial export refuses it.\n"
)

INTRODUCTION = (
    "Made by egoworld from first-person video: robot joint trajectories that follow the human hands, with hand\n"
    "keypoints, camera trajectory and object poses. Format: LeRobot v3.0.\n"
)

HUB_LICENCES = {
    "apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-sa-4.0",
    "cc-by-nc-sa-4.0", "mpl-2.0", "isc",
}  # fmt: skip
"""Identifiers that the hub knows; anything else is "other" with a name."""


def text(
    info: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    refused: Mapping[str, str],
    *,
    commercial: bool,
) -> str:
    """The card as Markdown with the front matter that the hub reads."""
    parts = [
        _front_matter(licence_section.of_data(entries), commercial=commercial),
        "# First-person manipulation episodes\n",
        INTRODUCTION,
        "" if commercial else NON_COMMERCIAL,
        _contents(info),
        _features(info),
        licence_section.text(entries),
        _missing(entries),
        _lineage(entries),
        _refused(refused),
    ]
    return "\n".join(part for part in parts if part)


def _front_matter(licences: Sequence[str], *, commercial: bool) -> str:
    names = {licence.lower() for licence in licences}
    lines = ["---"]
    if len(names) == 1 and names <= HUB_LICENCES:
        lines.append(f"license: {next(iter(names))}")
    else:
        name = "mixed-commercial" if commercial else "mixed-non-commercial"
        lines += ["license: other", f"license_name: {name}", "license_link: README.md#licences"]
    tags = ["LeRobot", "egocentric", *([] if commercial else ["non-commercial"])]
    lines += ["task_categories:", "- robotics", "tags:", *(f"- {tag}" for tag in tags)]
    lines += ["configs:", "- config_name: default", "  data_files: data/*/*.parquet", "---", ""]
    return "\n".join(lines)


def _contents(info: Mapping[str, Any]) -> str:
    seconds = info["total_frames"] / info["fps"]
    frames = f"{info['total_frames']} ({seconds:.1f} s at {info['fps']} fps)"
    counts = f"- episodes: {info['total_episodes']}\n- frames: {frames}\n- tasks: {info['total_tasks']}\n"
    return counts + f"- robot: {info['robot_type'] or 'none'}\n"


def _features(info: Mapping[str, Any]) -> str:
    rows = [f"| `{name}` | {f['dtype']} | {f['shape']} |" for name, f in info["features"].items()]
    note = (
        "`action` is the next frame's `observation.state`. Where a `valid` is 0 nothing was measured and the last\n"
        "value is held. Poses are row-major 4x4 matrices, camera axes are OpenCV's, angles radians. Lengths along\n"
        "the camera trajectory are in the scale of each clip's own reconstruction. Pictures are letterboxed:\n"
        "with the columns `egoworld/canvas_*` of `meta/episodes` a point x of the source video is at\n"
        "(x + 0.5) * scale_x - 0.5 + left, y likewise; (0, 0) is the centre of the top left pixel.\n"
    )
    return "\n".join(["## Features", "", "| feature | type | shape |", "|---|---|---|", *rows, "", note])


def _lineage(entries: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        "## Lineage",
        "",
        "| video | sha256 | episodes | artifact | data version | env |",
        "|" + "---|" * 6,
    ]
    for entry in entries:
        itself = {"asset": "episodes", "data_version": entry["data_version"], "env": "", "label": ""}
        others = [made for made in entry["made_from"] if made["asset"] != "episodes"]
        own = next((made for made in entry["made_from"] if made["asset"] == "episodes"), itself)
        for number, made in enumerate([own, *others]):
            env = f"{made['env']} ({made['label']})" if made["label"] else made["env"]
            first = [entry["video"], entry["sha256"][:16], str(entry["episodes"])] if number == 0 else [""] * 3
            cells = [*first, made["asset"], made["data_version"][:12], env]
            lines.append(f"| {' | '.join(cell(value) for value in cells)} |")
    return "\n".join([*lines, "", "The same in full, for programs: `lineage.json`.", ""])


def _missing(entries: Sequence[Mapping[str, Any]]) -> str:
    """What could not be had of the videos that are in it, and why; by datasets of earlier versions nothing is said."""
    found = [
        (entry["video"], made["asset"], made.get("remark", "")) for entry in entries for made in entry["made_from"]
    ]
    rows = [f"| {' | '.join(cell(value) for value in row)} |" for row in found if row[2]]
    if not rows:
        return ""
    return "\n".join(["## What is missing", "", "| video | asset | why |", "|---|---|---|", *rows, ""])


def _refused(refused: Mapping[str, str]) -> str:
    if not refused:
        return ""
    return "\n".join(["## Videos left out", "", *(f"- {video}: {why}" for video, why in refused.items()), ""])
