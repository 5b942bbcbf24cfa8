"""The cheap checks of a recipe's data and of the user's parts: within moments, without the heavy libraries.

What only loading and asking can tell is for `dualsweep.trainer.checks.dry_run`; `is_conclusive` says whether there is any of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dualsweep.trainer.checks.model_files import may_be_ours, model_faults
from dualsweep.trainer.checks.own_name import name_taken
from dualsweep.trainer.checks.own_parts import own_part_faults, step_parts
from dualsweep.trainer.checks.schedule_files import chain_faults, newton_faults, schedule_faults, timesteps_of
from dualsweep.trainer.checks.warm_start_files import start_faults
from dualsweep.trainer.config.diagnostics import Diagnostic, Keys
from dualsweep.trainer.config.import_path import CannotImportError, import_callable, takes
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.config.yaml_file import Document
from dualsweep.trainer.data.attributes import spelt
from dualsweep.trainer.data.captions import matching
from dualsweep.trainer.data.class_names import composed, find
from dualsweep.trainer.data.dataset_info import DatasetInfo
from dualsweep.trainer.data.faults import (
    BadDataError,
    attribute_faults,
    no_caption_fits,
    nobody_has,
    nothing_kept,
    nothing_to_train_on,
    unknown_class,
    without_captions,
    without_classes,
    without_labels,
)
from dualsweep.trainer.data.kept import kept, share
from dualsweep.trainer.data.load import inspect
from dualsweep.trainer.recipe.base import ClassName
from dualsweep.trainer.recipe.data import Data, Subset
from dualsweep.trainer.recipe.own_part import OwnPart
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.recipe.share import Share
from dualsweep.trainer.recipe.term_spec import Seen
from dualsweep.trainer.rewards.registry import Reward

_ARGUMENTS = {0: "no argument", 1: "one argument"}


def check(recipe: Recipe, document: Document) -> list[Diagnostic]:
    """Every problem of the data and the import paths of a valid recipe that can be found cheaply, by line.

    The user's modules are imported, in this process.
    """
    return examine(recipe, document)[0]


def examine(recipe: Recipe, document: Document) -> tuple[list[Diagnostic], DatasetInfo]:
    """As `check`, and what is known of the data."""
    known = DatasetInfo()
    if (taken := name_taken(Path.cwd())) is not None:
        return [taken], known
    faults = [
        *_import_faults(recipe),
        *own_part_faults(recipe),
        *model_faults(recipe),
        *schedule_faults(recipe),
        *newton_faults(recipe),
        *chain_faults(recipe),
        *start_faults(recipe),
    ]
    if recipe.data is not None:
        try:
            known = inspect(recipe.data)
        except BadDataError as error:
            faults.extend(error.diagnostics)
        else:
            faults.extend(_data_faults(recipe, recipe.data, known))
    faults.extend(_term_faults(recipe, known))
    return sorted((document.locate(fault) for fault in faults), key=lambda problem: problem.line), known


def _term_faults(recipe: Recipe, known: DatasetInfo) -> Iterator[Diagnostic]:
    """What the terms themselves find wrong."""
    shape = tuple(recipe.leading.shape) if recipe.leading.shape else None
    if known.shape is not None:
        shape = known.shape
    inherited = recipe.model.load is not None and may_be_ours(recipe.model.load)
    prompted = True if recipe.model.texts or recipe.model.condition else None if inherited else False
    texts, gradient = _texts(recipe, known, inherited), str(recipe.rollout.gradient)
    told = recipe.data is not None and recipe.data.attributes is not None
    attributes = () if not told else tuple(known.attributes) if known.attributes is not None else None
    told_of = (shape, known.class_names, gradient, prompted, texts, attributes, timesteps_of(recipe))
    for each in recipe.terms:
        yield from each.term.faults(each.value, Seen(each.keys, *told_of))


def _texts(recipe: Recipe, known: DatasetInfo, inherited: bool) -> Sequence[str] | None:
    """The prompts or classes that the model is given; None where a run that it comes from, or the data, has yet to tell."""
    if recipe.model.condition is not None:
        given = known.class_names if recipe.model.condition == "labels" else known.captions
        return None if given is None else tuple(dict.fromkeys(map(str, given)))
    return recipe.model.texts or (None if inherited else ())


def _data_faults(recipe: Recipe, data: Data, known: DatasetInfo) -> Iterator[Diagnostic]:
    if data.balance is True and known.labelled is False:
        yield without_classes("data without labels")
    if isinstance(data.balance, str) and (data.attributes is None or known.attributes is not None):
        names = list(known.attributes) if known.attributes is not None else None
        yield from attribute_faults({data.balance: True}, names, ("data", "balance"), named=False)
    for key in ("random_flip", "random_crop"):
        if getattr(data, key) and known.shape is not None and len(known.shape) != 3:
            yield Diagnostic(("data", key), "must go with images [C, H, W]", f"samples of shape {list(known.shape)}", "drop it")
    if known.shape is not None and len(known.shape) == 3 and data.random_crop >= min(known.shape[1:]):
        rule, (_, height, width) = "must be less than the sides of the images, whose borders it reflects", known.shape
        yield Diagnostic(("data", "random_crop"), rule, f"{data.random_crop} of {height} x {width} pixels", "lower it")
    if recipe.model.condition == "labels" and known.labelled is False:
        remedy = "drop it, or give data with labels"
        yield Diagnostic(("model", "condition"), "must go with data that have labels", "data without labels", remedy)
    yield from _keep_faults(data, known)
    for keys, population in _subsets(recipe):
        yield from _subset_faults(population, keys, data, known)
    if known.shape is not None:
        yield from shape_faults(recipe, known.shape)


def is_conclusive(recipe: Recipe) -> bool:
    """Whether `check` has found all there is, so that nothing needs to be loaded and asked before a run starts.

    Some sources, as the packaged digits, need not be read to be known, and what is built from the recipe alone need not be
    asked; models that are loaded and the user's own parts must be.
    """
    models = [recipe.model, *recipe.models.values()]
    evaluation = recipe.evaluation
    asked = any(each.load is not None or each.call is not None for each in models) or evaluation.judge.call is not None
    rewards = [each.value for each in recipe.terms if isinstance(each.value, Reward)]
    asked |= any(isinstance(each.value, Share) for each in recipe.terms)  # its labelled images are counted
    own = isinstance(recipe.dual.rule, OwnPart) or bool(step_parts(recipe))
    if asked or own or any(":" in metric for metric in evaluation.metrics) or not all(each.spec.certain for each in rewards):
        return False
    return recipe.data is None or _is_known(recipe, recipe.data)


def _is_known(recipe: Recipe, data: Data) -> bool:
    """Whether a constraint of classes is known too, and one of positions unless some of them may be held out."""
    subsets = [population for _, population in _subsets(recipe)]
    drawn = data.holdout > 0 and any(subset.indices is not None for subset in subsets)
    return data.named[0].conclusive and not drawn and all(subset.call is None for subset in subsets)


def _subsets(recipe: Recipe) -> Iterator[tuple[Keys, Subset]]:
    """The parts of the data that terms name, and where."""
    for named in recipe.terms:
        population = named.term.population(named.value) if named.term.population else None
        if isinstance(population, Subset):
            yield named.keys, population


def shape_faults(recipe: Recipe, shape: tuple[int, ...]) -> Iterator[Diagnostic]:
    """What a model of ours or of diffusers' cannot be given: examples that are no images, or of sides that do not fit."""
    load = recipe.leading.load
    if recipe.leading.call is not None or (load is not None and may_be_ours(load)):
        return
    if len(shape) != 3:
        kind = "unet" if recipe.leading.unet is not None else "load"
        rule, received = "must go with images [C, H, W]", f"examples of shape {list(shape)}"
        yield Diagnostic(("model", kind), rule, received, "use `model.call` with a model for such data")
        return
    yield from _side_faults(recipe, *shape[1:])


