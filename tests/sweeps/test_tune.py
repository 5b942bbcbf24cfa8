"""What ends a sweep from within Tune is told as what it was, and a training whose process dies goes on in another."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, RayTaskError
from ray.tune import TuneError
from ray.tune.search import Searcher

from dualsweep.sweeps import tune
from dualsweep.sweeps.options import refused_by_the_machine
from dualsweep.trainer.ray_shell.slot import FRESH
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


class Driver:
    """Hands out the trainings a and b, and notes what it hears."""

    def __init__(self) -> None:
        self.left = [(SimpleNamespace(name=name), f"job of {name}") for name in "ab"]
        self.heard: list[tuple[str, str]] = []

    def next(self) -> Any:
        return self.left.pop(0) if self.left else None

    def __getattr__(self, word: str) -> Any:
        return lambda run, *told: self.heard.append((word, run.name))


def given(searcher: Any, trial_id: str) -> Any:
    suggested = searcher.suggest(trial_id)
    return suggested["job"] if isinstance(suggested, dict) else suggested


def raised(text: str) -> Exception:
    """What Tune has of an error that code in a trial's process raised."""
    return RayTaskError("step", f"Traceback\n{text}", ValueError(text))


def test_a_training_whose_process_dies_is_handed_out_again_before_others_until_it_is_interrupted() -> None:
    driver = Driver()
    searcher = tune._Searcher(driver, FRESH)
    assert given(searcher, "0") == "job of a"
    for number in range(tune.MOST_DEATHS):
        searcher.died(str(number), ActorDiedError())
        assert given(searcher, str(number + 1)) == "job of a"
    searcher.died(str(tune.MOST_DEATHS), ActorDiedError())
    assert driver.heard == [("recovers", "a")] * tune.MOST_DEATHS + [("interrupted", "a")]
    assert given(searcher, "x") == "job of b" and given(searcher, "y") is None, "b may yet be handed out again"
    searcher.ended("x")
    assert given(searcher, "z") == Searcher.FINISHED


def test_an_error_of_the_code_fails_a_training_where_it_comes_again() -> None:
    driver = Driver()
    searcher = tune._Searcher(driver, FRESH)
    for trial_id, error in enumerate([raised("first"), ActorDiedError(), raised("second"), raised("first")]):
        assert given(searcher, str(trial_id)) == "job of a"
        searcher.died(str(trial_id), error)
    assert driver.heard == [("recovers", "a")] * 3 + [("lost", "a")]
