"""A stranger's checkpoint runs no code: attacks by every import path that a recipe has, and the ways that stay open."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from dualsweep.sweeps.cli import app
from dualsweep.sweeps.exporting.export import export
from dualsweep.sweeps.tracking.pyfunc import save
from dualsweep.sweeps.tracking.sampling_model import _load_pyfunc
from dualsweep.trainer import trust
from dualsweep.trainer.checkpoint import locate
from dualsweep.trainer.config import yaml_core
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.engine.sample_command import generate, restore
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.loading import Library
from dualsweep.trainer.models.provenance import recipe_of
from dualsweep.trainer.recipe.model import Model
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.storage import described
from tests.trainer.models.test_build import train
from tests.trainer.models.test_composed import recipe
from tests.trainer.recipes import digits

MODULE = "strangers_module"
CODE = """
from pathlib import Path
Path(__file__).with_name("ran").touch()
from tests.trainer.models.test_build import network, points
def anything(*_): return network()
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory):
    """A working directory with a module of the user's, and one of a stranger's; the user's run of the first is in `own`."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        for name in ("my_module", MODULE):
            (folder / f"{name}.py").write_text(CODE)
        plain = digits(model={"unet": None, "call": "my_module:network"}, constraints=[]).model_dump(mode="json")
        train(Recipe.model_validate({**plain, "data": {"call": "my_module:points"}}), folder / "own")
        train(digits(), folder / "plain")
        yield folder


@pytest.fixture(autouse=True)
def nothing_imported(home):
    for name in ("my_module", MODULE):
        sys.modules.pop(name, None)
    (home / "ran").unlink(missing_ok=True)


def changed(home: Path, to: Path, of: str = "own", without: str = "", **sections) -> str:
    """A copy of a run's checkpoint as somebody else could make it, its sizes put right, without a part of it."""
    checkpoint = Path(shutil.copytree(str(locate(str(home / of))), to / "step-00000020"))
    if without:
        shutil.rmtree(checkpoint / without)
    file = checkpoint / "recipe.yaml"
    plain = yaml_core.read(file.read_text().replace("my_module", MODULE))
    for name, value in sections.items():  # a part of these sections, others as a whole
        plain[name] = {**plain[name], **value} if name in ("model", "data", "evaluation") and value else value
    file.write_text(yaml_core.write(plain))
    sizes = json.loads((checkpoint / "complete.json").read_text())
    (checkpoint / "complete.json").write_text(
        json.dumps({name: (checkpoint / name).stat().st_size for name in sizes if name.partition("/")[0] != without})
    )
    return str(checkpoint)


def as_pyfunc(place: str) -> object:
    save(Path(place).parent / "model", Path(place))
    return _load_pyfunc(place)


