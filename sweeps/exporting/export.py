"""`dualsweep export`: the model of a training as a folder that diffusers loads, with its card, whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from dualsweep.sweeps.exporting import hub
from dualsweep.sweeps.exporting.chosen import Chosen, choose
from dualsweep.sweeps.exporting.model_card import at_others, model_card
from dualsweep.sweeps.records.explained import RECIPE
from dualsweep.sweeps.reports.asked_multipliers import asked_multipliers
from dualsweep.trainer.amortised.front import front_in
from dualsweep.trainer.config import yaml_core
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.masking import masked_in
from dualsweep.trainer.config.uris import is_local, local_path
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.engine.dual_side import multiplier_policy_of
from dualsweep.trainer.engine.sample_command import restore
from dualsweep.trainer.exporting.folder import Exported, write_pipeline
from dualsweep.trainer.exporting.own_code import own_code
from dualsweep.trainer.models.provenance import recipe_of
from dualsweep.trainer.storage import check_writable

#: The model card, as the hub shows it.
CARD = "README.md"


def export(
    run: str, out: str, *, trial: str | None = None, tracking_uri: str | None = None, multipliers: str | None = None,
    budgets: str | None = None, push_to_hub: str | None = None, public: bool = False,
) -> list[str]:  # fmt: skip
    """Writes the model that `run` means (see `chosen.py`) to the folder `out`; returns what is to be said of it, a line each.

    An amortised model is taken at `multipliers` or `budgets`, NAME=VALUE,… each, else at those of its recipe. `push_to_hub` is
    the repository of the Hugging Face Hub that gets a copy, a private one unless it is to be `public`.

    Raises:
        InputError: no such run or trial; `out` holds something, or can't be written; the model is a user's own code; the hub does
            not take it.
        ReviewError: there is no such MLflow store.
        TrainingError: the checkpoint is damaged, or no pipeline can sample its model.
    """
    folder = free_folder(out)
    if push_to_hub is not None:
        hub.check_can_push(push_to_hub)
    elif public:
        remedy = f"name a repository with {hub.OPTION}, or drop it"
        raise InputError([Diagnostic(("--public",), f"must go with {hub.OPTION}", "it alone", remedy, "command line", 1)])
    chosen = choose(run, trial, tracking_uri)
    _check_is_of_diffusers(chosen.checkpoint)
    asked = asked_multipliers(chosen.checkpoint, multipliers, budgets)
    there = next(each for each in folder.parents if each.is_dir())
    part = Path(tempfile.mkdtemp(dir=there, prefix=f".{folder.name}-"))
    try:
        part.chmod(0o755)
        exported, as_evaluated = _written(chosen, part, asked)
        folder.parent.mkdir(parents=True, exist_ok=True)
        part.replace(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    pushed = [] if push_to_hub is None else [f"{hub.push(folder, push_to_hub, public=public)}: a copy of it"]
    return [*([chosen.said] if chosen.said else []), *_how_to_load(exported, folder, as_evaluated), *pushed]


def free_folder(out: str) -> Path:
    """The folder that `out` names, which is not there yet or is empty.

    Raises:
        InputError: it is another place, holds something, or cannot be written.
    """
    if not is_local(out):
        remedy = "name a folder here, and copy that, or push it with --push-to-hub"
        raise InputError([Diagnostic(("OUT",), "must be a folder of this machine", show(out), remedy, "command line", 1)])
    folder = local_path(out).absolute()
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        rule, remedy = "must be a folder that is not there yet, or is empty", "name another folder, or move that one away"
        raise InputError([Diagnostic(("OUT",), rule, f"{show(out)}, which holds something", remedy, "command line", 1)])
    check_writable(str(folder.parent), "OUT")
    return folder


def _check_is_of_diffusers(checkpoint: str) -> None:
    path = own_code(checkpoint)
    if path is not None:
        rule = "must be a model of diffusers, since a pipeline carries no code of yours"
        remedy = "keep it with its code: dualsweep sample draws from it, its weights are in training/average.safetensors there"
        raise InputError([Diagnostic(("RUN",), rule, f"model.call {show(path)} in {checkpoint}", remedy, "command line", 1)])


def _written(chosen: Chosen, folder: Path, asked: dict[str, float] | None) -> tuple[Exported, bool]:
    """What was written, and whether it is at the multipliers that its training was evaluated at."""
    recipe = recipe_of(chosen.checkpoint)
    at = asked if asked is not None else multiplier_policy_of(recipe).sampled_at(chosen.checkpoint)
    exported = write_pipeline(restore(chosen.checkpoint, at), folder)
    front = front_in(chosen.checkpoint) if at is not None else None
    (folder / CARD).write_text(model_card(exported, recipe, chosen.explained, at, front), encoding="utf-8")
    (folder / RECIPE).write_text(yaml_core.write(masked_in(recipe.model_dump(mode="json"))), encoding="utf-8")
    return exported, not at_others(at, front)


def _how_to_load(exported: Exported, folder: Path, as_evaluated: bool) -> list[str]:
    place = str(folder)
    exact = f"DiffusionPipeline.from_pretrained({place!r}, custom_pipeline={place!r}, trust_remote_code=True)"
    how = "as it was evaluated" if as_evaluated else "at the multipliers asked for, where it was not evaluated"
    lines = [f"{folder}: {how}, {exact}"]
    if exported.pipeline is not None:
        lines.append(f"as diffusers' own {exported.pipeline}, DiffusionPipeline.from_pretrained({place!r})")
    return lines
