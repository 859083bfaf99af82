"""The weights of the models in force, and the folder of those that no package carries."""

from __future__ import annotations

import os
from collections.abc import Iterator

from egoworld_resources.doctor.finding import Finding, Subject, check, fault, not_needed, ok, warning
from egoworld_resources.doctor.installed import interpreter, rebuilding
from egoworld_resources.doctor.places import existing
from egoworld_resources.environments.catalog import BASE, StageModel
from egoworld_resources.opening import in_s3, open_weights
from egoworld_resources.weights import ModelPaths, WeightsMissing, local_weights


@check("weights")
def weights(subject: Subject) -> Iterator[Finding]:
    """Every file of weights in force is there and has the declared sha256."""
    carrying = {stage: model for stage, model in subject.models().items() if model.weights}
    if not carrying:
        yield not_needed("files", "no model in force has weights")
    for stage, model in carrying.items():
        yield from _of(subject, stage, model)


def _of(subject: Subject, stage: str, model: StageModel) -> Iterator[Finding]:
    about = f"{stage} ({model.env})"
    env = subject.catalog.env(model.env)
    python = interpreter(subject, env)
    if python is None:
        yield warning(about, "cannot be looked at: its env is not built yet", "make envs, then run this again")
        return
    whole, bucket = 0, open_weights(subject.settings)
    for declared in model.weights:
        try:
            local_weights([declared], python, paths=ModelPaths.of(subject.settings), env=model.env)
        except WeightsMissing as error:
            if bucket and not (declared.package or declared.revision) and bucket.holds(declared.sha256):
                yield ok(about, f"{declared.name} is in {bucket.where(declared.sha256)}, fetched when it is needed")
                continue
            carried = env.runs_in != BASE and declared.package is not None
            bring = "the model's folder" if declared.revision else "the file whose sha256 is named"
            fix = rebuilding(subject, env) if carried else f"put there {bring}"
            yield fault(about, str(error), fix)
        else:
            whole += 1
    if whole:
        yield ok(about, f"{whole} of {len(model.weights)} files with the declared sha256")


@check("weights folder")
def weights_folder(subject: Subject) -> Iterator[Finding]:
    """The folder EGOWORLD_MODEL_HOME can be read and written, when a model in force reads from it."""
    folder = subject.settings.model_home
    models = subject.models().items()
    readers = [stage for stage, model in models if any(weight.package is None for weight in model.weights)]
    fix = f"mkdir -p {folder}, or set EGOWORLD_MODEL_HOME to the folder of the weights"
    if not readers:
        yield not_needed("EGOWORLD_MODEL_HOME", "every weights file in force lies in a package of its env")
    elif not folder.exists() and in_s3(subject.settings):
        yield not_needed("EGOWORLD_MODEL_HOME", f"there is no {folder}: weights come from the bucket")
    elif not folder.is_dir() or not os.access(folder, os.R_OK | os.X_OK):
        yield fault("EGOWORLD_MODEL_HOME", f"{folder} cannot be read; {', '.join(readers)} need it", fix)
    else:
        place = os.statvfs(existing(folder))
        free = place.f_bavail * place.f_frsize / 1e9
        found = f"{folder}, {free:,.1f} GB free, for {', '.join(readers)}"
        if not os.access(folder, os.W_OK):
            yield warning("EGOWORLD_MODEL_HOME", f"{found}; it cannot be written", f"sudo chown -R $USER {folder}")
        elif free < subject.free_gb:
            fix = f"free some disk: df -h {folder}"
            yield warning("EGOWORLD_MODEL_HOME", f"{found}; wanted are {subject.free_gb:g} GB", fix)
        else:
            yield ok("EGOWORLD_MODEL_HOME", found)
