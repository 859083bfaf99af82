"""Whose fault it is when nothing came out of a clip: its own, or that of the machine or the env.

A runner that says why it refuses a clip is believed. One that dies, falls silent or ends a clip with an exception of
another kind is not: the same happens when a driver hangs or a library is missing. What decides is whether other clips
get through; where none did, one that got through before is run again beside them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from pathlib import Path

from egoworld_resources.artifacts.manifest import Manifest
from egoworld_resources.errors import EgoworldError
from egoworld_resources.faults.causes import sounds_like_the_machine
from egoworld_resources.making.job import VideoWork
from egoworld_resources.running.events import units_of as units_in
from egoworld_resources.running.process import Ran, RunnerDies, choose, failure, without
from egoworld_resources.store.protocol import Store
from egoworld_runner.job import Job

LOOKED_AT = 50
"""Videos that are looked at for a clip that got through."""
Run = Callable[[Job], Ran]


def run_and_judge(job: Job, run: Run, control: Callable[[], Job | None]) -> Ran:
    """Run a job. Raises RunnerFailed or MemoryShort when those clips may not be the cause that did not get through.

    ``control`` gives a clip of another video that got through before, or None when there is none.
    """
    ran = Ran()
    while left := without(job, ran.deaths):
        try:
            ran = ran.then(run(left))
            break
        except RunnerDies as error:
            ran = ran.then(error.ran)
            known_good = control()
            if known_good is None or not works(known_good, run):
                raise failure(f"{error}; {others(known_good)}") from error
    poisoned = {unit: why for unit, why in ran.broken.items() if sounds_like_the_machine(why)}
    last = ran
    if poisoned and ran.through:
        last = run_again(job, poisoned, run)
        if not last.through and run_again(job, {min(ran.through)}, run).through:
            return ran.then(last)  # the machine still does what it did: these clips are the cause
        ran = ran.then(last)
    bad = {**last.deaths, **last.broken}
    if not bad or last.through:
        return ran
    known_good = control()
    doubtful = last.deaths or any(sounds_like_the_machine(why) for why in bad.values())
    if known_good is None and not doubtful:
        return ran
    if known_good is None or not works(known_good, run):
        clips = f"none of {len(bad)} clips got through" if len(bad) > 1 else "the only clip did not get through"
        raise failure(f"{job.stage}: {clips}, {others(known_good)}: {next(iter(bad.values()))}")
    return ran if ran.through else ran.then(run_again(job, poisoned, run))


def run_again(job: Job, units: Container[tuple[str, str]], run: Run) -> Ran:
    """Run some clips in another process: what ails a device lasts as long as the process that met it."""
    only = choose(job, lambda unit: unit in units)
    for video in only.videos if only else ():
        for unit in (unit for of, unit in units_in(job) if of == video.video and (of, unit) in units):
            shutil.rmtree(Path(video.output) / unit, ignore_errors=True)
    return run(only) if only else Ran()


def works(known_good: Job, run: Run) -> bool:
    """Whether a clip that got through before still does."""
    try:
        return bool(run(known_good).through)
    except EgoworldError:
        return False


def others(known_good: Job | None) -> str:
    """What became of the clip to compare with, in words."""
    return "a clip that got through before does not now" if known_good else "no clip ever got through here"


def candidates(store: Store, stage: str, others: Container[str]) -> Iterator[Manifest]:
    """Live artifacts of a stage, but of some videos: those of the first LOOKED_AT videos at most."""
    for video in store.videos(stage)[:LOOKED_AT]:
        made = None if video in others else store.current(stage, video)
        if made:
            yield made


def one_clip(work: VideoWork, made: Manifest) -> VideoWork | None:
    """A work with only the shortest of the clips of an artifact that got through; None when none did."""
    done = {clip.unit for clip in made.clips if clip.state == "done"}
    if work.clips is None:
        return work if done else None
    clips = sorted((clip for clip in work.clips if clip[0] in done), key=lambda clip: clip[2] - clip[1])
    return replace(work, clips=clips[:1]) if clips else None
