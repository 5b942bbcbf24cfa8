"""Every command that README and guides show: what takes a second runs here, the rest is listed with the test that runs it."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dualsweep.trainer.config.yaml_file import load
from dualsweep.trainer.recipe.load import is_sweep
from tests.sweeps.here import dualsweep_here
from tests.test_runs_of_0_1 import unpack

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
#: What of a command is the reader's own, and what takes its place here: the runs and files that `workplace` has.
FILLED = {
    **dict.fromkeys(("runs/faces", "runs/digits-minorities", "runs/digits-minority", "runs/digits-alignment"), "runs/tiny"),
    **dict.fromkeys(("runs/mnist-minorities", "runs/mnist-fine-tuning", "runs/bold-digits", "runs/captioned-pairs"), "runs/tiny"),
    **dict.fromkeys(("runs/rare-fours-budgets", "runs/faces-budgets", "runs/digits"), "runs/tiny-sweep"),
    "runs/digits-budgets/trials/0003": "runs/tiny-sweep/trials/0001", "digits": "tiny-sweep", "7": "1", "64": "2", "16": "2",
    **dict.fromkeys(("docs/examples/annotated-sweep.yaml", "sweep.yaml"), "sweep.yaml"),
}  # fmt: skip
#: Options that shorten what runs here, and that the guides need not name.
SHORTENED = {"sample": ["--trust", "--steps", "2"]}
EXAMPLES, SUBMIT, HUB = "docs/test_examples.py::", "pipeline/test_submit.py::", "sweeps/exporting/test_hub.py::"
FIRST = "docs/test_first_steps.py::test_a_new_user_has_a_model_after_no_more_than_twelve_commands"
STORE, AMORTISED = "pipeline/test_object_store.py::", "trainer/amortised/test_training.py::"
MADE = "sweeps/recipes/"
RECIPE = "sweeps/planning/test_recipes.py::test_a_shipped_recipe_trains"
#: What trains, serves, or needs what is not here, and the test that runs the same, shortened.
RUN_BY = {
    **dict.fromkeys(("python3 -m venv", ". .venv", "pip install 'dualsweep-", "mkdir images", "cp -r '~/photographs"), FIRST),
    **{f"dualsweep {name} faces.yaml": FIRST for name in ("check", "train", "explain", "sample", "export")},
    "dualsweep init faces": FIRST,
    "dualsweep train": "pipeline/test_train.py::test_the_json_file_and_the_output_folder",
    "dualsweep train sweeps/recipes": RECIPE,
    "dualsweep train folder.yaml": EXAMPLES + "test_an_image_folder_and_a_training_that_starts_from_its_checkpoint",
    "dualsweep check --dry-run folder.yaml": EXAMPLES + "test_an_image_folder_and_a_training_that_starts_from_its_checkpoint",
    "dualsweep train pretrained.yaml": EXAMPLES + "test_an_image_folder_and_a_training_that_starts_from_its_checkpoint",
    "dualsweep check --dry-run own-rule.yaml": EXAMPLES + "test_a_dual_rule_of_ones_own_by_import_path",
    "dualsweep train own-rule.yaml": EXAMPLES + "test_a_dual_rule_of_ones_own_by_import_path",
    "dualsweep train points.yaml": EXAMPLES + "test_data_model_constraints_judge_and_metric_by_import_path",
    "dualsweep sweep": "pipeline/test_sweep.py::test_the_json_file",
    "dualsweep sweep sweep.yaml --output s3": STORE + "test_another_machine_ends_the_sweep_from_the_uri_alone",
    "dualsweep sync s3": STORE + "test_what_people_ask_of_a_sweep_is_answered_from_its_uri",
    "dualsweep sync": "sweeps/test_syncing.py::test_all_of_it_is_delivered_once",
    "dualsweep sample runs/NAME": AMORTISED + "test_the_command_samples_at_the_recipes_budgets_unless_asked",
    "dualsweep export runs/front": AMORTISED + "test_the_command_exports_it_at_budgets",
    "dualsweep export runs/faces out --push-to-hub": HUB + "test_the_folder_arrives_in_a_private_repository",
    "mlflow models serve": "sweeps/tracking/test_serving.py::test_accuracy_and_shares_are_those_that_were_reported",
    "curl http://127.0.0.1:5001": "sweeps/tracking/test_serving.py::test_accuracy_and_shares_are_those_that_were_reported",
    "dualsweep explain 0123": "sweeps/reports/test_explaining.py::test_a_run_in_mlflow",
    "dualsweep explain runs/digits --share": "sweeps/reports/test_explaining.py::test_from_a_loss_to_the_share_that_is_wanted",
    "dualsweep check --dry-run recipe.yaml": EXAMPLES + "test_a_dual_rule_of_ones_own_by_import_path",
    "dualsweep ui": "sweeps/test_ui.py::test_in_a_script_s_background_it_ends_its_server_whatever_it_is_ended_by",
    "dualsweep compare": "sweeps/reports/test_comparing.py::test_two_sweeps_are_compared_from_their_store_alone",
    "dualsweep submit": SUBMIT + "test_a_repository_travels_and_an_interrupt_ends_the_following_only",
    "dualsweep status": SUBMIT + "test_of_a_running_job_every_trial_is_told_and_measured",
    "dualsweep status runs": "sweeps/test_journal.py::test_the_commands",
    "dualsweep cluster": "faults/test_parting.py::test_it_goes_on_by_itself_on_other_nodes_and_nothing_is_left",
    "dualsweep logs": SUBMIT + "test_a_trials_log_is_had_from_afar",
    "dualsweep stop": SUBMIT + "test_a_stop_is_heard_at_once_and_written_down",
    "optuna-dashboard": "sweeps/studies/test_dashboard.py::test_the_dashboard_shows_a_sweep",
    "python bold_digits.py": MADE + "test_bold_digits.py::test_a_third_of_each_digit_is_bold_and_a_tenth_of_them_kept",
    "python captioned_digits.py": MADE + "test_captioned_digits.py::test_captions_name_one_of_the_two_digits_or_the_strokes",
    **dict.fromkeys(("dualsweep train captions", "dualsweep train bold.yaml"), RECIPE),
    "python make_images.py": EXAMPLES + "test_the_folder_and_the_saved_data_set_are_the_same_data",
    "kubectl": "cluster/test_deploy.py::test_the_rayjob_has_fields_that_kuberay_knows_and_its_command_can_be_parsed",
    "ray up": "cluster/test_deploy.py::test_the_configuration_of_ray_up_keeps_to_rays_schema",
    "sbatch": "cluster/test_deploy.py::test_the_slurm_script_requeues_a_sweep_that_ran_out_of_time_and_no_other",
    "ADDRESS=": "cluster/test_deploy.py::test_mlflow_has_the_options_that_its_server_is_started_with",
    "podman build": "cluster/test_deploy.py::test_images_have_the_version_of_ray_that_is_tested",
    "ray dashboard": "cluster/test_deploy.py::test_the_configuration_of_ray_up_keeps_to_rays_schema",
}  # fmt: skip
#: Of clouds, clusters and packages, or of this repository's own work: their options and files are looked at, and nothing runs.
LOOKED_AT = ("make", "ray", "pip install", "cp -r", "cd ", ".venv/bin/")
#: What `init` makes for the pages on experiments.
EXPERIMENTS = (
    "mnist.yaml", "mnist-sweep.yaml", "mnist-pretraining.yaml", "mnist-fine-tuning.yaml", "mnist-fine-tuning-sweep.yaml",
    "bold.yaml", "bold_digits.py", "thresholds-sweep.yaml", "alignment.yaml", "pretraining.yaml", "captions.yaml",
    "captions-shares.yaml", "captions-concepts.yaml", "captions-adapter.yaml", "captions-adapters.yaml", "captioned_digits.py",
)  # fmt: skip
#: Files that the reader has, or that a command before has made.
THEIRS = {
    "recipe.yaml", "sweep.yaml", "a.yaml", "b.yaml", "digits.yaml", "folder.yaml", "pretrained.yaml", "own-rule.yaml",
    "points.yaml", "make_images.py", "faces.yaml", *EXPERIMENTS,
}  # fmt: skip


def lines_of(page: Path) -> Iterator[str]:
    """The commands of a page's shell blocks, without their comments."""
    for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if words := shlex.split(line.removeprefix("$ "), comments=True):
                yield shlex.join(words)


