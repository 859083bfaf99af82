"""Weights on this machine: inside an env's packages, below the model home, or fetched from the bucket of weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from egoworld_resources.artifacts.manifest import file_digest
from egoworld_resources.environments.declaration import Weights
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.settings import Settings
from egoworld_resources.weights.errors import WeightsMissing
from egoworld_resources.weights.manifest import ModelManifest
from egoworld_resources.weights.verify import verify

if TYPE_CHECKING:
    from egoworld_resources.weights.bucket import WeightsBucket


@dataclass(frozen=True)
class ModelPaths:
    """Where weights outside packages are: below ``home``, or in ``explicit``, which holds for all weights.

    explicit: a file by the weights' name or by env/name, or the folder of an env's weights by the env.
    """

    home: Path
    explicit: Mapping[str, Path] = field(default_factory=dict[str, Path])

    @classmethod
    def of(cls, settings: Settings) -> ModelPaths:
        """Those of a configuration."""
        return cls(settings.model_home, settings.extra.model_paths)

    def stated(self, weights: Weights, env: str) -> Path | None:
        """The configured path of these weights, if any."""
        file = self.explicit.get(f"{env}/{weights.name}") or self.explicit.get(weights.name)
        return file or (self.explicit[env] / weights.path if env in self.explicit else None)


def local_weights(
    declared: Sequence[Weights],
    python: Path,
    bucket: WeightsBucket | None = None,
    paths: ModelPaths | None = None,
    env: str = "",
) -> dict[str, Path]:
    """Name to verified path. python: interpreter of the env, whose packages may carry weights.

    paths: where files outside packages are (the configuration in force by default); a file that is not there is fetched
    from ``bucket``, unless ``paths`` states its place. Raises WeightsMissing naming what was expected and the fix.
    """
    places = paths or ModelPaths.of(Settings.load())
    return {weights.name: _verified(weights, python, bucket, places, env) for weights in declared}


def _verified(weights: Weights, python: Path, bucket: WeightsBucket | None, places: ModelPaths, env: str) -> Path:
    stated = places.stated(weights, env)
    path = stated or (_package(weights, python) if weights.package else places.home) / weights.path
    if weights.revision:
        return _whole(weights, path)
    if not path.is_file() and bucket and weights.package is None and stated is None:
        fetched = bucket.fetch(weights)
        if fetched is None:
            raise WeightsMissing(
                f"weights '{weights.name}': neither {path} nor {bucket.where(weights.sha256)} exists; put the file "
                f"with sha256 {weights.sha256} there{_published(weights)}: egoworld weights push {path.name}, "
                "with keys that may write there"
            )
        return fetched
    if not path.is_file():
        raise WeightsMissing(
            f"weights '{weights.name}': {path} does not exist{' (extra.model_paths)' if stated else ''}; "
            f"put the file with sha256 {weights.sha256} there{_published(weights)}"
        )
    found = file_digest(path)
    if found != weights.sha256:
        raise WeightsMissing(
            f"weights '{weights.name}': {path} has sha256 {found}, declared is {weights.sha256}; "
            f"fetch it again{_published(weights)}"
        )
    return path


def _whole(weights: Weights, folder: Path) -> Path:
    """A model's folder after every byte of it was compared with its manifest, which must be of the declared commit."""
    fault = _fault(weights, folder)
    if fault:
        fix = f"egoworld weights download {weights.source} --revision {weights.revision} --name {folder.name}"
        bucket = f"egoworld weights fetch {folder.name}"
        raise WeightsMissing(f"weights '{weights.name}': {fault}; from a bucket: {bucket}; from the hub: {fix}")
    return folder


def _fault(weights: Weights, folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} does not exist"
    try:
        manifest = ModelManifest.read(folder)
    except BadConfiguration as error:
        return str(error)
    commits = [f"{part.source} at {part.revision or 'no commit'}" for part in manifest.parts]
    if commits != [f"{weights.source} at {weights.revision}"]:
        return f"{folder} is {' and '.join(commits)}, declared is {weights.source} at {weights.revision}"
    if weights.sha256 not in {file.sha256 for file in manifest.files()}:
        return f"{folder} has no file with sha256 {weights.sha256}"
    differences = verify(folder, manifest)
    more = f", and {len(differences) - 1} more" if differences[1:] else ""
    return f"{folder}: {differences[0]}{more}" if differences else ""


def _published(weights: Weights) -> str:
    return f" (published at {weights.source})" if weights.source else ""


def _package(weights: Weights, python: Path) -> Path:
    root = python.parent.parent
    found = sorted(root.glob(f"lib/python3*/site-packages/{weights.package}"))
    if not found:
        raise WeightsMissing(
            f"weights '{weights.name}': package '{weights.package}' is not installed in {root}; build the env again"
        )
    return found[0]
