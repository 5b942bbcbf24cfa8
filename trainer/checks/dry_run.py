"""A recipe's data, model, rewards, judge and metrics, built and asked on two samples before any process of a run starts.

Here and on the CPU. What is wrong is told by the key of the recipe that names it; imports the heavy libraries, and may use the
network where the recipe names data or models of a hub.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from dualsweep.trainer.checks.after_loading import info_of, loaded
from dualsweep.trainer.checks.findings import Findings, findings
from dualsweep.trainer.checks.own_metrics import OwnMetrics
from dualsweep.trainer.checks.own_step import own_step_faults
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError, Keys, UnplacedError
from dualsweep.trainer.config.wording import first_line
from dualsweep.trainer.config.yaml_file import Document
from dualsweep.trainer.data import examples
from dualsweep.trainer.data.dataset_info import DatasetInfo
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.splits import Assembled
from dualsweep.trainer.dual.gains import gains_of
from dualsweep.trainer.dual.memory import blank
from dualsweep.trainer.dual.registry import rule_of
from dualsweep.trainer.engine.optimizers import stepper
from dualsweep.trainer.errors import BadPartError, TrainingError
from dualsweep.trainer.evaluation.calibrated_judge import JudgesOfShares
from dualsweep.trainer.evaluation.confusion import check_counts
from dualsweep.trainer.evaluation.images import Rows
from dualsweep.trainer.evaluation.judge import ConvJudge, judge_for
from dualsweep.trainer.evaluation.judge_protocol import Judge, classify, embed
from dualsweep.trainer.feasibility.stages import last_look
from dualsweep.trainer.memory import ran_out
from dualsweep.trainer.models.activation_checkpointing import checkpoint_activations
from dualsweep.trainer.models.build import build, compose, shape_of
from dualsweep.trainer.models.frozen import frozen_models
from dualsweep.trainer.models.loading import Library
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.models.schedules import in_words, noise_schedule
from dualsweep.trainer.models.spaces import Space
from dualsweep.trainer.recipe.model import Model
from dualsweep.trainer.recipe.own_part import OwnPart
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.recipe.share import Share
from dualsweep.trainer.rewards.evaluate import checked
from dualsweep.trainer.rewards.registry import Reward
from dualsweep.trainer.rewards.spec import RewardContext
from dualsweep.trainer.rng import in_turn
from dualsweep.trainer.sources.build import change_faults, frozen_names
from dualsweep.trainer.terms.shipped.share import among_faults, share_of

#: Samples that parts are asked on, and those that a metric is asked on which fails on so few.
FEW, MORE = 2, 64
_CPU = torch.device("cpu")


def dry_run(recipe: Recipe, document: Document) -> Findings:
    """What a training of the recipe begins with, built and asked; the data is read as a run reads it.

    Raises:
        InputError: with what is wrong, by line; of the parts that need the model, once the model is right.
    """
    with _own_randomness():
        wrong, data = loaded(recipe)
        known: list[DatasetInfo] = []
        if data is not None:
            wrong += _placed(lambda: known.append(info_of(data)), ("data",))
        if wrong:
            raise InputError([document.locate(each) for each in wrong])
        trial = _Trial(recipe, data)
        wrong = list(trial.mistakes())
        if wrong:
            raise InputError(sorted((document.locate(each) for each in wrong), key=lambda mistake: mistake.line))
    found = findings(recipe, document, known[0] if known else DatasetInfo(), trial.parameters, trial.schedule)
    odd = [*found.warnings, *(document.locate(each) for each in trial.odd)]
    return Findings(found.data, found.model, found.schedule, tuple(odd))


def counted(parameters: Iterable[nn.Parameter]) -> tuple[int, int]:
    """How many numbers parameters hold, and how many of these are trained."""
    numbers = [(each.numel(), each.requires_grad) for each in parameters]
    return sum(count for count, _ in numbers), sum(count for count, learns in numbers if learns)


@contextlib.contextmanager
def _own_randomness() -> Iterator[None]:
    """Leaves torch's random state and its log as they were: what it would warn of is told by line."""
    log = logging.getLogger(examples.__name__)
    log.addFilter(_never)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            yield
    finally:
        log.removeFilter(_never)


def _never(_: logging.LogRecord) -> bool:
    return False


