"""What a check tells of data, model and schedule, and what it warns of, against folders and files made for the purpose."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dualsweep.trainer.checks.before_loading import check, examine
from dualsweep.trainer.checks.findings import Findings, findings
from tests.trainer.data.conftest import HEAD, recipe_of

MakeFolder = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> MakeFolder:
    """Makes a folder of random images, `counts` of each class."""

    def make(mode: str = "RGB", side: int = 8, **counts: int) -> str:
        random = np.random.default_rng(0)
        for name, count in counts.items():
            (tmp_path / "images" / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(pixels).convert(mode).save(tmp_path / "images" / name / f"{number}.png")
        return str(tmp_path / "images")

    return make


def found(text: str, head: str = HEAD) -> Findings:
    recipe, document = recipe_of(text, head)
    problems, known = examine(recipe, document)
    assert problems == []
    return findings(recipe, document, known)


def warned(text: str, head: str = HEAD) -> list[str]:
    return [str(each) for each in found(text, head).warnings]


def test_the_digits_are_told_with_their_smallest_class() -> None:
    said = found("data: {source: digits, keep: {4: 0.1}}\n")
    assert said.data == (
        "1,797 examples [1, 8, 8] from -1 to 1, 1,634 trained on: 0 178, 1 182, 2 177, 3 183, 4 18, 5 182, 6 181, 7 179, 8 174, "
        "9 180; fewest of 4, 18"
    )
    assert said.model == "a new UNet of [16, 32] channels"
    assert said.schedule == "squaredcos_cap_v2, 200 timesteps, predicts epsilon: the default, as the recipe has no `schedule`"


def test_a_folder_is_told_with_what_is_not_counted(folder: MakeFolder, tmp_path: Path) -> None:
    place = folder(a=44, b=40)
    for name in ("a/x.heic", "a/.DS_Store", "notes.md"):
        (tmp_path / "images" / name).touch()
    said = found(f"data: {{folder: '{place}', holdout: 0.25}}\n")
    assert said.data == (
        "84 examples [3, 8, 8] from -1 to 1, 63 trained on: a 33, b 30; fewest of b, 30; not counted, as their names are of no "
        "image: a/x.heic, notes.md"
    )
    (warning,) = said.warnings
    assert "recipe.yaml:5: data.folder: should leave at least 32 images of each class to train on, but got 30 of 'b'" in str(
        warning
    )


def test_many_classes_are_told_by_their_ends(folder: MakeFolder) -> None:
    place = folder(**{f"c{number}": 33 + number % 3 for number in range(14)})
    assert "trained on: 14 classes of 33 to 35; fewest of c0, 33" in found(f"data: {{folder: '{place}'}}\n").data


def test_the_shape_of_a_folder_is_known_and_held_against_the_network(folder: MakeFolder) -> None:
    place = folder(side=6, a=2)
    head = HEAD.replace("[16, 32]", "[16, 32, 32]")
    (problem,) = map(str, check(*recipe_of(f"data: {{folder: '{place}'}}\n", head)))
    assert "recipe.yaml:3: model.unet.channels: must halve images of side 6" in problem
    assert check(*recipe_of(f"data: {{folder: '{place}', size: 8}}\n", head)) == []


def test_an_image_of_another_size_or_damaged_is_told_without_loading(folder: MakeFolder, tmp_path: Path) -> None:
    text = f"data: {{folder: '{folder(a=3)}'}}\n"
    other = tmp_path / "images/a/1.png"
    Image.new("RGB", (8, 9)).save(other)
    assert f"must hold images of one size, but got 9x8 after 8x8 in file {other}" in str(check(*recipe_of(text))[0])
    whole = (tmp_path / "images/a/0.png").read_bytes()
    other.write_bytes(whole[: len(whole) // 2])
    (problem,) = map(str, check(*recipe_of(text)))
    assert "data.folder: must hold readable images" in problem and str(other) in problem


def test_an_image_on_its_side_is_of_the_sides_that_it_is_read_with(tmp_path: Path) -> None:
    turned = Image.new("RGB", (8, 4))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "0.jpg", exif=exif)
    assert "1 examples [3, 8, 4]" in found(f"data: {{folder: '{tmp_path}'}}\n").data


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_grey_images_that_become_rgb_are_warned_of(folder: MakeFolder, mode: str) -> None:
    place = folder("L", a=40)
    if mode == "RGB":  # three equal channels
        for file in Path(place).rglob("*.png"):
            Image.open(file).convert("RGB").save(file)
    (warning,) = warned(f"data: {{folder: '{place}'}}\n")
    assert warning.startswith("recipe.yaml:5: data.folder: should be read as they are, but got grey images that became RGB")
    assert warned(f"data: {{folder: '{place}', grey: true}}\n") == []


@pytest.mark.parametrize(("dtype", "most"), [(np.uint16, 4096), (np.uint8, 2)])
def test_images_next_to_black_are_warned_of(tmp_path: Path, dtype: type, most: int) -> None:
    """12 bits in files of 16, and masks of 0 and 1."""
    (tmp_path / "dark" / "a").mkdir(parents=True)
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, most, (8, 8))
        Image.fromarray(pixels.astype(dtype)).save(tmp_path / "dark" / "a" / f"{number}.png")
    (warning,) = warned(f"data: {{folder: '{tmp_path}/dark', grey: true}}\n")
    assert "should hold images that reach over much of [-1, 1], but got numbers from -1 to -0." in warning


def test_images_that_show_nothing_and_half_a_range_are_warned_of(folder: MakeFolder) -> None:
    place = Path(folder(a=40))
    for number in range(40):
        pixels = np.random.default_rng(number).integers(128, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels if number else np.full_like(pixels, 200)).save(place / "a" / f"{number}.png")
    half, blank = warned(f"data: {{folder: '{place}'}}\n")
    assert "should hold images in [-1, 1], but got 0.00" in half and "none has a number below 0" in half
    assert "should hold images that show something, but got 1 of one value alone among the 16 that were read" in blank


def test_classes_that_differ_by_case_alone_are_warned_of(folder: MakeFolder) -> None:
    (warning,) = warned(f"data: {{folder: '{folder(Cat=40, cat=40, dog=40)}'}}\n")
    assert "should name each class in one way, but got 'Cat' and 'cat', two classes" in warning


def test_a_colourful_folder_is_not_warned_of(folder: MakeFolder) -> None:
    assert warned(f"data: {{folder: '{folder(cat=40, dog=40)}'}}\n") == []


def test_keys_that_are_written_for_nothing_are_warned_of() -> None:
    text = "data: {source: digits}\nrollout: {steps: 5}\ndual: {rule: ascent, trust: 0.5}\n"
    text += "constraints:\n  - {name: a, data: {classes: [4]}, at_most: 0.1}\n"
    assert [each.partition(", but")[0] for each in warned(text)] == [
        "recipe.yaml:6: rollout: should be of use to the recipe", "recipe.yaml:7: dual.trust: should be of use to the recipe",
    ]  # fmt: skip


def _unet(place: Path, **schedule: object) -> str:
    place.mkdir()
    (place / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel", "in_channels": 1}))
    (place / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    if schedule:
        (place / "scheduler_config.json").write_text(json.dumps(schedule))
    return HEAD.replace("unet: {channels: [16, 32]}", f"load: '{place}'")


def test_a_bare_network_is_refused_without_a_schedule(tmp_path: Path) -> None:
    (problem,) = map(str, check(*recipe_of("data: {source: digits}\n", _unet(tmp_path / "bare"))))
    assert "recipe.yaml:1: schedule: must be given for a network without a schedule of its own" in problem


def test_a_loaded_schedule_is_told_with_its_file_and_another_is_warned_of(tmp_path: Path) -> None:
    linear = {"_class_name": "DDPMScheduler", "beta_schedule": "linear", "num_train_timesteps": 300}
    head = _unet(tmp_path / "unet", **linear)
    said = found("data: {source: digits}\n", head)
    assert said.schedule == f"linear, 300 timesteps, predicts epsilon: that of {tmp_path}/unet/scheduler_config.json"
    (warning,) = warned("data: {source: digits}\nschedule: {prediction: epsilon}\n", head)
    assert "recipe.yaml:6: schedule: should be that which the model was trained with, but got squaredcos_cap_v2, 200" in warning
    assert warned("data: {source: digits}\nschedule: {name: linear, timesteps: 300}\n", head) == []


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("dual: {warmup: 10}", "dual.warmup"), ("dual: {warmup: 9}", ""),
        ("train: {steps: 10, lr_warmup: 10}", "train.lr_warmup"),
        ("monitor: {every: 20}", "monitor.every"), ("monitor: {every: 10}", ""),
    ],
)  # fmt: skip
def test_what_comes_after_the_last_step_is_warned_of(text: str, key: str) -> None:
    """And is not refused: trainings are shortened to try them."""
    head = HEAD.replace("train: {steps: 10}\n", "" if "train" in text else "train: {steps: 10}\n")
    constraint = "constraints: [{name: four, data: {classes: [4]}, at_most: 0.3}]"
    said = warned(f"data: {{source: digits}}\n{constraint}\n{text}\n", head)
    assert len(said) == bool(key) and all(f" {key}: should" in each for each in said), said


def test_gpus_that_a_worker_takes_and_leaves_idle_are_warned_of() -> None:
    assert not warned("data: {source: digits}\nresources: {gpus_per_worker: 1}\n")
    [said] = warned("data: {source: digits}\nresources: {gpus_per_worker: 2}\n")
    assert "resources.gpus_per_worker: should be at most 1, but got 2, of which a worker computes on the first; write 1" in said


@pytest.mark.parametrize(
    ("constraint", "says"),
    [
        ("data: {classes: [4]}, at_most: -0.3", "at_most: should be a budget that a model can meet, but got -0.3 of data, which "
         "is never below 0; write one of at least 0"),
        ("data: {classes: [4]}, equals: -0.3", "equals: should be"), ("data: {classes: [4]}, at_least: -0.3", ""),
        ("data: {classes: [4]}, at_most: 0.0", ""), ("data: {classes: [4]}, at_most: -0.3, relative_to: objective", ""),
    ],
)  # fmt: skip
def test_a_budget_that_no_model_can_meet_is_warned_of(constraint: str, says: str) -> None:
    said = warned(f"data: {{source: digits}}\nconstraints:\n  - {{name: four, {constraint}}}\n")
    assert len(said) == bool(says) and all(f"recipe.yaml:7: constraints.0.{says}" in each for each in said), said


FOUR, LOG = "{class_probability: {class: 4}}", "{class_probability: {class: 4, log: true}}"


@pytest.mark.parametrize(
    ("reward", "normalize", "bound", "bad"),
    [("brightness", "false", "at_least: 5.0", True), ("brightness", "true", "at_least: 5.0", False),
     ("brightness", "false", "at_most: -0.1", True), ("brightness", "false", "at_most: 5.0", False),
     (FOUR, "false", "at_most: -2.0", True), (LOG, "false", "at_most: -2.0", False), (LOG, "false", "at_least: -2.0", False),
     (LOG, "false", "at_least: 0.5", True), (LOG, "false", "at_most: -70.0", True)],
)  # fmt: skip
def test_rewards_of_a_known_range_are_bounded_within_it_on_their_own_scale(
    reward: str, normalize: str, bound: str, bad: bool
) -> None:
    head = "name: a\nformulation: alignment\nmodel: {load: 's3://b/a'}\nschedule: {timesteps: 50}\ntrain: {steps: 10}\n"
    constraint = f"constraints: [{{name: bright, reward: {reward}, {bound}}}]"
    said = warned(f"data: {{source: digits}}\n{constraint}\nrollout: {{steps: 4, normalize: {normalize}}}\n", head)
    assert any(f"constraints.0.{bound[: bound.index(':')]}: should be a budget" in each for each in said) == bad, said


@pytest.mark.parametrize(
    ("dual", "key"),
    [
        ("rule: resilient, step_size: 10, alpha: 0.1", "dual.step_size"), ("rule: resilient, step_size: 0.19, alpha: 0.1", ""),
        ("rule: ascent, step_size: {four: 0.2}, alpha: 0.1", "dual.step_size.four"), ("rule: ascent, step_size: 10", ""),
        ("rule: augmented_lagrangian, alpha: 0.1", ""),
    ],
)  # fmt: skip
def test_steps_that_are_too_long_for_a_relaxed_budget_are_warned_of(dual: str, key: str) -> None:
    constraint = "constraints: [{name: four, data: {classes: [4]}, at_most: 0.3}]"
    said = warned(f"data: {{source: digits}}\n{constraint}\ndual: {{{dual}}}\n")
    assert len(said) == bool(key) and all(f" {key}: should be below 2 alpha" in each for each in said), said


def test_changes_of_data_on_which_no_term_stands_are_warned_of() -> None:
    head = "name: a\nformulation: alignment\nmodel: {load: 's3://b/a'}\nschedule: {timesteps: 50}\n"
    constraint = "constraints: [{name: bright, reward: brightness, at_least: 0.1}]"
    train = "train: {steps: 10, condition_dropout: 0.1}"
    rollout = "rollout: {steps: 4, normalize: false, normalization_samples: 32, truncation: {steps: 2}}"
    said = warned(f"data: {{source: digits, random_flip: true, random_crop: 2}}\n{constraint}\n{train}\n{rollout}\n", head)
    ignored = ("data.random_flip", "data.random_crop", "train.condition_dropout")
    for key in (*ignored, "rollout.normalization_samples", "rollout.truncation.steps"):
        assert any(f" {key}: should be of use to the recipe" in each for each in said), said
