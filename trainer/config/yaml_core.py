"""YAML by the core schema of YAML 1.2 (§10.3), which PyYAML, a reader of YAML 1.1, does not know: one reader and one writer.

So `on`, `no` and `1:30` are words, `010` is ten, `0o10` is eight, `1_000` is a word and `1e5` a number. Of YAML 1.1 the merge key
`<<` is kept. What is written here is read alike by both: a word that either of them takes for something else is put in quotes.
"""

from __future__ import annotations

import codecs
import re
from typing import Any

import yaml

_TAG = "tag:yaml.org,2002:"
#: Each type of a plain scalar, the form of its text, and the characters that it may begin with.
_SCALARS = (
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
     list("-+.0123456789")),
)  # fmt: skip
_FORMS = {f"{_TAG}{name}": re.compile(rf"(?:{form})\Z") for name, form, _ in _SCALARS}
#: Of a whole number, zeros in front included; Python itself reads no more than some thousand.
_MOST_DIGITS = 400
#: Control characters but for tabs and ends of lines, halves of characters, and what turns the direction of what follows.
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
#: Bytes of a text, and keys and entries in it, aliases counted each time: a few lines of aliases of aliases can mean billions.
MOST_BYTES, MOST_NODES = 4_000_000, 100_000
#: Sections and lists in each other; no recipe comes near, and Python's own limit is told without a line.
MOST_NESTED = 50
_KNOWN = {*_FORMS, *(f"{_TAG}{name}" for name in ("str", "seq", "map", "merge"))}
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class BoundError(yaml.YAMLError):
    """A text is larger or deeper than any recipe or sweep, and would take a machine's time or memory."""

    def __init__(self, received: str, remedy: str, line: int) -> None:
        super().__init__(f"it holds {received}, in line {line}")
        self.received, self.remedy, self.line = received, remedy, line


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the types of YAML 1.2; tags of other types, which would make other objects, are refused."""

    yaml_implicit_resolvers: Any = {}  # noqa: RUF012  # none of YAML 1.1's; PyYAML says no ClassVar

    def __init__(self, text: str) -> None:
        if len(text) > MOST_BYTES:
            raise BoundError(f"more than {MOST_BYTES:,} characters", "write less, and name data by its path", 1)
        super().__init__(text)
        self.alias_lines: dict[tuple[int, int], int] = {}
        self._count, self._depth, self._deepest = 0, 0, 0
        self._extents: dict[int, tuple[int, int]] = {}  # of each node: its nodes, and how deep they are nested

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Composes a node as PyYAML does, within bounds; notes the lines of aliases in lists, whose nodes have others."""
        line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
        alias = self.check_event(yaml.AliasEvent)
        if isinstance(index, int) and alias:
            self.alias_lines[id(parent), index] = line
        before, around = self._count, self._deepest
        self._count, self._depth = self._count + 1, self._depth + 1
        self._deepest = self._depth
        self._check_bounds(line)
        node = super().compose_node(parent, index)
        if alias:  # of one that holds itself `yaml_tree` tells
            size, height = self._extents.get(id(node), (1, 0))
            self._count, self._deepest = before + size, self._depth + height
        else:
            self._extents[id(node)] = self._count - before, self._deepest - self._depth
        self._check_bounds(line)
        self._depth, self._deepest = self._depth - 1, max(around, self._deepest)
        return node

    def _check_bounds(self, line: int) -> None:
        if self._deepest > MOST_NESTED:
            raise BoundError(
                f"lists or sections nested too deeply, more than {MOST_NESTED} in each other", "nest them less", line
            )
        if self._count > MOST_NODES:
            raise BoundError(
                f"more than {MOST_NODES:,} keys and entries, aliases of aliases counted each time", "write less", line
            )

    def scan_flow_scalar(self, style: str) -> Any:
        """As PyYAML does, which fails where an escape names no character."""
        try:
            return super().scan_flow_scalar(style)
        except (ValueError, OverflowError):
            raise yaml.scanner.ScannerError(None, None, "an escape that names no character", self.get_mark()) from None

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        form = _FORMS.get(node.tag)
        if node.tag not in _KNOWN or (form and not (isinstance(node, yaml.ScalarNode) and form.match(node.value))):
            word = node.tag.replace(_TAG, "!!")
            what = "is not used here" if node.tag not in _KNOWN else "does not fit its value"
            raise yaml.constructor.ConstructorError(None, None, f"the tag {word} {what}", node.start_mark)
        return super().construct_object(node, deep)

    def construct_scalar(self, node: Any) -> Any:
        """As PyYAML does, without characters that a terminal would obey in place of showing them."""
        text = super().construct_scalar(node)
        if (odd := _COMMANDS.search(text)) is not None:
            what = f"the character {odd.group()!r}, which terminals obey"
            raise yaml.constructor.ConstructorError(None, None, what, node.start_mark)
        return text

    def construct_yaml_int(self, node: Any) -> int:
        text = str(self.construct_scalar(node))
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        # No setting is larger, and floating-point numbers, databases and tensors hold none that is.
        if len(text) <= _MOST_DIGITS and abs(number := int(text, base)) < 2**63:
            return number
        raise yaml.constructor.ConstructorError(None, None, "a number of too many digits for 64 bits", node.start_mark)

    def construct_word(self, node: Any) -> str:
        """The word `<<` where it stands as a value, as text."""
        return str(self.construct_scalar(node))

    def construct_yaml_float(self, node: Any) -> float:
        return float(str(self.construct_scalar(node)).lower().replace(".inf", "inf").replace(".nan", "nan"))


for _name, _form, _first in _SCALARS:
    Loader.add_implicit_resolver(f"{_TAG}{_name}", _FORMS[f"{_TAG}{_name}"], _first)
Loader.add_implicit_resolver(f"{_TAG}merge", re.compile(r"<<\Z"), ["<"])
Loader.add_constructor(f"{_TAG}int", Loader.construct_yaml_int)
Loader.add_constructor(f"{_TAG}float", Loader.construct_yaml_float)
Loader.add_constructor(f"{_TAG}merge", Loader.construct_word)


class _Dumper(yaml.SafeDumper):
    """Writes what both versions of YAML read as what it is."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _name, _form, _first in _SCALARS:
    _Dumper.add_implicit_resolver(f"{_TAG}{_name}", _FORMS[f"{_TAG}{_name}"], _first)


def read(text: str) -> Any:
    """Plain data of text that this program wrote itself, or that is short; what users write goes through `yaml_file`.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    return yaml.load(text, Loader)  # a safe loader


def write(data: Any) -> str:
    """The YAML text of plain data, keys in their order."""
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False))


def decoded(content: bytes) -> str:
    """The text of a file: UTF-8, or UTF-16 or UTF-32 as its byte order mark or its zeros tell (YAML 1.2, §5.2).

    Raises:
        ValueError: it is none of these; with the line and the byte.
    """
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), None) or _by_its_zeros(content[:4])
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"byte 0x{content[error.start]:02x} in line {line}, which is no {encoding.upper()}") from None


def _by_its_zeros(first: bytes) -> str:
    zeros = "".join("0" if byte == 0 else "x" for byte in first)
    return {"000x": "utf-32-be", "x000": "utf-32-le"}.get(zeros) or {"0x": "utf-16-be", "x0": "utf-16-le"}.get(zeros[:2], "utf-8")
