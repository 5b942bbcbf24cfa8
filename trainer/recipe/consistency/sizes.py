"""Which data, batches, steps and samplers go together."""

from __future__ import annotations

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.data import Subset
from dualsweep.trainer.recipe.fields import RecipeFields
from dualsweep.trainer.recipe.model import Schedule
from dualsweep.trainer.recipe.term_spec import Everything
from dualsweep.trainer.samplers.registry import SAMPLERS


def data_fit_the_terms(recipe: RecipeFields) -> None:
    drawn = [(each.column, each.term.population(each.value)) for each in recipe.terms if each.term.population is not None]
    on_data = {column for column, population in drawn if isinstance(population, Everything | Subset)}
    if recipe.data is not None and recipe.data.balance and 0 not in on_data:
        raise RuleError(
            "data.balance", "must go with an objective on data", "none", "drop it, or write e.g. objective: {data: {all: true}}"
        )
    if recipe.data is None and on_data:
        raise RuleError("data", "must be given for terms on data", "nothing", "write e.g. data: {source: digits}")
    if recipe.data is None and not recipe.leading.shape and recipe.leading.load is None:
        raise RuleError("model.shape", "must be given where there is no data", "nothing", "write e.g. shape: [2]")


def samplers_fit_the_schedule(recipe: RecipeFields) -> None:
    if recipe.schedule is None and recipe.leading.load is not None:
        return  # the loaded model's own is known only then
    timesteps = (recipe.schedule or Schedule()).timesteps
    sampled = recipe.evaluation.samples > 0 or (recipe.monitor is not None and recipe.monitor.samples > 0)
    scheduled = sampled and SAMPLERS[recipe.sampling.sampler].on_schedule
    for key, steps, used in (
        ("evaluation.sample_steps", recipe.sampling.steps, scheduled),
        ("rollout.steps", recipe.rollout.steps, bool(recipe.terms_on("rollout"))),
    ):
        if used and steps > timesteps:
            raise RuleError(key, f"must be at most schedule.timesteps, {timesteps}", steps, "lower it")


def batch_holds_every_term(recipe: RecipeFields) -> None:
    train = recipe.train
    needed = sum(train.floor if each.column else 1 for each in recipe.terms_on("data"))
    if train.batches == "mixture" and train.batch_size < needed:
        raise RuleError(
            "train.batch_size",
            f"must be at least 1 + constraints x floor = {needed}",
            train.batch_size,
            "enlarge the batch, or lower train.floor",
        )


def batch_holds_every_worker(recipe: RecipeFields) -> None:
    workers = recipe.resources.most
    for key, size, used in (
        ("train", recipe.train.batch_size, recipe.terms_on("data")),
        ("rollout", recipe.rollout.batch_size, recipe.terms_on("rollout")),
    ):
        if used and size < workers:
            raise RuleError(
                f"{key}.batch_size",
                "must be at least one sample for each worker",
                f"{size} for {workers} workers",
                "enlarge the batch",
            )


def gpus_fit_the_workers(recipe: RecipeFields) -> None:
    """Workers on one GPU cannot exchange gradients, which NCCL refuses; and Ray gives no fraction of a GPU beside whole ones."""
    given, workers = recipe.resources.gpus_per_worker, recipe.resources.most
    if given > 1 and given % 1:
        raise RuleError("resources.gpus_per_worker", "must be a whole number above 1", f"{given:g}", "write 1")
    if 0 < given < 1 < workers:
        raise RuleError(
            "resources.gpus_per_worker",
            "must be whole GPUs for several workers, which exchange gradients between GPUs of their own",
            f"{given:g} for {workers} workers",
            "write workers: 1, or gpus_per_worker: 1",
        )


def accumulation_divides_batches(recipe: RecipeFields) -> None:
    """Every worker has a sample for each part: one without would wait for none of the others' gradients."""
    accumulate, size, workers = recipe.train.accumulate, recipe.train.batch_size, recipe.resources.most
    if accumulate > 1 and recipe.terms_on("rollout"):
        raise RuleError(
            "train.accumulate",
            "must be 1 with terms on trajectories, whose batches are not divided",
            accumulate,
            "drop it; for less memory lower rollout.batch_size, or write rollout.activation_checkpointing: true",
        )
    if accumulate > max(1, size // workers):
        raise RuleError(
            "train.accumulate",
            "must be at most the number of samples that a worker has of a batch",
            f"{accumulate} for train.batch_size {size} over {workers} {'worker' if workers == 1 else 'workers'}",
            "lower it, or enlarge the batch",
        )


def steps_end_with_a_dual_step(recipe: RecipeFields) -> None:
    steps, every = recipe.train.steps, recipe.dual.every
    if steps % every:
        raise RuleError(
            "train.steps",
            "must be a multiple of dual.every",
            f"{steps} with every {every}",
            f"write {-(-steps // every) * every}",
        )


def updates_are_of_black_boxes(recipe: RecipeFields) -> None:
    rollout = recipe.rollout
    if rollout.updates > 1 and rollout.gradient == "backpropagation":
        raise RuleError(
            "rollout.updates",
            "must be 1 with gradient backpropagation, which steps once on its trajectories",
            rollout.updates,
            "drop it, or write gradient: policy_gradient, dag or dag_kl",
        )


def black_boxes_need_noise(recipe: RecipeFields) -> None:
    if recipe.rollout.gradient != "backpropagation" and recipe.rollout.steps < 2:
        raise RuleError(
            "rollout.steps",
            f"must be at least 2 with gradient {recipe.rollout.gradient}, as the last step has no noise and so no density",
            recipe.rollout.steps,
            "write e.g. steps: 15",
        )


def levels_are_drawn_as_weighted(recipe: RecipeFields) -> None:
    """The lognormal is that of EDM's own loss; others are over all timesteps alike."""
    spec, weight = recipe.schedule, recipe.train.loss_weight
    for key in ("p_mean", "p_std"):
        if spec is not None and getattr(spec, key) is not None and weight not in ("simple", "edm"):
            raise RuleError(
                f"schedule.{key}", "must go with train.loss_weight simple or edm, whose sigma is lognormal",
                f"{getattr(spec, key)} with {weight}", "drop it, or write another loss_weight",
            )  # fmt: skip


def offsets_are_no_noise_of_a_likelihood(recipe: RecipeFields) -> None:
    """Losses and KLs in nats are those of independent noise."""
    in_nats = recipe.train.loss_weight == "elbo" or bool(recipe.terms_on("product"))
    if recipe.train.offset_noise and in_nats:
        what = "loss_weight elbo" if recipe.train.loss_weight == "elbo" else "terms on the product of models"
        raise RuleError(
            "train.offset_noise", "must be 0 where losses are in nats, which are those of independent noise",
            f"{recipe.train.offset_noise} with {what}", "drop it",
        )  # fmt: skip
