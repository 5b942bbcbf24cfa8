"""Each rule over several sections of a recipe: what it takes, what it refuses, and the key that it names."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from dualsweep.trainer.config.diagnostics import RuleError, RulesError
from dualsweep.trainer.models.schedules import noise_schedule
from dualsweep.trainer.recipe.consistency import (
    amortised,
    balance,
    composition,
    feasibility,
    monitoring,
    multipliers,
    shards,
    shares,
    sizes,
    terms,
)
from dualsweep.trainer.recipe.consistency.check import RULES, SINCE, check_fit
from dualsweep.trainer.recipe.fields import RecipeFields
from dualsweep.trainer.samplers.chain import steps_of
from tests.trainer.recipes import digits

Plain = dict[str, Any]
REWARD: Plain = {"name": "bright", "reward": "brightness", "at_least": 0.2}
CLASSES: Plain = {"name": "four", "data": {"classes": [4]}, "at_most": 0.5}
PATH_KL: Plain = {"name": "near", "path_kl": {}, "at_most": 1.0}
DATA: Plain = {
    "name": "x", "formulation": "constrained_training", "model": {"unet": {"channels": [8]}}, "data": {"source": "digits"},
    "constraints": [CLASSES], "train": {"steps": 20, "batch_size": 16},
}  # fmt: skip
ALIGNMENT: Plain = {
    "name": "x", "formulation": "alignment", "model": {"load": "runs/a"}, "constraints": [REWARD], "train": {"steps": 20},
}  # fmt: skip
AND: Plain = {
    "name": "x", "formulation": "composition_and", "model": {"call": "a:b", "shape": [2]},
    "models": {"a": {"call": "a:b"}, "b": {"call": "a:b"}}, "constraints": [{"name": n, "kl": {"to": n}} for n in "ab"],
    "dual": {"rule": "simplex"}, "train": {"steps": 20},
}  # fmt: skip
COMPOSED: Plain = {**AND, "model": {"compose": {"of": ["a", "b"]}, "shape": [2]}}
CONCEPTS: Plain = {
    "name": "x", "formulation": "concept_composition",
    "model": {"compose": {"of": ["a", "b"], "guidance": 7.5}},
    "models": {name: {"load": "runs/all", "label": place} for place, name in enumerate("ab")},
    "constraints": [{"name": name, "path_kl": {"to": name}} for name in "ab"], "dual": {"rule": "simplex"},
    "train": {"steps": 20},
}  # fmt: skip


class Breach(NamedTuple):
    """A recipe that the rule takes, what is changed of its sections, and the key that the rule then names."""

    rule: Callable[[RecipeFields], None]
    taken: Plain
    change: Plain
    key: str


def two(*constraints: Plain) -> Plain:
    return {"constraints": list(constraints)}


#: The objective keeps a tenth.
RELATIVE: Plain = {
    **DATA, **two(*({"name": each, "data": {"classes": [number]}, "at_most": 0.0, "relative_to": "objective"}
                    for each, number in (("four", 4), ("five", 5)))), "dual": {"start": 0.45},
}  # fmt: skip
NEWTON: Plain = {**ALIGNMENT, "dual": {"rule": "newton"}, "schedule": {"name": "linear", "timesteps": 400}}
BALANCED: Plain = {**ALIGNMENT, "rollout": {"gradient": "dag"}}
FREE: Plain = {
    **ALIGNMENT, "rollout": {"gradient": "dag", "reference": "noising"}, "dual": {"rule": "fixed", "start": 1.0},
}  # fmt: skip
AMORTISED: Plain = {**DATA, "amortised": {"multipliers": {"low": 0.1, "high": 1.0}}}
GREATEST: Plain = {**ALIGNMENT, "objective": {"reward": "brightness", "maximize": True}, "constraints": [PATH_KL]}
SHARP: Plain = {
    **DATA,
    "data": {"source": "digits", "holdout": 0.1},
    "feasibility": {"on": "held_out", "tolerance": {"four": 0.1}},
}
BANDS: Plain = {**SHARP, "monitor": {"every": 10, "bands": 4}}
COMPARED: Plain = {"name": "a", "reward": "brightness", "at_most": 0.2, "relative_to": "objective"}
UNGUIDED: Plain = {"model": {"compose": {"of": ["a", "b"]}}}
EQUAL: Plain = {"name": "four", "data": {"classes": [4]}, "equals": 0.1}
SHARED_OUT: Plain = {"resources": {"workers": 3, "parallel": "fsdp"}}
SHARDED: Plain = {**DATA, **SHARED_OUT}
SHORT: Plain = {**ALIGNMENT, "schedule": {"timesteps": 15}}
FOUR: Plain = {"name": "four", "share": {"of": 4}, "at_least": 0.4}
SHARED: Plain = {
    **ALIGNMENT, "data": {"source": "digits"}, "constraints": [FOUR, {"name": "five", "share": {"of": 5}, "at_least": 0.6}],
}  # fmt: skip
OWN: Plain = {"of": "old", "judge": "a:b", "calibration": "a:c"}
UNSEEN: Plain = {**ALIGNMENT, "constraints": [{"name": "old", "share": OWN, "at_least": 0.4}]}
BREACHES = [
    Breach(terms.names_are_unique, DATA, two(CLASSES, CLASSES), "constraints.1.name"),
    Breach(terms.models_are_known, AND, {"models": {"a": {"call": "a:b"}}}, "constraints.1.kl"),
    Breach(terms.objective_fits_the_formulation, AND, {"objective": {"kl": {"to": "a"}}}, "objective"),
    Breach(terms.maximised_is_a_reward, GREATEST, {"objective": {"path_kl": {}, "maximize": True}}, "objective.maximize"),
    Breach(
        terms.maximised_is_a_reward, GREATEST, two(PATH_KL, {**PATH_KL, "name": "b", "relative_to": "objective"}),
        "constraints.1.relative_to",
    ),
    Breach(terms.terms_fit_the_formulation, DATA, two(CLASSES, REWARD), "constraints.1.reward"),
    Breach(terms.sampler_has_noise, ALIGNMENT, {"rollout": {"eta": 0.0}}, "rollout.eta"),
    Breach(terms.model_fits_the_formulation, ALIGNMENT, {"model": {"unet": {}}}, "model"),
    Breach(terms.guided_is_no_score, CONCEPTS, {"evaluation": {"sampler": "langevin"}}, "evaluation.sampler"),
    Breach(terms.prompts_fit_the_terms, DATA, {"model": {"load": "runs/a", "prompts": ["a", "b"]}}, "model.prompts"),
    Breach(
        terms.prompts_are_as_many, {**ALIGNMENT, "model": {"load": "runs/a", "prompts": ["a", "b"]}},
        {"models": {"pretrained": {"load": "runs/a", "prompts": ["a", "b", "c"]}}}, "models.pretrained.prompts",
    ),
    Breach(sizes.data_fit_the_terms, DATA, {"data": None}, "data"),
    Breach(sizes.data_fit_the_terms, AND, {"model": {"call": "a:b"}}, "model.shape"),
    Breach(sizes.data_fit_the_terms, ALIGNMENT, {"data": {"source": "digits", "balance": True}}, "data.balance"),
    Breach(sizes.samplers_fit_the_schedule, {**DATA, "schedule": {"timesteps": 20}}, {"evaluation": {"sample_steps": 21}},
           "evaluation.sample_steps"),
    Breach(
        sizes.samplers_fit_the_schedule, {**DATA, "schedule": {"timesteps": 20}, "monitor": {"every": 5}},
        {"evaluation": {"samples": 0, "sample_steps": 21}}, "evaluation.sample_steps",
    ),
    Breach(sizes.samplers_fit_the_schedule, SHORT, {"rollout": {"steps": 16}}, "rollout.steps"),
    Breach(
        sizes.batch_holds_every_term, {**DATA, "train": {"steps": 20, "batch_size": 5, "floor": 4}},
        {"train": {"steps": 20, "batch_size": 4, "floor": 4}}, "train.batch_size",
    ),
    Breach(
        sizes.batch_holds_every_worker, {**DATA, "resources": {"workers": 16}}, {"resources": {"workers": 17}},
        "train.batch_size",
    ),
    Breach(
        sizes.batch_holds_every_worker, {**DATA, "resources": {"workers": [1, 16]}}, {"resources": {"workers": [1, 17]}},
        "train.batch_size",
    ),
    Breach(
        sizes.batch_holds_every_worker, {**ALIGNMENT, "resources": {"workers": 64}}, {"resources": {"workers": 65}},
        "rollout.batch_size",
    ),
    Breach(
        sizes.gpus_fit_the_workers, {**DATA, "resources": {"workers": 1, "gpus_per_worker": 0.5}},
        {"resources": {"workers": 2, "gpus_per_worker": 0.5}}, "resources.gpus_per_worker",
    ),
    Breach(
        sizes.gpus_fit_the_workers, {**DATA, "resources": {"workers": [1, 4], "gpus_per_worker": 1}},
        {"resources": {"workers": [1, 4], "gpus_per_worker": 0.25}}, "resources.gpus_per_worker",
    ),
    Breach(
        sizes.gpus_fit_the_workers, {**DATA, "resources": {"gpus_per_worker": 2}}, {"resources": {"gpus_per_worker": 1.5}},
        "resources.gpus_per_worker",
    ),
    Breach(
        sizes.accumulation_divides_batches, {**DATA, "resources": {"workers": 2}, "train": {"steps": 20, "accumulate": 32}},
        {"train": {"steps": 20, "accumulate": 33}}, "train.accumulate",
    ),
    Breach(sizes.accumulation_divides_batches, ALIGNMENT, {"train": {"steps": 20, "accumulate": 2}}, "train.accumulate"),
    Breach(
        sizes.levels_are_drawn_as_weighted, {**DATA, "schedule": {"name": "edm", "p_std": 1.0}},
        {"train": {"steps": 20, "loss_weight": "elbo"}}, "schedule.p_std",
    ),
    Breach(
        sizes.offsets_are_no_noise_of_a_likelihood, {**DATA, "train": {"steps": 20, "offset_noise": 0.1}},
        {"train": {"steps": 20, "offset_noise": 0.1, "loss_weight": "elbo"}}, "train.offset_noise",
    ),
    Breach(
        sizes.offsets_are_no_noise_of_a_likelihood, AND, {"train": {"steps": 20, "offset_noise": 0.1}}, "train.offset_noise",
    ),
    Breach(sizes.steps_end_with_a_dual_step, {**DATA, "dual": {"every": 10}}, {"dual": {"every": 7}}, "train.steps"),
    Breach(
        sizes.updates_are_of_black_boxes, {**ALIGNMENT, "rollout": {"gradient": "policy_gradient", "updates": 2}},
        {"rollout": {"updates": 2}}, "rollout.updates",
    ),
    Breach(
        sizes.black_boxes_need_noise, {**ALIGNMENT, "rollout": {"gradient": "policy_gradient", "steps": 2}},
        {"rollout": {"gradient": "policy_gradient", "steps": 1}}, "rollout.steps",
    ),
    Breach(multipliers.bounds_fit_the_dual, DATA, {"dual": {"step_size": {"fife": 0.1}}}, "dual.step_size"),
    Breach(
        multipliers.start_fits_the_dual, {**DATA, "start": {"from": "runs/a"}},
        {"start": {"from": "runs/a", "multipliers": {"fife": 1.0}}}, "start.multipliers",
    ),
    Breach(multipliers.starts_leave_the_objective_some, RELATIVE, {"dual": {"rule": "fixed", "start": 0.5}}, "dual.start"),
    Breach(
        multipliers.starts_leave_the_objective_some, RELATIVE, {"dual": {"start": {"four": 0.3, "five": 0.7}}},
        "dual.start",
    ),
    Breach(multipliers.starts_are_within_the_cap, DATA, {"dual": {"start": 11.0}}, "dual.start"),
    Breach(multipliers.starts_are_within_the_cap, DATA, {"dual": {"start": {"four": 3.0}, "cap": 2.0}}, "dual.start.four"),
    Breach(
        multipliers.starts_are_within_the_cap, {**DATA, "start": {"from": "runs/a"}},
        {"start": {"from": "runs/a", "multipliers": {"four": 50.0}}}, "start.multipliers.four",
    ),
    Breach(
        multipliers.starts_leave_the_objective_some, {**RELATIVE, "start": {"from": "runs/a"}},
        {"start": {"from": "runs/a", "multipliers": {"four": 0.6, "five": 0.5}}}, "start.multipliers",
    ),
    Breach(composition.parts_are_noised_alike, COMPOSED,
           {"constraints": [{"name": n, "kl": {"to": n, "timestep": at}} for n, at in zip("ab", (20, 0), strict=True)]},
           "constraints.1.kl.timestep"),
    Breach(multipliers.rule_fits_the_formulation, DATA, {"dual": {"rule": "simplex"}}, "dual.rule"),
    Breach(multipliers.rule_fits_the_formulation, AND, {"dual": {"rule": "ascent"}}, "dual.rule"),
    Breach(multipliers.rule_fits_the_formulation, DATA, {"dual": {"rule": "newton"}}, "dual.rule"),
    Breach(multipliers.newton_needs_a_chain_that_forgets, NEWTON, {"rollout": {"eta": 0.9}}, "rollout.eta"),
    Breach(
        multipliers.newton_needs_a_chain_that_forgets, NEWTON, {"schedule": {"name": "linear", "timesteps": 399}},
        "schedule.timesteps",
    ),
    Breach(multipliers.newton_needs_one_tilted_law, NEWTON, {"model": {"load": "runs/a", "prompts": ["a", "b"]}}, "dual.rule"),
    Breach(multipliers.newton_needs_one_tilted_law, NEWTON, {"model": {"load": "runs/a", "condition": "labels"}}, "dual.rule"),
    Breach(
        multipliers.newton_needs_one_tilted_law, NEWTON, two(REWARD, COMPARED), "constraints.1.relative_to",
    ),
    Breach(balance.check_balance, BALANCED, two(REWARD, PATH_KL), "rollout.gradient"),
    Breach(balance.check_balance, {**GREATEST, "rollout": {"gradient": "dag"}},
           two({"name": "near", "path_kl": {}, "at_least": 1.0}), "constraints.0.path_kl"),
    Breach(balance.check_balance, BALANCED, {"constraints": []}, "constraints"),
    Breach(balance.check_balance, FREE, {"dual": {"rule": "ascent"}}, "dual.rule"),
    Breach(balance.check_balance, FREE, {"dual": {"rule": "fixed"}}, "dual.start"),
    Breach(balance.check_balance, FREE, two(COMPARED), "relative_to"),
    Breach(composition.composition_is_of_what_is_there, COMPOSED, {"model": {"compose": {"of": ["a", "c"]}}}, "model.compose.of"),
    Breach(composition.composition_is_of_what_is_there, COMPOSED, two({"name": "a", "kl": {"to": "a"}}), "model.compose.of"),
    Breach(
        composition.composition_is_of_what_is_there, COMPOSED, two(*({"name": n, "kl": {"to": "a"}} for n in "ab")),
        "constraints.1.kl",
    ),
    Breach(composition.composition_is_of_what_is_there, COMPOSED, {"formulation": "composition_or"}, "formulation"),
    Breach(
        composition.composition_is_of_what_is_there, COMPOSED, {"model": {"compose": {"of": ["a", "b"], "guidance": 2.0}}},
        "model.compose.guidance",
    ),
    Breach(
        composition.composition_is_of_what_is_there, CONCEPTS, UNGUIDED, "model.compose.guidance",
    ),
    Breach(
        composition.composition_is_of_what_is_there, CONCEPTS, {"models": {name: {"call": "a:b"} for name in "ab"}},
        "model.compose.base",
    ),
    Breach(composition.composition_is_of_what_is_there, CONCEPTS, {"model": {"load": "runs/a"}}, "model"),
    Breach(
        composition.composition_is_of_what_is_there, AND, {"models": {"a": {"compose": {"of": ["b", "b2"]}}}}, "models.a.compose"
    ),
    Breach(composition.nothing_is_trained, COMPOSED, {"train": {"steps": 20, "lr": 0.1}}, "train.lr"),
    Breach(composition.nothing_is_trained, COMPOSED, {"rollout": {"updates": 2}}, "rollout.updates"),
    Breach(amortised.check_amortised, AMORTISED, {"constraints": []}, "amortised"),
    Breach(amortised.check_amortised, AMORTISED, two(EQUAL), "constraints.0.equals"),
    Breach(amortised.check_amortised, AMORTISED, {"train": {"steps": 20, "batches": "separate"}}, "train.batches"),
    Breach(
        amortised.check_amortised, {**ALIGNMENT, "amortised": AMORTISED["amortised"]}, {"rollout": {"gradient": "dag"}},
        "rollout.gradient",
    ),
    Breach(terms.condition_fits, DATA, {"train": {"steps": 20, "condition_dropout": 0.1}}, "train.condition_dropout"),
    Breach(
        terms.guidance_is_learned, DATA, {"model": {"unet": {}, "condition": "labels", "guidance": 2.0}}, "model.guidance",
    ),
    Breach(
        terms.condition_fits, DATA, {"model": {"load": "a/b", "condition": "captions"}}, "model.condition",
    ),
    Breach(
        terms.condition_fits, ALIGNMENT, {"model": {"call": "a:b", "condition": "labels"}}, "model.condition",
    ),
    Breach(shares.shares_are_shares, SHARED, two({**FOUR, "at_least": 40}), "constraints.0.at_least"),
    Breach(shares.shares_are_shares, SHARED, two({**FOUR, "relative_to": "objective", "at_least": None, "at_most": 0.1}),
           "constraints.0.relative_to"),
    Breach(shares.shares_sum_to_one, SHARED, two(FOUR, {"name": "five", "share": {"of": 5}, "equals": 0.61}),
           "constraints.1.equals"),
    Breach(shares.shares_have_a_judge, SHARED, {"data": None}, "constraints.0.share"),
    Breach(shares.shares_have_a_judge, SHARED, two({**FOUR, "share": {"of": 4, "classes": [4, 5]}}),
           "constraints.0.share.classes"),
    Breach(shares.shares_have_a_judge, UNSEEN, two({"name": "old", "share": {**OWN, "calibration": None}, "at_least": 0.4}),
           "constraints.0.share.calibration"),
    Breach(monitoring.looks_have_a_point, {**DATA, "monitor": {"every": 20}}, {"monitor": {"every": 15}}, "monitor.every"),
    Breach(monitoring.bands_have_held_out_data, BANDS, {"data": {"source": "digits"}}, "monitor.bands"),
    Breach(monitoring.one_model_is_looked_at, AMORTISED, {"monitor": {"every": 10}}, "monitor"),
    Breach(feasibility.check_feasibility, SHARP, {"feasibility": {"tolerance": {"fife": 0.1}}}, "feasibility.tolerance"),
    Breach(feasibility.check_feasibility, SHARP, {"data": {"source": "digits"}}, "feasibility.on"),
    Breach(
        feasibility.held_out_values_are_on_data, SHARP, two({"name": "four", "share": {"of": 4}, "at_least": 0.4}),
        "feasibility.on",
    ),
    Breach(shards.shards_are_of_several_workers, SHARDED, {"resources": {"parallel": "fsdp"}}, "resources.parallel"),
    Breach(
        shards.shards_fit_what_is_trained, {**COMPOSED, "resources": {"workers": 2}}, {"resources": SHARDED["resources"]},
        "model.compose",
    ),
    Breach(
        shards.shards_fit_what_is_trained, {**ALIGNMENT, **SHARED_OUT}, {"model": {"load": "runs/a", "lora": {"rank": 4}}},
        "model.lora",
    ),
    Breach(shards.shards_fit_what_is_trained, SHARDED, {"amortised": AMORTISED["amortised"]}, "amortised"),
    *(
        Breach(shards.shards_fit_what_is_trained, SHARDED, {"train": {"steps": 20, key: value}}, f"train.{key}")
        for key, value in {"compile": True, "optimizer": {"call": "torch.optim:Muon"}, "precision": "fp16"}.items()
    ),
    *(
        Breach(
            shards.evaluation_holds_every_shard, {**SHARDED, "evaluation": {key: least}}, {"evaluation": {key: least - 1}},
            f"evaluation.{key}",
        )
        for key, least in {"samples": 3, "loss_draws": 6, "batch_size": 2}.items()
    ),
    Breach(
        shards.evaluation_holds_every_shard, {**SHARDED, "monitor": {"every": 10, "samples": 3}},
        {"monitor": {"every": 10, "samples": 2}}, "monitor.samples",
    ),
]  # fmt: skip


@pytest.mark.parametrize("breach", BREACHES, ids=[f"{each.rule.__name__}: {each.key}" for each in BREACHES])
def test_each_rule_takes_what_fits_and_names_the_key_of_what_does_not(breach: Breach) -> None:
    breach.rule(RecipeFields.model_validate(breach.taken))
    with pytest.raises(RuleError) as raised:
        breach.rule(RecipeFields.model_validate({**breach.taken, **breach.change}))
    [said] = raised.value.diagnostics
    assert said.key == breach.key
    assert said.rule and said.received and said.remedy


def test_a_start_that_does_not_count_is_not_held_against_the_cap() -> None:
    """`start.from` brings the multipliers, but for fixed ones."""
    begun: Plain = {**DATA, "start": {"from": "runs/a"}, "dual": {"start": 11.0}}
    multipliers.starts_are_within_the_cap(RecipeFields.model_validate(begun))
    with pytest.raises(RuleError):
        multipliers.starts_are_within_the_cap(RecipeFields.model_validate({**begun, "dual": {"rule": "fixed", "start": 11.0}}))


def test_every_rule_is_broken_here() -> None:
    assert {each.rule for each in BREACHES} == {*RULES, *SINCE}


def test_all_broken_rules_are_told_at_once() -> None:
    both = {**DATA, "dual": {"every": 7}, "resources": {"workers": 17}, "constraints": [CLASSES, CLASSES]}
    with pytest.raises(RulesError) as raised:
        check_fit(RecipeFields.model_validate(both))
    assert [each.key for each in raised.value.diagnostics] == ["constraints.1.name", "train.batch_size", "train.steps"]


def test_what_a_run_has_stored_is_not_held_against_rules_since() -> None:
    stored = RecipeFields.model_validate({**ALIGNMENT, "rollout": {"updates": 2}})
    check_fit(stored, stored=True)
    with pytest.raises(RulesError, match="must be 1 with gradient backpropagation"):
        check_fit(stored)


def test_shares_of_other_samples_or_judges_and_of_one_class_twice_are_not_summed() -> None:
    of = [{"of": 5, "among": ["a"]}, {"of": 5, "judge": "a:b"}, {"of": 4}]
    others = [{"name": f"other-{place}", "share": share, "at_least": 0.7} for place, share in enumerate(of)]
    shares.shares_sum_to_one(RecipeFields.model_validate({**SHARED, "constraints": [FOUR, *others]}))


@pytest.mark.parametrize(("steps", "every", "advice"), [(20, 7, 21), (1, 100, 100), (101, 50, 150)])
def test_the_number_of_steps_to_write_is_the_next_multiple(steps: int, every: int, advice: int) -> None:
    wrong = RecipeFields.model_validate({**DATA, "train": {"steps": steps}, "dual": {"every": every}})
    with pytest.raises(RuleError) as raised:
        sizes.steps_end_with_a_dual_step(wrong)
    assert raised.value.diagnostics[0].remedy == f"write {advice}"
    sizes.steps_end_with_a_dual_step(RecipeFields.model_validate({**DATA, "train": {"steps": advice}, "dual": {"every": every}}))


def kept_of_the_start(name: str, timesteps: int) -> float:
    """Of a chain of 6 steps on data of unit variance, whose noise is predicted exactly: each mean is a share of its state."""
    steps = steps_of(noise_schedule(digits(schedule={"name": name, "timesteps": timesteps}), (1, 8, 8)), 6, 1.0)
    states = zip(steps.signal, steps.next_signal, steps.kept, strict=True)
    shares = [math.sqrt(a * following) + kept * math.sqrt(1 - a) for a, following, kept in states]
    return math.prod(shares) ** 2


@pytest.mark.parametrize("name", multipliers.SHORTEST)
def test_the_shortest_schedules_for_newton_forget_their_start_and_much_shorter_ones_do_not(name: str) -> None:
    fewest = multipliers.SHORTEST[name]
    assert kept_of_the_start(name, fewest) <= 0.05 < kept_of_the_start(name, fewest - 150)
    assert kept_of_the_start("squaredcos_cap_v2", 50) < 0.001  # which is not listed
