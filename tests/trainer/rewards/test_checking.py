"""What is told of a reward before anything is trained."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from dualsweep.trainer.config.yaml_file import parse
from dualsweep.trainer.rewards.checking import problems
from dualsweep.trainer.rewards.registry import resolve

KEYS = ("constraints", 0, "reward")
RGB, GREY = (3, 8, 8), (1, 8, 8)


def told(
    reward: Any, shape: tuple[int, ...] | None = RGB, names: tuple[int | str, ...] | None = (0, 1), **more: Any
) -> list[str]:
    return [str(fault) for fault in problems(resolve(reward), shape, names, KEYS, **more)]


@pytest.mark.parametrize(
    ("reward", "shape"),
    [
        ("brightness", GREY), ("contrast", RGB), ("saturation", RGB), ("saturation", None), ({"class_probability": 1}, (2,)),
        ({"class_probability": "1"}, RGB), ({"local_contrast": {"window": 8}}, RGB), ({"call": "math:fsum"}, (2,)),
        ({"clip_score": {"model": "a/b", "prompt": "c"}}, GREY),
    ],
)  # fmt: skip
def test_what_fits_is_not_faulted(reward: Any, shape: tuple[int, ...] | None) -> None:
    assert told(reward, shape) == []


@pytest.mark.parametrize(
    ("reward", "shape", "message"),
    [
        ("saturation", GREY, "constraints.0.reward.saturation: must be given images of 3 channels [C, H, W], but got samples of "
         "shape [1, 8, 8]; choose another reward, or give such images"),
        ("colourfulness", (4, 8, 8), "must be given images of 3 channels"),
        ("brightness", (4, 8, 8), "must be given images of 1 or 3 channels [C, H, W], but got samples of shape [4, 8, 8]"),
        ("contrast", (2,), "but got samples of shape [2]"),
        ({"local_contrast": {"window": 9}}, (3, 16, 8), "constraints.0.reward.local_contrast.window: must fit into the images, "
         "but got 9 for images of 16 x 8; write at most 8"),
        ({"class_probability": 2}, RGB, "constraints.0.reward.class_probability.class: must be a class of the data, but got 2; "
         "valid: 0, 1"),
        ({"call": "absent_package.x:f"}, RGB, "constraints.0.reward.call.path: must lead to a function that can be imported, but "
         "got no module named `absent_package`"),
        ({"call": "math:pii"}, RGB, "module `math` without `pii`"),
        ({"call": "os:getcwd"}, RGB, "must be a function that can be called with one argument, or with samples and"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_its_key(reward: Any, shape: tuple[int, ...], message: str) -> None:
    (fault,) = told(reward, shape)
    assert message in fault


def test_class_of_data_without_labels_and_of_unknown_data() -> None:
    assert "must go with data that has labels, but got 4" in told({"class_probability": 4}, names=())[0]
    assert told({"class_probability": 4}, names=None) == []


def test_a_gradient_of_a_black_box_is_refused_before_it_is_asked() -> None:
    (fault,) = told("jpeg_size", gradient=True)
    assert fault == (
        "constraints.0.reward.jpeg_size: `gradient: backpropagation` needs a differentiable reward, but got `jpeg_size`, which "
        "has no gradient; use `gradient: policy_gradient`"
    )
    assert told("jpeg_size") == told("brightness", gradient=True) == []


@pytest.mark.parametrize("word", ["clip_score", "hps", "image_reward"])
def test_a_missing_extra_is_told_with_the_command_that_installs_it(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)  # how Python itself says that it cannot be imported
    (fault,) = told({word: {"model": "a/b", "prompt": "c"}})
    assert fault == (
        f"constraints.0.reward.{word}: must have its packages installed, but got no `transformers`; "
        "run pip install 'dualsweep[scorers]'"
    )


def test_a_users_function_and_the_line_it_stands_on(module: Callable[[str, str], None]) -> None:
    module("own_rewards", "def good(x):\n    return x.flatten(1).mean(1)\ndef three(x, y, z):\n    return x\n")
    assert told({"call": "own_rewards:good"}) == []
    (fault,) = problems(resolve({"call": "own_rewards:three"}), RGB, None, KEYS)
    document = parse("constraints:\n  - name: a\n    reward: {call: own_rewards:three}\n", "r.yaml")
    assert str(document.locate(fault)).startswith("r.yaml:3: constraints.0.reward.call.path: must be a function that can be")


@pytest.mark.parametrize("reward", [{"clip_score": {"model": "a/b"}}, {"call": "math:dist"}])
def test_a_reward_of_prompts_needs_a_model_with_one(reward: Any) -> None:
    assert told(reward, prompted=True) == told(reward, prompted=None) == []
    rule = "must be given the prompts of samples, but got a model without a prompt; write"
    assert any(rule in each for each in told(reward, prompted=False))
