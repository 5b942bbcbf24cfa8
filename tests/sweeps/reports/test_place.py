"""Which MLflow store and sweep a command means."""

from __future__ import annotations

from pathlib import Path

import pytest

from dualsweep.sweeps.reports.place import Place, place_of
from dualsweep.trainer.config.diagnostics import InputError
from tests.sweeps.files import SWEEP, write


@pytest.mark.parametrize("own", ["mlflow.db", "htp://x"])
def test_a_store_that_is_named_takes_the_place_of_the_sweeps_own_which_is_not_looked_at(own: str, tmp_path: Path) -> None:
    sweep = write(tmp_path, SWEEP + f"mlflow: {{tracking_uri: '{own}', experiment: e}}\n")
    with pytest.raises(InputError, match="tracking_uri"):
        place_of(str(sweep), None)
    assert place_of(str(sweep), "sqlite:////elsewhere/m.db") == Place("sqlite:////elsewhere/m.db", "e", experiment="e")
