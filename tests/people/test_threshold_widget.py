"""Thresholds: counts against a plain comparison, and what is saved."""

import numpy as np
import pytest

from trmml_nb.errors import ViewError

pytest.importorskip('anywidget', reason='the widgets need pip install "trmml_nb[notebooks]"')
from trmml_nb.people.threshold_widget import ThresholdWidget, threshold_counts  # noqa: E402

R = np.random.default_rng(0)
P, T = R.random((90, 3)), R.integers(-1, 2, (90, 3))


@pytest.mark.parametrize('own', [[0.5, 0.1, 0.9], [0.4999, 1e-4, 0.99999]])
def test_counts_are_those_of_a_plain_comparison(own):
    places, counts, at = threshold_counts(P, T, own)
    assert (np.diff(places, axis=1) > 0).all() and [places[c, at[c]] for c in range(3)] == own
    for c in range(3):
        for k in (0, 1, int(at[c]), 250, 499, 500):
            said = P[:, c] >= places[c, k]
            assert counts[c, :, k].tolist() == [(said & (T[:, c] == kind)).sum() for kind in (1, 0, -1)]


def test_other_blanks_and_shapes_that_do_not_fit():
    other = np.array([[0.9, np.nan, 0.1], [0.7, 0.2, np.nan]])
    counts = threshold_counts(P, T, [0.5] * 3, other)[1]
    assert counts[:, 2, 0].tolist() == [2, 1, 1] and counts[:, 2, 250].tolist() == [2, 0, 0]
    with pytest.raises(ViewError, match='shape'):
        threshold_counts(P, T, [0.5])


def test_saving_is_said_also_when_it_fails():
    def full(thresholds):
        raise OSError('no space left')

    live = ThresholdWidget(P, T, ['a', 'b', 'c'], [0.5] * 3, full)
    live.move('b', 0.25)
    live.event = dict(kind='save', n=1)
    assert live.said == 'no space left' and live.moved == [None, 125, None]
    assert np.isnan(ThresholdWidget(P, np.zeros_like(T), ['a', 'b', 'c'], [0.5] * 3).measures()['recall'])
    silent = ThresholdWidget(P, T, ['a', 'b', 'c'], [0.5] * 3)
    silent.save()
    assert 'keep=' in silent.said and silent.still()[:4] == b'\x89PNG'
    with pytest.raises(ViewError, match="'d' is none"):
        silent.category = 'd'


@pytest.mark.parametrize('odd', [float('nan'), -0.1, 1.1, 1e308, 'x', None])
def test_a_line_goes_to_no_place_that_is_no_probability(odd):
    live = ThresholdWidget(P, T, ['a', 'b', 'c'], [0.5] * 3)
    with pytest.raises(ViewError, match='expected a probability from 0 to 1'):
        live.move('a', odd)
    live.move('a', np.float32(0.25))
    assert live.thresholds == [0.25, 0.5, 0.5]
