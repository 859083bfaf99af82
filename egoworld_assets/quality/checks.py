"""What must hold before an artifact may be used: no silent success.

A check looks at a draft and gives a verdict. One that blocks and fails puts the video into quarantine at that stage;
one that only warns is shown and kept in the manifest. Which stages there are, and with which checks, is known without
NumPy and Arrow: what a check measures is loaded when it measures.
"""

from __future__ import annotations

from egoworld_resources.artifacts.manifest import Verdict
from egoworld_resources.artifacts.stage import Check, Draft
from egoworld_runner.remarks import NOTHING

MAX_BOTH_SIDES = 0.2
MAX_SHARE_OF_JUMPS = 0.2
MAX_SHARE_OF_STIFF = 0.2
MAX_SHARE_LEFT_OUT = 0.2


def verdict(name: str, fault: str, *, blocking: bool = True) -> Verdict:
    """A passed verdict when there is no fault."""
    return Verdict(check=name, passed=not fault, blocking=blocking, reason=fault)


def has_rows(table: str) -> Check:
    """A check that at least one row was found."""

    def check(draft: Draft) -> Verdict:
        """At least one row was found."""
        empty = draft.rows(table) == 0
        return verdict("has_rows", f"nothing was found ({table} is empty)" if empty else "")

    return check


def found_or_said(table: str, column: str = "") -> Check:
    """A check that something was found, or that the model says of each clip why there honestly is nothing.

    column: of booleans, which must be true in a row that counts.
    """

    def check(draft: Draft) -> Verdict:
        """Something was found, or the model says of each clip why there honestly is nothing."""
        from egoworld_assets.quality.measures import rows_with

        found = rows_with(draft, column) if column else draft.rows(table)
        silent = any(NOTHING not in clip.notes for clip in draft.clips if clip.state == "done")
        fault = f"nothing was found ({table}), and the model does not say why there should be nothing"
        return verdict("found_or_said", fault if silent and not found else "")

    return check


def has_files(*names: str) -> Check:
    """A check that files exist and are not empty; where the model said why there is nothing, that is the reason."""

    def check(draft: Draft) -> Verdict:
        """All files are there."""
        missing = [n for n in names if not (draft.folder / n).is_file() or (draft.folder / n).stat().st_size == 0]
        said = [str(clip.notes[NOTHING]) for clip in draft.clips if NOTHING in clip.notes]
        return verdict("has_files", "; ".join(said) or f"missing: {', '.join(missing)}" if missing else "")

    return check


def pictures_are_whole(draft: Draft) -> Verdict:
    """No picture is damaged or lost; a warning only, since those are in no clip."""
    (row,) = draft.table("frames", "damaged_frames", "corrupt_packets").to_pylist()
    damaged, lost = row["damaged_frames"], row["corrupt_packets"]
    fault = f"{damaged} of {row['frames']} pictures are damaged and {lost} are lost; they are in no clip"
    return verdict("pictures_are_whole", fault if damaged or lost else "", blocking=False)


def times_are_stamped(draft: Draft) -> Verdict:
    """Every picture has the time at which it was filmed; a warning only, where a rate stands for times."""
    (row,) = draft.table("timing", "fps").to_pylist()
    whose = {"rate": "that the file declares", "assumed": "that is assumed, for the file declares none"}
    what = whose.get(row["timing"])
    fault = f"no timestamps: times are those of a rate {what}, {row['fps']:g} pictures per second" if what else ""
    return verdict("times_are_stamped", fault, blocking=False)


def clips_in_order(draft: Draft) -> Verdict:
    """Clips follow one another without overlap, inside the video."""
    rows = draft.table("start_frame", "end_frame").to_pylist()
    frames = draft.input_table("videos").to_pylist()[0]["frames"]
    ends = [0, *(row["end_frame"] for row in rows)]
    bad = [
        row for row, end in zip(rows, ends, strict=False) if not end <= row["start_frame"] < row["end_frame"] <= frames
    ]
    return verdict(
        "clips_in_order",
        f"clip of frames {bad[0]['start_frame']}-{bad[0]['end_frame']} overlaps or is outside" if bad else "",
    )


def hands_differ(draft: Draft) -> Verdict:
    """Left and right are two hands, not one hand twice."""
    from egoworld_assets.quality.measures import share_of_one_hand_twice

    share = share_of_one_hand_twice(draft)
    fault = f"left and right are the same hand in {share:.0%} of their frames" if share > MAX_BOTH_SIDES else ""
    return verdict("hands_differ", fault)


def hands_move_physically(draft: Draft) -> Verdict:
    """Hands do not jump by more than 1.5 times their own size from one frame to the next, but rarely."""
    from egoworld_assets.quality.measures import share_of_hand_jumps

    share = share_of_hand_jumps(draft)
    fault = f"hands jump in {share:.0%} of frames" if share > MAX_SHARE_OF_JUMPS else ""
    return verdict("hands_move_physically", fault)


