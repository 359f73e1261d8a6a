"Prototype memory, relations, pseudo-labels and their quality against loops, scikit-learn and hand-worked values."

import io
import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from sklearn.metrics import precision_recall_curve, precision_score, recall_score
from torch.nn import functional as F

from trmml_nb.method.own_scale import SimilarityMemory, own_similarities, thresholds_from_known
from trmml_nb.method.prototypes import (
    COMBINATIONS,
    PrototypeError,
    PrototypeMemory,
    combine_evidence,
    prototype_scores,
    pseudo_label_quality,
    pseudo_labels,
    threshold_curve,
)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def table(m=300, c=6, seed=0, known=0.3):
    "Scores that know something of the truth, the truth, and partial targets."
    g = rng(seed)
    truth = (torch.rand(m, c, generator=g) < 0.2).to(torch.int8)
    scores = torch.sigmoid(3 * truth.float() - 2 + 1.5 * torch.randn(m, c, generator=g))
    return scores, truth, torch.where(torch.rand(m, c, generator=g) < known, truth, -1)


# --- memory


@pytest.mark.parametrize('start', ['mean', 'first', 'text'])
def test_memory_equals_float64_loops(start):
    g, c, d = rng(1), 5, 8
    texts = torch.randn(c, d, generator=g)
    memory = PrototypeMemory(texts, momentum=0.8, start=start)
    want = [F.normalize(t.double(), dim=0) for t in texts]
    counts = [0.0] * c
    for step in range(12):
        z, weights = torch.randn(7, c, d, generator=g), torch.rand(7, c, generator=g)
        weights = weights * (torch.rand(7, c, generator=g) < 0.15)
        memory.update(z, weights)
        for k in range(c):
            w = weights[:, k].double()
            if w.sum() == 0:
                continue
            mean = (w[:, None] * F.normalize(z[:, k].double(), dim=-1)).sum(0) / w.sum()
            m = dict(
                text=0.8, first=0.8 if counts[k] else 0.0, mean=min(0.8, counts[k] / (counts[k] + w.sum().item()))
            )[start]
            want[k] = F.normalize(m * want[k] + (1 - m) * mean, dim=0)
            counts[k] += w.sum().item()
    torch.testing.assert_close(memory.prototypes.double(), torch.stack(want), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(memory.counts.double(), torch.tensor(counts, dtype=torch.float64), rtol=1e-5, atol=1e-6)


def test_memory_hand_worked():
    memory = PrototypeMemory(torch.eye(2), momentum=0.5, start='text')
    memory.update(torch.tensor([[[0.6, 0.8], [1.0, 0.0]]]), torch.tensor([[True, False]]))
    torch.testing.assert_close(memory.prototypes, torch.tensor([[2 / math.sqrt(5), 1 / math.sqrt(5)], [0.0, 1.0]]))
    assert memory.counts.tolist() == [1, 0]


def test_categories_without_positives_stay_bit_for_bit_and_garbage_never_enters():
    g = rng(2)
    memory = PrototypeMemory(torch.randn(4, 6, generator=g))
    before = memory.prototypes.clone()
    positives = torch.zeros(3, 4, dtype=torch.bool)
    positives[1, 2] = True
    z = torch.where(positives[..., None], torch.randn(3, 4, 6, generator=g), float('nan'))
    memory.update(z, positives)
    assert torch.equal(memory.prototypes[[0, 1, 3]], before[[0, 1, 3]]) and memory.prototypes.isfinite().all()
    torch.testing.assert_close(memory.prototypes[2], F.normalize(z[1, 2], dim=0))
    memory.update(z, torch.zeros(3, 4))
    assert memory.counts.tolist() == [0, 0, 1, 0]


def test_opposite_features_keep_the_old_prototype():
    memory = PrototypeMemory(torch.eye(2), start='first')
    z = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [0.0, 1.0]]])
    memory.update(z, torch.ones(2, 2, dtype=torch.bool))
    assert torch.equal(memory.prototypes, torch.eye(2)) and memory.counts.tolist() == [0, 2]


