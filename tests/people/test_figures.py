"""figures: places, colours, labels and errors; the drawing itself is looked at in the notebook."""

import io
import subprocess
import sys

import matplotlib

matplotlib.use('Agg')

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from trmml_nb.people import figures as f


@pytest.fixture(autouse=True)
def close_all():
    yield
    plt.close('all')


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8))


# ---- images


def test_image_forms_agree(image):
    a = np.asarray(image)
    chw = torch.tensor(a).permute(2, 0, 1)
    for form in (a, a / 255, chw, chw / 255, (chw / 255).bfloat16(), (chw / 255).requires_grad_()):
        np.testing.assert_allclose(f.image_array(form), a / 255, atol=0.003)
    assert f.image_array(a[..., 0]).shape == (64, 96, 3)
    assert f.image_array(image.convert('L')).shape == (64, 96, 3) and f.image_array(image.convert('RGBA')).shape == (
        64,
        96,
        3,
    )


def test_bad_images_are_named(image):
    with pytest.raises(f.FigureError, match=r'shape \(2, 3, 8, 8\).*one image at a time'):
        f.image_array(np.zeros((2, 3, 8, 8)))
    with pytest.raises(f.FigureError, match=r'from -2.00 to 2.00, expected \[0, 1\]: undo the normalisation'):
        f.image_array(np.array([[-2.0, 2.0]]))
    with pytest.raises(f.FigureError, match='nan'):
        f.image_array(np.full((2, 2), np.nan))


# ---- saliency


@pytest.mark.parametrize('grid,size', [((7, 7), (64, 96)), ((4, 6), (32, 32)), ((14, 14), (448, 448))])
def test_bilinear_equals_torch(grid, size):
    s = np.random.default_rng(1).random(grid).astype(np.float32)
    want = torch.nn.functional.interpolate(torch.tensor(s)[None, None], size, mode='bilinear', align_corners=False)[
        0, 0
    ]
    np.testing.assert_allclose(f.upsample(s.ravel(), grid, size, 'bilinear'), want.numpy(), atol=1e-5)


@pytest.mark.parametrize('how', ['nearest', 'bilinear', 'bicubic'])
def test_upsampled_peak_stays_in_its_cell(how):
    for cell in range(35):
        s = np.full(35, 0.01)
        s[cell] = 1
        big = f.upsample(s, (5, 7), (50, 70), how)
        y, x = np.argwhere(big == big.max()).mean(0)
        np.testing.assert_allclose(
            ((y + 0.5) / 10 - 0.5, (x + 0.5) / 10 - 0.5), divmod(cell, 7), atol=0.01 if how == 'nearest' else 0.5
        )
        assert big.min() >= s.min() - 1e-6 and big.max() <= 1 + 1e-6


def test_saliency_errors(image):
    with pytest.raises(f.FigureError, match=r'expected h\*w = 14\*14 = 196 values, got 195'):
        f.show_saliency(image, np.ones(195), (14, 14))
    with pytest.raises(f.FigureError, match='grid is None: pass grid'):
        f.show_saliency(image, np.ones(196))
    with pytest.raises(f.FigureError, match=r'shape \(3, 4, 4\)'):
        f.show_saliency(image, np.ones((3, 4, 4)))
    with pytest.raises(f.FigureError, match=r'shape \(4, 5\).*grid is \(5, 4\)'):
        f.show_saliency(image, np.ones((4, 5)), (5, 4))
    with pytest.raises(f.FigureError, match='holds 1 values that are not finite'):
        f.show_saliency(image, [[1, np.nan]])
    with pytest.raises(f.FigureError, match="how is 'cubic'"):
        f.show_saliency(image, np.ones((2, 2)), how='cubic')


