"""The site: built once from the stored outputs, then read as a reader does, from a disk and without a network.

The browser's tests need Chromium and skip where there is none; where CI=true, as in `.ci/run`, that is a failure.
TRMML_SITE=FOLDER looks at a site that is already built. TRMML_SHOTS=FOLDER keeps what the browser saw."""

import importlib
import os
import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

from helpers.in_browser import chromium
from helpers.notebooks import NBS, NOTEBOOKS
from trmml_nb.method.regions import RegionOutput

ROOT = Path(__file__).resolve().parent.parent
LOOKED_AT = (
    "index.html",
    "book/04_attention.html",
    "book/10_trmml.html",
    "rivals/04_compare.html",
    "api/index.html",
    "api/method.attention.html",
    "CHANGELOG.html",
    "example.html",
)
TEXT_SIZE = '''() => {  // pixels of the size that most prose has
  const sizes = [...document.querySelectorAll('article p, body > p, body > main p')]
    .map(p => parseFloat(getComputedStyle(p).fontSize));
  return sizes.sort((a, b) => a - b)[Math.floor(sizes.length / 2)];
}'''


class Page(HTMLParser):
    "What a page refers to, what can be referred to in it, and how many formulas it shows."

    def __init__(self, path):
        super().__init__()
        self.targets, self.ids, self.formulas = [], {"", "top"}, 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids |= {attributes[key] for key in ("id", "name") if attributes.get(key)}
        self.targets += [attributes[key] for key in ("href", "src") if attributes.get(key)]
        self.formulas += tag == "math"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    "A folder with the whole site, built by the command, which fails at the first warning."
    pytest.importorskip("myst_nb", reason='the site needs `pip install -e ".[site]"`')
    if os.environ.get("TRMML_SITE"):
        return Path(os.environ["TRMML_SITE"]).resolve()
    folder = tmp_path_factory.mktemp("site") / "a folder" / "site"
    command = [sys.executable, str(ROOT / "scripts/make_site.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=900)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return folder


@pytest.fixture(scope="module")
def pages(site):
    "Every page of the site, read; the example is a file that a program wrote, and refers to nothing."
    return {p.relative_to(site).as_posix(): Page(p) for p in site.rglob("*.html")}


def test_every_notebook_and_module_has_a_page(pages):
    wanted = {p.relative_to(NBS).with_suffix(".html").as_posix() for p in NOTEBOOKS}
    wanted |= {
        "api/" + ".".join(p.relative_to(ROOT / "trmml_nb").with_suffix("").parts) + ".html"
        for p in (ROOT / "trmml_nb").rglob("*.py")
        if not p.name.startswith("_")
    }
    assert not wanted - pages.keys(), f"without a page: {sorted(wanted - pages.keys())}"
    assert pages["book/04_attention.html"].formulas > 20


def test_the_reference_says_what_each_field_means():
    "Of every dataclass and named tuple: its own fields and those that it has from others."
    pytest.importorskip("myst_nb", reason='the site needs `pip install -e ".[site]"`')
    make = runpy.run_path(str(ROOT / "scripts/make_site.py"))
    empty, counted = [], 0
    for name in make["modules"]():
        module = importlib.import_module(name)
        for kind in (getattr(module, symbol) for symbol in make["public"](module)):
            if isinstance(kind, type) and {"__dataclass_fields__", "_fields"} & vars(kind).keys():
                rows = make["fields_of"](kind).splitlines()[2:]
                counted += len(rows)
                empty += [f"{name}.{kind.__name__}: {row}" for row in rows if re.search(r"(?<!\\)\|\s*\|$", row)]
    assert counted > 800 and not empty, "\n".join(empty)
    (query, *_) = make["fields_of"](RegionOutput).splitlines()[2:]
    assert query == "| `query` | `Tensor` |  | [B, C, d] query-level features, length 1 |"


def test_no_link_is_broken(site, pages):
    "Every link inside the site ends at a file and a place that are there; none begins at the root of a host."
    broken = []
    for name, page in pages.items():
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            if target.startswith("/"):
                broken.append(f"{name}: {target} holds only where the site is the whole host")
                continue
            path = (site / name).parent / unquote(parts.path) if parts.path else site / name
            other = path.resolve().relative_to(site).as_posix()
            if not path.is_file():
                broken.append(f"{name}: {target}")
            elif other in pages and unquote(parts.fragment) not in pages[other].ids:
                broken.append(f"{name}: no {parts.fragment!r} in {other}")
    assert sum(len(page.targets) for page in pages.values()) > 1000
    assert not broken, "\n".join(broken[:40])


def test_code_that_is_collapsed_in_jupyterlab_is_folded(site):
    "And nothing else is."
    for path in (NBS / "book/10_trmml.ipynb", NBS / "book/12_end_to_end.ipynb"):
        collapsed = [c for c in nbformat.read(path, 4).cells if c.metadata.get("jupyter", {}).get("source_hidden")]
        page = (site / path.relative_to(NBS).with_suffix(".html")).read_text(encoding="utf-8")
        assert page.count('<details class="admonition hide above-input">') == len(collapsed)
        assert bool(collapsed) == (path.stem == "10_trmml")


def test_the_navigation_marks_the_page_that_is_open(site, pages):
    "Every page of a notebook or of the reference: one entry marked, with its own title, and the one above it unfolded."
    marked = re.compile(
        r'<li class="toctree-l(\d) current[^"]*current-page"><a class="current [^"]*" href="#">(.*?)</a>'
    )
    unfolded = re.compile(r'<li class="toctree-l1 current has-children[^"]*">.*?<input [^>]*checked=""')
    for name in sorted({n for n in pages if "/" in n and not n.startswith("_")}):
        text = (site / name).read_text(encoding="utf-8")
        (depth, title), *others = marked.findall(text)
        heading = re.sub(r"<a class=\"headerlink.*|<.*?>", "", re.search(r"<h1>(.*?)</h1>", text, re.S)[1])
        assert not others and re.sub(r"<.*?>", "", title) == heading, (name, title, others)
        assert bool(unfolded.search(text)) == (name.startswith("api/")), name
        assert depth == ("2" if name.startswith("api/") and name != "api/index.html" else "1"), name


def test_nothing_is_fetched_from_elsewhere(site):
    "Pages name other hosts in links that a reader may follow, never in what a browser loads by itself."
    loads = re.compile(r'<(?:script|img|iframe|link)\b[^>]*?(?:src|href)="((?:https?:)?//[^"]+)"')
    found = {m[1] for p in site.rglob("*.html") for m in loads.finditer(p.read_text(encoding="utf-8"))}
    assert not found, sorted(found)[:10]


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    pytest.importorskip("myst_nb", reason='the site needs `pip install -e ".[site]"`')
    (tmp_path / "thesis.txt").write_text("three years", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/make_site.py"), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode != 0 and "holds other things than a site" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


def visit(browser, url, width):
    "A page of the browser at a place, with what it complained about and what it asked other places for."
    page, said = browser.new_page(viewport={"width": width, "height": 900}), []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request", lambda r: said.append(f"asked for {r.url}") if not r.url.startswith(("file:", "data:")) else None
    )
    page.goto(url)
    return page, said


@pytest.mark.parametrize("width", [400, 1280])
def test_readable_without_a_complaint(site, browser, width):
    "No error in the console, no request, and nothing wider than the screen."
    for name in LOOKED_AT:
        page, said = visit(browser, (site / name).as_uri(), width)
        icon = page.evaluate(
            "document.querySelector('link[rel~=icon]')?.href ?? ''"
        )  # without one, a host is asked for it
        wide = page.evaluate("document.documentElement.scrollWidth")
        small = page.evaluate(TEXT_SIZE)
        if os.environ.get("TRMML_SHOTS"):
            page.screenshot(path=Path(os.environ["TRMML_SHOTS"], f"{name.replace('/', '_')}_{width}.png"))
        page.close()
        assert not said, f"{name} at {width} px: {said}"
        assert name == "example.html" or icon.endswith("icon.svg"), f"{name} names no icon"
        assert wide <= width, f"{name} is {wide} px wide on a screen of {width}"
        assert small >= 13, f"{name}: text of {small} px"


def test_search_finds_a_word_without_a_server(site, browser):
    page, said = visit(browser, (site / "search.html").as_uri() + "?q=saliency", 1280)
    page.wait_for_selector('#search-results li a[href*="attention"]', timeout=30_000)  # they come one by one
    found = page.eval_on_selector_all("#search-results li a", "links => links.map(a => a.href)")
    page.close()
    assert not said and any("attention" in link for link in found), (said, found[:5])


def test_dark_is_dark_and_formulas_are_drawn(site, browser):
    page, said = visit(browser, (site / "book/04_attention.html").as_uri(), 1280)
    ground = (
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 3"
    )
    seen = []
    for _ in range(3):  # automatic, light, dark, in the order of the button
        seen.append(page.evaluate(ground))
        page.locator(".theme-toggle:visible").first.click()
    drawn = page.evaluate("[...document.querySelectorAll('math')].every(m => m.getBoundingClientRect().width > 2)")
    page.close()
    assert min(seen) < 60 and max(seen) > 200, seen
    assert drawn and not said, said
