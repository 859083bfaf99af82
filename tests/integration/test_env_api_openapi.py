"""schemathesis asks the running API everything that its OpenAPI allows, and follows its links."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from made_api import served
from made_index import made_index

CONFIG = """
hooks = "made_openapi"

[checks.negative_data_rejection]
# A body that is too long is refused before anything is read of it.
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422"]

[[operations]]
include-operation-id = "conda_lock_of_env"
# Envs of wheels have none: nothing of a request can say which backend made an env.
checks.positive_data_acceptance.expected-statuses = ["200", "400", "404"]

[phases.fuzzing.generation]
max-examples = 4

[phases.stateful.generation]
max-examples = 12
"""


def test_the_api_keeps_what_its_openapi_promises(tmp_path: Path, uv: Path, repository: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    with made_index(tmp_path / "index") as index, served(tmp_path / "home", uv, index.url) as api:
        words = ["schemathesis", "run", f"{api.url}/openapi.json", "-H", f"Authorization: Bearer {api.writer}"]
        words += ["--seed", "6", "--no-shrink", "--checks", "all", "--continue-on-failure"]
        path = {**api.environ, "PYTHONPATH": str(repository / "tests"), "COLUMNS": "160"}
        program = [str(Path(sys.executable).with_name(words[0])), *words[1:]]
        done = subprocess.run(program, cwd=tmp_path, env=path, capture_output=True, text=True, check=False)
        output = "\n".join(line[:400] for line in done.stdout.splitlines())
        assert done.returncode == 0, f"{output}\n{done.stderr[-2000:]}"
        assert "API Links:" in output
        log = (tmp_path / "home" / "serve.err").read_text()
    assert "INTERNAL_ERROR" not in log
    assert "Traceback" not in log
