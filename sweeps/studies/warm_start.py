"""Finished trials of other sweeps over the same parameters, for a sweep's sampler to begin with.

They are complete trials of the study with values, constraints and (for `dual_informed`) outcome, and marked: they are nobody's
to run, count for nothing and stand on no front. Left out are those that failed or were stopped, had other constraints than this
sweep would give them, lack a figure, or lie outside this sweep's ranges, and for `dual_informed`, which takes values and prices
as those of one front, those whose recipe poses another problem; `Study.said` counts them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualsweep.analysis.trials import JUDGED_STATUSES
from dualsweep.sweeps.dual_informed.of_plan import outcome_of
from dualsweep.sweeps.dual_informed.outcome import ATTRIBUTE, Outcome
from dualsweep.sweeps.planning.budgets import NAME
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.planning.schema import WarmStart
from dualsweep.sweeps.planning.search import apply
from dualsweep.sweeps.planning.study_address import storage_url
from dualsweep.sweeps.records.explained import RECIPE
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.studies.samplers import decode, distributions, kept_params
from dualsweep.sweeps.studies.storage import StorageError, open_storage
from dualsweep.sweeps.studies.telling import OLD, told_slacks
from dualsweep.trainer.checks.warm_start_files import other_problem
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.yaml_core import write
from dualsweep.trainer.own_files import read_own
from dualsweep.trainer.recipe.recipe import Recipe

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

#: Marks a trial of another sweep, and says which one it is.
WARM = "dualsweep.warm_start"


@dataclass(frozen=True)
class _Found:
    """A trial of another sweep: its name, values of the searched parameters, objectives, and slacks by constraint.

    `recipe` gives the trial's recipe, None where it is not known; the values must be of this sweep's parameters and ranges, since
    others may not have been read as they were meant. It raises a ValueError where this version does not read it.
    """

    name: str
    params: Mapping[str, Any]
    values: Mapping[str, float]
    slacks: Mapping[str, float]
    outcome: Outcome | None
    recipe: Callable[[], Recipe | None]


def warm_trials(plan: Plan) -> tuple[list[FrozenTrial], tuple[str, ...]]:
    """The trials to begin with, marked; and a line for each sweep they come from.

    Raises:
        InputError: a sweep can't be read, or none of its trials has this sweep's parameters.
    """
    taken: list[FrozenTrial] = []
    said = []
    for position, source in enumerate(plan.sweep.warm_start):
        try:
            candidates = list(_in_folder(plan, Path(source.output)) if source.output is not None else _in_storage(plan, source))
        except StorageError as error:
            raise _refused(plan, position, error.diagnostic) from None
        wanted = {each.name for each in plan.parameters}
        if candidates and not any(set(each.params) == wanted for each in candidates):
            there = ", ".join(f"`{name}`" for name in candidates[0].params) or "none"
            rule, remedy = "must be a sweep over the same parameters", "search the same keys, or drop this entry"
            raise _refused(plan, position, Diagnostic((), rule, there, remedy))
        made, left_out = [], Counter[str]()
        for candidate in candidates:
            reason = _unfit(plan, candidate)
            left_out[reason] += 1
            if not reason:
                made.append(_frozen(plan, source.name, candidate))
        reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items() if reason)
        said.append(f"warm start: {len(made)} trials of {source.name}" + (f"; left out: {reasons}" if reasons else ""))
        taken += made
    return taken, tuple(said)


def _refused(plan: Plan, position: int, mistake: Diagnostic) -> InputError:
    return InputError([plan.document.locate(mistake.at(("warm_start", position)))])


def _in_folder(plan: Plan, folder: Path) -> Iterator[_Found]:
    """The trials of an output folder, from their records."""
    if not (folder / "records").is_dir():
        raise StorageError("must be the output folder of a sweep", f"{folder} without `records`", "correct the path")
    for record in TrialRecord.load_all(folder):
        result, file = record.result, folder / "artifacts" / record.id / RECIPE
        recipe = partial(read_own, file, lambda text: Recipe.stored(text.decode()))
        slacks = told_slacks(result)
        sound = result.status in JUDGED_STATUSES
        yield _Found(record.id, record.params, result.metrics if sound else {}, slacks, _outcome(plan, record), recipe)


def _in_storage(plan: Plan, source: WarmStart) -> Iterator[_Found]:
    """The complete trials of a study."""
    import optuna
    from optuna.trial import TrialState

    url = storage_url(str(source.storage))
    storage = open_storage(url, held=False)
    names = [each.study_name for each in storage.get_all_studies()]
    name = source.study or (names[0] if len(names) == 1 else None)
    if name not in names:
        received = f"{name or 'no `study`'} where there are {', '.join(names) or 'none'}"
        raise StorageError(f"must name a study at {masked(url)}", received, "write its name as `study`")
    study = optuna.load_study(study_name=name, storage=storage)
    metrics = _metrics(plan, study)
    kept = study.user_attrs.get("dualsweep", {}).get("recipe")
    for trial in study.get_trials(deepcopy=False):
        if trial.state is TrialState.WAITING or trial.state is TrialState.RUNNING or WARM in trial.user_attrs:
            continue
        params = _decoded(plan, trial.params)
        values = dict(zip(metrics, trial.values or (), strict=False))
        told = trial.user_attrs.get(ATTRIBUTE)
        recipe = partial(_rebuilt, kept, params, plan.name)
        slacks = {name: -bound for name, bound in trial.constraints.items()}
        yield _Found(f"{trial.number:04d}", params, values, slacks, Outcome.from_json(told) if told else None, recipe)


def _rebuilt(kept: Mapping[str, Any] | None, params: Mapping[str, Any], name: str) -> Recipe | None:
    """A trial's recipe from the base that its study has kept."""
    return Recipe.stored(write({**apply(kept, params), "name": name})) if kept else None


