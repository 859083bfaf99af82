"""An .env of an earlier version goes on working with every command."""

from __future__ import annotations

import re
from pathlib import Path

from egoworld_resources.production.parts import Parts
from egoworld_resources.production.running import Server
from egoworld_resources.settings import Settings


def test_a_server_of_an_earlier_version_can_be_asked_and_taken_down(tmp_path: Path) -> None:
    parts = Parts(Settings.load(home=tmp_path))
    parts.prepare()
    text = parts.env_file.path.read_text(encoding="utf-8")
    older = re.sub(r"(?m)^(S3_(PIPELINE|UPLOADER|READER)_SECRET_KEY|FILES_PORT|METRICS_PORT)=.*\n", "", text)
    parts.env_file.path.write_text(older, encoding="utf-8")
    Server(parts.settings).down()
    assert parts.env_file.path.read_text(encoding="utf-8").startswith(older)
    assert set(parts.server.s3_accounts) == {"pipeline", "uploader", "reader"}
    assert "metrics" in {part.name for part in parts.all()}


def test_where_no_server_was_set_up_nothing_is_made(tmp_path: Path) -> None:
    Parts(Settings.load(home=tmp_path)).upgrade()
    assert list(tmp_path.iterdir()) == []
