"""Which stages of a video are missing or stale."""

from collections.abc import Callable, Iterable

from egoworld_assets.orchestration.registry import stages as all_stages
from egoworld_assets.planning.plan import WANTS_WORK
from egoworld_resources.artifacts.stage import Stage
from egoworld_resources.errors import DamagedArtifact, EgoworldError, Transient
from egoworld_resources.making.views import OneByOne, View, view_of
from egoworld_resources.making.workbench import Workbench


def outdated(bench: Workbench, stages: Iterable[Stage], video: str) -> list[str]:
    """Names of the stages of a video that are missing or stale, those behind them included; inputs first.

    A stage that failed or is quarantined under the current recipe and inputs is not planned again. Raises Transient
    when the store does not answer, and DamagedArtifact when the video's own record cannot be read: then nothing is
    known of the video.
    """
    bench.store.recorded("videos", video)
    return outdated_in(bench, stages, video)


def outdated_by_index(bench: Workbench, late: Callable[[], bool]) -> dict[str, list[str]] | None:
    """The same of all videos that can be judged, by the index; None where the videos are few or it cannot be used.

    late: when to stop making an index that is not complete.
    """
    of = list(all_stages().values())
    view = view_of(bench, of, None, late)
    if isinstance(view, OneByOne):
        return None
    found: dict[str, list[str]] = {}
    for group in view.groups():
        try:
            view.recorded("videos", group.example)
        except DamagedArtifact:
            continue
        names = outdated_in(view, of, group.example)
        found.update(dict.fromkeys(group.videos, names))
    return found


def outdated_in(look: Workbench | View, stages: Iterable[Stage], video: str) -> list[str]:
    """The same of a video whose record can be read."""
    wanted: list[str] = []
    for stage in stages:
        behind = any(asset in wanted for asset in (*stage.inputs, *stage.optional))
        try:
            wants = look.state(stage, video).condition in WANTS_WORK
        except Transient:
            raise
        except EgoworldError:
            wants = True
        if wants or behind:
            wanted.append(stage.name)
    return wanted
