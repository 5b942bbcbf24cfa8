"""Whatever a file or `--set` holds, `check` ends with 0, or with 2 and a line for each mistake that names file and line.

`make test` has 500 examples, the same ones each time; `make fuzz` draws 20,000 others (FUZZ is their number).
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dualsweep.sweeps import cli
from dualsweep.trainer.config.diagnostics import InputError

HERE = Path(__file__).parents[2]
EXAMPLES = int(os.environ.get("FUZZ", "500"))
#: A mistake as every command tells it; after it come only others.
TOLD = re.compile(r"[^\n:]+:\d+: [^\n]+, but got [^\n]+; [^\n]+")
MOST_OF_A_LINE = 4000


def some(share: float) -> Callable[[Any], Any]:
    """Settings of a test that has this share of the examples."""
    return settings(
        max_examples=max(1, round(share * EXAMPLES)), deadline=None, database=None, derandomize="FUZZ" not in os.environ,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory):
    """A folder of its own, and no way to a hub."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("fuzz"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


def check(content: str | bytes, *sets: str) -> bool:
    """Whether `dualsweep check` finds it good (0) or tells mistakes (2); whatever else it raises would be a traceback."""
    Path("f.yaml").write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    Path("recipe.yaml").write_text(BASES[0])
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            cli.check(Path("f.yaml"), list(sets))
    except InputError as error:
        lines = str(error).split("\n")
        assert len(lines) == len(error.diagnostics) > 0
        for line in lines:
            assert TOLD.fullmatch(line) and len(line) < MOST_OF_A_LINE and line.isprintable(), line[:MOST_OF_A_LINE]
        return False
    return True


BASES = [
    (HERE / "tests" / "fuzz" / "recipe.yaml").read_text(),
    (HERE / "tests" / "fuzz" / "sweep.yaml").read_text(),
]
PLAIN = [yaml.safe_load(text) for text in BASES]
WORDS = sorted({word for text in BASES for word in re.findall(r"[\w./*-]+|[\[\]{}:,&*!|>'\"%@`?-]", text)})
PIECES = [
    *WORDS, "\n", "\n  ", " ", ": ", "- ", "? ", "&a ", "*a", "<<: ", "!!int ", "!!str ", "!", "---\n", "...", "#", "{{ x }}",
    "\0", "\x1b[31m", "\u202e", "\ud800", "9" * 500, "x" * 5000, "[" * 200, "²", "~", "null", "true", "-.inf", ".nan", "1e999",
    "'", '"', "\\", '"\\ud800"', '"\\UFFFFFFFF"', "http://u:p@h/", "sqlite:///", "../../etc/passwd", "/dev/null", "%41", "\t",
]  # fmt: skip
ODD = [10**30, -(10**400), 2**63, "a" * 5000, "a:b", "os:getcwd", "math:pi", "nothing.here:x", "a.b:c"]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(PIECES), st.integers(-3, 3),
    st.floats(0, 1), st.sampled_from(ODD),
)  # fmt: skip
NAMES = st.sampled_from(WORDS) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=4) | st.dictionaries(NAMES, below, max_size=4), max_leaves=8
)


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above, *(each for key, below in entries for each in places(below, (*above, key)))]


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A good file with some values replaced, taken out, or put in under other keys."""
    data = copy.deepcopy(draw(st.sampled_from(PLAIN)))
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from(places(data)[1:]))
        current = data
        for key in above:
            current = current[key]
        what = draw(st.sampled_from(["replace", "replace", "remove", "add", "rename"]))
        if what == "remove":
            del current[last]
        elif what == "replace" or not isinstance(current, dict):
            current[last] = draw(VALUES)
        else:
            current[draw(NAMES)] = current.pop(last) if what == "rename" else draw(VALUES)
        if not places(data)[1:]:
            break
    return json.dumps(data) if draw(st.booleans()) else yaml.safe_dump(data, allow_unicode=False)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Pieces of YAML in any order; or a good file with pieces put in or characters taken out."""
    if draw(st.booleans()):
        return "".join(draw(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=25)))
    text = draw(st.sampled_from(BASES))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.sampled_from([0, 0, 1, 2, 10, 100]))
        text = text[:start] + draw(st.sampled_from(["", *PIECES]) | st.text(max_size=5)) + text[end:]
    return text


@some(0.5)
@given(documents())
def test_documents(text: str) -> None:
    check(text)


@some(0.3)
@given(texts() | st.binary(max_size=40))
def test_texts(text: str | bytes) -> None:
    check(text)


KEYS = st.lists(st.sampled_from([*WORDS, "*", "[*]", "0", "1"]), min_size=1, max_size=5).map(".".join)


@some(0.2)
@given(
    st.sampled_from(BASES),
    st.lists(st.builds("{}={}".format, KEYS | st.text(max_size=8), texts() | SCALARS.map(json.dumps)) | st.text(), max_size=3),
)
def test_overrides(base: str, sets: list[str]) -> None:
    check(base, *(each.replace("\0", "") for each in sets))  # no argument of a process can hold it


def test_the_bases_are_good() -> None:
    assert all(map(check, BASES))
