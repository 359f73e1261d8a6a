"""What axe-core, the accessibility checker, says of the widgets and the pages: nothing serious.

It is fetched from npm into a temporary folder; where there is no npm, or no network, these tests skip and say so."""

import re
import shutil
import subprocess
import tarfile

import numpy as np
import pytest
from helpers.fakes import fake_inspection
from helpers.in_browser import UNREADABLE, InBrowser, chromium
from PIL import Image

from trmml_nb.people.review import Review

pytest.importorskip('anywidget', reason='the widgets need pip install "trmml_nb[notebooks]"')
SIZES = [(320, 240), (240, 320)] * 4
NAMES = ['aeroplane', 'sheep', 'potted plant']
RUN = """async () => (await axe.run(document)).violations.filter(v => ['serious', 'critical'].includes(v.impact))
  .map(v => `${v.id}: ${v.help}: ${v.nodes[0].html.slice(0, 160)}`)"""


@pytest.fixture(scope='module')
def axe(tmp_path_factory):
    "The checker's script."
    if shutil.which('npm') is None:
        pytest.skip('no npm on this machine, which axe-core comes from')
    folder = tmp_path_factory.mktemp('axe')
    done = subprocess.run(['npm', 'pack', 'axe-core', '--silent'], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f'npm cannot fetch axe-core: {done.stderr.strip()[-200:]}')
    with tarfile.open(next(folder.glob('axe-core-*.tgz'))) as archive:
        return archive.extractfile('package/axe.min.js').read().decode()


@pytest.fixture(scope='module')
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport=dict(width=1280, height=900))
    page.set_default_timeout(60_000)
    yield page
    page.close()


def serious(page, axe):
    page.add_script_tag(content=axe)
    return page.evaluate(RUN)


def test_the_widgets(browser, axe, tmp_path):
    from trmml_nb.people.inspector_widget import InspectorWidget
    from trmml_nb.people.review_widget import ReviewWidget
    from trmml_nb.people.threshold_widget import ThresholdWidget
    from trmml_nb.people.why import Why

    seen = fake_inspection(NAMES, SIZES, thresholds=np.full(3, 0.4))
    review = lambda name: Review(seen.dataset, seen.probabilities, tmp_path / name, 'Ada', 'fake', threshold=0.4)
    look = InspectorWidget(seen, review=review('a.csv'), reasons=Why(seen, lambda: seen))
    line = ThresholdWidget(seen.probabilities, seen.dataset.targets, NAMES, [0.4] * 3, note='Drawn.')
    found = {}
    for name, live, keys in (
        ('inspector', look, ('y', 'w')),
        ('overview', look, ('o',)),
        ('reviewer', ReviewWidget(review('b.csv'), seen), ('y',)),
        ('grid', ReviewWidget(review('c.csv'), seen, mode='grid'), ('ArrowRight', 'y')),
        ('thresholds', line, ('ArrowLeft',)),
    ):
        tab = browser.new_page(viewport=dict(width=1280, height=900))
        tab.set_default_timeout(60_000)
        InBrowser(tab, live).press(*keys)
        found[name] = serious(tab, axe)
        tab.close()
    assert not any(found.values()), found


@pytest.fixture
def report(tmp_path):
    return report_of(tmp_path, 'dog,tree,a category with a long name')


