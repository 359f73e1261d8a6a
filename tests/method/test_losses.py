"The partial asymmetric loss against float64 loops, torch's own losses and torchvision's focal loss."

import math

import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from trmml_nb.method.contract import LossError
from trmml_nb.method.losses import asymmetric_terms, gradient_mass, partial_asymmetric_loss


def batch(b=7, c=5, seed=0, scale=3.0):
    "Random logits, hard targets and a mask with about half the labels known."
    g = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(b, c, generator=g)
    targets = (torch.rand(b, c, generator=g) < 0.3).to(torch.int8)
    known = torch.rand(b, c, generator=g) < 0.5
    return logits, torch.where(known, targets, -1), known


def reference(logits, targets, known, gamma_pos, gamma_neg, clip):
    "Python floats and loops: sum over classes, mean over batch."
    total = 0.0
    for i in range(len(logits)):
        for c in range(logits.shape[1]):
            if not known[i, c]:
                continue
            p, y = 1 / (1 + math.exp(-float(logits[i, c]))), float(targets[i, c])
            pm = max(p - clip, 0.0)
            total -= y * (1 - p) ** gamma_pos * math.log(p) + (1 - y) * pm**gamma_neg * math.log(1 - pm)
    return total / len(logits)


@pytest.mark.parametrize('gamma_pos, gamma_neg, clip', [(1, 2, 0.05), (0, 4, 0.05), (0, 0, 0), (2, 2, 0), (0, 4, 0.2)])
def test_value_equals_float64_loops(gamma_pos, gamma_neg, clip):
    logits, targets, known = batch()
    want = reference(logits.double(), targets, known, gamma_pos, gamma_neg, clip)
    got = partial_asymmetric_loss(logits, targets, known, gamma_pos, gamma_neg, clip)
    assert got.item() == pytest.approx(want, rel=1e-5)
    double = partial_asymmetric_loss(logits.double(), targets, known, gamma_pos, gamma_neg, clip)
    assert double.dtype == torch.float64 and double.item() == pytest.approx(want, rel=1e-12)


def test_hand_worked_row():
    "p = 0.9 present, 0.3 absent, unknown: 0.1 * -ln 0.9 + 0.25 ** 2 * -ln 0.75."
    logits = torch.tensor([[math.log(9), math.log(3 / 7), 0.4]])
    loss = partial_asymmetric_loss(logits, torch.tensor([[1, 0, -1]]), torch.tensor([[True, True, False]]))
    assert loss.item() == pytest.approx(0.1 * -math.log(0.9) + 0.0625 * -math.log(0.75), rel=1e-5)
    assert loss.item() == pytest.approx(0.028516, abs=1e-6)


def test_gradient_with_constant_focusing_weight():
    "d loss / d logit = weight * d(-log) / d logit, the weight taken as a constant."
    logits, targets, known = batch(seed=1)
    x = logits.double().requires_grad_()
    partial_asymmetric_loss(x, targets, known).backward()
    p = x.detach().sigmoid()
    pm = (p - 0.05).clamp(min=0)
    present = -(1 - p) * (1 - p)
    absent = pm**2 * p * (1 - p) / (1 - pm)
    want = torch.where(known, torch.where(targets == 1, present, absent), 0) / len(p)
    torch.testing.assert_close(x.grad, want, rtol=1e-10, atol=1e-12)


def test_bce_is_torch_bce_with_value_and_gradient():
    logits, targets, known = batch(seed=2)
    a, b = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    mine = partial_asymmetric_loss(a, targets, known, 0, 0, 0)
    bce = F.binary_cross_entropy_with_logits(b[known], targets[known].float(), reduction='sum') / len(b)
    torch.testing.assert_close(mine, bce)
    mine.backward(), bce.backward()
    torch.testing.assert_close(a.grad, b.grad)
    soft = torch.rand(logits.shape, generator=torch.Generator().manual_seed(3))
    mine = partial_asymmetric_loss(logits, soft, torch.ones_like(known), 0, 0, 0, reduction='none')
    torch.testing.assert_close(mine, F.binary_cross_entropy_with_logits(logits, soft, reduction='none'))


def test_focal_is_torchvision_focal():
    logits, targets, known = batch(seed=4)
    mine = partial_asymmetric_loss(logits, targets, known, 2, 2, 0, reduction='none')
    focal = sigmoid_focal_loss(logits, targets.float().clamp(min=0), alpha=-1, gamma=2)
    torch.testing.assert_close(mine[known], focal[known])


def test_asymmetric_without_clip_is_each_side_of_focal():
    logits, targets, _ = batch(seed=5)
    present, absent = asymmetric_terms(logits, 1, 4, 0)
    ones = torch.ones_like(logits)
    torch.testing.assert_close(present, sigmoid_focal_loss(logits, ones, alpha=-1, gamma=1))
    torch.testing.assert_close(absent, sigmoid_focal_loss(logits, 0 * ones, alpha=-1, gamma=4))


@pytest.mark.parametrize('trash', [float('nan'), float('inf'), -float('inf'), 1e30])
def test_unknown_entries_give_exactly_zero(trash):
    logits, targets, known = batch(seed=6)
    clean = logits.clone().requires_grad_()
    dirty = torch.where(known, logits, trash).requires_grad_()
    weight = torch.where(known, 1.0, torch.tensor(float('nan')))
    a = partial_asymmetric_loss(clean, targets, known)
    b = partial_asymmetric_loss(dirty, torch.where(known, targets.float(), trash), known, weight=weight)
    a.backward(), b.backward()
    assert a == b and torch.equal(clean.grad, dirty.grad)
    assert torch.equal(dirty.grad[~known], torch.zeros_like(dirty.grad[~known]))
    none = partial_asymmetric_loss(dirty, targets, known, reduction='none')
    assert torch.equal(none[~known], torch.zeros_like(none[~known]))


