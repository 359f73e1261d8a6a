"""Thresholds and probabilities: the line, the shifts, the thresholds, and folds by several models."""

import numpy as np
import pytest
from sklearn.model_selection import KFold

from trmml_nb.training.metrics import mean_average_precision
from trmml_nb.yours.calibration import (
    CalibrationError,
    PlattScaling,
    assumed_targets,
    calibration_error,
    careful_thresholds,
    carried_over,
    cross_fitted,
    expected_precision,
    fit_calibration,
    folds,
    never_absent,
    noted_share,
    on_common_scale,
    own_shifts,
    precise_threshold,
    reliability,
)


def test_reliability_equals_scikit_learn():
    from sklearn.calibration import calibration_curve

    rng = np.random.default_rng(0)
    p, t = rng.random((300, 3)), rng.integers(-1, 2, (300, 3))
    known = t != -1
    observed, predicted = calibration_curve(t[known], p[known], n_bins=7)
    table = reliability(p, t, 7)
    assert (
        np.allclose(table['observed'], observed)
        and np.allclose(table['predicted'], predicted)
        and table['count'].sum() == known.sum()
    )
    assert calibration_error(np.array([[0.9], [0.9]]), np.array([[1], [0]])) == pytest.approx(0.4)


def test_known_line_is_found_and_order_kept():
    rng = np.random.default_rng(1)
    z = rng.normal(0, 2, (5000, 3))
    t = (rng.random(z.shape) < 1 / (1 + np.exp(-(z - [0, 1, -1])))).astype(int)
    fit = fit_calibration(3 * z, t)
    assert fit.slope == pytest.approx(1 / 3, abs=0.02) and np.allclose(fit.shift, [0, -1, 1], atol=0.15)
    assert (np.argsort(fit(z), 0) == np.argsort(z, 0)).all() and calibration_error(fit(3 * z), t) < 0.02


@pytest.mark.parametrize('t', [np.full((20, 2), -1), np.ones((20, 2)), np.zeros((20, 2))])
def test_nothing_to_calibrate_with_changes_nothing(t):
    fit = fit_calibration(np.random.default_rng(0).normal(size=t.shape), t.astype(int))
    assert fit.slope == 1 and not np.any(fit.shift)


def test_shift_by_hand():
    "The best shift solves 30 * p = 24 - s: Newton's answer against a search."
    s = own_shifts(np.zeros(30), np.arange(30) < 24, np.zeros(30, int), 1)[0]
    grid = np.linspace(0, 2, 200_001)
    assert s == pytest.approx(grid[np.argmin(abs(24 - 30 / (1 + np.exp(-grid)) - grid))], abs=1e-4)


def test_folds():
    parts = list(folds(7, 3, seed=1))
    assert sorted(np.concatenate([j for _, j in parts])) == list(range(7)) and all(
        len(a) + len(b) == 7 for a, b in parts
    )
    with pytest.raises(CalibrationError, match='4 folds of 3 images'):
        list(folds(3, 4))


@pytest.mark.parametrize('count, parts', [(7, 3), (10, 5), (5, 5), (23, 4)])
def test_folds_are_cut_as_scikit_learn_cuts_them(count, parts):
    "The same parts as KFold's, of rows in a drawn order; groups of one row change nothing."
    order = np.random.default_rng(8).permutation(count)
    for (_, judge), (_, cut) in zip(folds(count, parts, seed=8), KFold(parts).split(order), strict=True):
        assert judge.tolist() == sorted(order[cut])
    alone = folds(count, parts, seed=8, groups=np.arange(count))
    assert [j.tolist() for _, j in alone] == [j.tolist() for _, j in folds(count, parts, seed=8)]
    rng = np.random.default_rng(0)
    noise, labels = rng.normal(size=(60, 3)), rng.integers(0, 2, (60, 3))
    honest, yes = cross_fitted(noise, labels)
    assert honest.shape == yes.shape == (60, 3) and yes.dtype == bool
    assert abs(honest - 0.5).mean() < abs(1 / (1 + np.exp(-noise)) - 0.5).mean(), 'noise is worth a coin'


