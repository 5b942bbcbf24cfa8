"""The shipped formulas, on images whose values are known and against independent implementations."""

from __future__ import annotations

import colorsys
import math
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dualsweep.trainer.evaluation.judge_network import ConvJudge
from tests.trainer.rewards.conftest import Linear, built, noise

COLOURS = {"red": (1, -1, -1), "green": (-1, 1, -1), "blue": (-1, -1, 1), "white": (1, 1, 1), "black": (-1, -1, -1)}
SMOOTH: list[Any] = ["brightness", "contrast", "local_contrast", "saturation", "colourfulness"]


def plain(*colour: float) -> Tensor:
    """One image of one colour in [-1, 1], [1, C, 6, 8]."""
    return torch.tensor(colour, dtype=torch.float32).view(1, -1, 1, 1).expand(1, len(colour), 6, 8).contiguous()


def halves(left: Tensor, right: Tensor) -> Tensor:
    return torch.cat([left[..., :4], right[..., :4]], dim=3)


def value(reward: Any, x: Tensor) -> float:
    result = built(reward, shape=tuple(x.shape[1:]))(x)
    assert result.shape == (1,) and result.dtype == x.dtype
    return float(result)


@pytest.mark.parametrize(
    ("colour", "expected"),
    [("red", 0.2126), ("green", 0.7152), ("blue", 0.0722), ("white", 1.0), ("black", 0.0)],
)
def test_brightness_of_pure_colours(colour: str, expected: float) -> None:
    assert value("brightness", plain(*COLOURS[colour])) == pytest.approx(expected, abs=1e-6)
    assert value("contrast", plain(*COLOURS[colour])) == pytest.approx(0, abs=1e-6)
    assert value("local_contrast", plain(*COLOURS[colour])) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("grey", [-1.0, -0.3, 0.0, 0.5, 1.0])
def test_one_channel_is_its_own_luma(grey: float) -> None:
    assert value("brightness", plain(grey)) == pytest.approx((grey + 1) / 2, abs=1e-6)
    assert value("brightness", plain(grey, grey, grey)) == pytest.approx((grey + 1) / 2, abs=1e-6)


def test_outside_the_range_counts_as_its_end_as_in_a_saved_image() -> None:
    for reward in [*SMOOTH, "jpeg_size"]:
        x = 3 * noise(1, 3, 6, 8)
        assert value(reward, x) == value(reward, x.clamp(-1, 1))


def test_contrast_of_two_levels_is_half_their_distance() -> None:
    x = halves(plain(-0.5), plain(0.5))
    assert value("contrast", x) == pytest.approx(0.25, abs=1e-6)
    assert value("contrast", halves(plain(-1), plain(1))) == pytest.approx(0.5, abs=1e-6)


def test_local_contrast_of_a_step_is_that_of_the_windows_across_it() -> None:
    """Width 8, window 3: two of six windows hold the step, one or two thirds of their pixels bright: sqrt(2)/3."""
    step = halves(plain(-1), plain(1))
    assert value({"local_contrast": {"window": 3}}, step) == pytest.approx(2 / 6 * math.sqrt(2) / 3, abs=1e-5)
    board = ((torch.arange(6)[:, None] + torch.arange(8)) % 2 * 2.0 - 1)[None, None]
    assert value({"local_contrast": {"window": 2}}, board) == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("window", [2, 3, 5])
def test_local_contrast_by_a_loop_over_windows(window: int) -> None:
    x = noise(1, 3, 6, 8)
    luma = np.tensordot((x[0].numpy() + 1) / 2, [0.2126, 0.7152, 0.0722], axes=(0, 0))
    spreads = [luma[i : i + window, j : j + window].std() for i in range(7 - window) for j in range(9 - window)]
    assert value({"local_contrast": {"window": window}}, x) == pytest.approx(np.mean(spreads), abs=1e-9)


@pytest.mark.parametrize(("colour", "expected"), [("red", 1), ("green", 1), ("blue", 1), ("white", 0), ("black", 0)])
def test_saturation_of_pure_colours(colour: str, expected: float) -> None:
    assert value("saturation", plain(*COLOURS[colour])) == pytest.approx(expected, abs=2e-5)


def test_saturation_is_that_of_colorsys_but_near_black() -> None:
    x = noise(1, 3, 6, 8).clamp(min=-0.7)  # max >= 0.15: a relative error of at most (1/255/0.15)^2 = 7e-4
    pixels = ((x[0] + 1) / 2).flatten(1).T.tolist()
    expected = np.mean([colorsys.rgb_to_hsv(*pixel)[1] for pixel in pixels])
    assert value("saturation", x) == pytest.approx(expected, rel=7e-4)


def test_saturation_fades_within_a_step_of_black() -> None:
    """At max = ε, min = 0: ε² / (2 ε²)."""
    assert value("saturation", plain(2 / 255 - 1, -1, -1)) == pytest.approx(0.5, rel=1e-5)


def test_colourfulness_by_its_definition_in_numpy() -> None:
    x = noise(1, 3, 6, 8)
    red, green, blue = ((x[0].numpy() + 1) * 127.5).reshape(3, -1)
    rg, yb = red - green, 0.5 * (red + green) - blue
    expected = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    assert value("colourfulness", x) == pytest.approx(expected, rel=1e-9)


