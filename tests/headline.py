"""The five figures that the README shows, taken from the tables beside the code that measures them."""

from __future__ import annotations

from pathlib import Path

from egoworld_resources.settings import PROJECT

ACCURACY, SPEED = Path("tests/accuracy/README.md"), Path("tests/benchmarks/README.md")
BEGIN, END = "<!-- headline: written by make accuracy and make bench -->\n", "<!-- /headline -->\n"
HEAD = "| what | measured on, compared with | value | bound or goal |\n|---|---|---|---|\n"
OF_ACCURACY = (
    ("hand_poses", "real pictures, joints read off by eye", "keypoint error, mean, of the palm's length"),
    ("reconstructions", "sample, seeds 0 and 23", "ATE (of the path's length)"),
    ("object_poses", "sample, seeds 0 and 23", "rotation error, median"),
)
"""Stage, data and figure of rows of the table of accuracy."""
OF_SPEED = ("whole flow over 8 videos", "the same as one backfill through Dagster's daemon")
"""Rows of the table of speed."""


def cells(page: Path) -> list[list[str]]:
    """The rows of all tables of a page."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]


def headline(project: Path = PROJECT) -> str:
    """The README's table. Raises KeyError for a figure that neither page has."""
    accuracy = {tuple(row[:3]): row for row in cells(project / ACCURACY) if len(row) == 6}
    speed = {row[1]: row for row in cells(project / SPEED) if len(row) >= 5}
    rows = [
        (f"{stage}: {what}", data, accuracy[stage, data, what][3], accuracy[stage, data, what][4])
        for stage, data, what in OF_ACCURACY
    ]
    for what in OF_SPEED:
        _, _, value, other, ratio, *goal = speed[what]
        rows.append((what, other, f"{value}, ratio {ratio}", goal[0] if goal else ""))
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def into_readme(project: Path = PROJECT) -> None:
    """Write the README's table again. Raises ValueError when the README lacks its marks."""
    readme = project / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{readme} has no lines {BEGIN.strip()!r} and {END.strip()!r} to put the table between")
    readme.write_text(f"{before}{BEGIN}{headline(project)}{END}{after}", encoding="utf-8")