def test_nothing_known_is_zero_with_a_gradient():
    x = torch.randn(2, 3, requires_grad=True)
    none = torch.zeros(2, 3, dtype=torch.bool)
    for reduction in ('sum_classes', 'mean_known', 'sum'):
        loss = partial_asymmetric_loss(x, torch.full((2, 3), -1), none, reduction=reduction)
        x.grad = None
        loss.backward()
        assert loss == 0 and torch.equal(x.grad, torch.zeros(2, 3))
    assert partial_asymmetric_loss(torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.bool)) == 0


@pytest.mark.parametrize('x', [-1e4, -100.0, -30.0, 0.0, 30.0, 100.0, 1e4])
@pytest.mark.parametrize('settings', [(1, 2, 0.05), (0, 0, 0), (2, 2, 0), (0, 4, 0.0)])
def test_extreme_logits_stay_finite(x, settings):
    logits = torch.full((1, 2), x, requires_grad=True)
    loss = partial_asymmetric_loss(logits, torch.tensor([[1.0, 0.0]]), torch.ones(1, 2, dtype=torch.bool), *settings)
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()
    wide = logits.detach().double()
    want = partial_asymmetric_loss(wide, torch.tensor([[1.0, 0.0]]), torch.ones(1, 2, dtype=torch.bool), *settings)
    assert loss.item() == pytest.approx(want.item(), rel=1e-5, abs=1e-12)


def test_margin_silences_easy_absent_labels():
    x = torch.full((1, 1), math.log(0.04 / 0.96), requires_grad=True)
    partial_asymmetric_loss(x, torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool)).backward()
    assert x.grad.item() == 0


def test_float32_inside_autocast():
    logits, targets, known = batch(seed=7)
    half = logits.bfloat16()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = partial_asymmetric_loss(half, targets, known)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, partial_asymmetric_loss(half.float(), targets, known))


def test_weights_soft_targets_and_reductions():
    logits, targets, known = batch(seed=8)
    soft = torch.where(targets == 1, 0.8, 0.1)
    weight = torch.rand(logits.shape, generator=torch.Generator().manual_seed(9))
    each = partial_asymmetric_loss(logits, soft, known, weight=weight, reduction='none')
    present, absent = asymmetric_terms(logits)
    torch.testing.assert_close(each, torch.where(known, weight * (soft * present + (1 - soft) * absent), 0))
    for reduction, count in dict(sum=1, sum_classes=len(logits), mean_known=int(known.sum())).items():
        got = partial_asymmetric_loss(logits, soft, known, weight=weight, reduction=reduction)
        torch.testing.assert_close(got, each.sum() / count)


def test_gradient_mass_is_the_sum_of_absolute_gradients():
    logits, targets, known = batch(seed=10)
    x = logits.clone().requires_grad_()
    partial_asymmetric_loss(x, targets, known).backward()
    mass = gradient_mass(logits, targets, known)
    assert mass['present'] == pytest.approx(x.grad[known & (targets == 1)].abs().sum().item(), rel=1e-5)
    assert mass['absent'] == pytest.approx(x.grad[known & (targets == 0)].abs().sum().item(), rel=1e-5)
    assert mass['share_present'] == pytest.approx(mass['present'] / (mass['present'] + mass['absent']))


def test_bad_input_is_named():
    x, known = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(LossError, match=r'targets has shape \(2, 4\), expected \(2, 3\)'):
        partial_asymmetric_loss(x, torch.zeros(2, 4), known)
    with pytest.raises(LossError, match=r'known_mask has shape \(3,\)'):
        partial_asymmetric_loss(x, x, known[0])
    with pytest.raises(LossError, match=r'weight has shape \(2,\)'):
        partial_asymmetric_loss(x, x, known, weight=torch.ones(2))
    with pytest.raises(LossError, match='known_mask has dtype torch.int64, expected torch.bool'):
        partial_asymmetric_loss(x, x, known.long())
    targets = torch.zeros(2, 3)
    targets[1, 2] = -1
    with pytest.raises(LossError, match=r'targets\[1, 2\] is -1.0 .*expected a value in \[0, 1\]'):
        partial_asymmetric_loss(x, targets, known)
    with pytest.raises(LossError, match="reduction is 'mean'"):
        partial_asymmetric_loss(x, x, known, reduction='mean')
    for settings, name in [
        (dict(clip=1.0), 'clip'),
        (dict(clip=-0.1), 'clip'),
        (dict(gamma_neg=-1), 'gamma_neg'),
        (dict(gamma_pos=float('nan')), 'gamma_pos'),
    ]:
        with pytest.raises(LossError, match=f'{name} is'):
            partial_asymmetric_loss(x, x, known, **settings)
    with pytest.raises(LossError, match=r'weight\[0, 1\] is -1.0'):
        partial_asymmetric_loss(x, x, known, weight=torch.tensor([[1.0, -1, 1], [1, 1, 1]]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_same_on_gpu():
    logits, targets, known = batch(seed=11)
    here = partial_asymmetric_loss(logits, targets, known)
    there = partial_asymmetric_loss(logits.cuda(), targets.cuda(), known.cuda())
    torch.testing.assert_close(here, there.cpu())
