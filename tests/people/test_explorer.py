"""The explorer: cosines, orders, drift and company by hand; nearness against plain loops; the view without a browser."""

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from trmml_nb.towers import views
from trmml_nb.method import contract
from trmml_nb.people import explorer as X
from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.towers.dense import ImageFeatures
from trmml_nb.people.inspector import Inspection
from trmml_nb.method.contract import MethodOutput
from trmml_nb.method.prototypes import PrototypeMemory

M, C, N, D = 7, 20, 16, 6


def unit(generator, *shape):
    return F.normalize(torch.randn(*shape, generator=generator), dim=-1)


class Method(contract.Method):
    "A method with a prototype memory: regions by softmax, as the contract has it."

    def __init__(self, texts):
        super().__init__()
        self.texts, self.scale = texts, nn.Parameter(torch.tensor(3.0))
        self.memory = PrototypeMemory(texts)

    def prototypes(self):
        return self.memory.prototypes, self.texts

    def forward(self, features):
        maps = (self.scale * self.texts @ features.dense.mT).softmax(-1)
        region = maps @ features.dense
        return MethodOutput((region * self.texts).sum(-1), maps, features=dict(region=region))


class Store(views.Store):
    grid = (4, 4)

    def __init__(self, ids, generator):
        self.image_ids, self.pooled, self.dense = list(ids), unit(generator, M, D), unit(generator, M, N, D)

    def __len__(self):
        return M

    def batch(self, rows, device=None):
        return ImageFeatures(self.pooled[rows], self.dense[rows], None)


@pytest.fixture
def inspection():
    g = torch.Generator().manual_seed(0)
    data = scenes_dataset('test', M, size=64)
    method, store = Method(unit(g, C, D)).eval(), Store(data.image_ids, g)
    method.memory.update(unit(g, 5, C, D), torch.rand(5, C, generator=g) < 0.5)
    p = method(store.batch(list(range(M)))).logits.sigmoid().detach().numpy()
    return Inspection(method, store, data, method.texts, p, 'run')


# -- resemblance and order


def test_similarity_is_the_cosine():
    r = np.random.default_rng(0)
    a, b = r.normal(size=(4, 3)), r.normal(size=(5, 3))
    want = [[x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in b] for x in a]
    np.testing.assert_allclose(X.similarity(a, torch.tensor(b)), want, rtol=1e-6)
    assert (X.similarity(np.zeros((2, 3)), b) == 0).all()  # a row of zeros resembles nothing
    with pytest.raises(X.ExplorerError, match=r'shapes \(4, 3\) and \(5, 2\)'):
        X.similarity(a, b[:, :2])


@pytest.mark.parametrize('seed', range(4))
def test_order_finds_a_hidden_line_and_hidden_families(seed):
    r = np.random.default_rng(seed)
    place = r.permutation(9)
    line = np.exp(-abs(place[:, None] - place[None]) / 2.0)
    found = place[X.serial_order(line)]
    assert found.tolist() in (list(range(9)), list(range(9))[::-1])
    family = r.permutation([0] * 4 + [1] * 5)
    found = family[X.serial_order(np.where(family[:, None] == family, 0.8, 0.1))]
    assert (np.diff(found) != 0).sum() == 1  # one border between the families
    assert (X.serial_order(line) == X.serial_order(line.copy())).all()
    line[0, 0] = np.nan  # the diagonal does not count
    assert sorted(X.serial_order(line)) == list(range(9))


def test_order_refuses_and_small_ones():
    assert X.serial_order(np.eye(2)).tolist() == [0, 1] and sorted(X.serial_order(np.ones((4, 4)))) == [0, 1, 2, 3]
    with pytest.raises(X.ExplorerError, match=r'shape \(2, 3\), expected \[C, C\]'):
        X.serial_order(np.ones((2, 3)))
    with pytest.raises(X.ExplorerError, match='finite'):
        X.serial_order(np.array([[1, np.nan], [0, 1.0]]))


def test_the_four_matrices():
    r = np.random.default_rng(1)
    v, t = r.normal(size=(5, 4)), r.normal(size=(5, 4))
    got = X.similarities(v, t)
    assert np.isnan(np.diag(got['visual-visual'])).all() and np.isfinite(got['visual (rows) - text']).all()
    np.testing.assert_allclose(got['visual (rows) - text'], X.similarity(v, t))
    np.testing.assert_allclose(got['visual-visual minus text-text'], got['visual-visual'] - got['text-text'])
    fig = X.similarity_figure(v, t, list('abcde'))
    assert [ax.get_title() for ax in fig.axes[:4]] == list(got)
    order = X.serial_order(got['visual-visual'])
    assert [x.get_text() for x in fig.axes[0].get_yticklabels()] == [list('abcde')[c] for c in order]
    drawn = fig.axes[1].collections[0].get_array().reshape(5, 5)
    np.testing.assert_allclose(drawn, got['visual (rows) - text'][np.ix_(order, order)], rtol=1e-6)


