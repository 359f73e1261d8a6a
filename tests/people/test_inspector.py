"""The inspector: claims, levels, overlays, histories and orders by hand; the widget's rules without a browser."""

import ast
import base64
import gc
import importlib
import io
import re
import sys
import time
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from trmml_nb.people import inspector as I
from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.towers.dense import ImageFeatures
from trmml_nb.data.labels import UNKNOWN
from trmml_nb.method.matching import text_image_scores, text_pixel_scores
from helpers.inspections import C, D, GRID, M, Method, N, Store, by_hand


# -- claims and levels


def test_claims_by_hand_and_their_sum():
    claims = I.patch_claims([[0.5, 0.5], [0.25, 0.75], [1.0, 0]], [0.2, 0.8, 0.1])
    np.testing.assert_allclose(claims, [[0.1 / 0.4, 0.1 / 0.7], [0.2 / 0.4, 0.6 / 0.7], [0.1 / 0.4, 0]])
    r = np.random.default_rng(0)
    s = r.random((7, 30))
    np.testing.assert_allclose(I.patch_claims(s / s.sum(1, keepdims=True), r.random(7)).sum(0), 1)
    assert I.patch_claims([[1.0, 0]], [0.5])[0].tolist() == [1, 0]  # nobody looks at the second patch
    with pytest.raises(I.InspectorError, match=r'\(2, 3\) and probabilities \(3,\)'):
        I.patch_claims(np.ones((2, 3)), np.ones(3))


def test_levels():
    np.testing.assert_allclose(I.map_levels([[0.1, 0.4], [0.3, 0.3]]), [[0.25, 1], [1, 1]], rtol=1e-6)
    np.testing.assert_allclose(I.map_levels([-0.5, 0, 0.5], from_zero=False), [0, 0.5, 1])
    assert np.isfinite(I.map_levels(np.zeros((2, 4)))).all() and (I.map_levels([0.2, 0.2], from_zero=False) == 0).all()


def test_overlay_is_the_stated_arithmetic():
    "Every pixel of a picture as large as its grid, against the formula, in float64."
    r = np.random.default_rng(0)
    image, level = r.random((4, 5, 3)), r.random(20).astype(np.float32)
    got = I.overlay(image, level, (4, 5), I.LabelLook(opacity=0.6, cmap='viridis', threshold=0))
    grey = 0.25 + 0.75 * (image @ [0.299, 0.587, 0.114])[..., None]
    o = 0.6 * (0.35 + 0.65 * level.reshape(4, 5, 1).astype(float))
    color = matplotlib.colormaps['viridis'](np.round(level.reshape(4, 5) * 255).astype(np.uint8))[..., :3]
    np.testing.assert_allclose(got / 255.0, (1 - o) * grey + o * color, atol=0.004)


def test_contour_frame_and_outline_lie_where_they_should():
    flat, level = np.full((8, 8), 0.5), [1.0, 0, 0, 0]
    plain = I.overlay(flat, level, (2, 2), I.LabelLook(threshold=0))
    framed = I.overlay(flat, level, (2, 2), I.LabelLook(threshold=0), patch=3)
    changed = (framed != plain).any(-1)
    assert not changed[:3].any() and not changed[:, :3].any() and changed[4, 4] and not changed[6, 6]
    assert tuple(framed[4, 4]) == (236, 225, 51) and tuple(framed[3, 5]) == (0, 0, 0)
    contour = I.overlay(flat, level, (2, 2), I.LabelLook(threshold=0.5))
    inside = I.upsample(level, (2, 2), (8, 8), 'bilinear') >= 0.5
    white = (contour == 255).all(-1)
    assert white.any() and inside[white].all() and not inside[(contour == 0).all(-1)].any()
    mask = np.zeros((16, 16), bool)
    mask[4:12, 4:12] = True
    outlined = I.overlay(flat, level, (2, 2), I.LabelLook(threshold=0), mask=mask)
    assert tuple(outlined[2, 2]) == (86, 180, 233) and (outlined[3:5, 3:5] == plain[3:5, 3:5]).all()


