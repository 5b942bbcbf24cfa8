"""How the trained model's own sampling trajectories are drawn, and how their terms reach its weights."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from trainer.schema.base import Count, Positive, Section


class Truncation(Section):
    """Through how many of the last sampling steps rewards are backpropagated (AlignProp, arXiv 2310.03739, §4.2)."""

    kind: Literal["none", "fixed", "uniform", "gaussian"] = Field(
        "none",
        description="`none`: all steps; `fixed`: the last `steps`; `uniform`: a number drawn from 1 to `steps` each time; "
        "`gaussian`: drawn around `steps` with deviation `spread`",
        examples=["uniform"],
    )
    steps: Count | None = Field(
        None, description="the number, or its upper end or centre; all steps unless given", examples=["5"]
    )
    spread: Positive = Field(1.0, description="the standard deviation of `gaussian`, in steps", examples=["2.0"])

    @model_validator(mode="after")
    def _has_steps(self) -> Self:
        if self.kind in ("fixed", "gaussian") and self.steps is None:
            raise ValueError(f"`steps` must be given with kind {self.kind}, but got nothing; write e.g. steps: 5")
        return self


class Rollout(Section):
    """Sampling while training: for path-wise KLs and rewards."""

    steps: Count = Field(15, description="steps of the sampler", examples=["15"])
    batch_size: Count = Field(64, description="trajectories of a primal step, over all workers", examples=["64"])
    eta: Annotated[FiniteFloat, Field(ge=0, le=1)] = Field(
        1.0, description="noise of the sampler: 1 is ancestral (DDPM); 0 is deterministic (DDIM), whose path KL is infinite",
        examples=["1.0"],
    )  # fmt: skip
    gradient: Literal["backpropagation", "policy_gradient"] = Field(
        "backpropagation",
        description="how rewards reach the weights: through the sampler, or by their likelihood ratio, for black boxes",
        examples=["policy_gradient"],
    )
    truncation: Truncation = Field(Truncation(), description="for backpropagation", examples=["{kind: uniform}"])
    activation_checkpointing: bool = Field(
        False, description="true to compute activations again instead of keeping them: less memory, more time", examples=["true"]
    )
    updates: Count = Field(
        1, description="for policy_gradient: updates of the weights on each batch of trajectories", examples=["4"]
    )
    clip_range: Positive = Field(
        0.2, description="for policy_gradient: the range of the clipped likelihood ratio", examples=["0.2"]
    )
    normalize: bool = Field(
        True, description="rewards in units of their standard deviation, from their mean, under the pretrained model",
        examples=["false"],
    )  # fmt: skip
    normalization_samples: Annotated[int, Field(ge=16)] = Field(
        1024, description="samples of the pretrained model from which these are taken", examples=["1024"]
    )
