"""(i) The whole flow on Postgres and MinIO, as a server does it, against SQLite and a folder: same videos."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from egoworld_resources.layout import Layout
from egoworld_resources.s3.access import S3Access
from egoworld_resources.s3.buckets import Buckets
from egoworld_resources.server import schema
from egoworld_resources.server.dagster_parts import write_home
from egoworld_resources.server.postgres import PostgresAddress
from egoworld_resources.server.tools import Tools
from tests.benchmarks.flow import WHAT, flow_videos
from tests.benchmarks.measure import Measure
from tests.benchmarks.place import Place, Took, middle, ours, settings
from tests.made_stores import environment
from tests.servers import free_port, let_in, postgres, running, s3_running, temporary_home

AGAINST = "on SQLite and a folder"


def run(place: Place) -> Iterator[Measure]:
    """Both sides in turn, each in a new process on a new home; the servers are up and empty."""
    videos = flow_videos(place)
    turns: list[tuple[Took, Took]] = []
    for turn in range(1 if place.quick else place.turns):
        with servers(place) as (home, environment):
            embedded = flow(place.home("embedded"), videos, {})
            served = flow(home, videos, environment)
        turns.append((served, embedded))
        place.say(f"i: turn {turn + 1}: Postgres and S3 {served}, SQLite and folder {embedded}")
    mine, theirs = ([pair[side] for pair in turns] for side in (0, 1))
    what = WHAT.format(len(videos)) + " on Postgres and S3"
    clocks = [middle([took.seconds for took in side]) for side in (mine, theirs)]
    yield Measure("i", what, *clocks, "s", AGAINST, at_most=1.2)
    processors = [middle([took.processor for took in side]) for side in (mine, theirs)]
    yield Measure("i", "the same in processor seconds, the servers' own left out", *processors, "s", AGAINST)


def flow(home: Path, videos: Sequence[Path], more: Mapping[str, str]) -> Took:
    """What the flow takes in a home that Dagster has made its tables for."""
    ours("tests.benchmarks.whole_flow", home, more=more)
    took, told = ours("tests.benchmarks.whole_flow", home, *videos, more=more)
    if told["faults"]:
        raise RuntimeError(f"the flow had faults: {told['faults']}")
    return took


@contextmanager
def servers(place: Place) -> Iterator[tuple[Path, dict[str, str]]]:
    """A Postgres and a MinIO as `make up` starts them; the home of a server, and what its processes are told."""
    home = place.home("server")
    tools = Tools.of(settings(home))
    dagster = Layout(home).server / "dagster"
    write_home(dagster)
    at = PostgresAddress(free_port(), "egoworld", "of-the-benchmark", "egoworld")
    with temporary_home() as folder, s3_running("minio", tools) as s3:
        launch = postgres(tools, folder / "postgres", at)
        with running(launch, partial(let_in, at), folder / "postgres.log"):
            schema.make(at)
            access = S3Access(endpoint=s3.endpoint, access_key=s3.access_key, secret_key=s3.secret_key)
            Buckets(access).make()
            yield home, {"DAGSTER_HOME": str(dagster), **at.variables, **environment(access)}
