"""The running service under kill -9: daemon, code server, webserver, runs, models, everything. See tests/soak.py."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.bad_videos import MP4
from tests.faults import SLOW
from tests.made_graph import Installation
from tests.made_up import video
from tests.soak import Soak, free_port
from tests.torture import sized

SHOTS = ((8, 7), (12,), (5, 5, 5), (9, 6))
SEED = int(os.environ.get("FAULT_SEED", "20261121"))


@pytest.mark.torture
@pytest.mark.long
@pytest.mark.timeout(1500)
def test_whatever_of_the_service_is_killed_every_video_gets_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    installed = Installation(tmp_path / "made", SLOW, settle_s=0.5, retry_delay_s=0.5, files_url=url)
    monkeypatch.setenv("EGOWORLD_CONFIG", installed.config)
    (tmp_path / "text.mp4").write_text("no pictures in here\n" * 40)
    (tmp_path / "cut.mp4").write_bytes(MP4 + b"no pictures in here\n" * 40)
    good = [video(tmp_path / f"{n}.mp4", shots=shots) for n, shots in enumerate(SHOTS[: sized(2, 4)])]
    soak = Soak(tmp_path, Path(installed.config), SEED)
    soak.run(
        {"good": good, "text": [tmp_path / "text.mp4"], "cut": [tmp_path / "cut.mp4"]},
        0.5,
        (5.0, sized(10, 15)),
        600,
        look_s=5,
        backfilled=0,
        kills=sized(4, 8),
    )
    print(json.dumps({"FAULT_SEED": SEED, "kills": dict(soak.kills), "starts": soak.service.starts}))
    assert soak.left() == {}
    assert soak.outcomes() == {
        "good": Counter({"all fresh": len(good)}),
        "text": Counter({"refusal": 1}),
        "cut": Counter({"failed at videos": 1}),
    }
    assert soak.problems() == []
