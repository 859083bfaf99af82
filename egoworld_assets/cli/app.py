"""The command line: `egoworld --help` lists the commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from gc import set_threshold
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from egoworld_assets.cli.console import Json, Known, Planned, Socket, Videos, console
from egoworld_assets.cli.errors import errors_shown
from egoworld_assets.cli.families import Envs, Kits, Weights
from egoworld_resources.errors import BadConfiguration, EgoworldError

if TYPE_CHECKING:
    from egoworld_resources.making.workbench import Workbench
    from egoworld_resources.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="First-person video to robot-learning data.")
set_threshold(50_000)  # what is loaded stays: to look through it at every 700 objects is 7 % of a short command
FAMILIES = {
    "env": (Envs, "Envs: what they may contain, what they need, where they stand."),
    "kit": (Kits, "Kits for machines without a network: infra/AIRGAP.md."),
    "weights": (Weights, "Weights of models: what is here and whether it is whole; deliveries; the bucket."),
}
for name, (family, about) in FAMILIES.items():
    app.add_typer(typer.Typer(cls=family, no_args_is_help=True, help=about), name=name)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a command whose known errors are shown as one message and exit status 1."""
    return app.command()(errors_shown(function))


def settings() -> Settings:
    """The configuration in force."""
    from egoworld_resources.settings import Settings

    return Settings.load()


def bench() -> Workbench:
    """The workbench of the configuration in force."""
    from egoworld_resources.making.workbench import Workbench

    return Workbench(settings())


def known_videos(workbench: Workbench, names: Sequence[str] | None) -> list[str]:
    """Keys of the videos named by key or file name; all of them when none is named."""
    from egoworld_assets.cli.names import find_video

    return [find_video(workbench, v) for v in names] if names else workbench.store.keys("videos")


@command
def rights(
    video: Annotated[str | None, typer.Argument(help="Video key or name; default all.")] = None,
    licence: Annotated[str | None, typer.Option(help="SPDX expression, or LicenseRef-... of your own.")] = None,
    source: Annotated[str, typer.Option(help="Who holds the rights, or where that is written.")] = "",
    table: Annotated[
        Path | None, typer.Option("--csv", help="State many: columns video and licence, and source if you like.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take back what was stated for this video.")] = False,
    as_json: Json = False,
) -> None:
    """Under which licence source videos were given, who said so and when; or state it. Unknown is not commercial."""
    from egoworld_assets.cli.rights import change_rights, show_rights

    workbench = bench()
    change_rights(workbench, video, licence, source, table, remove)
    show_rights(workbench, video, console, as_json)


