"""The live view: columns by hand, one place on the page, silence elsewhere, and a training that is not changed by
being watched."""

import base64
import io
import re
import sys
import types

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from trmml_nb.towers import views
from trmml_nb.method import contract
from trmml_nb.people import live_view as L
from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.towers.dense import ImageFeatures
from trmml_nb.method.contract import MethodOutput
from trmml_nb.training.trainer import TrainConfig, Trainer

M, C, N, D = 6, 20, 4, 8


class Store(views.Store):
    grid = (2, 2)

    def __init__(self, ids):
        g = torch.Generator().manual_seed(0)
        unit = lambda *shape: F.normalize(torch.randn(*shape, generator=g), dim=-1)
        self.image_ids, self.pooled, self.dense = list(ids), unit(M, D), unit(M, N, D)

    def __len__(self):
        return M

    def batch(self, rows, device=None):
        return ImageFeatures(self.pooled[rows], self.dense[rows], torch.ones(len(rows), N))


class Method(contract.Method):
    "A small method with dropout, so that a stolen random number would be noticed."

    def __init__(self, with_map=True):
        super().__init__()
        g = torch.Generator().manual_seed(1)
        self.queries, self.dropout, self.with_map = (
            nn.Parameter(torch.randn(C, D, generator=g)),
            nn.Dropout(0.5),
            with_map,
        )

    def forward(self, features):
        maps = (self.queries @ features.dense.mT).softmax(-1)
        return MethodOutput(
            (self.dropout(maps @ features.dense) * self.queries).sum(-1), maps if self.with_map else None
        )

    def loss(self, output, targets, known_mask, state):
        value = F.binary_cross_entropy_with_logits(output.logits, targets.clamp(min=0).float())
        return value, dict(classification=value.detach())


@pytest.fixture
def data():
    return scenes_dataset('train', M, size=64)


@pytest.fixture
def store(data):
    return Store(data.image_ids)


def make_trainer(data, store, epochs=3, **options):
    return Trainer(
        Method(**options), store, data.truth, TrainConfig(epochs=epochs, batch_size=2, lr=1e-2, device='cpu')
    )


class Page:
    "A stand-in for the page: what was shown where, in order."

    def __init__(self, monkeypatch):
        self.shown, self.places = [], 0
        module = types.SimpleNamespace(display=self.display)
        monkeypatch.setattr(L, 'import_module', lambda name: module)

    def display(self, content, raw, display_id):
        assert display_id is True
        self.places += 1
        self.update(content, raw)
        return self

    def update(self, content, raw):
        assert raw is True and set(content) == {'text/html', 'image/png', 'text/plain'}
        self.bundle = content
        self.shown.append(base64.b64decode(content['image/png']))


ROWS = [
    dict(
        epoch=0,
        lr=0.1,
        loss=3.0,
        classification=2.0,
        val_mAP=50.0,
        val_mAP_ema=40.0,
        pseudo_precision_present=float('nan'),
        pseudo_recall_present=0.0,
        seconds=1.0,
    ),
    dict(
        epoch=1,
        lr=0.1,
        loss=2.0,
        classification=1.0,
        val_mAP=60.0,
        val_mAP_ema=50.0,
        pseudo_precision_present=0.9,
        pseudo_recall_present=0.2,
        seconds=1.0,
    ),
]


# -- columns and figures


def test_columns():
    assert L.history_columns(ROWS) == (
        ['loss', 'classification'],
        ['val_mAP', 'val_mAP_ema'],
        ['pseudo_precision_present', 'pseudo_recall_present'],
    )
    assert L.history_columns([]) == ([], [], [])
    assert L.history_columns([dict(loss=1.0), dict(loss=1.0, later=2.0)]).loss == ['loss', 'later']


def test_spaced():
    assert [L.spaced(n) for n in (0, 1, 2, 5, 6)] == [[], [0], [0, 1], [0, 1, 2, 3, 4], [0, 1, 2, 4, 5]] and L.spaced(
        100, 3
    ) == [0, 50, 99]


def test_the_figure_draws_the_rows():
    fig = L.live_figure(ROWS, epochs=7, title='now')
    lines = {line.get_label(): line.get_xydata().tolist() for ax in fig.axes for line in ax.lines}
    assert (
        lines['loss'] == [[1, 3], [2, 2]]
        and lines['val'] == [[1, 50], [2, 60]]
        and lines['averaged'] == [[1, 40], [2, 50]]
    )
    # NaN is left out, shares are percent; in the warm-up there is no recall, and 0 is not drawn
    assert lines['precision +'] == [[2, 90]] and lines['recall +'] == [[2, 20]]
    assert [ax.get_title(loc='left') for ax in fig.axes] == ['loss and its parts', 'mAP (%)', 'pseudo-labels (%)']
    assert fig.axes[0].get_yscale() == 'log' and fig.axes[0].get_xlim()[1] > 7 and not plt.get_fignums()
    assert L.live_figure([dict(epoch=0, loss=-1.0)]).axes[0].get_yscale() == 'linear'
    assert [ax.texts[0].get_text() for ax in L.live_figure([]).axes] == ['no epoch yet', 'not measured', 'none yet']


