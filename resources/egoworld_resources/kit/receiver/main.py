"""``install.pyz`` of a kit: the command line for a machine that has no egoworld yet."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from egoworld_resources.errors import EgoworldError
from egoworld_resources.kit.receiver.install import Wish, install


def main(arguments: list[str] | None = None) -> int:
    """Install a kit; a known error is one message and exit status 1."""
    parser = argparse.ArgumentParser(prog="install", description="Installs an egoworld kit without a network.")
    beside = Path(sys.argv[0]).absolute().parent
    parser.add_argument(
        "kit", nargs="?", type=Path, default=beside, help="folder or tar; default: the folder of this program"
    )
    parser.add_argument("--to", type=Path, required=True, help="folder of the installation; the same one to renew it")
    parser.add_argument("--key", default="", help="fingerprint of the maker's key, SHA256:..., or a file with it")
    parser.add_argument("--python", type=Path, default=None, help="rest on this interpreter instead of the kit's")
    parser.add_argument("--no-demo", action="store_true", help="do not run make demo at the end")
    parser.add_argument("--overwrite", action="store_true", help="overwrite project files that were changed here")
    parser.add_argument("--older", action="store_true", help="also a kit made before the one that is installed")
    options = parser.parse_args(arguments)
    wish = Wish(
        options.kit, options.to, options.key, options.python, not options.no_demo, options.overwrite, options.older
    )
    try:
        install(wish, lambda line: print(line, flush=True))
    except EgoworldError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; what was verified is kept, run it again to go on", file=sys.stderr)
        return 130
    return 0
