"""What detailed balance can align to: which objective, constraints and dual rules go with `dag` and `dag_kl`."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.schema.bound import Bound
from trainer.schema.dual import Dual
from trainer.schema.rollout import BALANCING, Rollout
from trainer.schema.word import Word


def check_balance(rollout: Rollout, objective: Word | None, constraints: Sequence[tuple[Word, Bound]], dual: Dual) -> None:
    """Refuses problems that are no tilted reference: the balance holds for exp(sum of rewards) times a reference, nothing else.

    Raises:
        ValueError: saying the key, what was received and the way out.
    """
    if rollout.gradient not in BALANCING:
        return
    if objective is None or not objective.anchors:
        raise ValueError(
            f"`objective` must be a KL to a reference with rollout.gradient {rollout.gradient}, but got "
            f"{objective.word if objective else 'none'}; leave it out, or use policy_gradient"
        )
    for position, (term, _) in enumerate(constraints):
        if term.source == "rollout" and not term.tilts:
            raise ValueError(
                f"`constraints.{position}` must be a reward with rollout.gradient {rollout.gradient}, but got {term.word}; "
                "drop it, or use policy_gradient"
            )
    if not any(term.tilts for term, _ in constraints):
        raise ValueError(
            f"`constraints` must hold a reward for rollout.gradient {rollout.gradient}, but got none; write one, or use "
            "backpropagation"
        )
    if rollout.reference == "noising":
        _check_free([bound for _, bound in constraints], dual)


def _check_free(bounds: Sequence[Bound], dual: Dual) -> None:
    """Without a closeness there is nothing to trade rewards against: their weights are given."""
    if dual.rule != "fixed":
        raise ValueError(
            f"`dual.rule` must be fixed with rollout.reference noising, where no closeness is priced, but got {dual.rule}; write "
            "rule: fixed with the rewards' weights as start, or reference: pretrained"
        )
    starts = dual.start.values() if isinstance(dual.start, dict) else [dual.start]
    if not any(starts):
        raise ValueError(
            "`dual.start` must give a reward some weight with rollout.reference noising, whose samples follow the rewards alone, "
            "but got 0; write e.g. start: 1.0"
        )
    if any(bound.relative_to for bound in bounds):
        raise ValueError(
            "`relative_to` must be left out with rollout.reference noising, which has no objective to compare with, but got "
            "objective; drop it"
        )
