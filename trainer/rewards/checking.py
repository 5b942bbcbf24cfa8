"""What is wrong with a reward for given samples, told before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dualsweep.trainer.config.diagnostics import Diagnostic, Keys
from dualsweep.trainer.recipe.base import ClassName
from dualsweep.trainer.rewards.registry import Reward, resolve
from dualsweep.trainer.rewards.spec import RewardSpec


def problems(
    reward: Reward | RewardSpec,
    shape: tuple[int, ...] | None,
    class_names: Sequence[ClassName] | None,
    keys: Keys,
    gradient: bool = False,
    prompted: bool | None = None,
) -> Iterator[Diagnostic]:
    """What can be told within moments: import paths, classes, channels, missing packages, and no gradient where one is asked.

    `shape` is that of one sample, and `prompted` says whether samples have prompts; None for these or for `class_names` is not
    known. `keys` lead to the reward in the recipe. A user's module is imported, in this process.
    """
    spec = resolve(reward)
    below = (*keys, spec.word)
    if missing := spec.missing_packages():
        words = ", ".join(f"`{package}`" for package in missing)
        yield Diagnostic(below, "must have its packages installed", f"no {words}", f"run pip install 'dualsweep[{spec.extra}]'")
    if gradient and spec.differentiable is False:
        yield Diagnostic(below, *no_gradient(spec.word))
    if prompted is False and spec.needs_prompt:
        remedy = "write the reward's own `prompt`, or take a model that has one"
        yield Diagnostic(below, "must be given the prompts of samples", "a model without a prompt", remedy)
    if shape is not None and spec.channels is not None and (len(shape) != 3 or shape[0] not in spec.channels):
        needed = " or ".join(map(str, spec.channels))
        rule, received = f"must be given images of {needed} channels [C, H, W]", f"samples of shape {list(shape)}"
        yield Diagnostic(below, rule, received, "choose another reward, or give such images")
    for mistake in spec.mistakes(shape, class_names):
        yield replace(mistake, keys=(*below, *mistake.keys))


def no_gradient(name: str) -> tuple[str, str, str]:
    """Rule, received and way out where a black-box reward is to be backpropagated."""
    return (
        "`gradient: backpropagation` needs a differentiable reward",
        f"`{name}`, which has no gradient",
        "use `gradient: policy_gradient`",
    )
