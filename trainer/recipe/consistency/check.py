"""Whether the parts of a recipe fit together. Each rule stands alone; what breaks any of them is told at once."""

from __future__ import annotations

from collections.abc import Callable

from dualsweep.trainer.config.diagnostics import Diagnostic, RuleError, RulesError
from dualsweep.trainer.recipe.consistency.amortised import check_amortised
from dualsweep.trainer.recipe.consistency.balance import check_balance
from dualsweep.trainer.recipe.consistency.composition import (
    composition_is_of_what_is_there,
    nothing_is_trained,
    parts_are_noised_alike,
)
from dualsweep.trainer.recipe.consistency.feasibility import check_feasibility, held_out_values_are_on_data
from dualsweep.trainer.recipe.consistency.monitoring import (
    bands_have_held_out_data,
    looks_have_a_point,
    one_model_is_looked_at,
)
from dualsweep.trainer.recipe.consistency.multipliers import (
    bounds_fit_the_dual,
    newton_needs_a_chain_that_forgets,
    newton_needs_one_tilted_law,
    rule_fits_the_formulation,
    start_fits_the_dual,
    starts_are_within_the_cap,
    starts_leave_the_objective_some,
)
from dualsweep.trainer.recipe.consistency.shards import (
    evaluation_holds_every_shard,
    shards_are_of_several_workers,
    shards_fit_what_is_trained,
)
from dualsweep.trainer.recipe.consistency.shares import shares_are_shares, shares_have_a_judge, shares_sum_to_one
from dualsweep.trainer.recipe.consistency.sizes import (
    accumulation_divides_batches,
    batch_holds_every_term,
    batch_holds_every_worker,
    black_boxes_need_noise,
    data_fit_the_terms,
    gpus_fit_the_workers,
    levels_are_drawn_as_weighted,
    offsets_are_no_noise_of_a_likelihood,
    samplers_fit_the_schedule,
    steps_end_with_a_dual_step,
    updates_are_of_black_boxes,
)
from dualsweep.trainer.recipe.consistency.terms import (
    condition_fits,
    guidance_is_learned,
    guided_is_no_score,
    maximised_is_a_reward,
    model_fits_the_formulation,
    models_are_known,
    names_are_unique,
    objective_fits_the_formulation,
    prompts_are_as_many,
    prompts_fit_the_terms,
    sampler_has_noise,
    terms_fit_the_formulation,
)
from dualsweep.trainer.recipe.fields import RecipeFields


def check_fit(recipe: RecipeFields, stored: bool = False) -> None:
    """Holds a recipe against every rule over several of its sections; one that a run has stored, not against those since.

    Raises:
        RulesError: with a diagnostic for each rule that is broken.
    """
    broken: list[Diagnostic] = []
    for rule in RULES if stored else (*RULES, *SINCE):
        try:
            rule(recipe)
        except RuleError as error:
            broken += error.diagnostics
    if broken:
        raise RulesError(broken)


RULES: tuple[Callable[[RecipeFields], None], ...] = (
    names_are_unique, bounds_fit_the_dual, start_fits_the_dual, models_are_known, rule_fits_the_formulation,
    objective_fits_the_formulation,
    maximised_is_a_reward, composition_is_of_what_is_there, nothing_is_trained, guided_is_no_score,
    terms_fit_the_formulation, sampler_has_noise, model_fits_the_formulation, data_fit_the_terms, check_balance,
    samplers_fit_the_schedule, prompts_fit_the_terms, condition_fits, prompts_are_as_many,
    batch_holds_every_term, batch_holds_every_worker,
    accumulation_divides_batches,
    levels_are_drawn_as_weighted, offsets_are_no_noise_of_a_likelihood,
    steps_end_with_a_dual_step, check_amortised, check_feasibility,
    shards_are_of_several_workers, shards_fit_what_is_trained, evaluation_holds_every_shard,
    shares_are_shares, shares_sum_to_one, shares_have_a_judge,
    looks_have_a_point, bands_have_held_out_data, one_model_is_looked_at,
)  # fmt: skip
#: Those that runs may have stored recipes before, which are still to be read.
SINCE: tuple[Callable[[RecipeFields], None], ...] = (
    newton_needs_a_chain_that_forgets,
    newton_needs_one_tilted_law,
    black_boxes_need_noise,
    updates_are_of_black_boxes,
    starts_leave_the_objective_some,
    starts_are_within_the_cap,
    parts_are_noised_alike,
    guidance_is_learned,
    gpus_fit_the_workers,
    held_out_values_are_on_data,
)
