"""The repository of weights as a Dagster resource: the same library as `egoworld weights`.

    @dg.asset
    def animations(weights: WeightsResource):
        folder = weights.whole("One-to-All-14b")

In a code location of one's own: ``resources={"weights": WeightsResource()}``.
"""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from pydantic import Field

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.opening import S3_NEEDS, open_weights
from egoworld_resources.settings import Settings
from egoworld_resources.weights import WeightsMissing
from egoworld_resources.weights.bucket import WeightsBucket
from egoworld_resources.weights.bucket_models import fetch_model, models_of, push_model
from egoworld_resources.weights.clients import open_hub
from egoworld_resources.weights.download import Order, allowed, download
from egoworld_resources.weights.examine import examine
from egoworld_resources.weights.layouts import environment_of, layout_named
from egoworld_resources.weights.pickles import excepted
from egoworld_resources.weights.repository import Model, model_named, models_in
from egoworld_resources.weights.verify import Difference


class WeightsResource(dg.ConfigurableResource["WeightsResource"]):
    """Models below the model home of this installation, and in its bucket. Errors are those of the library."""

    public_key: str = Field(default="", description="File (PEM) that models must be signed for; empty: they need not.")
    stall_s: float = Field(default=60, gt=0, description="Seconds without a byte that end a transfer from a hub.")

    @property
    def settings(self) -> Settings:
        """The configuration in force."""
        return Settings.load()

    def models(self) -> list[Model]:
        """Every model of this machine, by name."""
        return models_in(self.settings.model_home)

    def in_bucket(self) -> list[str]:
        """Names of the models that the bucket has; none where no bucket is configured. Raises StoreUnreachable."""
        bucket = open_weights(self.settings)
        return models_of(bucket.objects) if bucket else []

    def differences(self, model: Model, *, quick: bool = False) -> list[Difference]:
        """What is wrong with a model: its bytes (quick: names and sizes), its layout, pickles, its signature."""
        if model.manifest is None:
            return [Difference("refused", model.name, model.fault)]
        return examine(model, self.settings, quick=quick, key=Path(self.public_key) if self.public_key else None)

    def whole(self, name: str, *, quick: bool = False) -> Path:
        """The folder of a model after it was compared with its manifest. Raises UnknownName, WeightsMissing."""
        model = model_named(self.settings.model_home, name)
        if found := self.differences(model, quick=quick):
            raise WeightsMissing(
                "\n  ".join([f"{name} is not whole: egoworld weights verify {name}", *map(str, found)])
            )
        return model.folder

    def fetch(self, name: str) -> Path:
        """Take a model in from the bucket. Raises WeightsMissing, WeightsRefused, DiskFull, LockBusy."""
        settings = self.settings
        return fetch_model(self._bucket().objects, name, settings.model_home, _silent, excepted(settings))

    def push(self, name: str, *, replace: bool = False) -> str:
        """Upload a model; the key of its manifest. Raises WeightsRefused, DamagedArtifact."""
        model = model_named(self.settings.model_home, name)
        return push_model(self._bucket().objects, model, replace=replace, progress=_silent)

    def download(self, source: str, revision: str, *, name: str = "", exclude: Sequence[str] = ()) -> Path:
        """Take a model in from HUB:OWNER/NAME at a full commit. Raises HubUnreachable, WeightsRefused, DiskFull."""
        settings = self.settings
        hub, _, repo = source.partition(":")
        allowed(source, settings.weights_sources)
        order = Order(repo, revision, name, exclude=exclude)
        return download(open_hub(settings, hub, self.stall_s), order, settings.model_home, None, excepted(settings))

    def environment(self, name: str) -> dict[str, str]:
        """The variables by which the code of a model with a layout finds its files. Raises UnknownName."""
        return environment_of(layout_named(self.settings, name), self.settings)

    def _bucket(self) -> WeightsBucket:
        bucket = open_weights(self.settings)
        if bucket is None:
            raise BadConfiguration(f"weights lie in a bucket of S3: set {', '.join(S3_NEEDS)}")
        return bucket


def _silent(_done: int, _total: int) -> None:
    """Runs of Dagster have no bar of progress."""
