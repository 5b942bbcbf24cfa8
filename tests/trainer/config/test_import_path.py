from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dualsweep.trainer.config.import_path import CannotImportError, import_callable, takes

PARTS = """\
import math
value = 3
def build(depth=1):
    return depth
class Owner:
    @staticmethod
    def make():
        return 7
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "users_parts.py").write_text(PARTS)
    (tmp_path / "users_folder").mkdir()
    (tmp_path / "users_folder" / "inner.py").write_text("def build():\n    return 5\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    yield tmp_path
    sys.path[:] = before
    for name in [name for name in sys.modules if name.startswith("users_")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("path", "result"), [("users_parts:build", 1), ("users_parts:Owner.make", 7), ("users_folder.inner:build", 5)]
)
def test_the_working_directory_is_importable(path: str, result: int) -> None:
    assert import_callable(path)() == result
    assert import_callable(path)() == result and sys.path.count(str(Path.cwd())) == 1


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("users_part:build", r"no module named `users_part`; install it, or put it in .* \(did you mean `users_parts`"),
        ("users_folder.outer:build", "no module named `users_folder.outer`"),
        ("users_parts.inner:build", "no module named `users_parts.inner`"),
        ("users_parts:built", "module `users_parts` without `built`; did you mean `build`"),
        ("users_parts:Owner.male", "`Owner` without `male`; did you mean `make`"),
        ("users_parts:value", "a int, which cannot be called; name a function or a class"),
        ("users_needs:x", r"no module named `absent_package` \(.*users_needs.py:2\); install `absent_package`"),
        ("users_breaks:x", r"ValueError while importing it: no \(.*users_breaks.py:2\)"),
        ("users_exits:x", "SystemExit while importing it: 3"),
        ("users_typo:x", r"SyntaxError while importing it: .*users_typo.py"),
    ],
)
def test_what_cannot_be_imported_is_told(here: Path, path: str, message: str) -> None:
    (here / "users_needs.py").write_text("import math\nimport absent_package\n")
    (here / "users_breaks.py").write_text("def inner():\n    raise ValueError('no')\ninner()\n")
    (here / "users_exits.py").write_text("raise SystemExit(3)\n")
    (here / "users_typo.py").write_text("def x(:\n")
    with pytest.raises(CannotImportError, match=message) as raised:
        import_callable(path)
    again = pickle.loads(pickle.dumps(raised.value))
    assert str(again) == str(raised.value) and again.diagnostic == raised.value.diagnostic


def test_takes() -> None:
    assert takes(lambda: 0, 0) and not takes(lambda: 0, 1)
    assert takes(lambda a, b=1: 0, 1) and not takes(lambda a: 0, 0) and takes(lambda *rest: 0, 5)
    assert not takes(lambda *, key: 0, 0)
    assert takes(dict.fromkeys, 1) and takes(max, 3)  # builtins need not have a signature
