from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from mlflow.utils.validation import _validate_metric_name

from dualsweep.trainer.data.examples import InMemory
from dualsweep.trainer.errors import BadPartError, TrainingError
from dualsweep.trainer.evaluation.images import Rows
from dualsweep.trainer.evaluation.judge import ConvJudge
from dualsweep.trainer.evaluation.metrics import SHIPPED, Evidence, NotMeasured, check_keys, measure, resolve

HERE = __name__


@pytest.fixture
def evidence(digits: InMemory, judge: ConvJudge) -> Evidence:
    training = Rows(digits, np.arange(0, 900))
    return Evidence(
        digits.images[1000:1200], training, Rows(digits, np.arange(len(digits))), Rows(digits, np.arange(1200, 1500)), judge,
        digits.class_names,
    )  # fmt: skip


def fine(evidence: Evidence) -> dict[str, float | np.float32]:
    return {"mine/brightness": float(evidence.samples.mean()), "mine/none": math.nan, "count": np.float32(3), "n": 4}


def listing(evidence: Evidence) -> list[float]:
    return [1.0]


def infinite(evidence: Evidence) -> dict[str, float]:
    return {"x": math.inf}


def tensors(evidence: Evidence) -> dict[str, torch.Tensor]:
    return {"x": torch.ones(())}


def truth(evidence: Evidence) -> dict[str, bool]:
    return {"x": True}


def climbing(evidence: Evidence) -> dict[str, float]:
    return {"../x": 1.0}


def illegal(evidence: Evidence) -> dict[str, float]:
    return {"a,b": 1.0}


def long(evidence: Evidence) -> dict[str, float]:
    return {"x" * 246: 1.0}


def numbered(evidence: Evidence) -> dict[int, float]:
    return {3: 1.0}


def failing(evidence: Evidence) -> dict[str, float]:
    raise KeyError("absent")


def shy(evidence: Evidence) -> dict[str, float]:
    raise NotMeasured("it is Sunday")


def double(evidence: Evidence) -> dict[str, float]:
    return {"frechet": 1.0}


def test_all_shipped_metrics_of_good_samples(evidence: Evidence) -> None:
    measured = measure(evidence, list(SHIPPED))
    assert measured.notes == ()
    assert set(measured.values) == {
        *(f"eval/{word}/{k}" for word in ("share", "share_error", "share_low", "share_high") for k in range(10)),
        *(f"eval/tv_from_uniform{end}" for end in ("", "_low", "_high")), "eval/frechet",
        *(f"eval/{name}" for name in (
            "nearest_distance", "nearest_distance_q05", "copied_share",
            "nearest_distance_reference", "nearest_distance_reference_q05", "copied_share_reference",
        )),
    }  # fmt: skip
    assert all(math.isfinite(value) for value in measured.values.values())
    for name in measured.values:
        _validate_metric_name(name)


def test_only_what_is_named(evidence: Evidence) -> None:
    assert set(measure(evidence, ["frechet"]).values) == {"eval/frechet"}
    assert measure(evidence, []).values == {}


def test_without_a_judge_the_rest_is_measured_and_a_note_says_so(evidence: Evidence) -> None:
    blind = Evidence(evidence.samples, evidence.training, evidence.everything, None, None, ())
    measured = measure(blind, list(SHIPPED))
    assert {name.split("_")[0] for name in measured.values} == {"eval/nearest", "eval/copied"}
    assert [note.split(":")[0] for note in measured.notes] == ["class_shares is left out", "frechet is left out"]
    assert "no labels" in measured.notes[0]


@pytest.mark.parametrize(("spoil", "reason"), [(math.nan, "2 of 200 samples are not finite"), (None, "there are no samples")])
def test_samples_that_cannot_be_judged(evidence: Evidence, spoil: float | None, reason: str) -> None:
    samples = evidence.samples.clone() if spoil else evidence.samples[:0]
    samples[3:5] = spoil or 0.0
    measured = measure(
        Evidence(samples, evidence.training, evidence.everything, None, evidence.judge, ()), ["frechet", "copying"]
    )
    assert measured.values == {}
    assert measured.notes == (f"frechet is left out: {reason}", f"copying is left out: {reason}")