def test_matrix_figure_shares_a_scale_and_refuses():
    a, b = np.arange(4.0).reshape(2, 2), 10 * np.ones((2, 2))
    fig = X.matrix_figure({'a': a, 'b': b, 'd': a - b}, ['x', 'y'], signed=['d'], shared=True)
    limits = [ax.collections[0].get_clim() for ax in fig.axes[:3]]
    assert limits[0] == limits[1] == (0, 10) and limits[2] != limits[0] and not fig.axes[3].axison
    with pytest.raises(X.ExplorerError, match='5 matrices given, expected one to four'):
        X.matrix_figure({str(i): a for i in range(5)}, ['x', 'y'])
    with pytest.raises(X.ExplorerError, match=r"'a' has shape \(2, 2\), expected \(3, 3\)"):
        X.matrix_figure({'a': a}, ['x', 'y', 'z'])


def test_nearest_pairs():
    s = np.array([[9, 0.1, 0.5], [0.3, 9, 0.8], [0.5, 0.8, 9]])
    got = X.nearest_pairs(s, ['a', 'b', 'c'], 2)
    assert (
        got.values.tolist() == [['b', 'c', 0.8], ['a', 'c', 0.5]]
        and X.nearest_pairs(s, ['a', 'b', 'c']).similarity[2] == 0.2
    )


# -- prototypes over time


def test_prototypes_and_their_history_are_copies(inspection):
    method = inspection.method
    visual, texts = X.prototypes_of(method)
    np.testing.assert_allclose(visual, method.memory.prototypes)
    history = X.PrototypeHistory(method)
    with torch.no_grad():
        method.memory.prototypes.mul_(-1)
    history.update(dict(epoch=0, loss=1.0))
    assert history.epochs == [0, 1] and history.prototypes.shape == (2, C, D)
    np.testing.assert_allclose(history.prototypes[0], visual)
    np.testing.assert_allclose(history.prototypes[1], -visual)
    assert (texts == inspection.texts.numpy()).all()
    with pytest.raises(X.ExplorerError, match='Linear keeps no prototypes'):
        X.PrototypeHistory(nn.Linear(1, 1))


def test_drift_against_arctan():
    "Unit vectors turned by known angles; lengths do not matter."
    angles = np.radians([[0, 10], [30, 10], [20, 100]])  # [E, C]
    p = 3 * np.stack([np.cos(angles), np.sin(angles)], -1)
    got = X.drift(p, ['a', 'b'], [0, 1, 2])
    np.testing.assert_allclose(
        got.pivot(index='epoch', columns='category', values='from_start'), [[0, 0], [30, 0], [20, 90]], atol=1e-5
    )
    np.testing.assert_allclose(
        got.pivot(index='epoch', columns='category', values='step'), [[0, 0], [30, 0], [10, 90]], atol=1e-5
    )
    with pytest.raises(X.ExplorerError, match=r'\(3, 2, 2\), expected \[E, C, d\] with C = 1'):
        X.drift(p, ['a'])


def test_drift_figure_names_the_chosen():
    r = np.random.default_rng(0)
    table = X.drift(r.normal(size=(4, 6, 5)), list('abcdef'))
    last = table[table.epoch == 3].set_index('category').from_start.sort_values(ascending=False)
    named = lambda fig: {x.get_text() for x in fig.axes[0].texts}
    assert named(X.drift_figure(table)) == {*last.index[:2], *last.index[-2:]} and named(
        X.drift_figure(table, ['c'])
    ) == {'c'}
    with pytest.raises(X.ExplorerError, match="'cc' is not in the table; close names: c"):
        X.drift_figure(table, ['cc'])
    assert len(X.drift_figure(X.drift(r.normal(size=(1, 3, 2)), list('abc'))).axes) == 2  # before the first epoch


# -- neighbours


def test_nearness_against_a_loop(inspection):
    near, store, method = X.nearness(inspection), inspection.store, inspection.method
    p = F.normalize(method.memory.prototypes, dim=-1)
    for i in range(M):
        out = method(store.batch([i]))
        for c in range(C):
            patches = [float(store.dense[i, n] @ p[c]) for n in range(N)]
            assert abs(near.image[i, c] - float(store.pooled[i] @ p[c])) < 1e-5
            assert abs(near.patch[i, c] - max(patches)) < 1e-5 and near.place[i, c] == int(np.argmax(patches))
            region = F.normalize(out.features['region'][0, c], dim=-1)
            assert abs(near.region[i, c] - float(region @ p[c])) < 1e-5
    flipped = X.nearness(inspection, -method.memory.prototypes)
    np.testing.assert_allclose(flipped.image, -near.image, atol=1e-6)


