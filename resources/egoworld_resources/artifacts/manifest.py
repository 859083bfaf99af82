"""What made an artifact: recipe and manifest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from egoworld_resources.errors import DamagedArtifact
from egoworld_runner.remarks import LEFT_OUT, NOTHING

MANIFEST = "manifest.json"


NOT_CONTENTS = {"packages", "label", "licence", "outputs", "weights_licences"}
"""Fields of a recipe that do not decide contents: the lock digest covers the versions, the others are words."""


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, as hex."""
    return hashlib.sha256(canonical(value).encode("utf-8")).hexdigest()


def canonical(value: Any) -> str:
    """A value's canonical JSON: names sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Recipe(_Frozen):
    """How an artifact is made, without its inputs. Two equal recipes on equal inputs give equal contents on a CPU."""

    stage: str
    env: str
    model: str = Field(description="runner entry, module:Class")
    label: str = Field("", description="kind of model, such as 'classical'")
    runner: str = Field(description="digest of the runner's source")
    contract: str = Field(description="digest of the egoworld_runner package")
    lock: str = Field(description="digest of the env's lock")
    packages: Mapping[str, str] = Field(description="package versions in the lock")
    weights: Mapping[str, str] = Field(description="sha256 by weight name")
    params: Mapping[str, Any]
    files: Mapping[str, str] = Field(default_factory=dict, description="digest of the files that a parameter names")
    device: str
    licence: str = Field(description="of the model's code, as declared when the artifact was made")
    outputs: str = Field("", description="licence that the model's terms put on what it makes, as declared then")
    weights_licences: Mapping[str, str] = Field(default_factory=dict, description="by weight name, as declared then")


class StoredFile(_Frozen):
    """One file of an artifact, path relative to it."""

    path: str
    bytes: int
    sha256: str


class Verdict(_Frozen):
    """The verdict of one check on an artifact. A failed one that blocks puts the video into quarantine."""

    check: str
    passed: bool
    blocking: bool = True
    reason: str = ""


class ClipReport(_Frozen):
    """The runner's result for one clip (unit 'whole' for stages that take the whole video)."""

    unit: str
    state: str
    reason: str = ""
    seconds: float = 0.0
    rows: Mapping[str, int] = Field(default_factory=dict)
    notes: Mapping[str, float | int | str] = Field(default_factory=dict)


class Manifest(_Frozen):
    """What an artifact is and what made it; written last, so its presence means that the artifact is whole."""

    asset: str
    video: str
    data_version: str
    fingerprint: str
    files: Sequence[StoredFile]
    inputs: Mapping[str, str | None] = Field(description="data version by input asset; None: it did not exist")
    recipe: Recipe
    clips: Sequence[ClipReport]
    checks: Sequence[Verdict]
    licences: Sequence[str] = Field(
        description="of weights and outputs, its own and all of its inputs', as declared then"
    )
    code_licences: Sequence[str] = Field(
        default_factory=list[str], description="of the code that made it and its inputs, as declared then"
    )
    source: Mapping[str, Any] = Field(description="the video's file name, sha256, and the rights stated then")
    run_id: str
    host: str
    gpu: str | None
    seconds: float
    made_at: str
    isolation: Sequence[str] = Field(
        default_factory=list[str], description="the means by which the runner was kept apart"
    )

    @property
    def rows(self) -> dict[str, int]:
        """Rows by table over all clips."""
        totals: dict[str, int] = {}
        for clip in self.clips:
            for table, count in clip.rows.items():
                totals[table] = totals.get(table, 0) + count
        return totals

    @property
    def quarantine(self) -> str:
        """Why the video is quarantined at this asset; empty when it is not."""
        return "; ".join(f"{v.check}: {v.reason}" for v in self.checks if v.blocking and not v.passed)

    @property
    def remark(self) -> str:
        """What is missing in a good artifact: clips left out, clips of which there honestly is nothing, warnings."""
        left_out = [clip.reason for clip in self.clips if clip.state == "failed"]
        nothing = [str(clip.notes[NOTHING]) for clip in self.clips if NOTHING in clip.notes]
        parts = [str(clip.notes[LEFT_OUT]) for clip in self.clips if LEFT_OUT in clip.notes]
        warnings = [f"{v.check}: {v.reason}" for v in self.checks if not v.blocking and not v.passed]
        of_clips = {"left out": left_out, "with nothing": nothing, "not whole": parts}
        said = [line for what, reasons in of_clips.items() for line in self._of_clips(what, reasons)]
        return "; ".join([*said, *warnings])

    def _of_clips(self, what: str, reasons: Sequence[str]) -> list[str]:
        if not reasons:
            return []
        whole = len(self.clips) == 1
        said = "; ".join(sorted(set(reasons)))
        return [said if whole else f"{len(reasons)} of {len(self.clips)} clips {what}: {said}"]


def named_files(params: Mapping[str, Any]) -> dict[str, str]:
    """Digest of the files that each parameter names by path; a {field} in a path matches anything, as in a glob."""
    found: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, str) and value.startswith("/"):
            pattern = Path(re.sub(r"\{[^}]*\}", "*", value))
            digests = [file_digest(path) for path in sorted(pattern.parent.glob(pattern.name)) if path.is_file()]
            if digests:
                found[name] = digest(digests)
    return found


def data_version(files: Sequence[StoredFile]) -> str:
    """Digest of the contents: every path with its sha256."""
    return digest(sorted((f.path, f.sha256) for f in files))[:32]


def stored_files(folder: Path) -> list[StoredFile]:
    """All files below a folder except the manifest, in path order."""
    paths = sorted(p for p in folder.rglob("*") if not p.is_dir() and p != folder / MANIFEST)
    if odd := next((p for p in paths if p.is_symlink() or not p.is_file()), None):
        raise DamagedArtifact(f"{odd} is not a regular file, and an artifact holds nothing else")
    return [
        StoredFile(path=p.relative_to(folder).as_posix(), bytes=p.stat().st_size, sha256=file_digest(p)) for p in paths
    ]