def hands_found(draft: Draft) -> Verdict:
    """At least one hand was found; if none, how many sightings were left out, and why."""
    fault = "" if draft.rows(draft.asset) else f"no hand was found{_left_out(draft)}"
    return verdict("hands_found", fault)


def hands_kept(draft: Draft) -> Verdict:
    """Most of what the model took for hands are hands; a warning only, since what is not one was left out."""
    lost, kept = sum(_not_hands(draft).values()), draft.rows(draft.asset)
    fault = (
        f"{lost / (lost + kept):.0%} of what the model took for hands is not a hand{_left_out(draft)}" if lost else ""
    )
    return verdict("hands_kept", fault if lost > MAX_SHARE_LEFT_OUT * (lost + kept) else "", blocking=False)


def _not_hands(draft: Draft) -> dict[str, int]:
    """How many sightings of hands a runner left out, by its reason."""
    reasons = {"brief": "seen too briefly", "stiff": "never change their pose", "background": "part of the background"}
    notes = [clip.notes for clip in draft.clips]
    return {words: sum(int(n.get(f"not_hands_{reason}", 0)) for n in notes) for reason, words in reasons.items()}


def _left_out(draft: Draft) -> str:
    lost = [f"{count} {words}" for words, count in _not_hands(draft).items() if count]
    return f"; left out: {', '.join(lost)}" if lost else ""


def hands_are_alive(draft: Draft) -> Verdict:
    """Hands change their pose: what keeps one arrangement of joints for half a second and more is no hand."""
    from egoworld_assets.quality.measures import stiff_hands

    stiff = stiff_hands(draft)
    fault = f"hands that never change their pose are no hands: {stiff.share:.0%} of the rows ({stiff.where})"
    return verdict("hands_are_alive", fault if stiff.share > MAX_SHARE_OF_STIFF else "")


def boxes_inside(draft: Draft) -> Verdict:
    """Boxes have an area and are inside the picture; their edges may be on its border."""
    from egoworld_assets.quality.measures import boxes_outside

    bad = boxes_outside(draft)
    return verdict("boxes_inside", f"{bad} boxes have no area or reach out of the picture" if bad else "")


def masks_not_empty(draft: Draft) -> Verdict:
    """No mask is empty or covers the whole picture."""
    from egoworld_assets.quality.measures import masks_of_nothing_or_everything

    bad = masks_of_nothing_or_everything(draft)
    fault = f"{bad} of {draft.rows(draft.asset)} masks are empty or cover everything" if bad else ""
    return verdict("masks_not_empty", fault)


def cameras_are_real(draft: Draft) -> Verdict:
    """Registered camera poses are rotations; those of a moving camera move, those of another stay in one place."""
    from egoworld_assets.quality.measures import cameras

    found = cameras(draft)
    if found.skewed:
        return verdict("cameras_are_real", f"{found.skewed} poses are not rigid")
    if found.invented:
        return verdict(
            "cameras_are_real",
            f"{found.invented} poses of cameras that only turn or stand still have a translation",
        )
    still = found.moving > 1 and found.farthest < 1e-9
    return verdict("cameras_are_real", "all poses of a moving camera are the identity" if still else "")


def cameras_show_parallax(draft: Draft) -> Verdict:
    """Every camera moves so that places and sizes are known; a warning only, since much can be used without."""
    from egoworld_assets.quality.measures import clips_without_parallax

    kinds = clips_without_parallax(draft)
    what = {"rotation": "only turn", "static": "stand still", "": "have no camera"}
    parts = [f"{len(clips)} clips {what.get(kind, kind)} ({clips[0][:8]})" for kind, clips in sorted(kinds.items())]
    withheld = "; translation, focal length (unless the lens is given) and object poses are withheld there"
    return verdict("cameras_show_parallax", ", ".join(parts) + withheld if parts else "", blocking=False)


def cameras_move_smoothly(draft: Draft) -> Verdict:
    """The camera's speed does not change by more than itself from frame to frame."""
    from egoworld_assets.quality.measures import camera_tremble
    from egoworld_runner.camera_paths import MOST_TREMBLE

    worst = camera_tremble(draft)
    fault = f"the camera trembles: its speed changes by {worst:.1f} times itself from frame to frame"
    return verdict("cameras_move_smoothly", fault if worst > MOST_TREMBLE else "")


def poses_are_rigid(draft: Draft) -> Verdict:
    """Object poses are rigid and in front of the camera."""
    from egoworld_assets.quality.measures import impossible_object_poses

    bad = impossible_object_poses(draft)
    return verdict("poses_are_rigid", f"{bad} poses are not rigid or are behind the camera" if bad else "")


def joints_move_physically(draft: Draft) -> Verdict:
    """Joints do not turn faster than 40 rad/s, but rarely."""
    from egoworld_assets.quality.measures import share_of_joint_jumps

    share = share_of_joint_jumps(draft)
    fault = f"joints jump in {share:.0%} of frames" if share > MAX_SHARE_OF_JUMPS else ""
    return verdict("joints_move_physically", fault)
