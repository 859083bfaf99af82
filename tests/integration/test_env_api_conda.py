"""Envs of conda packages over HTTP, from a channel that the test makes."""

from __future__ import annotations

from pathlib import Path

from made_api import served
from made_channel import MadeChannel


def test_conda_packages_take_the_same_calls(tmp_path: Path, uv: Path) -> None:
    channel = MadeChannel(tmp_path / "channel")
    channel.add("tool", "1.0")
    channel.add("app", "1.0", depends=("tool",))
    policy = tmp_path / "home" / "project" / "envs" / "policy.toml"
    policy.parent.mkdir(parents=True)
    policy.write_text(f"channels = ['{channel.url}']\n")
    with served(tmp_path / "home", uv, "http://127.0.0.1:9/simple") as api, api.client() as writer:
        form = {"workflow_id": "flow", "node_id": "tools", "backend": "conda", "python_version": "none"}
        made = writer.post("/envs", data={**form, "packages": "tool"})
        assert made.status_code == 201, made.text
        assert (made.json()["backend"], made.json()["python_version"]) == ("conda", "")
        added = writer.post("/envs/flow/tools/deps", json={"packages": ["app"]}).json()
        assert added["locked_versions"] == {"app": "1.0", "tool": "1.0"}
        lock = writer.get("/envs/flow/tools/conda-lock").json()["conda_lock"]
        texts = {"conda-lock.yml": lock, "explicit.txt": added["uv_lock"], "environment.yml": added["pyproject_toml"]}
        for number, (name, text) in enumerate(texts.items()):
            fields = {"workflow_id": "flow", "node_id": f"copy{number}", "backend": "conda"}
            copy = writer.post("/envs", data=fields, files={"conda_file": (name, text, "text/plain")})
            assert copy.status_code == 201, copy.text
            assert copy.json()["lock_digest"] == added["lock_digest"], name
        both = {"workflow_id": "flow", "node_id": "both", "backend": "conda", "packages": ["tool"], "conda_file": lock}
        assert writer.post("/envs", json=both).json()["error"]["code"] == "INVALID_PACKAGES"
        no_python = writer.post("/envs/flow/tools/run", json={"code": "1"})
        assert (no_python.status_code, no_python.json()["error"]["code"]) == (422, "PYTHON_NOT_FOUND")
