"""Small folders of models, with and without a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from egoworld_resources.weights.importing import Origin, described
from egoworld_resources.weights.manifest import MANIFEST, ModelManifest

FILES: Mapping[str, bytes] = {
    "config.json": b'{"architectures": ["Tiny"]}',
    "model-00001-of-00002.safetensors": bytes(range(256)) * 12_000,
    "model-00002-of-00002.safetensors": b"\1" * 100_000,
    "vae/empty.txt": b"",
}
ORIGIN = Origin("huggingface:lab/tiny", "Apache-2.0", "1" * 40)


def write_files(folder: Path, files: Mapping[str, bytes] = FILES) -> Path:
    """A folder with these files."""
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def write_model(folder: Path, files: Mapping[str, bytes] = FILES) -> ModelManifest:
    """A folder with these files and their manifest."""
    write_files(folder, files)
    manifest = described(folder, folder.name, ORIGIN)
    (folder / MANIFEST).write_text(manifest.text(), encoding="utf-8")
    return manifest
