"""What bears on an artifact: licences of code, weights and outputs of its model, judged by the current rules.

An artifact was made by one version of a model. What its env declares today of that version counts, so that a corrected
declaration reaches every card; of another version, what was declared when the artifact was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

from egoworld_resources.artifacts.manifest import Manifest, Recipe
from egoworld_resources.environments.catalog import Catalog, StageModel
from egoworld_resources.errors import EgoworldError
from egoworld_resources.licences.tables import Correction, LicenceTable
from egoworld_resources.licences.terms import Licensing, Terms
from egoworld_resources.rights.source_videos import Rights

Kind = Literal["code", "weights", "outputs", "rights", "input"]


@dataclass(frozen=True)
class Bearing:
    """One licence that bears on an artifact, and what it allows.

    of: what it applies to ("hand_poses", "hand_poses: palm_detection", a video's name). then: what was declared when
    the artifact was made, where that differs. term and reason: what decides.
    """

    kind: Kind
    of: str
    licence: str
    terms: Terms
    term: str
    reason: str
    then: str | None = None

    @property
    def commercial(self) -> bool:
        """Whether it allows commercial use."""
        return self.terms is Terms.COMMERCIAL

    def as_json(self) -> dict[str, Any]:
        """For lineage.json and --json."""
        return {name: value for name, value in asdict(self).items() if name != "then" or value is not None}

    def __str__(self) -> str:
        licence = self.licence or "no licence"
        return f"{self.kind} of {self.of}: {licence}, {self.terms.value} ({self.term}: {self.reason})"


class LicenceBook:
    """What the envs declare today, as corrected by the configuration, held against what artifacts were made with."""

    def __init__(self, catalog: Catalog, table: LicenceTable) -> None:
        self._catalog = catalog
        self._corrections = table.corrections
        self.licensing = Licensing(table.terms)
        self._known: dict[str, tuple[Bearing, ...]] = {}

    def bearing_on(self, made: Manifest) -> tuple[Bearing, ...]:
        """The licences that an artifact's own model brings, its inputs' not among them."""
        recipe = made.recipe
        key = recipe.model_dump_json(exclude={"params", "packages", "files"})
        if key not in self._known:
            self._known[key] = tuple(self._of(made.asset, recipe))
        return self._known[key]

    def of_rights(self, rights: Rights, name: str) -> Bearing:
        """The rights in a source video as a licence that bears on all that was made from it."""
        found = self._judged("rights", name, rights.licence, None)
        if rights.licence:
            return found
        return replace(found, reason=rights.note or "nobody has stated the rights in this video: `egoworld rights`")

    def of_lost_inputs(self, made: Manifest) -> tuple[Bearing, ...]:
        """The recorded licences of an artifact, for one whose inputs' manifests no longer all exist."""
        return tuple(self._judged("input", made.asset, licence, None) for licence in made.licences)

    def _of(self, asset: str, recipe: Recipe) -> Iterable[Bearing]:
        if not recipe.model:
            return  # a person said it: no code made it, and no terms of a model bear on it
        now = self._declared(recipe)
        correction = self._correction(recipe)
        code, outputs = (now.licence, now.outputs) if now else (recipe.licence, recipe.outputs)
        if correction:
            code = code if correction.code is None else correction.code
            outputs = outputs if correction.outputs is None else correction.outputs
        yield self._judged("code", asset, code, recipe.licence)
        for name, sha256 in recipe.weights.items():
            then = recipe.weights_licences.get(name)
            yield self._judged("weights", f"{asset}: {name}", self._of_weights(recipe, name, sha256, then), then)
        if outputs or recipe.outputs:
            yield self._judged("outputs", asset, outputs, recipe.outputs)

    def _judged(self, kind: Kind, of: str, licence: str, then: str | None) -> Bearing:
        found = self.licensing.judge(licence)
        if kind == "outputs" and not licence:
            return Bearing(kind, of, "", Terms.COMMERCIAL, "none", "its terms say nothing of outputs", then)
        differs = then is not None and then != licence
        return Bearing(kind, of, licence, found.terms, found.term, found.reason, then if differs else None)

    def _declared(self, recipe: Recipe) -> StageModel | None:
        """What the env declares today, if that is the version which was used."""
        try:
            model = self._catalog.env(recipe.env).stages.get(recipe.stage)
            same = model is not None and model.runner == recipe.model
            return model if same and self._catalog.lock_digest(recipe.env) == recipe.lock else None
        except EgoworldError:
            return None

    def _correction(self, recipe: Recipe) -> Correction | None:
        both = (f"{recipe.env}/{recipe.stage}", recipe.env)
        return next((self._corrections[key] for key in both if key in self._corrections), None)

    def _of_weights(self, recipe: Recipe, name: str, sha256: str, then: str | None) -> str:
        """The licence of weights by their bytes: corrected, declared by the env, by any env, or as it was then."""
        correction = self._correction(recipe)
        if correction and (found := correction.weights.get(sha256) or correction.weights.get(name)):
            return found
        by_env = self._weights.get(sha256, {})
        if recipe.env in by_env:
            return by_env[recipe.env]
        everywhere = sorted(set(by_env.values()))
        return " AND ".join(f"({one})" for one in everywhere) if everywhere else then or ""

    @cached_property
    def _weights(self) -> Mapping[str, Mapping[str, str]]:
        """Licences by digest and env."""
        found: dict[str, dict[str, str]] = {}
        for name in self._catalog.names:
            for model in self._catalog.env(name).stages.values():
                for weights in model.weights:
                    found.setdefault(weights.digest, {})[name] = weights.licence
        return found


def carried(model: StageModel, inputs: Iterable[Manifest]) -> tuple[list[str], list[str]]:
    """Licences recorded for an artifact when it is made: of data (weights, outputs) and of code."""
    data = {weights.licence for weights in model.weights} | ({model.outputs} if model.outputs else set())
    code = {model.licence}
    for made in inputs:
        data.update(made.licences)
        code.update(made.code_licences)
    return sorted(data), sorted(code)
