"""A widget of ours in a real browser without a notebook around it: its script runs in a page, and its Python half
answers from the test."""

import base64
import contextlib
import importlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGE = '''<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>widget</title><style>body{margin:8px;background:var(--jp-layout-color1,#fff)}</style></head><body><main><div id="at"></div></main></body></html>'''
DARK = '''{--jp-ui-font-color1:#f0f0f0;--jp-ui-font-color2:#c4c4c4;--jp-layout-color1:#111;--jp-layout-color2:#2a2a2a;--jp-border-color1:#5a5a5a;}'''
START = '''async ([code, css, state]) => {
  const decode = v => v && v.$bytes !== undefined ? new DataView(Uint8Array.from(atob(v.$bytes), c => c.charCodeAt(0)).buffer)
    : Array.isArray(v) ? v.map(decode) : v;
  const values = {}, heard = {};
  const apply = changes => {
    for (const [k, v] of Object.entries(changes)) values[k] = decode(v);
    for (const k of Object.keys(changes)) for (const f of [...(heard['change:' + k] || [])]) f();
  };
  const model = { get: k => values[k], send: m => { window.waiting = (window.waiting || 0) + 1;
      window.toPython(JSON.stringify(m)).then(changes => { apply(JSON.parse(changes)); window.waiting -= 1; }); },
    on: (k, f) => { (heard[k] = heard[k] || []).push(f); }, off: (k, f) => { heard[k] = (heard[k] || []).filter(g => g !== f); } };
  apply(state);
  const style = document.createElement('style'); style.textContent = css; document.head.append(style);
  const module = await import(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })));
  window.apply = apply;
  window.fire = name => (heard[name] || []).forEach(f => f());  // what the manager of the widgets would tell
  window.outer = [];
  document.body.addEventListener('keydown', e => window.outer.push(e.key));  // what a page around the widget would hear
  module.default.render({ model, el: document.getElementById('at') });
  window.another = () => {  // one more view of the same widget; gives nothing back, for a function would be called
    module.default.render({ model, el: document.querySelector('main').appendChild(document.createElement('div')) });
  };
}'''


UNREADABLE = '''root => {  // texts whose contrast with the ground is under 4.5 to 1, that are cut off, or over each other
  const parse = c => (c.match(/[\\d.]+/g) || []).map(Number), luminance = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] > .9) return c; } return [255, 255, 255]; };
  const found = [];
  for (const e of root.querySelectorAll('*')) {
    const text = [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.textContent.trim()).join(' ').trim(), box = e.getBoundingClientRect();
    if (!text || !box.width || e.tagName === 'OPTION' || e.tagName === 'STYLE' || e.disabled) continue;
    const [a, b] = [luminance(parse(getComputedStyle(e).color)), luminance(ground(e))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) found.push(`contrast ${((a + .05) / (b + .05)).toFixed(1)}: ${text.slice(0, 40)}`);
    const style = getComputedStyle(e);
    if (style.overflowX !== 'visible' && style.overflowX !== 'auto' && e.scrollWidth > e.clientWidth + 1) found.push(`cut: ${text.slice(0, 40)}`);
    if (box.right > root.getBoundingClientRect().right + 1 && !e.closest('.trmml-list')) found.push(`beyond the edge: ${text.slice(0, 40)}`);
  }
  const texts = [],
    meet = (a, b, low, high) => Math.min(a[high], b[high]) - Math.max(a[low], b[low]) > 3,
    over = (a, b) => meet(a, b, 'left', 'right') && meet(a, b, 'top', 'bottom'),
    beside = 'option, style, .help, .hint, .title, .tile';
  for (const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT); walk.nextNode();) {
    const text = walk.currentNode.textContent.trim(), e = walk.currentNode.parentElement, range = document.createRange();
    if (!text || !e.checkVisibility() || e.closest(beside)) continue;
    range.selectNodeContents(walk.currentNode);
    for (const {left, right, top, bottom} of range.getClientRects()) {
      const box = {left, right, top, bottom, text};
      for (let clip = e; clip && clip !== root; clip = clip.parentElement)
        if (getComputedStyle(clip).overflowY !== 'visible') {
          const c = clip.getBoundingClientRect();
          box.top = Math.max(box.top, c.top); box.bottom = Math.min(box.bottom, c.bottom);
        }
      if (box.bottom - box.top > 3) texts.push(box);
    }
  }
  texts.forEach((a, i) => texts.slice(i + 1).filter(b => over(a, b)).forEach(b =>
    found.push(`over each other: ${a.text.slice(0, 30)} / ${b.text.slice(0, 30)}`)));
  return [...new Set(found)];
}'''


def missing(reason):
    "Skip on a user's machine; fail where tests must be complete."
    (pytest.fail if os.environ.get("CI", "").lower() in ("1", "true", "yes") else pytest.skip)(reason)


