"""YAML as users write it: YAML 1.2's types, and every way in which a text is none, told by line and never by a traceback."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from dualsweep.trainer.config import yaml_core
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.config.yaml_file import load, parse, validate
from dualsweep.trainer.recipe.load import load_recipe, read_overrides
from dualsweep.trainer.recipe.recipe import Recipe

#: By the core schema of YAML 1.2, §10.3.2; what differs from 1.1 stands first.
SCALARS: dict[str, Any] = {
    "010": 10, "0o10": 8, "08": 8, "1_000": "1_000", "0.1_0": "0.1_0", "1:30": "1:30", "12:30:45": "12:30:45", "1e5": 1e5,
    "1E-3": 1e-3, "on": "on", "off": "off", "yes": "yes", "No": "No", "y": "y", "n": "n", "2001-01-01": "2001-01-01",
    "0b11": "0b11", "=": "=", "0o8": "0o8", "1e": "1e", "tRue": "tRue", "0x1F": 31, "-12": -12, "+12": 12, ".5": 0.5, "5.": 5.0,
    "1.5e+3": 1500.0, "true": True, "False": False, "TRUE": True, "null": None, "~": None, "Null": None, "": None,
    "-.INF": -math.inf, "'010'": "010", '"on"': "on", "!!str 5": "5", "!!float 1": 1.0, "!!int '7'": 7,
}  # fmt: skip


@pytest.mark.parametrize("written", SCALARS)
def test_scalars_are_those_of_yaml_1_2(written: str) -> None:
    found = parse(f"key: {written}", "f.yaml").data["key"]
    assert (type(found), found) == (type(SCALARS[written]), SCALARS[written])


def test_a_file_below_home_is_read_as_a_shell_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "f.yaml").write_text("key: 1\n")
    assert load("~/f.yaml").data == load(Path("~/f.yaml")).data == {"key": 1}
    with pytest.raises(InputError, match="no such file"):
        load("~nobody-of-this-name/f.yaml")


def told(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse(text, "f.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("name: {{ name }}", 1, "{{ name }} is a template that was not filled in"),
        ("a: 1\nlr: {{lr}}\nb: 2", 2, "{{lr}} is a template that was not filled in"),
        ("a: {{ x }}-y", 1, "{{ x }} is a template"),
        ("{% if x %}\na: 1", 1, "{% if x %} is a template"),
        ("a: [{{ x }}, 1]", 1, "{{ x }} is a template"),
        ("a: 1\nb: &d {x: 1, y: *d}", 2, "b.y: must not hold itself"),
        ("a: &d\n  - 1\n  - 2\n  - *d", 4, "a.2: must not hold itself"),
        ("a: &d\n  b: {c: [*d]}", 2, "must not hold itself"),
        ("a: &a {<<: *a}", 1, "must not hold itself"),
        ("&top a: 1\nb: *nowhere", 2, "undefined alias"),
        ("? [a, b]\n: 1", 1, "plain words as keys"),
        ("a: {[1, 2]: 3}", 1, "plain words as keys"),
        ("a: 1\ntrue: 1", 2, 'put it in quotes: "true"'),
        ("null: 1", 1, 'put it in quotes: "null"'),
        ("a:\n  1.5: 2", 2, 'put it in quotes: "1.5"'),
        ("a: @b", 1, "put that value in quotes"),
        ("a: 1\n\tb: 1", 2, "blanks only"),
        ("a: 'x", 1, "unexpected end"),
        ("a: [1, 2", 1, "expected ',' or ']'"),
        ("a: !!python/object/apply:os.getcwd []", 1, "the tag !!python/object/apply:os.getcwd is not used here"),
        ("a: 1\nb: !include x.yaml", 2, "the tag !include is not used here"),
        ("a: !!int abc", 1, "the tag !!int does not fit its value"),
        ("a: !!bool maybe", 1, "the tag !!bool does not fit"),
        ("a: !!set {x, y}", 1, "the tag !!set is not used"),
        ("a: !!timestamp x", 1, "the tag !!timestamp is not used"),
        ("a: x\n---\nb: 1", 2, "must hold one document"),
        ("a: 1\nb: x\x00y", 2, "the character"),
        ("a: " + "[" * 3000, 1, "nested too deeply"),
        ("a: " + "9" * 5000, 1, "too many digits"),
        ("a: 1\nb: -" + "9" * 20, 2, "too many digits for 64 bits"),
        ("a: &x 1\nb: &x 2", 2, "each anchor once"),
        ("a: 1\nb: 2\na: 3", 3, "must stand once"),
        ("<<: 5", 1, "merging"),
        ("- 1", 1, "a list"),
        ("x", 1, "a plain value"),
        ("# nothing", 1, "an empty file"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(text: str, line: int, words: str) -> None:
    assert told(text).startswith(f"f.yaml:{line}: ") and words in told(text)


def test_aliases_of_aliases_do_not_grow_without_bound() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for here, above in zip("bcdefghi", "abcdefgh", strict=True):
        lines.append(f"{here}: &{here} [{', '.join([f'*{above}'] * 9)}]")
    assert "aliases of aliases" in told("\n".join(lines))


@pytest.mark.parametrize("word", ["²", "9" * 5000, "٣"])
def test_a_position_that_is_none_is_told(word: str) -> None:
    recipe = Path(__file__).parents[2] / "fuzz" / "recipe.yaml"
    with pytest.raises(InputError, match="must name an entry of `constraints`"):
        load_recipe(recipe, [f"constraints.{word}.at_most=1"])


def test_an_alias_used_twice_is_two_values() -> None:
    assert parse("a: &x {y: 1}\nb: *x\nc: {<<: *x, z: 2}", "f").data == {"a": {"y": 1}, "b": {"y": 1}, "c": {"y": 1, "z": 2}}


@pytest.mark.parametrize("value", ["{{ lr }}", "{{lr}}-x", "&a [*a]", "!x 1", "[1, 2", "@x", "a: b: c", "? [x]"])
def test_a_value_on_the_command_line_is_told_too(value: str) -> None:
    overrides, problems = read_overrides([f"train.lr={value}"])
    assert not overrides and len(problems) == 1 and str(problems[0]).startswith("--set:1: train.lr: must have a value in YAML")
    assert ("not filled in" in str(problems[0])) == ("{{" in value)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
def test_a_file_in_any_unicode_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "f.yaml").write_bytes("a: é≤\n".encode(encoding))
    assert load(tmp_path / "f.yaml").data == {"a": "é≤"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: 1\nb: \xe9\n", "byte 0xe9 in line 2, which is no UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00", "byte 0x89 in line 1"),
        (b"\xff\xfe\x00", "no UTF-16"),
    ],
)
def test_a_file_that_is_no_text_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "f.yaml").write_bytes(content)
    with pytest.raises(InputError, match="must be text in UTF-8") as caught:
        load(tmp_path / "f.yaml")
    assert words in str(caught.value)
    with pytest.raises(InputError, match="must be a file, but got a folder"):
        load(tmp_path)


def test_what_is_written_is_read_alike_by_both_versions() -> None:
    words = [*SCALARS, "<<", "a: b", "# x", " x", "é", "-", "{{ x }}", "0o12", "1e9", "no"]
    data = {"words": words, "numbers": [1, 2.5, 1e-5, 1e300, None, True, {}], "again": [words, words]}
    text = yaml_core.write(data)
    assert yaml_core.read(text) == data == yaml.safe_load(text)


RECIPE = """\
name: r
formulation: constrained_training
model: {unet: {channels: [8, 16]}}
data: {folder: images}
constraints:
  - {name: ca, data: {classes: CLASSES}, at_most: 0.0}
