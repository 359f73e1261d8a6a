"""Settings of the site for Sphinx; `python scripts/make_site.py` puts the pages together and calls it.

Sphinx with MyST-NB was chosen because it takes stored outputs as they are, checks every cross-reference, and searches
without a server; Jupyter Book 2 (mystmd) builds an application that must be served, which a folder opened from a disk
is not. Furo gives navigation, next and previous, and a dark mode, and loads nothing from elsewhere. Formulas become
MathML while the site is built, so that no page needs a script for them.
"""

import ast
import functools
import html
import posixpath
import re
from pathlib import Path

from docutils import nodes
from furo.navigation import get_navigation_tree
from latex2mathml.converter import convert
from sphinx.environment.adapters.toctree import TocTree, global_toctree_for_doc
from sphinx.search.en import SearchEnglish

ROOT = Path(__file__).resolve().parent.parent


def version_of(path):
    "`__version__` as the package's first file states it, without importing it."
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__version__":
            return ast.literal_eval(node.value)
    raise SystemExit(f"{path}: no __version__")


project, author, copyright = "trmml_nb", "The trmml_nb authors", "The trmml_nb authors"
version = release = version_of(ROOT / "trmml_nb/__init__.py")
extensions = ["myst_nb"]
language = "en"

nb_execution_mode = "off"  # what is stored is shown
nb_merge_streams = True
nb_render_markdown_format = "myst"
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
myst_dmath_allow_labels = False
suppress_warnings = ["myst.header"]  # docstrings and cells may skip a level of headings

html_theme = "furo"
html_title = f"trmml_nb {version}"
html_static_path = ["_static"]
html_favicon = "_static/icon.svg"  # without one, a browser asks the host for it
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_sphinx = False
html_copy_source = False
html_show_search_summary = False  # would fetch each page that was found, which a browser refuses on a disk
html_theme_options = {"navigation_with_keys": True}


def inline(translator, node):
    translator.body.append(f'<span class="math" title="{html.escape(node.astext())}">{convert(node.astext())}</span>')
    raise nodes.SkipNode


def block(translator, node):
    translator.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


class Search(SearchEnglish):
    "English, where the stem of a word is worked out once, not once a page."

    def __init__(self, options):
        super().__init__(options)
        self.stem = functools.cache(self.stem)


@functools.cache
def all_pages(app, folder):
    "The navigation for the pages of a folder, drawn once; none of them is the one that is open."
    nowhere = posixpath.join(folder, "-")
    toctree = global_toctree_for_doc(
        app.env, nowhere, app.builder, tags=app.tags, collapse=False, titles_only=True, maxdepth=-1
    )
    return get_navigation_tree(app.builder.render_partial(toctree)["fragment"])


def mark(tree, link, here):
    "The navigation with the open page marked, or one above it marked and unfolded."
    entry = re.compile(
        rf'(<li class="toctree-l\d)([^"]*)("><a class=")(reference internal" href=")({re.escape(link)})(".*)'
    )
    if here:
        return entry.sub(r"\1 current\2 current-page\3current \4#\6", tree)
    return entry.sub(lambda m: m[0].replace(m[1], f"{m[1]} current", 1), tree)


def unfold(tree):
    "The navigation with the checkboxes of marked entries ticked."
    return re.sub(r'(<li class="[^"]* current.*<input aria-label="[^"]*")', r'\1 checked=""', tree)


def navigate(app, pagename, templatename, context, doctree):
    "The navigation of a page. The theme would have Sphinx draw it anew for each, a third of the time of a build."
    tree = all_pages(app, posixpath.dirname(pagename))
    for name in TocTree(app.env).get_toctree_ancestors(pagename):
        tree = mark(
            tree, app.builder.get_relative_uri(pagename, name) or posixpath.basename(f"{name}.html"), name == pagename
        )
    context["furo_navigation_tree"] = unfold(tree)


def leave_navigation(app, pagename, templatename, context, doctree):
    context.pop("toctree", None)


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.add_search_language(Search)
    app.connect("html-page-context", leave_navigation, priority=100)  # before the theme's
    app.connect("html-page-context", navigate, priority=900)  # after it
    return {"parallel_read_safe": True, "parallel_write_safe": True}
