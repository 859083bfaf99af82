"""Command line of the sample renderer: `python -m egoworld_resources.sample OUT.mp4`."""

import argparse
import sys
from pathlib import Path

from egoworld_resources.errors import EgoworldError
from egoworld_resources.sample.options import SampleOptions
from egoworld_resources.sample.rendering import is_rendered, render, truth_folder


def main(arguments: list[str] | None = None) -> int:
    """Render a sample video and its truth, unless just that is there already; 0 when it lies there, 2 when refused."""
    defaults = SampleOptions()
    parser = argparse.ArgumentParser(
        prog="python -m egoworld_resources.sample",
        description="Render a first-person sample video with its ground truth.",
    )
    parser.add_argument("video", type=Path, metavar="OUT.mp4", help="the truth goes to OUT.truth/ beside it")
    parser.add_argument("--seconds", type=float, default=defaults.seconds, help="length (default %(default)s)")
    for name, what in (
        ("seed", "textures, paths, sizes"), ("width", "pixels, even"), ("height", "pixels, even"),
        ("fps", "frames a second"), ("workers", "processes that render"),
    ):  # fmt: skip
        parser.add_argument(
            f"--{name}", type=int, default=getattr(defaults, name), help=f"{what} (default %(default)s)"
        )
    parser.add_argument("--force", action="store_true", help="render even if the same sample is there")
    asked = parser.parse_args(arguments)
    try:
        options = SampleOptions(asked.seed, asked.seconds, asked.width, asked.height, asked.fps, asked.workers)
        if asked.force or not is_rendered(asked.video, options):
            render(asked.video, options, _show if sys.stderr.isatty() else None)
    except (EgoworldError, OSError) as refusal:
        print(refusal, file=sys.stderr)
        return 2
    print(f"{asked.video}\n{truth_folder(asked.video)}")
    return 0


def _show(done: int, total: int) -> None:
    print(f"\rframe {done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
