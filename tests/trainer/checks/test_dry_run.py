"""The dry run: parts of a user's own that are wrong only once they are asked, each told at the key that names it."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dualsweep.trainer.checks.dry_run import dry_run
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.data import examples
from tests.trainer.conftest import WriteModule
from tests.trainer.data.conftest import HEAD, recipe_of
from tests.trainer.models.test_captions import images

DIGITS = "data: {source: digits}\n"
OPTIMIZER = "data: {{source: digits}}\ntrain: {{steps: 9, optimizer: {{call: torch.optim:{}}}}}"
MODULE = """
import torch
from dualsweep.trainer.evaluation.metrics import NotMeasured

class Net(torch.nn.Module):
    def __init__(self, form):
        super().__init__()
        self.scale, self.form = torch.nn.Parameter(torch.ones(3)), form

    def forward(self, x, t):
        time = 0 if self.form == "timeless" else t.view(-1, 1, 1, 1) / 200
        if self.form == "large":
            raise torch.OutOfMemoryError("CUDA out of memory.\\nand more")
        return (x * self.scale.sum() + time)[:, :, : 4 if self.form == "cut" else None]

class Without(torch.nn.Module):
    def forward(self, x):
        return x

good = lambda: Net("")
cut = lambda: Net("cut")
large = lambda: Net("large")
huge = lambda: torch.nn.Linear(1 << 26, 1 << 26)
timeless = lambda: Net("timeless")
without_t = Without
no_module = lambda: "a model"

class Flat(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(2))

    def forward(self, x, t):
        return x * self.scale

flat = Flat
points = lambda: torch.rand(50, 2) * 2 - 1

def mean(x): return x.flatten(1).mean(1)
def scalar(x): return x.mean()
def broken(x): return x.brightness
def counted(x): return len(x)
async def awaited(x): return x.flatten(1).mean(1)
def detached(x): return x.detach().flatten(1).mean(1)

def fine(evidence): return {"a": 1.0, "judged": float(len(evidence.judge.features(evidence.samples)))}
def same(evidence): return {"frechet": 1.0}
def listed(evidence): return [1.0]
def failing(evidence): return {"a": evidence.sample.mean()}
def needs_ten(evidence): return {"a": float(evidence.samples.flatten(1)[9, 0])}
def refusing(evidence): raise NotMeasured("no")

class Judge:
    def features(self, x): return x.flatten(1)
    def probabilities(self, x): return x.mean()

class Bright:
    def probabilities(self, x):
        bright = (4 * x.flatten(1).mean(1, keepdim=True)).sigmoid()
        return torch.cat([1 - bright, bright], 1)

class Blind(Bright):
    def probabilities(self, x): return super().probabilities(x.detach())

def shades():
    return torch.linspace(-1, 1, 40).view(-1, 1, 1, 1).expand(40, 1, 8, 8).contiguous(), ["dark"] * 20 + ["bright"] * 20
