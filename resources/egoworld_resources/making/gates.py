"""What each clip must be before anything is made of it, and what is said of clips of which honestly nothing came.

A clip that does not pass a gate of its stage is left out while another one passes. When none does, all are kept for a
look, and the video is quarantined at the stage.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from egoworld_resources.artifacts.manifest import ClipReport, Verdict
from egoworld_resources.artifacts.stage import Draft, Stage, verdict_of
from egoworld_runner.remarks import NOTHING, REMARKS


@dataclass
class Gates:
    """The gates of a stage over the clips of one video. inputs: folders of the artifacts that it was made from."""

    stage: Stage
    inputs: Mapping[str, Path]
    verdicts: list[Verdict] = field(default_factory=list[Verdict])

    def leave_out(self, folder: Path, reports: Sequence[ClipReport]) -> dict[str, str]:
        """Which clips do not pass, and why; none when that would be all of them. ``verdicts`` says so then.

        folder: where each clip's files lie below its name.
        """
        whole = Draft(self.stage.name, folder, reports, self.inputs)
        judged = {
            report.unit: [verdict_of(gate, whole.of_clip(report)) for gate in self.stage.gates]
            for report in reports
            if report.state == "done"
        }
        faults = {unit: _fault(verdicts) for unit, verdicts in judged.items()}
        refused = {unit: fault for unit, fault in faults.items() if fault}
        nothing_is_left = bool(refused) and len(refused) == len(judged)
        self.verdicts = [_over_clips(of_gate, nothing_is_left) for of_gate in zip(*judged.values(), strict=True)]
        return {} if nothing_is_left else refused


def write_remarks(folder: Path, reports: Sequence[ClipReport], left_out: Mapping[str, str]) -> None:
    """Say beside an artifact's tables why clips have no rows, for the stages that show them; no file without any."""
    nothing = {report.unit: str(report.notes[NOTHING]) for report in reports if NOTHING in report.notes}
    remarks = {**nothing, **left_out}
    if remarks:
        (folder / REMARKS).write_text(json.dumps(remarks, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _fault(verdicts: Sequence[Verdict]) -> str:
    return "; ".join(f"{one.check}: {one.reason}" for one in verdicts if one.blocking and not one.passed)


def _over_clips(verdicts: Sequence[Verdict], nothing_is_left: bool) -> Verdict:
    """One gate over all clips: it holds while good clips are left, for the others are out."""
    failed = [one for one in verdicts if not one.passed]
    if not failed:
        said = sorted({one.reason for one in verdicts if one.reason})
        return verdicts[0].model_copy(update={"reason": "; ".join(said)})
    worst = next((one for one in failed if one.blocking), failed[0])
    if worst.blocking and not nothing_is_left:
        return Verdict(check=worst.check, passed=True)
    reason = worst.reason if len(verdicts) == 1 else f"in {len(failed)} of {len(verdicts)} clips: {worst.reason}"
    return worst.model_copy(update={"reason": reason})