def loss(z, t, fit):
    p = np.clip(fit(z), 1e-9, 1 - 1e-9)
    return -np.log(np.where(t == 1, p, 1 - p)).mean()


# known labels -> how far the loss may be from the true line's: where only a shift is wrong, where the slope is
NEAR = {12: (0.05, 0.15), 30: (0.04, 0.06), 100: (0.015, 0.02), 1000: (0.002, 0.003)}


@pytest.mark.parametrize('known', NEAR)
@pytest.mark.parametrize('scale, shift', [(1, 0), (1, 4), (2.5, 0), (0.5, 0)])
def test_few_labels_do_little_harm_and_many_find_the_line(known, scale, shift):
    "Mean over 15 draws, on labels that the fit did not see."
    found, ideal = [], []
    for seed in range(15):
        rng = np.random.default_rng(seed)
        true = rng.normal(-1, 2, (known + 2000, 1))
        t = (rng.random(true.shape) < 1 / (1 + np.exp(-true))).astype(int)
        told = scale * true + shift
        found.append(loss(told[known:], t[known:], fit_calibration(told[:known], t[:known])))
        ideal.append(loss(true[known:], t[known:], PlattScaling()))
    assert np.mean(found) - np.mean(ideal) < NEAR[known][scale != 1]


def test_a_dozen_labels_in_the_right_order_are_no_certainty():
    "They could come from a steep line and from a flat one; the next label that is wrong must not cost the world."
    z = np.r_[np.linspace(0.5, 1.5, 5), np.linspace(-1.5, -0.5, 7)][:, None]
    fit = fit_calibration(z, (z > 0).astype(int))
    assert 0.8 < fit.slope < 2 and 0.02 < fit(np.array([[-1.0]])).item() < 0.5 < fit(np.array([[1.0]])).item() < 0.98


def biased_folds(seed, images=300, categories=4, parts=3):
    "Logits of all images by a model per fold; a model thinks a category as rare as it was in the folds it saw."
    rng = np.random.default_rng(seed)
    t = (rng.random((images, categories)) < [0.02, 0.05, 0.1, 0.3]).astype(int)
    fold = np.arange(images) % parts
    rate = np.stack([t[fold != k].mean(0) for k in range(parts)])
    logit = np.log((rate + 0.01) / (1 - rate)) * 3
    signal = rng.normal(3 * t - 2, 1)
    return t, fold, np.stack([(1 + 0.3 * k) * (signal + logit[k]) for k in range(parts)])


def test_folds_on_one_scale_are_judged_as_one_model_is():
    "Side by side, good models look worse than they are; on one scale, as good as each is on all images."
    apart, together, each = [], [], []
    for seed in range(30):
        t, fold, logits = biased_folds(seed)
        rows = np.arange(len(t))
        mAP = lambda z: mean_average_precision(z, t)[0]
        apart.append(mAP(logits[fold, rows]))
        together.append(mAP(on_common_scale(logits)[fold, rows]))
        each.append(np.mean([mAP(z) for z in logits]))
    assert np.mean(apart) < np.mean(each) - 2 and abs(np.mean(together) - np.mean(each)) < 0.5


def test_common_scale_by_hand():
    "Means 1 and 3 become 2, spreads 1 and 3 become 2; what never varies stays at the mean; one model is left alone."
    told = np.array([[[0.0], [2.0]], [[0.0], [6.0]]])
    assert np.allclose(on_common_scale(told), [[[0], [4]], [[0], [4]]])
    assert np.allclose(on_common_scale(np.array([[[1.0], [1.0]], [[2.0], [4.0]]])), [[[2], [2]], [[1.5], [2.5]]])
    assert np.allclose(on_common_scale(told[:1]), told[:1])


def test_calibration_follows_the_model_that_is_kept():
    "The kept model's logits have other means; shifted by these, its probabilities are those of the held-out ones."
    rng = np.random.default_rng(0)
    held, fit = rng.normal(size=(50, 3)), PlattScaling(0.7, np.array([0.0, 1.0, -1.0]), np.array([1.0, 0.5, 1.0]))
    final = held + [2.0, 0.0, -3.0]
    assert np.allclose(carried_over(fit, held, final)(final), fit(held))