@pytest.mark.parametrize(
    'wrong,message',
    [
        (dict(opacity=1.5), 'opacity is 1.5'),
        (dict(threshold=-1), 'threshold -1'),
        (dict(side=4), 'side 4'),
        (dict(cmap='nope'), "'nope', expected a matplotlib colour map"),
    ],
)
def test_look_refuses(wrong, message):
    with pytest.raises(I.InspectorError, match=message):
        I.LabelLook(**wrong)


# -- what is known


def test_pseudo_history_against_a_plain_loop():
    r = np.random.default_rng(3)
    targets = r.integers(-1, 2, (5, 4))
    filled = [np.where(targets == -1, r.choice([-1, 0, 0.3, 0.8, 1], targets.shape), targets) for _ in range(6)]
    record = I.PseudoHistory(targets)
    for epoch, f in enumerate(filled):
        record.update(epoch, torch.tensor(f))
    word = lambda x: -1 if x == -1 else int(x >= 0.5)
    for i, j in np.ndindex(5, 4):
        if targets[i, j] != -1 or filled[-1][i, j] == -1:
            assert (record.labels[i, j], record.since[i, j]) == (-1, -1)
            continue
        start = 5
        while start and word(filled[start - 1][i, j]) == word(filled[5][i, j]):
            start -= 1
        assert (record.labels[i, j], record.since[i, j]) == (word(filled[5][i, j]), start)
    with pytest.raises(I.InspectorError, match=r'\(2, 4\), expected \(5, 4\)'):
        record.update(6, np.zeros((2, 4)))


def test_label_state():
    assert (
        I.label_state(1, 0, 3) == 'known present'
        and I.label_state(0) == 'known absent'
        and I.label_state(-1) == 'unknown'
    )
    assert I.label_state(-1, 0, 4) == 'pseudo absent since epoch 4'


# -- views


def test_view_is_the_method_and_the_matching(parts, run):
    method, store, data, texts = parts
    training = method.train().training
    view = run.view(2)
    assert method.training == training  # put back
    out = method.eval()(store.batch([2]))
    np.testing.assert_allclose(view.probabilities, out.probabilities[0].detach(), rtol=1e-5)
    np.testing.assert_allclose(view.probabilities, run.probabilities[2], rtol=1e-5)
    np.testing.assert_allclose(view.saliency, out.saliency[0].detach(), rtol=1e-5)
    np.testing.assert_allclose(view.branches['region'], out.scores['region'][0].sigmoid().detach(), rtol=1e-5)
    np.testing.assert_allclose(view.image_cosines, text_image_scores(store.batch([2]).pooled, texts)[0], rtol=1e-5)
    pooled, maps = text_pixel_scores(store.batch([2]).dense, texts)
    np.testing.assert_allclose(view.pixel_cosines, pooled[0], rtol=1e-5)
    np.testing.assert_allclose(view.pixel_maps, maps[0], rtol=1e-5)
    assert view.targets.tolist() == data.targets[2].tolist() and view.truth.tolist() == data.truth[2].tolist()
    assert view.image_id == data.image_ids[2] and view.masks.shape == (20, 64, 64) and view.image.size == (64, 64)


def test_method_without_a_map(parts):
    _, store, data, texts = parts
    view = I.inspect_method(Method(texts, with_map=False), store, data, texts).view(0)
    assert view.saliency is None
    want = (torch.tensor(view.pixel_maps) / 0.05).softmax(-1)
    np.testing.assert_allclose(view.attention, want, rtol=1e-4)
    assert I.panels(view)[2].title == 'no region map: text-pixel attention'


def test_crop_keeps_what_the_tower_saw(parts):
    method, store, data, texts = parts
    wide, masks = Image.new('RGB', (60, 20), 'red'), np.zeros((C, 20, 60), bool)
    wide.paste('blue', (20, 0, 40, 20))
    masks[:, :, 30:] = True
    view = I.match_view(method, store.batch([0]), wide, data.class_names, texts, GRID, crop=True, masks=masks)
    assert (
        view.image.size == (20, 20) and view.image.getpixel((0, 0)) == (0, 0, 255) and view.masks.shape == (C, 20, 20)
    )
    assert not view.masks[0, :, :10].any() and view.masks[0, :, 10:].all()
    big = I.match_view(method, store.batch([0]), Image.new('RGB', (2048, 1024)), data.class_names, texts, GRID)
    assert big.image.size == (512, 256)


