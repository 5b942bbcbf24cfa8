"""Which MLflow store and sweep a command means."""

from __future__ import annotations

from pathlib import Path

import pytest

from dualsweep.analysis.errors import ReviewError
from dualsweep.sweeps.reports.place import Place, place_of
from dualsweep.sweeps.tracking.ledger import SWEEP as RUN_OF_SWEEP
from dualsweep.sweeps.tracking.ledger import Entry, Ledger
from dualsweep.sweeps.tracking.training import keep_logged
from dualsweep.trainer.config.diagnostics import InputError
from tests.sweeps.files import SWEEP, write


@pytest.mark.parametrize("own", ["mlflow.db", "htp://x"])
def test_a_store_that_is_named_takes_the_place_of_the_sweeps_own_which_is_not_looked_at(own: str, tmp_path: Path) -> None:
    sweep = write(tmp_path, SWEEP + f"mlflow: {{tracking_uri: '{own}', experiment: e}}\n")
    with pytest.raises(InputError, match="tracking_uri"):
        place_of(str(sweep), None)
    assert place_of(str(sweep), "sqlite:////elsewhere/m.db") == Place("sqlite:////elsewhere/m.db", "e", experiment="e")


@pytest.mark.parametrize("kind", ["sweep", "training"])
@pytest.mark.parametrize("uri", ["postgresql://me:secret@h/db", "https://token@h", "mysql://h/db?password=secret"])
def test_a_folder_s_store_gets_its_login_from_the_variable_that_names_the_same_store(
    uri: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = "0" * 32
    if kind == "training":
        keep_logged(uri, run, tmp_path)
    else:
        write(tmp_path, SWEEP)
        ledger = Ledger.open(tmp_path, uri, "e")
        ledger.runs[RUN_OF_SWEEP] = Entry(run)
        ledger.save()
    for other in ("", "postgresql://me:secret@elsewhere/db"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
        with pytest.raises(ReviewError, match=r"with --tracking-uri, or set MLFLOW_TRACKING_URI to it") as refused:
            place_of(str(tmp_path), None)
        assert "secret" not in str(refused.value) and "token" not in str(refused.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert place_of(str(tmp_path), None) == Place(uri, run, is_training=kind == "training")
    assert place_of(str(tmp_path), "http://h").uri == "http://h"
