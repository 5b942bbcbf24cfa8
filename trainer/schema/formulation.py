"""The formulations (method.md §2): which terms each has for its objective and may have for its constraints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

Formulation = Literal["constrained_training", "constrained_fine_tuning", "alignment", "combined"]


@dataclass(frozen=True)
class Shape:
    """objective: what is minimised unless the recipe says so. sources: on what its terms may be evaluated.

    pretrained: whether the model must be one that was trained before.
    """

    objective: Mapping[str, Any]
    sources: frozenset[str]
    pretrained: bool = False


SHAPES: Mapping[Formulation, Shape] = MappingProxyType(
    {
        "constrained_training": Shape({"data": {"all": True}}, frozenset({"data"})),
        "constrained_fine_tuning": Shape({"data": {"all": True}}, frozenset({"data"}), pretrained=True),
        "alignment": Shape({"path_kl": {}}, frozenset({"rollout"}), pretrained=True),
        "combined": Shape({"path_kl": {}}, frozenset({"data", "rollout"}), pretrained=True),
    }
)
