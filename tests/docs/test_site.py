"""The documentation site builds without a warning, which a link that leads nowhere is one of."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def build(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(source), str(site)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_page_is_reached_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    done = build(DOCS, tmp_path)
    assert done.returncode == 0, done.stderr
    written = {page.stem for page in tmp_path.glob("*.html")}
    assert {page.stem for page in DOCS.glob("*.md")} | {"quickstart", "search"} <= written
    recipe = (tmp_path / "recipe.html").read_text()
    assert (
        'href="method.html#error-of-a-multiplier"' in recipe
        and 'id="error-of-a-multiplier"' in (tmp_path / "method.html").read_text()
    )
    assert "dualsweep.train" in (tmp_path / "api.html").read_text()


def test_links_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    shutil.copy(DOCS / "conf.py", tmp_path)
    (tmp_path / "other.md").write_text('# Other\n\n<a id="there"></a>\n\nHere.\n')
    toctree = ":::{toctree}\nother\n:::\n"
    wrong = ["missing.md", "other.md#missing", "#missing", "../SECURITY.md"]
    said = []
    for places in (["other.md#there"], wrong):
        (tmp_path / "index.md").write_text("# Index\n\n" + "\n\n".join(f"[it]({place})" for place in places) + f"\n\n{toctree}")
        said.append(build(tmp_path, tmp_path / "site"))
    good, bad = said
    assert (good.returncode, bad.returncode) == (0, 1), good.stderr
    for line in (3, 5, 7, 9):
        assert f"index.md:{line}: WARNING" in bad.stderr
