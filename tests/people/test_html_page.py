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
    assert all(r.startswith('data:image/png;base64,') for r in tags.refers)
    text = re.sub(r'[A-Za-z0-9+/=]{60,}', '', page)  # without the pictures and levels
    assert (
        len(text) < len(page) and not re.search(r'https?:|//[a-z]|@import|url\(', text) and "default-src 'none'" in text
    )
    assert page.count('data-label=') == 2 * C and page.count('aria-selected="true"') == 2 and page.count('<canvas') == 4


@pytest.mark.parametrize(
    'size, shown',
    [((300, 200), (256, 171)), ((2000, 150), (1024, 77)), ((100, 600), (85, 512)), ((64, 64), (256, 256))],
)
def test_a_panorama_is_shown_wide_enough_to_be_seen(run, size, shown):
    view = run.view(0)
    page = P.inspection_html(replace(view, image=view.image.resize(size)))
    (first, *_) = re.findall(r'data:image/png;base64,([A-Za-z0-9+/=]+)', page)
    assert Image.open(io.BytesIO(base64.b64decode(first))).size == shown


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
