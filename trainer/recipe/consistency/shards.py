"""What goes with weights that lie in shards, `resources.parallel: fsdp`."""

from __future__ import annotations

from collections.abc import Iterator

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.recipe.fields import RecipeFields


def shards_are_of_several_workers(recipe: RecipeFields) -> None:
    if recipe.resources.parallel == "fsdp" and recipe.resources.least == 1:
        raise RuleError(
            "resources.parallel",
            "must be ddp for a single worker, which has all weights",
            "fsdp",
            "write e.g. workers: 2, or drop it",
        )


def shards_fit_what_is_trained(recipe: RecipeFields) -> None:
    """Refuses what sees a weight as a whole, or lies beside the network."""
    if recipe.resources.parallel != "fsdp":
        return
    for key, received, remedy in _unfit(recipe):
        raise RuleError(key, "must be left out with resources.parallel: fsdp", received, f"{remedy}, or write parallel: ddp")


def _unfit(recipe: RecipeFields) -> Iterator[tuple[str, str, str]]:
    """The key, what it asks for, and what to do instead."""
    if recipe.model.compose is not None:
        yield "model.compose", "models of which none is trained", "give each worker all of them"
    if recipe.model.lora is not None:
        yield "model.lora", "an adapter, whose gradients are few", "train the network itself"
    if recipe.amortised is not None:
        yield "amortised", "an embedding beside the network", "sweep over budgets instead"
    if recipe.train.compile:
        yield "train.compile", "true", "drop it"
    if recipe.train.optimizer != "adamw":
        yield "train.optimizer", show(str(recipe.train.optimizer)), "write adamw, which asks of a weight no more than its shard"
    if recipe.train.precision == "fp16":
        yield "train.precision", "fp16", "write bf16"


def evaluation_holds_every_shard(recipe: RecipeFields) -> None:
    """Every worker has samples and draws, of which a later look may take half as many, and its last batch can be divided."""
    if recipe.resources.parallel != "fsdp":
        return
    workers, spec, looks = recipe.resources.most, recipe.evaluation, recipe.monitor
    least = {
        "evaluation.samples": (spec.samples, workers if spec.samples else 0),
        "evaluation.loss_draws": (spec.loss_draws, 2 * workers),
        "evaluation.batch_size": (spec.batch_size, 2),
    }
    if looks is not None:
        least["monitor.samples"] = (looks.samples, workers if looks.samples else 0)
        least["monitor.draws"] = (looks.draws, 2 * workers if looks.bands else 0)
    for key, (given, needed) in least.items():
        if given < needed:
            raise RuleError(
                key,
                f"must be at least {needed} with resources.parallel: fsdp and {workers} workers, which ask the model together",
                given,
                f"write {needed}",
            )
