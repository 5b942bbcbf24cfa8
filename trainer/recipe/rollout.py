"""How the trained model's own sampling trajectories are drawn, and how their terms reach its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.base import Count, Fraction, Positive, Section
from dualsweep.trainer.recipe.own_part import OwnPart, shipped_word
from dualsweep.trainer.sources.estimators import NAMES

if TYPE_CHECKING:
    Gradient = str
else:
    Gradient = Literal[NAMES]

#: The estimators that balance flows.
BALANCING = ("dag", "dag_kl")


class Truncation(Section):
    """Through how many of the last sampling steps with noise rewards are backpropagated (AlignProp, arXiv 2310.03739, §4.2)."""

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
            raise RuleError("steps", f"must be given with kind {self.kind}", "nothing", "write e.g. steps: 5")
        return self


class FlowSpec(Section):
    """The flow of `dag` and `dag_kl` (docs/method.md): a small network beside the model, never part of what is delivered."""

    width: Count = Field(64, description="its width: units of a layer, or channels for images", examples=["64"])
    lr: Positive = Field(1e-3, description="its learning rate, on the schedule of `train.lr`", examples=["3.0e-3"])
    look_ahead: Literal["constant", "signal", "none"] = Field(
        "signal", description="the weight of the reward of the predicted sample in the flow: 1, the share of signal (the "
        "cumulative alpha), or none; but for none, each step of a trajectory costs an evaluation of the rewards",
        examples=["constant"],
    )  # fmt: skip
    trace: Fraction = Field(
        0.9, description="how far residuals reach back in learning the flow: 0: one step; 1: the whole trajectory",
        examples=["0.9"],
    )  # fmt: skip


class Rollout(Section):
    """Sampling while training: for path-wise KLs and rewards."""

    steps: Count = Field(15, description="steps of the sampler, the last without noise", examples=["15"])
    batch_size: Count = Field(64, description="trajectories of a primal step, over all workers", examples=["64"])
    eta: Annotated[FiniteFloat, Field(ge=0, le=1)] = Field(
        1.0, description="noise of the sampler: 1 is ancestral (DDPM); less keeps a part of the start, which no reward tilts; 0 "
        "is deterministic (DDIM), whose path KL is infinite", examples=["1.0"],
    )  # fmt: skip
    gradient: Annotated[Gradient | OwnPart, BeforeValidator(shipped_word)] = Field(
        "backpropagation",
        description="how rewards reach the weights: through the sampler, or, for black boxes, by their likelihood ratio "
        "(policy_gradient) or by detailed balance with a learned flow (dag, dag_kl); or your own estimator by "
        "{call: module:Estimator} (docs/your-own.md)",
        examples=["policy_gradient"],
    )
    reference: Literal["pretrained", "noising"] = Field(
        "pretrained",
        description="what dag and dag_kl balance against: the objective's frozen model, or the noising process, for which "
        "samples follow exp(sum of multiplier x reward) alone",
        examples=["pretrained"],
    )
    flow: FlowSpec = Field(FlowSpec(), description="for dag and dag_kl", examples=["{width: 64}"])
    truncation: Truncation = Field(Truncation(), description="for backpropagation", examples=["{kind: uniform}"])
    activation_checkpointing: bool = Field(
        False, description="true to compute activations again instead of keeping them: less memory, more time", examples=["true"]
    )
    updates: Count = Field(
        1, description="for policy_gradient, dag and dag_kl: updates of the weights on each batch of trajectories", examples=["4"]
    )
    clip_range: Positive = Field(
        0.2, description="for policy_gradient and dag_kl: the range of the clipped likelihood ratio", examples=["0.2"]
    )
    normalize: bool = Field(
        True, description="rewards in units of their standard deviation, from their mean, under the pretrained model",
        examples=["false"],
    )  # fmt: skip
    normalization_samples: Annotated[int, Field(ge=16)] | None = Field(
        None, description="samples of the pretrained model from which these are taken; by default 4 for each of "
        "`evaluation.loss_draws`, so that the error of the scale is half of the rest of a final value's",
        examples=["8192"],
    )  # fmt: skip

    @model_validator(mode="after")
    def _has_densities(self) -> Self:
        if self.gradient != "backpropagation" and self.eta == 0:
            raise RuleError(
                "eta", f"must be above 0 with gradient {self.gradient}, which needs densities of the steps", "0", "write eta: 1.0"
            )
        if self.reference == "noising" and self.gradient not in BALANCING:
            raise RuleError(
                "reference",
                f"must be pretrained with gradient {self.gradient}",
                "noising",
                f"drop it, or use gradient {' or '.join(BALANCING)}",
            )
        return self
