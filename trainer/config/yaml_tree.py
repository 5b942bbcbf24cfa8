"""What a parsed YAML text holds where: the line of every key, and what no mapping of plain data can be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from dualsweep.trainer.config.diagnostics import Diagnostic, InputError, Keys
from dualsweep.trainer.config.templates import template_hint, unfilled
from dualsweep.trainer.config.wording import first_line
from dualsweep.trainer.config.yaml_core import BoundError, Loader

_IN_QUOTES = "put it in quotes: "


@dataclass
class Tree:
    """Plain data read from YAML with the line of each key, and the keys that stand twice."""

    data: object
    lines: dict[Keys, int] = field(default_factory=lambda: {(): 1})
    twice: list[Keys] = field(default_factory=list)


def parse_tree(text: str, file: str) -> Tree | None:
    """The tree of a YAML text that holds a mapping, or plain data that is none; None of an empty text. `file` is for errors.

    Raises:
        InputError: it is no YAML of this kind; with the line.
    """
    try:
        loader = Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            tree = Tree(None)
            _Walk(loader, text, file, tree).walk(node, ())
            tree.data = loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        code = ord(error.character) if isinstance(error.character, str) else error.character
        raise _refused(file, line, "must be YAML", f"the character U+{code:04X}", "remove it") from None
    except BoundError as error:
        raise _refused(file, error.line, "must be of a size that a person reads", error.received, error.remedy) from None
    except yaml.YAMLError as error:
        raise _wrong_syntax(text, file, error) from None
    except RecursionError:
        raise _refused(file, 1, "must be YAML", "lists or sections nested too deeply to be read", "nest them less") from None
    return tree


#: The way out of a mistake that only the line tells.
FIX_SYNTAX = "fix the syntax at that line"


def _refused(file: str, line: int, rule: str, received: str, remedy: str, keys: Keys = ()) -> InputError:
    return InputError([Diagnostic(keys, rule, received, remedy, file, line)])


def _wrong_syntax(text: str, file: str, error: yaml.YAMLError) -> InputError:
    mark = getattr(error, "problem_mark", None)
    line = min(mark.line + 1, max(1, len(text.splitlines()))) if mark else 1
    what = " ".join(str(getattr(error, "problem", None) or first_line(error)).split())
    place = unfilled(_around(text, line))
    if what == "second occurrence":
        return _refused(file, line, "must name each anchor once", "one that stands before as well", "name it otherwise")
    if what == "but found another document":
        return _refused(
            file, line, "must hold one document", "a second one after `---`", "keep one of them, each in its own file"
        )
    if place:
        return _refused(file, line, "must be YAML", what, template_hint(place))
    if "cannot start any token" in what:
        return _refused(file, line, "must be YAML", what, "put that value in quotes, and indent with blanks only")
    if "too many digits" in what:
        return _refused(file, line, "must hold numbers of at most 64 bits", what, "write a smaller one")
    return _refused(file, line, "must be YAML", what, FIX_SYNTAX)


def _around(text: str, line: int) -> str:
    """A line and the one before, in which the fault often is."""
    return "\n".join(text.splitlines()[max(0, line - 2) : line])


class _Walk:
    """Fills the lines of a tree, refusing what no plain data can be; each key is read as its value will be."""

    def __init__(self, loader: Loader, text: str, file: str, tree: Tree) -> None:
        self._loader, self._text, self._file, self._tree = loader, text, file, tree
        self._open: set[int] = set()

    def walk(self, node: yaml.Node, keys: Keys, line: int = 1) -> None:
        if not isinstance(node, yaml.CollectionNode):
            return
        if id(node) in self._open:
            place = ".".join(map(str, keys))
            raise _refused(
                self._file,
                line,
                "must not hold itself",
                f"an alias at `{place}` of what it stands in",
                "write out its value",
                keys,
            )
        self._open.add(id(node))
        for key, below, start in self._entries(node):
            inner = (*keys, key)
            if inner in self._tree.lines:
                self._tree.twice.append(inner)
            self._tree.lines[inner] = start
            self.walk(below, inner, start)
        self._open.discard(id(node))

    def _entries(self, node: yaml.CollectionNode) -> Iterator[tuple[str | int, yaml.Node, int]]:
        if isinstance(node, yaml.SequenceNode):
            for position, item in enumerate(node.value):
                yield position, item, self._loader.alias_lines.get((id(node), position), item.start_mark.line + 1)
            return
        for key_node, value_node in node.value:
            yield self._key(key_node), value_node, key_node.start_mark.line + 1

    def _key(self, node: yaml.Node) -> str | int:
        line = node.start_mark.line + 1
        written = self._text[node.start_mark.index : node.end_mark.index].strip()
        if not isinstance(node, yaml.ScalarNode):
            place = unfilled(_around(self._text, line))
            remedy = template_hint(place) if place else "write a word, or put it all in quotes"
            raise _refused(self._file, line, "must have plain words as keys", f"`{place or written}`", remedy)
        key = "<<" if node.tag.endswith(":merge") else self._loader.construct_object(node)
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise _refused(
                self._file, line, "must have words or whole numbers as keys", f"`{written}`", f'{_IN_QUOTES}"{written}"'
            )
        return key
