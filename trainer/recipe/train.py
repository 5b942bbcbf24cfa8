"""The primal: optimiser, length, precision."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.base import Count, NotNegative, Positive, Section
from dualsweep.trainer.recipe.ema import Decay, Ema
from dualsweep.trainer.recipe.own_part import OwnPart, shipped_word


class Train(Section):
    """The primal: optimiser, length, precision."""

    steps: Count = Field(description="primal steps", examples=["1500"])
    batch_size: Count = Field(64, description="samples of a global batch, over all workers", examples=["64"])
    accumulate: Count = Field(
        1, description="parts in which a worker computes its share of a batch, so that the activations of one alone are kept",
        examples=["4"],
    )  # fmt: skip
    optimizer: Annotated[Literal["adamw"] | OwnPart, BeforeValidator(shipped_word)] = Field(
        "adamw",
        description="`adamw`, or the import path of another, `{call: torch.optim:Muon, options: {momentum: 0.9}}`: a class, or a "
        "function of yours, that takes (parameters, lr=…) and its options",
        examples=["adamw"],
    )
    lr: Positive = Field(1e-3, description="learning rate", examples=["2.0e-3"])
    lr_schedule: Literal["constant", "cosine", "wsd"] = Field(
        "constant", description="how the learning rate falls; `wsd`: warm-up, stable, then linear decay", examples=["wsd"]
    )
    lr_cooldown: Annotated[FiniteFloat, Field(gt=0, le=1)] = Field(
        0.4, description="the last share of the run over which the rate of `wsd` falls, to 2 % of it", examples=["0.4"]
    )
    lr_warmup: Annotated[int, Field(ge=0)] = Field(0, description="steps over which the learning rate rises", examples=["100"])
    weight_decay: NotNegative = Field(0.0, description="weight decay of AdamW", examples=["0.01"])
    clip: Positive | None = Field(1.0, description="the largest norm of the gradient, or null", examples=["1.0"])
    ema: Decay | Ema = Field(
        0.995, description="the decay of the averaged weights; or with a ramp, `{decay: 0.9999, rampup: 0.05}`, or by a power of "
        "the updates, `{sigma_rel: 0.1}`",
        examples=["0.995"],
    )  # fmt: skip
    loss_weight: Literal["simple", "min_snr", "elbo", "edm"] = Field(
        "simple", description="the weight of each timestep: 1 on what the network predicts; `min_snr`; `elbo`: losses are in "
        "nats; `edm`: that of EDM, whose timesteps are drawn by a lognormal sigma, as with `simple` where the schedule is edm's",
        examples=["simple"],
    )  # fmt: skip
    offset_noise: NotNegative = Field(
        0.0, description="the standard deviation of what is added to each whole channel of the noise, in training and in final "
        "values, for samples that are brighter or darker than the data's mean",
        examples=["0.1"],
    )  # fmt: skip
    batches: Literal["mixture", "separate"] = Field(
        "mixture", description="`mixture`: one batch from the mixture over all distributions; `separate`: one batch for each",
        examples=["mixture"],
    )  # fmt: skip
    condition_dropout: Annotated[FiniteFloat, Field(ge=0, lt=1)] = Field(
        0.0,
        description="with `model.condition`, the probability with which an example of a step is shown without its condition, "
        "from which guidance leads away",
        examples=["0.1"],
    )
    floor: Count = Field(2, description="samples that each constraint has in every mixture batch, at least", examples=["2"])
    constraint_batch: Count = Field(
        16, description="samples of each constraint's batch with `batches: separate`", examples=["16"]
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="the precision of the forward pass; `auto`: bf16 where the GPU has it; `fp16`, for GPUs without it, "
        "scales gradients", examples=["auto"],
    )  # fmt: skip
    checkpointing: bool = Field(
        False, description="true to compute the activations of the network's blocks again instead of keeping them: less memory, "
        "more time", examples=["true"],
    )  # fmt: skip
    compile: bool = Field(
        False, description="true to compile the trained network by torch.compile: slower to start, then faster", examples=["true"]
    )
    log_every: Count = Field(10, description="primal steps between two points of the metrics", examples=["10"])

    @model_validator(mode="after")
    def _one_learning_rate(self) -> Self:
        if isinstance(self.optimizer, OwnPart) and "lr" in self.optimizer.options:
            rule, rate = "must be left to train.lr, which schedules change", self.optimizer.options["lr"]
            raise RuleError("optimizer.options.lr", rule, rate, "drop it, and write train.lr")
        return self
