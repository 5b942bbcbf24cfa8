"""Networks that are given the class of every example."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, DiffusionPipeline, DiTTransformer2DModel, UNet2DModel
from torch import Tensor, nn
from typer.testing import CliRunner

from dualsweep.sweeps.cli import app
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.engine.sample_command import draw, restore
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.exporting.folder import write_pipeline
from dualsweep.trainer.models.build import build_model
from dualsweep.trainer.models.loading import Library
from dualsweep.trainer.recipe.model import Model
from dualsweep.trainer.recipe.recipe import Recipe
from tests.trainer.engine.test_loop import run
from tests.trainer.models.test_build import prepared
from tests.trainer.recipes import digits

CENTRES, SHARES = np.array([[-1.0, 0.5], [0.8, 0.2], [0.1, -0.9]], dtype=np.float32), np.array([0.6, 0.3, 0.1])
CALLED = "tests.trainer.models.test_labels:"


class Points(nn.Module):
    """The noise where each class is one point, exact where the point of a class is its own."""

    def __init__(self) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.zeros(4, 2))
        self.signal: Tensor
        self.register_buffer("signal", DDPMScheduler(20, beta_schedule="linear").alphas_cumprod)

    def forward(self, x: Tensor, t: Tensor, class_labels: Tensor) -> Tensor:
        a = self.signal[t][:, None]
        return (x - a.sqrt() * self.points[class_labels]) / (1 - a).sqrt()


def points() -> nn.Module:
    return Points()


def examples() -> Any:
    labels = np.repeat(np.arange(3), (SHARES * 200).astype(int))
    return CENTRES[labels], labels


def of_points(**sections: Any) -> Recipe:
    plain = {
        "name": "points", "formulation": "constrained_training",
        "model": {"call": CALLED + "points", "condition": "labels"}, "data": {"call": CALLED + "examples"},
        "schedule": {"timesteps": 20, "name": "linear"}, "constraints": [],
        "train": {"steps": 400, "batch_size": 64, "lr": 0.05, "lr_schedule": "cosine", "condition_dropout": 0.3, "clip": None},
        "evaluation": {"samples": 0, "loss_draws": 64, "metrics": []},
    }  # fmt: skip
    for name, value in sections.items():
        plain[name] = {**plain[name], **value} if isinstance(plain.get(name), dict) else value  # type: ignore[dict-item]
    return Recipe.model_validate(plain)


def test_each_class_learns_its_own_and_none_the_mean_of_all(tmp_path: Path) -> None:
    """The least squares of a point: each class's own; without a class the mean over the data, by their shares."""
    result, *_ = run(of_points(), tmp_path / "run")
    network: Any = restore(str(result.checkpoint)).predictor.inner
    learned = network.points.detach().numpy()
    assert np.abs(learned[:3] - CENTRES).max() < 0.02
    # Of some 7,000 draws without a class; a mean of the last of them, as rates and averages forget.
    assert np.abs(learned[3] - SHARES @ CENTRES).max() < 0.15


def test_without_dropout_no_example_is_shown_without_its_class(tmp_path: Path) -> None:
    result, *_ = run(of_points(train={"condition_dropout": 0.0, "steps": 50}), tmp_path / "run")
    network: Any = restore(str(result.checkpoint)).predictor.inner
    assert (network.points[3] == 0).all() and (network.points[:3] != 0).all()


