"""The documentation site: `make docs` builds it from the guides of this folder, with every link checked, and serves it."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

import dualsweep

project, author = "dualsweep", "the dualsweep authors"
version = release = dualsweep.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
exclude_patterns = ["examples"]
html_theme, html_title, html_show_copyright = "furo", f"dualsweep {release}", False
# Guides link to each other's headings as GitHub names them; the notebook is run by the tests.
myst_heading_anchors, myst_enable_extensions, nb_execution_mode = 6, ["colon_fence", "dollarmath"], "off"
autodoc_member_order, autodoc_typehints, default_role = "bysource", "description", "code"

_ANCHOR = re.compile(r'<a id="([^"]+)">')
#: Files beside this folder that are pages of the site, and their names there.
_PAGES = {"SECURITY": "security", "CONTRIBUTING": "contributing"}


def own_anchors(_: Sphinx, page: str, source: list[str]) -> None:
    """What GitHub resolves and MyST does not: links to a page's own `<a id>`, and to files that are pages of the site here."""
    for name, of_site in _PAGES.items():
        source[0] = source[0].replace(f"](../{name}.md", f"]({of_site}.md")
    for anchor in _ANCHOR.findall(source[0]):
        source[0] = source[0].replace(f"](#{anchor})", f"]({page.rpartition('/')[2]}.md#{anchor})")


def known_anchors(app: Sphinx, tree: nodes.document) -> None:
    """Makes the `<a id>` of a page known, so that links to them are checked like those to headings."""
    slugs = app.env.metadata[app.env.current_document.docname].setdefault("myst_slugs", {})
    for raw in tree.findall(nodes.raw):
        for anchor in _ANCHOR.findall(raw.astext()):
            slugs.setdefault(anchor, (raw.line or 0, anchor, anchor))


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", own_anchors)
    app.connect("doctree-read", known_anchors)
