"""What the keyframes of one clip show: how the camera moved, and the static world if they show parallax."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pycolmap
from colmap_lens import first_guess, known_camera, lens_of
from motion import Motion, keyframes, measure
from parallax import Pair, Parallax, pairs_in
from parallax import measure as measure_parallax
from rotation import Turn, solve
from sfm import Keyframe, Sift, adjust, matches_of, reconstruct
from static_world import StaticWorld
from world import normalise

from egoworld_runner import ClipFailed, Params
from egoworld_runner.lenses import Lens
from egoworld_runner.tables import MOVING, ROTATION, STATIC

LEAST_TEXTURED = 0.25
LEAST_AGREEING = 0.97
"""Share of matches that rotations alone must explain before a camera counts as one that only turns."""
MOSTLY_A_TURN = 0.5
"""Share above which the focal length that suits the turn is a better first guess than any other: a head that turns
about its neck shows so little parallax that the mapping does not find its way from a guess that is far off."""
WORTH_A_TURN = 0.75
Progress = Callable[[int, int], None]
"""Called with a decode index and the pass (0, 1) over the frames."""


@dataclass
class Survey:
    """What is known of a clip's camera before its frames are registered.

    kind: of tables.CameraPose, empty where nothing can be said; ``reason`` says why not, or what is withheld. model and
    turn: at working size; lens: at the video's own, None when nothing showed it.
    """

    motion: Motion
    kind: str = ""
    reason: str = ""
    found: list[Keyframe] = field(default_factory=list[Keyframe])
    parallax: Parallax | None = None
    model: pycolmap.Reconstruction | None = None
    turn: Turn | None = None
    lens: Lens | None = None

    @property
    def observations(self) -> int:
        """How many keypoints the model explains: the weight of its lens."""
        return self.model.compute_num_observations() if self.model else 0


def survey(world: StaticWorld, lens: Lens | None, guess: float, params: Params, progress: Progress) -> Survey:
    """Motion, keyframes, parallax and, where there is any, the model. lens: at the video's size, None to find it.

    guess: first guess of the focal length, in long sides. Raises ClipFailed for a clip that is too short or too plain.
    """
    step = float(params["step"]) * max(world.size)
    motion = measure(world.views(), step, lambda frame: progress(frame, 0))
    refuse(motion)
    out = Survey(motion, lens=lens)
    if motion.travelled[-1] < float(params["static_px"]):
        out.kind = STATIC
        moved = f"the surroundings move by {motion.travelled[-1]:.2f} px in {len(motion.frames)} frames"
        out.reason = f"static camera: {moved}, so it stands still and nothing shows sizes or distances"
        return out
    chosen = set(keyframes(motion, step, int(params["max_gap"]), int(params["max_frames"])))
    sift = Sift(int(params["max_features"]))
    for view in world.views():
        if view.frame in chosen:
            out.found.append(sift.keyframe(view))
        progress(view.frame, 1)
    matches = matches_of(out.found)
    pairs = pairs_in(out.found, matches)
    work_lens = lens.resized(world.scale) if lens else None
    out.parallax = measure_parallax(pairs, world.size, work_lens)
    turn = _turn(out, pairs, world, work_lens)
    flat = out.parallax.homography if out.parallax else 0.0
    if turn and turn.agree >= LEAST_AGREEING and flat >= float(params["max_homography_share"]):
        share = f"one homography explains {flat:.0%} of what matches between pictures"
        out.kind, out.turn = ROTATION, turn
        out.reason = f"rotation only: {share} and a turn explains it, so where the camera was is not known"
        return out
    if turn and turn.agree >= MOSTLY_A_TURN:
        guess = turn.focal / max(world.size)
    camera = (
        known_camera(work_lens, world.size)
        if work_lens
        else first_guess(str(params["camera_model"]), guess * max(world.size), world.size)
    )
    with tempfile.TemporaryDirectory(prefix="egoworld-sfm-") as scratch:
        out.model = reconstruct(out.found, matches, camera, Path(scratch))
    if out.model is None:
        out.reason = "no two keyframes show enough parallax on enough points"
        return out
    out.kind = MOVING
    normalise(out.model)
    out.lens = lens or lens_of(next(iter(out.model.cameras.values())), world.scale)
    return out


def _turn(made: Survey, pairs: Sequence[Pair], world: StaticWorld, lens: Lens | None) -> Turn | None:
    """Rotations alone, where a homography explains so much that they are worth a try."""
    if made.parallax is None or made.parallax.homography < WORTH_A_TURN:
        return None
    return solve(pairs, [keyframe.frame for keyframe in made.found], made.parallax, world.size, lens)


def refuse(motion: Motion) -> None:
    """Raise ClipFailed for a clip that no camera can be found in, whatever it does."""
    if len(motion.frames) < 3:
        raise ClipFailed(
            f"the clip has {len(motion.frames)} frames; a reconstruction needs 3 or more, so join it to another"
        )
    if motion.textured < LEAST_TEXTURED:
        raise ClipFailed(
            "the part of the picture that does not move is too plain to follow; film with more light or more of the "
            "surroundings in view, or check that masks do not cover everything"
        )


def relensed(made: Survey, world: StaticWorld, lens: Lens) -> Survey:
    """The same clip under the lens that its camera has in all its clips."""
    work_lens = lens.resized(world.scale)
    if made.model is not None and made.lens != lens:
        adjust(made.model, known_camera(work_lens, world.size))
        normalise(made.model)
    if made.turn is not None and made.parallax is not None:
        pairs = pairs_in(made.found, matches_of(made.found))
        seen = measure_parallax(pairs, world.size, work_lens) or made.parallax
        turn = solve(pairs, [keyframe.frame for keyframe in made.found], seen, world.size, work_lens)
        made.turn = turn if turn and turn.agree >= LEAST_AGREEING else made.turn
    made.lens = lens
    return made


def shared(surveys: list[Survey]) -> Lens | None:
    """The lens of the clip whose focal length is the median one, each clip weighed by what it observed.

    Numbers of one lens belong together: a focal length of one clip and a distortion of another are no lens.
    """
    known = sorted((s for s in surveys if s.kind == MOVING and s.lens), key=lambda s: s.lens.intrinsics[0])  # type: ignore[union-attr]
    if not known:
        return None
    weights = np.cumsum([one.observations for one in known])
    return known[int(np.searchsorted(weights, weights[-1] / 2))].lens
