"""What is made of the nodes' answers."""

from __future__ import annotations

import platform

from dualsweep.cluster.nodes import check_answers, check_versions, versions

HERE = {"python": "3.11.2", "torch": "2.13.0", "mine": "none"}


def test_versions_are_those_that_are_installed() -> None:
    import torch

    found = versions(["torch", "no-such-package"])
    assert found == {"python": platform.python_version(), "torch": torch.__version__, "no-such-package": "none"}


def test_a_package_that_is_missing_fails_and_another_version_is_a_warning() -> None:
    same = check_versions(HERE, {"a": HERE, "b": HERE})
    assert same.level == "ok" and same.value == "python 3.11.2, torch 2.13.0 on 2 nodes"
    other = check_versions(HERE, {"a": HERE, "b": {**HERE, "torch": "2.12.1"}})
    assert other.level == "warn" and other.value == "torch 2.12.1 on b (2.13.0 here)"
    missing = check_versions(HERE, {"a": {**HERE, "torch": "none"}, "b": {**HERE, "python": "3.12.0"}})
    assert missing.level == "fail" and missing.value == "no torch on a"
    assert check_versions(HERE, {"a": {**HERE, "mine": "1.0"}}).level == "ok", "more than the driver has does no harm"


def test_what_nodes_find_wrong_is_told_with_the_node() -> None:
    assert (
        str(check_answers("output", "it is shared", {"a": "", "b": ""}, "share it"))
        == "ok    output: it is shared: so on 2 nodes"
    )
    wrong = check_answers("output", "it is shared", {"a": "", "b": "it is not seen"}, "share it")
    assert str(wrong) == "fail  output: it is shared: it is not seen on b; share it"
