"""Samples are reproducible, whole or absent, and refuse what cannot be rendered."""

import os
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pyarrow.parquet as pq
import pytest

from egoworld_resources.errors import BadConfiguration
from egoworld_resources.sample import InvalidOptions, SampleOptions, is_rendered, render, truth_folder
from egoworld_resources.sample.__main__ import main

SMALL = {"seconds": 4 / 15, "width": 128, "height": 72}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    video = tmp_path_factory.mktemp("rendered") / "a.mp4"
    render(video, SampleOptions(**SMALL, workers=1))
    return video


@pytest.fixture
def video(rendered, tmp_path):
    """The rendered sample in a folder of the test's own."""
    shutil.copytree(rendered.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "a.mp4"


def tables(video):
    return {path.name: pq.read_table(path) for path in sorted(truth_folder(video).glob("*.parquet"))}


def test_same_options_give_the_same_bytes_with_any_number_of_workers(video, tmp_path):
    again = tmp_path / "again.mp4"
    render(again, SampleOptions(**SMALL, workers=2))
    assert again.read_bytes() == video.read_bytes()
    assert len(tables(video)) == 5
    assert tables(again) == tables(video)


def test_another_seed_gives_another_video_and_another_path(video, tmp_path):
    other = tmp_path / "other.mp4"
    render(other, SampleOptions(seed=1, **SMALL, workers=1))
    assert other.read_bytes() != video.read_bytes()
    for name in ("reconstructions.parquet", "object_poses.parquet"):
        assert tables(other)[name] != tables(video)[name]


def test_a_rendered_sample_is_known_again(video, tmp_path):
    options = SampleOptions(**SMALL, workers=2)
    assert is_rendered(video, options)
    assert not is_rendered(tmp_path / "b.mp4", options)
    assert not is_rendered(video, SampleOptions(seed=5, **SMALL))


def test_a_sample_that_was_touched_is_not_taken_for_whole(video):
    about = truth_folder(video) / "truth.json"
    whole = about.read_text()
    about.write_text("{")
    assert not is_rendered(video, SampleOptions(**SMALL))
    about.write_text(whole)
    assert is_rendered(video, SampleOptions(**SMALL))
    video.write_bytes(video.read_bytes()[:-1])
    assert not is_rendered(video, SampleOptions(**SMALL))


def test_a_failure_midway_leaves_the_old_sample_and_no_half_of_a_new_one(video, tmp_path):
    before = video.read_bytes()

    def stop(done, total):
        assert total == 4
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render(video, SampleOptions(seed=9, **SMALL, workers=1), stop)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "a.truth"]
    assert video.read_bytes() == before


def test_workers_end_when_the_renderer_is_killed(tmp_path):
    video = tmp_path / "a.mp4"
    command = [sys.executable, "-m", "egoworld_resources.sample", str(video), "--seconds", "600", "--width", "64"]
    renderer = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    parent, workers = psutil.Process(renderer.pid), []
    try:
        while len(workers) < 2 and renderer.poll() is None:
            workers = [child for child in parent.children() if "spawn_main" in " ".join(child.cmdline())]
        assert len(workers) == 2
        while not any(worker.num_threads() > 1 and worker.cpu_times().user > 1 for worker in workers):
            assert renderer.poll() is None
            time.sleep(0.05)
    finally:
        os.kill(renderer.pid, signal.SIGKILL)
        renderer.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    for worker in alive:
        worker.kill()
    assert alive == []
    assert not video.exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"width": 101}, "width=101 is odd"),
        ({"fps": 0}, "fps=0 is outside 1 to 120"),
        ({"seconds": 0.1, "fps": 5}, "ask for more"),
    ],
)
def test_options_that_cannot_be_rendered_are_refused_by_name(options, named):
    with pytest.raises(InvalidOptions, match=named):
        SampleOptions(**options)


def test_a_name_that_is_not_mp4_and_a_missing_folder_are_refused(tmp_path):
    with pytest.raises(BadConfiguration, match=r"ends in \.mp4"):
        render(tmp_path / "a.avi")
    with pytest.raises(FileNotFoundError, match="not a folder"):
        render(tmp_path / "no" / "a.mp4")


def test_command_line_renders_once_and_refuses_with_status_2(tmp_path, capsys):
    video = tmp_path / "a.mp4"
    arguments = [str(video), "--seconds", "0.2", "--width", "64", "--height", "64", "--workers", "1"]
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines() == [str(video), str(tmp_path / "a.truth")]
    made = video.stat().st_mtime_ns
    assert main(arguments) == 0
    assert video.stat().st_mtime_ns == made
    assert main([*arguments, "--force"]) == 0
    assert video.stat().st_mtime_ns != made
    assert main([str(video), "--width", "65"]) == 2
    assert "width=65 is odd" in capsys.readouterr().err
