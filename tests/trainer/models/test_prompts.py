"""Several prompts: each sample has its own, the same for every model that is asked about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.loading import Library
from dualsweep.trainer.models.log_flow import Flow
from dualsweep.trainer.models.schedules import own_schedule
from dualsweep.trainer.recipe.model import Model
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.recipe.sampling import Sampling
from dualsweep.trainer.result import Result
from dualsweep.trainer.rng import Stream, drawn, in_turn, normals, whose_turn
from dualsweep.trainer.samplers.rollout import Path as Trajectories
from dualsweep.trainer.samplers.sampling import sample
from dualsweep.trainer.sources.rollout import RolloutSource
from tests.margins import Sampled
from tests.trainer.models.test_build import LORA, aligned, host_in, latest, prepared, train

SHAPE = (2, 4, 4)
TEXTS = ["a red apple", "a blue pear", "a pear"]
SMALL = {"evaluation": {"samples": 5, "sample_steps": 2, "loss_draws": 6, "batch_size": 4, "grid": 0}}


def many(place: str, **sections: Any) -> Recipe:
    return aligned({"load": place, "prompts": TEXTS, "guidance": 2.0}, **{**SMALL, **sections})


def rolled(recipe: Recipe, folder: Path, rank: int = 0, world: int = 1) -> tuple[RolloutSource, Trajectories]:
    host = replace(host_in(recipe, folder), rank=rank, world=world)
    (source,) = prepare(
        recipe.model_copy(update={"rollout": recipe.rollout.model_copy(update={"normalize": False})}), host
    ).sources
    assert isinstance(source, RolloutSource)
    with torch.no_grad():
        return source, source.begin_step(3, np.array([1.0, 0.0]))._rolled_out()  # type: ignore[attr-defined]


def test_each_prompt_has_its_share_of_a_batch(sampled: Sampled) -> None:
    for total, count in ((12, 3), (10, 4), (4, 9)):
        indices = drawn(count, 0, 5, total)
        assert indices is not None and len(indices) == total
        share = torch.bincount(indices, minlength=count).float() - total / count
        assert share.abs().max() < 2 and (total % count or not share.any())
    every = torch.stack([drawn(9, sampled.seed, step, 4) for step in range(4000)])  # type: ignore[misc]
    sampled.near("shares of nine prompts", np.bincount(every.flatten(), minlength=9) / every.numel(), 1 / 9, abs=0.013)
    assert drawn(1, 0, 0, 4) is None and in_turn(0, range(4)) is None
    assert in_turn(3, range(4, 8)).tolist() == [1, 2, 0, 1]  # type: ignore[union-attr]


@pytest.mark.parametrize("count", [65, 100, 1000, 4096, 5000, 10007, 118_287])
def test_the_first_of_many_prompts_that_are_measured_are_spread_over_all(count: int) -> None:
    """Every tenth of the list has its share of any first draws up to four of them; whole turns have each prompt once."""
    order = whose_turn(count, np.arange(2 * count))
    assert np.array_equal(np.sort(order[count // 3 : count // 3 + count]), np.arange(count))
    assert np.array_equal(order[:count], order[count:])
    tenth = np.cumsum(np.eye(10)[order[:count] * 10 // count], axis=0)
    exact = np.bincount(np.arange(count) * 10 // count) / count
    away = np.abs(tenth - np.arange(1, count + 1)[:, None] * exact)
    assert away.max() < 4
    positions = range(count // 2, count // 2 + 50)
    assert in_turn(count, positions).tolist() == order[positions.start : positions.stop].tolist()  # type: ignore[union-attr]
    assert whose_turn(64, np.arange(70, 75)).tolist() == [6, 7, 8, 9, 10]


def test_a_sample_is_predicted_as_under_its_prompt_alone(text_to_image: str) -> None:
    library = Library()
    model = library.predictor(Model(load=text_to_image, prompts=TEXTS, guidance=3.0)).eval()
    x, t = normals(0, Stream.SAMPLING, 0, range(4), SHAPE), torch.tensor([0, 7, 30, 49])
    prompts = torch.tensor([2, 0, 1, 0])
    with torch.no_grad():
        plain, guided = model(x, t, prompts), model.guided(x, t, prompts)
        for i, which in enumerate(prompts):
            one = library.predictor(Model(load=text_to_image, prompt=TEXTS[which], guidance=3.0)).eval()
            torch.testing.assert_close(plain[i : i + 1], one(x[i : i + 1], t[i : i + 1]))
            torch.testing.assert_close(guided[i : i + 1], one.guided(x[i : i + 1], t[i : i + 1]))
    with pytest.raises(ValueError, match="a model of 3 prompts must be told which one each sample has"):
        model(x, t)


def test_samples_have_the_prompts_in_turn(text_to_image: str) -> None:
    library, sampling = Library(), Sampling("ddpm", 3, 1.0)
    model = library.predictor(Model(load=text_to_image, prompts=TEXTS))
    schedule = own_schedule(Model(load=text_to_image, prompt="a"))
    assert schedule is not None
    samples = sample(model, schedule, range(5), SHAPE, sampling=sampling, seed=1, batch_size=2)
    for position in range(5):
        one = library.predictor(Model(load=text_to_image, prompt=TEXTS[position % 3]))
        alone = sample(one, schedule, range(position, position + 1), SHAPE, sampling=sampling, seed=1, batch_size=2)
        torch.testing.assert_close(samples[position : position + 1], alone)


def test_the_trained_and_the_frozen_model_have_one_prompt_at_a_sample(tmp_path: Path, text_to_image: str) -> None:
    source, path = rolled(many(text_to_image), tmp_path)
    assert path.prompts is not None and sorted(path.prompts.tolist()) in ([0, 0, 1, 2], [0, 1, 1, 2], [0, 1, 2, 2])
    values = source.values(path)
    torch.testing.assert_close(values[0], torch.zeros_like(values[0]), atol=1e-9, rtol=0)  # nothing was trained
    with torch.no_grad():
        astray = source.values(replace(path, prompts=path.prompts.roll(1)))[0]
    assert float(astray.sum()) > 1e-6


def test_prompts_do_not_depend_on_the_number_of_workers(tmp_path: Path, text_to_image: str) -> None:
    recipe = many(text_to_image)
    whole = rolled(recipe, tmp_path)[1]
    parts = [rolled(recipe, tmp_path, rank, 2)[1] for rank in range(2)]
    assert whole.prompts is not None
    assert torch.equal(torch.cat([each.prompts for each in parts]), whole.prompts)  # type: ignore[misc]
    torch.testing.assert_close(torch.cat([each.samples for each in parts]), whole.samples)


def red(x: Tensor, prompts: list[str]) -> Tensor:
    """A reward of images and texts."""
    return x.mean((1, 2, 3)) + torch.tensor([100.0 * TEXTS.index(each) for each in prompts])


def rewarded(place: str, reward: dict[str, Any], **sections: Any) -> Recipe:
    return many(place, constraints=[{"name": "own", "reward": reward, "at_least": 0.5}], **sections)


def test_rewards_are_given_each_samples_own_prompt(tmp_path: Path, text_to_image: str) -> None:
    source, path = rolled(rewarded(text_to_image, {"call": "tests.trainer.models.test_prompts:red"}), tmp_path)
    assert path.prompts is not None
    assert torch.equal((source.values(path)[1] / 100).round().long(), path.prompts)


def test_clip_scores_are_of_each_samples_own_prompt(tmp_path: Path, text_to_image: str, clip_folder: Path) -> None:
    def values(**options: str) -> tuple[Tensor, Trajectories]:
        spec = {"clip_score": {"model": str(clip_folder), **options}}
        source, path = rolled(rewarded(text_to_image, spec), tmp_path)
        return source.values(path)[1].detach(), path

    own, path = values()
    assert path.prompts is not None
    each = torch.stack([values(prompt=text)[0] for text in TEXTS])
    torch.testing.assert_close(own, each[path.prompts, torch.arange(4)])


@pytest.mark.parametrize("rollout", [{}, {"gradient": "dag"}], ids=str)
def test_a_resumed_run_of_several_prompts_equals_the_uninterrupted_one(
    tmp_path: Path, text_to_image: str, rollout: dict[str, Any]
) -> None:
    rolling = {"steps": 2, "batch_size": 4, "normalization_samples": 16, **rollout}
    (tmp_path / "prompts.txt").write_text("\n".join(["", *TEXTS, " "]))
    model = {"load": text_to_image, "prompts": str(tmp_path / "prompts.txt"), "lora": LORA}
    recipe = aligned(model, **{**SMALL, "rollout": rolling})
    result = train(recipe, tmp_path / "whole")
    half = recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": 2})})
    train(half, tmp_path / "parts")
    train(recipe, tmp_path / "parts")
    whole, parts = latest(tmp_path / "whole"), latest(tmp_path / "parts")
    assert whole.step == parts.step == 4
    for group in whole.groups:
        assert all(torch.equal(parts.groups[group][name], value) for name, value in whole.groups[group].items())
    assert np.isfinite(result.constraints["bright"].value) and _stored(result)["prompts"] == TEXTS
    inherited = Library().predictor(Model(load=str(tmp_path / "whole")))
    assert inherited.texts == tuple(TEXTS)
    assert Library().predictor(Model(load=str(tmp_path / "whole"), prompt="pear")).texts == ("pear",)


def _stored(result: Result) -> dict[str, Any]:
    stored: dict[str, Any] = yaml.safe_load((Path(str(result.checkpoint)) / "recipe.yaml").read_text())["model"]
    return stored


def test_prompts_of_a_loaded_run_do_not_go_with_terms_on_data(tmp_path: Path, text_to_image: str) -> None:
    train(many(text_to_image, train={"steps": 2, "batch_size": 4}), tmp_path / "a")
    recipe = many(text_to_image).model_dump(mode="json", exclude_defaults=True)
    recipe |= {"model": {"load": str(tmp_path / "a")}, "formulation": "combined"}
    recipe["constraints"] = [{"name": "near", "closeness": {"samples": 4}, "at_most": 0.1}]
    with pytest.raises(TrainingError, match="must go with terms on trajectories alone, but got closeness with the 3 prompts"):
        prepared(Recipe.model_validate(recipe), tmp_path / "b")


def test_prompts_of_a_loaded_run_do_not_go_with_newton(tmp_path: Path, text_to_image: str) -> None:
    """Each has its own tilted law, and the covariance of all samples is not the slope of the slacks."""
    train(many(text_to_image, train={"steps": 2, "batch_size": 4}), tmp_path / "a")
    recipe = many(text_to_image).model_dump(mode="json", exclude_defaults=True)
    recipe |= {"model": {"load": str(tmp_path / "a")}, "dual": {"rule": "newton"}}
    with pytest.raises(TrainingError, match=r"must not be newton with several prompts or classes, but got those of .*secant"):
        prepared(Recipe.model_validate(recipe), tmp_path / "b")


def test_each_prompt_has_its_own_flow() -> None:
    torch.manual_seed(0)
    flow = Flow(SHAPE, 12, 50, prompts=3)
    torch.nn.init.normal_(flow.last.weight)
    x, t = torch.randn(1, *SHAPE).expand(3, *SHAPE), torch.tensor([5, 5, 5])
    assert len(set(flow(x, t, torch.arange(3)).tolist())) == 3


def refused(words: str, model: dict[str, Any], **sections: Any) -> None:
    with pytest.raises(ValueError, match=words):
        aligned({"load": "a/b", **model}, **sections)


def test_lines_of_a_file_end_as_lines_of_text_do(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_bytes("a red\u2028apple\r\na\u0085pear\rplum\n\n".encode())
    assert Model(load="a/b", prompts=str(tmp_path / "prompts.txt")).texts == ("a red\u2028apple", "a\u0085pear", "plum")  # type: ignore[arg-type]  # a file


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    two = {"prompts": ["a", "b"]}
    refused("`prompts` must not stand beside `prompt`, but got both", {"prompt": "a", **two})
    refused("must be a list of texts, or a file of one a line, but got 'no.txt'", {"prompts": "no.txt"})
    refused(
        "`models.x.prompts` must be as many as those of `model`, 3, .* but got 2", {"prompts": TEXTS},
        models={"x": {"load": "a/b", **two}},
    )  # fmt: skip
    refused(
        r"`model.prompts` must go with terms on trajectories alone \(path_kl, reward, share, term\).* but got "
        "constraints.0.closeness", two,
        constraints=[{"name": "near", "closeness": {}, "at_most": 0.1}], formulation="combined",
    )  # fmt: skip
    (tmp_path / "empty.txt").write_text("\n\n")
    refused("at least 1 item", {"prompts": str(tmp_path / "empty.txt")})
