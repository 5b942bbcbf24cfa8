"""The seed of tests whose figures are drawn, their measurement over many seeds (see `tests.margins`), and dear tests."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from unittest import mock

import pytest

from tests.margins import SEED, Sampled

MARGINS = "--margins"
FIRST, SEEDS = "--first-seed", "--seeds"
DEAR = "--dear"
#: Files of tests with Ray, the longest first, as the last to begin is waited for by the other process.
LONGEST = (
    "faults/test_faults",
    "pipeline/test_submit",
    "pipeline/test_broken_off",
    "pipeline/test_sweep",
    "pipeline/test_hosting",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("margins", "tests of drawn figures")
    group.addoption(MARGINS, metavar="FILE", help="run only tests of drawn figures, at many seeds; add their figures to FILE")
    group.addoption(SEEDS, type=int, default=20, help="how many seeds")
    group.addoption(DEAR, action="store_true", help="also the tests marked `dear`, which a cheaper case of theirs stands for")
    group.addoption(FIRST, type=int, default=SEED + 1, help="the first of them")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.config.getoption(MARGINS) and "seed_of_tests" in metafunc.fixturenames:
        first, count = metafunc.config.getoption(FIRST), metafunc.config.getoption(SEEDS)
        seeds = range(first, first + count)
        metafunc.parametrize("seed_of_tests", seeds, ids=map("seed={}".format, seeds), indirect=True, scope="session")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """For the half of the tests with Ray or Chromium the files of the other are not even imported, which takes seconds."""
    if config.getoption("markexpr") != "ray or browser" or not collection_path.match("test_*.py"):
        return None
    return None if any(f"mark.{each}" in collection_path.read_text(encoding="utf-8") for each in ("ray", "browser")) else True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def here(item: pytest.Item) -> bool:
        if config.getoption(MARGINS):
            return "sampled" in getattr(item, "fixturenames", ())
        return config.getoption(DEAR) or item.get_closest_marker("dear") is None

    config.hook.pytest_deselected(items=[item for item in items if not here(item)])
    items[:] = sorted(filter(here, items), key=_rank)


def _rank(item: pytest.Item) -> int:
    place = item.path.with_suffix("").as_posix()
    return next((number for number, name in enumerate(LONGEST) if place.endswith(f"tests/{name}")), len(LONGEST))


@pytest.fixture(autouse=True)
def no_store_of_another_test() -> Iterator[None]:
    """MLflow writes the store that a test sets into this process's environment, where commands look for theirs.

    Not by `monkeypatch`, which would then be undone after all other fixtures of a test, a changed working directory with it.
    """
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


@pytest.fixture(autouse=True)
def no_signals_no_patience_and_no_words_of_another_test() -> Iterator[None]:
    """A command that ran in this process would end it, some seconds after an interrupt in a later test; one that trained would
    have later ones wait for stores that are not there; and messages would name it as the command to repeat."""
    yield
    signal.set_wakeup_fd(-1)
    if (words := sys.modules.get("dualsweep.sweeps.typed")) is not None:
        with mock.patch.object(sys, "argv", []):
            words.remember()
    if (stores := sys.modules.get("dualsweep.trainer.patient_files")) is not None:
        stores.wait_for_stores(0.0)


@pytest.fixture(scope="session", autouse=True)
def state_and_latents_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What runs note of themselves for this user, and what they encode, is kept among the tests' own files."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        environment.setenv("DUALSWEEP_LATENTS", str(tmp_path_factory.mktemp("latents")))
        yield


@pytest.fixture(scope="session")
def seed_of_tests(request: pytest.FixtureRequest) -> int:
    """For fixtures that draw or train for several tests; a test asks for `sampled`."""
    return int(getattr(request, "param", SEED))


@pytest.fixture
def sampled(seed_of_tests: int, request: pytest.FixtureRequest) -> Iterator[Sampled]:
    """The seed that a test of a drawn figure draws from, and what judges the figure (see `tests.margins`)."""
    path = request.config.getoption(MARGINS)
    figures = Sampled(seed_of_tests, measuring=bool(path))
    yield figures
    if path:
        failed = getattr(request.node, "failed", "")
        name = request.node.nodeid.replace(f"seed={seed_of_tests}-", "").replace(f"-seed={seed_of_tests}", "")
        line = {"test": name.replace(f"[seed={seed_of_tests}]", ""), "seed": seed_of_tests, "failed": failed}
        with Path(path).open("a") as file:
            file.write(json.dumps(line | {"figures": [asdict(each) for each in figures.kept]}) + "\n")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if call.when == "call" and call.excinfo is not None and item.config.getoption(MARGINS):
        item.failed = call.excinfo.exconly()[:200]  # type: ignore[attr-defined]
    return report
