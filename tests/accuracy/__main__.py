"""`python -m tests.accuracy`: measure every stage against what is true, as `make accuracy` does.

Prints one Markdown table; ends with 1 when a bound is broken. `--write` puts its main rows into the README beside
this file, and from there the headline of the project's README; `--set-bounds` takes what is measured now as the bounds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests import headline
from tests.accuracy import bounds, table
from tests.accuracy.everything import measure

PROJECT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Measure, print, and say which bounds are broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.accuracy", description="Accuracy of every stage.")
    parser.add_argument("--write", action="store_true", help="write tests/accuracy/README.md and the headline")
    parser.add_argument("--set-bounds", action="store_true", help="take what is measured now for new bounds")
    home = PROJECT / "data" / "accuracy"
    parser.add_argument("--home", type=Path, default=home, help="where samples and artifacts are kept (%(default)s)")
    asked = parser.parse_args()
    home = asked.home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    figures = measure(PROJECT, home, lambda name: print(f"measuring: {name}", file=sys.stderr, flush=True))
    if asked.set_bounds:
        bounds.FILE.write_text(bounds.written(figures), encoding="utf-8")
        bounds.bounds.cache_clear()
    print(table.whole_table(figures))
    if asked.write:
        table.into_page(PROJECT / headline.ACCURACY, table.page_table(figures))
        headline.into_readme()
    worse = bounds.broken(figures)
    for line in worse:
        print(f"bound broken: {line}", file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
