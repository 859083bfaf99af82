"""`python -m egoworld_assets.cli` is `egoworld`."""

from egoworld_assets.cli.app import app

app()
