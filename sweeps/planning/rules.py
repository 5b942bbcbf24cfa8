"""What a sweep must keep to that its schema and its search cannot tell: its keys among each other, and with its recipe.

Imports nothing heavy: bad input is answered before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dualsweep.analysis.database import wrong_with_file, wrong_with_writing
from dualsweep.analysis.tracking_uri import VARIABLE
from dualsweep.analysis.tracking_uri import wrong_with as wrong_with_tracking
from dualsweep.sweeps.planning.budgets import NAME
from dualsweep.sweeps.planning.kinds import holds
from dualsweep.sweeps.planning.schema import Sweep
from dualsweep.sweeps.planning.search import Parameter, apply
from dualsweep.sweeps.planning.study_address import storage_url, wrong_with
from dualsweep.trainer import metric_names
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError, Keys, RulesError
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.uris import BadPlaceError
from dualsweep.trainer.config.wording import nearest, show
from dualsweep.trainer.config.yaml_file import Document, validate
from dualsweep.trainer.recipe.base import ClassName
from dualsweep.trainer.recipe.load import OverlaidDocument
from dualsweep.trainer.recipe.recipe import Recipe


def check_direction(document: OverlaidDocument, recipe: OverlaidDocument) -> list[Diagnostic]:
    """The front looks for what the trials look for."""
    objectives, own = document.data.get("objectives"), recipe.data.get("objective")
    asked = objectives.get("objective") if isinstance(objectives, dict) else None
    wanted = "maximize" if isinstance(own, dict) and own.get("maximize") is True else "minimize"
    if asked not in ("minimize", "maximize") or asked == wanted:
        return []
    return [
        document.diagnostic(("objectives", "objective"), f"must be the recipe's direction, {wanted}", asked, f"write {wanted}")
    ]


def check_points(
    document: OverlaidDocument, sweep: Sweep, parameters: Sequence[Parameter], recipe: OverlaidDocument
) -> list[Diagnostic]:
    """What is tried first must be within the search, and make valid recipes."""
    problems, kinds = [], {each.name: each.kind for each in parameters}
    if sweep.points and sweep.sampler.name == "grid":
        remedy = "drop `points`, or take another sampler"
        return [document.diagnostic(("points",), "must go with a sampler that leaves values out", "grid", remedy)]
    for position, point in enumerate(sweep.points):
        keys: Keys = ("points", position)
        wrong = [name for name in point if name not in kinds or not holds(kinds[name], point[name])]
        for name in wrong:
            kind = kinds.get(name)
            rule = "must name a searched parameter" if kind is None else f"must be within {kind.word} {list(kind.ends)}"
            remedy = nearest(name, list(kinds)) if kind is None else "change it, or widen the search"
            problems.append(document.diagnostic((*keys, name), rule, f"`{name}`" if kind is None else show(point[name]), remedy))
        if not wrong:
            try:
                validate(Recipe, Document(recipe.file, apply(recipe.data, point)))
            except InputError as error:
                diagnostic = error.diagnostics[0]
                rule = f"must make a valid recipe, in which `{diagnostic.key}` {diagnostic.rule}"
                problems.append(document.diagnostic(keys, rule, diagnostic.received, diagnostic.remedy))
    return problems


def check_tracking(document: OverlaidDocument, written: str | None, uri: str) -> list[Diagnostic]:
    """What is wrong with MLflow's store, as far as that can be told without MLflow: at a sweep's end it would be too late."""
    keys: Keys = ("mlflow", "tracking_uri")
    try:
        wrong = wrong_with_tracking(uri)
        state = wrong_with_file(uri) or wrong_with_writing(uri) if wrong is None else None
    except BadPlaceError as error:
        return [document.locate(error.diagnostic.at(keys))]
    if state is not None:
        return [document.diagnostic(keys, *state)]
    if wrong is None:
        return []
    received = repr(masked(written or uri)) + ("" if written else f" ({VARIABLE})")
    return [document.diagnostic(keys, wrong[0], received, wrong[1])]


def check_storage(document: OverlaidDocument, tracking_uri: str) -> list[Diagnostic]:
    """What is wrong with the study's storage, as far as that can be told without connecting to it."""
    written = document.data.get("storage")
    if not isinstance(written, str):
        return []
    wrong = wrong_with(written)
    if wrong is not None:
        return [document.diagnostic(("storage",), wrong[0], repr(masked(written)), wrong[1])]
    if storage_url(written) == tracking_uri:
        rule = "must not be MLflow's own database"
        return [document.diagnostic(("storage",), rule, repr(masked(written)), "name another file or database")]
    return []


