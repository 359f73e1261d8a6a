"""The page to send: what it holds by hand, that it refers to nothing, that names stay text, and that no file is
written over."""

import ast
import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from helpers.fakes import fake_inspection
from helpers.in_browser import UNREADABLE, chromium
from helpers.inspections import C, Method, by_hand

from trmml_nb.people import inspector as I
from trmml_nb.people import html_page as P


class Tags(HTMLParser):
    "Which tags open and close, and what they refer to."

    def __init__(self):
        super().__init__()
        self.open, self.refers, self.scripts, self.void = [], [], 0, {'meta', 'input', 'img', 'br', 'link'}

    def handle_starttag(self, tag, attributes):
        self.open += [tag] if tag not in self.void else []
        self.scripts += tag == 'script'
        self.refers += [v for k, v in attributes if k in ('src', 'href', 'srcset', 'action', 'data')]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_whole_and_refers_to_nothing(run):
    page = P.inspection_html(run.view(0), run.view(0), label=3)
    tags = Tags()
    tags.feed(page)
    assert tags.open == [] and tags.scripts == 2 and len(tags.refers) == 2
    assert all(r.startswith('data:image/jpeg;base64,') for r in tags.refers)
    text = re.sub(r'[A-Za-z0-9+/=]{60,}', '', page)  # without the pictures and levels
    assert (
        len(text) < len(page) and not re.search(r'https?:|//[a-z]|@import|url\(', text) and "default-src 'none'" in text
    )
    assert page.count('data-label=') == 2 * C and page.count('aria-selected="true"') == 2 and page.count('<canvas') == 4


@pytest.mark.parametrize(
    'size, kept',
    [((300, 200), (300, 200)), ((3000, 2000), (1024, 683)), ((2000, 150), (1024, 77)), ((100, 600), (100, 600))],
)
def test_the_picture_travels_with_its_pixels(run, size, kept):
    view = run.view(0)
    page = P.inspection_html(replace(view, image=view.image.resize(size)))
    (first, *_) = re.findall(r'data:image/jpeg;base64,([A-Za-z0-9+/=]+)', page)
    assert Image.open(io.BytesIO(base64.b64decode(first))).size == kept


@pytest.fixture(scope='module')
def browser():
    with chromium() as browser:
        yield browser


def opened(browser, html, width, height, scheme='light'):
    page = browser.new_page(viewport=dict(width=width, height=height), color_scheme=scheme)
    page.set_default_timeout(10_000)
    page.set_content(html)
    page.locator('.big canvas').wait_for()  # its policy forbids scripts that ask again and again
    return page


NAMES = ['aeroplane', 'a rather long name of a category that has sixty characters', *(f'thing {i}' for i in range(18))]


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('size, least', [((1600, 1200), 0.4), ((2000, 100), 0.9), ((500, 1500), 0.13), ((64, 48), 0.4)])
def test_the_big_picture_has_the_size_of_the_screen(browser, size, least, scheme):
    "Also a small photograph, a panorama and a tower; nothing is cut or parted, at three widths."
    html = P.inspection_html(fake_inspection(NAMES, [size]).view(0))
    for width in (1280, 800, 400):
        page = opened(browser, html, width, 900, scheme)
        big = page.locator('.big canvas')
        box, drawn = big.bounding_box(), big.evaluate('c => [c.width, c.height]')
        assert box['width'] > (least if width > 680 or least < 0.3 else 0.9) * width and box['height'] > 110, (
            width,
            box,
        )
        assert abs(box['width'] / box['height'] - size[0] / size[1]) < 0.05 * size[0] / size[1]  # never out of shape
        assert drawn[0] >= min(round(box['width']), 2048) - 1  # at the pixels of the screen
        assert page.locator('main').evaluate(UNREADABLE) == []
        assert page.evaluate('document.documentElement.scrollWidth') <= width
        for tool in ('opacity', 'threshold', 'cmap', 'find'):
            label, control = (page.locator(what).bounding_box() for what in (f'label:has(#{tool})', f'#{tool}'))
            assert label['height'] < 1.5 * max(control['height'], 20) and label['width'] > control['width'] + 20, tool
        page.close()


def test_columns_without_content_are_left_out_and_the_threshold_is_seen(browser):
    view = fake_inspection(NAMES, [(320, 240)], thresholds=np.full(20, 0.4)).view(0)
    heads = lambda v: re.findall(r'<th\b[^>]*>(.*?)</th>', P.inspection_html(v))
    unknown = np.full(20, -1)
    assert heads(view) == ['label', 'probability', 'query', 'region', 'training', 'truth']
    assert heads(replace(view, truth=unknown))[-1] == 'training' and 'truth' not in heads(replace(view, truth=unknown))
    assert heads(replace(view, truth=unknown, targets=unknown)) == ['label', 'probability', 'query', 'region']
    assert heads(replace(view, truth=unknown, seen=False)) == ['label', 'probability', 'query', 'region']
    page = opened(browser, P.inspection_html(view), 1280, 800)
    (line, track) = (page.locator(f'.ranking {part}').first.bounding_box() for part in ('.bar .tick', '.bar'))
    assert abs((line['x'] + line['width'] / 2 - track['x']) / track['width'] - 0.4) < 0.03
    page.close()