"""


@pytest.fixture
def parts(module: WriteModule) -> str:
    return module("dry_parts", MODULE)


def told(text: str, call: str | None = None, head: str = HEAD) -> list[str]:
    head = head if call is None else head.replace("unet: {channels: [16, 32]}", f"call: 'dry_parts:{call}'")
    try:
        dry_run(*recipe_of(text, head))
    except InputError as error:
        return [str(each) for each in error.diagnostics]
    return []


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("cut", "the model's output must have its input's shape (2, 1, 8, 8), but got (2, 1, 4, 8)"),
        ("without_t", "the model must accept samples of shape (1, 8, 8) with timesteps of shape [batch], but got TypeError"),
        ("large", "must fit into the memory of this machine, but got `CUDA out of memory.`; check where the training will run"),
        ("huge", "must fit into the memory of this machine, but got `"),
        ("no_module", "model.call must return a torch.nn.Module, but got str from dry_parts:no_module"),
    ],
)
def test_a_model_that_cannot_be_asked_is_told_at_its_key(parts: str, call: str, says: str) -> None:
    (problem,) = told(DIGITS, call)
    assert problem.startswith(f"recipe.yaml:3: model.call: {says}")


def test_a_good_model_is_told_with_its_parameters(parts: str) -> None:
    head = HEAD.replace("unet: {channels: [16, 32]}", "call: 'dry_parts:good'")
    said = dry_run(*recipe_of(DIGITS, head))
    assert said.model == "dry_parts:good, 3 parameters, all trained" and said.warnings == ()


def test_the_parameters_of_a_unet_are_those_of_diffusers() -> None:
    from dualsweep.trainer.models.build import build

    recipe, document = recipe_of(DIGITS)
    count = sum(each.numel() for each in build(recipe, (1, 8, 8)).parameters())
    assert dry_run(recipe, document).model == f"a new UNet of [16, 32] channels, {count:,} parameters, all trained"


def test_a_model_that_is_given_classes_is_asked_with_them(module: WriteModule) -> None:
    module(
        "dry_classes",
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.table = torch.nn.Embedding(11, 1)\n"
        "    def forward(self, x, t, class_labels):\n"
        "        return x + self.table(class_labels)[:, :, None, None] + t.view(-1, 1, 1, 1)\n",
    )
    for kind in ("unet: {channels: [16, 32]}", "call: 'dry_classes:Net'"):
        head = HEAD.replace("unet: {channels: [16, 32]}", f"{kind}, condition: labels")
        said = dry_run(*recipe_of(DIGITS, head))
        assert "parameters, all trained" in said.model and said.warnings == ()


def test_a_model_that_does_not_look_at_t_is_warned_of(parts: str) -> None:
    head = HEAD.replace("unet: {channels: [16, 32]}", "call: 'dry_parts:timeless'")
    (warning,) = map(str, dry_run(*recipe_of(DIGITS, head)).warnings)
    assert warning.startswith("recipe.yaml:3: model.call: should depend on the timestep, but got the same prediction at")


@pytest.mark.parametrize(
    ("reward", "says"),
    [
        ("mean", None),
        ("scalar", "a reward must return one value for each sample, a tensor [B] of shape [1], but got shape [] from"),
        ("counted", "a reward must return one value for each sample, a tensor [B] of shape [1], but got a int from"),
        ("broken", "the reward dry_parts:broken must not fail, but got AttributeError"),
        ("detached", "`gradient: backpropagation` needs a differentiable reward, but got `dry_parts:detached`"),
    ],
)
def test_a_reward_is_asked_on_two_samples(parts: str, reward: str, says: str | None) -> None:
    problems = told_of_alignment(f"{{name: r, reward: {{call: 'dry_parts:{reward}'}}, at_least: 0.0}}")
    if says is None:
        assert problems == []
    else:
        (problem,) = problems
        assert problem.startswith(f"recipe.yaml:7: constraints.0.reward.call: {says}")


@pytest.mark.parametrize(
    ("share", "says"),
    [
        ("{of: 4}", None),
        ("{of: 4, held_out: 0.001}", "must be usable before any worker starts, but got `a judge of shares must have at least 5"),
        ("{of: dark, judge: 'dry_parts:Bright', classes: [dark, bright], calibration: 'dry_parts:shades'}", None),
        ("{of: 4, judge: 'dry_parts:Judge'}", "the judge's probabilities(x) must be a tensor [1024, any]"),
        ("{of: 4, judge: 'dry_parts:Bright'}", "the judge's probabilities(x) must have a column for each of its 10 classes"),
        (
            "{of: dark, judge: 'dry_parts:Blind', calibration: 'dry_parts:shades', classes: [dark, bright]}",
            "`gradient: backpropagation` needs a differentiable reward, but got `share of dark`, which has no gradient",
        ),
    ],
)
def test_a_judge_of_shares_is_asked_on_its_labelled_images(parts: str, share: str, says: str | None) -> None:
    problems = told_of_alignment(f"{{name: s, share: {share}, at_least: 0.2}}")
    if says is None:
        assert problems == []
    else:
        (problem,) = problems
        assert problem.startswith(f"recipe.yaml:7: constraints.0.share: {says}")


def told_of_alignment(constraint: str) -> list[str]:
    head = HEAD.replace("constrained_training", "alignment").replace("unet: {channels: [16, 32]}", "load: there")
    recipe, document = recipe_of(f"{DIGITS}constraints:\n  - {constraint}\n", head)
    asked = recipe.model_copy(update={"model": recipe_of(DIGITS)[0].model})  # nothing is there: any network will do
    try:
        dry_run(asked, document)
    except InputError as error:
        return [str(each) for each in error.diagnostics]
    return []


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        ("fine", None),
        ("refusing", None),
        ("needs_ten", None),
        ("listed", "the metric dry_parts:listed must return a dict of floats, but got a list"),
        ("failing", "the metric dry_parts:failing must not fail, but got AttributeError"),
        ("same", "the metric dry_parts:same must return keys that are not those of frechet, but got 'frechet'"),
    ],
)
def test_a_metric_is_asked_as_at_the_end(parts: str, metric: str, says: str | None) -> None:
    problems = told(f"{DIGITS}evaluation: {{metrics: [frechet, 'dry_parts:{metric}']}}\n", "good")
    if says is None:
        assert problems == []
    else:
        (problem,) = problems
        assert problem.startswith(f"recipe.yaml:6: evaluation.metrics.1: {says}")


def test_a_judge_is_asked_and_all_that_is_wrong_is_told_at_once(parts: str) -> None:
    judge, metric = told(f"{DIGITS}evaluation: {{judge: {{call: 'dry_parts:Judge'}}, metrics: ['dry_parts:listed']}}\n", "good")
    assert "recipe.yaml:6: evaluation.judge.call: the judge's probabilities(x) must be a tensor [2, any]" in judge
    assert "evaluation.metrics.0" in metric


def test_loaded_data_are_told_and_warned_of(module: WriteModule, caplog: pytest.LogCaptureFixture) -> None:
    module(
        "dry_data",
        "import torch\n"
        "def half(): return torch.rand(100, 3, 8, 8, generator=torch.Generator().manual_seed(0)), [k % 2 for k in range(100)]\n"
        "def last(): return torch.rand(100, 8, 4, 3) * 2 - 1\n"
        "def grey(): return (torch.rand(100, 1, 8, 8) * 2 - 1).repeat(1, 3, 1, 1), [int(k > 9) for k in range(100)]\n",
    )
    with caplog.at_level(logging.WARNING):
        half = dry_run(*recipe_of("data: {call: 'dry_data:half'}\n"))
    assert half.data.startswith("100 examples [3, 8, 8] from ") and half.data.endswith(" to 1, trained on: 0 50, 1 50")
    assert "recipe.yaml:5: data.call: should hold images in [-1, 1]" in str(half.warnings[0]) and len(half.warnings) == 1
    assert not caplog.records  # told once, by line
    few, grey = map(str, dry_run(*recipe_of("data: {call: 'dry_data:grey'}\n")).warnings)
    assert "got 10 of 0;" in few and "grey images that became RGB" in grey


def test_an_example_that_is_not_finite_is_told_by_a_look_at_data_that_are_read_on_demand(
    module: WriteModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "IN_MEMORY_BYTES", 0)
    module(
        "dry_nan",
        "import torch\n"
        "class Data:\n"
        "    def __len__(self): return 500\n"
        "    def __getitem__(self, row): return torch.full((1, 8, 8), float('nan') if row % 7 == 3 else row / 500)\n",
    )
    (problem,) = told("data: {call: 'dry_nan:Data'}\n")
    assert problem.startswith(
        "recipe.yaml:5: data.call: must hold finite numbers, but got nan at position [0, 0, 0] in item 3 of"
    )


def test_channels_that_come_last_are_warned_of(module: WriteModule, parts: str) -> None:
    module("dry_last", "import torch\ndef last(): return torch.rand(100, 8, 4, 3) * 2 - 1\n")
    head = HEAD.replace("unet: {channels: [16, 32]}", "call: 'dry_parts:good'")
    (warning,) = map(str, dry_run(*recipe_of("data: {call: 'dry_last:last'}\n", head)).warnings)
    assert "should hold images [channels, height, width], but got [8, 4, 3], whose channels seem to come last" in warning


def test_the_random_state_and_the_gradient_mode_are_left_alone(parts: str) -> None:
    before = torch.get_rng_state()
    told(DIGITS, "good")
    assert torch.equal(torch.get_rng_state(), before) and torch.is_grad_enabled()


@pytest.mark.dear  # engine/test_loop.py asks the loop, which a dry run builds
def test_nothing_of_ray_starts(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(HEAD + DIGITS)
    code = (
        "import sys\n"
        "from dualsweep.trainer.checks.dry_run import dry_run\n"
        "from dualsweep.trainer.recipe.load import load_recipe\n"
        "print(dry_run(*load_recipe('recipe.yaml')).model, 'ray' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.strip().endswith("parameters, all trained False")


@pytest.mark.parametrize(
    ("text", "call", "key", "says"),
    [
        ("data: {call: 'dry_parts:points', random_flip: true}", "flat", "data.random_flip", "must go with images [C, H, W]"),
        ("data: {call: 'dry_parts:points', random_crop: 1}", "flat", "data.random_crop", "must go with images [C, H, W]"),
        (
            "data: {call: 'dry_parts:points'}\ntrain: {steps: 9, offset_noise: 0.1}",
            "flat",
            "train.offset_noise",
            "whose channels it",
        ),
        (DIGITS + "train: {steps: 9, checkpointing: true}", "good", "train.checkpointing", "checkpoints its own blocks"),
        (OPTIMIZER.format("SGD, options: {beta: 3}"), "good", "train.optimizer.call", "unexpected keyword argument 'beta'"),
        (
            OPTIMIZER.format("LBFGS"),
            "good",
            "train.optimizer.call",
            "without a closure, along dense gradients, but got TypeError",
        ),
        (OPTIMIZER.format("SparseAdam"), "good", "train.optimizer.call", "along dense gradients, but got RuntimeError"),
        (OPTIMIZER.format("SGD, options: {momentum: 0.9}"), "good", "", ""),
        (OPTIMIZER.format("Adam"), None, "", ""),
    ],
)
def test_what_the_steps_would_refuse_is_told_at_its_key(parts: str, text: str, call: str | None, key: str, says: str) -> None:
    head = HEAD.replace("train: {steps: 10}\n", "") if "train:" in text else HEAD
    head = head if call is None else head.replace("unet: {channels: [16, 32]}", f"call: 'dry_parts:{call}'")
    try:
        dry_run(*recipe_of(f"{text}\n", head))
        problems = []
    except InputError as error:
        problems = [str(each) for each in error.diagnostics]
    assert len(problems) == bool(key) and all(f" {key}: " in each and says in each for each in problems), problems


def test_a_pattern_of_prompts_is_held_against_those_of_the_model(parts: str) -> None:
    """Which a model that is loaded brings with it, so that only building it shows them."""
    share = "{name: a, share: {of: 4, among: [fuor]}, at_least: 0.1}"
    head = HEAD.replace("constrained_training", "alignment").replace("unet: {channels: [16, 32]}", "load: there")
    recipe, document = recipe_of(f"{DIGITS}constraints:\n  - {share}\n", head)
    network = recipe_of(DIGITS, HEAD.replace("[16, 32]}", "[16, 32]}, condition: labels"))[0].model
    with pytest.raises(InputError, match=r"share.among.0: must fit a prompt or class that the model is given, but got 'fuor'"):
        dry_run(recipe.model_copy(update={"model": network}), document)


def test_a_pattern_of_captions_is_held_against_all_of_the_data(parts: str, tmp_path: Path, text_to_image: str) -> None:
    """The model is asked under a few of them alone."""
    folder = images(tmp_path / "images", tuple(f"pear {number}" for number in range(80)))
    share = "{of: dark, judge: 'dry_parts:Bright', calibration: 'dry_parts:shades', classes: [dark, bright], among: [%s]}"
    head = HEAD.replace("constrained_training", "alignment")
    head = head.replace("unet: {channels: [16, 32]}", f"load: {text_to_image}, condition: captions")
    for pattern, faults in (("pear 79", 0), ("pear 80", 1)):
        data = f"data: {{folder: {folder}, captions: text, grey: true}}\n"
        told_of_it = told(f"{data}constraints:\n  - {{name: a, share: {share % pattern}, at_least: 0.1}}\n", head=head)
        assert len(told_of_it) == faults and all("share.among.0: must fit a prompt" in each for each in told_of_it), told_of_it


def test_a_reward_that_is_a_coroutine_is_refused_without_a_warning_of_python(
    parts: str, recwarn: pytest.WarningsRecorder
) -> None:
    [problem] = told_of_alignment("{name: a, reward: {call: 'dry_parts:awaited'}, at_least: 0.5}")
    assert "must return one value for each sample" in problem and "but got a coroutine" in problem
    gc.collect()
    assert not [each for each in recwarn if "never awaited" in str(each.message)]


def test_a_frozen_model_that_does_not_fit_is_told_at_its_own_line(parts: str) -> None:
    models = "models:\n  near: {call: 'dry_parts:good'}\n  far: {call: 'dry_parts:cut'}\n"
    terms = (
        "constraints:\n  - {name: a, closeness: {to: near}, at_most: 1.0}\n  - {name: b, closeness: {to: far}, at_most: 1.0}\n"
    )
    (problem,) = told(f"{DIGITS}{models}{terms}", "good")
    assert problem.startswith("recipe.yaml:8: models.far.call: "), problem