COMMANDS = sorted({line for page in PAGES for line in lines_of(page)})


def run_by(command: str) -> str | None:
    """The listed test of a command: that of its longest beginning."""
    known = [beginning for beginning in RUN_BY if command.startswith(beginning)]
    return RUN_BY[max(known, key=len)] if known else None


HERE = [each for each in COMMANDS if each.startswith("dualsweep ") and run_by(each) is None]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training and a sweep that have ended, their files, and the examples of the guides."""
    folder = unpack(tmp_path_factory.mktemp("workplace"))
    for trial in ("0000", "0001"):
        shutil.copytree(folder / "runs/tiny/checkpoints", folder / "runs/tiny-sweep/trials" / trial / "checkpoints")
    done = dualsweep_here("front", "sweep.yaml", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("command", HERE)
def test_what_takes_a_moment_runs(command: str, workplace: Path) -> None:
    _, name, *words = shlex.split(command)
    for made in ("pipeline", "faces-pipeline", "out", "model"):
        shutil.rmtree(workplace / made, ignore_errors=True)
    for made in ("digits.yaml", "digits-sweep.yaml", *EXPERIMENTS):
        (workplace / made).unlink(missing_ok=True)
    if "digits.yaml" in words:
        assert dualsweep_here("init", "digits", folder=workplace).returncode == 0
    if name == "check":
        words = [each.replace("docs/examples", str(ROOT / "docs/examples")) for each in words]
    elif name != "init":
        words = [FILLED.get(each, each) for each in words]
    done = dualsweep_here(name, *words, *SHORTENED.get(name, []), folder=workplace)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", [each for each in COMMANDS if each not in HERE])
def test_the_rest_is_listed_with_a_test_that_is_there_or_is_looked_at(command: str) -> None:
    listed = run_by(command)
    if listed is None:
        assert command.startswith(LOOKED_AT), "list it in RUN_BY with the test that runs it"
        return
    file, _, test = listed.partition("::")
    assert f"def {test}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), listed


def test_nothing_is_listed_that_no_page_shows() -> None:
    assert {each for each in RUN_BY if not any(command.startswith(each) for command in COMMANDS)} == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_files_that_are_named_are_there(command: str) -> None:
    for word in shlex.split(command):
        name = word.rpartition("=")[2]
        if re.fullmatch(r"[\w./-]+\.(yaml|py|sh|ipynb)|[\w./-]*Containerfile", name) and name not in THEIRS:
            assert (ROOT / name).exists(), name


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray's own
@pytest.mark.parametrize("command", [each for each in COMMANDS if each.startswith("ray ")])
def test_rays_commands_have_these_options(command: str) -> None:
    from ray.scripts.scripts import cli

    _, *words = shlex.split(command)
    group: click.Command = cli
    with click.Context(cli) as context:
        while isinstance(group, click.Group):
            name, *words = words
            found = group.get_command(context, name)
            assert found is not None, name
            group = found
        group.make_context(group.name or "", list(words), parent=context)


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.startswith("make ")])
def test_make_knows_its_targets_and_what_is_given_to_them(command: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    _, target, *given = shlex.split(command)
    assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for word in given:
        assert f"$({word.partition('=')[0]})" in makefile, word


def test_no_recipe_and_sweep_of_ours_have_one_name() -> None:
    """A folder holds one kind of run, so the second of two commands that a guide prints would be refused."""
    names: dict[bool, set[str]] = {True: set(), False: set()}
    for file in [file for folder in ("sweeps", "sweeps/recipes", "docs/examples") for file in (ROOT / folder).glob("*.yaml")]:
        document = load(file)
        if isinstance(document.data, dict) and "name" in document.data:
            names[is_sweep(document)].add(document.data["name"])
    assert names[True] >= {"digits", "digits-budgets"} and names[False] >= {"digits-minorities", "digits-minority"}
    assert not names[True] & names[False]