def test_the_axis_of_map_does_not_zoom_to_noise_and_ends_at_a_hundred():
    for values in ([61.0, 61.3], [99.0, 99.9], [0.1, 0.2], [5.0, 98.0], [50.0], [], [float('nan')]):
        low, high = L.percent_limits(values)
        assert 0 <= low and high <= 100 and high - low >= 20
        assert all(low <= v <= high for v in values if v == v)
    axes = L.live_figure(ROWS, zero_shot=30.0).axes
    assert axes[1].get_ylim()[0] < 30 and axes[1].texts[0].get_text() == 'zero-shot'
    order = [t.get_text() for t in axes[1].get_legend().get_texts()]
    crossed = [dict(ROWS[0], val_mAP=10.0), ROWS[1]]
    assert [t.get_text() for t in L.live_figure(crossed).axes[1].get_legend().get_texts()] == order  # they never swap


def test_what_begins_later_changes_no_colour_and_no_place():
    "Precision and recall of the absent ones are there an epoch before those of the present ones."
    nan, names = float('nan'), ('pseudo_precision_present', 'pseudo_recall_present', 'pseudo_precision_absent')
    rows = [dict(zip(('epoch', 'loss', *names), values)) for values in ((0, 3, nan, 0, 0.9), (1, 2, 0.8, 0.1, 0.9))]
    early, late = (L.live_figure(rows[:k]).axes[2] for k in (1, 2))
    signs = lambda ax: {line.get_label(): (line.get_color(), line.get_marker()) for line in ax.lines}
    legend = lambda ax: [t.get_text() for t in ax.get_legend().get_texts()]
    assert signs(early) == signs(late) and len(set(signs(late).values())) == 3 and legend(early) == legend(late)
    assert [len(line.get_xdata()) for line in early.lines] == [0, 0, 1]  # nothing is drawn where nothing was measured
    assert L.live_figure([dict(rows[0], pseudo_precision_absent=nan)]).axes[2].get_legend() is None


def test_every_picture_has_one_size(data, store):
    probe, size = L.make_probe(data, store), lambda *a: Image.open(io.BytesIO(L.fixed_png(L.live_figure(*a)))).size
    frames = [L.Frame(e, 0.5, np.full(N, 0.25)) for e in range(9)]
    assert len({size(ROWS[:k], probe, frames[:n], 9) for k, n in ((0, 0), (1, 1), (2, 3), (2, 9))}) == 1
    with plt.rc_context({'savefig.bbox': 'tight', 'savefig.dpi': 37}):
        assert size(ROWS, probe, frames, 9) == size([], probe, [], 9)
    titles = [ax.get_title() for ax in L.live_figure(ROWS, probe, frames).axes[3:]]
    assert titles == [f'probe: {probe.name}', *(f'epoch {e}: 0.50' for e in (1, 3, 5, 7, 9))]


def test_curves_and_photographs_are_two_pictures(data, store):
    "Together they are the whole figure, and no white stands between photographs."
    probe, frames = L.make_probe(data, store), [L.Frame(e, 0.5, np.full(N, 0.25)) for e in range(2)]
    for followed in (None, probe):
        fig = L.live_figure(ROWS, followed, frames if followed else (), 9)
        whole, bundle = L.drawn_pixels(fig), L.themed_bundle(fig, followed is not None)
        pictures = re.findall(
            r'<img class="(\w+)" alt="[^"]+" src="data:image/png;base64,([^"]+)"', bundle['text/html']
        )
        parts = {name: Image.open(io.BytesIO(base64.b64decode(data))) for name, data in pictures}
        assert list(parts) == ['curves', 'probe'][: 1 + (followed is not None)]
        assert sum(p.height for p in parts.values()) == len(whole) and {p.width for p in parts.values()} == {720}
        assert abs(np.asarray(parts['curves'].convert('RGB')).astype(int) - whole[: parts['curves'].height]).mean() < 2
        if followed is not None:
            strip = np.asarray(parts['probe'].convert('RGBA'))
            clear, drawn = strip[..., 3] == 0, whole[parts['curves'].height :]
            assert 0.1 < clear.mean() < 0.7 and (drawn[clear] > 250).all()
            assert abs(strip[~clear][:, :3].astype(int) - drawn[~clear]).mean() < 6


# -- the probe


def test_probe(data, store):
    c = int(np.flatnonzero(data.truth.any(0) & (data.truth[0] == 0))[0])
    probe = L.make_probe(data, store, label=data.class_names[c])
    row = int(np.flatnonzero(data.truth[:, c])[0])
    assert (probe.c, probe.grid) == (c, (2, 2)) and torch.equal(probe.features.pooled, store.pooled[[row]])
    assert L.make_probe(data, store, 2).c == int(np.flatnonzero(data.truth[2])[0])
    assert L.make_probe(data, store, 1, data.class_names[5]).c == 5  # an absent one, if asked for
    for wrong, message in (
        (dict(label='doog'), "'doog' is none of the categories; close names: dog"),
        (dict(row=6), 'row is 6 of 6 pictures'),
    ):
        with pytest.raises(L.LiveViewError, match=message):
            L.make_probe(data, store, **wrong)
    gone = int(np.flatnonzero(~data.truth.any(0))[0])
    with pytest.raises(L.LiveViewError, match=f'is known to show {data.class_names[gone]}'):
        L.make_probe(data, store, label=data.class_names[gone])