def test_memory_state_precision_and_gradients():
    g = rng(3)
    texts = torch.randn(3, 4, generator=g, requires_grad=True)
    memory = PrototypeMemory(texts)
    z = torch.randn(5, 3, 4, generator=g, requires_grad=True)
    positives = torch.rand(5, 3, generator=g) < 0.7
    with torch.autocast('cpu', dtype=torch.bfloat16):
        memory.update(z, positives)
    assert memory.prototypes.dtype == torch.float32 and not memory.prototypes.requires_grad
    half = PrototypeMemory(texts)
    half.update(z.bfloat16(), positives)
    torch.testing.assert_close(half.prototypes, memory.prototypes, atol=0.02, rtol=0.02)
    file = io.BytesIO()
    torch.save(memory.state_dict(), file)
    file.seek(0)
    other = PrototypeMemory(torch.randn(3, 4, generator=g))
    other.load_state_dict(torch.load(file, weights_only=True))
    memory.update(z, positives), other.update(z, positives)
    assert torch.equal(memory.prototypes, other.prototypes) and torch.equal(memory.counts, other.counts)


def test_texts_are_not_changed_through_the_memory():
    texts = torch.eye(3)
    memory = PrototypeMemory(texts, start='first')
    memory.update(torch.randn(2, 3, 3, generator=rng(4)), torch.ones(2, 3, dtype=torch.bool))
    assert torch.equal(texts, torch.eye(3))


# --- relations


@pytest.mark.parametrize('modality', ['both', 'visual', 'text'])
def test_inter_relation_equals_loops(modality):
    g = rng(5)
    z, visual, texts = (torch.randn(*s, generator=g, dtype=torch.float64) for s in ((4, 5, 7), (5, 7), (5, 7)))
    got = prototype_scores(z, visual, texts, 0.1, modality)
    unit = lambda v: [x / math.sqrt(sum(y * y for y in v)) for x in v]
    for i in range(4):
        for c in range(5):
            own = []
            for bank in dict(both=(visual, texts), visual=(visual,), text=(texts,))[modality]:
                e = [math.exp(sum(a * b for a, b in zip(unit(z[i, c].tolist()), unit(k))) / 0.1) for k in bank.tolist()]
                own.append(e[c] / sum(e))
            assert got[i, c].item() == pytest.approx(sum(own) / len(own), rel=1e-10)


def test_inter_relation_of_some_categories_is_that_of_all():
    g = rng(5)
    z, visual, texts = (torch.randn(*s, generator=g, dtype=torch.float64) for s in ((4, 5, 7), (5, 7), (5, 7)))
    some = torch.stack([torch.randperm(5, generator=g)[:3] for _ in range(4)])
    got = prototype_scores(z.gather(1, some[..., None].expand(-1, -1, 7)), visual, texts, 0.1, categories=some)
    torch.testing.assert_close(got, prototype_scores(z, visual, texts, 0.1).gather(1, some))


def test_own_similarities_are_cosines():
    g = rng(6)
    z, visual, texts = (torch.randn(*s, generator=g) for s in ((4, 5, 7), (5, 7), (5, 7)))
    want = torch.stack([F.cosine_similarity(z, b[None], dim=-1) for b in (visual, texts)], -1)
    torch.testing.assert_close(own_similarities(z, visual, texts), want)


def test_intra_relation_is_bayes_rule_for_two_normals():
    "Many labels, hardly any shrinking: compare with the ratio of densities."
    g, n = rng(7), 20000
    targets = (torch.rand(n, 2, generator=g) < 0.25).long()
    s = torch.tensor([0.2, 0.5])[targets] + 0.1 * torch.randn(n, 2, generator=g)
    judge = SimilarityMemory(2, momentum=0, strength=1e-3)
    judge.update(s[..., None].expand(-1, -1, 2), targets)
    for x in (0.2, 0.35, 0.42, 0.5):
        a, b = 0.25 * NormalDist(0.5, 0.1).pdf(x), 0.75 * NormalDist(0.2, 0.1).pdf(x)
        assert judge(torch.full((1, 2, 2), x))[0].tolist() == pytest.approx([a / (a + b)] * 2, abs=0.03)


