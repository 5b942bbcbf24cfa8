"""What the rules of `test_house.py` are asked of: the four rooms under a root, what each file imports, what it defines.

Modules are named as within `dualsweep`: `trainer.rng` is what code imports as `dualsweep.trainer.rng`.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOMS = ("trainer", "sweeps", "analysis", "cluster")
DOOR = "dualsweep"
Function = ast.FunctionDef | ast.AsyncFunctionDef
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
#: Decorators by which a library calls what they stand on.
_CALLED_BY_DECORATOR = ("validator", "serializer", "command", "callback")


@dataclass(frozen=True)
class House:
    """The rooms under `root`, each module by its dotted name."""

    root: Path

    @cached_property
    def files(self) -> dict[str, Path]:
        paths = {}
        for room in ROOMS:
            for path in sorted((self.root / room).rglob("*.py")):
                name = ".".join(path.relative_to(self.root).with_suffix("").parts)
                paths[name.removesuffix(".__init__")] = path
        return paths

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        return {name: _parsed(path.read_text()) for name, path in self.files.items()}

    @cached_property
    def nodes(self) -> dict[str, tuple[ast.AST, ...]]:
        """Every node of each module's tree."""
        return {name: _walked(path.read_text()) for name, path in self.files.items()}

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """The modules of the house that each module imports anywhere: for types alone and as plug-ins too."""
        return {name: set(self._imported(name, nodes)) - {name} for name, nodes in self.nodes.items()}

    def _imported(self, name: str, nodes: tuple[ast.AST, ...]) -> Iterator[str]:
        packages = {name.rpartition(".")[2]: name, "__name__": name}
        for node in nodes:
            if isinstance(node, ast.Import):
                yield from (name for alias in node.names if (name := _within(alias.name)) in self.files)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for alias in node.names:
                    whole = _within(f"{node.module}.{alias.name}")
                    packages[alias.asname or alias.name] = whole
                    yield from (each for each in (whole if whole in self.files else _within(node.module),) if each in self.files)
        for node in nodes:
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
                for word in re.findall(r"\{(\w+)(?:\.__name__)?\}", ast.unparse(node.args[0])):
                    yield from (each for each in self.files if each.startswith(f"{packages.get(word, '?')}."))
        # A package is run before what is in it; one that imports nothing when it is run closes no circle.
        parent = name.rpartition(".")[0]
        run = self.trees[parent].body if parent in self.files else []
        if any(isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == DOOR for node in run):
            yield parent

    @cached_property
    def libraries(self) -> dict[str, set[str]]:
        """The top-level packages beyond the rooms that each module imports anywhere."""
        packages: dict[str, set[str]] = {}
        for module, nodes in self.nodes.items():
            names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
            names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
            packages[module] = {name.split(".")[0] for name in names} - {DOOR}
        return packages

    @cached_property
    def folders(self) -> dict[str, dict[str, set[str]]]:
        """By room, which of its folders import which others of it; a file at its top counts as one."""
        by_room: dict[str, dict[str, set[str]]] = {room: {} for room in ROOMS}
        for name, others in self.imports.items():
            room, here = name.split(".")[0], ".".join(name.split(".")[:2])
            mine = by_room[room].setdefault(here, set())
            mine |= {".".join(each.split(".")[:2]) for each in others if each.split(".")[0] == room} - {here, room}
        return by_room

    def private(self) -> set[tuple[str, str]]:
        """(module, name) of what is used of other packages that is private there: modules, names, and attributes not ours."""
        known, uses = self._names_of_ours() | {"_replace"}, set()  # `_replace` is of named tuples
        for module, nodes in self.nodes.items():
            for node in nodes:
                if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] != DOOR:
                    names = [f"{node.module}.{alias.name}" for alias in node.names]
                elif isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.Attribute) and node.attr not in known:
                    names = [node.attr]
                else:
                    continue
                uses |= {(module, name) for name in names if re.search(r"(^|\.)_(?!_)", name)}
        return uses

    def _names_of_ours(self) -> set[str]:
        nodes = [node for each in self.nodes.values() for node in each]
        defined = {node.name for node in nodes if isinstance(node, Function | ast.ClassDef)}
        set_on = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
        return defined | set_on | {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}

    def texts(self, module: str) -> Iterator[str]:
        """Every string of a module and part of an f-string."""
        for node in self.nodes[module]:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value

    def tests(self) -> Iterator[tuple[str, Function]]:
        """Every test function under `tests/`, with its file's path from there."""
        for path in sorted((self.root / "tests").rglob("test_*.py")):
            functions = (node for node in _walked(path.read_text()) if isinstance(node, Function))
            name = path.relative_to(self.root / "tests").as_posix()
            yield from ((name, node) for node in functions if node.name.startswith("test_"))

    def all_functions(self) -> Iterator[tuple[str, Function]]:
        """Every function of the rooms and under `tests/`, with its file's path from the root."""
        for top in (*ROOMS, "tests"):
            for path in sorted((self.root / top).rglob("*.py")):
                nodes = (node for node in _walked(path.read_text()) if isinstance(node, Function))
                yield from ((path.relative_to(self.root).as_posix(), node) for node in nodes)

    def functions(self) -> Iterator[tuple[str, Function]]:
        """Every function and method, with its module's name."""
        for name, nodes in self.nodes.items():
            yield from ((name, node) for node in nodes if isinstance(node, Function))

    def unused(self) -> list[str]:
        """`module.name` of what the rooms define and never name again, in code or in an f-string."""
        named: Counter[str] = Counter()
        defined: list[tuple[str, str]] = []
        for module, tree in self.trees.items():
            for node in self.nodes[module]:
                if isinstance(node, ast.Name):
                    named[node.id] += isinstance(node.ctx, ast.Load)
                elif isinstance(node, ast.Attribute):
                    named[node.attr] += 1
                elif isinstance(node, ast.ImportFrom):
                    named.update(alias.name for alias in node.names)
                elif isinstance(node, ast.keyword) and node.arg:
                    named[node.arg] += 1
                elif isinstance(node, Function | ast.ClassDef) and not _called_by_a_library(node):
                    defined.append((module, node.name))
            defined += [(module, target.id) for node in tree.body for target in _targets(node)]
        return [f"{module}.{name}" for module, name in defined if not named[name] and not name.startswith("__")]


