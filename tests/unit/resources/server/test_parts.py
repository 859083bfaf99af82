"""An .env of an earlier version goes on working with every command."""

from __future__ import annotations

import re
from pathlib import Path

from egoworld_resources.server.environment import RETIRED
from egoworld_resources.server.parts import Parts
from egoworld_resources.server.running import Server
from egoworld_resources.settings import Settings


def test_a_server_of_an_earlier_version_can_be_asked_and_taken_down(tmp_path: Path) -> None:
    parts = Parts(Settings.load(home=tmp_path))
    parts.prepare()
    text = parts.env_file.path.read_text(encoding="utf-8")
    older = re.sub(r"(?m)^(S3_(PIPELINE|UPLOADER|READER)_SECRET_KEY|POSTGRES_VIEWER_PASSWORD)=.*\n", "", text)
    parts.env_file.path.write_text(older, encoding="utf-8")
    Server(parts.settings).down()
    assert parts.env_file.path.read_text(encoding="utf-8").startswith(older)
    assert set(parts.server.s3_accounts) == {"pipeline", "uploader", "reader"}
    assert "metrics" in {part.name for part in parts.all()}


def test_variables_of_an_earlier_version_that_mean_nothing_now_are_left_out(tmp_path: Path) -> None:
    parts = Parts(Settings.load(home=tmp_path))
    parts.prepare()
    text = parts.env_file.path.read_text(encoding="utf-8")
    retired = "".join(f"{name}=15432\n" for name in RETIRED)
    parts.env_file.path.write_text(retired + text, encoding="utf-8")
    assert parts.server.proxy_port == 8443, "commands that do not bring it up to date read it too"
    parts.prepare()
    assert parts.env_file.path.read_text(encoding="utf-8") == text


def test_where_no_server_was_set_up_nothing_is_made(tmp_path: Path) -> None:
    Parts(Settings.load(home=tmp_path)).upgrade()
    assert list(tmp_path.iterdir()) == []
