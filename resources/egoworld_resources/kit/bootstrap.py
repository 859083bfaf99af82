"""install.sh and install.pyz: what a machine without egoworld, perhaps without Python, begins with."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from egoworld_resources.kit.pieces import Piece, piece

PACKAGE = "egoworld_resources"
FILES = tuple(
    f"{PACKAGE}/{name}.py"
    for name in ("__init__", "errors", "environments/__init__", "leases/__init__", "leases/locks")
)
KIT = f"{PACKAGE}/kit"
MAIN = f"import sys\n\nfrom {KIT.replace('/', '.')}.receiver.main import main\n\nsys.exit(main())\n"
INTERPRETER = "interpreter.tar.gz"

SCRIPT = """\
#!/bin/sh
# Installs this kit on a machine without a network: sh install.sh --to FOLDER --key SHA256:...
# Compare the sha256 of this file, and the key, with what the maker of the kit gave you by another channel.
# It checks install.pyz, which checks the signature and every other file before anything else is run.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

verified() {{
    echo "$1  $here/$2" | sha256sum --check --status - && return
    echo "error: $here/$2 is damaged or missing; copy the kit again" >&2
    exit 1
}}

verified {program} install.pyz
python=${{PYTHON3:-python3}}
if ! "$python" -c 'import ctypes, ssl, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    {fallback}
fi
"$python" -I -B "$here/install.pyz" "$@"
"""
UNPACK = """verified {digest} {archive}
    unpacked=$(mktemp -d)
    trap 'rm -rf "$unpacked"' EXIT
    tar -xzf "$here/{archive}" -C "$unpacked"
    python=$unpacked/usr/bin/python3"""
NONE = """echo "error: Python 3.11 or newer is needed, and this kit brings none; name one: PYTHON3=..." >&2
    exit 1"""


def bootstrap_pieces(interpreter: Piece | None) -> list[Piece]:
    """install.sh, which knows the digests of the other and of the interpreter, and install.pyz."""
    program = piece("install.pyz", "installer", zipped())
    fallback = UNPACK.format(digest=interpreter.file.sha256, archive=INTERPRETER) if interpreter else NONE
    script = SCRIPT.format(program=program.file.sha256, fallback=fallback)
    return [piece("install.sh", "installer", script.encode(), executable=True), program]


def zipped() -> bytes:
    """The receiving side as one file that Python runs; the same bytes for the same code.

    One file, because nothing can be slipped in beside what was verified, as it could into a folder of modules.
    """
    root = Path(__file__).resolve().parents[2]
    receiver = sorted(str(file.relative_to(root)) for file in (root / KIT / "receiver").glob("*.py"))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (*FILES, f"{KIT}/__init__.py", *receiver):
            archive.writestr(zipfile.ZipInfo(name), (root / name).read_bytes())
        archive.writestr(zipfile.ZipInfo("__main__.py"), MAIN)
    return content.getvalue()
