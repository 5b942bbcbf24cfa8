"""Writes what the guides take from elsewhere: the tables of keys from the schemas, and the examples from their files.

`python docs/generate.py` rewrites the marked parts of every guide in this folder and of CONTRIBUTING.md; with `--check` it writes
nothing and exits with 1 where one is stale. The rest of a guide is written by hand. A marked part is

    <!-- keys: dualsweep.trainer.recipe.recipe:Recipe -->            a table for that schema and one for each section below it
    <!-- file: docs/examples/my_data.py -->         that file
    <!-- house: trainer -->                         a table of that folder's folders, from what each says of itself
    <!-- end -->
"""

from __future__ import annotations

import ast
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MARKED = re.compile(r"(?P<open><!-- (?P<kind>keys|file|house): (?P<what>\S+) -->\n).*?(?P<close><!-- end -->)", re.DOTALL)
BOUNDS = {"exclusiveMinimum": "> {}", "minimum": "≥ {}", "exclusiveMaximum": "< {}", "maximum": "≤ {}"}
PLAIN = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}
LARGEST = 2**31  # seeds stay below it: no bound that a reader needs


def generated(text: str) -> str:
    """A guide's text with every marked part as it is to be."""
    return MARKED.sub(lambda part: part["open"] + MAKERS[part["kind"]](part["what"]) + part["close"], text)


def shown_file(name: str) -> str:
    """A file of the repository as a code block."""
    path = ROOT / name
    language = {".py": "python", ".yaml": "yaml"}[path.suffix]
    return f"```{language}\n{path.read_text(encoding='utf-8')}```\n"


def tables(name: str) -> str:
    """The tables of a schema, `module:class`, and of all the sections below it, in the order of their keys."""
    module, _, model = name.partition(":")
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    schema = getattr(import_module(module), model).model_json_schema()
    sections = schema.get("$defs", {})
    found: list[str] = [_table("Top level", "", schema, sections)]
    for key, section, repeated in _below("", schema, sections, set()):
        found.append(_table(f"`{key}`" + (", each entry" if repeated else ""), key, sections[section], sections))
    return "\n".join(found)


def folders(name: str) -> str:
    """A table of the folders below one, by the docstrings of their `__init__`: what lives there, and what does not."""
    rows = ["| folder | what lives there | what does not |", "|---|---|---|"]
    for file in sorted((ROOT / name).rglob("__init__.py")):
        if file.parent != ROOT / name:
            here, _, elsewhere = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n\n")
            cells = (f"`{file.parent.relative_to(ROOT)}/`", *(part.replace("\n", " ") for part in (here, elsewhere)))
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _below(prefix: str, schema: dict[str, Any], sections: dict[str, Any], seen: set[str]) -> list[tuple[str, str, bool]]:
    """The sections below a schema as (dotted key, name of the schema, whether in a list), depth first.

    Entries of a list whose schema has a table already (`seen`) get no other one.
    """
    found: list[tuple[str, str, bool]] = []
    for key, field in schema["properties"].items():
        for word, repeated in _references(field):
            if repeated and word in seen:
                continue
            seen.add(word)
            dotted = f"{prefix}{key}"
            found += [(dotted, word, repeated), *_below(f"{dotted}.", sections[word], sections, seen)]
    return found


def _references(field: dict[str, Any]) -> list[tuple[str, bool]]:
    """The sections that a field may hold, each with whether it holds a list of them."""
    if "$ref" in field:
        return [(field["$ref"].rpartition("/")[2], False)]
    if "items" in field:
        return [(name, True) for name, _ in _references(field["items"])]
    entries = [field.get("additionalProperties"), *field.get("patternProperties", {}).values()]  # the latter of checked keys
    if found := [(name, True) for each in entries if isinstance(each, dict) for name, _ in _references(each)]:
        return found
    return [each for choice in field.get("anyOf", []) for each in _references(choice)]


def _table(title: str, key: str, schema: dict[str, Any], sections: dict[str, Any]) -> str:
    rows = [_row(name, field, name in schema.get("required", ()), sections) for name, field in schema["properties"].items()]
    head = ["| key | type | default | meaning | example |", "|---|---|---|---|---|"]
    about = " ".join(schema.get("description", "").split())
    anchor = f'<a id="{(key or "top").replace(".", "-")}"></a>\n'
    return "\n".join([f"{anchor}### {title}", "", *([about, ""] if about else []), *head, *rows, ""])


def _row(name: str, field: dict[str, Any], required: bool, sections: dict[str, Any]) -> str:
    default = "required" if required else _default(field)
    example = str(field["examples"][0]) if field.get("examples") else ""
    cells = [f"`{name}`", _type(field, sections), default, field.get("description", ""), f"`{example}`" if example else ""]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    if value is None:
        return "none"
    if isinstance(value, dict) and value and _references(field):
        return "its defaults"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"


def _type(field: dict[str, Any], sections: dict[str, Any]) -> str:
    """A field's type in words."""
    if "$ref" in field:
        return "section"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{each}`" for each in field["enum"])
    if "anyOf" in field:
        choices = [_type(each, sections) for each in field["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(choices))
    kind = field.get("type")
    if kind == "array":
        return f"list of {_many(_type(field['items'], sections))}"
    if kind == "object":
        below = field.get("additionalProperties")
        return f"mapping to {_many(_type(below, sections))}" if isinstance(below, dict) else "mapping"
    if kind == "string" and ":[" in field.get("pattern", ""):
        return "import path"
    if kind == "string" and field.get("pattern", "").startswith("^[A-Za-z0-9_-]"):
        return "name"
    return " ".join([PLAIN.get(str(kind), "any value"), *_bounds(field)])


def _bounds(field: dict[str, Any]) -> list[str]:
    shown = [words.format(f"{field[word]:g}") for word, words in BOUNDS.items() if word in field and field[word] < LARGEST]
    return [", ".join(shown)] if shown else []


def _many(words: str) -> str:
    for one, many in (("section", "sections"), ("whole number", "whole numbers"), ("number", "numbers"), ("name", "names")):
        if words.startswith(one):
            return words.replace(one, many, 1)
    return "texts" if words == "text" else words


MAKERS = {"keys": tables, "file": shown_file, "house": folders}


def main(arguments: list[str]) -> int:
    """Rewrites the guides, or with `--check` names those that are stale."""
    stale = []
    for guide in (*sorted((ROOT / "docs").glob("*.md")), *ROOT.glob("CONTRIBUTING.md")):
        now = guide.read_text(encoding="utf-8")
        wanted = generated(now)
        if now == wanted:
            continue
        stale.append(guide.relative_to(ROOT))
        if "--check" not in arguments:
            guide.write_text(wanted, encoding="utf-8")
    for name in stale:
        print(f"{name} is stale: run python docs/generate.py" if "--check" in arguments else f"{name} is written anew")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