@pytest.mark.parametrize('training', [True, False])
def test_a_frame_is_the_method_and_leaves_it_alone(data, store, training):
    method, probe = Method().train(training), L.make_probe(data, store, 3)
    state, frame = torch.get_rng_state(), L.take_frame(method, probe, 4)
    out = method.eval()(store.batch([3]))
    np.testing.assert_allclose(frame.saliency, out.saliency[0, probe.c].detach())
    assert abs(frame.probability - float(out.probabilities[0, probe.c])) < 1e-6 and frame.epoch == 4
    assert torch.equal(torch.get_rng_state(), state) and L.take_frame(Method(with_map=False), probe).saliency is None
    assert L.take_frame(method.train(training), probe) and method.training == training


# -- while it trains


def test_watching_changes_nothing(data, store):
    plain, watched = make_trainer(data, store), make_trainer(data, store)
    plain.fit(progress=False)
    watched.fit(progress=False, on_epoch=L.LiveView(watched, L.make_probe(data, store), show=False))
    assert all(
        torch.equal(a, b) for a, b in zip(plain.final.state_dict().values(), watched.final.state_dict().values())
    )


def test_one_place_is_drawn_anew(data, store, monkeypatch):
    page, trainer = Page(monkeypatch), make_trainer(data, store)
    live = L.LiveView(trainer, L.make_probe(data, store), show=True, share=1.0)
    live.ended -= 1e6  # long ago
    monkeypatch.setattr(
        L, 'perf_counter', iter(range(0, 10_000, 5)).__next__
    )  # a clock: drawing takes as long as anything else
    trainer.fit(progress=False, on_epoch=live)
    assert page.places == 1 and len(page.shown) == live.drawn == 4 and len(set(page.shown)) == 4
    assert page.shown[0] == L.fixed_png(L.live_figure([], live.probe, [], 3, 'epoch 0 of 3'))  # before the first epoch
    assert len({Image.open(io.BytesIO(png)).size for png in page.shown}) == 1
    assert (
        page.shown[-1] == L.fixed_png(live.figure())
        and live.rows == trainer.history
        and [f.epoch for f in live.frames] == [0, 1, 2]
    )


def test_drawing_keeps_to_its_share(data, store, monkeypatch):
    page, trainer, now = Page(monkeypatch), make_trainer(data, store, epochs=12), [0.0]
    monkeypatch.setattr(L, 'perf_counter', lambda: now[0])
    live = L.LiveView(trainer, show=True, share=0.25)
    page.shown.clear()  # what stands there before the first epoch
    live.drawn, draw = 0, live.draw

    def slow():
        draw()
        now[0] += 1.0  # a drawing takes a second

    def epoch(row):
        now[0] += 1.0  # and an epoch another
        live(row)

    monkeypatch.setattr(live, 'draw', slow)
    trainer.fit(progress=False, on_epoch=epoch)
    assert live.drawn == len(page.shown) == 4  # epochs 1, 5 and 9, four seconds apart, and always the last


def test_silent_where_there_is_no_notebook(data, store, capfd):
    trainer = make_trainer(data, store)
    live = L.LiveView(trainer, L.make_probe(data, store))
    assert not L.in_notebook() and live.show is False
    trainer.fit(progress=False, on_epoch=live)
    assert capfd.readouterr() == ('', '') and live.handle is None and live.drawn == 0 and len(live.frames) == 3
    assert len(live.figure().axes) == 9 and live.figure().get_suptitle() == 'epoch 3 of 3'


def test_in_notebook_asks_for_a_kernel(monkeypatch):
    for shell, want in (
        (None, False),
        (types.SimpleNamespace(), False),
        (types.SimpleNamespace(kernel=object()), True),
    ):
        monkeypatch.setitem(sys.modules, 'IPython', types.SimpleNamespace(get_ipython=lambda: shell))
        assert L.in_notebook() is want
    monkeypatch.delitem(sys.modules, 'IPython')
    assert L.in_notebook() is False


def test_a_resumed_run_keeps_its_curve(data, store, tmp_path):
    first = make_trainer(data, store)
    first.train_epoch()
    first.save_checkpoint(tmp_path / 'c.pt')
    second = make_trainer(data, store).load_checkpoint(tmp_path / 'c.pt')
    live = L.LiveView(second)
    second.fit(progress=False, on_epoch=live)
    assert [row['epoch'] for row in live.rows] == [0, 1, 2]
    with pytest.raises(L.LiveViewError, match='share is 0, expected'):
        L.LiveView(second, share=0)