def _side_faults(recipe: Recipe, *sides: int) -> Iterator[Diagnostic]:
    """A UNet halves its input at each resolution but the first, so the sides must allow that."""
    if recipe.model.unet is None:
        return
    halvings = len(recipe.model.unet.channels) - 1
    for side in sides:
        if side % 2**halvings:
            rule = f"must halve images of side {side} without remainder"
            received = f"{halvings + 1} resolutions, which need a multiple of {2**halvings}"
            yield Diagnostic(("model", "unet", "channels"), rule, received, "give fewer channels, or other images")
            return


def _import_faults(recipe: Recipe) -> Iterator[Diagnostic]:
    for keys, path, counts in _import_paths(recipe):
        try:
            function = import_callable(path)
        except CannotImportError as error:
            yield error.diagnostic.at(keys)
            continue
        if not any(takes(function, count) for count in counts):
            needed = " or ".join(_ARGUMENTS[count] for count in counts)
            remedy = "change its parameters, or give the others defaults"
            yield Diagnostic(keys, f"must be a function that can be called with {needed}", f"`{path}`, which cannot", remedy)


def _import_paths(recipe: Recipe) -> Iterator[tuple[Keys, str, Sequence[int]]]:
    """The user's parts: where each stands, its path, and the numbers of arguments it may be called with."""
    paths: list[tuple[Keys, str | None]] = [
        *_data_functions(recipe.data),
        (("model", "call"), recipe.model.call),
        *((("models", name, "call"), model.call) for name, model in recipe.models.items()),
        (("evaluation", "judge", "call"), recipe.evaluation.judge.call),
    ]
    for keys, path in paths:
        if path is not None:
            yield keys, path, (0,)
    for named in recipe.terms:
        for below, path, counts in named.term.import_paths(named.value):
            yield (*named.keys, *below), path, counts
    for position, metric in enumerate(recipe.evaluation.metrics):
        if ":" in metric:
            yield ("evaluation", "metrics", position), metric, (1,)


