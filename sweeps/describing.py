"""What `dualsweep check` prints of a recipe or sweep that was found good."""

from __future__ import annotations

from collections.abc import Iterator

from dualsweep.cluster.machine import local_machine
from dualsweep.cluster.resources import concurrency
from dualsweep.sweeps.checking import Checked, runs_elsewhere
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.planning.schema import EarlyStopping
from dualsweep.sweeps.records.trial_start import continued_dual_step
from dualsweep.trainer.checks.findings import told
from dualsweep.trainer.checks.unused_keys import in_use
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.feasibility.defaults import tolerances
from dualsweep.trainer.feasibility.tolerance import SHARE, Tolerance
from dualsweep.trainer.recipe.recipe import Recipe, flatten


def _rules(early: EarlyStopping) -> Iterator[str]:
    """The rules that are on, with their settings."""
    if early.infeasible:
        yield "infeasible"
    for name, rule in (("dominated", early.dominated), ("halving", early.halving)):
        if rule is not None:
            yield f"{name} ({', '.join(f'{key} {value:g}' for key, value in rule)})"


def describe(checked: Checked, everything: bool = False) -> Iterator[str]:
    """The resolved plan, line by line; the keys that the recipe makes no use of only where `everything` is asked for."""
    recipe, plan, ask = checked.recipe, checked.plan, checked.ask
    yield f"{checked.file}: {'sweep' if plan else 'recipe'} `{plan.name if plan else recipe.name}` is good"
    if plan is not None:
        yield from _of_sweep(plan)
    workers = f"{ask.span} worker{'s' if ask.span != '1' else ''} of {ask.cpus_per_worker} CPU"
    gpus = f" and {ask.gpus_per_worker:g} GPU" if ask.gpus_per_worker else ""
    batch = f"{recipe.rollout.batch_size} trajectories" if recipe.terms_on("rollout") else f"batch {recipe.train.batch_size}"
    yield f"  one trial     {recipe.train.steps} steps of {batch} on {workers}{gpus}"
    if not runs_elsewhere(checked.address):
        fits = concurrency(local_machine(), ask, plan.sweep.concurrency if plan else None)
        yield f"  side by side  {fits.concurrent} ({fits.reason})"
    yield from told(checked.found)
    yield from _of_problem(recipe, plan)
    yield f"  output        {masked(checked.output)}"
    yield from (f"  warning       {warning}" for warning in checked.found.warnings)
    for key, value in (flatten(recipe) if everything else in_use(recipe)).items():
        if value is not None:
            yield f"    {key} = {value}"


def _of_sweep(plan: Plan) -> Iterator[str]:
    """What is searched and how, and where it is kept."""
    recipe = plan.recipe
    yield f"  trials        {plan.trials}, placed by {plan.sweep.sampler.name} (seed {plan.sweep.sampler.seed})"
    for parameter in plan.parameters:
        yield f"  search        {parameter.name}: {parameter.kind.word} {list(parameter.kind.ends)}"
    yield "  objectives    " + ", ".join(f"{direction} {name}" for name, direction in plan.objectives.items())
    yield f"  front         {plan.deciding}"
    if (continuation := plan.sweep.continuation) is not None:
        steps = f"{continuation.steps_of(recipe)} of {recipe.train.steps} steps"
        factors = f"dual.step_size x {continued_dual_step(recipe, continuation):g}, train.lr x {continuation.lr:g}"
        yield f"  continuation  from the nearest finished trial, with predicted multipliers: {steps}, {factors}"
    if (preference := plan.preference) is not None:
        yield f"  prefer        {preference}"
    if plan.early_stopping is not None:
        yield "  stops early   " + ", ".join(_rules(plan.early_stopping))
    if (amortised := plan.amortised_recipe) is not None:
        yield f"  amortised     one training of {amortised.train.steps} steps over a range of multipliers, before the trials"
    for note in plan.notes:
        yield f"  note          {note}"
    if plan.sweep.seeds > 1:
        yield f"  seeds         {plan.sweep.seeds} trainings a trial"
    if plan.points:
        few = f"{plan.trials} of the " if plan.trials < len(plan.points) else ""
        yield f"  first         {few}{len(plan.points)} given points"
    for source in plan.sweep.warm_start:
        yield f"  warm start    {source.name}"
    yield f"  study         {masked(plan.storage) if plan.storage else 'study.journal in the output folder'}"
    yield f"  tracking      {masked(plan.tracking_uri)}, experiment `{plan.experiment}`"


def _of_problem(recipe: Recipe, plan: Plan | None) -> Iterator[str]:
    """The objective and the constraints with their tolerances, those of a sweep's trials where they follow from its ranges."""
    within: dict[str, object] = dict(tolerances(recipe))
    if plan is not None:
        within |= dict.fromkeys(plan.own_tolerances, f"{100 * SHARE:g} % of the trial's budget")
        within |= {name: Tolerance(each) for name, each in plan.tolerances.items()}
    for named in recipe.terms:
        if named.column == 0:
            yield f"  {'maximise' if recipe.maximizes else 'minimise'}      {named.term.word}"
            continue
        constraint = recipe.constraints[named.column - 1]
        relative = " above the objective" if constraint.relative_to else ""
        bound = (
            "as small as the others"
            if constraint.budget is None
            else f"{constraint.kind.replace('_', ' ')} {constraint.budget:g}"
        )
        told = f" (tolerance {within[constraint.name]})" if constraint.budget is not None else ""
        yield f"  constraint    {constraint.name}: {named.term.word} {bound}{relative}{told}"