def test_a_category_without_a_region_is_as_far_as_can_be(inspection, monkeypatch):
    """Where a method gives only some categories of an image a region, those are as near as they were; the others stand
    at -1."""
    whole, plain = X.nearness(inspection), type(inspection.method).forward

    def pruned(self, features):
        output = plain(self, features)
        kept = torch.stack([torch.arange(C).roll(k)[:5] for k in range(len(features.dense))])
        return MethodOutput(
            output.logits,
            output.saliency,
            features=dict(kept=kept, region=torch.stack([r[k] for r, k in zip(output.features['region'], kept)])),
        )

    monkeypatch.setattr(type(inspection.method), 'forward', pruned)
    some = X.nearness(inspection).region
    there = np.zeros((M, C), bool)
    for k in range(M):
        there[k, torch.arange(C).roll(k)[:5]] = True
    np.testing.assert_allclose(some[there], whole.region[there], atol=1e-6)
    assert (some[~there] == -1).all()


def test_nearest_is_the_top(inspection):
    near = X.nearness(inspection)
    got = X.nearest(near, 'patch', 4, 3)
    assert (
        got.row.tolist() == np.argsort(-near.patch[:, 4])[:3].tolist()
        and got.patch.tolist() == near.place[got.row, 4].tolist()
    )
    assert (
        got.similarity.is_monotonic_decreasing
        and (X.nearest(near, 'region', 4).patch == -1).all()
        and len(X.nearest(near, 'image', 0, 99)) == M
    )
    for wrong in (dict(kind='images', c=0), dict(kind='image', c=20)):
        with pytest.raises(X.ExplorerError, match='expected one of image, region, patch and 0 to 19'):
            X.nearest(near, **wrong)


def test_nearest_figure_shows_pictures_and_truth(inspection):
    near, data = X.nearness(inspection), inspection.dataset
    fig = X.nearest_figure(inspection, near, data.class_names[2], 3)
    row = X.nearest(near, 'image', 2, 1).row[0]
    assert len(fig.axes) == 9 and fig.axes[0].get_title().endswith('+' if data.truth[row, 2] == 1 else '\u2212')
    assert (
        len(X.nearest_figure(inspection, near, 0, 50).axes) == 3 * M
        and len(X.nearest_figure(inspection, near, 0, 2, ['patch']).axes) == 2
    )
    with pytest.raises(X.ExplorerError, match="label 'carr' is none of the categories; close names: car"):
        X.nearest_figure(inspection, near, 'carr')


# -- company


def test_co_occurrence_against_counting():
    r = np.random.default_rng(0)
    t = r.choice([1, 0, -1], (60, 4), p=[0.4, 0.3, 0.3])
    got = X.co_occurrence_matrix(t)
    for c, k in np.ndindex(4, 4):
        both, seen = ((t[:, c] == 1) & (t[:, k] == 1)).sum(), ((t[:, c] == 1) & (t[:, k] != -1)).sum()
        assert np.isnan(got[c, k]) if c == k else abs(got[c, k] - both / seen) < 1e-12
    p = r.random((30, 3))
    np.testing.assert_allclose(X.co_occurrence_matrix(p)[0, 1], (p[:, 0] * p[:, 1]).sum() / p[:, 0].sum())
    assert np.isnan(X.co_occurrence_matrix([[0, 1]])[0, 1])  # never seen: not zero
    with pytest.raises(X.ExplorerError, match='runs from 0 to 2'):
        X.co_occurrence_matrix([[0, 2]])


def test_companions_figure_draws_each_pair(inspection):
    fig = X.companions_figure(inspection.dataset.truth, inspection.probabilities, inspection.dataset.class_names)
    x, y = fig.axes[3].lines[1].get_data()
    true, said = (X.co_occurrence_matrix(v) for v in (inspection.dataset.truth, inspection.probabilities))
    np.testing.assert_allclose(x, true.ravel())
    np.testing.assert_allclose(y, said.ravel())


# -- the view


def test_the_view_follows_its_menus(inspection):
    pytest.importorskip('ipywidgets')
    history = X.PrototypeHistory(inspection.method)
    history.update(dict(epoch=0))
    box = X.explore(inspection, history, 'nearest')
    first = bytes(box.picture.value)
    assert first.startswith(b'\x89PNG') and not box.controls['category'].disabled
    box.controls['category'].value = inspection.dataset.class_names[3]
    second = bytes(box.picture.value)
    box.controls['view'].value = 'resemblance'
    assert len({first, second, bytes(box.picture.value)}) == 3 and box.controls['category'].disabled
    box.controls['view'].value, box.controls['category'].value = 'nearest', inspection.dataset.class_names[0]
    assert bytes(box.picture.value) == first
    with pytest.raises(X.ExplorerError, match="view is 'x', expected one of resemblance"):
        X.view_figure('x', 'cat', inspection, None, history)


def test_without_the_truth_and_without_the_extra(inspection, monkeypatch):
    pytest.importorskip('ipywidgets')
    from dataclasses import replace

    blind = replace(inspection, dataset=replace(inspection.dataset, truth=None))
    assert 'company' not in X.explore(blind, X.PrototypeHistory(blind.method)).controls['view'].options
    monkeypatch.setitem(sys.modules, 'ipywidgets', None)
    with pytest.raises(ImportError, match=r"pip install 'trmml_nb\[notebooks\]'"):
        X.explore(inspection, X.PrototypeHistory(inspection.method))
