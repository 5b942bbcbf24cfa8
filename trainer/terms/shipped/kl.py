"""Point-wise KL to a frozen model, KL(p || q) between the distributions of samples ([CCA] Lemma 2)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.recipe.base import Name, Section
from dualsweep.trainer.recipe.term_spec import Seen, TermSpec

if TYPE_CHECKING:
    from torch import Tensor

    from dualsweep.trainer.models.predictor import Predictor
    from dualsweep.trainer.terms.context import TermContext
    from dualsweep.trainer.terms.losses import Noised


class KLSpec(Section):
    """KL(p || q) of the trained model p to a frozen model q, in nats, on noised samples of p.

    With `timestep` it is KL(p_t || q_t) of the two noised to that timestep t, which is at most KL(p || q) (data processing).
    Between networks that were trained apart the sum over the cleanest timesteps is mostly their errors; noise covers them.
    """

    to: Name = Field(description="the frozen model q, a name of `models`", examples=["left"])
    timestep: Annotated[int, Field(ge=0)] = Field(
        0,
        description="the timestep to which both are noised, where the sum over timesteps starts; 0: not noised",
        examples=["20"],
    )


@dataclass(frozen=True, eq=False)
class KL:
    """T omega_t |eps_p - eps_q|^2 from timestep `timestep`, whose mean over timesteps and noised samples of p is the KL."""

    model: Predictor
    timestep: int = 0

    def values(self, prediction: Tensor, noised: Noised) -> Tensor:
        """Per-sample values [B] in nats from predictions [B, *shape] of p."""
        from dualsweep.trainer.terms.losses import distances

        return distances(self.model, prediction, noised, "elbo", self.timestep)


def _build(value: KLSpec, setting: TermContext) -> KL:
    from dualsweep.trainer.errors import TrainingError

    timesteps = setting.schedule.config.num_train_timesteps
    if value.timestep > timesteps - 2:
        raise TrainingError(
            f"`kl.timestep` must be below {timesteps - 1}, the noisiest timestep, but got {value.timestep}; lower it"
        )
    return KL(setting.frozen[value.to], value.timestep)


def _faults(value: KLSpec, seen: Seen) -> Iterator[Diagnostic]:
    if seen.timesteps is not None and value.timestep > seen.timesteps - 2:
        rule = f"must be below the schedule's noisiest timestep, {seen.timesteps - 1}"
        yield Diagnostic((*seen.keys, "timestep"), rule, str(value.timestep), "lower it")


TERM = TermSpec(
    word="kl",
    value=KLSpec,
    source="product",
    build=_build,
    description="the point-wise KL to a frozen model, in nats, for the composition of models",
    example="{to: left}",
    models=lambda value: (value.to,),
    faults=_faults,
    between=lambda value: (0.0, math.inf),
)