def test_a_users_metric(evidence: Evidence) -> None:
    values = measure(evidence, [f"{HERE}:fine"]).values
    assert values["eval/mine/brightness"] == pytest.approx(float(evidence.samples.mean()))
    assert math.isnan(values["eval/mine/none"])
    assert values["eval/count"] == 3.0
    assert all(type(value) is float for value in values.values())


def test_a_users_metric_may_be_left_out(evidence: Evidence) -> None:
    assert measure(evidence, [f"{HERE}:shy"]).notes == (f"{HERE}:shy is left out: it is Sunday",)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (listing, "must return a dict of floats, but got a list"),
        (infinite, "finite or NaN numbers, but got inf for 'x'"),
        (tensors, "finite or NaN numbers, but got a Tensor for 'x'; return a float"),
        (truth, "finite or NaN numbers, but got True for 'x'"),
        (climbing, r"but got '\.\./x'; rename it"),
        (illegal, "but got 'a,b'; rename it"),
        (long, "at most 245 characters"),
        (numbered, "but got 3; rename it"),
        (failing, "must not fail, but got KeyError: 'absent'"),
    ],
)
def test_a_users_mistake_is_named(evidence: Evidence, metric: Callable[[Evidence], object], message: str) -> None:
    with pytest.raises(TrainingError, match=f"{HERE}:{metric.__name__}.*{message}"):
        measure(evidence, [f"{HERE}:{metric.__name__}"])


def large(evidence: Evidence) -> dict[str, float]:
    raise torch.OutOfMemoryError("CUDA out of memory")


def large_on_the_cpu(evidence: Evidence) -> dict[str, float]:
    return {"a": float(torch.empty(1 << 55).sum())}


def test_memory_that_runs_out_is_no_mistake_of_the_metric(evidence: Evidence) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        measure(evidence, [f"{HERE}:large"])
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        measure(evidence, [f"{HERE}:large_on_the_cpu"])


def test_keys_do_not_hide_each_other(evidence: Evidence) -> None:
    """A training that has ended is not lost by it: the later one is left out."""
    measured = measure(evidence, ["frechet", f"{HERE}:double", f"{HERE}:fine"])
    assert {"eval/frechet", "eval/n"} <= set(measured.values) and measured.values["eval/frechet"] != -1.0
    [note] = measured.notes
    assert note == f"{HERE}:double is left out: its keys frechet are another metric's too; rename them in it"


def darkening(evidence: Evidence) -> dict[str, float]:
    return {"dark": float(evidence.samples.zero_().sum())}


def test_what_a_metric_does_to_its_samples_is_nobody_elses(evidence: Evidence) -> None:
    alone = measure(evidence, ["copying", "frechet"]).values
    after = measure(evidence, [f"{HERE}:darkening", "copying", "frechet"]).values
    assert {name: after[name] for name in alone} == alone and after["eval/dark"] == 0.0


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_metrics_say_what_their_keys_are_called(evidence: Evidence, name: str) -> None:
    asked = replace(evidence, asked=np.arange(len(evidence.samples)) % 10)
    keys = [key.removeprefix("eval/") for key in measure(asked, [name]).values]
    assert keys
    for key in keys:
        with pytest.raises(BadPartError, match=f"the metric own must return keys that are not those of {name}, but got '{key}'"):
            check_keys("own", [key], [name], {})
    check_keys("own", ["frechet_clip", "sharpness", "copied"], list(SHIPPED), {"other": ["mine"]})
    with pytest.raises(BadPartError, match="not those of other, but got 'mine'"):
        check_keys("own", ["mine"], list(SHIPPED), {"other": ["mine"]})


def test_names_are_resolved_before_anything_runs() -> None:
    assert resolve(["copying", f"{HERE}:fine"]) == {"copying": SHIPPED["copying"], f"{HERE}:fine": fine}
    with pytest.raises(ValueError, match=r"one of \['class_shares', 'copying', 'frechet'\].*but got 'fid'"):
        resolve(["fid"])
    with pytest.raises(TrainingError, match="no_such_module"):
        resolve(["no_such_module:metric"])
