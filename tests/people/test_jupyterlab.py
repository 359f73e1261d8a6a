"""The notebooks with widgets in a real JupyterLab and a real browser, used as a person uses them.

Playwright comes with the `dev` extra; Chromium is the system's (apt-get install chromium), nothing is downloaded by
a test. Where either is missing the tests are skipped and say why; where CI=true, as in `.ci/run`, that is a
failure. TRMML_SHOTS=FOLDER keeps the screenshots; in a folder named nbs/images only the two that the README shows."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.in_browser import CELLS, UNREADABLE, chromium, missing, needed, served, small_notebook
from helpers.notebooks import left_out

ROOT = Path(__file__).resolve().parents[2]
LONG = 240_000  # ms; a notebook on a busy machine
IN_NOTEBOOKS = dict(readme_inspector="inspector.png", readme_reviewer="reviewer.png")
LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"
READY = '''async () => {
  const panel = window.jupyterapp.shell.currentWidget;
  await panel.context.ready; await panel.sessionContext.ready; await panel.sessionContext.session.kernel.info;
  window.jupyterapp.commands.execute('notebook:run-all-cells');
}'''
DONE = '''() => { const panel = window.jupyterapp.shell.currentWidget, cells = panel.content.widgets.filter(c => c.model.type === 'code' && c.model.sharedModel.source);
  return panel.sessionContext.session.kernel.status === 'idle' && cells.every(c => c.model.executionCount !== null); }'''
IDLE = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"
ERRORS = '''() => window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code').flatMap((c, i) => c.model.outputs.toJSON()
  .filter(o => o.output_type === 'error').map(o => `${c.model.sharedModel.source.slice(0, 80)}: ${o.ename} ${o.evalue}`))'''
TOLD = '''() => window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code')
  .flatMap(c => c.model.outputs.toJSON().filter(o => o.output_type === 'stream')
  .map(o => [o.text].flat().join(''))).join('\\n')'''
WATCH = '''text => {  // every frame: how many pictures a cell shows, which, and how high its output is
  const cell = window.jupyterapp.shell.currentWidget.content.widgets.find(c => c.model.sharedModel.source.includes(text));
  window.watched = [];
  const look = () => {
    const images = [...cell.node.querySelectorAll('.jp-OutputArea-output img')], last = window.watched.at(-1);
    const now = {images: images.length, source: images.map(i => i.src.length + i.src.slice(2000, 2400)).join(), height: images[0]?.getBoundingClientRect().height || 0};
    if (!last || ['images', 'source', 'height'].some(k => last[k] !== now[k])) window.watched.push(now);
    requestAnimationFrame(look);
  };
  look();
}'''


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    "A JupyterLab with folders and settings of its own, on a copy of nbs/: its address and that copy."
    for package in ("jupyterlab", "anywidget"):
        needed(package)
    home = tmp_path_factory.mktemp("lab")
    work = shutil.copytree(ROOT / "nbs", home / "nbs", ignore=left_out)
    for plugin, values in {
        "notebook-extension/tracker": {"windowingMode": "none"},
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    }.items():
        path = home / f"settings/@jupyterlab/{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values))
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--port=PORT",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=t",
        f"--ServerApp.root_dir={work}",
        "--LabApp.expose_app_in_browser=True",
        "--allow-root",
    ]
    folders = {f"JUPYTERLAB_{k.upper()}_DIR": str(home / k) for k in ("settings", "workspaces")}
    with served(command, home, work, "/api?token=t", **folders) as address:
        yield address, work


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport=dict(width=1280, height=1000))
    page.set_default_timeout(60_000)
    yield page
    page.close()


@pytest.fixture
def outside(page, lab):
    "Addresses elsewhere that the page asked for; there must be none."
    asked = []
    page.on("request", lambda r: None if r.url.startswith((lab[0], "data:", "blob:")) else asked.append(r.url))
    return asked


def open_and_run(page, lab, name):
    "Open a notebook, without the file browser beside it, and run all its cells."
    page.goto(f"{lab[0]}/lab/workspaces/{Path(name).stem}/tree/{name}?token=t")
    page.wait_for_function("name => window.jupyterapp?.shell.currentWidget?.context?.path === name", arg=name)
    page.evaluate("window.jupyterapp.shell.collapseLeft()")
    page.evaluate(READY)


def finished(page):
    page.wait_for_function(DONE, timeout=LONG)
    assert not page.evaluate(ERRORS)


def command(page, name, **arguments):
    "One of JupyterLab's own commands."
    page.evaluate("([name, args]) => { window.jupyterapp.commands.execute(name, args); }", [name, arguments])


def looks(page, root, name, tmp_path):
    "Screenshots of a widget at two widths in both themes, and no text in them that is cut or hard to read."
    kept, bad = os.environ.get("TRMML_SHOTS"), {}
    for theme in (LIGHT, DARK):
        command(page, "apputils:change-theme", theme=theme)
        page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=str(theme == LIGHT).lower())
        for width in (1280, 800, 400):
            page.set_viewport_size(dict(width=width, height=1000))
            page.wait_for_timeout(300)
            page.set_viewport_size(
                dict(width=width, height=int(root.bounding_box()["height"]) + 250)
            )  # all of it at once
            page.wait_for_timeout(300)
            root.scroll_into_view_if_needed()
            shot = root.screenshot(path=tmp_path / f"{name}_{width}_{theme[11:].lower()}.png")
            found = root.evaluate(UNREADABLE)
            if found:
                bad[theme, width] = found
            if kept and Path(kept).name != "images":
                keep(shot, Path(kept) / f"{name}_{width}_{theme[11:].lower()}.png")
            elif kept and (theme, width) == (LIGHT, 1280) and name in IN_NOTEBOOKS:
                keep(shot, Path(kept) / IN_NOTEBOOKS[name])
    command(page, "apputils:change-theme", theme=LIGHT)
    page.set_viewport_size(dict(width=1280, height=1000))
    assert not bad, "\n".join(f"{theme} at {width} px: {f}" for (theme, width), found in bad.items() for f in found)


def keep_shot(shot, name):
    "Keep a screenshot for whoever wants to look."
    folder = os.environ.get("TRMML_SHOTS")
    if folder and Path(folder).name != "images":
        keep(shot, Path(folder) / f"{name}.png")


def keep(shot, path):
    "A screenshot as a small PNG."
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(shot)).convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        path, optimize=True
    )
    assert path.stat().st_size < 150_000, f"{path.name} has {path.stat().st_size} bytes"


def test_the_inspectors_notebook(page, lab, outside, tmp_path):
    "Run all; then keys without a click, other images and labels, a click on a patch, hover; none reaches JupyterLab."
    open_and_run(page, lab, "people/03_inspector_widget.ipynb")
    root = page.locator(".trmml-inspector")
    root.wait_for(timeout=LONG)
    finished(page)
    root.scroll_into_view_if_needed()
    pictures, status = root.locator(".centre canvas"), root.locator(".trmml-status")
    assert pictures.count() == 2  # two runs
    pixels = lambda k: pictures.nth(k).evaluate("c => c.toDataURL()")
    chosen = lambda: root.locator("[aria-selected=true] .name").inner_text()
    cells = "window.jupyterapp.shell.currentWidget.content.model.cells.length"
    active = "window.jupyterapp.shell.currentWidget.content.activeCellIndex"
    page.wait_for_function("document.querySelector('.trmml-inspector').contains(document.activeElement)")
    before, at, plain = page.evaluate(cells), page.evaluate(active), pixels(0)
    page.keyboard.press("ArrowRight")
    status.get_by_text("2 of 40 under").wait_for()
    assert pixels(0) != plain and pixels(1) != pixels(0)
    region, label = pixels(1), chosen()
    page.keyboard.press("ArrowDown")
    assert chosen() != label and pixels(1) != region
    for key in ("a", "b", "x", "d", "d", "m", "Enter"):  # would insert, cut and delete cells
        page.keyboard.press(key)
    root.get_by_role("button", name="next", exact=True).click()
    status.get_by_text("3 of 40 under").wait_for()
    page.keyboard.press("ArrowRight")
    status.get_by_text("4 of 40 under").wait_for()
    box = pictures.nth(1).bounding_box()
    over = dict(x=0.5 * box["width"], y=0.55 * box["height"])
    pictures.nth(1).hover(position=over)
    hint = root.locator(".hint")
    hint.wait_for()
    number = hint.inner_text().split(":")[0]
    assert number.startswith("patch ") and "%" in hint.inner_text()
    pictures.nth(1).click(position=over)
    page.get_by_text(f"Who claims {number}?").wait_for()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    looks(page, root, "inspector", tmp_path)
    assert page.evaluate(cells) == before and page.evaluate(active) == at
    assert not outside, f"requests to elsewhere: {outside}"


def test_the_reviewers_notebook(page, lab, outside, tmp_path):
    "Run all; press keys without a click, undo both ways, a page of the grid; restart, go on where it stopped; the CSV."
    open_and_run(page, lab, "people/05_review_widget.ipynb")
    root, path = page.locator(".trmml-reviewer"), lab[1] / "people/runs/answers.csv"
    root.wait_for(timeout=LONG)
    finished(page)
    root.scroll_into_view_if_needed()
    tiles, button = root.locator(".tile"), lambda name: root.get_by_role("button", name=name, exact=True)
    said = lambda text: page.wait_for_function(
        "t => document.querySelector('.trmml-reviewer .trmml-status').innerText.includes(t)", arg=text
    )
    on_disk = lambda column=3: (
        [line.split(",")[column] for line in path.read_text(encoding="utf-8").splitlines()[1:]] if path.exists() else []
    )
    cells = "window.jupyterapp.shell.currentWidget.content.model.cells.length"
    active = "window.jupyterapp.shell.currentWidget.content.activeCellIndex"
    said("0 answered, 0 skipped")
    page.wait_for_function("document.querySelector('.trmml-reviewer').contains(document.activeElement)")
    before = page.evaluate(cells)
    for key, text in dict(a="0 answered", x="0 answered", n="1 answered", y="2 answered", s="2 answered, 1").items():
        page.keyboard.press(key)  # nobody has clicked into the widget
        said(text)
    button("skip").click()
    said("2 answered, 2 skipped")
    for key in ("x", "a", "b", "d", "d", "ArrowDown", "Enter"):  # would cut, insert and delete cells
        page.keyboard.press(key)
    page.keyboard.press("u")
    said("2 answered, 1 skipped")
    assert page.evaluate(cells) == before and on_disk() == ["0", "1", ""] and set(on_disk(5)) == {"Ada"}
    root.locator(".recent button").nth(2).click()  # the first answer
    said("1 answered, 1 skipped")
    assert on_disk() == ["1", ""]
    at = page.evaluate(active)
    looks(page, root, "reviewer", tmp_path)
    root.get_by_label("how to ask").select_option("grid")
    tiles.nth(5).wait_for()
    count = tiles.count()
    assert button("nothing answered yet").is_disabled()
    for k in (0, 1, 3):
        tiles.nth(k).click()
    tiles.nth(3).click()  # present becomes absent
    page.keyboard.press("ArrowRight")
    page.keyboard.press("s")
    root.locator(".actions button", has_text="2 present, 1 absent, 1 skipped: save").wait_for()
    looks(page, root, "reviewer_grid", tmp_path)
    tiles.nth(2).focus()
    page.keyboard.press("Enter")
    said("4 answers saved")
    assert on_disk()[2:] == ["1", "1", "0", ""] and len({*on_disk(0)}) == 3 and tiles.count() <= count
    assert page.evaluate(active) == at and page.evaluate(cells) == before
    content = path.read_bytes()
    root.evaluate("e => e.classList.add('stale')")
    command(page, "notebook:restart-kernel")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    page.wait_for_function(IDLE)
    root.locator(".banner").wait_for(
        timeout=3000
    )  # what is on the page is dead now, and says so before a key is pressed
    command(page, "notebook:run-all-cells")
    page.locator(".trmml-reviewer:not(.stale)").wait_for(timeout=LONG)
    finished(page)
    said("4 answered, 2 skipped")
    assert path.read_bytes() == content  # it went on; nothing was written anew
    button("undo").first.click()
    said("1 answered, 1 skipped")
    page.keyboard.press("y")
    said("2 answered, 1 skipped")
    saved = page.evaluate(
        "window.jupyterapp.shell.currentWidget.content.model.toJSON().cells.flatMap(c => c.outputs || [])"
    )
    kinds = [set(o["data"]) for o in saved if "data" in o]
    at = next(i for i, data in enumerate(kinds) if "application/vnd.jupyter.widget-view+json" in data)
    assert {"image/png", "text/html"} <= kinds[at - 1]  # the still twin, for pages without a kernel
    command(page, "docmanager:open", path="people/runs/answers.csv")
    page.locator(".jp-CSVViewer").wait_for()
    page.wait_for_timeout(500)
    page.screenshot(path=tmp_path / "answers.png")
    assert on_disk() == ["1", "", "1"]
    assert not outside, f"requests to elsewhere: {outside}"


RUN_OF_README = """import numpy as np
from trmml_nb import Inspector, Reviewer, train