def test_peak_marker_and_outlines_are_in_pixels(image):
    s = torch.zeros(6)
    s[4] = 1  # grid (2, 3): row 1, column 1
    mask = np.zeros((32, 48), bool)  # half the picture's resolution
    mask[16:, 16:32] = True
    ax = f.show_saliency(image, s, (2, 3), mask=mask, box=(1 / 3, 0.5, 2 / 3, 1), peak=True, colorbar=True)
    np.testing.assert_allclose([v[0] for v in ax.lines[0].get_data()], (48, 48))  # centre of the cell
    box = ax.patches[-1]
    np.testing.assert_allclose((box.get_x(), box.get_y(), box.get_width(), box.get_height()), (32, 32, 32, 32))
    path = ax.collections[-1].get_paths()[0].vertices
    np.testing.assert_allclose((path.min(0), path.max(0)), ((32, 32), (64, 64)), atol=2.1)
    assert ax.get_xlim() == (0, 96) and ax.get_ylim() == (64, 0)
    assert len(ax.figure.axes) == 2  # with its colour bar


def test_constant_and_zero_maps_are_drawn(image):
    for value in (0, 0.25):
        f.show_saliency(image, np.full((2, 2), value)).figure.canvas.draw()


# ---- layout


def test_given_axes_leave_pyplot_alone(image):
    ax = Figure().subplots(1, 4)
    before = dict(plt.rcParams)
    assert f.show_image(image, 'a', ax[0]) is ax[0] and f.show_saliency(image, np.ones((2, 2)), ax=ax[1]) is ax[1]
    assert f.bars([1, 2], ['a', 'b'], ax=ax[2]) is ax[2] and f.curve([1, 2], [3, 4], 'x', ax[3]) is ax[3]
    f.heatmap(np.ones((2, 2)), 'ab', 'cd', ax=Figure().subplots())
    f.label_matrix(np.ones((2, 2)), 'ab', ax=Figure().subplots())
    f.label_strip([1, 0], 'ab', image, ax=Figure().subplots()).figure.canvas.draw()
    f.pr_curve([0.5, 1], [1, 0.5], ax=Figure().subplots())
    f.image_grid([image])
    assert not plt.get_fignums() and dict(plt.rcParams) == before


def test_image_grid(image):
    fig = f.image_grid([image] * 5, list('abcde'), ncols=3, suptitle='all')
    assert [ax.get_title() for ax in fig.axes[:5]] == list('abcde') and not fig.axes[5].axison
    with pytest.raises(f.FigureError, match='titles has 1 entries, expected 2'):
        f.image_grid([image, image], ['a'])
    with pytest.raises(f.FigureError, match='images is empty'):
        f.image_grid([])


def test_figure_png_is_small_and_faithful():
    fig = Figure(figsize=(3, 2))
    f.bars([3, 2, 1], list('abc'), ax=fig.subplots())
    full = io.BytesIO()
    fig.savefig(full, format='png', bbox_inches='tight')
    small = f.figure_png(fig)
    a, b = (np.asarray(Image.open(io.BytesIO(x)).convert('RGB'), float) for x in (full.getvalue(), small))
    assert a.shape == b.shape and abs(a - b).mean() < 2 and len(small) < 0.6 * len(full.getvalue())


def test_use_style_sets_only_what_it_says_and_nothing_of_the_method_is_imported():
    code = (
        "import sys, matplotlib; matplotlib.use('Agg'); from trmml_nb.people import figures as f; a = "
        "dict(matplotlib.rcParams); "
        "f.use_style(); b = matplotlib.rcParams; assert {k for k in b if a[k] != b[k]} <= set(f.STYLE), 'more'; "
        "assert b['axes.spines.top'] is False and b['figure.dpi'] == 100; "
        "print([m for m in sys.modules if m.startswith('trmml_nb.') and m not in ('trmml_nb.people', "
        "'trmml_nb.people.figures', 'trmml_nb.data', 'trmml_nb.data.labels', 'trmml_nb.errors', 'trmml_nb.io')])"
    )
    out = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True).stdout
    assert out.strip() == '[]'


# ---- labels


