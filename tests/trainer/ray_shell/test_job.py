"""Where a training's processes keep their state, and what garbage in the files that say whose run lies in a folder costs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from dualsweep.trainer.own_files import DAMAGED
from dualsweep.trainer.ray_shell.job import MARK, TRAINING, claim, job_for, result_in
from dualsweep.trainer.ray_shell.worker import _train
from dualsweep.trainer.storage import RESULT
from tests.trainer.recipes import digits

GARBAGE = [b"", b"\x00\xff" * 99, b"[]", b"7", b"null", b"{}", b'{"status": "conv', b"[" * 200_000]


@pytest.mark.parametrize("uri", ["s3://bucket/run", "memory://run", "gs://bucket/run"])
def test_rays_own_state_of_an_output_behind_a_uri_is_on_the_machines_disk(uri: str) -> None:
    job = job_for(digits(), uri)
    assert job.output == uri and job.checkpoints.startswith(uri)
    assert Path(job.storage).is_absolute()


@pytest.mark.parametrize("content", GARBAGE)
def test_a_damaged_result_is_none_and_is_set_aside(content: bytes, tmp_path: Path) -> None:
    (tmp_path / RESULT).write_bytes(content)
    assert result_in(str(tmp_path)) is None and not (tmp_path / RESULT).exists()
    assert (tmp_path / f"{RESULT}{DAMAGED}").read_bytes() == content


@pytest.mark.parametrize("content", GARBAGE)
def test_a_damaged_mark_is_made_anew(content: bytes, tmp_path: Path) -> None:
    (tmp_path / MARK).write_bytes(content)
    assert claim(str(tmp_path), digits()) is None
    assert len((tmp_path / MARK).read_text()) == 16 and (tmp_path / f"{MARK}{DAMAGED}").exists()


def test_a_workers_log_has_no_login_of_the_place_it_trains_to(capsys: pytest.CaptureFixture[str]) -> None:
    """Ray keeps that log on every node, beyond the run."""
    begun = SimpleNamespace(output="sftp://me:MARKED@nas/run/trials/0003")
    with pytest.raises(AttributeError, match="trust"):  # what comes after the line is not there
        _train(begun, None, 0)  # type: ignore[arg-type]
    said = capsys.readouterr().out
    assert said.startswith(TRAINING) and said.endswith("/trials/0003\n") and "MARKED" not in said
