"""The guides: generated parts are current, commands exist, links lead somewhere, examples validate."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
import typer

from dualsweep.sweeps.cli import app
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.schema import Sweep
from dualsweep.trainer.recipe.load import load_recipe
from dualsweep.trainer.recipe.recipe import Recipe

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
GUIDES = [*sorted(DOCS.glob("*.md")), ROOT / "CONTRIBUTING.md"]
PAGES = [*GUIDES, *(path for path in (ROOT / "README.md", ROOT / "CHANGELOG.md") if path.exists())]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_generated_parts_are_current(guide: Path) -> None:
    text = guide.read_text(encoding="utf-8")
    assert text == generator().generated(text), "run python docs/generate.py"


def test_check_names_a_stale_guide_and_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = generator()
    guide = tmp_path / "docs" / "a.md"
    guide.parent.mkdir()
    (tmp_path / "docs" / "b.yaml").write_text("name: b\n")
    stale = "# A\n<!-- file: docs/b.yaml -->\nold\n<!-- end -->\nby hand\n"
    guide.write_text(stale)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    assert module.main(["--check"]) == 1 and guide.read_text() == stale
    assert "docs/a.md is stale" in capsys.readouterr().out
    assert module.main([]) == 0 and module.main(["--check"]) == 0
    assert guide.read_text() == "# A\n<!-- file: docs/b.yaml -->\n```yaml\nname: b\n```\n<!-- end -->\nby hand\n"


@pytest.mark.parametrize(("model", "guide"), [(Recipe, "recipe.md"), (Sweep, "sweep.md")])
def test_every_key_of_the_schemas_stands_in_the_reference(model: type[Recipe | Sweep], guide: str) -> None:
    text = (DOCS / guide).read_text(encoding="utf-8")
    schema = model.model_json_schema()
    for section in [schema, *schema["$defs"].values()]:
        for key, field in section["properties"].items():
            assert f"| `{key}` |" in text
            assert field.get("description", "").replace("|", "\\|") in text, key


def commands(guide: Path) -> list[list[str]]:
    """The `dualsweep` command lines in a guide's shell blocks."""
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.removeprefix("$ ").removeprefix(".venv/bin/") for block in blocks for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("dualsweep ")]


@pytest.mark.parametrize("guide", PAGES, ids=lambda path: path.stem)
def test_the_commands_shown_exist_with_these_options(guide: Path) -> None:
    group = typer.main.get_command(app)
    for words in commands(guide):
        with click.Context(group) as context:  # type: ignore[arg-type]  # typer carries its own copy of click
            command = group.get_command(context, words[0])  # type: ignore[attr-defined]
            assert command is not None, words
            command.make_context(words[0], list(words[1:]), parent=context)


@pytest.mark.parametrize("guide", PAGES, ids=lambda path: path.stem)
def test_links_lead_somewhere(guide: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", guide.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        page = guide.parent / name if name else guide
        assert page.exists(), target
        if anchor and page.suffix == ".md":
            assert anchor in anchors(page), target


def anchors(page: Path) -> set[str]:
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("file", sorted((DOCS / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_file_is_shown_and_valid(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)  # terms of a user's own lie beside the recipe
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert any(f"<!-- file: docs/examples/{file.name} -->" in guide.read_text(encoding="utf-8") for guide in GUIDES)
    if file.stem.endswith("sweep"):
        assert load_plan(file).objectives
    else:
        assert load_recipe(file, [])[0].constraints


def test_no_guide_names_a_command_or_file_that_make_or_git_does_not_know() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for guide in PAGES:
        assert set(re.findall(r"`make ([a-z]+)`", guide.read_text(encoding="utf-8"))) <= targets
