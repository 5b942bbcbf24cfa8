"""Every example of the guides, trained for a few steps in this process, in a folder of its own as users have it."""

from __future__ import annotations

import math
import runpy
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.checks.dry_run import dry_run
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.sample_command import draw, restore
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.recipe.load import load_recipe
from dualsweep.trainer.result import Result

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "docs" / "examples"
SHORT = ["train.steps=6", "train.batch_size=16", "evaluation.samples=8", "evaluation.sample_steps=3", "evaluation.loss_draws=64"]
OWN = ("my_data", "my_model", "my_judge", "my_reward", "heavy_ball", "asymmetry", "brightness", "bounded_advantage")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """With several, threads of tiny models wait for each other more than they compute where tests run side by side."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the examples as the working directory, which the modules are then imported from."""
    folder = tmp_path / "project"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in OWN:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield folder
    for name in OWN:
        sys.modules.pop(name, None)


@pytest.fixture
def images(project: Path) -> Path:
    """The same, with the data that `make_images.py` writes."""
    runpy.run_path("make_images.py")
    return project


def trained(name: str, *sets: str) -> Result:
    recipe, document = load_recipe(Path(name), [*SHORT, *sets])
    assert dry_run(recipe, document).model
    folder = Path("runs") / recipe.name
    host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(folder / "checkpoints")))
    result = run_worker(recipe, host, str(folder), None)
    assert result is not None and result.status in ("converged", "out_of_steps") and result.steps == 6
    assert math.isfinite(result.objective) and all(math.isfinite(each.slack) for each in result.constraints.values())
    return result


def test_an_image_folder_and_a_training_that_starts_from_its_checkpoint(images: Path) -> None:
    first = trained("folder.yaml", "evaluation.judge.epochs=1")
    assert first.constraints.keys() == {"four"} and "eval/share/4" in first.metrics
    shutil.copytree(str(first.checkpoint), "pretrained")
    assert trained("pretrained.yaml", "evaluation.judge.epochs=1").metrics["eval/frechet"] >= 0


def test_a_saved_hugging_face_data_set(images: Path) -> None:
    assert "eval/share/4" in trained("dataset.yaml", "evaluation.judge.epochs=1").metrics


def test_the_folder_and_the_saved_data_set_are_the_same_data(images: Path) -> None:
    from dualsweep.trainer.data.load import load

    specs = [load_recipe(Path(name), [])[0].data for name in ("folder.yaml", "dataset.yaml")]
    both = [load(spec) for spec in specs if spec is not None]
    assert len(both[0]) == len(both[1]) == 1797 and both[0].class_names == both[1].class_names == tuple(range(10))


def test_data_model_constraints_judge_and_metric_by_import_path(project: Path) -> None:
    result = trained("points.yaml")
    assert list(result.constraints) == ["right", "high", "first"]
    assert {"eval/spread_x", "eval/spread_y", "eval/share/left", "eval/share/right", "eval/frechet"} <= result.metrics.keys()


def test_the_constraints_of_the_points_are_what_the_guide_says(project: Path) -> None:
    from dualsweep.trainer.data.splits import assemble

    data = assemble(load_recipe(Path("points.yaml"), [])[0])
    right, high, first = data.rows[1:]
    assert right.tolist() == list(range(900, 1000))
    assert high.tolist() == list(range(1000, 1050))  # a data set of its own, numbered after the data
    assert first.tolist() == [0, 1, 2]


@pytest.mark.dear  # trainer/models/test_text_to_image.py and test_composed.py train such
def test_text_to_image_models_under_adapters_their_compositions_and_several_prompts(project: Path) -> None:
    from tests.trainer import tiny

    shutil.move(tiny.text_to_image(project / "made"), "stable-diffusion")
    small = ["rollout.steps=3", "rollout.batch_size=4", "rollout.normalization_samples=16", "evaluation.loss_draws=8"]
    assert trained("text-to-image.yaml", *small).constraints.keys() == {"bright"}
    sampling = ["product.samples=8", "product.levels=2", "product.steps=1", "dual.every=2", "evaluation.loss_draws=8"]
    composed = trained("adapters.yaml", *sampling)
    assert sum(each.multiplier for each in composed.constraints.values()) == pytest.approx(1.0)
    tiny.clip(project / "clip")
    assert trained("prompts.yaml", *small).constraints.keys() == {"faithful", "bright"}
    small = ["rollout.steps=3", "rollout.batch_size=4", "product={samples: 8, levels: 2, steps: 1}", "evaluation.loss_draws=8"]
    for untrained in (trained("adapters-dual-only.yaml", *small), trained("concepts.yaml", *small)):
        assert sum(each.multiplier for each in untrained.constraints.values()) == pytest.approx(1.0)


def test_flow_matching_and_edm(project: Path) -> None:
    for name in ("flow.yaml", "edm.yaml"):
        assert trained(name, "evaluation.judge.epochs=1").constraints.keys() == {"four"}


def test_a_dual_rule_of_ones_own_by_import_path(project: Path) -> None:
    assert "eval/brightness" in trained("own-rule.yaml").metrics


def test_a_term_and_an_estimator_of_ones_own_by_import_path(images: Path) -> None:
    shutil.copytree(str(trained("folder.yaml", "evaluation.judge.epochs=1").checkpoint), "pretrained")
    small = ["rollout.steps=3", "rollout.batch_size=4", "rollout.normalization_samples=64"]
    result = trained("own-term.yaml", *small)
    assert result.constraints.keys() == {"symmetric", "closed"}
    for name in ("asymmetry", "bounded_advantage", "my_reward"):  # what it was trained with is not needed to sample from it
        sys.modules.pop(name)
        Path(f"{name}.py").unlink()
    assert draw(restore(str(result.checkpoint)), 2).shape == (2, 1, 8, 8)