def test_intra_relation_equals_loops_with_fading_and_shrinking():
    g, c, k = rng(8), 4, 5.0
    judge = SimilarityMemory(c, momentum=0.9, strength=k)
    entries = []  # (weight, category, label, similarity [2])
    for step in range(6):
        s = torch.randn(9, c, 2, generator=g) * 0.3
        y = torch.randint(-1, 2, (9, c), generator=g)
        judge.update(s, y)
        entries = [(0.9 * w, *rest) for w, *rest in entries]
        entries += [(1.0, j, int(y[i, j]), s[i, j].double()) for i in range(9) for j in range(c) if y[i, j] != -1]
    mass = lambda v, j=None: sum(w for w, q, l, _ in entries if l == v and (j is None or q == j))
    total = lambda v, j=None: sum(w * x for w, q, l, x in entries if l == v and (j is None or q == j))
    mean = {(v, j): (total(v, j) + k * total(v) / mass(v)) / (mass(v, j) + k) for v in (0, 1) for j in range(c)}
    spread = sum(w * (x - mean[l, q]) ** 2 for w, q, l, x in entries) / (mass(0) + mass(1))
    at = torch.rand(1, c, 2, generator=g)
    for j in range(c):
        prior = [mass(v, j) + k * mass(v) / (mass(0) + mass(1)) for v in (0, 1)]
        odds = (mean[1, j] - mean[0, j]) / spread * (at[0, j].double() - (mean[0, j] + mean[1, j]) / 2)
        want = (odds + math.log(prior[1] / prior[0])).sigmoid().mean().item()
        assert judge(at)[0, j].item() == pytest.approx(want, rel=1e-4)


def test_intra_relation_does_not_answer_without_both_kinds_of_label():
    s = torch.rand(5, 3, 2, generator=rng(9))
    judge = SimilarityMemory(3)
    assert (judge(s) == 0.5).all()
    judge.update(s, torch.where(torch.arange(3) == 1, 1, -1).expand(5, 3))
    assert (judge(s) == 0.5).all()
    judge.update(s, torch.zeros(5, 3, dtype=torch.long))
    assert judge(s).isfinite().all() and (judge(s) != 0.5).any()


def test_intra_relation_ignores_unknown_garbage():
    s = torch.rand(5, 3, 2, generator=rng(10))
    y = torch.randint(-1, 2, (5, 3), generator=rng(11))
    a, b = SimilarityMemory(3), SimilarityMemory(3)
    a.update(s, y), b.update(torch.where((y == -1)[..., None], float('nan'), s), y)
    assert torch.equal(a(s), b(s))


# --- pseudo-labels


def test_combinations():
    p, g = torch.rand(4, 3, generator=rng(12)), torch.rand(4, 3, generator=rng(13))
    want = dict(
        geometric=np.sqrt(p.numpy() * g.numpy()),
        mean=(p.numpy() + g.numpy()) / 2,
        min=np.minimum(p.numpy(), g.numpy()),
        probability=p.numpy(),
        relation=g.numpy(),
    )
    assert want.keys() == COMBINATIONS.keys()
    for how, value in want.items():
        np.testing.assert_allclose(combine_evidence(p, g, how).numpy(), value, rtol=1e-6)


@pytest.mark.parametrize('soft', [False, True])
@pytest.mark.parametrize('per_class', [False, True])
def test_pseudo_labels_entry_by_entry(soft, per_class):
    scores, truth, targets = table()
    high, low = (torch.linspace(0.6, 0.9, 6), torch.linspace(0.05, 0.2, 6)) if per_class else (0.7, 0.1)
    out = pseudo_labels(scores, scores, targets, high, low, how='probability', soft=soft, weight=0.3)
    for i in range(0, 300, 7):
        for c in range(6):
            h, l = (high[c], low[c]) if per_class else (high, low)
            s, y = scores[i, c], targets[i, c]
            want = (
                (y, 1.0)
                if y != -1
                else (s if soft else 1, 0.3)
                if s >= h
                else (s if soft else 0, 0.3)
                if s <= l
                else (-1, 0)
            )
            assert out.targets[i, c] == want[0] and out.weights[i, c] == pytest.approx(want[1])
    assert torch.equal(out.targets[targets != -1], targets[targets != -1].float())
    assert torch.equal(out.known_mask, out.weights > 0) and not out.targets.requires_grad


def test_nothing_is_labelled_where_scores_are_nan_or_thresholds_unreachable():
    scores, _, targets = table()
    for s, high, low in ((scores, float('inf'), -float('inf')), (torch.full_like(scores, float('nan')), 0.8, 0.1)):
        out = pseudo_labels(s, s, targets, high, low)
        assert torch.equal(out.targets, targets.float()) and torch.equal(out.weights, (targets != -1).float())


