"""(g) `egoworld status` and `egoworld stale` at 1,000 and 10,000 videos; how soon commands on one video answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks.made_store import fill
from tests.benchmarks.measure import Measure
from tests.benchmarks.place import Place, environment, middle, settings, timed

COMMANDS = (("status", "--json"), ("status",), ("stale",))
VIDEO = "made-00000"
OF_ONE = (("--help",), ("status", VIDEO), ("lineage", f"{VIDEO}/episodes"), ("stale", VIDEO), ("doctor",))


def run(place: Place) -> Iterator[Measure]:
    """The same home, grown: seconds of each command, the start of Python included."""
    few, many = (5, 20) if place.quick else (1_000, 10_000)
    yield from of_one(place)
    home = place.home("status")
    found: dict[int, list[float]] = {}
    made = 0
    for count in (few, many):
        fill(settings(home), range(made, count))
        made = count
        place.say(f"g: {count:,} videos are there")
        found[count] = [seconds(home, command, 3 if count == few and not place.quick else 1) for command in COMMANDS]
    for command, at_few, at_many in zip(COMMANDS, found[few], found[many], strict=True):
        name = " ".join(("egoworld", *command))
        yield Measure("g", f"`{name}` at {few:,} videos", at_few)
        yield Measure("g", f"`{name}` at {many:,} videos", at_many)
        each = f"ms per video at {many:,}, {name}"
        yield Measure("g", each, 1e3 * at_many / many, 1e3 * at_few / few, "ms", f"at {few:,}", at_most=1.1)


def of_one(place: Place) -> Iterator[Measure]:
    """Seconds of each command where there is one video, the start of Python included; beside it those of processors."""
    home = place.home("one")
    fill(settings(home), range(1))
    for command in OF_ONE:
        name = f"`{' '.join(('egoworld', *command))}`"
        try:
            run = [sys.executable, "-m", "egoworld_assets.cli", *command]
            took = [timed(run, environment(home))[0] for _ in range(1 if place.quick else 5)]
        except RuntimeError as error:  # a machine with a fault: the doctor ends with status 1
            yield Measure("g", name, absent=str(error).partition("\n")[0])
            continue
        processor = middle([one.processor for one in took])
        yield Measure("g", name, middle([one.seconds for one in took]), processor, against="of processors")


def seconds(home: Path, command: Sequence[str], turns: int) -> float:
    """The median over some turns; raises RuntimeError when the command fails or lists nothing."""
    times: list[float] = []
    for _ in range(turns):
        took, said = timed([sys.executable, "-m", "egoworld_assets.cli", *command], environment(home))
        times.append(took.seconds)
        if "--json" in command and not said["assets"]:
            raise RuntimeError(f"egoworld {' '.join(command)} lists nothing")
    return middle(times)
