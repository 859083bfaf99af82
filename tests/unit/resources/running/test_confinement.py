"""Who a runner must be to read what its job names."""

from __future__ import annotations

from pathlib import Path

from egoworld_resources.running.confinement import samples


def test_a_closed_file_of_a_folder_shows_that_others_may_not_read_it(tmp_path: Path) -> None:
    for name in ("a.json", "model.safetensors", "z.txt"):
        (tmp_path / name).touch(0o644)
    assert samples(str(tmp_path)) == [str(tmp_path), str(tmp_path / "a.json")]
    (tmp_path / "model.safetensors").chmod(0o600)
    assert samples(str(tmp_path)) == [str(tmp_path), str(tmp_path / "model.safetensors")]
    assert samples(str(tmp_path / "z.txt")) == [str(tmp_path / "z.txt")]
    (tmp_path / "empty").mkdir()
    assert samples(str(tmp_path / "empty")) == [str(tmp_path / "empty")]
