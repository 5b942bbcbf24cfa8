"""`check --estimate` in words: what a worker holds, how fast it is, how long a training and the whole sweep take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dualsweep.cluster.machine import local_machine
from dualsweep.cluster.resources import concurrency
from dualsweep.sweeps.checking import Checked, runs_elsewhere
from dualsweep.sweeps.output import tell
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.planning.trial_lengths import steps_at_ends
from dualsweep.sweeps.trial_state import clock
from dualsweep.trainer.feasibility.stages import last_look

if TYPE_CHECKING:
    from dualsweep.trainer.checks.estimate import Estimate
    from dualsweep.trainer.recipe.recipe import Recipe

#: Seconds that a trial takes beside its training, on processes that are there (docs/scale.md).
_STARTING = 0.5
_ON_TOP = "; what is frozen beside the network comes on top"
_LATER = ", longer the later its constraints are decided"
_UNITS = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"))


def show_estimate(checked: Checked) -> None:
    """Trains some steps here, and prints what comes of them.

    Raises:
        TrainingError: the model, the data or a user's part is unusable, or memory runs out.
    """
    from dualsweep.trainer.checks.estimate import estimate  # torch

    for line in estimated(checked, estimate(checked.recipe)):
        tell(line)


def estimated(checked: Checked, estimate: Estimate) -> Iterator[str]:
    """The estimate, line by line, of a recipe that was found good, and of its sweep."""
    recipe, ask = checked.recipe, checked.ask
    workers = ask.workers
    which = "all" if estimate.trained == estimate.parameters else f"{estimate.trained:,}"
    yield f"  parameters    {estimate.parameters:,}, {which} trained"
    parts = ", ".join(f"{name} {size(count)}" for name, count in estimate.memory.items())
    yield f"  memory        {size(sum(estimate.memory.values()))} of tensors a worker: {parts}{_ON_TOP}"
    kind = "trajectories" if recipe.terms_on("rollout") else "images"
    elastic = " the least," if ask.most > workers else ""
    share = f",{elastic} {workers} worker{'s' if workers > 1 else ''} without what they exchange" if ask.most > 1 else ""
    yield (
        f"  speed         {lasting(estimate.step)} a step, {amount(estimate.images)} {kind} a second"
        f" (by {estimate.timed} steps on this machine's {estimate.device.upper()}{share})"
    )
    steps = recipe.train.steps
    soonest, latest = (lasting(estimate.training(steps, more)) for more in (0, _until_decided(recipe, steps)))
    whole, later = (soonest, "") if soonest == latest else (f"{soonest} to {latest}", _LATER)
    stepping, judging = lasting(steps * estimate.step), lasting(estimate.evaluation)
    looking = f", looks {lasting(steps * estimate.look)}" if estimate.look else ""
    yield f"  one training  about {whole}: {steps} steps in {stepping}{looking}, evaluation {judging}{later}"
    if checked.plan is not None:
        yield f"  the sweep     {_of_sweep(checked, checked.plan, estimate)}"


def _of_sweep(checked: Checked, plan: Plan, estimate: Estimate) -> str:
    """How long the sweep takes, over all lengths of its trials that are searched."""
    trainings, elsewhere = plan.trials * len(plan.seeds), runs_elsewhere(checked.address)
    if elsewhere:  # on a machine that is not asked here
        beside = plan.sweep.concurrency or 1
    else:
        beside = concurrency(local_machine(), checked.ask, plan.sweep.concurrency).concurrent
    # The first trials, as many as run at a time, find none to go on from.
    anew = min(trainings, len(plan.seeds) * -(-beside // len(plan.seeds)))
    first, told = plan.amortised_recipe, f"{trainings} trainings"
    begun = estimate.training(first.train.steps) if first is not None else 0.0
    if first is not None:
        told += f" and the amortised one of {first.train.steps} steps"
    worked, waited = list[float](), list[float]()
    for ends in steps_at_ends(plan) or [(checked.recipe.train.steps,) * 2]:
        for late in (0, 1):
            each = [estimate.training(steps, late * _until_decided(checked.recipe, steps)) for steps in ends]
            parts = list(zip((anew, trainings - anew), each, strict=True))
            worked.append(begun + sum(count * seconds for count, seconds in parts))
            waited.append(begun + sum(-(-count // beside) * (seconds + _STARTING) for count, seconds in parts))
    low, high = (amount(end * checked.ask.workers / 3600) for end in (min(worked), max(worked)))
    hours = f"{low if low == high else f'{low} to {high}'} worker-hours"
    if elsewhere:
        return f"{hours} in {told}, on machines like this one"
    soonest, latest = lasting(min(waited)), lasting(max(waited))
    whole = f"about {soonest}" if soonest == latest else f"from {soonest} to {latest}"
    return f"{whole}: {told}, {beside} at a time; {hours}"


def _until_decided(recipe: Recipe, steps: int) -> int:
    """The draws of each value after the first look, in a training of so many steps whose constraints stay undecided."""
    lasting_so = recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": steps})})
    return last_look(lasting_so) - recipe.evaluation.loss_draws


def size(count: int) -> str:
    """Bytes in the unit that leaves a number from 1 to 1023."""
    return next((f"{_three(count / unit)} {name}" for unit, name in _UNITS if count >= unit), f"{count} bytes")


def lasting(seconds: float) -> str:
    """Seconds in milliseconds, seconds, or as a clock shows them."""
    return f"{_three(1000 * seconds)} ms" if seconds < 1.0 else f"{_three(seconds)} s" if seconds < 100.0 else clock(seconds)


def amount(number: float) -> str:
    """How many: whole ones where they are many, and never none where there are some."""
    return f"{number:,.0f}" if number >= 10 else _three(number)


def _three(number: float) -> str:
    """Three digits, or four before the point: no power of ten."""
    return f"{number:.3g}" if number < 999.5 else f"{number:.0f}"