class _Trial:
    """The parts of one recipe, asked one after another."""

    def __init__(self, recipe: Recipe, data: Assembled | None) -> None:
        self.recipe, self.data = recipe, data
        self.parameters = self.schedule = ""
        self.odd: list[Diagnostic] = []
        self.late: list[Diagnostic] = []  # mistakes that only the model shows, at keys of other sections

    def mistakes(self) -> Iterator[Diagnostic]:
        """What is wrong, with the keys that it is of."""
        if isinstance(self.recipe.dual.rule, OwnPart):
            yield from _placed(partial(_ask_rule, self.recipe, self.recipe.dual.rule), ("dual", "rule", "call"))
        built: list[tuple[Predictor, Space]] = []
        yield from _placed(lambda: built.extend(self._model()), self._model_keys)
        yield from self.late
        if not built:
            return
        predictor, space = built[0]
        two = self._two(space)
        if self.recipe.evaluation.judge.call is not None:
            yield from _placed(partial(self._ask_judge, two), ("evaluation", "judge", "call"))
        for named in self.recipe.terms:
            if isinstance(named.value, Reward):
                keys = (*named.keys, named.value.spec.word)
                yield from _placed(partial(self._ask_reward, named.value, two, predictor.texts), keys)
            elif isinstance(named.value, Share):
                texts, draws = self._texts(predictor), last_look(self.recipe)
                yield from among_faults(named.value, texts, named.keys, draws)
                yield from _placed(partial(self._ask_share, named.value, two), named.keys)
        yield from own_step_faults(self.recipe)
        if self.data is not None:
            own = OwnMetrics(self.recipe, self.data, self._judge)
            for position, name in own.names:
                yield from _placed(partial(own.ask, name, FEW, MORE), ("evaluation", "metrics", position))

    @property
    def _model_keys(self) -> Keys:
        return ("model", _kind(self.recipe.model))

    def _keys_of(self, name: str) -> Keys:
        """Where a frozen model stands."""
        return ("models", name, _kind(self.recipe.models[name])) if name in self.recipe.models else self._model_keys

    def _model(self) -> list[tuple[Predictor, Space]]:
        """The trained model, asked as a run asks it, and the frozen ones; none where parts of a composed one are wrong."""
        recipe = self.recipe
        examples = self.data.examples if self.data is not None else None
        captions = examples.captions if examples is not None else None
        classes = examples.class_names if examples is not None else ()
        texts = captions.texts[:MORE] if captions is not None else ()
        library = Library([str(name) for name in classes], texts, recipe.shows_none)
        space = library.space(recipe.leading, _CPU)
        shape = space.coded(self.data.examples.shape) if self.data is not None else shape_of(recipe.leading, space)
        schedule = noise_schedule(recipe, shape, space)
        trained = None if recipe.model.compose is not None else build(recipe, shape, library)
        names = recipe.composed if trained is None else frozen_names(recipe)
        if trained is not None:
            trained.eval()  # nothing is trained here, and dropout would tell nothing
            self._count(trained)
            self._ask_to_train(trained)
            self._try_times(trained, shape, len(schedule.alphas_cumprod))
        self.late += change_faults(recipe, shape, space.latent)
        frozen: dict[str, Predictor] = {}
        for name in dict.fromkeys(names):
            own = partial(frozen_models, recipe, [name], trained, schedule, shape, _CPU, space, library)
            self.late += _placed(partial(_put, frozen, own), self._keys_of(name))
        if recipe.schedule is None and recipe.leading.load is not None:
            self.schedule = f"{in_words(schedule)}: that of {recipe.leading.load}"
        if trained is None and set(frozen) < set(names):
            return []
        return [(trained if trained is not None else compose(recipe, frozen), space)]

    def _texts(self, predictor: Predictor) -> tuple[str, ...]:
        """What a run's samples are of: all captions of the data, of which the model is asked under the first alone."""
        captions = self.data.examples.captions if self.data is not None else None
        return captions.texts if captions is not None and predictor.of_examples == "captions" else predictor.texts

    def _count(self, predictor: Predictor) -> None:
        total, learned = counted(predictor.inner.parameters())
        which = "all trained" if learned == total else f"{learned:,} of them trained"
        self.parameters = f"{total:,} parameters, {which}"

    def _ask_to_train(self, predictor: Predictor) -> None:
        """Divides activations where that is asked; takes a step of an optimiser of the user's, which is taken back."""
        learned = [each for each in predictor.inner.parameters() if each.requires_grad]
        if self.recipe.train.checkpointing:
            self.late += _placed(partial(checkpoint_activations, predictor), ("train", "checkpointing"))
        if not isinstance(self.recipe.train.optimizer, OwnPart) or not learned:
            return
        keys, least = ("train", "optimizer", "call"), min(learned, key=nn.Parameter.numel)
        before, least.grad = least.clone(), torch.zeros_like(least)
        self.late += _placed(lambda: stepper(learned, self.recipe.train).step(torch.zeros(())), keys)
        least.copy_(before)
        least.grad = None

    def _try_times(self, predictor: Predictor, shape: tuple[int, ...], timesteps: int) -> None:
        """Warns of a model of the user's own that tells samples apart, but not how noisy they are."""
        if self.recipe.model.call is None:
            return
        x, prompts = torch.randn(FEW, *shape), in_turn(len(predictor.texts), range(FEW))
        early, late = (predictor(x, torch.full((FEW,), t), prompts) for t in (0, timesteps - 1))
        if torch.equal(early, late) and not torch.equal(early[0], early[1]):
            received = f"the same prediction at timesteps 0 and {timesteps - 1}"
            remedy = "use its second argument t, unless it learns to with its first steps"
            self.odd.append(Diagnostic(self._model_keys, "should depend on the timestep", received, remedy))

    def _two(self, space: Space) -> Tensor:
        """Two samples [2, *shape] in [-1, 1]: of the data, else noise."""
        if self.data is not None:
            return self.data.examples.fetch(np.resize(np.arange(len(self.data.examples)), FEW))
        return torch.randn(FEW, *space.decoded(shape_of(self.recipe.leading, space))).clamp(-1, 1)

    def _judge(self) -> Judge | None:
        """The user's own judge, or one that has learned nothing yet."""
        spec = self.recipe.evaluation.judge
        if self.data is None:
            return None
        examples = self.data.split.examples
        if spec.call is not None:
            return judge_for(examples, spec, 0, None)
        return (
            ConvJudge(tuple(examples.shape), len(examples.class_names), spec.features) if len(examples.class_names) > 1 else None
        )

    def _ask_judge(self, two: Tensor) -> None:
        judge = self._judge()
        if judge is not None:
            embed(judge, Rows.of(two))
            classify(judge, Rows.of(two))

    def _ask_reward(self, reward: Reward, two: Tensor, texts: tuple[str, ...]) -> None:
        names = self.data.examples.class_names if self.data is not None else ()
        context = RewardContext(tuple(two.shape[1:]), _CPU, self._judge, names, texts)
        asked = checked(reward, context, gradient=self.recipe.rollout.gradient == "backpropagation")
        asked(two, torch.zeros(len(two), dtype=torch.int64) if texts else None)

    def _ask_share(self, share: Share, two: Tensor) -> None:
        """A judge of the user's own on two samples and on its labelled images; of one to be trained these are counted alone."""
        examples = self.data.split.examples if self.data is not None else None
        judges = JudgesOfShares(self.recipe.evaluation.judge, examples, None, _CPU)
        judge, seen = judges.unlearned(share)
        if judge is None:
            check_counts(seen.labels, seen.names)
            return
        with torch.set_grad_enabled(self.recipe.rollout.gradient == "backpropagation"):
            share_of(share, judges(share), self.recipe.rollout.gradient)(two)


