"""Settings of the site for Sphinx; `python scripts/make_site.py` puts the pages together and calls it.

Sphinx with MyST-NB was chosen because it takes stored outputs as they are, checks every cross-reference, and searches
without a server; Jupyter Book 2 (mystmd) builds an application that must be served, which a folder opened from a disk
is not. Furo gives navigation, next and previous, and a dark mode, and loads nothing from elsewhere. Formulas become
MathML while the site is built, so that no page needs a script for them.
"""

import ast
import html
from pathlib import Path

from docutils import nodes
from latex2mathml.converter import convert

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


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
