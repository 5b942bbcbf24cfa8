"""Defaults that have changed since a sweep began: told once it goes on, and taken back where the recipe says the old ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from dualsweep.sweeps.studies.defaults import DEFAULTS
from dualsweep.sweeps.studies.study import Study
from dualsweep.trainer.config.diagnostics import InputError
from tests.sweeps.files import plan

SAID = (
    "warning: figures of new trials must not be compared with those of the first: `evaluation.sampler` was 'ddim' by default and "
    "is 'dpmpp_2m'; `evaluation.sample_steps` was 50 by default and is 20; write `evaluation.sampler: 'ddim'`, "
    "`evaluation.sample_steps: 50` into the recipe, or give another `--output`"
)


def begin(tmp_path: Path, *overrides: str) -> None:
    """A sweep as 0.1 began it, whose study has no defaults."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dualsweep.sweeps.studies.study.DEFAULTS", DEFAULTS + ".not_yet")
        Study(plan(tmp_path, *overrides), tmp_path / "out").close()


def test_a_sweep_of_0_1_is_told_what_its_recipe_left_to_defaults_that_have_changed(tmp_path: Path) -> None:
    begin(tmp_path)
    for _ in range(2):  # as often as it goes on
        with Study(plan(tmp_path), tmp_path / "out") as study:
            assert study.said == (SAID,)
    for back in (["evaluation.sampler=ddim"], ["evaluation.sampler=ddim", "evaluation.sample_steps=50"]):
        with Study(plan(tmp_path, *back), tmp_path / "out") as study:
            assert study.said == ()
    with pytest.raises(InputError, match=r"evaluation\.sampler: must stay as it was"):
        Study(plan(tmp_path, "evaluation.sampler=ddpm"), tmp_path / "out")


def test_a_sweep_that_says_it_all_or_was_begun_by_this_version_is_told_nothing(tmp_path: Path) -> None:
    begin(tmp_path, "evaluation.sampler=ddim")
    with Study(plan(tmp_path, "evaluation.sampler=ddim"), tmp_path / "out") as study:
        assert study.said == ()
    for _ in range(2):
        with Study(plan(tmp_path), tmp_path / "new") as study:
            assert study.said == ()


def test_frechet_distances_of_0_1_had_a_bias(tmp_path: Path) -> None:
    told = (
        "evaluation.sampler=ddim",
        "evaluation.metrics=[class_shares, frechet]",
        "objectives={objective: minimize, eval/frechet: minimize}",
    )
    begin(tmp_path, *told)
    with Study(plan(tmp_path, *told), tmp_path / "out") as study:
        assert len(study.said) == 1 and "`eval/frechet` was told with its bias and is told without; give another" in study.said[0]
