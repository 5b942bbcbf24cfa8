from __future__ import annotations

import pytest

from dualsweep.trainer.metric_names import beside, sure, tells_of_another


@pytest.mark.parametrize(
    ("metric", "wanted"),
    [
        ("objective", "objective_error"), ("value/max", "value_error/max"), ("eval/frechet", "eval/frechet_error"),
        ("eval/share/a b", "eval/share_error/a b"), ("eval/share/x_low", "eval/share_error/x_low"),
    ],
)  # fmt: skip
def test_an_error_stands_behind_the_word(metric: str, wanted: str) -> None:
    assert beside(metric, "_error") == wanted
    assert tells_of_another(wanted, {metric}) and not tells_of_another(metric, {metric, wanted})


def test_what_has_no_metric_beside_it_is_one_itself() -> None:
    assert not tells_of_another("eval/very_low", {"objective"})
    assert not tells_of_another("eval/share/very_low", {"eval/share/very"})


def test_words() -> None:
    metrics = {"a": 1.0, "a_error": 0.123, "b": 1.0, "b_low": 0.5, "b_high": 1.5, "c": 1.0}
    assert [sure(name, metrics) for name in "abc"] == [" ± 0.12", " (95 % interval 0.5 to 1.5)", ""]