def check_warm_start(document: OverlaidDocument, sweep: Sweep) -> list[Diagnostic]:
    """Trials of other sweeps: for samplers that learn from them, and from places that can be."""
    learning = ("tpe", "gp", NAME)
    if sweep.warm_start and sweep.sampler.name not in learning:
        rule, remedy = f"must go with a sampler that learns from them: {', '.join(learning)}", "drop it, or take one of these"
        return [document.diagnostic(("warm_start",), rule, sweep.sampler.name, remedy)]
    problems = []
    for position, source in enumerate(sweep.warm_start):
        wrong = wrong_with(source.storage) if source.storage is not None else None
        if wrong is not None:
            problems.append(document.diagnostic(("warm_start", position), wrong[0], repr(source.name), wrong[1]))
        if source.output is not None and not (Path(source.output) / "records").is_dir():
            rule, remedy = "must be the output folder of a sweep", "correct the path, from the working directory"
            problems.append(document.diagnostic(("warm_start", position), rule, f"{source.output!r} without `records`", remedy))
    return problems


#: What else than `own_metrics` runs may have, some of them as their recipes are.
_OTHERS = (
    metric_names.EVALUATION,
    metric_names.SCALE,
    metric_names.SYSTEM,
    metric_names.RELAXATION,
    metric_names.judge_error(""),
    metric_names.scale_error(""),
    metric_names.samples_error(""),
)
_EXAMPLES = ("frechet", "tv_from_uniform", "accuracy", "copied_share", "nearest_distance", "share/CLASS")


def own_metrics(names: Sequence[str]) -> list[str]:
    """The metrics that every run with these constraints has, beside those of its evaluation."""
    known = ["objective", "lagrangian", *([metric_names.LARGEST_VALUE, metric_names.LARGEST_VIOLATION] if names else [])]
    return known + [f"{prefix}/{name}" for prefix in ("value", "slack", "multiplier") for name in names]


def check_objectives(document: OverlaidDocument, names: Sequence[str], implied: Iterable[str] = ()) -> list[Diagnostic]:
    """Metrics that no run of this recipe can have, and a reference point of another length.

    `implied` are the objectives where the sweep names none: of none it is not known how many there are.
    """
    problems = []
    objectives, point = document.data.get("objectives"), document.data.get("reference_point")
    objectives = objectives if isinstance(objectives, dict) else {}
    known = own_metrics(names)
    for metric in map(str, objectives):
        if metric not in known and not metric.startswith(_OTHERS):
            remedy = f"{nearest(metric, known)}, or a metric of the evaluation, `eval/...`"
            problems.append(
                document.diagnostic(("objectives", metric), "must be a metric of the recipe's runs", f"`{metric}`", remedy)
            )
    counted = list(map(str, objectives or implied))
    if isinstance(point, list) and counted and len(point) != len(counted):
        rule = f"must hold one number for each of the {len(counted)} objectives"
        remedy = f"write one number for each, in their order: {', '.join(counted)}"
        problems.append(document.diagnostic(("reference_point",), rule, show(point), remedy))
    return problems


