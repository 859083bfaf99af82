"""Hand a dataset out: a copy of its own, refused when its licences do not allow the purpose."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from egoworld_resources.dataset.merge import LINEAGE
from egoworld_resources.dataset.placing import replaced
from egoworld_resources.errors import BadConfiguration, Terminal


class LicenceRefused(Terminal):
    """The dataset's licences do not allow this export; the message lists every video and artifact that forbids it."""


def export(dataset: Path, target: Path, *, commercial: bool) -> Path:
    """Copy a merged dataset to ``target`` (real copies: the receiver may change them), whole or not at all.

    Raises LicenceRefused for a commercial export of a dataset with a non-commercial or unclear licence, and
    BadConfiguration when ``dataset`` is none or ``target`` exists.
    """
    try:
        listed = json.loads((dataset / LINEAGE).read_text(encoding="utf-8"))["videos"]
    except (OSError, ValueError, KeyError) as error:
        raise BadConfiguration(
            f"{dataset} is not a merged dataset ({error}); make it with the episodes first"
        ) from error
    if target.exists():
        raise BadConfiguration(f"{target} exists; give a folder that does not, or remove it")
    if commercial:
        offending = [f"{e['video']}: {name}, {found}" for e in listed for name, found in e["offending"].items()]
        if offending:
            raise LicenceRefused(
                f"{dataset.name} cannot be exported for commercial use; these forbid it or are unclear:\n  "
                + "\n  ".join(offending)
                + "\nleave those videos out, make them again with other models, or export without the commercial flag"
            )
    with replaced(target) as folder:
        shutil.copytree(dataset, folder, dirs_exist_ok=True)
    return target