def test_label_strip_marks_and_colours(image):
    ax = f.label_strip(torch.tensor([1, 0, -1], dtype=torch.int8), ['car', 'dog', 'tree'], image, title='t')
    assert [t.get_text() for t in ax.texts] == ['+', '\u2212', '?']
    for patch, value in zip(ax.patches, (1, 0, -1)):
        np.testing.assert_allclose(patch.get_facecolor()[:3], to_rgb(f.LABEL_COLORS[value]))
    assert [t.get_text() for t in ax.get_xticklabels()] == ['car', 'dog', 'tree']


def test_a_label_matrix_of_two_categories_has_room_for_its_key():
    ax = f.label_matrix([[1, 0], [0, -1]], ['dog', 'boat'])
    ax.figure.canvas.draw()  # warned that the axes collapsed
    wide = ax.get_legend().get_window_extent()
    assert wide.x0 >= 0 and wide.x1 <= ax.figure.bbox.width and ax.get_window_extent().width > 100


def test_label_matrix_legend_counts():
    t = np.array([[1, 0, -1], [0, 0, -1]])
    ax = f.label_matrix(t, list('abc'), ['x', 'y'])
    assert [x.get_text() for x in ax.get_legend().get_texts()] == [
        '+ present (1)',
        '\u2212 absent (3)',
        '? unknown (2)',
    ]
    assert [x.get_text() for x in ax.get_yticklabels()] == ['x', 'y'] and len(ax.texts) == 6
    assert not f.label_matrix(np.zeros((40, 3)), list('abc'), legend=False, title='t').texts


def test_label_errors():
    with pytest.raises(f.FigureError, match=r'targets\[1\] is 2'):
        f.label_strip([1, 2], ['a', 'b'])
    with pytest.raises(f.FigureError, match=r'shape \(3,\), expected \[C\] with C = 2'):
        f.label_strip([1, 0, 0], ['a', 'b'])
    with pytest.raises(f.FigureError, match=r'targets\[1, 0\] is nan'):
        f.label_matrix([[1, 0], [np.nan, 0]], ['a', 'b'])
    with pytest.raises(f.FigureError, match=r'expected \[M, C\]'):
        f.label_matrix([1, 0], ['a', 'b'])


# ---- numbers


def test_heatmap_names_and_shape():
    ax = f.heatmap(np.arange(6).reshape(2, 3), ['r0', 'r1'], list('abc'), fmt='.0f', label='count', title='t')
    assert [t.get_text() for t in ax.texts] == list('012345') and [t.get_text() for t in ax.get_yticklabels()] == [
        'r0',
        'r1',
    ]
    with pytest.raises(f.FigureError, match=r'shape \(2, 3\), expected \[3, 2\]'):
        f.heatmap(np.ones((2, 3)), list('abc'), list('ab'))


@pytest.mark.parametrize('band', ['std', 'range'])
def test_curve_mean_and_band(band):
    runs = np.array([[1.0, 2, 3], [3, 2, 7]])
    ax = f.curve([0, 1, 2], runs, 'a', band=band)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [2, 2, 5])
    low, high = ax.collections[0].get_paths()[0].get_extents().intervaly
    want = (2 - 2**0.5, 5 + 8**0.5) if band == 'std' else (1, 7)
    np.testing.assert_allclose((low, high), want)


def test_curve_labels_do_not_overlap():
    ax = None
    for name, value in zip('abcd', (1, 1.001, 1.002, 5)):
        ax = f.curve([0, 1], [value, value], name, ax)
    ax.figure.canvas.draw()
    boxes = sorted((t.get_window_extent().y0, t.get_window_extent().y1, t.get_text()) for t in ax.texts)
    assert [b[2] for b in boxes] == list('abcd') and all(a[1] <= b[0] + 4 for a, b in zip(boxes, boxes[1:]))
    assert len({line.get_color() for line in ax.lines}) == 4


def test_curve_errors():
    with pytest.raises(f.FigureError, match=r'runs has shape \(2, 4\).*T = 3'):
        f.curve([0, 1, 2], np.ones((2, 4)))
    with pytest.raises(f.FigureError, match="band is 'sem'"):
        f.curve([0], [1], band='sem')


