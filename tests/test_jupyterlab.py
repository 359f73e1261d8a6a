"""The inspector's widget in a real JupyterLab and a real browser; skipped where Playwright or chromium is not installed.

pip install playwright, and a system chromium (apt-get install chromium); nothing is downloaded by the test."""
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
MAKE = '''
import torch
from torch import nn
from trmml_nb.data import scenes_dataset
from trmml_nb.inspector import inspect_method
from trmml_nb.inspector_widget import Inspector
from trmml_nb.matching import MethodOutput
from trmml_nb.towers import ImageFeatures

data, g = scenes_dataset('test', 4, size=96), torch.Generator().manual_seed(0)
unit = lambda *shape: nn.functional.normalize(torch.randn(*shape, generator=g), dim=-1)
texts, dense, pooled = unit(20, 8), unit(4, 16, 8), unit(4, 8)

class Store:
    grid, image_ids = (4, 4), data.image_ids
    __len__ = lambda self: 4
    batch = lambda self, rows, device=None: ImageFeatures(pooled[rows], dense[rows], None)

class Method(nn.Linear):
    def forward(self, features):
        maps = (3 * texts @ features.dense.mT).softmax(-1)
        region = 3 * ((maps @ features.dense) * texts).sum(-1)
        return MethodOutput(region + 0 * self.bias, maps, dict(region=region))

run = inspect_method(Method(1, 1), Store(), data, texts, 'a run')
inspector = Inspector(run)
inspector
'''
READY = '''async () => {
  const panel = window.jupyterapp.shell.currentWidget;
  await panel.context.ready; await panel.sessionContext.ready; await panel.sessionContext.session.kernel.info;
  window.jupyterapp.commands.execute('notebook:run-all-cells');
}'''
PIXELS = '''image => { const c = document.createElement('canvas'); c.width = image.naturalWidth; c.height = image.naturalHeight;
  c.getContext('2d').drawImage(image, 0, 0); return c.toDataURL(); }'''

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def lab(tmp_path):
    "Address of a JupyterLab of its own: its folders, its settings, a notebook with the widget."
    pytest.importorskip("jupyterlab"), pytest.importorskip("anywidget")
    work = tmp_path / "work"
    settings = tmp_path / "settings/@jupyterlab/notebook-extension"
    work.mkdir(), settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    cells = [nbformat.v4.new_code_cell(MAKE), nbformat.v4.new_code_cell("1 + 1")]
    kernel = dict(kernelspec=dict(name="python3", display_name="Python 3", language="python"))
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), work / "look.ipynb")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    private = {f"JUPYTER_{k}_DIR": str(tmp_path / k.lower()) for k in ("CONFIG", "DATA", "RUNTIME")}
    environment = {**os.environ, **private, "IPYTHONDIR": str(tmp_path / "ipython"), "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=t",
               f"--ServerApp.root_dir={work}", "--LabApp.expose_app_in_browser=True", "--allow-root"]
    with open(tmp_path / "log", "wb") as log:
        server = subprocess.Popen(command, cwd=work, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token=t", timeout=1).read()
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "log").read_text()
                time.sleep(.2)
        yield f"http://127.0.0.1:{port}/lab/tree/look.ipynb?token=t"
    finally:
        server.terminate()
        server.wait(30)


def wait_for_change(page, image, before):
    for _ in range(150):
        now = image.evaluate(PIXELS)
        if now != before:
            return now
        page.wait_for_timeout(100)
    raise AssertionError("the picture stays as it was")