def test_all_of_the_page_by_keyboard(browser):
    "Search, labels, pictures, patches and the plain photograph; who claims a patch is said where it is seen."
    view = fake_inspection([f'category {i}' for i in range(200)], [(640, 480)]).view(0)
    page = opened(browser, P.inspection_html(view), 1280, 800)
    big, chosen, press = page.locator('.big canvas'), page.locator('#chosen'), page.keyboard.press
    pixels = lambda: big.evaluate('c => c.toDataURL()')
    press('/')
    page.keyboard.type('category 117')
    press('Enter')
    assert chosen.inner_text() == 'category 117'
    page.locator('#find').fill('')
    page.locator('#find').press('Escape')
    row, frame = page.locator('tr[aria-selected=true]').bounding_box(), page.locator('.list').bounding_box()
    assert frame['y'] <= row['y'] and row['y'] + row['height'] <= frame['y'] + frame['height']  # the chosen one is seen
    before = pixels()
    page.keyboard.down(' ')
    plain = pixels()
    page.keyboard.up(' ')
    assert plain != before == pixels()
    press('v')
    assert page.locator('.big img').count() == 1  # the photograph
    press('v')
    assert page.locator('.big canvas').get_attribute('data-map') == 'pixel'
    press('v')
    press('Shift+ArrowRight')
    said = page.locator('.claims')
    assert said.inner_text().startswith('patch 0: ') and said.bounding_box()['y'] < 800
    press('Escape')
    assert said.inner_text() == ''
    page.get_by_role('button', name='text-pixel').click()
    assert page.locator('.big canvas').get_attribute('data-map') == 'pixel'
    page.close()


@pytest.mark.parametrize('count, pages', [(20, 1), (200, 6)])
def test_the_page_in_print_wastes_no_paper(browser, tmp_path, count, pages):
    view = fake_inspection([f'category {i}' for i in range(count)], [(640, 480)]).view(0)
    page = opened(browser, P.inspection_html(view), 1280, 800)
    data = page.pdf(format='A4', print_background=True)
    assert len(re.findall(rb'/Type\s*/Page\b(?!s)', data)) <= pages
    page.emulate_media(media='print')
    page.set_viewport_size(dict(width=688, height=1000))  # A4 between its margins, in CSS pixels
    last = page.locator('.ranking tr').last.bounding_box()
    assert page.locator('.list').evaluate('e => e.scrollHeight <= e.clientHeight + 1') and last['height'] > 8
    assert not page.locator('.tools').is_visible() and page.locator('main').evaluate(UNREADABLE) == []
    page.close()


def test_page_holds_the_levels_and_claims():
    view = by_hand()
    page = P.inspection_html(view)
    data = json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)[1])
    region = np.frombuffer(base64.b64decode(data['views'][0]['region']), np.uint8).reshape(3, 2)
    assert region.tolist() == [[255, 255], [85, 255], [255, 0]] and data['label'] == 1 and data['grid'] == [1, 2]
    claims = I.patch_claims(view.saliency, view.probabilities)
    for n in range(2):
        assert (
            data['views'][0]['claims'][n][0][0] == claims[:, n].argmax()
            and abs(sum(s for _, s in data['views'][0]['claims'][n]) - 1) < 1e-3
        )
    assert (
        data['names'] == view.class_names and '<b>' not in page.replace('<b id="chosen">', '') and 'a &lt;b&gt;' in page
    )


@pytest.mark.fault('hostile files', 'HTML in names of files or categories', 'shown as text, everywhere')
def test_page_escapes_hostile_names():
    page = P.inspection_html(
        by_hand(
            image_id='"><script>alert(1)</script>',
            class_names=['</script><script>alert(2)', 'x', '__TITLE__'],
            name='<i>',
        )
    )
    tags = Tags()
    tags.feed(page)
    assert tags.scripts == 2 and '<i>' not in page and 'alert(2)' in page


def test_page_is_never_written_over(tmp_path, run):
    view = run.view(0)
    path = P.inspection_page(view, tmp_path / 'a.html')
    assert path.read_text() == P.inspection_html(view) and [p.name for p in tmp_path.iterdir()] == ['a.html']
    path.write_text('mine')
    with pytest.raises(I.InspectorError, match='a.html exists already, and is left as it is'):
        P.inspection_page(view, path)
    assert path.read_text() == 'mine'
    with pytest.raises(I.InspectorError, match='no folder'):
        P.inspection_page(view, tmp_path / 'none' / 'a.html')


def test_page_of_a_method_without_a_map(parts):
    _, store, data, texts = parts
    assert 'no region map' in P.inspection_html(
        I.inspect_method(Method(texts, with_map=False), store, data, texts).view(0)
    )


def test_no_second_encoding(run, parts):
    view = run.view(0)
    before = parts[0].calls
    P.inspection_html(view)
    assert parts[0].calls == before


def test_markup_in_names_stays_text_in_the_page(evil):
    page = P.inspection_html(evil.view(1), evil.view(1), label=1)
    tags = Tags()
    tags.feed(page)
    assert (
        tags.scripts == 2
        and tags.open == []
        and 'onerror="' not in re.sub(r'<script.*?</script>', '', page, flags=re.S)
    )


def test_the_module_imports_no_widget_library():
    names = {
        n.name if isinstance(n, ast.alias) else n
        for node in ast.walk(ast.parse(open(P.__file__, encoding='utf-8').read()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for n in ([node.module] if isinstance(node, ast.ImportFrom) else node.names)
    }
    assert not names & {'ipywidgets', 'anywidget', 'traitlets', 'IPython'}


def test_the_script_loads_nothing():
    assert not re.search(r'https?:|\bimport\b|fetch\(|XMLHttp', P.SCRIPT)