class Configured(Points):
    """With a configuration as users keep theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(width=2)


def test_a_network_of_ones_own_may_have_a_configuration_of_any_kind(tmp_path: Path) -> None:
    result, *_ = run(of_points(model={"call": CALLED + "Configured"}, train={"steps": 2}), tmp_path / "run")
    assert restore(str(result.checkpoint)).predictor.texts == ("0", "1", "2")


def own_transformer() -> DiTTransformer2DModel:
    return DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=4, in_channels=1, num_layers=1, norm_num_groups=1, sample_size=8, patch_size=2,
        num_embeds_ada_norm=11,
    )  # fmt: skip


def test_a_transformer_of_ones_own_is_given_every_label_in_training_too(tmp_path: Path) -> None:
    """By itself it drops one in ten, by torch's own generator."""
    recipe = digits(model={"unet": None, "call": CALLED + "own_transformer", "condition": "labels"})
    predictor = prepared(recipe, tmp_path).primal.predictor.train()
    x, t, labels = torch.randn(64, 1, 8, 8), torch.full((64,), 20), torch.arange(64) % 10
    first, second = (predictor(x, t, labels) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


LABELS = {"unet": {"channels": [8]}, "condition": "labels", "guidance": 2.0}
SHORT = {"steps": 2, "condition_dropout": 0.2}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run on the digits by label."""
    folder = tmp_path_factory.mktemp("labels")
    recipe = digits(model=LABELS, train=SHORT, evaluation={"samples": 20, "grid": 0})
    result, *_ = run(recipe, folder / "run")
    assert {"eval/accuracy", "eval/accuracy_error", "eval/accuracy/9"} <= set(result.metrics)
    return str(folder / "run")


def test_samples_have_the_classes_in_turn_or_one_with_guidance_away_from_none(trained: str) -> None:
    model = restore(_checkpoint(trained))
    assert model.predictor.texts == tuple(map(str, range(10))) and model.predictor.guidance == 2.0
    x, t, network = torch.randn(3, 1, 8, 8), torch.tensor([3, 20, 40]), model.predictor.inner
    with torch.no_grad():
        given, without = (network(x, t, class_labels=torch.tensor(which)).sample for which in ([4, 0, 9], [10, 10, 10]))
        led = model.predictor.guided(x, t, torch.tensor([4, 0, 9]))
    torch.testing.assert_close(led, without + 2 * (given - without))
    turns, fours = draw(model, 20, steps=2), draw(model, 20, steps=2, label="4")
    assert [torch.equal(turns[k], fours[k]) for k in range(20)] == [k % 10 == 4 for k in range(20)]


def test_langevin_steps_too_are_asked_for_the_classes_in_turn_or_for_one(trained: str) -> None:
    """Their sizes are of chains of all classes, so a sample is that of its position and class in any batch."""
    model = restore(_checkpoint(trained))
    turns = draw(model, 12, sampler="langevin", steps=2)
    assert turns.shape == (12, 1, 8, 8) and bool(turns.isfinite().all())
    torch.testing.assert_close(draw(model, 4, sampler="langevin", steps=2, batch_size=3), turns[:4], rtol=0, atol=1e-4)
    fours = draw(model, 12, sampler="langevin", steps=2, label="4")
    assert [torch.equal(turns[k], fours[k]) for k in range(12)] == [k == 4 for k in range(12)]


def test_the_command_tells_of_too_many_steps_of_any_sampler(trained: str, tmp_path: Path) -> None:
    for sampler, rule in (("ddim", "the sampler must take at most the schedule's 50 steps"),
                          ("rollout", "rollout.steps must be at most the schedule's 50")):  # fmt: skip
        options = ["--sampler", sampler, "--steps", "51", "--output", str(tmp_path / sampler)]
        done = CliRunner().invoke(app, ["sample", trained, *options])
        assert isinstance(done.exception, InputError)
        assert str(done.exception) == f"command line:1: --steps: {rule}, but got 51; lower it"


def _checkpoint(folder: str) -> str:
    return str(max((Path(folder) / "checkpoints").glob("step-*")))


def test_an_unknown_class_is_refused_by_name(trained: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--label: must be a class of the model: 0, 1, .* but got 'cat'"):
        draw(restore(_checkpoint(trained)), 1, label="cat")
    plain, *_ = run(digits(train={"steps": 1}, evaluation={"samples": 0}), tmp_path / "plain")
    with pytest.raises(InputError, match=r"--label: must go with a model that is given the class of every example"):
        draw(restore(str(plain.checkpoint)), 1, label="4")


def test_a_prompt_for_a_run_by_label_is_told_what_it_takes(trained: str) -> None:
    with pytest.raises(TrainingError, match=r"network that takes text, but .* takes a class; write `label`, to sample `--label`"):
        restore(_checkpoint(trained), prompt="four")


def test_a_run_by_label_is_taken_up_whole_or_at_one_of_its_classes(trained: str) -> None:
    whole = Library().predictor(Model(load=trained))
    one = Library().predictor(Model(load=trained, label=4))
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([3, 20])
    with torch.no_grad():
        torch.testing.assert_close(one(x, t), whole(x, t, torch.tensor([4, 4])))
        torch.testing.assert_close(one.guided(x, t), whole.guided(x, t, torch.tensor([4, 4])))
    assert not one.texts and whole.by_label
    with pytest.raises(TrainingError, match=r"`label` must be from 0 to 9, but got 11"):
        Library().predictor(Model(load=trained, label=11))


def test_it_is_tuned_on_data_of_its_own_classes_close_to_itself(trained: str, tmp_path: Path) -> None:
    """Where nothing has changed its distance from the model that it starts from is none, on samples of all classes."""
    near = [{"name": "near", "closeness": {"samples": 16}, "at_most": 0.1}]
    tuned = digits(
        model={"unet": None, "load": trained}, constraints=near, train={**SHORT, "lr": 1e-9}, evaluation={"samples": 0}
    )
    result, *_ = run(tuned, tmp_path / "tuned")
    assert result.constraints["near"].value == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(TrainingError, match=r"trained on those that it knows, .* but got \['0', '1', '2'\]"):
        run(of_points(**_others(trained)), tmp_path / "others")


def _others(trained: str) -> dict[str, Any]:
    return {
        "model": {"call": None, "load": trained},
        "data": {"call": CALLED + "images"},
        "schedule": {"timesteps": 50, "name": None},
    }


def images() -> Any:
    labels = np.arange(30) % 3
    return np.zeros((30, 1, 8, 8), dtype=np.float32), labels


def test_a_network_of_diffusers_is_trained_on_labels(tmp_path: Path) -> None:
    torch.manual_seed(0)
    UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8,), norm_num_groups=4, num_class_embeds=12,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), add_attention=False,
    ).save_pretrained(tmp_path / "unet")  # fmt: skip
    spec = {"unet": None, "load": str(tmp_path / "unet"), "condition": "labels"}
    result, *_ = run(digits(model=spec, train={"steps": 2}, evaluation={"samples": 10, "grid": 0}), tmp_path / "run")
    again = restore(str(result.checkpoint)).predictor
    assert again.texts == tuple(map(str, range(10))) and not again.has_unconditional
    with pytest.raises(TrainingError, match="`guidance` must go with a network that also knows no class"):
        run(digits(model={**spec, "guidance": 2.0}, train={"steps": 2}), tmp_path / "guided")
    with pytest.raises(TrainingError, match=r"train.condition_dropout must go with .* but model always has its class"):
        run(digits(model=spec, train=SHORT), tmp_path / "dropped")


def test_guidance_leads_away_from_no_class_only_where_that_was_learned(trained: str, tmp_path: Path) -> None:
    """Without dropout its embedding is the one that the network began with."""
    plain = digits(model={**LABELS, "guidance": None}, train={"steps": 2}, evaluation={"samples": 0})
    run(plain, tmp_path / "plain")
    model = restore(_checkpoint(str(tmp_path / "plain")))
    (tmp_path / "out").mkdir()
    assert not write_pipeline(model, tmp_path / "out").guided
    out = str(tmp_path / "out")
    pipeline: Any = DiffusionPipeline.from_pretrained(out, custom_pipeline=out, trust_remote_code=True)
    with pytest.raises(ValueError, match="`guidance_scale` must go with a model of an unconditional prediction"):
        pipeline(guidance_scale=2.0)
    led = {"unet": None, "load": str(tmp_path / "plain"), "guidance": 2.0}
    with pytest.raises(TrainingError, match="`guidance` must go with a network that has learned what is of no class"):
        run(digits(model=led, train={"steps": 1}), tmp_path / "led")
    run(digits(model=led, train=SHORT, evaluation={"samples": 0}), tmp_path / "dropped")
    more = {"unet": None, "load": str(tmp_path / "dropped"), "guidance": 3.0}
    run(digits(model=more, train={"steps": 1}, evaluation={"samples": 0}), tmp_path / "more")
    assert all(restore(_checkpoint(str(tmp_path / name))).predictor.has_unconditional for name in ("dropped", "more"))


def test_a_network_of_ones_own_may_know_none_already() -> None:
    """What its function returns may be trained weights; a run that begins from another may have learned it there."""
    own = digits(model={"unet": None, "call": CALLED + "own_transformer", "condition": "labels", "guidance": 2.0})
    built = build_model(own.model, (1, 8, 8), 0, Library([str(name) for name in range(10)], (), own.shows_none))
    assert not own.shows_none and built.has_unconditional
    assert digits(model=LABELS, start={"from": "runs/x"}).shows_none


@pytest.mark.parametrize(
    "sections, told",
    [
        ({"train": {"condition_dropout": 0.1}}, "train.condition_dropout` must go with a model that is given the class"),
        ({"model": {**LABELS}}, "model.guidance` must go with train.condition_dropout"),
        ({"model": {**LABELS, "label": 3}, "train": SHORT}, "must go with `load`"),
        ({"model": {"unet": {"channels": [8]}, "guidance": 2.0}}, "must go with `load`"),
    ],
)
def test_what_does_not_go_together_is_refused(sections: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        digits(**sections)


def test_a_single_class_is_no_condition(tmp_path: Path) -> None:
    recipe = of_points(data={"call": CALLED + "of_one"})
    with pytest.raises(TrainingError, match="must have data of two classes or more, but got 1"):
        run(recipe, tmp_path / "run")


def of_one() -> Any:
    return np.zeros((8, 2), dtype=np.float32), np.zeros(8, dtype=int)
