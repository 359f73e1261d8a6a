"""metrics against scikit-learn, torchmetrics, torch and hand-worked values."""

import json
import time

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, precision_recall_curve, precision_recall_fscore_support

from trmml_nb.training import checks, decisions, localisation
from trmml_nb.training import metrics as m


def random_case(seed, M=200, C=7, ties=None, unknown=0.0):
    r = np.random.default_rng(seed)
    truth = (r.random((M, C)) < r.uniform(0.05, 0.6, C)).astype(np.int8)
    scores = r.normal(size=(M, C)) + truth
    if ties:
        scores = np.round(scores * ties) / ties
    truth[r.random((M, C)) < unknown] = -1
    return scores, truth


def reference_ap(scores, truth):
    keep = truth != -1
    return 100 * average_precision_score(truth[keep], scores[keep]) if (truth == 1).any() else np.nan


# ---- average precision


def test_hand_worked_ranking():
    assert m.average_precision([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [1, 0, 1, 0, 0, 1]) == pytest.approx(
        100 * (1 + 2 / 3 + 3 / 6) / 3
    )
    # the envelope lifts nothing here but the last: precisions 1, 2/3, 1/2 already fall
    assert m.average_precision([0.9, 0.8, 0.7, 0.6], [0, 1, 1, 1], interpolated=True) == pytest.approx(75)
    assert m.average_precision([0.9, 0.8, 0.7, 0.6], [0, 1, 1, 1]) == pytest.approx(100 * (1 / 2 + 2 / 3 + 3 / 4) / 3)


@pytest.mark.parametrize(
    'seed,ties,unknown', [(0, None, 0), (1, None, 0.5), (2, 2, 0), (3, 2, 0.5), (4, 1, 0.9), (5, 0.3, 0.3)]
)
def test_ap_equals_sklearn(seed, ties, unknown):
    scores, truth = random_case(seed, ties=ties, unknown=unknown)
    mean, per_class = m.mean_average_precision(scores, truth)
    want = [reference_ap(scores[:, c], truth[:, c]) for c in range(truth.shape[1])]
    np.testing.assert_allclose(per_class, want, atol=1e-10)
    assert mean == pytest.approx(np.nanmean(want), abs=1e-10)


@pytest.mark.parametrize('unknown,ties', [(0, None), (0.4, None), (0.4, 2)])
def test_map_equals_torchmetrics(unknown, ties):
    from torchmetrics.classification import MultilabelAveragePrecision

    scores, truth = random_case(6, ties=ties, unknown=unknown)
    probabilities = 1 / (1 + np.exp(-scores))
    metric = MultilabelAveragePrecision(truth.shape[1], average=None, ignore_index=-1)
    want = metric(torch.tensor(probabilities), torch.tensor(truth).long())
    np.testing.assert_allclose(m.mean_average_precision(probabilities, truth)[1], 100 * want.numpy(), atol=2e-4)


def test_ap_edges():
    truth = np.array([0, 1, 0, 1])
    assert m.average_precision(np.ones(4), truth) == pytest.approx(50)  # constant scores: the share of positives
    assert m.average_precision([4, 3, 2, 1], [0, 0, 0, 1]) == pytest.approx(25)  # one positive, ranked last
    assert m.average_precision([4, 3, 2, 1], [1, 1, 1, 1]) == pytest.approx(100)  # all positive
    assert np.isnan(m.average_precision([4, 3, 2, 1], [0, -1, 0, 0]))
    assert np.isnan(m.average_precision([4, 3], [-1, -1]))
    assert m.average_precision([5, 4], [-1, 1]) == pytest.approx(100)  # the unknown entry above does not count
    mean, per_class = m.mean_average_precision([[2, 2], [2, 2], [1, 1]], np.array([[1, 0], [1, 0], [0, 0]]))
    assert mean == 100 and np.isnan(per_class[1])
    mean, per_class = m.mean_average_precision([[1, 2, 0], [0, 1, 1], [3, 3, 3]], [[0, 1, -1], [0, 1, -1], [1, -1, 0]])
    assert mean == 100 and np.isnan(per_class).tolist() == [False, True, True]  # none absent; none present
    assert np.isnan(m.mean_average_precision(np.ones((3, 1)), [[1], [1], [-1]])[0])
    assert np.isnan(m.mean_average_precision(np.ones((2, 2)), np.zeros((2, 2)))[0])


def test_ap_only_order_counts():
    scores, truth = random_case(7)
    np.testing.assert_allclose(
        m.mean_average_precision(scores, truth)[1], m.mean_average_precision(np.exp(scores / 3), truth)[1]
    )


def envelope_by_definition(scores, truth):
    "HCPLab / VOC 2010: for each positive, the best precision at its own or a higher recall (no ties)."
    order = np.argsort(-scores)
    hits = np.cumsum(truth[order])
    precision = hits / np.arange(1, len(hits) + 1)
    return 100 * np.mean([precision[i:].max() for i in np.flatnonzero(truth[order])])


def test_interpolated_equals_its_definition():
    scores, truth = random_case(8)
    got = m.mean_average_precision(scores, truth, interpolated=True)[1]
    np.testing.assert_allclose(got, [envelope_by_definition(scores[:, c], truth[:, c]) for c in range(7)], atol=1e-10)
    assert (got >= m.mean_average_precision(scores, truth)[1] - 1e-12).all()


def test_precision_recall_equals_sklearn():
    scores, truth = random_case(9, C=1, ties=2)
    precision, recall, threshold = m.precision_recall(scores[:, 0], truth[:, 0])
    p, r, t = precision_recall_curve(truth[:, 0], scores[:, 0])
    np.testing.assert_allclose(precision, p[:-1][::-1])
    np.testing.assert_allclose(recall, r[:-1][::-1])
    np.testing.assert_allclose(threshold, t[::-1])
    with pytest.raises(checks.MetricError, match='2 images holds no present'):
        m.precision_recall([1, 2], [0, 0])


def test_large_case_is_fast():
    scores, truth = random_case(10, M=2500, C=80)
    took = []
    for _ in range(5):
        start = time.process_time()
        m.mean_average_precision(scores, truth)
        took.append(time.process_time() - start)
    assert min(took) < 0.1
    np.testing.assert_allclose(
        m.mean_average_precision(scores, truth)[1],
        [reference_ap(scores[:, c], truth[:, c]) for c in range(80)],
        atol=1e-9,
    )


def test_torch_inputs():
    scores, truth = random_case(11)
    a = m.mean_average_precision(torch.tensor(scores, requires_grad=True), torch.tensor(truth))[0]
    assert a == m.mean_average_precision(scores, truth)[0]
    m.mean_average_precision(torch.tensor(scores).bfloat16(), torch.tensor(truth))


# ---- F1


def loop_f1(predicted, truth):
    "Straight from the definitions, one class after the other, over known entries."
    P, R, F, tp_all, claimed, present = [], [], [], 0, 0, 0
    for c in range(truth.shape[1]):
        k = truth[:, c] != -1
        p, r, f, _ = precision_recall_fscore_support(truth[k, c], predicted[k, c], average='binary', zero_division=0)
        tp_all += (predicted[k, c] & (truth[k, c] == 1)).sum()
        claimed += predicted[k, c].sum()
        present += (truth[k, c] == 1).sum()
        if (truth[k, c] == 1).any():
            P.append(p), R.append(r), F.append(f)
    CP, CR, OP, OR = np.mean(P), np.mean(R), tp_all / claimed, tp_all / present
    return {
        k: 100 * v
        for k, v in dict(
            CP=CP, CR=CR, CF1=2 * CP * CR / (CP + CR), CF1_mean=np.mean(F), OP=OP, OR=OR, OF1=2 * OP * OR / (OP + OR)
        ).items()
    }


@pytest.mark.parametrize('seed,unknown', [(0, 0), (1, 0.5), (2, 0.9)])
def test_f1_equals_loops(seed, unknown):
    scores, truth = random_case(seed, unknown=unknown)
    truth[:, 2][truth[:, 2] == 1] = 0  # a class without positives
    p = 1 / (1 + np.exp(-scores))
    p[:, 3] *= 0.4  # a class that is never predicted
    got, want = decisions.f1_scores(p, truth), loop_f1(p >= 0.5, truth)
    assert got.keys() == want.keys()
    for k in want:
        assert got[k] == pytest.approx(want[k]), k


def test_f1_hand_worked_and_definitions_differ():
    truth = np.array([[1, 1], [1, 0], [0, 0], [0, 0]])
    p = np.array([[0.9, 0.9], [0.1, 0.9], [0.1, 0.9], [0.1, 0.9]])  # class 0: P 1, R 1/2; class 1: P 1/4, R 1
    got = decisions.f1_scores(p, truth)
    assert got['CP'] == pytest.approx(62.5) and got['CR'] == pytest.approx(75)
    assert got['CF1'] == pytest.approx(2 * 62.5 * 75 / 137.5)
    assert got['CF1_mean'] == pytest.approx(100 * (2 / 3 + 2 / 5) / 2)
    assert got['OP'] == pytest.approx(40) and got['OR'] == pytest.approx(100 * 2 / 3)


def test_threshold_is_inclusive_and_per_class():
    p, t = np.array([[0.5, 0.3], [0.2, 0.1]]), np.array([[1, 1], [0, 0]])
    assert decisions.f1_scores(p, t)['OR'] == 50
    assert decisions.f1_scores(p, t, [0.5, 0.3])['CF1'] == 100
    with pytest.raises(checks.MetricError, match=r'threshold has shape \(3,\), expected one number or \(2,\)'):
        decisions.f1_scores(p, t, [0.1, 0.2, 0.3])


def test_no_prediction_and_no_positive_at_all():
    assert decisions.f1_scores(np.zeros((3, 2)), np.array([[1, 0], [0, 1], [0, 0]]))['OF1'] == 0
    got = decisions.f1_scores(np.ones((3, 2)), np.zeros((3, 2)))
    assert np.isnan(got['CF1']) and np.isnan(got['CF1_mean']) and got['OP'] == 0


def test_best_thresholds_beat_every_other_threshold():
    scores, truth = random_case(12, unknown=0.3)
    p = 1 / (1 + np.exp(-scores))
    best = decisions.best_thresholds(p, truth)
    f1 = decisions.per_class_table(p, truth, range(7), best)['F1'].to_numpy()
    for th in np.linspace(0, 1, 41):
        assert (f1 >= decisions.per_class_table(p, truth, range(7), th)['F1'].to_numpy() - 1e-9).all()
    assert decisions.best_thresholds(p, np.zeros_like(truth), default=0.7).tolist() == [0.7] * 7


def test_top_k_by_hand_and_by_torch():
    p = np.array([[0.9, 0.8, 0.1, 0.2], [0.1, 0.2, 0.3, 0.4]])
    t = np.array([[1, 0, 1, -1], [0, 0, 1, 1]])
    got = decisions.top_k_scores(p, t, k=2)  # picks {0, 1} and {3, 2}: 3 of 4 right; class 1 has no positive
    assert got['OP_top2'] == 75 and got['OR_top2'] == 75
    assert got['CP_top2'] == 100 and got['CR_top2'] == pytest.approx(100 * (1 + 0.5 + 1) / 3)
    # (row 0, class 2 is missed; the unknown entry of class 3 counts for nothing)
    scores, truth = random_case(13)
    q = 1 / (1 + np.exp(-scores))
    top = torch.zeros(q.shape, dtype=torch.bool).scatter_(1, torch.tensor(q).topk(3, 1).indices, True).numpy()
    for th, predicted in ((None, top), (0.5, top & (q >= 0.5))):
        for k, v in loop_f1(predicted, truth).items():
            assert decisions.top_k_scores(q, truth, 3, th)[f'{k}_top3'] == pytest.approx(v)
    z = np.array([[18.0, 20, 25, 30]])
    flat, fourth = (1 / (1 + np.exp(-z))).astype(np.float16), np.array([[0, 0, 0, 1]])
    assert (flat == 1).all() and decisions.top_k_scores(flat, fourth, 1)['OP_top1'] == 0
    assert decisions.top_k_scores(flat, fourth, 1, scores=z)['OP_top1'] == 100
    assert decisions.summary(flat, fourth, list('abcd'), k=1, scores=z)['OP_top1'] == 100
    tie = decisions.top_k_scores(np.full((1, 3), 0.5), np.array([[1, 0, 0]]), k=1)
    assert tie['OP_top1'] == 100  # the first column wins
    with pytest.raises(checks.MetricError, match='k is 9, expected 1 to 7'):
        decisions.top_k_scores(q, truth, 9)


# ---- summary and table


def test_summary_and_table_agree():
    scores, truth = random_case(14, unknown=0.4)
    truth[:, 5][truth[:, 5] == 1] = 0
    p = 1 / (1 + np.exp(-scores))
    names = list('abcdefg')
    out, table = decisions.summary(p, truth, names), decisions.per_class_table(p, truth, names)
    json.dumps(out, allow_nan=False)
    assert out['classes_left_out'] == 1 and out['left_out'] == ['f']
    assert out['mAP'] == pytest.approx(table['AP'].mean()) and out['CP'] == pytest.approx(table['precision'].mean())
    assert out['CF1_mean'] == pytest.approx(table['F1'].mean()) and out['present'] == table['present'].sum()
    assert table.loc['f', ['AP', 'precision', 'recall', 'F1']].isna().all()
    assert (table[['present', 'absent', 'unknown']].sum(axis=1) == 200).all()
    assert out['known_share'] == pytest.approx(100 * (truth != -1).mean())
    empty = decisions.summary(p, np.full_like(truth, -1), names)
    json.dumps(empty, allow_nan=False)
    assert empty['mAP'] is None and empty['classes_left_out'] == 7


def test_summary_ranks_by_scores_where_probabilities_saturate():
    scores, truth = np.array([[50.0], [40.0], [-1.0]]), np.array([[1], [0], [0]])
    p = 1 / (1 + np.exp(-scores.astype(np.float32)))  # 1, 1, .27: a tie
    assert decisions.summary(p, truth, ['a'])['mAP'] == 50
    assert decisions.summary(p, truth, ['a'], scores=scores)['mAP'] == 100
    assert decisions.per_class_table(p, truth, ['a'], scores=scores).loc['a', 'AP'] == 100
    with pytest.raises(checks.MetricError, match='class_names has 2 names, expected 1'):
        decisions.summary(p, truth, ['a', 'b'])


# ---- bad input


def test_bad_scores_are_named():
    scores, truth = random_case(15)
    scores[17, 3] = np.nan
    with pytest.raises(checks.MetricError, match=r'row 17, column 3 of \(200, 7\)\) is nan, expected a finite'):
        m.mean_average_precision(scores, truth)
    with pytest.raises(checks.MetricError, match=r'scores have shape \(200, 7\) and truth \(200, 6\)'):
        m.mean_average_precision(scores, truth[:, :6])
    with pytest.raises(checks.MetricError, match=r'truth\[0, 1\].* is 2, expected 1 present'):
        m.mean_average_precision(np.ones((1, 2)), [[0, 2]])
    with pytest.raises(
        checks.MetricError, match=r'row 1, column 0 .* is 3, expected a value in \[0, 1\]: pass sigmoid'
    ):
        decisions.f1_scores([[0.5], [3.0]], [[1], [0]])
    with pytest.raises(checks.MetricError, match=r'shape \(0, 3\)'):
        m.mean_average_precision(np.ones((0, 3)), np.ones((0, 3)))


# ---- bootstrap


def test_bootstrap_equals_resampling_by_hand():
    scores, truth = random_case(16, M=60, C=3, ties=2, unknown=0.3)
    got = m.bootstrap_map(scores, truth, draws=8, seed=5)
    weights = np.random.default_rng(5).multinomial(60, np.full(60, 1 / 60), size=8)
    for d, w in enumerate(weights):
        rows = np.repeat(np.arange(60), w)
        assert got[d] == pytest.approx(m.mean_average_precision(scores[rows], truth[rows])[0], abs=1e-6)


def test_bootstrap_pairs_methods():
    scores, truth = random_case(17)
    both = m.bootstrap_map([scores, 2 * scores + 1], truth, draws=20, seed=1)
    assert both.shape == (20, 2)
    np.testing.assert_allclose(both[:, 0], both[:, 1])
    np.testing.assert_allclose(both[:, 0], m.bootstrap_map(scores, truth, draws=20, seed=1))


def test_bootstrap_leaves_out_a_class_that_was_not_drawn():
    truth = np.zeros((30, 2), int)
    truth[0, 0], truth[:15, 1] = 1, 1  # class 0 has one positive: about a third of the draws miss it
    scores = np.random.default_rng(0).normal(size=(30, 2))
    assert np.isfinite(m.bootstrap_map(scores, truth, draws=50)).all()


# ---- saliency


def test_pointing_by_hand():
    masks = np.zeros((3, 8, 8), bool)
    masks[:2, :2, 4:6] = True  # upper right quarter's left half
    s = np.zeros((3, 16))
    s[0, 2] = 1  # cell (0, 2) of 4 x 4: centre x .625, y .125, pixel (1, 5): inside
    s[1, 3] = (
        1  # cell (0, 3): centre x .875, pixel (1, 7): outside, .198 from the nearest pixel's centre (.6875, .1875)
    )
    percent, hits = m.pointing_game(s, (4, 4), masks=masks)
    assert hits[:2].tolist() == [1, 0] and np.isnan(hits[2]) and percent == 50
    assert m.pointing_game(s, (4, 4), masks=masks, tolerance=0.2)[0] == 100
    assert m.pointing_game(s, (4, 4), masks=masks, tolerance=0.18)[0] == 50
    boxes = [[[0.5, 0, 0.75, 0.25]], [[0.5, 0, 0.75, 0.25], [0.8, 0.1, 0.9, 0.2]], np.zeros((0, 4))]
    percent, hits = m.pointing_game(s, (4, 4), boxes=boxes)
    assert hits[:2].tolist() == [1, 1] and np.isnan(hits[2])
    assert m.pointing_game(s[1:2], (4, 4), boxes=[[0.5, 0, 0.75, 0.25]], tolerance=0.126)[0] == 100
    assert m.pointing_game(s[1:2], (4, 4), boxes=[[0.5, 0, 0.75, 0.25]], tolerance=0.124)[0] == 0


def test_pointing_ties_score_the_share():
    masks = np.zeros((1, 6, 6), bool)
    masks[0, :3] = True
    assert m.pointing_game(np.ones((1, 9)), (3, 3), masks=masks)[0] == pytest.approx(
        100 / 3
    )  # row 1 points at pixel row 3
    assert m.pointing_game(np.ones((1, 4)), (2, 2), masks=masks)[0] == pytest.approx(50)


def test_pointing_grid_that_is_not_square():
    masks = np.zeros((1, 10, 20), bool)
    masks[0, 5:, :10] = True  # lower left
    s = np.zeros((1, 6))
    s[0, 3] = 1  # grid (2, 3): row 1, column 0
    assert m.pointing_game(s, (2, 3), masks=masks)[0] == 100
    assert m.pointing_game(s, (3, 2), masks=masks)[0] == 0  # row 1, column 1
    np.testing.assert_allclose(m.cell_centers((2, 3))[3], [1 / 6, 0.75])


def test_interpolation_equals_torch():
    s = np.random.default_rng(0).random((1, 5 * 7))
    want = torch.nn.functional.interpolate(
        torch.tensor(s.reshape(1, 1, 5, 7)), (32, 21), mode='bilinear', align_corners=False
    )
    np.testing.assert_allclose(
        localisation._linear(5, 32) @ s.reshape(5, 7) @ localisation._linear(7, 21).T, want[0, 0].numpy(), atol=1e-12
    )


@pytest.mark.parametrize('rule', ['area', 'max'])
def test_iou_against_sets(rule):
    r = np.random.default_rng(1)
    s, masks = r.random((6, 16)), r.random((6, 16, 12)) < 0.3
    masks[5] = False
    mean, iou = localisation.saliency_iou(s, (4, 4), masks, rule=rule, fraction=0.6)
    for k in range(5):
        big = torch.nn.functional.interpolate(torch.tensor(s[k].reshape(1, 1, 4, 4)), (16, 12), mode='bilinear')[
            0, 0
        ].numpy()
        order = np.argsort(-big.ravel())
        kept = set(order[: masks[k].sum()]) if rule == 'area' else set(np.flatnonzero(big.ravel() >= 0.6 * big.max()))
        truth = set(np.flatnonzero(masks[k].ravel()))
        assert iou[k] == pytest.approx(100 * len(kept & truth) / len(kept | truth))
    assert np.isnan(iou[5]) and mean == pytest.approx(iou[:5].mean())


def test_perfect_map_has_iou_100():
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 1:3, 1:3] = True
    assert localisation.saliency_iou(mask.reshape(1, -1).astype(float), (4, 4), mask)[0] == 100
    assert m.mass_inside(mask.reshape(1, -1).astype(float), (4, 4), mask)[0] == 100


