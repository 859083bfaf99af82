"""`python -m tests.benchmarks [LETTER...]`: measure, print the table, and with --write put it into README.md beside."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from operator import itemgetter
from pathlib import Path

from egoworld_resources.settings import PROJECT
from tests import headline
from tests.benchmarks.machine import machine
from tests.benchmarks.measure import Measure, table
from tests.benchmarks.place import Place, a_place

LETTERS = {
    "a": "flow",
    "b": "frames",
    "c": "envs",
    "e": "batches",
    "f": "memory",
    "g": "status",
    "h": "s3_transfer",
    "i": "server_flow",
    "j": "fabric",
    "k": "sandbox",
    "l": "stages",
}
"""The module of each benchmark; (d) is counted in the run of (a)."""

ROW = re.compile(r"^\| ([a-z]) \|.*$", re.MULTILINE)
RUN = re.compile(r"^- ([a-z](?:, [a-z])*): (run of .*)$", re.MULTILINE)
BEGIN, END = "<!-- bench: written by make bench -->\n", "<!-- /bench -->"

Benchmark = Callable[[Place], Iterator[Measure]]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("letters", nargs="*", metavar="LETTER", help=f"of {' '.join(LETTERS)} (d with a); default all")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, the figures say nothing")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the long video of f (default 10)")
    parser.add_argument("--turns", type=int, default=3, help="how often both sides of a and i are run (default 3)")
    parser.add_argument("--json", type=Path, help="also write the measures to this file")
    parser.add_argument("--write", action="store_true", help="also into tests/benchmarks/README.md and the headline")
    asked = parser.parse_args(arguments)
    letters = [
        letter
        for letter in LETTERS
        if not asked.letters or letter in asked.letters or (letter, "d") == ("a", *asked.letters)
    ]
    unknown = set(asked.letters) - {*LETTERS, "d"}
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join([*LETTERS, 'd'])}")
    facts = machine()
    began = time.monotonic()
    with a_place(quick=asked.quick, minutes=asked.minutes, turns=asked.turns) as place:
        measures = measured(place, letters)
    facts["took"] = f"{(time.monotonic() - began) / 60:.0f} min"
    run = one_run(facts, ["python -m tests.benchmarks", *sys.argv[1:]] if letters != list(LETTERS) else None)
    print(f"{table([measure.markdown() for measure in measures])}\n\nOne {run}")
    if asked.json:
        asked.json.write_text(
            json.dumps({"machine": facts, "measures": [m.as_data() for m in measures]}, indent=2) + "\n"
        )
    if asked.write:
        into_page(PROJECT / headline.SPEED, measures, run)
        headline.into_readme()
    return 1 if any(measure.absent for measure in measures) else 0


def measured(place: Place, letters: Sequence[str]) -> list[Measure]:
    """All measures of some benchmarks; one that cannot run says why and the others go on."""
    found: list[Measure] = []
    for letter in letters:
        benchmark: Benchmark = import_module(f"tests.benchmarks.{LETTERS[letter]}").run
        place.say(f"{letter}: {(sys.modules[benchmark.__module__].__doc__ or '').partition(chr(10))[0]}")
        try:
            for measure in benchmark(place):
                place.say(measure.markdown())
                found.append(measure)
        except Exception as error:  # noqa: BLE001 whatever stops one benchmark is shown in its line
            reason = f"{type(error).__name__}: {error}".replace("\n", " ").replace("|", "/")
            found.append(Measure(letter, benchmark.__module__.rpartition(".")[2], absent=reason))
            place.say(found[-1].markdown())
    return sorted(found, key=lambda measure: measure.letter)


def one_run(facts: dict[str, str], command: Sequence[str] | None) -> str:
    """How and on what something was measured."""
    about = "; ".join(f"{name}: {fact}" for name, fact in facts.items())
    said = " ".join(command) if command else "make bench"
    return f"run of `{said}` on {about}."


def into_page(page: Path, measures: Sequence[Measure], run: str) -> None:
    """Put what was measured into the table between the two marks; the lines of others stay, with their run."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    old, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{page} lacks the lines {BEGIN.strip()} and {END}")
    rows = [(row[1], row[0]) for row in ROW.finditer(old)]
    runs = {letter: line[2] for line in RUN.finditer(old) for letter in line[1].split(", ")}
    fresh = {measure.letter: run for measure in measures}
    rows = [row for row in rows if row[0] not in fresh] + [(m.letter, m.markdown()) for m in measures]
    runs |= fresh
    of_run = {text: ", ".join(sorted(letter for letter in runs if runs[letter] == text)) for text in runs.values()}
    told = "\n".join(f"- {letters}: {text}" for text, letters in sorted(of_run.items(), key=itemgetter(1)))
    lines = table([line for _, line in sorted(rows, key=itemgetter(0))])
    page.write_text(f"{before}{BEGIN}{lines}\n\n{told}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