def test_errors_of_views(parts, run):
    method, store, data, texts = parts
    with pytest.raises(I.InspectorError, match='hold 2 images, expected 1'):
        I.match_view(method, store.batch([0, 1]), data.image(0), data.class_names, texts, GRID)
    with pytest.raises(I.InspectorError, match=r'row is 6, expected 0 to 5'):
        run.view(6)
    with pytest.raises(I.InspectorError, match="'scene-x' is not in scenes/test; close names: scene-"):
        run.find('scene-x')
    with pytest.raises(I.InspectorError, match="'carr' is none of the categories; close names: car"):
        run.view(0).index('carr')
    with pytest.raises(I.InspectorError, match='20 is none of the categories; numbers run to 19'):
        run.view(0).index(20)
    with pytest.raises(I.InspectorError, match=r'saliency has shape \(3, 3\), expected \(3, 2\)'):
        by_hand(saliency=np.ones((3, 3)))
    with pytest.raises(I.InspectorError, match='another order: encode this data set'):
        I.inspect_method(method, store, data.subset([1, 0, 2, 3, 4, 5]), texts)
    with pytest.raises(I.InspectorError, match=r'texts has shape \(19, 8\)'):
        I.inspect_method(method, store, data, texts[:19])
    with pytest.raises(I.InspectorError, match='one image'):
        I.same_image(run.view(0), run.view(1))
    with pytest.raises(I.InspectorError, match='patch is 16, expected 0 to 15'):
        I.claims_table(run.view(0), 16)


def test_tables(run):
    view = run.view(1)
    table = I.ranked_labels(view)
    assert list(table.index) == [view.class_names[c] for c in np.argsort(-view.probabilities)]
    assert list(table)[:3] == ['probability', 'query', 'region'] and len(table) == C
    claims = I.claims_table(view, 5, None)
    assert (
        abs(claims.claim.sum() - 1) < 1e-6
        and claims.claim.is_monotonic_decreasing
        and len(I.claims_table(view, 5)) == 5
    )
    np.testing.assert_allclose(claims.attention, view.saliency[[view.index(n) for n in claims.index], 5] * N, rtol=1e-5)


def test_patch_at():
    assert [
        I.patch_at(x, y, (2, 3)) for x, y in ((0, 0), (0.34, 0), (0.99, 0.49), (1, 1), (-0.1, 0.6), (0.5, 0.5))
    ] == [0, 1, 2, 5, 3, 4]


def test_captions_and_ranks():
    view = by_hand(branches=dict(query=np.array([0.1, 0.2, 0.3])))
    assert I.captions(view, 1) == [
        'cosine 0.300; rank 1 of 3',
        'cosine 0.200; rank 2 of 3',
        'probability 0.90, query 0.20; rank 1 of 3',
    ]


# -- pictures


def test_pictures_follow_label_opacity_colours_contour_and_patch(run):
    view = run.view(0)
    region = lambda **k: I.picture_png(
        I.panels(
            view,
            k.pop('label', 0),
            I.LabelLook(**{x: k.pop(x) for x in list(k) if x in I.LabelLook.__annotations__}),
            **k,
        )[2].picture
    )
    base = region()
    others = [
        region(label=1),
        region(opacity=0.3),
        region(cmap='viridis'),
        region(threshold=0.8),
        region(patch=3),
        region(outline=True, label=int(view.truth.argmax())),
    ]
    assert len({base, *others}) == 7 and region() == base
    assert Image.open(io.BytesIO(base)).size == (224, 224)


def test_panels_and_figures_keep_the_pictures_shape():
    view, wide = by_hand(), by_hand(name='other', probabilities=np.array([0.9, 0.1, 0.2]))
    assert [p.picture.shape for p in I.panels(view, 0, I.LabelLook(side=100))] == [(50, 100, 3)] * 3
    fig = I.inspection_figure(view, 'cat', other=wide)
    titles = [ax.get_title() for ax in fig.axes]
    assert titles[:3] == ['text-image', 'text-pixel', 'text-region'] and titles[7] == 'other' and len(titles) == 8
    bold = [
        [t.get_text().split()[0] for t in ax.get_yticklabels() if t.get_fontweight() == 'bold']
        for ax in (fig.axes[3], fig.axes[7])
    ]
    assert bold == [['cat'], ['cat']]


