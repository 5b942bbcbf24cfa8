"""The formulations (method.md §2): which terms each has for its objective and may have for its constraints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

Formulation = Literal[
    "constrained_training",
    "constrained_fine_tuning",
    "alignment",
    "composition_and",
    "composition_or",
    "concept_composition",
    "combined",
]


@dataclass(frozen=True)
class Shape:
    """objective: what is minimised unless the recipe says so; None on the simplex, where it is the largest value.

    sources: on what its terms may be evaluated. pretrained: whether the model must be one that was trained before.
    simplex: whether the multipliers are weights that sum to one.
    """

    objective: Mapping[str, Any] | None
    sources: frozenset[str]
    pretrained: bool = False
    simplex: bool = False


SHAPES: Mapping[Formulation, Shape] = MappingProxyType(
    {
        "constrained_training": Shape({"data": {"all": True}}, frozenset({"data"})),
        "constrained_fine_tuning": Shape({"data": {"all": True}}, frozenset({"data"}), pretrained=True),
        "alignment": Shape({"path_kl": {}}, frozenset({"rollout"}), pretrained=True),
        "composition_and": Shape(None, frozenset({"product"}), simplex=True),
        "composition_or": Shape(None, frozenset({"data"}), simplex=True),
        "concept_composition": Shape(None, frozenset({"rollout"}), simplex=True),
        "combined": Shape({"path_kl": {}}, frozenset({"data", "rollout"}), pretrained=True),
    }
)