@pytest.mark.parametrize('grid', [(4, 4), (3, 5), (7, 2)])
def test_mass_inside_equals_a_fine_raster(grid):
    r = np.random.default_rng(2)
    s, masks = r.random((3, grid[0] * grid[1])), r.random((3, 8, 6)) < 0.4
    H, W = 8 * grid[0], 6 * grid[1]  # fine enough that neither cells nor pixels are cut
    fine = np.repeat(np.repeat(masks, grid[0], 1), grid[1], 2)
    spread = np.repeat(np.repeat(s.reshape(3, *grid), H // grid[0], 1), W // grid[1], 2)
    want = 100 * (spread * fine).sum((1, 2)) / spread.sum((1, 2))
    np.testing.assert_allclose(m.mass_inside(s, grid, masks)[1], want)
    np.testing.assert_allclose(m.cell_coverage(masks, grid).mean(1), masks.mean((1, 2)))


def test_mass_undefined_cases():
    masks = np.zeros((2, 4, 4), bool)
    masks[1, 0, 0] = True
    mean, share = m.mass_inside(np.array([[1.0, 1, 1, 1], [0, 0, 0, 0]]), (2, 2), masks)
    assert np.isnan(share).all() and np.isnan(mean)


def test_box_masks():
    got = localisation.box_masks([[[0.5, 0, 1, 0.5]], [[0, 0, 0.25, 0.25], [0.75, 0.75, 1, 1]]], (4, 4))
    assert got[0, :2, 2:].all() and got[0].sum() == 4
    assert got[1, 0, 0] and got[1, 3, 3] and got[1].sum() == 2
    with pytest.raises(checks.MetricError, match=r'boxes\[1\] is .* fractions'):
        localisation.box_masks([[[0, 0, 1, 1]], [[10, 20, 110, 220]]])


def test_bad_saliency_is_named():
    masks = np.ones((2, 8, 8), bool)
    with pytest.raises(checks.MetricError, match=r'shape \(2, 15\), expected \[K, h\*w\] with h\*w = 4\*4 = 16'):
        m.pointing_game(np.ones((2, 15)), (4, 4), masks=masks)
    with pytest.raises(
        checks.MetricError, match=r'masks have shape \(2, 8, 8\) and dtype bool, expected bool \[3, H, W\]'
    ):
        localisation.saliency_iou(np.ones((3, 16)), (4, 4), masks)
    with pytest.raises(checks.MetricError, match='dtype float64'):
        m.mass_inside(np.ones((2, 16)), (4, 4), masks.astype(float))
    with pytest.raises(checks.MetricError, match=r'row 1, cell 2\) is -1'):
        m.mass_inside(np.array([[1.0, 1, 1, 1], [1, 1, -1, 1]]), (2, 2), masks)
    with pytest.raises(checks.MetricError, match=r'row 0, cell 1\) is nan'):
        m.pointing_game([[1, np.nan, 1, 1]], (2, 2), masks=masks[:1])
    with pytest.raises(checks.MetricError, match='exactly one'):
        m.pointing_game(np.ones((2, 16)), (4, 4))
    with pytest.raises(checks.MetricError, match="rule is 'best'"):
        localisation.saliency_iou(np.ones((2, 16)), (4, 4), masks, rule='best')
    with pytest.raises(checks.MetricError, match='boxes has 1 entries, expected 2'):
        m.pointing_game(np.ones((2, 16)), (4, 4), boxes=[[[0, 0, 1, 1]]])


@pytest.mark.parametrize('seed', range(5))
def test_cf1_of_means_is_never_below_the_mean_of_f1(seed):
    scores, truth = random_case(seed)
    got = decisions.f1_scores(1 / (1 + np.exp(-3 * scores)), truth)
    assert got['CF1'] >= got['CF1_mean'] - 1e-9


def test_usual_places_is_the_mean_coverage_of_each_category():
    rng = np.random.default_rng(0)
    masks, classes = rng.random((6, 8, 8)) < 0.3, np.array([0, 2, 0, 2, 2, 0])
    usual = m.usual_places(masks, classes, 4, (2, 4))
    for c in (0, 2):
        mean = masks[classes == c].reshape(-1, 2, 4, 4, 2).mean((0, 2, 4)).ravel()
        np.testing.assert_allclose(usual[c], mean / mean.sum(), rtol=1e-12)
    np.testing.assert_allclose(usual[[1, 3]], 1 / 8)  # never seen: flat
    with pytest.raises(checks.MetricError, match="masks have shape"):
        m.usual_places(masks.astype(int), classes, 4, (2, 4))