def test_a_click_is_fast(run):
    "Another image, and another label; 150 ms on two free cores, and time to spare for busy ones."
    draw = lambda view, c: (
        [I.picture_png(p.picture) for p in I.panels(view, c, I.LabelLook(side=256), 3, True)]
        + [I.ranking_html(view, c)]
    )
    draw(run.view(0), 0)
    times = []
    for k in range(6):
        start = time.process_time()
        draw(run.view(k), k)
        times.append(time.process_time() - start)
    assert np.median(times) < 0.4


def test_no_second_encoding(run, parts):
    method = parts[0]
    before = method.calls
    view = run.view(0)
    I.panels(view, 1), I.panels(view, 2), I.ranking_html(view), I.claims_table(view, 0)
    assert method.calls == before + 1  # one forward per image, none per label


# -- filters

P = np.array([[0.9, 0.1], [0.8, 0.3], [0.2, 0.6], [0.4, 0.5], [0.99, 0.02]])
T = np.array([[1, 0], [0, 1], [1, 1], [-1, 1], [1, 1]])
SIZE = np.array([[0.2, np.nan], [np.nan, 0.3], [0.01, 0.1], [0.1, 0.1], [0.3, 0.004]])


@pytest.mark.parametrize(
    'kind,rows,labels,scores',
    [
        ('all', [0, 1, 2, 3, 4], [-1] * 5, [0] * 5),
        ('disagreements', [4, 1, 2], [1, 0, 0], [0.98, 0.8, 0.8]),
        ('false positives', [1], [0], [0.8]),
        ('missed objects', [4, 2, 1], [1, 0, 1], [0.98, 0.8, 0.7]),
        ('missed small objects', [4, 2], [1, 0], [0.98, 0.8]),
    ],
)
def test_filters_by_hand(kind, rows, labels, scores):
    got = I.rank_images(kind, P, T, sizes=SIZE)
    assert got.rows.tolist() == rows and got.labels.tolist() == labels
    np.testing.assert_allclose(got.scores, scores)


def test_filters_that_need_no_truth():
    h = lambda p: -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    got = I.rank_images('uncertain', P, np.full_like(T, -1))
    assert got.rows.tolist() == np.argsort(-h(P).mean(1)).tolist() and got.labels[0] == 1
    np.testing.assert_allclose(got.scores, np.sort(h(P).mean(1))[::-1])
    other = P.copy()
    other[3, 0], other[1, 1] = 0.9, 0.1
    got = I.rank_images('runs differ', P, T, other=other)
    assert got.rows[:2].tolist() == [3, 1] and got.labels[:2].tolist() == [0, 1]
    assert len(I.rank_images('disagreements', P, np.full_like(T, -1)).rows) == 0
    assert np.isfinite(I.rank_images('uncertain', np.array([[0.0, 1.0]]), np.array([[1, 0]])).scores).all()


def test_filters_fall_back_threshold_and_category():
    assert (
        I.rank_images('missed small objects', P, T).rows.tolist() == I.rank_images('missed objects', P, T).rows.tolist()
    )
    assert I.rank_images('missed objects', P, T, threshold=0.1).rows.tolist() == [4]
    assert I.rank_images('disagreements', P, T, label=1).rows.tolist() == [4, 1]
    assert I.rank_images('missed small objects', P, T, sizes=SIZE, small=0.005).rows.tolist() == [4]
    with pytest.raises(I.InspectorError, match="filter is 'worst', expected one of all, disagreements"):
        I.rank_images('worst', P, T)
    with pytest.raises(I.InspectorError, match="'runs differ' needs a second run"):
        I.rank_images('runs differ', P, T)
    with pytest.raises(I.InspectorError, match=r'reference \(4, 2\)'):
        I.rank_images('all', P, T[:4])


