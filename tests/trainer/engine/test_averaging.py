"""Averages of the weights against their closed forms: what share each update's weights have of the last average."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from dualsweep.trainer.engine.averaged_weights import AveragedWeights
from dualsweep.trainer.engine.averaging import exponent, share_of
from dualsweep.trainer.recipe.ema import Ema
from dualsweep.trainer.recipe.train import Train
from tests.trainer.engine.test_loop import check_resumed
from tests.trainer.recipes import digits

UPDATES = 400


def shares(ema: float | Ema) -> np.ndarray:
    """What share [UPDATES] each update's weights have of the last average: update n alone has the weights e_n."""
    weights = torch.zeros(UPDATES)
    average = AveragedWeights([weights], share_of(ema))
    for number in range(UPDATES):
        weights.zero_()[number] = 1.0
        average.update(torch.tensor(0.0))
    assert average.updates == UPDATES
    return average.tensors[0].double().numpy()


def by(decays: np.ndarray) -> np.ndarray:
    """Of decays [UPDATES], the first 0: (1 - decay_n) times all that follow."""
    return np.array([(1 - decays[n]) * np.prod(decays[n + 1 :]) for n in range(UPDATES)])


def test_one_decay_is_what_it_was() -> None:
    n = np.arange(UPDATES)
    decays = np.where(n > 0, np.minimum(0.97, (1 + n) / (10 + n)), 0.0)
    np.testing.assert_allclose(shares(0.97), by(decays), rtol=1e-3, atol=1e-7)
    np.testing.assert_array_equal(shares(0.97), shares(Ema(decay=0.97)))


def test_a_ramp_keeps_the_half_life_to_its_share_of_the_updates() -> None:
    n = np.arange(UPDATES)
    longest = np.log(0.5) / np.log(0.97)  # 22.8 updates: from update 228 on
    decays = np.where(n > 0, 0.5 ** (1 / np.minimum(longest, 0.1 * (n + 1))), 0.0)
    np.testing.assert_allclose(shares(Ema(decay=0.97, rampup=0.1)), by(decays), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("sigma_rel", [0.05, 0.1, 0.25])
def test_a_power_average_has_the_profile_and_the_spread_of_its_formula(sigma_rel: float) -> None:
    gamma, profile = exponent(sigma_rel), shares(Ema(sigma_rel=sigma_rel))
    ends = (np.arange(UPDATES + 1) / UPDATES) ** (gamma + 1)  # the products of (1 - 1/t)^(gamma + 1) telescope
    np.testing.assert_allclose(profile, np.diff(ends), rtol=1e-3, atol=1e-6)
    ages = (np.arange(UPDATES) + 0.5) / UPDATES
    spread = np.sqrt(profile @ ages**2 - (profile @ ages) ** 2)
    assert spread == pytest.approx(sigma_rel, rel=0.01)


def test_the_exponents_are_the_papers() -> None:
    assert exponent(0.05) == pytest.approx(16.97, abs=0.01) and exponent(0.1) == pytest.approx(6.94, abs=0.01)  # §3.1
    assert exponent(12**-0.5 - 1e-9) == pytest.approx(0.0, abs=1e-6)  # an even average


def test_a_void_update_counts_for_nothing() -> None:
    weights = torch.zeros(1)
    average = AveragedWeights([weights], share_of(Ema(sigma_rel=0.1)))
    for value, void in ((1.0, 0.0), (9.0, 1.0), (2.0, 0.0)):
        weights.fill_(value)
        average.update(torch.tensor(void))
    assert average.updates == 2
    kept = 0.5 ** (exponent(0.1) + 1)
    assert float(average.tensors[0]) == pytest.approx(kept * 1.0 + (1 - kept) * 2.0)


def test_a_run_with_a_power_average_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    check_resumed(digits(checkpoint={"every": 6}, train={"ema": {"sigma_rel": 0.1}}), tmp_path, 8)


@pytest.mark.parametrize(
    "wrong", [{}, {"decay": 0.9, "sigma_rel": 0.1}, {"sigma_rel": 0.1, "rampup": 0.1}, {"sigma_rel": 0.29}, {"rampup": 0.1}]
)
def test_forms_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Train.model_validate({"steps": 1, "ema": wrong})