def test_quality_equals_scikit_learn():
    scores, truth, targets = table(seed=1)
    truth[5, 2] = targets[5, 2] = -1  # unknown even to the evaluator
    pseudo = pseudo_labels(scores, scores, targets, 0.7, 0.2)
    names = list('abcdef')
    quality = pseudo_label_quality(pseudo, truth, targets, names)
    for row, columns in [('all', slice(None))] + [(n, [i]) for i, n in enumerate(names)]:
        use = (targets[:, columns] == -1) & (truth[:, columns] != -1)
        real, said = truth[:, columns][use].numpy(), pseudo.targets[:, columns][use].numpy()
        assert quality.loc[row, 'withheld'] == use.sum()
        for word, value in (('present', 1), ('absent', 0)):
            assert quality.loc[row, f'precision_{word}'] == pytest.approx(precision_score(real == value, said == value))
            assert quality.loc[row, f'recall_{word}'] == pytest.approx(recall_score(real == value, said == value))
    assert quality.columns[0] == 'withheld' and quality.loc['all', 'pseudo_present'] > 0


def test_quality_without_pseudo_labels_is_nan_not_zero():
    _, truth, targets = table(seed=2)
    quality = pseudo_label_quality(targets, truth, targets)
    assert quality[['precision_present', 'precision_absent']].isna().all(axis=None)
    assert (quality[['recall_present', 'recall_absent']] == 0).all(axis=None)


def test_threshold_curve_equals_counting_and_scikit_learn():
    scores, truth, targets = table(seed=3)
    curve = threshold_curve(scores, truth, targets)
    for _, row in curve.iloc[::9].iterrows():
        q = pseudo_label_quality(
            torch.where(targets == -1, torch.where(scores >= row.threshold, 1, -1), targets), truth, targets
        )
        assert row.recall_present == pytest.approx(q.loc['all', 'recall_present'], abs=2e-3)
        q = pseudo_label_quality(
            torch.where(targets == -1, torch.where(scores <= row.threshold, 0, -1), targets), truth, targets
        )
        assert row.recall_absent == pytest.approx(q.loc['all', 'recall_absent'], abs=2e-3)
    use = targets == -1
    precision, recall, cuts = precision_recall_curve(truth[use].numpy(), scores[use].numpy())
    mine = threshold_curve(scores, truth, targets, cuts)
    np.testing.assert_allclose(mine.precision_present, precision[:-1])
    np.testing.assert_allclose(mine.recall_present, recall[:-1])


def test_thresholds_reach_the_wanted_precision_on_known_labels():
    scores, truth, targets = table(m=4000, seed=4)
    high, low = thresholds_from_known(scores, targets, 0.9, 0.98)
    known = targets != -1
    assert (high == high[0]).all() and (low == low[0]).all() and low[0] < high[0]
    assert truth[known & (scores >= high)].float().mean() >= 0.9
    assert 1 - truth[known & (scores <= low)].float().mean() >= 0.98
    near = truth[known & (scores >= high - 0.03)].float().mean()
    assert near < 0.92, 'the threshold is the lowest one that is precise enough, not just a high one'
    withheld = targets == -1
    assert truth[withheld & (scores >= high)].float().mean() == pytest.approx(0.9, abs=0.04)


def test_thresholds_per_category_follow_each_category():
    "Category 1 needs a higher threshold; a large strength brings both to the shared one."
    g, m = rng(14), 5000
    truth = (torch.rand(m, 2, generator=g) < 0.3).long()
    scores = torch.sigmoid(4 * truth - 2 + torch.randn(m, 2, generator=g) + torch.tensor([-1.0, 1.0]))
    high, low = thresholds_from_known(scores, truth, 0.95, 0.99, strength=1.0)
    assert high[1] > high[0] + 0.1 and low[1] > low[0] + 0.05
    for c in range(2):
        assert truth[scores[:, c] >= high[c], c].float().mean() == pytest.approx(0.95, abs=0.01)
    shared = thresholds_from_known(scores, truth, 0.95, 0.99)
    drawn = thresholds_from_known(scores, truth, 0.95, 0.99, strength=1e9)
    torch.testing.assert_close(drawn, shared, atol=2e-3, rtol=0)


def test_thresholds_never_cross_and_never_label_from_nothing():
    scores = torch.rand(50, 3, generator=rng(15))
    high, low = thresholds_from_known(scores, torch.full((50, 3), -1))
    assert (high == float('inf')).all() and (low == -float('inf')).all()
    out = pseudo_labels(scores, scores, torch.full((50, 3), -1), high, low)
    assert not out.known_mask.any()
    high, low = thresholds_from_known(scores, (scores > 0.5).long(), 0.5, 0.5)  # easy: the two would cross
    assert (low < high).all()
    pseudo_labels(scores, scores, torch.full((50, 3), -1), high, low)


