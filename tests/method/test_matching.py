"""Matching, combination and distillation against float64 references, torch's and scipy-like closed forms."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from trmml_nb.data.labels import ABSENT, PRESENT, UNKNOWN
from trmml_nb.method.matching import (
    Calibration,
    cosine_logits,
    distill_kl,
    text_image_scores,
    text_pixel_scores,
    text_region_scores,
)
from trmml_nb.method.scores import (
    MatchingError,
    combine_scores,
    distill_binary,
    distill_cosine,
    prior_bias,
    start_bias,
)
from trmml_nb.method.adaptive import misplaced, outranked, unexplained
from trmml_nb.method.contract import LossState, MethodOutput

B, C, N, D = 3, 5, 7, 8


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


def sigmoid64(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def unit64(x):
    x = x.double().numpy()
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


# ---- the three matchings


def test_text_image_is_the_cosine(rng):
    pooled, texts = torch.randn(B, D, generator=rng), torch.randn(C, D, generator=rng)
    np.testing.assert_allclose(text_image_scores(pooled, texts), unit64(pooled) @ unit64(texts).T, atol=1e-6)


def test_text_pixel_maps_and_the_three_pools(rng):
    dense, texts = torch.randn(B, N, D, generator=rng), torch.randn(C, D, generator=rng)
    expected = np.einsum('cd,bnd->bcn', unit64(texts), unit64(dense))
    weights = np.exp(expected * 20) / np.exp(expected * 20).sum(-1, keepdims=True)
    for pool, value in dict(softmax=(weights * expected).sum(-1), max=expected.max(-1), mean=expected.mean(-1)).items():
        scores, maps = text_pixel_scores(dense, texts, pool)
        np.testing.assert_allclose(maps, expected, atol=1e-6)
        np.testing.assert_allclose(scores, value, atol=1e-6)


def test_softmax_pool_runs_from_mean_to_max(rng):
    dense, texts = torch.randn(B, N, D, generator=rng), torch.randn(C, D, generator=rng)
    mean, top = [text_pixel_scores(dense, texts, pool)[0] for pool in ('mean', 'max')]
    torch.testing.assert_close(text_pixel_scores(dense, texts, temperature=1e4)[0], mean, atol=1e-3, rtol=0)
    torch.testing.assert_close(text_pixel_scores(dense, texts, temperature=1e-4)[0], top, atol=1e-3, rtol=0)


def test_one_to_one_is_the_diagonal(rng):
    region, texts = torch.randn(B, C, D, generator=rng), torch.randn(C, D, generator=rng)
    every_pair = np.einsum('bcd,kd->bck', unit64(region), unit64(texts))
    np.testing.assert_allclose(text_region_scores(region, texts), np.diagonal(every_pair, axis1=1, axis2=2), atol=1e-6)
    np.testing.assert_allclose(cosine_logits(region[0], texts), np.diagonal(every_pair[0]), atol=1e-6)


def test_one_to_one_by_hand():
    region = torch.tensor([[[3.0, 4.0], [0.0, 2.0]]])
    torch.testing.assert_close(
        text_region_scores(region, torch.tensor([[1.0, 0.0], [0.0, -5.0]])), torch.tensor([[0.6, -1.0]])
    )


def test_a_category_sees_only_its_own_text(rng):
    region, texts = torch.randn(B, C, D, generator=rng, requires_grad=True), torch.randn(C, D, generator=rng)
    text_region_scores(region, texts)[:, 2].sum().backward()
    assert region.grad[:, 2].abs().min() > 0
    assert region.grad[:, [0, 1, 3, 4]].abs().max() == 0


# ---- calibration and records


def test_calibration_starts_from_the_given_values_and_stays_positive():
    module = Calibration(14.5, -6.0)
    torch.testing.assert_close(module(torch.tensor([0.4, -0.2])), torch.tensor([14.5 * 0.4 - 6, -14.5 * 0.2 - 6]))
    optimizer = torch.optim.SGD(module.parameters(), lr=10.0)
    for _ in range(5):
        optimizer.zero_grad()
        module(torch.tensor([1.0])).sum().backward()
        optimizer.step()
    assert 0 <= module.scale < 14.5


def test_calibration_gradient_of_the_log_scale():
    module = Calibration(10.0)
    module(torch.tensor([0.3])).sum().backward()
    assert module.log_scale.grad.item() == pytest.approx(3.0) and module.bias.grad.item() == 1


@pytest.mark.parametrize('scale, rate', [(50.0, 0.07), (15.0, 0.5), (100.0, 0.999), (1.0, 1e-4)])
def test_prior_bias_against_float64(scale, rate, rng):
    cosines = torch.rand(40, C, generator=rng) * 2 - 1
    bias = prior_bias(cosines, scale, rate)
    assert sigmoid64(scale * cosines.double().numpy() + bias).mean() == pytest.approx(rate, rel=1e-6)


def test_start_bias_matches_the_rate_and_survives_one_sided_labels():
    g = torch.Generator().manual_seed(1)
    cosines = torch.rand(50, C, generator=g) - 0.3
    targets = torch.randint(-1, 2, (50, C), generator=g)
    b = start_bias(cosines, targets, 15.0)
    known = targets != UNKNOWN
    rate = (targets[known] == 1).double().mean()
    assert (15 * cosines[known].double() + b).sigmoid().mean().item() == pytest.approx(rate.item(), abs=1e-6)
    only_present = torch.where(targets == 1, 1, UNKNOWN)
    b = start_bias(cosines, only_present, 15.0)
    assert (15 * cosines.double() + b).sigmoid().sum().item() == pytest.approx((targets == 1).sum().item(), abs=1e-4)
    assert math.isfinite(start_bias(cosines, torch.zeros(50, C), 15.0))
    assert start_bias(cosines, torch.full((50, C), -1), 15.0, default=-3.0) == -3.0


def test_fit_starts_the_bias_and_nothing_else():
    g = torch.Generator().manual_seed(1)
    cosines, targets = torch.rand(50, C, generator=g) - 0.3, torch.randint(-1, 2, (50, C), generator=g)
    calibration = Calibration(15.0, 2.0)
    calibration.fit(cosines, targets.numpy())
    assert calibration.bias.item() == pytest.approx(start_bias(cosines, targets, 15.0), abs=1e-4)
    assert calibration.scale.item() == pytest.approx(15.0) and calibration.bias.requires_grad
    before = calibration.bias.item()
    calibration.fit(cosines, torch.full((50, C), UNKNOWN))
    assert calibration.bias.item() == before


def test_prior_bias_of_equal_cosines_is_exact():
    assert prior_bias(torch.full((3, 2), 0.2), 50.0, 0.25) == pytest.approx(-10 - math.log(3), abs=1e-5)


def test_output_and_state_records():
    out = MethodOutput(torch.tensor([[0.0, 100.0, -100.0]]))
    assert out.saliency is None and out.scores == {} and out.features == {}
    torch.testing.assert_close(out.probabilities, torch.tensor([[0.5, 1.0, 0.0]]))
    assert out.probabilities.dtype == torch.float32
    assert MethodOutput(torch.zeros(1, 1)).scores is not out.scores
    assert LossState(0, 10).indices is None


# ---- the mean of two probabilities


def test_combined_logit_against_float64(rng):
    q, r = [8 * torch.randn(200, C, generator=rng) for _ in range(2)]
    mean = (sigmoid64(q) + sigmoid64(r)) / 2
    np.testing.assert_allclose(combine_scores(q, r), np.log(mean) - np.log1p(-mean), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    'q, r, expected',
    [
        (0.0, 0.0, 0.0),
        (100.0, 100.0, 100.0),
        (-100.0, -100.0, -100.0),
        (100.0, -100.0, 0.0),
        (100.0, 0.0, math.log(3)),
        (-100.0, 0.0, -math.log(3)),
        (60.0, 100.0, 60 + math.log(2)),
        (-60.0, -100.0, -60 - math.log(2)),
    ],
)
def test_combined_logit_by_hand(q, r, expected):
    q, r = torch.tensor([[q]], requires_grad=True), torch.tensor([[r]], requires_grad=True)
    value = combine_scores(q, r)
    assert value.item() == pytest.approx(expected, abs=1e-5)
    value.sum().backward()
    assert torch.isfinite(q.grad).all() and torch.isfinite(r.grad).all()


def test_combined_logit_lies_between_and_does_not_mind_the_order(rng):
    q, r = [30 * torch.randn(50, C, generator=rng) for _ in range(2)]
    value = combine_scores(q, r)
    assert (value >= torch.minimum(q, r) - 1e-4).all() and (value <= torch.maximum(q, r) + 1e-4).all()
    torch.testing.assert_close(value, combine_scores(r, q))
    assert combine_scores(q, r, 'query') is q and combine_scores(q, r, 'region') is r


def test_combined_logit_gradient():
    q, r = [torch.randn(4, C, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(combine_scores, (q, r))


# ---- distillation


def test_kl_against_float64(rng):
    s, t = [5 * torch.randn(B, C, generator=rng) for _ in range(2)]
    p, q = [np.exp(x.double().numpy() / 4) for x in (t, s)]
    p, q = p / p.sum(-1, keepdims=True), q / q.sum(-1, keepdims=True)
    assert distill_kl(s, t).item() == pytest.approx(16 * (p * np.log(p / q)).sum(-1).mean(), rel=1e-5)


def test_kl_by_hand():
    # teacher 3/4, 1/4; student 1/2, 1/2: KL = 3/4 ln(3/2) + 1/4 ln(1/2)
    teacher, student = torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)
    assert distill_kl(student, teacher, temperature=1).item() == pytest.approx(
        0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    )


def test_kl_gradient_at_high_temperature_is_the_difference_of_centred_logits(rng):
    s, t = torch.randn(1, C, generator=rng, dtype=torch.float64).requires_grad_(), torch.randn(1, C, generator=rng)
    distill_kl(s, t.double(), temperature=1000.0).backward()  # Hinton et al. 2015: (s - t) / C after centring
    expected = ((s - s.mean()) - (t - t.mean())) / C
    torch.testing.assert_close(s.grad, expected.detach().double(), atol=1e-3, rtol=1e-2)


def test_binary_against_torch_distributions(rng):
    s, t = [5 * torch.randn(B, C, generator=rng, dtype=torch.float64) for _ in range(2)]
    for temperature in (1.0, 4.0):
        p, q = [torch.distributions.Bernoulli(logits=x / temperature) for x in (t, s)]
        expected = torch.distributions.kl_divergence(p, q).sum(-1).mean() * temperature**2
        torch.testing.assert_close(distill_binary(s, t, temperature), expected)


def test_binary_gradient_is_the_difference_of_probabilities(rng):
    s, t = torch.randn(1, C, generator=rng).requires_grad_(), torch.randn(1, C, generator=rng)
    distill_binary(s, t).backward()
    torch.testing.assert_close(s.grad, s.detach().sigmoid() - t.sigmoid(), atol=1e-6, rtol=1e-5)


def test_cosine_against_by_hand():
    student, teacher = (
        torch.tensor([[3.0, 4.0], [0.0, 1.0], [1.0, 0.0]]),
        torch.tensor([[1.0, 0.0], [0.0, 9.0], [-2.0, 0.0]]),
    )
    assert distill_cosine(student, teacher).item() == pytest.approx((0.4 + 0 + 2) / 3)


LOSSES = [distill_kl, distill_binary, distill_cosine]


@pytest.mark.parametrize('loss', LOSSES)
def test_teacher_gets_no_gradient_and_equal_ones_no_loss(loss, rng):
    s, t = [torch.randn(B, C, generator=rng).requires_grad_() for _ in range(2)]
    loss(s, t).backward()
    assert t.grad is None and s.grad.abs().max() > 0
    assert loss(s, s.detach()).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize('loss', LOSSES)
@pytest.mark.parametrize('s, t', [(100.0, 100.0), (100.0, -100.0), (-100.0, 100.0), (-100.0, -100.0)])
def test_far_logits_stay_finite(loss, s, t):
    s = torch.tensor([[s, 1.0, 0.0]], requires_grad=True)
    value = loss(s, torch.tensor([[t, 0.0, 1.0]]))
    value.backward()
    assert torch.isfinite(value) and value >= 0 and torch.isfinite(s.grad).all()


def test_kl_is_blind_to_a_shift_and_binary_is_not():
    teacher = torch.tensor([[3.0, 3.0, -3.0]])
    assert distill_kl(teacher - 5, teacher).item() == pytest.approx(0, abs=1e-6)
    assert distill_binary(teacher - 5, teacher).item() > 1


# ---- autocast, dtypes, bad input


def test_bfloat16_autocast_is_finite_and_close(rng):
    layer = torch.nn.Linear(D, D)
    dense, texts = torch.randn(B, N, D, generator=rng), torch.randn(C, D, generator=rng)
    calibration = Calibration(50.0)

    def everything():
        x = layer(dense)
        pixel, _ = text_pixel_scores(x, texts)
        image = text_image_scores(x.mean(1), texts)
        logits = combine_scores(calibration(pixel), calibration(image))
        return (
            logits,
            distill_kl(logits, calibration(image)),
            distill_binary(logits, calibration(image)),
            distill_cosine(x[:, :C], x[:, 1 : C + 1]),
        )

    full = everything()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = everything()
    sum(x.sum() for x in half).backward()
    for a, b in zip(full, half):
        assert b.dtype == torch.float32 and torch.isfinite(b).all()
        torch.testing.assert_close(a, b, atol=0.5, rtol=0.1)
    assert torch.isfinite(layer.weight.grad).all()


def test_half_precision_features_are_matched_in_float32(rng):
    dense, texts = torch.randn(B, N, D, generator=rng), torch.randn(C, D, generator=rng)
    scores, _ = text_pixel_scores(dense.half(), texts)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, text_pixel_scores(dense, texts)[0], atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    'call, words',
    [
        (lambda: text_image_scores(torch.zeros(2, 3, 4), torch.zeros(5, 4)), ['pooled', '(2, 3, 4)', '[B, d]']),
        (lambda: text_pixel_scores(torch.zeros(2, 4), torch.zeros(5, 4)), ['dense', '(2, 4)', '[B, N, d]']),
        (lambda: text_pixel_scores(torch.zeros(2, 3, 4), torch.zeros(5, 6)), ['(5, 6)']),
        (lambda: text_pixel_scores(torch.zeros(2, 3, 4), torch.zeros(5, 4), pool='sum'), ['sum', 'softmax']),
        (lambda: text_pixel_scores(torch.zeros(2, 3, 4), torch.zeros(5, 4), temperature=0.0), ['temperature', '0']),
        (lambda: text_region_scores(torch.zeros(2, 6, 4), torch.zeros(5, 4)), ['(2, 6, 4)', '(5, 4)']),
        (lambda: cosine_logits(torch.zeros(4), torch.zeros(5, 4)), ['features', '(4,)']),
        (lambda: combine_scores(torch.zeros(2, 3), torch.zeros(2, 4)), ['(2, 3)', '(2, 4)']),
        (lambda: combine_scores(torch.zeros(2, 3), torch.zeros(2, 3), how='max'), ['max', 'mean']),
        (lambda: distill_kl(torch.zeros(2, 3), torch.zeros(3)), ['(2, 3)', '(3,)']),
        (lambda: distill_kl(torch.zeros(2, 3), torch.zeros(2, 3), temperature=0), ['temperature', '0']),
        (lambda: distill_binary(torch.zeros(2, 3), torch.zeros(2, 3), temperature=-1.0), ['temperature', '-1']),
        (lambda: distill_cosine(torch.zeros(2, 3), torch.zeros(2, 4)), ['(2, 3)', '(2, 4)']),
        (lambda: prior_bias(torch.zeros(2), 1.0, 1.0), ['rate', '1.0']),
        (lambda: prior_bias(torch.zeros(0), 1.0, 0.5), ['cosines', '(0,)']),
        (lambda: prior_bias(torch.tensor([float('nan')]), 1.0, 0.5), ['finite']),
        (lambda: prior_bias(torch.zeros(2), -1.0, 0.5), ['scale', '-1']),
        (lambda: Calibration(0.0), ['scale', '0']),
        (lambda: Calibration(1.0, float('nan')), ['bias', 'nan']),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(MatchingError) as error:
        call()
    for word in words:
        assert word in str(error.value)


def test_misplaced_against_scikit_learn():
    "One minus the area under the curve of each category that has both kinds, with ties counted by half; else 0."
    g = torch.Generator().manual_seed(4)
    logits = torch.randint(0, 7, (200, 6), generator=g).float()  # many ties
    targets = torch.randint(-1, 2, (200, 6), generator=g)
    targets[:, 3], targets[:, 4] = torch.where(targets[:, 3] == ABSENT, UNKNOWN, targets[:, 3]), UNKNOWN
    areas = []
    for c in (0, 1, 2, 5):
        known = targets[:, c] != UNKNOWN
        areas.append(roc_auc_score(targets[known, c].numpy(), logits[known, c].numpy()))
    assert misplaced(logits, targets) == pytest.approx(1 - sum(areas) / 4, abs=1e-9)
    assert misplaced(3 * logits - 2, targets) == misplaced(logits, targets)  # neither scale nor bias matters
    assert misplaced(logits, targets.clamp(max=0)) == 0.0 == misplaced(logits, torch.full_like(targets, UNKNOWN))


def test_unexplained_against_scikit_learn():
    from sklearn.metrics import log_loss

    g = torch.Generator().manual_seed(0)
    logits, targets = 3 * torch.randn(40, 5, generator=g), torch.randint(-1, 2, (40, 5), generator=g)
    known = targets != UNKNOWN
    y, x = targets[known].numpy(), logits[known].double().numpy()
    low, high = -50.0, 50.0  # the bias at which the mean probability is the share of present labels
    for _ in range(80):
        b = (low + high) / 2
        low, high = (b, high) if (1 / (1 + np.exp(-x - b))).mean() < y.mean() else (low, b)
    expected = log_loss(y, 1 / (1 + np.exp(-x - b))) / log_loss(y, np.full(len(y), y.mean()))
    assert unexplained(logits, targets) == pytest.approx(expected, rel=1e-6)
    assert unexplained(logits + 7, targets) == pytest.approx(expected, rel=1e-6)  # the bias does not matter


def test_unexplained_extremes():
    truth = torch.tensor([[1, 0], [0, 1], [1, -1]])
    right = torch.where(truth == 1, 20.0, -20.0)
    assert unexplained(right, truth) < 1e-6 < 1 < unexplained(-right, truth)
    assert unexplained(0 * right, truth) == pytest.approx(1)
    for one_kind in (
        torch.where(truth == 1, 1, UNKNOWN),
        torch.where(truth == 0, 0, UNKNOWN),
        torch.full_like(truth, UNKNOWN),
    ):
        assert unexplained(right, one_kind) == 0.0


def test_present_labels_alone_are_judged_by_their_rank():
    "Against a count pair by pair; a tower near chance leaves everything open, a good one nothing."
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(-3, 4, (40, 7), generator=generator).float()  # with ties
    targets = torch.where(torch.rand(40, 7, generator=generator) < 0.2, PRESENT, UNKNOWN)
    pairs = [
        (logits[i, c], logits[i, k])
        for i in range(40)
        for c in range(7)
        for k in range(7)
        if targets[i, c] == PRESENT and targets[i, k] == UNKNOWN
    ]
    expected = sum(1.0 if other > own else 0.5 if other == own else 0.0 for own, other in pairs) / len(pairs)
    assert outranked(logits, targets) == pytest.approx(expected)
    assert unexplained(logits, targets) == pytest.approx(min(max(4 * expected - 1, 0), 1))
    assert unexplained(torch.where(targets == PRESENT, 1.0, -1.0), targets) == 0.0
    assert unexplained(torch.where(targets == PRESENT, -1.0, 1.0), targets) == 1.0
    assert outranked(logits, torch.full_like(targets, UNKNOWN)) == 0.0
