"""What detailed balance can align to: which objective, constraints and dual rules go with `dag` and `dag_kl`."""

from __future__ import annotations

from collections.abc import Sequence

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.bound import Bound
from dualsweep.trainer.recipe.dual import Dual
from dualsweep.trainer.recipe.fields import RecipeFields
from dualsweep.trainer.recipe.rollout import BALANCING


def check_balance(recipe: RecipeFields) -> None:
    """Refuses problems that are no tilted reference: the balance holds for exp(sum of rewards) times a reference, nothing else.

    The reference may be that of the objective, with rewards bounded, or of a constraint, with a reward as the objective.

    Raises:
        ValueError: saying the key, what was received and the way out.
    """
    gradient, reference = recipe.rollout.gradient, recipe.rollout.reference
    if gradient not in BALANCING:
        return
    along = recipe.terms_on("rollout")
    anchors = [each for each in along if each.term.anchors]
    if len(anchors) != 1:
        raise RuleError(
            "rollout.gradient",
            f"{gradient} must have one KL to a reference, as objective or constraint",
            f"{len(anchors)}",
            "write one path_kl, or use policy_gradient",
        )
    if (anchor := anchors[0]).column and recipe.constraints[anchor.column - 1].kind != "at_most":
        raise RuleError(anchor.where, f"must be bounded by at_most with rollout.gradient {gradient}", "another", "change it")
    if other := [each for each in along if not (each.term.anchors or each.term.tilts)]:
        raise RuleError(
            f"{other[0].where}",
            f"must be a reward with rollout.gradient {gradient}",
            f"{other[0].term.word}",
            "drop it, or use policy_gradient",
        )
    if not any(each.term.tilts for each in along):
        raise RuleError(
            "constraints", f"must hold a reward for rollout.gradient {gradient}", "none", "write one, or use backpropagation"
        )
    if reference == "noising":
        _check_free(recipe.constraints, recipe.dual)


def _check_free(bounds: Sequence[Bound], dual: Dual) -> None:
    """Without a closeness there is nothing to trade rewards against: their weights are given."""
    if dual.rule != "fixed":
        raise RuleError(
            "dual.rule",
            "must be fixed with rollout.reference noising, where no closeness is priced",
            dual.rule,
            "write rule: fixed with the rewards' weights as start, or reference: pretrained",
        )
    starts = dual.start.values() if isinstance(dual.start, dict) else [dual.start]
    if not any(starts):
        raise RuleError(
            "dual.start",
            "must give a reward some weight with rollout.reference noising, whose samples follow the rewards alone",
            "0",
            "write e.g. start: 1.0",
        )
    if any(bound.relative_to for bound in bounds):
        raise RuleError(
            "relative_to",
            "must be left out with rollout.reference noising, which has no objective to compare with",
            "objective",
            "drop it",
        )
