"""Point-wise KL to a frozen model, KL(p || q) between the distributions of samples ([CCA] Lemma 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from trainer.schema.base import Name, Section
from trainer.schema.word import Word

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.losses import Noised
    from trainer.models.predictor import Predictor


class KLSpec(Section):
    """KL(p || q) of the trained model p to a frozen model q, in nats, on noised samples of p."""

    to: Name = Field(description="the frozen model q, a name of `models`", examples=["left"])


@dataclass(frozen=True, eq=False)
class KL:
    """T omega_t |eps_p - eps_q|^2, whose mean over timesteps and noised samples of p is the KL."""

    model: Predictor

    def values(self, prediction: Tensor, noised: Noised) -> Tensor:
        """Per-sample values [B] in nats from predictions [B, *shape] of p."""
        from trainer.losses import distances

        return distances(self.model, prediction, noised, "elbo")


TERM = Word(
    word="kl",
    value=KLSpec,
    source="product",
    build=lambda value, setting: KL(setting.frozen[value.to]),
    description="the point-wise KL to a frozen model, in nats, for the composition of models",
    example="{to: left}",
    models=lambda value: (value.to,),
)
