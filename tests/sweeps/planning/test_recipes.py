"""Every shipped recipe: found good by the checks, and trained for a few steps from tiny models that lie where it names them."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dualsweep.sweeps.checking import checked_recipe
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.recipes import bold_digits, captioned_digits
from dualsweep.trainer.recipe.load import load_recipe
from tests.trainer.engine.test_loop import run

RECIPES = Path(__file__).resolve().parents[3] / "sweeps" / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))
#: What starts from a text-to-image model that is trained before is left to `make test-slow`; captions.yaml itself is not.
DEAR_AND_NOT = [pytest.param(name, marks=pytest.mark.dear) if name.startswith("captions-") else name for name in NAMES]
SHORT = [
    "evaluation={samples: 12, sample_steps: 3, loss_draws: 32, judge: {epochs: 1}, grid: 0}", "checkpoint.every=1000000",
    "train.batch_size=48", "train.log_every=5",
]  # fmt: skip
TINY = "model={unet: {channels: [8]}}"
ROLLOUT = ["rollout.steps=3", "rollout.batch_size=8", "rollout.normalization_samples=16"]
PRODUCT = "product={samples: 16, levels: 3, steps: 2}"
PRETRAINED = {
    "digits-without-nines": ("pretraining", []),
    "mnist-without-nines": ("mnist-pretraining", []),
    "digits-358": ("class-model", []),
    "digits-359": ("class-model", ["objective.data.classes=[3, 5, 9]"]),
    "digits-046": ("class-model", ["objective.data.classes=[0, 4, 6]"]),
    "digits-bright": (
        "alignment", ["constraints=[{name: brightness, reward: brightness, at_least: 1.0}]", *ROLLOUT],
    ),
}  # fmt: skip
#: And of text to image.
CAPTIONED: dict[str, tuple[str, list[str]]] = {
    "captioned-digits": ("captions", []),
    "captioned-bold-adapter": ("captions-adapter", []),
    "captioned-seven-adapter": ("captions-adapter", ["objective.data.attributes={seven: true}"]),
}  # fmt: skip
#: Of some recipes what the few images and steps here need: a share that a judge soon tells, dual steps that are not far apart.
NEEDED = {
    "captions-shares": ["constraints.threes.share.of=bold", "constraints.sevens.share.of=bold", "evaluation.judge.epochs=20"],
    "captions-adapters": ["dual.every=2"],
}
#: A metric of each recipe's run, where it is not the share of the 8s.
MEASURED = {
    "faces": "eval/share/rare",
    **dict.fromkeys(("captions", "captions-adapter"), "eval/nearest_distance"),
    **dict.fromkeys(("captions-shares", "captions-concepts", "captions-adapters"), "objective"),  # nothing is trained on data
}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a user's images and the pretrained models, each made by the recipe that makes it, but tiny."""
    folder = tmp_path_factory.mktemp("project")
    for kind, count in (("common", 40), ("rare", 32)):
        (folder / "images" / kind).mkdir(parents=True)
        for index in range(count):
            pixels = np.random.default_rng([count, index]).integers(0, 256, (40, 30, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / kind / f"{index}.jpg")
    for script in RECIPES.glob("*.py"):
        shutil.copy(script, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        bold_digits.main()
        for place, (name, sets) in PRETRAINED.items():
            make(folder, place, name, sets)
    return folder


@pytest.fixture(scope="module")
def captioned(pretrained: Path) -> Path:
    """The same with captioned images and the pipeline that has yet to be trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(pretrained)
        captioned_digits.main(300, 2, 2)
    return pretrained


@pytest.fixture(scope="module")
def adapted(captioned: Path) -> Path:
    """The same with what its first recipes make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(captioned)
        for place, (name, sets) in CAPTIONED.items():
            make(captioned, place, name, sets)
    return captioned


@pytest.fixture
def project(name: str, request: pytest.FixtureRequest) -> Path:
    """The working directory that a recipe needs."""
    fixture = "adapted" if name.startswith("captions-") else "captioned" if name == "captions" else "pretrained"
    folder: Path = request.getfixturevalue(fixture)
    return folder


def make(folder: Path, place: str, name: str, sets: list[str]) -> None:
    plain, _ = load_recipe(RECIPES / f"{name}.yaml", [])
    model = f"model.load={folder / plain.model.load}" if plain.model.load else TINY
    steps = f"train.steps={2 * plain.dual.every}"
    recipe, _ = load_recipe(RECIPES / f"{name}.yaml", [*SHORT, *sets, model, steps, "evaluation.samples=0"])
    result, *_ = run(recipe, folder / "made" / place)
    checkpoint = Path(str(result.checkpoint))
    shutil.copytree(checkpoint, folder / "runs" / place / "checkpoints" / checkpoint.name)


@pytest.mark.parametrize("name", DEAR_AND_NOT)
def test_a_shipped_recipe_is_found_good_and_its_pretrained_models_are_what_its_comment_makes(
    name: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    recipe = checked_recipe(RECIPES / f"{name}.yaml", [], None, None, None).recipe
    text = (RECIPES / f"{name}.yaml").read_text()
    for model in (recipe.model, *recipe.models.values()):
        if model.load is not None and model.load.startswith("runs/"):
            assert f"{(PRETRAINED | CAPTIONED)[model.load.removeprefix('runs/')][0]}.yaml" in text


@pytest.mark.parametrize("name", DEAR_AND_NOT)
def test_a_shipped_recipe_trains(name: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    plain, _ = load_recipe(RECIPES / f"{name}.yaml", NEEDED.get(name, []))
    smaller = ["model.unet.channels=[8]"] if plain.model.unet else []
    steps = 2 * plain.dual.every
    edits = [*SHORT, *smaller, *ROLLOUT, PRODUCT, f"train.steps={steps}", *NEEDED.get(name, [])]
    recipe, _ = load_recipe(RECIPES / f"{name}.yaml", edits)
    result, *_ = run(recipe, tmp_path)
    assert result.steps == steps and result.status in ("converged", "out_of_steps")
    assert all(math.isfinite(each.value) for each in result.constraints.values())
    assert MEASURED.get(name, "eval/share/8") in result.metrics


@pytest.mark.parametrize(("name", "rule"), [("alignment", "newton"), ("fine-tuning", "ascent"), ("composition-and", "simplex")])
def test_a_sweep_holds_fixed_weights_beside_the_constrained_run(name: str, rule: str, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(f"name: both\nrecipe: {RECIPES / name}.yaml\nsearch:\n  dual.rule: {{choice: [{rule}, fixed]}}\ntrials: 2\n")
    assert load_plan(sweep, []).recipe.dual.rule == rule


def test_unconstrained_and_fixed_weights_are_the_digits_problem_under_other_multipliers() -> None:
    digits, *others = (load_recipe(RECIPES / f"{name}.yaml", [])[0] for name in ("digits", "unconstrained", "fixed-weights"))
    left_out = {"name", "dual"}
    for other in others:
        assert other.model_dump(exclude=left_out) == digits.model_dump(exclude=left_out) and other.dual.rule == "fixed"


def test_equal_weights_is_the_composition_under_other_multipliers() -> None:
    both = [load_recipe(RECIPES / f"{name}.yaml", [])[0] for name in ("composition-and", "equal-weights")]
    assert both[0].model_dump(exclude={"name", "dual"}) == both[1].model_dump(exclude={"name", "dual"})
    assert both[1].dual.rule == "fixed"
