"""What is measured at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from dualsweep.trainer.evaluation import shipped
from dualsweep.trainer.recipe.base import Count, ImportPath, Section
from dualsweep.trainer.samplers.registry import SAMPLERS

if TYPE_CHECKING:
    Metric = str
    Sampler = str
else:
    Metric = Literal[shipped.NAMES]
    Sampler = Literal[tuple(SAMPLERS)]


def _steps_by_default() -> str:
    """The samplers through the schedule, with the numbers of their steps."""
    by_steps: dict[int, list[str]] = {}
    for word, sampler in SAMPLERS.items():
        if isinstance(sampler.steps, int):
            by_steps.setdefault(sampler.steps, []).append(f"`{word}`")
    return ", or of ".join(f"{' or '.join(words)}, {steps} unless given" for steps, words in by_steps.items())


class JudgeSpec(Section):
    """What classifies and embeds samples: a small network trained on all the data, or a user's own."""

    call: ImportPath | None = Field(
        None,
        description="the import path of a function `() -> judge` with features(x) and probabilities(x)",
        examples=["my:judge"],
    )
    epochs: Count = Field(30, description="passes over the data when the judge is trained", examples=["30"])
    features: Count = Field(64, description="width of the feature space", examples=["64"])


class Evaluation(Section):
    """What is measured at the end, with the averaged weights."""

    samples: Annotated[int, Field(ge=0)] = Field(500, description="images to sample; 0 for none", examples=["1000"])
    sampler: Sampler | None = Field(
        None, description="the sampler; by default `rollout`, as `rollout` says, where terms are on trajectories, `langevin`, as "
        "`product` says, for a composed model with terms on the product, else `dpmpp_2m`, the second-order multistep "
        "DPM-Solver++; `ddim` and `ddpm` are of first order",
        examples=["dpmpp_2m"],
    )  # fmt: skip
    sample_steps: Count | None = Field(
        None, description=f"steps of {_steps_by_default()}; at most the schedule's timesteps",
        examples=["20"],
    )  # fmt: skip
    batch_size: Count = Field(250, description="images sampled at a time by one worker", examples=["250"])
    loss_draws: Count = Field(
        2048, description="draws of (x, t, noise) for each final value; more follow where feasibility is undecided "
        "(`feasibility.draws`)",
        examples=["4096"],
    )  # fmt: skip
    metrics: list[Metric | ImportPath] = Field(
        list(shipped.BY_DEFAULT),
        description="metrics of the samples: shipped names, or import paths of functions `(Evidence) -> dict of floats`",
        examples=["[class_shares, frechet]"],
    )
    judge: JudgeSpec = Field(JudgeSpec(), description="the judge", examples=["{epochs: 30}"])
    grid: Annotated[int, Field(ge=0)] = Field(64, description="samples in the sample grid", examples=["64"])