def test_reference_and_sizes(parts, run):
    _, _, data, _ = parts
    assert (run.reference == data.truth).all()
    masks = np.stack([data.object_masks(i) for i in range(M)])
    np.testing.assert_allclose(np.nan_to_num(run.sizes), masks.mean((2, 3)))
    assert np.isnan(run.sizes[~masks.any((2, 3))]).all()
    partly = I.Inspection(None, None, I.replace(data, truth=np.full((M, C), UNKNOWN)), None, run.probabilities)
    assert (partly.reference == data.targets).all()
    assert I.object_sizes(data.subset([])) is None


# -- the widget, without a browser


@pytest.fixture
def widget():
    pytest.importorskip('anywidget')
    return importlib.import_module('trmml_nb.people.inspector_widget')


@pytest.fixture
def live(widget, run, parts):
    method, store, data, texts = parts
    other = I.inspect_method(Method(texts, shift=0.7), store, data, texts, 'other')
    return widget.InspectorWidget(run, other=other)


def data_index(run, name):
    return run.dataset.class_names.index(name)


def send(live, kind, **more):
    "A message as the browser sends it."
    live._handle_custom_msg({'kind': kind, **more}, [])


def test_what_travels_is_the_views(live):
    "All labels of the open image in both runs: probabilities, states, and a byte of level for each patch and kind."
    maps = np.frombuffer(live.maps, np.uint8).reshape(2, 2, C, N)
    for run, view in enumerate(live.views):
        np.testing.assert_allclose(maps[run, 1] / 255, I.map_levels(view.attention), atol=0.51 / 255)
        np.testing.assert_allclose(maps[run, 0] / 255, I.map_levels(view.pixel_maps, False), atol=0.51 / 255)
        said = live.content['runs'][run]
        np.testing.assert_allclose(said['p'], view.probabilities, atol=6e-5)
        np.testing.assert_allclose(said['branches']['region'], view.branches['region'], atol=6e-5)
    view = live.views[0]
    assert live.content['states'] == [view.state(c) for c in range(C)] and live.content['thresholds'] == [0.5] * C
    picture = Image.open(io.BytesIO(live.picture))
    assert picture.format == 'JPEG' and picture.size == live.runs[0].dataset.picture(0).size == (768, 768)
    masks = np.frombuffer(live.masks, np.uint8).reshape(C, 64, 64) > 127
    assert (masks == np.stack(live.runs[0].dataset.object_masks(0))).mean() > 0.97


def test_thresholds_and_unseen_images_are_said(widget, parts):
    method, store, data, texts = parts
    thresholds = np.linspace(0.1, 0.9, C)
    run = I.inspect_method(method, store, data, texts, seen=False, thresholds=thresholds)
    live = widget.InspectorWidget(run)
    np.testing.assert_allclose(live.content['thresholds'], thresholds, atol=6e-5)
    assert (
        set(live.content['states']) == {'not in training'} and 'training never saw this picture' in live.content['said']
    )
    assert set(live.content['targets']) == {UNKNOWN} and set(live.content['truth']) >= {0, 1}
    said, truth = run.probabilities >= thresholds, run.reference
    wrong = {int(r) for r in np.flatnonzero(((said & (truth == 0)) | (~said & (truth == 1))).any(1))}
    live.filter = 'disagreements'
    assert set(live.ranking.rows.tolist()) == wrong
    with pytest.raises(I.InspectorError, match=r'thresholds \(3,\), expected'):
        I.inspect_method(method, store, data, texts, thresholds=np.full(3, 0.5))


def test_widget_draws_on_each_setting_from_python_and_not_on_the_browsers(live):
    name = live.views[0].class_names[live.views[0].order[3]]
    settings = dict(label=name, labels=['dog'], opacity=0.2, level=0.9, patch=5, view='pixels', outline=False)
    for trait, value in settings.items():
        before = live.drawn
        setattr(live, trait, value)
        assert live.drawn == before + 1 and live.content['start'][trait] == value
    before = live.drawn
    for trait, value in dict(
        label='dog', labels=[], opacity=0.7, level=0.1, patch=3, view='region', outline=True
    ).items():
        send(live, 'set', name=trait, value=value)
        assert getattr(live, trait) == value
    assert live.drawn == before and 'dog is' in live.content['said']


