"""Command line of the sample renderer: `python -m egoworld_resources.sample OUT.mp4`."""

import argparse
import sys
from pathlib import Path

from egoworld_resources.errors import EgoworldError
from egoworld_resources.sample.options import SampleOptions
from egoworld_resources.sample.rendering import is_rendered, render, truth_folder


def main(words: list[str] | None = None) -> int:
    """Render a sample video and its truth, unless the same one exists; 0 if it exists afterwards, 2 if refused."""
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
    parser.add_argument("--gloves", action="store_true", help="the hand wears a work glove")
    parser.add_argument("--force", action="store_true", help="render even if the same sample is there")
    arguments = parser.parse_args(words)
    try:
        options = SampleOptions(
            arguments.seed,
            arguments.seconds,
            arguments.width,
            arguments.height,
            arguments.fps,
            arguments.gloves,
            arguments.workers,
        )
        if arguments.force or not is_rendered(arguments.video, options):
            render(arguments.video, options, _show if sys.stderr.isatty() else None)
    except (EgoworldError, OSError) as refusal:
        print(refusal, file=sys.stderr)
        return 2
    print(f"{arguments.video}\n{truth_folder(arguments.video)}")
    return 0


def _show(done: int, total: int) -> None:
    print(f"\rframe {done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