def _data_functions(data: Data | None) -> list[tuple[Keys, str | None]]:
    if data is None:
        return []
    source, value = data.named
    return [(("data", source.word), source.function(value))]


def _keep_faults(data: Data, known: DatasetInfo) -> Iterator[Diagnostic]:
    keys: Keys = ("data", "keep")
    seen: dict[str, ClassName] = {}
    for name in data.keep:
        yield from _class_faults(name, (*keys, name), known)
        word = composed(str(name))
        if word in seen:
            yield Diagnostic(
                (*keys, name), "must name each class once", f"{show(seen[word])} and {show(name)}", "keep one of them"
            )
        seen[word] = name
    if known.counts is not None and not sum(kept(data, known, name) for name in known.class_names or ()):
        yield nothing_to_train_on(data.keep)


def _subset_faults(subset: Subset, keys: Keys, data: Data, known: DatasetInfo) -> Iterator[Diagnostic]:
    if subset.classes is not None:
        yield from _classes_faults(subset.classes, (*keys, "classes"), data, known)
    if subset.captions is not None and data.captions is None:
        yield without_captions((*keys, "captions"))
    elif subset.captions is not None and known.captions is not None and not any(matching(known.captions, subset.captions)):
        yield no_caption_fits((*keys, "captions"), subset.captions, thinned=False)
    if subset.attributes is not None:
        yield from _attributes_faults(subset.attributes, (*keys, "attributes"), data, known)
    if subset.indices is not None:
        yield from _indices_faults(subset.indices, (*keys, "indices"), known)


def _attributes_faults(wanted: dict[str, bool], keys: Keys, data: Data, known: DatasetInfo) -> Iterator[Diagnostic]:
    """Of several attributes together that nobody has all of them is known once the data are loaded."""
    if data.attributes is not None and known.attributes is None:
        return
    faults = attribute_faults(wanted, list(known.attributes) if known.attributes is not None else None, keys)
    yield from faults
    if faults or known.attributes is None:
        return
    for name, has in wanted.items():
        count = known.attributes[spelt(name, known.attributes) or name]
        if count == (0 if has else known.total):
            yield nobody_has(keys, {name: has}, thinned=False)


def _classes_faults(names: Sequence[ClassName], keys: Keys, data: Data, known: DatasetInfo) -> Iterator[Diagnostic]:
    faults = [fault for position, name in enumerate(names) for fault in _class_faults(name, (*keys, position), known)]
    yield from faults
    if not faults and known.counts is not None and not sum(kept(data, known, name) for name in names):
        yield nothing_kept(keys, names, thinned=any(share(data, name) == 0 for name in names))


def _class_faults(name: ClassName, keys: Keys, known: DatasetInfo) -> Iterator[Diagnostic]:
    if known.labelled is False:
        yield without_labels(keys, name)
    elif known.class_names is not None and find(name, known.class_names) is None:
        remark = ", a sub-folder without images" if composed(str(name)) in known.empty else ""
        yield unknown_class(keys, name, known.class_names, remark)


def _indices_faults(indices: Sequence[int], keys: Keys, known: DatasetInfo) -> Iterator[Diagnostic]:
    seen: set[int] = set()
    for position, index in enumerate(indices):
        if known.total is not None and index >= known.total:
            rule = f"must be positions from 0 to {known.total - 1}"
            yield Diagnostic((*keys, position), rule, str(index), "leave it out")
        elif index in seen:
            yield Diagnostic((*keys, position), "must hold each position once", f"{index} twice", "leave the second out")
        seen.add(index)