def asserted(function: Function) -> int:
    """How many things a function asserts; each part that `and` joins is one."""
    return sum(_parts(node.test) for node in ast.walk(function) if isinstance(node, ast.Assert))


def spread(function: Function, names: Collection[str]) -> dict[str, int]:
    """Over how many lines a function uses each local variable of `names`; of comprehensions' own variables, the longest."""
    nodes = list(ast.walk(function))
    used = {node.id for node in nodes if isinstance(node, ast.Name)} & set(names)
    if not used:
        return {}
    scopes = [list(ast.walk(node)) for node in nodes if isinstance(node, _COMPREHENSIONS)]
    inside = {id(node) for scope in scopes for node in scope}
    scopes.append([node for node in nodes if id(node) not in inside])
    return {name: max(_lines(scope, name) for scope in scopes) for name in sorted(used)}


def _lines(scope: list[ast.AST], name: str) -> int:
    lines = [node.lineno for node in scope if isinstance(node, ast.Name) and node.id == name]
    return max(lines) - min(lines) + 1 if lines else 0


def _parts(test: ast.expr) -> int:
    return sum(map(_parts, test.values)) if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else 1


def _within(name: str) -> str:
    return name.removeprefix(f"{DOOR}.")


@cache
def _parsed(text: str) -> ast.Module:
    """Of many copies of the house most files are alike."""
    return ast.parse(text)


@cache
def _walked(text: str) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(_parsed(text)))


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """The sets of more than one node that all reach each other (Tarjan 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    components: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for other in arrows.get(node, ()):
            if other not in number:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], number[other])
        if lowest[node] == number[node]:
            together = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(together) > 1:
                components.append(sorted(together))

    for node in arrows:
        if node not in number:
            visit(node)
    return components


def _called_by_a_library(node: Function | ast.ClassDef) -> bool:
    return any(word in ast.unparse(decorator) for decorator in node.decorator_list for word in _CALLED_BY_DECORATOR)


def _targets(node: ast.stmt) -> list[ast.Name]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target for target in targets if isinstance(target, ast.Name)]