run = train(limit=160, known=.5, epochs=5, clip='tiny16', cache='readme/cache', out='readme/scenes', progress=False)

def overlap(view, c):
    "How much of region and object is both, at half of the region's highest level."
    mask, grid = view.masks[c], view.grid
    region = np.kron(view.attention[c].reshape(grid), np.ones([s // g for s, g in zip(mask.shape, grid)]))
    region = region >= region.max() / 2
    return (region & mask).sum() / (region | mask).sum()
"""
PICTURE = """seen = Inspector(run, annotator='Ada').runs[0]

def found(row):
    "Labels of a picture that are there and said to be, each with its overlap."
    view = seen.view(row)
    there = np.flatnonzero((view.truth == 1) & (view.probabilities >= view.thresholds))
    return {view.class_names[c]: overlap(view, c) for c in there}

rows = [r for r in range(120) if len(found(r)) in (3, 4)]
best = max(rows, key=lambda r: min(found(r).values()))
names = sorted(found(best), key=found(best).get)
print('OVERLAP', min(found(best).values()))
Inspector(run, annotator='Ada', row=best, label=names[-1], labels=names[:-1], outline=False)"""
QUESTION = """ask = Reviewer(run, annotator='Ada', mode='grid')

def page_of(category):
    "The tiles of a category: how many show it, and how well their regions lie on it."
    ask.category = category
    truth, view = ask.review.dataset.truth, ask.inspection.view
    there = [q for q in ask.page if truth[q.row, q.column] == 1]
    lies = np.mean([overlap(view(q.row), q.column) for q in there]) if there else 0
    return lies if 4 <= len(there) <= 9 else 0

ask.category = max(ask.names, key=page_of)
print('TRUTH', [int(ask.review.dataset.truth[q.row, q.column]) for q in ask.page])
ask"""


def test_a_run_in_one_line_as_the_readme_shows_it(page, lab, outside, tmp_path):
    "`Inspector(run)` and `Reviewer(run)`: a picture whose regions lie on what is seen, and a question half answered."
    small_notebook(lab[1] / "readme.ipynb", (RUN_OF_README, PICTURE, QUESTION))
    open_and_run(page, lab, "readme.ipynb")
    root = page.locator(".trmml-inspector")
    root.wait_for(timeout=LONG)
    finished(page)
    told = page.evaluate(TOLD)
    overlap = float(told.split("OVERLAP ")[1].split()[0])
    assert overlap > 0.1, f"regions of the picture miss what is seen: {overlap}"
    drawn = root.locator(".dot[style]").count()
    assert drawn in (3, 4) and root.locator(".wrong").count() < 3
    root.locator(".rows").evaluate("e => { e.scrollTop = 0; }")
    looks(page, root, "readme_inspector", tmp_path)
    truth = json.loads(told.split("TRUTH ")[1].split("]")[0] + "]")
    root = page.locator(".trmml-reviewer")
    tiles = root.locator(".tile")
    assert tiles.count() == len(truth) == 12
    for k, there in enumerate(truth[:7]):
        for _ in range(1 if there else 2):  # a click says present, another one absent
            tiles.nth(k).click()
    root.locator(".actions button", has_text=f"{sum(truth[:7])} present").wait_for()
    looks(page, root, "readme_reviewer", tmp_path)
    assert not outside, f"requests to elsewhere: {outside}"


STATE = """() => [...document.querySelectorAll('.jp-CodeCell')].slice(1).map(cell => {
  const seen = e => !!e && e.checkVisibility({ visibilityProperty: true }) && e.getBoundingClientRect().height > 100;
  const image = cell.querySelector('.trmml-still img'), output = cell.querySelector('.jp-OutputArea');
  return { alive: seen(cell.querySelector('.trmml')), still: seen(image) && image.naturalWidth > 200,
    text: output?.innerText || '' };
})"""


def wait_for(page, kind):
    "Until each of the three widgets is alive, or its still twin stands there: one of the two, never both."
    for _ in range(300):
        state = page.evaluate(STATE)
        if len(state) == 3 and all(s[kind] and not s["still" if kind == "alive" else "alive"] for s in state):
            break
        page.wait_for_timeout(200)
    else:
        pytest.fail(f"expected all to be {kind}: {state}")
    assert not any("Error displaying widget" in s["text"] or "Loading widget" in s["text"] for s in state), state
    return state


def test_a_notebook_that_is_opened_again_is_never_blank(page, lab, outside):
    "Saved and reloaded: the widgets live on with their kernel; without it their still twins stand there, and say so."
    name = "again.ipynb"
    small_notebook(lab[1] / name)
    open_and_run(page, lab, name)
    finished(page)
    wait_for(page, "alive")
    command(page, "docmanager:save")
    page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty")
    page.reload()
    page.wait_for_function("window.jupyterapp?.shell.currentWidget?.context?.path === 'again.ipynb'")
    wait_for(page, "alive")
    page.locator(".trmml-reviewer").focus()
    page.keyboard.press("y")
    page.wait_for_function("document.querySelector('.trmml-reviewer .trmml-status').innerText.includes('1 answered')")
    page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.wait_for_function("!window.jupyterapp.shell.currentWidget.sessionContext.session")
    page.locator(".trmml-inspector").focus()
    page.keyboard.press("ArrowRight")
    page.locator(".trmml-inspector .banner").wait_for()  # what stands there is dead, and says so
    saved = json.loads((lab[1] / name).read_text(encoding="utf-8"))
    saved["cells"][0]["source"] = "".join(saved["cells"][0]["source"]).replace("Ada", "Grace")
    (lab[1] / "sent.ipynb").write_text(json.dumps(saved), encoding="utf-8")
    for opened in (name, "sent.ipynb"):  # one's own, with a new kernel; and one that came by mail
        page.goto(f"{lab[0]}/lab/workspaces/{Path(opened).stem}-2/tree/{opened}?token=t")
        page.wait_for_function("name => window.jupyterapp?.shell.currentWidget?.context?.path === name", arg=opened)
        for state in wait_for(page, "still"):
            assert "A still picture: run this cell to use it." in state["text"]
        keep_shot(page.locator(".jp-NotebookPanel").screenshot(), Path(opened).stem)
    assert not outside, f"requests to elsewhere: {outside}"


SHARED = ("live = InspectorWidget(seen, review=review)\nlive", "live", "ReviewWidget(review, seen)")


def test_several_widgets_and_two_views_of_one(page, lab):
    "Keys go to the one that is used; both views follow; Control+S saves; a cell that is run again has the keys at once."
    small_notebook(lab[1] / "several.ipynb", (CELLS[0], *SHARED))
    open_and_run(page, lab, "several.ipynb")
    finished(page)
    views, reviewer = page.locator(".trmml-inspector"), page.locator(".trmml-reviewer")
    reviewer.locator(".question").wait_for()
    status = lambda k: views.nth(k).locator(".trmml-status")
    notebook = "window.jupyterapp.shell.currentWidget"
    cells = f"{notebook}.content.model.cells.length"
    top = "[...document.querySelectorAll('.jp-WindowedPanel-outer, .jp-Notebook')].map(e => e.scrollTop)"
    page.wait_for_timeout(1800)
    views.nth(1).locator(".centre canvas").click(position=dict(x=9, y=9))
    views.nth(1).scroll_into_view_if_needed()
    before, count = page.evaluate(top), page.evaluate(cells)
    page.keyboard.press("ArrowRight")
    for k in (0, 1):
        status(k).get_by_text("2 of 8 under").wait_for()
    page.keyboard.press("ArrowDown")
    label = views.nth(1).locator("[aria-selected=true] .name").inner_text()
    page.keyboard.press("y")
    for k in (0, 1):
        status(k).get_by_text(f"{label}, you say present").wait_for()
    page.keyboard.press("o")
    views.nth(1).locator(".brick").first.wait_for()
    page.keyboard.press("Escape")
    for key in ("a", "b", "x", "d", "d", "m"):
        page.keyboard.press(key)
    assert page.evaluate(top) == before and page.evaluate(cells) == count
    page.keyboard.press("Control+s")
    page.wait_for_function(f"!{notebook}.context.model.dirty")
    assert page.locator(".jp-Dialog").count() == 0
    reviewer.locator(".body").click()
    page.evaluate("document.querySelector('.trmml-reviewer').classList.add('stale')")
    page.evaluate(f"{notebook}.content.activeCellIndex = 3")
    command(page, "notebook:run-cell")
    fresh = page.locator(".trmml-reviewer:not(.stale)")
    fresh.locator(".question").wait_for()
    page.wait_for_function("document.querySelector('.trmml-reviewer').contains(document.activeElement)")
    assert page.locator(".trmml-reviewer").count() == 1
    page.keyboard.press("n")
    fresh.get_by_text("2 answered").wait_for()  # and the one that was given in the inspector
    assert page.evaluate(cells) == count and not page.evaluate(ERRORS)


def test_the_live_views_notebook(page, lab, outside, tmp_path):
    """While it trains: one picture in one place, drawn anew, never gone and never of another height; and no widget
    state is saved."""
    open_and_run(page, lab, "people/07_live_view.ipynb")
    page.evaluate(WATCH, "live = LiveView(trainer, probe, zero_shot=zero)")
    finished(page)
    seen = page.evaluate("window.watched")
    shown = [s for s in seen if s["images"]]
    assert len({s["source"] for s in shown}) >= 2 and {s["images"] for s in shown} == {2}, seen  # curves, and the probe
    begun = seen.index(shown[0])
    assert all(s["images"] == 2 for s in seen[begun:]) and len({round(s["height"]) for s in seen[begun + 1 :]}) == 1, (
        seen[begun:]
    )
    live = page.locator(".trmml-live")
    for theme, turned in ((DARK, True), (LIGHT, False)):
        command(page, "apputils:change-theme", theme=theme)
        page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=str(theme == LIGHT).lower())
        filters = [live.locator(f".{k}").evaluate("e => getComputedStyle(e).filter") for k in ("curves", "probe")]
        assert ("invert" in filters[0]) == turned and filters[1] == "none"  # photographs are never turned over
        page.wait_for_timeout(200)
        shot = live.screenshot(path=tmp_path / f"live_{theme[11:].lower()}.png")
        keep_shot(shot, f"live_{theme[11:].lower()}")
    command(page, "docmanager:save")
    page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty")
    saved = json.loads((lab[1] / "people/07_live_view.ipynb").read_text())
    cell = next(c for c in saved["cells"] if "live = LiveView(trainer, probe, zero_shot=zero)" in "".join(c["source"]))
    assert [o["output_type"] for o in cell["outputs"]] == ["display_data"] and "widgets" not in saved["metadata"]
    assert not outside, f"requests to elsewhere: {outside}"


def test_page_works_from_a_file_without_a_network(browser, tmp_path):
    "The page of one image: labels, sliders, keys and patches, with every request refused."
    import numpy as np
    from PIL import Image

    from trmml_nb.people.inspector import MatchView, panels, LabelLook
    from trmml_nb.people.html_page import inspection_page

    r = np.random.default_rng(0)
    s = r.random((3, 12))
    view = MatchView(
        Image.fromarray(r.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize((160, 120)),
        ["cat", "dog", "<b>"],
        (3, 4),
        np.array([0.9, 0.3, 0.5]),
        *r.random((2, 3)),
        r.random((3, 12)),
        s / s.sum(1, keepdims=True),
        image_id="an image",
    )
    path = inspection_page(view, tmp_path / "page.html", other=view, look=LabelLook(side=160))
    page = browser.new_page(viewport=dict(width=1200, height=800))
    errors = []
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.goto(path.as_uri())
    region = page.locator("canvas[data-map=region]").first
    page.locator(".big canvas").first.wait_for()
    assert region.evaluate("c => c.getContext('2d').getImageData(5, 5, 1, 1).data[3]") == 255
    drawn = np.array(
        page.evaluate("""() => { const c = Object.assign(document.createElement('canvas'), {width: 160, height: 120});
          paint(c, maps[0].region); return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data); }""")
    ).reshape(120, 160, 4)[..., :3]
    expected = panels(view, 0, LabelLook(side=160))[2].picture.astype(int)
    off = abs(drawn - expected).max(-1)
    assert np.percentile(off, 90) <= 4, (
        "the browser draws another picture than `overlay`"
    )  # the contour's seam may differ by a pixel
    before = region.evaluate("c => c.toDataURL()")
    page.locator("section").nth(1).get_by_role("button", name="dog").click()
    after = region.evaluate("c => c.toDataURL()")
    assert before != after and page.locator("#chosen").inner_text() == "dog"
    assert (
        page.locator("tr[aria-selected=true]").all_inner_texts()[0].startswith("dog")
        and page.locator("tr[aria-selected=true]").count() == 2
    )
    page.keyboard.press("ArrowUp")
    assert page.locator("#chosen").inner_text() == "<b>"
    box = region.bounding_box()
    at = lambda x, y: dict(x=x / 160 * box["width"], y=y / 120 * box["height"])
    region.click(position=at(150, 110))
    said = page.locator(".claims").first
    assert said.inner_text().startswith("patch 11: ")
    region.hover(position=at(10, 10))
    assert said.inner_text().startswith("patch 0: ") and "%" in said.inner_text()  # while the mouse is over it
    page.mouse.move(600, 10)
    assert said.inner_text().startswith("patch 11: ")
    page.keyboard.press("Shift+ArrowUp")
    assert said.inner_text().startswith("patch 7: ") and page.locator("#chosen").inner_text() == "<b>"
    page.keyboard.press("Shift+ArrowLeft")
    assert said.inner_text().startswith("patch 6: ")
    page.locator("#opacity").fill("0.1")
    assert region.evaluate("c => c.toDataURL()") not in (before, after) and not errors
    page.screenshot(path=tmp_path / "page.png")


@pytest.mark.parametrize(
    "there,root,within,asked",
    [((), 0, False, True), (("chromium",), 0, False, False), ((), 1000, False, False), ((), 0, True, False)],
)
def test_ci_installs_chromium_only_where_it_should(tmp_path, there, root, within, asked):
    """`.ci/run` with stand-ins for everything it calls: apt-get is asked where there is no browser, by root, and never
    from within a test."""
    bin_, log = tmp_path / "bin", tmp_path / "log"
    bin_.mkdir()
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    (tmp_path / "README.md").write_text('<!-- tests: begin -->\n```bash\necho "CI is $CI"\n```\n<!-- tests: end -->\n')
    for name in ("bash", "sed", "grep", "mktemp", "rm", "mkdir", "tee", "tail", "dirname", "env"):
        (bin_ / name).symlink_to(shutil.which(name))
    scripts = {
        "apt-get": f'echo "$*" >> {log}',
        "id": f"echo {root}",
        **dict.fromkeys(there, "true"),
        "python": "echo Python",
        "python3": 'mkdir -p "$3/bin"; echo : > "$3/bin/activate"',
    }
    for name, line in scripts.items():
        (bin_ / name).write_text(f"#!{shutil.which('bash')}\n{line}\n")
        (bin_ / name).chmod(0o755)
    environment = {"PATH": str(bin_), "TMPDIR": str(tmp_path), **({"PYTEST_CURRENT_TEST": "x"} if within else {})}
    done = subprocess.run(
        [str(tmp_path / ".ci/run")], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0 and "CI is true" in done.stdout, done.stdout + done.stderr
    assert log.exists() == asked and (not asked or "install" in log.read_text() and "chromium" in log.read_text())


def test_a_missing_browser_fails_in_ci_and_skips_elsewhere(monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no chromium"):
        missing("no chromium")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="no chromium"):
        missing("no chromium")
