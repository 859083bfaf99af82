"""The Dagster resource that gives assets the workbench."""

from __future__ import annotations

import dagster as dg
from pydantic import PrivateAttr

from egoworld_resources.manifest import Manifest
from egoworld_resources.settings import Settings
from egoworld_resources.workbench import Listener, Workbench


class EgoworldResource(dg.ConfigurableResource["EgoworldResource"]):
    """Settings, store, envs and runners of this installation.

    The configuration is read on first use, never on import: see egoworld_resources.settings.
    """

    _workbench: Workbench | None = PrivateAttr(default=None)
    _listener: Listener | None = PrivateAttr(default=None)

    @classmethod
    def listening(cls, listener: Listener) -> EgoworldResource:
        """A resource that tells ``listener`` (stage, event) what running jobs say."""
        resource = cls()
        resource._listener = listener
        return resource

    def workbench(self) -> Workbench:
        """The workbench of this process."""
        if self._workbench is None:
            self._workbench = Workbench(Settings.load(), self._listener)
        return self._workbench

    def url(self, manifest: Manifest, file: str) -> str:
        """Where a browser gets one file of an artifact while `make ui` runs."""
        path = f"{manifest.asset}/{manifest.video}/{manifest.data_version}/{file}"
        return f"{self.workbench().settings.files_url}/{path}"
