"""What a model's folder holds: every file with its size, digest and format, where it came from, under which licence."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from egoworld_resources.artifacts.manifest import digest
from egoworld_resources.environments.policy.pickles import PICKLES
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.layout import BIDIRECTIONAL, UNSHOWN, readable

MANIFEST = "egoworld-weights.json"
"""Name of the manifest in a model's folder, which no file of a model may have."""

SIGNATURE = "egoworld-weights.sig"
"""Name of a signature of the manifest and all files, beside the manifest."""

OURS = frozenset({MANIFEST, SIGNATURE})

MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
LARGEST_MANIFEST = 64 * 2**20

FORMATS = {
    "safetensors": "safetensors", "gguf": "gguf", "onnx": "onnx", "tflite": "tflite", "task": "mediapipe",
    **dict.fromkeys(PICKLES, "pickle"),
    "npy": "numpy", "npz": "numpy", "h5": "hdf5", "json": "json", "yaml": "yaml", "yml": "yaml",
    "txt": "text", "md": "text", "model": "sentencepiece", "py": "python",
}  # fmt: skip
"""Format by the ending of a name."""

WEIGHTS_FORMATS = frozenset({"safetensors", "gguf", "onnx", "tflite", "mediapipe", "pickle", "numpy", "hdf5"})
"""Formats of files that hold weights; the others describe them."""


def format_of(path: str) -> str:
    """The format that a file's name promises; "other" for unknown endings."""
    return FORMATS.get(PurePosixPath(path).suffix.lower().lstrip("."), "other")


def why_odd(path: str) -> str:
    """Why a name is not taken as the path of a file in a model's folder; empty when it is."""
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "is not a plain path below the folder"
    if any(unicodedata.category(c) in UNSHOWN or c in BIDIRECTIONAL for c in path) or "\\" in path:
        return "has characters that are not shown, or a backslash"
    if any(len(part.encode()) > 255 for part in parts) or len(path.encode()) > 1024:
        return "is too long"
    if parts[0] in OURS:
        return "is the name of the manifest or of its signature"
    return ""


def _plain(path: str) -> str:
    if reason := why_odd(path):
        raise ValueError(f"'{readable(path)}' {reason}")
    return path


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WeightsFile(_Frozen):
    """One file of a model."""

    path: Annotated[str, AfterValidator(_plain)] = Field(description="below the model's folder, with /")
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    format: str = Field(description="what the name promises, such as safetensors")


class Part(_Frozen):
    """Files that came from one source under one licence. A model may be put together from several."""

    source: str = Field(min_length=1, description="huggingface:OWNER/NAME, modelscope:OWNER/NAME, a URL, or words")
    revision: str = Field("", description="full commit at the source; empty where it has none")
    licence: str = Field(min_length=1, description="SPDX id of the weights' licence, or LicenseRef-...")
    files: Sequence[WeightsFile] = Field(min_length=1)


class ModelManifest(_Frozen):
    """All files of one model."""

    version: Literal[1] = 1
    model: str = Field(pattern=f"^{MODEL.pattern}$", description="name of its folder below the model home")
    parts: Sequence[Part] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_path_once(self) -> Self:
        paths = [file.path for file in self.files()]
        if twice := sorted({path for path in paths if paths.count(path) > 1} if len(set(paths)) < len(paths) else ()):
            raise ValueError(f"'{twice[0]}' is named twice")
        folders = {parent.as_posix() for path in paths for parent in PurePosixPath(path).parents}
        if both := sorted(folders & set(paths)):
            raise ValueError(f"'{both[0]}' is named as a file and as a folder")
        return self

    def files(self) -> Iterator[WeightsFile]:
        """The files of all parts."""
        return (file for part in self.parts for file in part.files)

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files())

    @property
    def licences(self) -> list[str]:
        """Licences of all parts, sorted."""
        return sorted({part.licence for part in self.parts})

    @property
    def digest(self) -> str:
        """What tells this manifest from every other one."""
        return digest(self.model_dump(mode="json"))

    def text(self) -> str:
        """As it is written to a file."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The manifest of a model's folder; raises BadConfiguration naming the file and the field."""
        file = folder / MANIFEST
        if file.is_symlink() or not file.is_file():
            raise BadConfiguration(f"{folder} has no {MANIFEST}: nothing says what its files should be")
        if file.stat().st_size > LARGEST_MANIFEST:
            raise BadConfiguration(f"{file} is larger than a manifest can be")
        return cls.parse(file.read_bytes(), str(file))

    @classmethod
    def parse(cls, text: bytes, where: str) -> Self:
        """A manifest from its text; raises BadConfiguration naming ``where`` it lies and the field."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"])
            raise BadConfiguration(f"{where}: {field or 'the whole'}: {first['msg']}") from error
