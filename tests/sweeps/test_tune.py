"""What ends a sweep from within Tune is told as what it was."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from ray.tune import TuneError

from dualsweep.sweeps import tune
from dualsweep.sweeps.options import refused_by_the_machine
from dualsweep.trainer.storage import write_file


@pytest.mark.parametrize(("place", "told"), [("/dev/full", "No space left on device: /dev/full"), (None, "")])
def test_a_full_disk_is_told_though_tune_keeps_only_the_text_of_it(
    place: str | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Taking:
        """Tune's loop as far as it matters here: it raises the text of what was raised while a report was taken."""

        def __init__(self, *given: object, **named: object) -> None: ...

        def fit(self) -> None:
            try:
                write_file(Path(place), "record") if place else int("no number")
            except Exception:
                raise TuneError(traceback.format_exc())  # noqa: B904  # as Tune does

    monkeypatch.setattr(tune, "Tuner", Taking)
    with pytest.raises(OSError if told else TuneError) as caught:
        tune.run_trials(object(), 1, tmp_path)  # type: ignore[arg-type]  # nothing is asked of it
    assert not told or (isinstance(caught.value, OSError) and refused_by_the_machine(caught.value) == told)
