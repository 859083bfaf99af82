"""egoworld as a library: the names that may be imported, and the example of resources/README.md, run."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import egoworld_resources
from egoworld_assets.orchestration.registry import stages
from egoworld_resources import Settings, Workbench
from egoworld_resources.inbox.arrivals import Arrivals
from tests.made_up import video

README = Path(egoworld_resources.__file__).parents[1] / "README.md"
SECTION = README.read_text(encoding="utf-8").partition("## As a library")[2].partition("\n## ")[0]
LOADED = "import egoworld_resources, sys; print(*(m for m in sys.modules if m.startswith('egoworld_resources.')))"


def test_every_name_is_there_and_in_the_readme() -> None:
    for name in egoworld_resources.__all__:
        assert getattr(egoworld_resources, name).__module__.startswith("egoworld_resources.")
        assert f"`{name}`" in SECTION, f"{name} is missing in resources/README.md, section As a library"


def test_importing_the_package_loads_no_module_of_it() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@contextmanager
def example(folder: Path, *arguments: str) -> Iterator[queue.Queue[str]]:
    """The example, running in ``folder``; yields the lines that it prints."""
    (program,) = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    (folder / "example.py").write_text(program, encoding="utf-8")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("EGOWORLD_", "S3_"))}
    lines: queue.Queue[str] = queue.Queue()
    with subprocess.Popen(
        [sys.executable, "example.py", *arguments], cwd=folder, env=ours, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        reader = threading.Thread(target=lambda out: [lines.put(line.strip()) for line in out], args=(child.stdout,))
        reader.start()
        try:
            yield lines
        finally:
            child.terminate()
            reader.join()


def test_the_example_reads_a_store_and_sees_what_becomes_stale(tmp_path: Path) -> None:
    configuration = tmp_path / "egoworld.toml"
    configuration.write_text('home = "data"\nstore = "folder"\n', encoding="utf-8")
    bench = Workbench(Settings.load(home=tmp_path / "data", store="folder"))
    key = Arrivals(bench.store).take(video(tmp_path / "kitchen.mp4")).video
    for name in ("videos", "clips"):
        (outcome,) = bench.make(stages()[name], [key], "run")
        assert outcome.state == "made", outcome.why
    with example(tmp_path, "clips", "0.1") as lines:
        read = lines.get(timeout=60)
        assert re.fullmatch(rf"{key}: \d+ rows of clip_id, start_frame, .*; made from source, videos", read)
        assert lines.get(timeout=60) == f"{key}: fresh"
        with configuration.open("a", encoding="utf-8") as file:
            file.write("[params.clips]\nmax_clip_s = 0.5\n")
        stale = lines.get(timeout=60)
        assert re.fullmatch(rf"{key}: stale \(.*max_clip_s.*\)", stale), stale