def test_share_that_is_noted_and_assumed_labels():
    rng = np.random.default_rng(0)
    truth = rng.random((6000, 2)) < 0.3
    z = rng.normal(10 * truth - 5, 1)
    for share in (0.2, 0.7):
        targets = np.where(truth & (rng.random(truth.shape) < share), 1, -1)
        targets[:, 1] = np.where(rng.random(6000) < 0.5, truth[:, 1], -1)  # the second column knows both
        assumed = assumed_targets(targets)
        assert never_absent(targets).tolist() == [True, False] and (assumed[:, 1] == targets[:, 1]).all()
        labelled = (targets != -1).any(1)
        assert (assumed[~labelled] == -1).all() and (assumed[labelled, 0] >= 0).all()
        noted = (targets[labelled, 0] == 1).sum() / truth[labelled, 0].sum()
        fit = fit_calibration(z, assumed)
        fit.noted = noted_share(fit(z), targets)
        assert fit.noted[1] == 1 and fit.noted[0] == pytest.approx(noted, abs=0.05)
        found = fit(z[labelled])[:, 0]
        there = truth[labelled, 0]
        assert found[there].mean() > 0.75 and found[~there].mean() < 0.1 and found.max() <= 1


def test_careful_thresholds_are_pulled_and_keep_their_precision():
    "A rare category follows all; a common one follows itself; on fresh labels the precision asked for is nearly kept."
    rng = np.random.default_rng(0)
    truth = (rng.random((4000, 6)) < [0.3, 0.3, 0.3, 0.3, 0.02, 0.02]).astype(int)
    z = rng.normal(4 * truth - 3, 1.5)
    learn, fresh = slice(0, 600), slice(600, 4000)
    fit = fit_calibration(z[learn], truth[learn])
    chosen = careful_thresholds(fit(z[learn]), truth[learn])
    yes = fit(z[fresh]) >= chosen
    assert truth[fresh][yes].mean() > 0.85
    alone = careful_thresholds(fit(z[learn]), truth[learn], strength=0)
    together = careful_thresholds(fit(z[learn]), truth[learn], strength=1e9)
    assert np.ptp(together) < 1e-6 and (abs(chosen - together) <= abs(alone - together) + 1e-9).all()
    assert careful_thresholds(np.array([[0.9], [0.3]]), np.array([[1], [-1]])).tolist() == [0.5]
    assert precise_threshold(np.array([0.8, 0.8, 0.1]), np.array([True, False, True]), 0.6) == pytest.approx(0.1)
    assert precise_threshold(np.array([]), np.array([], bool), 0.6) == 0.99


def test_expected_precision_is_that_of_a_simulation():
    "A share drawn from what is known, then so many proposals drawn from it; and the ends of what can be known."
    p, proposed = np.tile([0.9, 0.6, 0.7], (12, 1)), np.zeros((12, 3), bool)
    proposed[:, 0], proposed[:3, 1] = True, True
    share, low, high = expected_precision(p, proposed, np.array([3, 0, 5]), np.array([4, 7, 5]), strength=10)
    rng = np.random.default_rng(0)
    for c, (hold, fail, count) in enumerate([(3 + 9, 1 + 1, 12), (0 + 6, 7 + 4, 3)]):
        drawn = rng.binomial(count, rng.beta(hold, fail, 200_000)) / count
        assert share[c] == pytest.approx(drawn.mean(), abs=0.003)
        assert (drawn < low[c]).mean() <= 0.025 <= (drawn <= low[c]).mean() + 0.002
        assert (drawn > high[c]).mean() <= 0.027 and (drawn >= high[c]).mean() >= 0.025
    assert np.isnan([share[2], low[2], high[2]]).all()  # nothing is proposed
    many = expected_precision(p, proposed, np.full(3, 8000), np.full(3, 10_000))[0]
    assert abs(many[:2] - 0.8).max() < 1e-3