@command
def prompt(
    video: str,
    frame: Annotated[
        int | None, typer.Option(min=0, help="Frame in which the object is shown, 0 for the first.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="What it is, such as cup.")] = None,
    name: Annotated[str | None, typer.Option("--object", help="Which one, where there are several.")] = None,
    box: Annotated[str | None, typer.Option(help="x,y,width,height in px around it.")] = None,
    inside: Annotated[list[str] | None, typer.Option(help="A point x,y on it; may be given often.")] = None,
    outside: Annotated[list[str] | None, typer.Option(help="A point x,y beside it; may be given often.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take back all, or those of the frame or object.")] = False,
    plan: Planned = False,
    as_json: Json = False,
) -> None:
    """Show an object of a video by a box or points, for masks to follow; or list what was shown."""
    from egoworld_assets.cli.annotations import PROMPTS, Shown, Telling, change_prompts, show_said

    workbench, output = bench(), Telling(console, plan, as_json)
    change_prompts(workbench, video, Shown(frame, label, name, box, inside or (), outside or ()), remove, output)
    show_said(workbench, PROMPTS, video, output)


@command
def lens(
    video: str,
    file: Annotated[Path | None, typer.Argument(help="JSON with model, width, height, f or fx and fy, ...")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take it back.")] = False,
    plan: Planned = False,
    as_json: Json = False,
) -> None:
    """Give a video the known lens of its camera, or show what was given: envs/pycolmap/README.md."""
    from egoworld_assets.cli.annotations import LENS, Telling, change_lens, show_said

    workbench, output = bench(), Telling(console, plan, as_json)
    change_lens(workbench, video, file, remove, output)
    show_said(workbench, LENS, video, output)


@command
def export(
    to: Annotated[Path, typer.Option(help="Folder that does not exist yet.")],
    commercial: Annotated[bool, typer.Option("--commercial", help="Refuse what forbids it, or is unclear.")] = False,
    exclude: Annotated[
        bool, typer.Option("--exclude-noncommercial", help="With --commercial: leave those videos out instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Hand the dataset out: a copy with a card of today's licences, whole or not at all."""
    from egoworld_assets.cli.export import export_dataset

    export_dataset(bench(), to, console, commercial=commercial, leave_out=exclude, as_json=as_json)


@command
def demo(videos: Videos = None, seconds: float = 12.0, seed: int = 0) -> None:
    """Turn videos (default: a generated sample) into a dataset, and say where to look."""
    from egoworld_assets.cli.videos import video_files

    paths = video_files(videos, console)
    from egoworld_assets.cli.flow import flow, sample  # Dagster is loaded once the names are known to be right

    workbench = bench()
    flow(workbench, paths if videos else [sample(workbench, seconds, seed)])


@command
def ingest(videos: Videos = None) -> None:
    """Take videos into the store without running anything; `egoworld refresh` or Dagster makes the rest."""
    if not videos:
        raise BadConfiguration("no video given; name files, folders or globs")
    from egoworld_assets.cli.videos import video_files

    paths = video_files(videos, console)
    from egoworld_assets.cli.flow import taken

    _, refused = taken(bench(), paths)
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
    from egoworld_assets.cli.refresh import chosen, failed

    workbench = bench()
    keys = known_videos(workbench, videos)
    retried = frozenset[tuple[str, str]]()
    if retry_failed or stage:
        retried = failed(workbench, keys, stage, console, retry_failed)
        keys = sorted({video for _, video in retried})
    if plan or max_hours is not None:
        keys = chosen(workbench.snapshot(), keys, console, max_hours, plan, retried)
    if keys and not plan:
        from egoworld_assets.cli.flow import run

        run(workbench, keys, retried)


@command
def stale(videos: Known = None, as_json: Json = False) -> None:
    """What a refresh would make, why, and what it costs by past runs; nothing is run."""
    from egoworld_assets.cli.export import stale_licences
    from egoworld_assets.cli.refresh import show
    from egoworld_assets.planning.totals import planned

    workbench = bench().snapshot()
    keys = known_videos(workbench, videos) if videos else None
    licences = stale_licences(workbench, keys)
    show(planned(workbench, keys), console, as_json, licences)


@command
def status(
    videos: Known = None,
    as_json: Json = False,
    refused: Annotated[bool, typer.Option("--refused", help="Name every file that was refused, and why.")] = False,
) -> None:
    """How every asset of every video stands: fresh, stale, missing, failed, quarantined or blocked, and why."""
    from egoworld_assets.cli import status
    from egoworld_assets.orchestration.registry import stages
    from egoworld_resources.making.views import view_of

    workbench = bench().snapshot()
    if refused and not as_json:
        console.print(status.refused_table(workbench))
        return
    try:
        every = list(stages().values())
        view = view_of(workbench, every, known_videos(workbench, videos) if videos else None)
    except EgoworldError as error:  # the store does not answer, perhaps: what waits stands in a file beside it
        if not as_json:
            status.print_waiting(workbench, console)
        error.details = {**error.details, "waiting": status.waiting(workbench)}
        raise
    if as_json:
        entries = status.entries_of(workbench, every, view)
        others = {"duplicates": status.duplicates(workbench), "left_out": status.left_out(workbench)}
        others["waiting"] = status.waiting(workbench)
        sys.stdout.writelines(f"{line}\n" for line in status.json_lines({"assets": entries, **others}))
    elif view.videos or status.left_out(workbench):
        console.print(status.status_table(workbench, every, view))
        status.print_waiting(workbench, console)
    else:
        console.print("no videos yet: `egoworld ingest FILE`, or put one into " + escape(workbench.inbox.where))


@command
def lineage(artifact: Annotated[str, typer.Argument(help="VIDEO/ASSET")], as_json: Json = False) -> None:
    """What an artifact was made from: back to the video's bytes, code, lock, weights and parameters."""
    from egoworld_assets.cli.lineage import lineage_tree
    from egoworld_assets.cli.names import artifact as named_artifact
    from egoworld_assets.orchestration.registry import stages
    from egoworld_resources.making.lineage import lineage_of

    workbench = bench()
    node = lineage_of(workbench, named_artifact(workbench, stages().values(), artifact))
    if as_json:
        print(json.dumps(node, indent=2, ensure_ascii=False))
    else:
        console.print(lineage_tree(node), soft_wrap=True)


@command
def reproduce(
    artifact: Annotated[str, typer.Argument(help="VIDEO/ASSET, or VIDEO for all that it has.")],
    cores: Annotated[int | None, typer.Option(min=1, help="Let the models use at most this many cores.")] = None,
    as_json: Json = False,
) -> None:
    """Make an artifact again from its manifest alone, beside the store, and compare the bytes."""
    from egoworld_assets.cli.reproduce import show, use_cores

    use_cores(cores)
    if not show(bench(), artifact, console, as_json):
        raise typer.Exit(1)


@command
def accuracy(as_json: Json = False) -> None:
    """How far results on sample videos lie from what is true in them, stage by stage, and how that is measured."""
    from egoworld_assets.quality.accuracy import accuracy_of, accuracy_table, sample_truth

    workbench = bench()
    for video, facts in workbench.store.records("videos"):
        truth = sample_truth(workbench, video)
        measured = accuracy_of(workbench, video, truth) if truth else []
        if as_json and truth:
            print(json.dumps({"video": video, "measured": [asdict(m) for m in measured]}, ensure_ascii=False))
        elif truth:
            console.print(escape(facts["name"]), accuracy_table(measured), sep="\n")


@command
def doctor(
    as_json: Json = False,
    thorough: Annotated[bool, typer.Option("--thorough", help="Read every byte of every model env too.")] = False,
    seconds: Annotated[
        float | None, typer.Option(min=1, help="How long a check may take; default 60, and 3600 with --thorough.")
    ] = None,
    free_gb: Annotated[float, typer.Option(min=0, help="Free disk (GB) below which there is a warning.")] = 10.0,
) -> None:
    """Whether this machine can do what the configuration asks; each warning and fault with its fix."""
    from egoworld_assets.cli.doctor import examined, show

    patience = seconds or (3600.0 if thorough else 60.0)
    findings = examined(settings(), patience, free_gb, thorough)
    if show(findings, console, as_json):
        raise typer.Exit(1)


@command
def fsck(
    quick: Annotated[bool, typer.Option("--quick", help="Compare sizes only, read no bytes.")] = False,
    forget: Annotated[
        bool, typer.Option("--mend", help="Forget damaged artifacts; a refresh makes them again.")
    ] = False,
    reindex: Annotated[
        bool, typer.Option("--reindex", help="Only compare the index with the store; put right what differs.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look through the whole store: name what is missing, damaged or orphaned."""
    from egoworld_assets.cli import store

    if reindex:
        store.make_index_again(settings(), console, as_json)
    elif not store.look_through(settings(), console, quick, as_json, forget):
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

    store.collect(settings(), console, store.policy_of(keep, older_than), apply, as_json)


@command
def prune(
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without this only say what would go.")] = False,
    days: Annotated[int | None, typer.Option(min=0, help="Default: the setting event_log_days.")] = None,
    as_json: Json = False,
) -> None:
    """Take log and step events of old runs out of Dagster's event log; what is known of assets stays."""
    from egoworld_assets.cli.prune import prune_event_log
    from egoworld_assets.orchestration.instance import dagster_quiet

    with dagster_quiet():
        prune_event_log(bench(), console, days, apply, as_json)


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
        store.make_buckets(settings(), console)


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
    from egoworld_assets.orchestration.instance import dagster_quiet

    with dagster_quiet():
        serve.metrics(bench(), socket or port)


@command
def files(port: int = 3001, socket: Socket = None) -> None:
    """Serve contact sheets and other files of artifacts, on this machine only; `egoworld ui` does it by itself."""
    from egoworld_assets.cli import serve

    serve.files(bench(), socket or port)
