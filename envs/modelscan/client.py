"""Looks through files that load as pickles, without loading them: `python -I client.py FILE...`.

Each answer is a line of JSON: path, issues (operations that run code), fault (why it could not be looked through).
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from modelscan.modelscan import ModelScan

logging.disable(logging.CRITICAL)  # it logs each file; what is wrong stands in the report


def kind_of(file: Path) -> str:
    """The ending by which the scanner takes a file for what it is, whatever its own name says."""
    with file.open("rb") as opened:
        beginning = opened.read(6)
    return ".zip" if beginning.startswith(b"PK\x03\x04") else ".npy" if beginning == b"\x93NUMPY" else ".pkl"


def scanned(file: Path) -> dict[str, Any]:
    """What the scanner finds in one file."""
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"file{kind_of(file)}"
        link.symlink_to(file.absolute())
        report = ModelScan().scan(link)
    issues = sorted({f"{one['module']}.{one['operator']} ({one['severity']})" for one in report["issues"]})
    errors = [str(error.get("description") or error) for error in report["errors"]]
    looked = report["summary"]["scanned"]["total_scanned"]
    fault = "; ".join(errors) or ("" if looked else "holds nothing that the scanner knows")
    return {"path": str(file), "issues": issues, "fault": fault}


def main() -> None:
    """Answer for each file."""
    for name in sys.argv[1:]:
        try:
            found = scanned(Path(name))
        except Exception as error:  # noqa: BLE001 a file that breaks the scanner is not clean, and the next one counts
            found = {"path": name, "issues": [], "fault": f"{type(error).__name__}: {error}"}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
