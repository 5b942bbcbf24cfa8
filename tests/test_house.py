"""The house's own rules: who may import whom, in which order, what the core keeps out, how long a file may be, what is used.

Each rule is a function of a `House`, which says what breaks it; `test_each_rule_bites` breaks each in a copy.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dualsweep.trainer import metric_names
from tests.house import ROOMS, House, asserted, circles, spread

ROOT = Path(__file__).parent.parent
#: Which rooms each room may import (beside itself).
ALLOWED = {
    "trainer": set[str](),
    "sweeps": {"trainer", "analysis", "cluster"},
    "analysis": {"trainer"},
    "cluster": set[str](),
}
#: The thin Ray shell of `trainer/`; everything else there is the core.
SHELL = "trainer.ray_shell"
KEPT_OUT_OF_THE_CORE = {"ray", "mlflow", "matplotlib", "plotly", "optuna"}
KEPT_OUT_OF_ANALYSIS = {"ray", "torch", "diffusers", "optuna"}
LONGEST_FILE, LONGEST_FUNCTION = 300, 40
MOST_ASSERTIONS = 10
VAGUE, LONGEST_VAGUE = ("each", "found"), 3
#: What is private elsewhere and used all the same, and why there is no other way.
PRIVATE = {
    ("trainer.ray_shell.slot", "ray.train.v2._internal.callbacks.datasets.DatasetsCallback"): "a process and 0.2 GB a slot",
    (
        "trainer.ray_shell.slot",
        "ray.train.v2._internal.callbacks.placement_group_callback.PlacementGroupCleanerCallback",
    ): "what a slot is killed by",
    ("trainer.ray_shell.slot", "_cleaner"): "its handle, by which the cleaner is killed",
    ("trainer.ray_shell.places", "ray._private.state"): "what each node has free, and which are drained, is told nowhere else",
    ("cluster.machine", "ray._private.state"): "which nodes are drained is told nowhere else",
    ("trainer.ray_shell.notice", "_exit"): "what SIGTERM does where nobody catches it",
    ("cluster.auth", "ray._raylet.Config"): "whether a token is asked for is told nowhere else",
    ("sweeps.studies.study", "_trial_id"): "a trial's id in its storage, by which Optuna's own storages are asked",
    ("sweeps.interrupts", "_exit"): "the one end of a process that waits for nothing",
}
#: What no line of the rooms names: a library calls it, or users do.
CALLED_FROM_OUTSIDE = {
    "trainer.amortised.measure.measured_at": "users, docs/amortised.md",
    "trainer.config.yaml_core.ignore_aliases": "PyYAML",
    "trainer.ray_shell.process_group.backend_cls": "Ray Train",
    "trainer.ray_shell.process_group.on_shutdown": "Ray Train",
    "trainer.ray_shell.process_group.on_start": "Ray Train",
    "trainer.ray_shell.slot.after_worker_group_poll_status": "Ray Train",
    "sweeps.recipes.bold_digits.bold_share": "the recipe bold.yaml",
    "sweeps.python.drawn_front.to_dataframe": "users, docs/python.md",
    "sweeps.python.drawn_front._repr_html_": "IPython",
    "sweeps.python.explanation._repr_markdown_": "IPython",
    "sweeps.python.run.to_dataframe": "users, docs/python.md",
    "sweeps.python.run._repr_html_": "IPython",
    "sweeps.python.swept.to_dataframe": "users, docs/python.md",
    "sweeps.python.swept._repr_html_": "IPython",
    "sweeps.output.writelines": "whoever writes to a stream",
    "sweeps.tracking.sampling_model._load_pyfunc": "MLflow",
    "sweeps.tracking.exported_model._load_pyfunc": "MLflow",
    "sweeps.tune_trial.setup": "Ray Tune",
    "sweeps.tune_trial.reset_config": "Ray Tune",
    "sweeps.tune_trial.cleanup": "Ray Tune",
    "sweeps.handing_out.suggest": "Ray Tune",
    "sweeps.handing_out.on_trial_complete": "Ray Tune",
    "sweeps.tune.on_trial_complete": "Ray Tune",
    "sweeps.tune.stop_all": "Ray Tune",
    "sweeps.tune.on_trial_start": "Ray Tune",
    "sweeps.tune.on_trial_error": "Ray Tune",
    "sweeps.tune.on_step_end": "Ray Tune",
}
#: Whose modules are found by being there.
PLUG_INS = (
    "trainer.rewards.shipped.", "trainer.terms.shipped.", "trainer.sources.estimators.", "trainer.evaluation.shipped.",
    "trainer.samplers.shipped.",
    "trainer.data.sources.",
    "trainer.dual.rules.",
)  # fmt: skip


def circles_of_files(house: House) -> list[str]:
    return [f"{' -> '.join(circle)} import each other" for circle in circles(house.imports)]


def circles_of_folders(house: House) -> list[str]:
    """Within sweeps/ and analysis/ the folders have an order too."""
    return [f"{', '.join(each)} import each other" for room in ("sweeps", "analysis") for each in circles(house.folders[room])]


def rooms_that_must_not_be_imported(house: House) -> list[str]:
    rooms = {module: {each.split(".")[0] for each in others} for module, others in house.imports.items()}
    wrong = {module: found - ALLOWED[module.split(".")[0]] - {module.split(".")[0]} for module, found in rooms.items()}
    return [f"{module} imports {sorted(others)}" for module, others in wrong.items() if others]


def libraries_in_the_wrong_place(house: House) -> list[str]:
    """The core never imports Ray, MLflow or plotting; analysis reads MLflow and needs no Ray or torch."""
    violations = []
    for module, names in house.libraries.items():
        core = module.startswith("trainer") and not module.startswith(SHELL)
        kept_out = KEPT_OUT_OF_THE_CORE if core else KEPT_OUT_OF_ANALYSIS if module.startswith("analysis") else set()
        violations += [f"{module} imports {name}" for name in sorted(names & kept_out)]
    return violations


def private_parts_without_a_reason(house: House) -> list[str]:
    used = house.private()
    unexplained = [
        f"{module} uses {name}, which is private: use another, or say why in PRIVATE" for module, name in used - set(PRIVATE)
    ]
    return unexplained + [f"{module} no longer uses {name}: take it out of PRIVATE" for module, name in set(PRIVATE) - used]


def files_that_are_too_long(house: House) -> list[str]:
    lines = {module: len(path.read_text().splitlines()) for module, path in house.files.items()}
    return [f"{module} has {count} lines" for module, count in lines.items() if count > LONGEST_FILE]


def functions_that_are_too_long(house: House) -> list[str]:
    lengths = [(f"{module}.{node.name}", (node.end_lineno or 0) - node.lineno + 1) for module, node in house.functions()]
    return [f"{name} has {length} lines" for name, length in lengths if length > LONGEST_FUNCTION]


def definitions_that_nobody_uses(house: House) -> list[str]:
    unused = [name for name in house.unused() if not name.startswith(PLUG_INS)]
    found = [f"{name} is used by tests alone, or by nobody" for name in unused if name not in CALLED_FROM_OUTSIDE]
    return found + [f"{name} is used: take it out of CALLED_FROM_OUTSIDE" for name in CALLED_FROM_OUTSIDE if name not in unused]


def assertions_that_are_too_many(house: House) -> list[str]:
    """A test whose third assertion fails says nothing of the other twenty: what is costly is made once, by a fixture."""
    counts = [(file, node.name, asserted(node)) for file, node in house.tests()]
    return [
        f"tests/{file}: {name} asserts {count} things: split it, over a fixture of what they share"
        for file, name, count in counts
        if count > MOST_ASSERTIONS
    ]


def metrics_that_are_spelt_elsewhere(house: House) -> list[str]:
    """A metric's name is made in `trainer/metric_names.py`, and nowhere else."""
    known = [each for each in vars(metric_names).values() if isinstance(each, str) and re.fullmatch(r"[a-z]+/[a-z]*", each)]
    texts = [(module, text) for module in house.files if module != "trainer.metric_names" for text in house.texts(module)]
    return [f"{module} spells {text!r}; use metric_names" for module, text in texts if text.startswith(tuple(known))]


