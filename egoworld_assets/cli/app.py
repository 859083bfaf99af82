"""The command line: `egoworld --help` lists the commands."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from egoworld_assets.cli import kit, licences
from egoworld_assets.cli.env.app import env
from egoworld_assets.cli.errors import errors_shown
from egoworld_assets.cli.videos import video_files
from egoworld_assets.cli.weights import weights
from egoworld_resources.errors import BadConfiguration, EgoworldError
from egoworld_resources.inbox.arrivals import Arrival
from egoworld_resources.making.workbench import Workbench
from egoworld_resources.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="First-person video to robot-learning data.")
app.add_typer(env, name="env")
app.add_typer(kit.app, name="kit")
app.add_typer(weights, name="weights")
console = Console(width=None if sys.stdout.isatty() else 200)
"""Programs and files that read our output get lines that are not cut at 80 columns."""

Socket = Annotated[Path | None, typer.Option(help="A Unix socket instead, in a folder that only you may enter.")]
Videos = Annotated[list[str] | None, typer.Argument(help="Video files, folders or globs.")]
Known = Annotated[list[str] | None, typer.Argument(help="Video keys or names; default all.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a command whose known errors are shown as one message and exit status 1."""
    return app.command()(errors_shown(function))


command(licences.rights)
command(licences.export)


def bench() -> Workbench:
    """The workbench of the configuration in force."""
    return Workbench(Settings.load())


@contextmanager
def dagster_quiet() -> Iterator[None]:
    """Dagster marks some of what is used as beta on every start; people at a terminal need not read that."""
    import dagster as dg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        yield


def known_videos(workbench: Workbench, names: Sequence[str] | None) -> list[str]:
    """Keys of the videos named by key or file name; all of them when none is named."""
    from egoworld_assets.cli.names import find_video

    return [find_video(workbench, v) for v in names] if names else workbench.store.keys("videos")


@command
def demo(videos: Videos = None, seconds: float = 12.0, seed: int = 0) -> None:
    """Turn videos (default: a generated sample) into a dataset, and say where to look."""
    found = video_files(videos, console) if videos else [sample(bench(), seconds, seed)]
    flow(found)


@command
def ingest(videos: Videos = None) -> None:
    """Take videos into the store without running anything; `egoworld refresh` or Dagster makes the rest."""
    if not videos:
        raise BadConfiguration("no video given; name files, folders or globs")
    _, refused = taken(bench(), video_files(videos, console))
    if refused:
        raise typer.Exit(1)


@command
def refresh(
    videos: Known = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what would be made and what it costs; run nothing.")
    ] = False,
    max_hours: Annotated[float | None, typer.Option(min=0, help="Take on only videos that fit into this time.")] = None,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Ask again for what failed, of videos that have such."),
    ] = False,
    stage: Annotated[str | None, typer.Option(help="With --retry-failed: only what failed at this stage.")] = None,
) -> None:
    """Make what is missing or stale, through Dagster."""
    from egoworld_assets.cli import refresh

    workbench = bench()
    keys = known_videos(workbench, videos)
    retried = frozenset[tuple[str, str]]()
    if retry_failed or stage:
        retried = refresh.failed(workbench, keys, stage, console, retry_failed)
        keys = sorted({video for _, video in retried})
    if plan or max_hours is not None:
        keys = refresh.chosen(workbench.snapshot(), keys, console, max_hours, plan, retried)
    if keys and not plan:
        run(keys, workbench, retried)


@command
def stale(videos: Known = None, as_json: Json = False) -> None:
    """What a refresh would make, why, and what it costs by past runs; nothing is run."""
    from egoworld_assets.cli import export, refresh
    from egoworld_assets.planning.totals import planned

    workbench = bench().snapshot()
    keys = known_videos(workbench, videos)
    licences = export.stale_licences(workbench, keys if videos else None)
    refresh.show(planned(workbench, keys), console, as_json, licences)


@command
def status(
    videos: Known = None,
    as_json: Json = False,
    refused: Annotated[bool, typer.Option("--refused", help="Name every file that was refused, and why.")] = False,
) -> None:
    """How every asset of every video stands: fresh, stale, missing, failed, quarantined or blocked, and why."""
    from egoworld_assets.cli import status
    from egoworld_assets.orchestration.registry import stages

    workbench = bench().snapshot()
    if refused and not as_json:
        console.print(status.refused_table(workbench))
        return
    try:
        keys = known_videos(workbench, videos)
    except EgoworldError as error:  # the store does not answer, perhaps: what waits stands in a file beside it
        if not as_json:
            status.print_waiting(workbench, console)
        error.details = {**error.details, "waiting": status.waiting(workbench)}
        raise
    entries = (entry for key in keys for entry in status.status_of(workbench, stages().values(), key))
    if as_json:
        others = {"duplicates": status.duplicates(workbench), "left_out": status.left_out(workbench)}
        others["waiting"] = status.waiting(workbench)
        sys.stdout.writelines(f"{line}\n" for line in status.json_lines({"assets": entries, **others}))
    elif keys or status.left_out(workbench):
        console.print(status.status_table(workbench, entries))
        status.print_waiting(workbench, console)
    else:
        console.print("no videos yet: `egoworld ingest FILE`, or put one into " + escape(workbench.inbox.where))