def report_of(tmp_path, names):
    "The report of a small album, from logits that were drawn; one category has a single positive label."
    from trmml_nb.data.formats import read_labels
    from trmml_nb.people.inspector import MatchView
    from trmml_nb.yours.photographs import report_html, study

    r = np.random.default_rng(0)
    truth = (r.random((40, 3)) < 0.4).astype(int)
    truth[:, 2] = np.arange(40) == 3
    lines = [f'image,{names}']
    for i in range(40):
        Image.fromarray(r.integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(tmp_path / f'{i:02d}.png')
        cells = ['' if (i + c) % 4 == 0 and not (c == 2 and i == 3) else str(truth[i, c]) for c in range(3)]
        lines.append(f'{i:02d}.png,' + ','.join(cells))
    (tmp_path / 'labels.csv').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    sheet = read_labels(tmp_path / 'labels.csv', tmp_path)
    logits = np.where(truth == 1, 1.0, -1.0) + r.normal(0, 1, truth.shape)
    looked = r.dirichlet(np.full(49, 0.1), (40, 3))  # where the model looked: drawn as well
    view = lambda row: MatchView(
        sheet.dataset.image(row), sheet.dataset.class_names, (7, 7), *r.random((3, 3)), r.random((3, 49)), looked[row]
    )
    found = study(sheet, logits, logits - 0.1 * r.normal(0, 1, truth.shape))
    plain = report_html(found, 'An album')
    page = report_html(found, 'An album', seen=view)
    assert plain.count('<figure>') == page.count('<figure>') == 12 and 'where the model looked' not in plain
    tiles = [re.findall(r'<img alt="[^"]+" src="([^"]+)"><figcaption>', text) for text in (plain, page)]
    assert not set(tiles[0]) & set(tiles[1]), 'each tile has its region'
    return page


@pytest.mark.parametrize('dark', [False, True])
def test_the_report_fits_and_is_accessible(page, axe, report, dark):
    page.emulate_media(color_scheme='dark' if dark else 'light')
    page.set_content(report)
    assert serious(page, axe) == []
    assert all(page.locator('figure img').evaluate_all('all => all.map(e => e.naturalWidth === 416)'))
    assert 'from 1 positive' in page.locator('table').first.inner_text()
    for width in (1280, 800, 400):
        page.set_viewport_size(dict(width=width, height=900))
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth'), width
    page.set_viewport_size(dict(width=680, height=900))  # A4 between its margins, at 96 pixels an inch
    page.emulate_media(media='print')
    assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == 'rgb(255, 255, 255)'


BROKEN = '''() => {  // words and numbers of tables that are broken inside; words of over 24 letters may be
  const found = [];
  for (const e of document.querySelectorAll('th, td')) {
    const walk = document.createTreeWalker(e, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) for (const word of walk.currentNode.textContent.matchAll(/\\S+/g)) {
      const range = document.createRange();
      range.setStart(walk.currentNode, word.index); range.setEnd(walk.currentNode, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map(r => Math.round(r.top)));
      if (word[0].length < 25 && lines.size > 1) found.push(word[0]);
    }
  }
  return found;
}'''
LONG = [
    'dogs that are seen from behind and are not on a lead or held',
    'Sehenswürdigkeiten und Baudenkmäler einer mittelgrossen Stadt',
    'https://www.example.org/labels/things#object-that-is-named-by-its-address',
]


@pytest.mark.parametrize('width', [1280, 1200, 1000, 800, 400, 'print'])
def test_no_number_and_no_word_of_the_report_is_broken(page, tmp_path, width):
    page.set_viewport_size(dict(width=680 if width == 'print' else width, height=900))
    page.emulate_media(media='print' if width == 'print' else 'screen')
    page.set_content(report_of(tmp_path, ','.join(LONG)))
    assert page.evaluate(BROKEN) == []
    assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
    names = page.locator('tbody').first.locator('td:first-child').all_inner_texts()
    assert set(names) == set(LONG)
    assert page.locator('th').first.text_content() == 'category'


@pytest.mark.parametrize('dark', [False, True])
def test_the_page_of_one_image(page, axe, dark):
    from trmml_nb.people.html_page import inspection_html

    page.emulate_media(color_scheme='dark' if dark else 'light')
    page.set_content(inspection_html(fake_inspection(NAMES, SIZES).view(0)))
    assert serious(page, axe) == []
    for width in (1280, 800, 400):
        page.set_viewport_size(dict(width=width, height=900))
        assert page.evaluate('document.documentElement.scrollWidth <= innerWidth'), width
        assert page.locator('main').evaluate(UNREADABLE) == [], width
    page.set_viewport_size(dict(width=680, height=900))  # A4 between its margins, at 96 pixels an inch
    page.emulate_media(media='print')
    assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == 'rgb(255, 255, 255)'
