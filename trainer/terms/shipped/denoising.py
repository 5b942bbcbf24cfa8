"""The denoising loss on the data, or on a part of it: [CDM] §3, the objective f = E_q l and constraints g_i = E_{q_i} l."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dualsweep.trainer.recipe.data import Subset
from dualsweep.trainer.recipe.term_spec import Everything, ImportPaths, Population, TermSpec

if TYPE_CHECKING:
    from torch import Tensor

    from dualsweep.trainer.terms.losses import Noised


@dataclass(frozen=True)
class Denoising:
    """w_t * mean over dimensions of |target - prediction|^2, the target being the noise or the velocity."""

    weight: str

    def values(self, prediction: Tensor, noised: Noised) -> Tensor:
        """Per-sample losses [B] from predictions [B, *shape]."""
        from dualsweep.trainer.terms.losses import weighted_errors

        return weighted_errors(noised.schedule, prediction, noised.target, noised.t, self.weight)


def _population(value: Subset) -> Population:
    return Everything() if value.all else value


def _import_paths(value: Subset) -> ImportPaths:
    return ((("call",), value.call, (0, 1)),) if value.call is not None else ()


TERM = TermSpec(
    word="data",
    value=Subset,
    source="data",
    build=lambda value, setting: Denoising(setting.train.loss_weight),
    description="the data whose expected denoising loss this is",
    example="{classes: [4]}",
    population=_population,
    import_paths=_import_paths,
    between=lambda value: (0.0, math.inf),
)