@command
def lineage(artifact: Annotated[str, typer.Argument(help="VIDEO/ASSET")], as_json: Json = False) -> None:
    """What an artifact was made from: back to the video's bytes, code, lock, weights and parameters."""
    from egoworld_assets.cli.lineage import lineage_of, lineage_tree
    from egoworld_assets.cli.names import artifact as named_artifact
    from egoworld_assets.orchestration.registry import stages

    workbench = bench()
    node = lineage_of(workbench, named_artifact(workbench, stages().values(), artifact))
    if as_json:
        print(json.dumps(node, indent=2, ensure_ascii=False))
    else:
        console.print(lineage_tree(node), soft_wrap=True)


@command
def reproduce(
    artifact: Annotated[str, typer.Argument(help="VIDEO/ASSET, or VIDEO for all that it has.")],
    cores: Annotated[int | None, typer.Option(min=1, help="Let the models use only so many cores.")] = None,
    as_json: Json = False,
) -> None:
    """Make an artifact again from its manifest alone, beside the store, and compare the bytes."""
    from egoworld_assets.cli import reproduce

    reproduce.use_cores(cores)
    if not reproduce.show(bench(), artifact, console, as_json):
        raise typer.Exit(1)


@command
def accuracy(as_json: Json = False) -> None:
    """How far results on sample videos lie from what is true in them, stage by stage, and how that is measured."""
    from egoworld_assets.quality import accuracy

    workbench = bench()
    for video, facts in workbench.store.records("videos"):
        truth = accuracy.sample_truth(workbench, video)
        measured = accuracy.accuracy_of(workbench, video, truth) if truth else []
        if as_json and truth:
            print(json.dumps({"video": video, "measured": [asdict(m) for m in measured]}, ensure_ascii=False))
        elif truth:
            console.print(escape(facts["name"]), accuracy.accuracy_table(measured), sep="\n")


@command
def doctor(
    as_json: Json = False,
    thorough: Annotated[bool, typer.Option("--thorough", help="Read every byte of every model env too.")] = False,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="How long a check may take; default 60, and 3600 with --thorough.")
    ] = None,
    free_gb: Annotated[float, typer.Option(min=0, help="Free disk (GB) below which there is a warning.")] = 10.0,
) -> None:
    """Whether this machine can do what the configuration asks; each warning and fault with its mend."""
    from egoworld_assets.cli import doctor

    patience = seconds or (3600.0 if thorough else 60.0)
    findings = doctor.examined(Settings.load(), patience, free_gb, thorough)
    if doctor.show(findings, console, as_json):
        raise typer.Exit(1)


@command
def fsck(
    quick: Annotated[bool, typer.Option("--quick", help="Compare sizes only, read no bytes.")] = False,
    mend: Annotated[bool, typer.Option("--mend", help="Forget damaged artifacts; a refresh makes them again.")] = False,
    as_json: Json = False,
) -> None:
    """Look through the whole store: name what is missing, damaged or orphaned."""
    from egoworld_assets.cli import store

    if not store.look_through(Settings.load(), console, quick, as_json, mend):
        raise typer.Exit(1)


@command
def gc(
    apply: Annotated[bool, typer.Option("--apply", help="Remove it; without this only say what would go.")] = False,
    keep: Annotated[int, typer.Option(min=0, help="Old versions kept of each artifact, beside the live one.")] = 1,
    older_than: Annotated[float, typer.Option(min=0, help="Days; what is younger stays.")] = 7.0,
    as_json: Json = False,
) -> None:
    """Free what old versions and orphaned files take; never what is live or what something live was made from."""
    from egoworld_assets.cli import store

    store.collect(Settings.load(), console, store.policy_of(keep, older_than), apply, as_json)


@command
def prune(
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without this only say what would go.")] = False,
    days: Annotated[int | None, typer.Option(min=0, help="Default: the setting event_log_days.")] = None,
    as_json: Json = False,
) -> None:
    """Take log and step events of old runs out of Dagster's event log; what is known of assets stays."""
    from egoworld_assets.cli import prune

    with dagster_quiet():
        prune.prune_event_log(bench(), console, days, apply, as_json)


@command
def buckets(
    keys: Annotated[str | None, typer.Option(help="Print keys for a role: uploader, reader or pipeline.")] = None,
    hours: Annotated[float, typer.Option(min=0.25, max=168, help="How long those keys work.")] = 12.0,
    name: Annotated[str, typer.Option(help="Whose folder of the inbox an uploader's keys are for.")] = "",
) -> None:
    """Make the S3 buckets inbox, artifacts and weights, or print keys that may do only what a role needs."""
    from egoworld_assets.cli import store

    if keys:
        store.role_keys(keys, hours, console, name)
    else:
        store.make_buckets(Settings.load(), console)


