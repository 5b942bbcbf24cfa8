"""Every exception of ours says the same in another process: Ray, process pools and Tune pickle what is raised."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path

import pytest

from dualsweep.analysis.errors import ReviewError
from dualsweep.cluster.errors import ClusterError
from dualsweep.sweeps.studies.storage import StorageError
from dualsweep.sweeps.tracking.delivery import _GoneError
from dualsweep.trainer.checkpoint import DamagedError
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError, RuleError, RulesError, UnplacedError
from dualsweep.trainer.config.dotted_keys import NoSuchPlaceError
from dualsweep.trainer.config.import_path import CannotImportError
from dualsweep.trainer.config.uris import BadPlaceError
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.errors import BadPartError, TrainingError, TrainingInterrupted, TrainingPaused, TrainingStopped
from dualsweep.trainer.evaluation.evidence import NotMeasured
from dualsweep.trainer.ray_shell.slot import EditedModules, SlotLostError
from dualsweep.trainer.ray_shell.training_handle import NotPlacedError
from dualsweep.trainer.samplers.grid import TooManyStepsError
from dualsweep.trainer.storage import OutsideError
from tests.house import ROOMS

ROOT = Path(__file__).parent.parent
THREE = ("must be so", "not so", "make it so")
TWO_MISTAKES = [Diagnostic(("a", 0, "b"), *THREE, "x.yaml", 3), Diagnostic((), *THREE)]
RAISED: list[Exception] = [
    InputError(TWO_MISTAKES), RulesError(TWO_MISTAKES), RuleError("a.0", *THREE), BadDataError(*TWO_MISTAKES),
    *[kind(*THREE) for kind in (UnplacedError, OutsideError, StorageError, TooManyStepsError,
                                  NoSuchPlaceError, CannotImportError, BadPartError, BadPlaceError, ClusterError)],
    *[kind("a reason") for kind in (TrainingError, TrainingInterrupted, TrainingStopped, SlotLostError, NotMeasured)],
    *[kind("a reason") for kind in (DamagedError, EditedModules, ReviewError, TrainingPaused, NotPlacedError, _GoneError)],
]  # fmt: skip


@pytest.mark.parametrize("raised", RAISED, ids=lambda raised: type(raised).__name__)
def test_it_crosses_process_borders_whole(raised: Exception) -> None:
    there = pickle.loads(pickle.dumps(raised))
    assert str(there) == str(raised) and str(raised)
    assert isinstance(there, type(raised)) or type(raised) is RuleError
    for name in ("diagnostic", "diagnostics", "rule", "received", "remedy"):
        assert getattr(there, name, None) == getattr(raised, name, None)


def test_none_is_left_out() -> None:
    known = {"Exception", *(kind.__name__ for each in RAISED for kind in type(each).__mro__)}
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*.py")]
    classes = [node for file in files for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ClassDef)]
    raised = {node.name for node in classes if {getattr(base, "id", "") for base in node.bases} & known - {"object"}}
    assert raised == {type(each).__name__ for each in RAISED}
