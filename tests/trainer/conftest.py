from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

WriteModule = Callable[[str, str], str]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """The nets here are too small for threads to help, and one thread makes sums the same everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def text_to_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    from tests.trainer import tiny

    return tiny.text_to_image(tmp_path_factory.mktemp("text-to-image"))


@pytest.fixture(scope="session")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> str:
    from tests.trainer import tiny

    return tiny.transformer(tmp_path_factory.mktemp("transformer"))


@pytest.fixture(scope="session")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> str:
    from tests.trainer import tiny

    return tiny.sdxl(tmp_path_factory.mktemp("sdxl"))


@pytest.fixture(scope="session")
def sd3(tmp_path_factory: pytest.TempPathFactory) -> str:
    from tests.trainer import tiny

    return tiny.sd3(tmp_path_factory.mktemp("sd3"))


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.trainer import tiny

    return tiny.clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WriteModule]:
    """Writes a module into the working directory; forgets it afterwards."""
    monkeypatch.chdir(tmp_path)
    written: list[str] = []

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        written.append(name)
        return name

    path = list(sys.path)
    yield write
    sys.path[:] = path
    for name in written:
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