def _ask_rule(recipe: Recipe, part: OwnPart) -> None:
    """One dual step of a user's own rule; one of second order is asked first in training, with what is measured there."""
    rule, names = rule_of(part), [each.name for each in recipe.constraints]
    count, memory = len(names), blank(part, len(names))
    if rule.second_order or not count:
        return
    try:
        move = rule.move(np.zeros(count), memory, np.full(count, -0.1), 1.0, gains_of(recipe.dual, names, np.zeros(count)))
        shapes = [np.shape(move.multipliers), np.shape(move.memory)]
    except Exception as error:
        raise BadPartError(f"the dual rule {part} must not fail", f"{type(error).__name__}: {error}", "fix it") from error
    if shapes != [(count,), memory.shape]:
        needed = f"the dual rule {part} must return a Move of multipliers [{count}] and of memory {list(memory.shape)}"
        raise BadPartError(needed, f"{list(shapes[0])} and {list(shapes[1])}", "fix it")


def _kind(model: Model) -> str:
    """The key that says what a model is."""
    return next(word for word in ("unet", "load", "call", "compose") if getattr(model, word) is not None)


def _put(frozen: dict[str, Predictor], made: Callable[[], Mapping[str, Predictor]]) -> None:
    frozen |= made()


def _placed(ask: Callable[[], object], keys: Keys) -> Iterator[Diagnostic]:
    """What goes wrong when something is asked, told at these keys."""
    try:
        ask()
    except UnplacedError as error:
        yield error.diagnostic.at(keys)
    except BadDataError as error:
        yield from error.diagnostics
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        remedy = "check where the training will run"
        yield Diagnostic(keys, "must fit into the memory of this machine", f"`{first_line(error)}`", remedy)
    except TrainingError as error:
        if error.key:
            keys = (*keys[:-1], *error.key.split("."))
        yield Diagnostic(keys, "must be usable before any worker starts", f"`{error}`", "do what that says")