def needed(package):
    "A package that a test cannot do without."
    try:
        return importlib.import_module(package)
    except ImportError:
        missing(f'{package.partition(".")[0]} is not installed: pip install "trmml_nb[dev]"')


@contextlib.contextmanager
def chromium():
    "The system's Chromium, started; where it or Playwright lacks, `missing`."
    if CHROMIUM is None:
        missing("no Chromium on this machine: apt-get install chromium")
    with needed("playwright.sync_api").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def plain(value):
    if isinstance(value, (bytes, memoryview)):
        return {'$bytes': base64.b64encode(bytes(value)).decode()}
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def state_of(widget):
    names = [n for n in widget.keys if not n.startswith('_') and n not in ('layout', 'tabbable', 'tooltip', 'comm')]
    return {n: plain(getattr(widget, n)) for n in names}


class InBrowser:
    "A page with one widget in it."

    def __init__(self, page, widget, dark=False):
        self.page, self.widget, self.errors, self.heard = page, widget, [], []
        self.answering = 0.0  # seconds of the processor that the Python half has used for its answers
        page.on('pageerror', lambda e: self.errors.append(str(e)))
        page.on('console', lambda m: self.errors.append(m.text) if m.type == 'error' else None)
        page.expose_function('toPython', self._answer)
        page.set_content(PAGE)
        if dark:
            page.add_style_tag(content=f':root{DARK}')
        self.before = state_of(widget)
        page.evaluate(START, [str(widget._esm), str(widget._css), self.before])
        page.wait_for_function("document.querySelector('[data-drawn]')")
        page.wait_for_timeout(50)

    def _answer(self, message):
        self.heard.append(json.loads(message))
        started = time.process_time()
        self.widget._handle_custom_msg(json.loads(message), [])
        self.answering += time.process_time() - started
        return json.dumps(self._changes())

    def _changes(self):
        now = state_of(self.widget)
        changed = {k: v for k, v in now.items() if v != self.before[k]}
        self.before = now
        return changed

    def refresh(self):
        "Send what the test has changed from Python."
        self.page.evaluate('c => window.apply(c)', self._changes())

    def settle(self):
        self.page.wait_for_function('!window.waiting')
        self.page.wait_for_timeout(60)

    def press(self, *keys):
        "Keys as a person presses them, each answered before the next."
        for key in keys:
            self.page.keyboard.press(key)
            self.settle()


TESTS = Path(__file__).resolve().parents[1]
CELLS = [
    f"""import sys; sys.path.insert(0, {str(TESTS)!r})
import numpy as np
from pathlib import Path
from tempfile import mkdtemp
from helpers.fakes import fake_inspection
from trmml_nb.people.inspector_widget import InspectorWidget
from trmml_nb.people.review import Review
from trmml_nb.people.review_widget import ReviewWidget
from trmml_nb.people.threshold_widget import ThresholdWidget
names = ['aeroplane', 'sheep', 'potted plant']
seen = fake_inspection(names, [(320, 240), (240, 320)] * 4, thresholds=np.full(3, 0.4))
review = Review(seen.dataset, seen.probabilities, Path(mkdtemp()) / 'answers.csv', 'Ada', 'fake', threshold=0.4)""",
    "InspectorWidget(seen, review=review)",
    "ReviewWidget(review, seen)",
    "ThresholdWidget(seen.probabilities, seen.dataset.targets, names, [0.4] * 3)",
]
KINDS = ("inspector", "reviewer", "thresholds")


def small_notebook(path, cells=CELLS):
    "Write a notebook of these cells; unless told otherwise, one that shows the three widgets."
    import nbformat.v4 as v4

    kernel = dict(display_name="Python 3", language="python", name="python3")
    content = v4.new_notebook(cells=[v4.new_code_cell(s) for s in cells], metadata=dict(kernelspec=kernel))
    Path(path).write_text(json.dumps(content), encoding="utf-8")
    return Path(path)


@contextlib.contextmanager
def served(command, home, work, ready, **more):
    "A server of notebooks with folders and settings of its own, until it answers at `ready`: its address."
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    private = {f"JUPYTER_{k}_DIR": str(home / k.lower()) for k in ("CONFIG", "DATA", "RUNTIME")}
    environment = {**os.environ, **private, "IPYTHONDIR": str(home / "ipython"), **more}
    environment.pop("MPLBACKEND", None)  # the kernel draws inline
    with open(home / "log", "wb") as log:
        server = subprocess.Popen(
            [part.replace("PORT", str(port)) for part in command], cwd=work, env=environment, stdout=log, stderr=log
        )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{ready}", timeout=1).read()
                break
            except urllib.error.HTTPError:
                break  # it answers
            except OSError:
                assert server.poll() is None, (home / "log").read_text()
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)