def _metrics(plan: Plan, study: optuna.Study) -> list[str]:
    """The names of a study's objectives, which must be among this sweep's."""
    names = list(study.metric_names or plan.objectives)
    directions = dict(zip(names, (each.name.lower() for each in study.directions), strict=False))
    if len(names) != len(study.directions) or any(directions.get(name) != each for name, each in plan.objectives.items()):
        there = ", ".join(f"{direction} {name}" for name, direction in directions.items())
        raise StorageError("must be a study of the same objectives", there, "give these objectives, or drop this entry")
    return names


def _decoded(plan: Plan, params: Mapping[str, Any]) -> dict[str, Any]:
    """Values of choices as YAML has them; those that are none of this sweep's stay as they are, and are outside."""
    kinds, decoded = {each.name: each.kind for each in plan.parameters}, dict(params)
    for name in set(kinds) & set(params):
        try:
            decoded[name] = decode(kinds[name], params[name])
        except ValueError:
            continue
    return decoded


def _outcome(plan: Plan, record: TrialRecord) -> Outcome | None:
    try:
        return outcome_of(plan, record.result, record.trainings)
    except KeyError:
        return None


def _unfit(plan: Plan, candidate: _Found) -> str:
    """Why a trial is left out; empty where it is not."""
    if set(candidate.params) != {each.name for each in plan.parameters}:
        return "over other parameters"
    try:
        kept_params(plan, candidate.params)
        mine = plan.trial_recipe(candidate.params)
    except (ValueError, InputError):
        return "outside the ranges"
    if not candidate.values:
        return "without an end to rely on"
    try:
        theirs = candidate.recipe()
    except ValueError:
        return "with a recipe that this version does not read"
    if theirs is not None and _bounds(theirs) != _bounds(mine):
        return "with other constraints"
    if theirs is not None and plan.sweep.sampler.name == NAME and (key := other_problem(mine, theirs)):
        return f"of another problem ({key}), whose values and prices are not this front's"
    figures = [candidate.values.get(name, math.nan) for name in plan.objectives]
    figures += [candidate.slacks.get(name, math.nan) for name in plan.constraints]
    if not all(map(math.isfinite, figures)):
        return "without every figure"
    told = frozenset[str]() if candidate.outcome is None else frozenset(candidate.outcome.values)
    return "without multipliers" if plan.sweep.sampler.name == NAME and not plan.searched <= told else ""


def _bounds(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """The constraints, each with what it is of and its budget."""
    return {each.name: each.model_dump(mode="json") for each in recipe.constraints}


def _frozen(plan: Plan, source: str, candidate: _Found) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    outcome = {ATTRIBUTE: candidate.outcome.to_json()} if candidate.outcome is not None else {}
    bounds = {name: -candidate.slacks[name] for name in plan.constraints}
    return create_trial(
        state=TrialState.COMPLETE,
        values=[candidate.values[name] for name in plan.objectives],
        params=kept_params(plan, candidate.params),
        distributions=distributions(plan),
        user_attrs={WARM: f"{source} {candidate.name}", **outcome},
        system_attrs={OLD: list(bounds.values())},
        constraints=bounds,
    )