def test_colourfulness_of_plain_and_of_two_colours() -> None:
    assert value("colourfulness", plain(0.2, 0.2, 0.2)) == pytest.approx(0, abs=1e-4)
    assert value("colourfulness", plain(*COLOURS["red"])) == pytest.approx(0.3 * 255 * math.hypot(1, 0.5), rel=1e-5)
    both = halves(plain(*COLOURS["red"]), plain(*COLOURS["green"]))  # rg = ±255, yb = 127.5
    assert value("colourfulness", both) == pytest.approx(255 + 0.3 * 127.5, rel=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [30, 80])
def test_jpeg_size_is_that_of_the_file(tmp_path: Any, channels: int, quality: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (channels, 17, 9), dtype=np.uint8)
    file = tmp_path / "x.jpg"
    Image.fromarray(pixels[0] if channels == 1 else pixels.transpose(1, 2, 0)).save(file, quality=quality)
    x = torch.from_numpy(pixels)[None].float() / 127.5 - 1
    assert value({"jpeg_size": {"quality": quality}}, x) == pytest.approx(file.stat().st_size / 1000, rel=1e-6)


def test_jpeg_size_grows_with_detail_and_reads_back() -> None:
    assert value("jpeg_size", noise(1, 3, 32, 32)) > 2 * value("jpeg_size", torch.zeros(1, 3, 32, 32))
    buffer = BytesIO()
    Image.new("RGB", (32, 32), (128, 128, 128)).save(buffer, format="JPEG", quality=95)
    assert value("jpeg_size", torch.zeros(1, 3, 32, 32)) == pytest.approx(buffer.tell() / 1000, rel=1e-6)


@pytest.mark.parametrize("reward", [*SMOOTH, {"local_contrast": {"window": 5}}], ids=str)
def test_gradients_are_those_of_finite_differences(reward: Any) -> None:
    x = noise(2, 3, 5, 6).requires_grad_()
    assert torch.autograd.gradcheck(built(reward), (x,))


@pytest.mark.parametrize("reward", ["brightness", "contrast", "local_contrast"])
def test_gradients_of_one_channel(reward: str) -> None:
    assert torch.autograd.gradcheck(built(reward), (noise(2, 1, 5, 6).requires_grad_(),))


@pytest.mark.parametrize("reward", SMOOTH)
@pytest.mark.parametrize(
    "colour", [*COLOURS.values(), (0.1, 0.1, 0.1), (-1, -0.9999, -1), (-1, -0.999999, -1), (2, -3, 0)], ids=str
)
def test_values_and_gradients_are_finite_where_images_are_degenerate(reward: str, colour: tuple[float, ...]) -> None:
    for x in (plain(*colour), halves(plain(*colour), plain(-1, -1, -1))):
        x.requires_grad_()
        result = built(reward)(x)
        result.sum().backward()
        assert result.isfinite().all() and x.grad is not None and x.grad.isfinite().all()
        assert x.grad.abs().max() < 300  # colourfulness is on a scale of 255, the others of 1


@pytest.mark.parametrize("reward", [*SMOOTH, "jpeg_size"])
def test_samples_of_a_batch_are_valued_apart_and_half_precision_is_widened(reward: str) -> None:
    x = noise(3, 3, 8, 8).float()
    together, apart = built(reward)(x), torch.cat([built(reward)(x[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, apart)
    half = built(reward)(x.bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, built(reward)(x.bfloat16().float()))


def test_class_probability_is_the_judges() -> None:
    x, judge, names = noise(4, 1, 8, 8).float(), ConvJudge((1, 8, 8), 3, 8), ("left", "right", 7)
    expected = judge.probabilities(x)
    for position, name in enumerate(names):
        for written in ({"class_probability": name}, {"class_probability": {"class": name}}):
            torch.testing.assert_close(built(written, judge=judge, class_names=names)(x), expected[:, position])
        log = built({"class_probability": {"class": name, "log": True}}, judge=judge, class_names=names)(x)
        torch.testing.assert_close(log, expected[:, position].log())


def test_the_gradient_of_a_log_probability_under_a_linear_judge() -> None:
    """d log p_k / dx = w_k - Σ_j p_j w_j."""
    judge = Linear(48, 3)
    x = noise(2, 3, 4, 4).requires_grad_()
    reward = built({"class_probability": {"class": 1, "log": True}}, judge=judge, class_names=(0, 1, 2))
    (gradient,) = torch.autograd.grad(reward(x).sum(), x)
    expected = judge.weight[:, 1] - judge.probabilities(x) @ judge.weight.T
    torch.testing.assert_close(gradient.flatten(1), expected)


def test_a_probability_that_rounds_to_zero_has_a_finite_logarithm_and_gradient() -> None:
    judge = Linear(48, 2)
    judge.weight *= 1e4
    x = noise(8, 3, 4, 4).float().requires_grad_()
    values = [built({"class_probability": {"class": k, "log": True}}, judge=judge, class_names=(0, 1))(x) for k in (0, 1)]
    assert min(float(each.detach().min()) for each in values) == pytest.approx(math.log(1e-30), rel=1e-5)
    (gradient,) = torch.autograd.grad(torch.cat(values).sum(), x)
    assert gradient.isfinite().all()