train: {steps: 10}
"""


@pytest.mark.parametrize(
    ("word", "quoted"),
    [("true", '["true"]'), ("null", '["null"]'), ("1.5", '["1.5"]'), ("False", '["false"]'), ("~", '["null"]')],
)
def test_a_class_that_yaml_reads_as_something_else_is_told_once(word: str, quoted: str) -> None:
    with pytest.raises(InputError) as caught:
        validate(Recipe, parse(RECIPE.replace("CLASSES", f"[a, {word}]"), "r.yaml"))
    (problem,) = caught.value.diagnostics
    assert (problem.line, problem.key, problem.remedy) == (6, "constraints.0.data.classes.1", f"put it in quotes: {quoted}")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("{load: x, lora: 5}", [("model.lora", "must be a section or a word")]),
        (
            "{load: x, lora: {rank: 0, x: 1}}",
            [("model.lora.rank", "must be greater than or equal to 1"), ("model.lora.x", "must be a known key")],
        ),
        ("{load: x, prompts: [a, true]}", [("model.prompts.1", "must be a valid string")]),
        ("{load: '{{ place }}/x', lora: 'a', label: -1}", [("model.label", "must be greater than or equal to 0")]),
    ],
)
def test_of_several_types_one_error_is_told_where_the_value_stands(model: str, expected: list[tuple[str, str]]) -> None:
    text = RECIPE.replace("{unet: {channels: [8, 16]}}", model).replace("CLASSES", "[a]")
    with pytest.raises(InputError) as caught:
        validate(Recipe, parse(text, "r.yaml"))
    assert [(each.key, each.rule) for each in caught.value.diagnostics] == expected


def test_the_largest_number_and_a_word_of_the_merge_key_are_read() -> None:
    data = parse(f"a: {2**63 - 1}\nb: 0x7fffffffffffffff\nc: <<\nd: {{<<: {{e: 1}}}}", "f.yaml").data
    assert data == {"a": 2**63 - 1, "b": 2**63 - 1, "c": "<<", "d": {"e": 1}}