def test_widget_steps_through_a_filter_with_one_drawing_each(live):
    before = live.drawn
    live.filter = 'disagreements'
    assert live.drawn == before + 1 and live.row == live.ranking.rows[0]
    assert live.views[0].index(live.label) == live.ranking.labels[0]
    live.patch = 2
    before = live.drawn
    send(live, 'step', by=1)
    assert live.drawn == before + 1 and live.row == live.ranking.rows[1] and live.patch == -1
    send(live, 'step', by=-1)
    send(live, 'step', by=-1)  # stays at the first
    assert live.row == live.ranking.rows[0] and '1 of' in live.content['said']
    send(live, 'set', name='filter', value='runs differ')
    apart = abs(live.runs[0].probabilities - live.runs[1].probabilities)
    assert live.row == apart.max(1).argmax()
    live.step_label(1)
    assert live.label == live.views[0].class_names[live.views[0].order[1]] or live.label in live.views[0].class_names


def test_widget_jumps_and_refuses(live, widget, run, parts):
    send(live, 'find', image=run.dataset.image_ids[4])
    assert live.row == 4 and run.dataset.image_ids[4] in live.content['said']
    drawn = live.drawn
    send(live, 'find', image='<x>')
    assert live.row == 4 and '<x>' in live.content['said'] and live.drawn == drawn
    for trait, value, message in (
        ('row', 6, 'row is 6, expected 0 to 5'),
        ('row', -1, 'row is -1'),
        ('patch', N, f'patch is {N}, expected 0 to {N - 1}'),
        ('label', 'catt', "'catt' is none of the categories; close names: cat"),
        ('labels', ['catt'], "'catt' is none of the categories"),
        ('labels', ['cat', 'dog', 'car', 'bus'], 'holds 4 categories, expected at most 3'),
        ('category', 'x', 'category'),
    ):
        before = getattr(live, trait)
        with pytest.raises(I.InspectorError, match=message):
            setattr(live, trait, value)
        assert getattr(live, trait) == before
    with pytest.raises(I.InspectorError, match="'runs differ' needs a second run"):
        widget.InspectorWidget(run, filter='runs differ')
    live.filter = 'disagreements'
    live.category = 'car'
    assert set(live.ranking.labels.tolist()) == {data_index(run, 'car')} and live.label == 'car'
    method, store, data, texts = parts
    short = I.Inspection(method, store, data.subset([0, 1]), texts, run.probabilities[:2])
    with pytest.raises(I.InspectorError, match='6 and 2 images'):
        widget.InspectorWidget(run, other=short)
    with pytest.raises(I.InspectorError, match='holds no images'):
        widget.InspectorWidget(I.Inspection(method, store, data.subset([]), texts, run.probabilities[:0]))


def test_only_filters_that_can_answer_are_offered(widget, run, live):
    from helpers.fakes import fake_inspection

    painted = widget.InspectorWidget(fake_inspection(['a', 'b'], [(40, 30)] * 3))
    assert 'missed small objects' not in painted.filters and 'runs differ' not in painted.filters
    assert painted.masks == b''
    with pytest.raises(I.InspectorError, match='needs masks'):
        painted.filter = 'missed small objects'
    assert 'missed small objects' in live.filters and 'runs differ' in live.filters


def test_widget_starts_where_it_is_told(widget, run):
    live = widget.InspectorWidget(run, row=3, label='dog')
    assert (live.row, live.label, len(live.views)) == (3, 'dog', 1) and 'runs differ' not in live.filters
    live = widget.InspectorWidget(run, filter='false positives')
    assert live.row == live.ranking.rows[0] != 0


def test_widget_with_an_empty_filter_keeps_the_image(widget, run, parts):
    method, store, data, texts = parts
    unknown = I.Inspection(
        method, store, I.replace(data, truth=None, targets=np.full((M, C), UNKNOWN)), texts, run.probabilities
    )
    live = widget.InspectorWidget(unknown, filter='false positives')
    assert live.row == 0 and 'none found' in live.content['said']
    send(live, 'step', by=1)
    assert 'no image under' in live.content['said']