@command
def view(video: str, port: int = 9876) -> None:
    """Open a video's recording in Rerun's web viewer, on this machine only."""
    from egoworld_assets.cli.names import find_video
    from egoworld_assets.serving.artifact_files import view_recording

    raise typer.Exit(view_recording(bench(), find_video(bench(), video), port))


@command
def ui(port: int = 3000) -> None:
    """Open the Dagster UI on this state, with its sensors and schedules, on this machine only."""
    from egoworld_assets.serving.artifact_files import dagster_ui

    raise typer.Exit(dagster_ui(bench(), port))


@command
def metrics(port: int = 9464, socket: Socket = None) -> None:
    """Serve what Prometheus asks for: http://127.0.0.1:PORT/metrics, on this machine only."""
    from egoworld_assets.cli import serve

    with dagster_quiet():
        serve.metrics(bench(), socket or port)


@command
def files(port: int = 3001, socket: Socket = None) -> None:
    """Serve contact sheets and other files of artifacts, on this machine only; `egoworld ui` does it by itself."""
    from egoworld_assets.cli import serve

    serve.files(bench(), socket or port)


def sample(workbench: Workbench, seconds: float, seed: int) -> Path:
    """The generated sample video of a seed, rendered once."""
    from egoworld_assets.cli.progress import flow_bar
    from egoworld_resources.sample import SampleOptions, is_rendered, render

    path = workbench.layout.home / "sample" / f"sample-{seed}-{seconds:g}s.mp4"
    options = SampleOptions(seed=seed, seconds=seconds)
    if not is_rendered(path, options):
        path.parent.mkdir(parents=True, exist_ok=True)
        with flow_bar(console) as bar:
            task = bar.add_task(f"rendering a sample video of {seconds:g} s", total=None)
            render(path, options, lambda done, total: bar.update(task, completed=done, total=total))
    return path


def flow(paths: Sequence[Path]) -> None:
    """Take files in and run everything for them; a file that is refused is named and the others go on."""
    arrivals, refused = taken(bench(), paths)
    if arrivals:
        run(list(dict.fromkeys(arrival.duplicate_of or arrival.video for arrival in arrivals)))
    if refused or not arrivals:
        raise typer.Exit(1)


def taken(workbench: Workbench, paths: Sequence[Path]) -> tuple[list[Arrival], list[str]]:
    """Take files into the store and say what became of each; returns what was taken, and why others were refused."""
    from egoworld_assets.cli.flow import take
    from egoworld_assets.orchestration.instance import instance_of

    with dagster_quiet(), instance_of(workbench) as instance:
        arrivals, refused = take(workbench, instance, paths)
    for reason in refused:
        console.print(f"[red]refused:[/red] {escape(reason)}", soft_wrap=True, highlight=False)
    for arrival in arrivals:
        told = f" (same bytes as {arrival.duplicate_of}, not processed again)" if arrival.duplicate_of else ""
        said = f"{escape(arrival.name)}: {arrival.state}{told}, video {arrival.video}"
        console.print(said, soft_wrap=True, highlight=False)
    return arrivals, refused


def run(videos: Sequence[str], workbench: Workbench | None = None, retried: Collection[tuple[str, str]] = ()) -> None:
    """Run the flow for some videos; ends with what came out, and with exit status 1 when something failed.

    retried: (stage, video) of failures that are asked for again.
    """
    from egoworld_assets.cli import status
    from egoworld_assets.cli.flow import run_flow
    from egoworld_assets.cli.progress import FlowProgress, flow_bar
    from egoworld_assets.orchestration.instance import instance_of
    from egoworld_assets.orchestration.registry import stages
    from egoworld_assets.quality import accuracy

    workbench = workbench or bench()
    with dagster_quiet(), instance_of(workbench) as instance, flow_bar(console) as bar:
        progress = FlowProgress(workbench, bar, list(stages().values()), videos)
        faults = run_flow(workbench, instance, videos, progress, retried)
    status.print_waiting(workbench, console)
    for fault in faults:
        console.print(f"[red]fault:[/red] {escape(fault)}", soft_wrap=True, highlight=False)
    if faults:
        console.print("is this machine the cause? `egoworld doctor` looks", highlight=False)
    entries = [entry for video in videos for entry in status.status_of(workbench, stages().values(), video)]
    console.print(status.run_table(entries, stages().values()))
    for video in videos:
        truth = accuracy.sample_truth(workbench, video)
        if truth:
            console.print(accuracy.accuracy_table(accuracy.accuracy_of(workbench, video, truth), brief=True))
    status.print_where_to_look(workbench, console, entries)
    if faults or any(entry["state"] in ("failed", "missing", "stale") or entry["waits"] for entry in entries):
        raise typer.Exit(1)
