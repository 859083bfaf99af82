"""The README's five figures are those of the pages beside the code that measures them."""

from __future__ import annotations

from pathlib import Path

import pytest

from egoworld_resources.settings import PROJECT
from tests import headline


def test_the_readme_shows_what_the_pages_say() -> None:
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert text.partition(headline.BEGIN)[2].partition(headline.END)[0] == headline.headline()


def test_a_changed_figure_reaches_the_readme_and_a_missing_one_is_named(tmp_path: Path) -> None:
    for page in (headline.ACCURACY, headline.SPEED):
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / page).write_text((PROJECT / page).read_text(encoding="utf-8"), encoding="utf-8")
    readme = tmp_path / "README.md"
    readme.write_text(f"above\n{headline.BEGIN}old\n{headline.END}below\n", encoding="utf-8")
    speed = tmp_path / headline.SPEED
    speed.write_text(speed.read_text(encoding="utf-8").replace("| a | whole flow over 8 videos | ", "&9"), "utf-8")
    with pytest.raises(KeyError, match="whole flow over 8 videos"):
        headline.into_readme(tmp_path)
    speed.write_text(speed.read_text(encoding="utf-8").replace("&9", "| a | whole flow over 8 videos | 7 "), "utf-8")
    headline.into_readme(tmp_path)
    written = readme.read_text(encoding="utf-8")
    assert (written[:6], written[-6:]) == ("above\n", "below\n")
    assert "| 7 1" in written
    readme.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match=r"README\.md has no lines"):
        headline.into_readme(tmp_path)