def test_a_still_twin_where_no_kernel_runs(live, monkeypatch):
    shown = []
    monkeypatch.setattr('IPython.display.display', lambda data, metadata=None, raw=False: shown.append((data, raw)))
    live._ipython_display_()
    (twin, raw), (view, also_raw) = shown
    picture = Image.open(io.BytesIO(base64.b64decode(twin['image/png'])))
    assert raw and also_raw and picture.format == 'PNG' and picture.width > 500
    assert (
        set(view) == {'application/vnd.jupyter.widget-view+json', 'text/plain'}
        and twin['image/png'] in twin['text/html']
    )
    assert f'data-trmml-still="{live.place}"' in twin['text/html'] and live.views[0].image_id in twin['text/plain']


def test_names_stay_text_in_the_still_twin(widget, evil):
    page = widget.InspectorWidget(evil).twin()['text/html']
    assert page.count('<img') == 1 and page.count('<script') == 0 and '&lt;' in page


def test_scripts_load_nothing(widget):
    assert not re.search(r'https?:|\bimport\b|fetch\(|XMLHttp|innerHTML', widget._INSPECT)


@pytest.mark.parametrize('missing', ['anywidget', 'ipywidgets'])
def test_without_the_extra_the_message_says_what_to_install(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, 'trmml_nb.people.inspector_widget', raising=False)
    with pytest.raises(ImportError, match=r"pip install 'trmml_nb\[notebooks\]'"):
        importlib.import_module('trmml_nb.people.inspector_widget')