def test_bars_order_and_gain():
    ax = f.bars([3, 1, 2], list('abc'), baseline=[4, 1, 0], sort='gain')
    assert [t.get_text() for t in ax.get_yticklabels()] == ['c', 'b', 'a']
    assert [t.get_text() for t in ax.texts] == ['2.0  (+2.0)', '1.0  (+0.0)', '3.0  (-1.0)']
    change = ax.patches[3:]
    np.testing.assert_allclose([(p.get_x(), p.get_width()) for p in change], [(0, 2), (1, 0), (3, 1)])
    np.testing.assert_allclose([p.get_facecolor()[:3] for p in change], [to_rgb(c) for c in (f.GAIN, f.GAIN, f.LOSS)])
    assert [t.get_text() for t in f.bars([3, 1, 2], list('abc')).get_yticklabels()] == ['a', 'c', 'b']
    f.bars([3, np.nan], list('ab')).figure.canvas.draw()
    with pytest.raises(f.FigureError, match=r'values has shape \(3,\) and baseline \(2,\)'):
        f.bars([1, 2, 3], list('abc'), [1, 2])
    with pytest.raises(f.FigureError, match="sort is 'up'"):
        f.bars([1], ['a'], sort='up')


def test_pr_curve_area_is_average_precision():
    from sklearn.metrics import average_precision_score

    r = np.random.default_rng(0)
    y, s = r.random(50) < 0.4, r.random(50)
    hits = y[np.argsort(-s)]
    recall, precision = hits.cumsum() / hits.sum(), hits.cumsum() / np.arange(1, 51)
    ax = f.pr_curve(recall, precision, 'x', interpolated=True)
    x, p = ax.lines[0].get_data()
    assert (np.diff(x) * p[1:]).sum() == pytest.approx(average_precision_score(y, s))
    x, q = ax.lines[1].get_data()
    assert (np.diff(q) <= 1e-12).all() and (q >= p - 1e-12).all()
    with pytest.raises(f.FigureError, match=r'recall has shape \(3,\) and precision \(2,\)'):
        f.pr_curve([0, 1, 1], [1, 1])


# ---- colours


def test_palette_is_seaborns():
    import seaborn as sns

    assert list(f.PALETTE) == [c.lower() for c in sns.color_palette('colorblind').as_hex()]


def test_colour_vision_against_colorspacious():
    # values made with colorspacious 1.1.2: sRGB1+CVD (deuteranomaly, severity 100), and CIELab distances
    np.testing.assert_allclose(
        f.simulate_deuteranopia(f.PALETTE[:3]), [[0.24, 0.41, 0.69], [0.74, 0.66, 0.06], [0.54, 0.53, 0.46]], atol=0.006
    )
    np.testing.assert_allclose(f.color_distances(f.PALETTE[:4])[0], [0, 115.71, 69.3, 114.37], atol=0.02)
    d = f.color_distances(['white', 'black', '#808080'])
    np.testing.assert_allclose(d[0], [0, 100, 100 - 53.585], atol=0.01)


def test_colours_stay_apart():
    for colors, least in (([f.LABEL_COLORS[v] for v in (1, 0, -1)], 50), ([f.GAIN, f.LOSS], 100), (f.PALETTE[:5], 12)):
        d = f.color_distances(f.simulate_deuteranopia(colors))
        assert d[np.triu_indices(len(colors), 1)].min() > least


def test_an_axis_of_percent_ends_at_a_hundred():
    "Numbers may stand beyond it, ticks and line not."
    from trmml_nb.runs.train import per_class_figure

    ap = dict(dog=100.0, cat=99.2, kite=3.0)
    fig = per_class_figure(dict(per_class_AP=ap, zero_shot_per_class_AP=dict(dog=20.0, cat=100.0, kite=1.0)))
    fig.canvas.draw()
    (ax,) = fig.axes
    shown = [float(t.get_text()) for t in ax.get_xticklabels() if t.get_text()]
    assert max(shown) == 100 and min(shown) == 0 and ax.spines['bottom'].get_bounds()[1] <= 100
    assert [t.get_text() for t in ax.texts][:2] == ['100.0  (+80.0)', '99.2  (-0.8)']
