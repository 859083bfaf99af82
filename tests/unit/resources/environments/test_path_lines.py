"""Lines of .pth files: an interpreter reads them in any locale, whatever the folder of the checkout is called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from egoworld_resources.environments.contract import folder_of, path_line


@pytest.mark.parametrize("name", ["plain", "Größe 厨房", 'it\'s "odd"', "Größe 'n'"])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_folder_of_any_name_is_on_the_path_in_any_locale(tmp_path: Path, name: str, locale: str) -> None:
    folder, site = tmp_path / name, tmp_path / "site"
    folder.mkdir()
    site.mkdir()
    (folder / "found.py").write_text("print('found')")
    (site / "egoworld.pth").write_text(f"{path_line(folder)}\n", encoding="ascii")
    code = "import site, sys; site.addsitedir(sys.argv[1]); import found"
    command = [sys.executable, "-I", "-c", code, str(site)]
    ran = subprocess.run(command, env={**os.environ, "LC_ALL": locale}, capture_output=True, text=True, check=False)
    assert ran.stdout == "found\n", ran.stderr
    assert folder_of(path_line(folder)) == folder


def test_other_lines_name_no_folder() -> None:
    assert [folder_of(line) for line in ("import os", "# a comment", "")] == [None, None, None]
