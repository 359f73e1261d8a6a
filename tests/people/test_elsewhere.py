"""The widgets outside JupyterLab: in Jupyter Notebook 7, in Voila, and in a page that nbconvert made.

The three are started from the installed packages, with folders and settings of their own, and opened in Chromium."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.in_browser import KINDS, chromium, needed, served, small_notebook

pytest.importorskip('anywidget', reason='the widgets need pip install "trmml_nb[notebooks]"')
LONG = 60_000  # ms; a small notebook on a busy machine
RUN = """async () => {
  const panel = window.jupyterapp.shell.currentWidget;
  await panel.context.ready; await panel.sessionContext.ready; await panel.sessionContext.session.kernel.info;
  window.jupyterapp.commands.execute('notebook:run-all-cells');
}"""
SEEN = """() => [...document.querySelectorAll('.trmml-still img')]
  .filter(e => e.checkVisibility({ visibilityProperty: true }) && e.naturalWidth > 200).map(e => e.alt)"""


@pytest.fixture
def page():
    with chromium() as browser:
        page = browser.new_page(viewport=dict(width=1280, height=1000))
        page.set_default_timeout(LONG)
        yield page


def keep_shot(page, name):
    "Keep a screenshot for whoever wants to look."
    folder = os.environ.get('TRMML_SHOTS')
    if folder and Path(folder).name != 'images':
        page.screenshot(path=Path(folder) / f'{name}.png', full_page=True)


def used(page):
    "All three are there and alive, no still twin beside them; keys work and are answered."
    for kind in KINDS:
        page.locator(f'.trmml-{kind}').wait_for()
    page.wait_for_function(f'({SEEN})().length === 0')
    page.locator('.trmml-reviewer').focus()
    page.keyboard.press('y')
    page.wait_for_function("document.querySelector('.trmml-reviewer .trmml-status').innerText.includes('1 answered')")
    before = page.locator('.trmml-inspector .trmml-status').inner_text()
    page.locator('.trmml-inspector').focus()
    page.keyboard.press('ArrowRight')
    page.wait_for_function(
        "before => document.querySelector('.trmml-inspector .trmml-status').innerText !== before", arg=before
    )
    assert page.locator('.trmml-inspector .centre canvas').bounding_box()['width'] > 300


def test_in_notebook_7(page, tmp_path):
    needed('notebook')
    small_notebook(tmp_path / 'small.ipynb')
    command = [sys.executable, '-m', 'notebook', '--no-browser', '--port=PORT', '--ServerApp.port_retries=0']
    command += ['--IdentityProvider.token=t', f'--ServerApp.root_dir={tmp_path}', '--allow-root']
    command += ['--JupyterNotebookApp.expose_app_in_browser=True']
    with served(command, tmp_path, tmp_path, '/api?token=t') as address:
        page.goto(f'{address}/notebooks/small.ipynb?token=t')
        page.wait_for_function("window.jupyterapp?.shell.currentWidget?.context?.path === 'small.ipynb'")
        page.evaluate(RUN)
        used(page)
        keep_shot(page, 'notebook7')


def test_in_voila(page, tmp_path):
    needed('voila')
    small_notebook(tmp_path / 'small.ipynb')
    command = [sys.executable, '-m', 'voila', 'small.ipynb', '--no-browser', '--port=PORT', '--Voila.ip=127.0.0.1']
    with served(command, tmp_path, tmp_path, '/voila/files/none') as address:
        page.goto(address)
        used(page)
        keep_shot(page, 'voila')


@pytest.mark.parametrize('dark', [False, True])
def test_in_a_page_made_by_nbconvert(page, tmp_path, dark):
    "No kernel, no script of ours: each widget's still twin stands there, with what it shows in words."
    small_notebook(tmp_path / 'small.ipynb')
    convert = [sys.executable, '-m', 'nbconvert', '--execute', '--to', 'html', 'small.ipynb']
    convert += ['--theme=dark'] * dark
    done = subprocess.run(convert, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page.route('**', lambda route: route.continue_() if route.request.url.startswith('file:') else route.abort())
    page.goto((tmp_path / 'small.html').as_uri())
    page.wait_for_function(f'({SEEN})().length === 3')
    first, second, third = page.evaluate(SEEN)
    assert 'picture 0.jpg' in first and second.startswith('Is there a') and third.startswith('aeroplane: present from')
    assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
    keep_shot(page, f'nbconvert_{"dark" if dark else "light"}')


def test_what_colab_asks_for_goes_with_the_widget(monkeypatch):
    "A stand-in for Colab: its manager of widgets is switched on, and the output names it; the still twin names none."
    import types

    import IPython.display
    from anywidget import _util
    from helpers.fakes import fake_inspection

    from trmml_nb.people.inspector_widget import InspectorWidget

    began, shown = [], []
    colab = types.ModuleType('google.colab.output')
    colab.enable_custom_widget_manager = lambda: began.append(1)
    colab._widgets = types.SimpleNamespace(_installed_url='https://colab/manager.js')
    monkeypatch.setitem(sys.modules, 'google.colab.output', colab)
    monkeypatch.setattr(IPython.display, 'display', lambda data, **more: shown.append((data, more.get('metadata'))))
    _util.enable_custom_widget_manager_once.cache_clear()
    InspectorWidget(fake_inspection(['a', 'b'], [(40, 30)] * 3))._ipython_display_()
    (still, nothing), (living, about) = shown
    kind = 'application/vnd.jupyter.widget-view+json'
    assert began == [1] and kind not in still and nothing is None and kind in living
    assert about[kind]['colab']['custom_widget_manager']['url'] == 'https://colab/manager.js'