def _named(document: Document) -> list[tuple[str, ...]]:
    """Where a sweep names metrics: its objectives, and what the preferred point meets."""
    prefer = document.data.get("prefer")
    objectives, limited = document.data.get("objectives"), prefer.get("meets") if isinstance(prefer, dict) else None
    places = [("objectives", objectives), ("prefer", "meets", limited)]
    return [(*map(str, keys), str(each)) for *keys, named in places if isinstance(named, dict) for each in named]


def check_measured(document: Document, recipe: Recipe) -> list[Diagnostic]:
    """Metrics of the evaluation that the recipe's does not measure; of a user's own metric that is known once it does."""
    asked = recipe.evaluation
    problems = []
    for keys in _named(document):
        metric = keys[-1]
        name = metric.removeprefix(metric_names.EVALUATION)
        if name == metric or re.fullmatch(metric_names.HELD_OUT, name):
            continue
        rule = "must be a metric that the recipe's evaluation measures"
        if not asked.samples:
            received, remedy = f"`{metric}` with evaluation.samples 0", "write e.g. evaluation.samples: 1000"
            problems.append(document.diagnostic(keys, rule, received, remedy))
        elif not any(re.fullmatch(metric_names.MEASURED.get(each, ".*"), name) for each in asked.metrics):
            able = next((each for each, called in metric_names.MEASURED.items() if re.fullmatch(called, name)), None)
            remedy = nearest(name, _EXAMPLES) if able is None else f"name {able} in evaluation.metrics"
            problems.append(document.diagnostic(keys, rule, f"`{metric}`", remedy))
    return problems


def check_classes(document: Document, recipe: Recipe, classes: Sequence[ClassName]) -> Iterator[Diagnostic]:
    """Metrics of classes that the data do not have; a user's own metric may speak of others."""
    if not all(each in metric_names.MEASURED for each in recipe.evaluation.metrics):
        return
    known = metric_names.of_classes(classes)
    for keys in _named(document):
        of_class = re.fullmatch(rf"{metric_names.EVALUATION}{metric_names.OF_CLASS}/(.*)", keys[-1])
        if of_class is not None and of_class[1] not in known:
            yield document.diagnostic(keys, "must be of a class of the data", f"`{keys[-1]}`", nearest(of_class[1], known))


def check_seeds(document: OverlaidDocument, count: int, first: int, parameters: Sequence[Parameter]) -> list[Diagnostic]:
    """Trainings of one trial differ by their seeds, which nothing else may set."""
    if count > 1 and any(each.name == "seed" for each in parameters):
        rule, remedy = "must be 1 where the search varies `seed`", "drop `seed` from the search, or `seeds`"
        return [document.diagnostic(("seeds",), rule, str(count), remedy)]
    if first + count > 2**31:
        rule, remedy = "must leave every seed below 2147483648", "lower the recipe's `seed`"
        return [document.diagnostic(("seeds",), rule, f"{count} from {first} on", remedy)]
    return []


def check_amortised(document: OverlaidDocument, recipe: Recipe, whole: Callable[[], Recipe | None]) -> list[Diagnostic]:
    """A recipe of trials that is amortised itself, and an amortised training that its recipe does not allow; `whole` makes it."""
    if recipe.amortised is not None:
        rule = "must be of a recipe without `amortised`, as each trial has budgets of its own"
        return [document.diagnostic(("recipe",), rule, "one with it", "move it to the sweep, as `amortised`")]
    try:
        whole()
    except ValidationError as error:
        return [each for one in error.errors() for each in _of_the_whole(document, one)]
    return []


def _of_the_whole(document: OverlaidDocument, error: ErrorDetails) -> list[Diagnostic]:
    """What a rule says of the amortised training's recipe, told at the key that makes it."""
    cause = error.get("ctx", {}).get("error")
    if not isinstance(cause, RulesError):
        return [document.diagnostic(("amortised",), error["msg"], show(error["input"]), "fix it, or drop `amortised`")]
    return [document.locate(each.at(("amortised",))) for each in cause.diagnostics]
