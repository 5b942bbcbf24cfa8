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

from dualsweep.sweeps import handing_out, tune
from dualsweep.sweeps.options import refused_by_the_machine
from dualsweep.trainer.errors import TrainingPaused
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
        tune.run_trials(object(), lambda: 1, tmp_path, print)  # type: ignore[arg-type]  # nothing is asked of it
    assert not told or (isinstance(caught.value, OSError) and refused_by_the_machine(caught.value) == told)


def test_what_is_done_meanwhile_is_done_once_when_no_more_trainings_start() -> None:
    done: list[int] = []
    searcher = handing_out.Handout(Driver("abc"), FRESH, lambda: 2)
    listener = tune._Listener(searcher, lambda: done.append(len(listener._begun)), ends=False)
    for starts in ([], ["0"], ["1"], [], ["2"], [], []):
        for trial_id in starts:
            given(searcher, trial_id)
            listener.on_trial_start(0, [], SimpleNamespace(trial_id=trial_id))
        listener.on_step_end(0, [])
    assert done == [2]


class Driver:
    """Hands out the trainings a and b, or others, and notes what it hears."""

    def __init__(self, names: str = "ab") -> None:
        self.left = [(SimpleNamespace(name=name), f"job of {name}") for name in names]
        self.heard: list[tuple[str, str]] = []

    def next(self) -> Any:
        return self.left.pop(0) if self.left else None

    def to_run(self) -> int:
        return 3

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
    searcher = handing_out.Handout(driver, FRESH, lambda: 100)
    assert given(searcher, "0") == "job of a"
    for number in range(handing_out.MOST_DEATHS):
        searcher.died(str(number), ActorDiedError())
        assert given(searcher, str(number + 1)) == "job of a"
    searcher.died(str(handing_out.MOST_DEATHS), ActorDiedError())
    assert driver.heard == [("recovers", "a")] * handing_out.MOST_DEATHS + [("interrupted", "a")]
    assert given(searcher, "x") == "job of b" and given(searcher, "y") is None, "b may yet be handed out again"
    searcher.ended("x")
    assert given(searcher, "z") == Searcher.FINISHED


def test_an_error_of_the_code_fails_a_training_where_it_comes_again() -> None:
    driver = Driver()
    searcher = handing_out.Handout(driver, FRESH, lambda: 100)
    for trial_id, error in enumerate([raised("first"), ActorDiedError(), raised("second"), raised("first")]):
        assert given(searcher, str(trial_id)) == "job of a"
        searcher.died(str(trial_id), error)
    assert driver.heard == [("recovers", "a")] * 3 + [("lost", "a")]


def test_as_many_are_handed_out_at_a_time_as_fit_by_then() -> None:
    """A place is free once Tune says so: the trial that ended leaves its process to the next."""
    room, searcher = [2], None
    searcher = handing_out.Handout(Driver("abcdef"), FRESH, lambda: room[0])
    first = searcher.suggest("0")
    assert (first["job"], first["beside"]) == ("job of a", 2)
    assert [given(searcher, each) for each in "12"] == ["job of b", None]
    searcher.ended("0")
    assert given(searcher, "2") is None
    searcher.on_trial_complete("0")
    assert given(searcher, "2") == "job of c"
    room[0] = 5
    fourth = searcher.suggest("3")
    assert (fourth["job"], fourth["beside"]) == ("job of d", 3), "no more than are left"


def test_what_waits_for_places_that_are_gone_is_taken_back_and_has_not_died() -> None:
    driver, room = Driver("abc"), [3]
    searcher = handing_out.Handout(driver, FRESH, lambda: room[0])
    assert [given(searcher, each) for each in "012"] == ["job of a", "job of b", "job of c"]
    for trial_id, waits in (("0", ""), ("1", "2 workers"), ("2", "2 workers")):
        searcher.waits.heard(trial_id, 0.0, waits)
    assert searcher.beyond(100.0) == []
    room[0] = 2
    assert searcher.beyond(1.0) == [] and len(searcher.beyond(100.0)) == 1
    room[0] = 1
    assert sorted(searcher.beyond(100.0)) == ["1", "2"]
    for number in range(2 * handing_out.MOST_DEATHS):
        trial_id = "1" if number == 0 else f"again-{number}"
        searcher.take_back(trial_id, "fewer fit")
        searcher.died(trial_id, ActorDiedError())
        searcher.on_trial_complete(trial_id, error=True)
        room[0] = 3
        assert given(searcher, f"again-{number + 1}") == "job of b"
    assert driver.heard == [("moves", "b")] * 2 * handing_out.MOST_DEATHS


def test_a_training_that_has_saved_and_left_its_process_goes_on_in_another() -> None:
    driver = Driver()
    searcher = handing_out.Handout(driver, FRESH, lambda: 1)
    assert given(searcher, "0") == "job of a"
    searcher.died("0", RayTaskError("step", "Traceback", TrainingPaused("a node of its is about to go")))
    searcher.on_trial_complete("0", error=True)
    assert given(searcher, "1") == "job of a" and driver.heard == [("moves", "a")]


def test_what_waits_for_the_places_of_a_process_that_is_kept_for_the_next_is_handed_to_that() -> None:
    """Else the two would wait for each other: no other training may be handed out while the one waits."""
    driver, room = Driver("ab"), [2]
    searcher = handing_out.Handout(driver, FRESH, lambda: room[0])
    assert [given(searcher, each) for each in "01"] == ["job of a", "job of b"]
    room[0] = 1
    searcher.ended("1")
    searcher.on_trial_complete("1")
    searcher.waits.heard("0", 0.0, "1 worker")
    assert given(searcher, "2") is None and searcher.beyond(1.0) == [] and searcher.beyond(100.0) == ["0"]
    searcher.take_back("0", "it waits")
    searcher.died("0", ActorDiedError())
    searcher.on_trial_complete("0", error=True)
    assert given(searcher, "2") == "job of a" and searcher.beyond(100.0) == []
