"""Stage previews, run in its own environment: what the sheet, the overlay and the recording show."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from egoworld_resources.environments.building.builder import EnvBuilder
from tests.made_artifacts import MadeVideo, declared_params, hand_points, make, only_turning, run_stage
from tests.servers import free_port

FOLDER = Path(__file__).parents[2] / "envs" / "rerun"
LEFT, RIGHT, OBJECT = (64, 178, 255), (255, 146, 60), (122, 222, 110)

READ = """
import json, sys
from rerun.chunk import RrdReader
reader = RrdReader(sys.argv[1])
entities, first = {}, {}
for chunk in reader.stream(store=reader.recordings()[0]):
    seen = entities.setdefault(chunk.entity_path, {"rows": 0, "timelines": []})
    seen["rows"] += 0 if chunk.is_static else chunk.num_rows
    seen["timelines"] = sorted({*seen["timelines"], *chunk.timeline_names})
    batch = chunk.to_record_batch()
    for name in set(batch.schema.names) & {"Points2D:positions", "Boxes2D:centers", "Pinhole:image_from_camera"}:
        first.setdefault(chunk.entity_path, batch.column(name)[0].as_py())
(recording,), blueprints = reader.recordings(), reader.blueprints()
print(json.dumps({"id": recording.recording_id, "blueprints": len(blueprints), "entities": entities, "first": first}))
"""

Run = Callable[..., tuple[Path, dict[str, Any]]]

pytestmark = pytest.mark.env


@pytest.fixture(scope="session")
def python(builder: EnvBuilder) -> Path:
    """The interpreter of the env rerun."""
    return builder.ensure("rerun").python


@pytest.fixture(scope="session")
def rerun(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Rerun's command line with usage reports switched off."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path_factory.mktemp("home"))}

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(python.parent / "rerun"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    call("analytics", "disable")
    return call


@pytest.fixture(scope="session")
def preview(python: Path) -> Run:
    def run(video: MadeVideo, output: Path, **params: Any) -> tuple[Path, dict[str, Any]]:
        given = {**declared_params(FOLDER / "pyproject.toml", "previews"), **params}
        return run_stage(FOLDER, "previews:RerunPreviews", "previews", video, output, given, python)

    return run


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> MadeVideo:
    return make(tmp_path_factory.mktemp("video"), size=(320, 180))


@pytest.fixture(scope="module")
def made(video: MadeVideo, preview: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place, report = preview(video, tmp_path_factory.mktemp("previews"))
    assert report["state"] == "done", report
    assert report["notes"] == {"sheet_frames": 16, "overlay_frames": 60, "recording_frames": 60, "frames_of_clips": 60}
    return place


def near(picture: np.ndarray, colour: tuple[int, int, int], within: int = 60) -> np.ndarray:
    return np.abs(picture.astype(int) - colour).max(axis=-1) < within


def pictures(path: Path) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as container:
        return [(float(f.time or 0), f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]


def test_the_sheet_shows_hands_objects_and_plots(made: Path) -> None:
    with Image.open(made / "contact_sheet.png") as image:
        sheet = np.asarray(image.convert("RGB"))
    assert sheet.shape[1] == 1600
    frames, plots = sheet[176:, :1180], sheet[176:, 1190:]
    for colour in (LEFT, RIGHT, OBJECT):
        assert near(frames, colour).sum() > 300
    assert near(plots, LEFT, 40).any()
    assert near(plots, RIGHT, 40).any()
    assert near(plots, (110, 205, 120), 30).any()


def test_the_sheet_says_below_a_clip_what_is_missing_and_why(preview: Run, tmp_path: Path, made: Path) -> None:
    """In as much room as there is; the sheet of a video of which nothing is missing says nothing."""
    video = make(tmp_path / "in", size=(320, 180))
    words = {video.id(1): "no frame is registered " * 40}
    (video.artifacts["object_poses"] / "remarks.json").write_text(json.dumps(words), encoding="utf-8")
    place, report = preview(video, tmp_path / "out")
    assert report["state"] == "done", report
    rows: list[list[int]] = []
    for sheet in (made, place):
        with Image.open(sheet / "contact_sheet.png") as image:
            orange = near(np.asarray(image.convert("RGB")), (240, 176, 96), 25)
        rows.append(np.flatnonzero(orange[:, :800].sum(axis=1) > 100).tolist())
        assert not orange[:, 1570:].any()
    without, with_words = rows
    assert set(with_words) > set(without)
    assert min(set(with_words) - set(without)) > 500, "below the second clip"


def test_the_overlay_plays_everywhere_and_draws_on_the_right_frame(video: MadeVideo, made: Path) -> None:
    raw = (made / "overlay.mp4").read_bytes()
    assert 0 < raw.find(b"moov") < raw.find(b"mdat")
    with av.open(str(made / "overlay.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.width) == ("h264", "yuv420p", 320)
    shown = pictures(made / "overlay.mp4")
    assert [stamp for stamp, _ in shown] == pytest.approx([k / 20 for k in range(60)], abs=1e-3)
    for frame in (3, 17, 42):
        wrist = hand_points(frame, "right", 320, 180)[0].astype(int)
        around = shown[frame][1][wrist[1] - 6 : wrist[1] + 6, wrist[0] - 8 : wrist[0] + 8]
        assert near(around, RIGHT, 90).sum() >= 8
    without_left = shown[9][1][:180]
    assert near(without_left, LEFT, 50).sum() < near(shown[8][1][:180], LEFT, 50).sum() / 10


def test_the_recording_is_sound_and_holds_everything(
    made: Path, python: Path, rerun: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    import json

    verified = rerun("rrd", "verify", str(made / "recording.rrd"))
    assert verified.returncode == 0, verified.stderr
    assert "without error" in verified.stderr + verified.stdout
    done = subprocess.run(
        [str(python), "-I", "-c", READ, str(made / "recording.rrd")], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["blueprints"] == 1
    rows = {name: one["rows"] for name, one in found["entities"].items()}
    for name in ("/video/frames", "/video/masks", "/video/tracks", "/video/detections", "/video/hands/left"):
        assert rows[name] == 60, name
    assert rows["/clips/01/world/camera"] == 26
    assert rows["/clips/02/robot/left"] == 27
    assert {"/clips/01/world/points", "/clips/02/world/trajectory", "/clips/01/world/camera/lens"} <= set(rows)
    assert found["entities"]["/video/frames"]["timelines"] == ["frame", "time_s"]
    # Rerun counts from the picture's corner: the centre of the first pixel is (0.5, 0.5); edges of boxes stay
    points = {name: np.array(found["first"][f"/video/{name}"]) for name in ("hands/right", "tracks", "detections")}
    np.testing.assert_allclose(points["hands/right"], hand_points(0, "right", 320, 180) + 0.5, atol=1e-3)
    assert points["tracks"].tolist() == [[0.5 + 3 * n, 90.5 + 2 * n] for n in range(4)]
    assert points["detections"].tolist() == [[8.0, 98.0]]
    assert found["first"]["/clips/01/world/camera/lens"][0][6:8] == [160.5, 90.5]


def test_a_camera_that_only_turns_is_shown_without_a_path(preview: Run, tmp_path: Path) -> None:
    made = make(tmp_path / "in")
    only_turning(made)
    place, report = preview(made, tmp_path / "out")
    assert report["state"] == "done", report
    assert sorted(path.name for path in place.iterdir()) == [
        "clip.json",
        "contact_sheet.png",
        "overlay.mp4",
        "recording.rrd",
    ]


def test_the_same_inputs_show_the_same(
    video: MadeVideo, made: Path, preview: Run, rerun: Callable[..., Any], tmp_path: Path
) -> None:
    again, _ = preview(video, tmp_path)
    for name in ("contact_sheet.png", "overlay.mp4"):
        assert (again / name).read_bytes() == (made / name).read_bytes()
    compared = rerun("rrd", "compare", "--unordered", str(made / "recording.rrd"), str(again / "recording.rrd"))
    assert compared.returncode == 0, compared.stderr[-2000:]


def test_a_long_video_is_cut_to_the_beginnings_of_its_clips_and_says_so(
    video: MadeVideo, preview: Run, tmp_path: Path
) -> None:
    place, report = preview(video, tmp_path, max_overlay_s=1.0, max_recording_s=1.5)
    notes = report["notes"]
    assert (notes["overlay_frames"], notes["recording_frames"], notes["frames_of_clips"]) == (20, 30, 60)
    assert len(pictures(place / "overlay.mp4")) == 20


def test_a_variable_frame_rate_keeps_its_times(preview: Run, tmp_path: Path) -> None:
    times = np.cumsum(np.random.default_rng(2).uniform(0.02, 0.2, 20)).tolist()
    made = make(tmp_path / "in", times=times, clips=((0, 20),))
    place, report = preview(made, tmp_path / "out")
    assert report["state"] == "done", report
    stamps = [stamp for stamp, _ in pictures(place / "overlay.mp4")]
    assert stamps == pytest.approx([t - times[0] for t in times], abs=2e-3)


def test_only_clips_are_needed(preview: Run, tmp_path: Path) -> None:
    made = make(tmp_path / "in", size=(90, 160))
    few = MadeVideo(made.name, made.path, made.clips, made.times, {"clips": made.artifacts["clips"]})
    place, report = preview(few, tmp_path / "out", max_sheet_clips=1)
    assert report["state"] == "done", report
    assert sorted(p.name for p in place.iterdir()) == ["clip.json", "contact_sheet.png", "overlay.mp4", "recording.rrd"]


def test_a_damaged_file_of_a_reconstruction_is_named(preview: Run, tmp_path: Path) -> None:
    made = make(tmp_path / "in")
    (made.artifacts["reconstructions"] / made.id(1) / "points.ply").write_text("ply\nnonsense\n", encoding="ascii")
    place, report = preview(made, tmp_path / "out")
    assert report["state"] == "failed"
    assert f"points.ply of clip {made.id(1)} cannot be read" in report["reason"]
    assert [p.name for p in place.iterdir()] == ["clip.json"]


def listening(port: int, host: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def test_the_viewer_listens_on_loopback_only_and_ends_when_told(made: Path, python: Path, tmp_path: Path) -> None:
    port, data_port = free_port(), free_port()
    command = [str(python), "-I", str(FOLDER / "view.py"), str(made / "recording.rrd")]
    ports = ["--port", str(port), "--data-port", str(data_port)]
    server = subprocess.Popen(
        [*command, *ports], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path
    )
    try:
        assert server.stdout is not None
        assert f"http://127.0.0.1:{port}/" in server.stdout.readline()
        for _ in range(600):
            if listening(port, "127.0.0.1") and listening(data_port, "127.0.0.1"):
                break
            time.sleep(0.1)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as page:
            assert page.status == 200
        table = Path("/proc/net/tcp").read_text(encoding="ascii") + Path("/proc/net/tcp6").read_text(encoding="ascii")
        for number in (port, data_port):
            hosts = re.findall(rf"^\s*\d+: ([0-9A-F]+):{number:04X} [0-9A-F]+:0000 0A", table, re.MULTILINE)
            assert hosts == ["0100007F"]
    finally:
        server.send_signal(signal.SIGTERM)
        rest, _ = server.communicate(timeout=60)
    assert server.returncode == 0, rest
    assert not listening(port, "127.0.0.1")
    assert not listening(data_port, "127.0.0.1")


def test_the_viewer_names_a_missing_recording(python: Path, tmp_path: Path) -> None:
    command = [str(python), "-I", str(FOLDER / "view.py"), str(tmp_path / "none.rrd")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "does not exist" in done.stderr