def test_widget_in_jupyterlab(browser, lab, tmp_path):
    "Next image, another label, a click on a patch and the arrow keys, as a user does them."
    page = browser.new_page(viewport=dict(width=1400, height=1000))
    page.set_default_timeout(60_000)
    outside = []
    page.on("request", lambda r: outside.append(r.url) if not r.url.startswith((lab.split("/lab")[0], "data:", "blob:")) else None)
    page.goto(lab)
    page.wait_for_function("window.jupyterapp && window.jupyterapp.shell.currentWidget && window.jupyterapp.shell.currentWidget.sessionContext")
    page.evaluate(READY)
    pictures, labels = page.locator(".trmml-picture img"), page.locator(".trmml-list")
    pictures.nth(2).wait_for()
    labels.locator("button").first.wait_for()
    assert pictures.count() == 3
    page.screenshot(path=tmp_path / "start.png")
    plain, region = (pictures.nth(k).evaluate(PIXELS) for k in (0, 2))
    page.get_by_role("button", name="next").click()
    plain = wait_for_change(page, pictures.nth(0), plain)
    region = wait_for_change(page, pictures.nth(2), region)
    third = labels.locator("button").nth(3)
    name = third.inner_text()
    third.click()
    region = wait_for_change(page, pictures.nth(2), region)
    assert pictures.nth(0).evaluate(PIXELS) == plain  # the same image
    page.wait_for_function("n => document.querySelector('.trmml-list [aria-selected=true] button').innerText === n", arg=name)
    box = pictures.nth(2).bounding_box()
    pictures.nth(2).click(position=dict(x=.6 * box["width"], y=.1 * box["height"]))
    page.get_by_text("Who claims patch 2?").wait_for()
    region = wait_for_change(page, pictures.nth(2), region)
    active = page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex")
    page.keyboard.press("ArrowDown")  # the picture has the focus: the next label
    region = wait_for_change(page, pictures.nth(2), region)
    page.keyboard.press("ArrowRight")
    wait_for_change(page, pictures.nth(0), plain)
    page.get_by_text("3 of 4 under").wait_for()
    assert page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex") == active  # JupyterLab's own keys kept out
    page.screenshot(path=tmp_path / "widget.png")
    assert not outside, f"requests to elsewhere: {outside}"


def test_page_works_from_a_file_without_a_network(browser, tmp_path):
    "The page of one image: labels, sliders, keys and patches, with every request refused."
    import numpy as np
    from PIL import Image

    from trmml_nb.inspector import MatchView, inspection_page, panels, Look
    r = np.random.default_rng(0)
    s = r.random((3, 12))
    view = MatchView(Image.fromarray(r.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize((160, 120)), ["cat", "dog", "<b>"], (3, 4),
                     np.array([.9, .3, .5]), *r.random((2, 3)), r.random((3, 12)), s / s.sum(1, keepdims=True), image_id="an image")
    path = inspection_page(view, tmp_path / "page.html", other=view, look=Look(side=160))
    page = browser.new_page(viewport=dict(width=1200, height=800))
    errors = []
    page.on("pageerror", lambda e: errors.append(str(e)))
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.goto(path.as_uri())
    region = page.locator("canvas[data-map=region]").first
    page.wait_for_function("document.querySelector('canvas').getContext('2d').getImageData(5, 5, 1, 1).data[3] === 255")
    drawn = np.array(region.evaluate("c => Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)")).reshape(120, 160, 4)[..., :3]
    expected = panels(view, 0, Look(side=160))[2].picture.astype(int)
    off = abs(drawn - expected).max(-1)
    assert np.percentile(off, 90) <= 4, "the browser draws another picture than `overlay`"  # the contour's seam may differ by a pixel
    before = region.evaluate("c => c.toDataURL()")
    page.locator("section").nth(1).get_by_role("button", name="dog").click()
    after = region.evaluate("c => c.toDataURL()")
    assert before != after and page.locator("#chosen").inner_text() == "dog"
    assert page.locator("tr[aria-selected=true]").all_inner_texts()[0].startswith("dog") and page.locator("tr[aria-selected=true]").count() == 2
    page.keyboard.press("ArrowUp")
    assert page.locator("#chosen").inner_text() == "<b>"
    region.click(position=dict(x=150, y=110))
    assert page.locator(".claims").first.inner_text().startswith("patch 11: ")
    page.locator("#opacity").fill("0.1")
    assert region.evaluate("c => c.toDataURL()") not in (before, after) and not errors
    page.screenshot(path=tmp_path / "page.png")
