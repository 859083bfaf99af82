"""`egoworld weights ...`: weights in the bucket, from which a server takes what is not on its disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from egoworld_assets.cli.errors import errors_shown
from egoworld_resources.errors import BadConfiguration
from egoworld_resources.opening import S3_NEEDS, open_weights
from egoworld_resources.settings import Settings

app = typer.Typer()


@app.command()
@errors_shown
def push(files: Annotated[list[Path], typer.Argument(help="Files of weights, each as it is declared.")]) -> None:
    """Upload files to the weights bucket under their sha256; needs keys that may write there, such as the owner's."""
    bucket = open_weights(Settings.load())
    if bucket is None:
        raise BadConfiguration(f"weights lie in a bucket of S3: set {', '.join(S3_NEEDS)}")
    console = Console(width=200)
    for file, sha256 in bucket.push(files).items():
        console.print(f"{file.name}: {bucket.where(sha256)}", highlight=False, soft_wrap=True, markup=False)
