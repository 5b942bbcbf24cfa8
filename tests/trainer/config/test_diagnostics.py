"""A mistake found by what does not know its place is told at a place, whole, in this process or another."""

from __future__ import annotations

import pickle

import pytest

from dualsweep.sweeps.studies.storage import StorageError
from dualsweep.trainer.config.diagnostics import Diagnostic, UnplacedError
from dualsweep.trainer.config.dotted_keys import NoSuchPlaceError
from dualsweep.trainer.config.import_path import CannotImportError
from dualsweep.trainer.config.uris import BadPlaceError
from dualsweep.trainer.config.yaml_file import parse


@pytest.mark.parametrize("kind", [NoSuchPlaceError, BadPlaceError, StorageError])
def test_an_error_without_a_place_is_its_diagnostic_and_crosses_processes_whole(kind: type[UnplacedError]) -> None:
    error = pickle.loads(pickle.dumps(kind("must be good", "`x`", "mend it")))
    assert type(error) is kind and str(error) == "must be good, but got `x`; mend it"
    assert error.diagnostic == Diagnostic((), "must be good", "`x`", "mend it")


def test_an_import_that_fails_names_its_path_only_where_no_key_does() -> None:
    error = CannotImportError("a:b", "no module named `a`", "install it")
    rest = "must lead to a function that can be imported, but got no module named `a`; install it"
    assert str(error) == f"`a:b` {rest}"
    assert str(error.diagnostic.at(("data", "call"), "r.yaml", 3)) == f"r.yaml:3: data.call: {rest}"


def test_a_document_tells_a_mistake_at_the_line_of_its_new_key() -> None:
    document = parse("a: 1\nb:\n  c: 2\n", "r.yaml")
    mistake = Diagnostic(("elsewhere",), "must be good", "2", "mend it", "other.yaml", 9)
    assert document.locate(mistake.at(("b", "c"))) == Diagnostic(("b", "c"), "must be good", "2", "mend it", "r.yaml", 3)