def test_the_pure_module_imports_no_widget_library():
    names = {
        n.name if isinstance(n, ast.alias) else n
        for node in ast.walk(ast.parse(open(I.__file__, encoding='utf-8').read()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for n in ([node.module] if isinstance(node, ast.ImportFrom) else node.names)
    }
    assert not names & {'ipywidgets', 'anywidget', 'traitlets', 'IPython'}


# -- hostile input


class Elements(HTMLParser):
    "Which elements a piece of HTML really has."

    def __init__(self, text):
        super().__init__()
        self.names = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.names.add(tag)
        assert not [k for k, _ in attributes if k.startswith('on')]


def test_a_picture_that_is_gone(widget, parts):
    "Its labels are shown, a word says what is missing, and the next image is whole again."
    from trmml_nb.data.dataset import FileImage
    from trmml_nb.errors import DataError

    method, store, data, texts = parts
    lost = I.replace(data, images=[*data.images[:1], FileImage('no <b> where.png'), *data.images[2:]])
    run = I.inspect_method(method, store, lost, texts)
    with pytest.raises(DataError, match='where.png'):
        run.view(1)
    live = widget.InspectorWidget(run, other=run)
    send(live, 'step', by=1)
    said = live.content['said']
    assert live.row == 1 and 'no <b> where.png' in said and 'labels are shown without it' in said
    grey = Image.open(io.BytesIO(live.picture))
    assert abs(np.array(grey.getpixel((9, 9))) - 189).max() <= 2 and len(live.content['runs'][0]['p']) == C
    np.testing.assert_allclose(live.views[0].probabilities, run.probabilities[1], rtol=1e-5)
    send(live, 'step', by=1)
    assert live.row == 2 and 'where.png' not in live.content['said']


def test_ten_thousand_images(widget):
    "Opened and stepped through: a moment, and next to no memory beyond what is stored."
    import tracemalloc

    from trmml_nb.data.dataset import MultiLabelDataset

    count, r, g = 10_000, np.random.default_rng(0), torch.Generator().manual_seed(0)
    picture = scenes_dataset('test', 1, size=64).images[0]
    truth, ids = (r.random((count, C)) < 0.1).astype(np.int8), [f'image {i}' for i in range(count)]
    data = MultiLabelDataset('big', 'test', [f'class {c}' for c in range(C)], ids, truth, truth, [picture] * count, [])
    store = Store(ids, torch.randn(count, D, generator=g), torch.randn(count, N, D, generator=g))
    texts = F.normalize(torch.randn(C, D, generator=g), dim=-1)
    run = I.Inspection(Method(texts), store, data, texts, r.random((count, C)), 'big')
    gc.collect()  # what other tests left is not this one's time
    start = time.process_time()
    widget.InspectorWidget(run, other=run, filter='disagreements')
    opened = time.process_time() - start
    tracemalloc.start()
    live = widget.InspectorWidget(run, other=run, filter='disagreements')
    first = tracemalloc.get_traced_memory()[0]
    for _ in range(15):
        live.step()
    live.filter = 'uncertain'
    live.find('image 9999')
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert live.row == 9999 and opened < 2
    assert peak < 60e6 and now - first < 8e6, (
        f'{peak / 1e6:.0f} MB at most, {(now - first) / 1e6:.1f} MB more after 17 images'
    )


# -- hover and keys


def test_hints_are_the_largest_claims(run):
    view = run.view(0)
    claims, hints = I.patch_claims(view.attention, view.probabilities), I.claim_hints(view, 2)
    for n in (0, 7, 15):
        a, b = np.argsort(-claims[:, n])[:2]
        assert (
            hints[n] == f'patch {n}: {view.class_names[a]} {100 * claims[a, n]:.0f} %, {view.class_names[b]} '
            f'{100 * claims[b, n]:.0f} %'
        )
    assert len(hints) == N


def test_the_patch_moves_and_stays_inside(live):
    live.step_patch()  # none was chosen: begin where the label looks hardest
    assert live.patch == live.views[0].attention[live.views[0].index(live.label)].argmax()
    live.patch = 5
    for (down, right), want in (((0, 1), 6), ((1, 0), 10), ((0, -1), 9), ((-1, 0), 5), ((-1, 0), 1), ((-1, 0), 1)):
        live.step_patch(down, right)
        assert live.patch == want and live.row == 0


def test_a_view_borrows_the_threads(parts, run):
    before = torch.get_num_threads()
    run.view(0)
    with pytest.raises(I.InspectorError):
        run.view(99)
    assert torch.get_num_threads() == before


def test_pseudo_labels_reach_the_views(parts):
    "State and age of a pseudo-label in the table, in the list and in the status line."
    method, store, data, texts = parts
    history = I.PseudoHistory(data.targets)
    r, c = np.argwhere(data.targets == UNKNOWN)[3]
    for epoch in (2, 3, 4):
        history.update(
            epoch, np.where((np.arange(M)[:, None] == r) & (np.arange(C) == c), 1.0, data.targets.astype(float))
        )
    view = I.inspect_method(method, store, data, texts, history=history).view(int(r))
    name = data.class_names[c]
    assert I.ranked_labels(view).state[
        name
    ] == 'pseudo present since epoch 2' and 'pseudo present since epoch 2' in I.ranking_html(view)
    assert (I.ranked_labels(view).state.drop(name).str.startswith('pseudo')).sum() == 0
    assert I.label_told(view, int(c)) == f'training took it that {name} is present since epoch 2'
    assert any('(pseudo +)' in x.get_text() for x in I.inspection_figure(view, name, top=20).axes[3].texts)


def test_of_several_views_the_first_is_shown(parts):
    "A store with two views side by side: twice as many positions, a map of the first."
    method, store, data, texts = parts

    class Two(Store):
        views = ('plain', 'flip')

        def batch(self, rows, device=None):
            one = super().batch(rows)
            return ImageFeatures(one.pooled, torch.cat([one.dense, one.dense.flip(1)], 1), None)

    two = Two(store.image_ids, store.pooled, store.dense)
    a, b = (I.inspect_method(method, s, data, texts).view(1) for s in (two, store))
    assert a.saliency.shape == (C, N)
    np.testing.assert_allclose(
        a.saliency, b.saliency, rtol=1e-4
    )  # the same positions twice: the same map, made to sum to 1
    np.testing.assert_allclose(a.pixel_maps, b.pixel_maps, rtol=1e-5)
    two.views = ('flip', 'plain')
    with pytest.raises(I.InspectorError, match="expected 'plain' first"):
        I.inspect_method(method, two, data, texts)