WAYS = {
    "sample": lambda place: generate(place, 1, Path(place).parent / "s", sampler=None, steps=None, seed=0),
    "load": lambda place: Library().predictor(Model(load=place)),
    "load frozen": lambda place: Library().predictor(Model(load=place), trained=False),
    "space": lambda place: Library().space(Model(load=place)),
    "pyfunc": as_pyfunc,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_strangers_checkpoint_runs_nothing(home, tmp_path, way):
    place = changed(home, tmp_path)
    with pytest.raises(TrainingError, match=rf"code must be named by .* got '{MODULE}:network' in the recipe of .*; .* --trust"):
        way(place)
    assert not (home / "ran").exists() and MODULE not in sys.modules


def test_nor_by_way_of_another_checkpoint(home, tmp_path):
    deep = changed(home, tmp_path / "deep")
    for of, model, without in (("own", {"call": None}, ""), ("plain", {"unet": None}, "unet")):
        with pytest.raises(TrainingError, match="--trust"):
            restore(changed(home, tmp_path / of, of, without, model={**model, "load": deep}))
    assert not (home / "ran").exists()


def test_nor_as_a_part_of_a_composition(home, tmp_path):
    parts = {"a": {"load": str(home / "own")}, "b": {"call": f"{MODULE}:network"}}
    composed = recipe({"compose": {"of": ["a", "b"]}}, parts).model_dump(mode="json")
    place = changed(home, tmp_path, **composed | {"data": None})
    Path(place, "composition.json").write_text('{"to-a": 0.5, "to-b": 0.5}')
    with pytest.raises(TrainingError, match="--trust"):
        restore(place)
    assert not (home / "ran").exists()


def test_other_import_paths_of_a_stored_recipe_are_not_followed_to_sample(home, tmp_path):
    path = f"{MODULE}:anything"
    place = changed(home, tmp_path, "plain", data={"call": path, "source": None, "keep": {}},
                    constraints=[{"name": "own", "data": {"call": path}, "at_most": 0.5},
                                 {"name": "term", "term": {"call": path, "on": "data"}, "at_most": 0.5}],
                    dual={"rule": {"call": path}}, rollout={"gradient": {"call": path}},
                    evaluation={"metrics": [path], "judge": {"call": path}})  # fmt: skip
    WAYS["sample"](place)
    assert not (home / "ran").exists() and MODULE not in sys.modules
    with pytest.raises(TrainingError, match="--trust"):
        trust.check_all_may_run(place)


@pytest.mark.parametrize("of", ["own", "strangers", "in a composition"])
def test_a_model_of_ones_own_code_is_not_exported_and_none_is_run(home, tmp_path, of):
    place = str(home / "own") if of == "own" else changed(home, tmp_path)
    if of == "in a composition":
        parts = {"a": {"load": place}, "b": {"load": str(home / "plain")}}
        composed = recipe({"compose": {"of": ["a", "b"]}}, parts).model_dump(mode="json")
        place = changed(home, tmp_path / "composed", **composed | {"data": None})
    with pytest.raises(
        InputError, match=r"RUN: must be a model of diffusers, since .* but got model.call '(my|strangers)_module:"
    ):
        export(place, str(tmp_path / "out"))
    assert not (home / "ran").exists() and not (tmp_path / "out").exists()


def test_other_import_paths_of_a_stored_recipe_are_not_followed_to_export(home, tmp_path):
    path = f"{MODULE}:anything"
    place = changed(home, tmp_path, "plain", evaluation={"metrics": [path], "judge": {"call": path}})
    export(place, str(tmp_path / "out"))
    assert (tmp_path / "out" / "unet").is_dir() and not (home / "ran").exists()


@pytest.mark.parametrize(
    "sections",
    [
        {"dual": {"rule": {"call": "strangers_module:anything"}}},
        {"rollout": {"gradient": {"call": "strangers_module:anything"}}},
        {"constraints": [{"name": "term", "term": {"call": "strangers_module:anything"}, "at_most": 0.5}]},
    ],
    ids=["rule", "estimator", "term"],
)
def test_parts_by_path_are_code_that_must_be_trusted(home, tmp_path, sections):
    place = changed(home, tmp_path, "plain", **sections)
    with pytest.raises(TrainingError, match="--trust"):
        trust.check_all_may_run(place)
    assert not (home / "ran").exists()


def test_a_start_reads_the_weights_alone(home, tmp_path):
    path = f"{MODULE}:anything"
    place = changed(home, tmp_path, "plain", model={"unet": None, "call": path}, evaluation={"metrics": [path]})
    result = train(digits(start={"from": place}, train={"steps": 1}), tmp_path / "run")
    assert result.steps == 1 and not (home / "ran").exists()


@pytest.mark.parametrize("change", ["weights", "claim", "state inside"])
def test_nothing_inside_a_run_makes_it_the_users(home, tmp_path, monkeypatch, change):
    """The recipe is the user's own to the letter; the module in the working directory may not be."""
    place = Path(shutil.copytree(str(locate(str(home / "own"))), tmp_path / "step-00000020"))
    weights = place / "training" / "average.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    listed = json.loads((place / "complete.json").read_text())
    listed["training/average.safetensors"] = described(weights.read_bytes())
    if change == "claim":
        (place / "trusted").write_text("true")
        listed["trusted"] = described(b"true")
    (place / "complete.json").write_text(json.dumps(listed))
    if change == "state inside":
        shutil.copytree(home / "state", place / "state")
        (place / ".local").symlink_to(home / "state")
        monkeypatch.setenv("XDG_STATE_HOME", "state")  # relative paths are to be ignored, says the specification
        monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
        monkeypatch.chdir(place)
    with pytest.raises(TrainingError, match="--trust"):
        restore(str(place))


def test_the_users_own_run_is_loaded_wherever_it_lies_and_trust_opens_the_rest(home, tmp_path):
    moved = shutil.copytree(str(locate(str(home / "own"))), tmp_path / "moved" / "step-00000020")
    assert restore(str(moved)).shape == (2,)
    place = changed(home, tmp_path / "other")
    try:
        trust.trust_all()
        assert restore(place).shape == (2,)
    finally:
        trust.trust_all(False)
    assert (home / "ran").exists()


def test_only_what_names_code_is_noted_for_this_user_alone(home):
    folder = home / "state" / "dualsweep" / "checkpoints"
    assert sorted(each.read_text().strip().startswith(str(home / "own")) for each in folder.iterdir()) == [True] * 3
    assert folder.stat().st_mode & 0o777 == 0o700


def test_the_command_says_what_it_refuses_and_takes_a_trust(home, tmp_path, capsys):
    words = ["sample", changed(home, tmp_path), "--count", "1", "--steps", "2", "--output", str(tmp_path / "out")]
    try:
        with pytest.raises(TrainingError, match="--trust"):
            app(words, standalone_mode=False)
        assert not (home / "ran").exists()
        app([*words, "--trust"], standalone_mode=False)
    finally:
        trust.trust_all(False)
    assert (home / "ran").exists() and "1 samples of shape (2,)" in capsys.readouterr().out


def test_a_strangers_prompts_are_no_file_of_this_machine(home: Path, tmp_path: Path) -> None:
    """Neither one that would become its texts, nor one that never ends: a pipe, which nobody fills."""
    secret, pipe = tmp_path / "netrc", tmp_path / "pipe"
    secret.write_text("machine files.example password hunter2\n")
    os.mkfifo(pipe)
    for number, file in enumerate((secret, pipe)):
        checkpoint = changed(home, tmp_path / str(number), of="plain", model={"unet": None, "load": "x", "prompts": str(file)})
        with pytest.raises(TrainingError, match=r"must be a list of texts in the recipe") as told:
            recipe_of(checkpoint)
        assert "hunter2" not in str(told.value)