def test_bad_input_is_named():
    z, bank = torch.randn(2, 3, 4, generator=rng(16)), torch.eye(4)[:3]
    memory, p, y = PrototypeMemory(bank), torch.full((2, 3), 0.5), torch.full((2, 3), -1)
    cases = [
        (lambda: PrototypeMemory(bank[0]), r'texts has shape \(4,\), expected \[C, d\]'),
        (lambda: PrototypeMemory(bank, momentum=1), 'momentum is 1'),
        (lambda: PrototypeMemory(bank, start='zero'), "start is 'zero'"),
        (lambda: memory.update(z[:, :2], torch.ones(2, 2)), r'features has shape \(2, 2, 4\), expected \(2, 3, 4\)'),
        (lambda: memory.update(z, torch.ones(3, 2)), r'positives has shape \(3, 2\), expected \(2, 3\)'),
        (lambda: memory.update(z, y), 'positives holds a value that is negative'),
        (lambda: prototype_scores(bank, bank, bank), r'features has shape \(3, 4\), expected \[B, C, d\]'),
        (lambda: prototype_scores(z, bank, bank[:2]), r'prototypes has shape \(2, 4\), expected \(3, 4\)'),
        (lambda: prototype_scores(z, bank, bank, 0.0), 'temperature is 0.0'),
        (lambda: prototype_scores(z, bank, bank, modality='image'), "modality is 'image'"),
        (lambda: own_similarities(z, bank, bank[:2]), r'texts has shape \(2, 4\)'),
        (lambda: SimilarityMemory(3, strength=0), 'strength 0'),
        (lambda: SimilarityMemory(4).update(torch.zeros(2, 3, 2), y), r'targets has shape \(2, 3\), expected \(2, 4\)'),
        (lambda: combine_evidence(p, p[:1]), r'relation has shape \(1, 3\), expected \(2, 3\)'),
        (lambda: combine_evidence(p, p, 'sum'), "how is 'sum'"),
        (lambda: pseudo_labels(p, p, y[0]), r'targets has shape \(3,\), expected \(2, 3\)'),
        (lambda: pseudo_labels(p, p, y, 0.3, 0.4), 'expected absent < present'),
        (lambda: pseudo_labels(p, p, y, weight=-1), 'weight is -1'),
        (lambda: pseudo_label_quality(p, y[0], y), r'truth has shape \(3,\), expected \(2, 3\)'),
        (lambda: threshold_curve(p, y, y[0]), r'targets has shape \(3,\)'),
        (lambda: thresholds_from_known(p, y[0]), r'targets has shape \(3,\)'),
    ]
    for call, message in cases:
        with pytest.raises(PrototypeError, match=message):
            call()


def _batch(step):
    g = rng(100 + step)
    return (
        torch.randn(6, 3, 4, generator=g),
        torch.rand(6, 3, generator=g) < 0.4,
        torch.randint(-1, 2, (6, 3), generator=g),
        torch.rand(6, 3, 2, generator=g),
    )


def test_memories_leave_the_gathering_to_the_trainer(monkeypatch):
    """Every process is shown the whole batch, so nothing may be added up again: counts would grow with the number of
    processes."""
    make = lambda: (PrototypeMemory(torch.eye(4)[:3], momentum=0.7), SimilarityMemory(3))
    several, alone = make(), make()

    def never(*_):
        raise AssertionError('a memory must not talk to other processes')

    for pair in (alone, several):
        if pair is several:
            monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
            monkeypatch.setattr(torch.distributed, 'all_reduce', never)
        for step in range(3):
            z, w, y, s = _batch(step)
            pair[0].update(z, w), pair[1].update(s, y)
    for mine, want in zip(several, alone):
        for name, value in want.state_dict().items():
            assert torch.equal(mine.state_dict()[name], value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_same_on_gpu():
    z, w, y, s = _batch(0)
    here, there = PrototypeMemory(torch.eye(4)[:3]), PrototypeMemory(torch.eye(4)[:3]).cuda()
    here.update(z, w), there.update(z.cuda(), w.cuda())
    torch.testing.assert_close(here.prototypes, there.prototypes.cpu())
    scores, _, targets = table()
    for a, b in zip(thresholds_from_known(scores, targets), thresholds_from_known(scores.cuda(), targets.cuda())):
        torch.testing.assert_close(a, b.cpu())