def names_that_say_nothing(house: House) -> list[str]:
    """`each` and `found` do where one expression says the rest; a variable that is used for longer is named for what it holds."""
    return [
        f"{file}: {node.name} uses `{name}` over {lines} lines: name it for what it holds"
        for file, node in house.all_functions()
        for name, lines in spread(node, VAGUE).items()
        if lines > LONGEST_VAGUE
    ]


Rule = Callable[[House], list[str]]
RULES: tuple[Rule, ...] = (
    circles_of_files, circles_of_folders, rooms_that_must_not_be_imported, libraries_in_the_wrong_place,
    private_parts_without_a_reason, files_that_are_too_long, functions_that_are_too_long, definitions_that_nobody_uses,
    metrics_that_are_spelt_elsewhere, assertions_that_are_too_many, names_that_say_nothing,
)  # fmt: skip
HOUSE = House(ROOT)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(rule: Rule) -> None:
    assert rule(HOUSE) == []


#: A rule, a file, what is written at its end, and what the rule then says.
BREACHES: list[tuple[Rule, str, str, str]] = [
    (circles_of_files, "trainer/rng.py", "from dualsweep.trainer.samplers.sampling import sample", "trainer.rng"),
    (
        circles_of_files,
        "trainer/dual/problem.py",
        "if TYPE_CHECKING:\n    from dualsweep.trainer.recipe.recipe import Recipe",
        "dual.problem",
    ),
    (
        circles_of_files,
        "trainer/recipe/base.py",
        "def late():\n    from dualsweep.trainer.terms.registry import TERMS",
        "terms.shipped",
    ),
    (
        circles_of_files,
        "trainer/rewards/__init__.py",
        "from dualsweep.trainer.rewards.registry import resolve",
        "rewards.registry",
    ),
    (
        circles_of_folders,
        "analysis/preference.py",
        "from dualsweep.analysis.recommendation.points import Points",
        "analysis.recommendation",
    ),
    (circles_of_folders, "sweeps/planning/kinds.py", "from dualsweep.sweeps.studies.telling import seen", "sweeps.studies"),
    (rooms_that_must_not_be_imported, "analysis/text.py", "import dualsweep.sweeps.exits", "analysis.text imports ['sweeps']"),
    (
        rooms_that_must_not_be_imported,
        "trainer/rng.py",
        "from dualsweep.cluster import address",
        "trainer.rng imports ['cluster']",
    ),
    (libraries_in_the_wrong_place, "trainer/engine/loop.py", "import ray.train", "trainer.engine.loop imports ray"),
    (libraries_in_the_wrong_place, "analysis/text.py", "from torch import Tensor", "analysis.text imports torch"),
    (private_parts_without_a_reason, "sweeps/tune.py", "from optuna._hypervolume import wfg", "optuna._hypervolume.wfg"),
    (private_parts_without_a_reason, "sweeps/tune.py", "import ray._private.worker", "ray._private.worker"),
    (private_parts_without_a_reason, "sweeps/tune.py", "tune.tuner._internal_api()", "_internal_api"),
    (files_that_are_too_long, "analysis/errors.py", "#\n" * 300, "analysis.errors has"),
    (
        functions_that_are_too_long,
        "analysis/errors.py",
        "def long():\n" + "    x = 1\n" * 40,
        "analysis.errors.long has 41 lines",
    ),
    (definitions_that_nobody_uses, "analysis/errors.py", "def forgotten():\n    return 1", "analysis.errors.forgotten"),
    (
        metrics_that_are_spelt_elsewhere,
        "analysis/errors.py",
        "def f(n):\n    return f'slack/{n}'",
        "analysis.errors spells 'slack/'",
    ),
    (metrics_that_are_spelt_elsewhere, "analysis/errors.py", "X = 'system/seconds'", "spells 'system/seconds'"),
    (definitions_that_nobody_uses, "analysis/errors.py", "FORGOTTEN = 1", "analysis.errors.FORGOTTEN"),
    (
        assertions_that_are_too_many,
        "tests/analysis/test_much.py",
        "def test_it():\n" + "    assert 1\n" * 11,
        "tests/analysis/test_much.py: test_it asserts 11 things",
    ),
    (
        assertions_that_are_too_many,
        "tests/test_and.py",
        "def test_it():\n    for x in y:\n        assert " + " and ".join("abcdefghijk"),
        "test_it asserts 11 things",
    ),
    (
        names_that_say_nothing,
        "cluster/errors.py",
        "def f(xs):\n    for each in xs:\n        print()\n        print()\n        print(each)",
        "f uses `each` over 4 lines",
    ),
    (
        names_that_say_nothing,
        "tests/test_names.py",
        "def f(xs):\n    return [\n        found + 1\n        for found\n        in xs\n        if found]",
        "f uses `found` over 4 lines",
    ),
]


@pytest.mark.parametrize(("rule", "file", "text", "said"), BREACHES, ids=[rule.__name__ for rule, *_ in BREACHES])
def test_each_rule_bites(rule: Rule, file: str, text: str, said: str, tmp_path: Path) -> None:
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__", "*.yaml"))
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    with (tmp_path / file).open("a") as end:
        end.write(f"\n{text}\n")
    found = rule(House(tmp_path))
    assert found and said in " ".join(found)


def test_checking_input_imports_nothing_heavy():
    """What makes an answer to bad input come within two seconds; a count of modules, not of time."""
    heavy = ("torch", "ray", "mlflow", "optuna", "diffusers", "pandas", "sklearn", "matplotlib", "plotly", "numpy")
    code = (
        "import sys; from pathlib import Path; from dualsweep.sweeps.checking import checked_sweep;"
        "checked_sweep(Path('sweeps/digits.yaml'), [], '/tmp/nowhere-yet', None, None);"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
    assert not Path("/tmp/nowhere-yet").exists()
