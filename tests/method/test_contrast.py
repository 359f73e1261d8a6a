"The multimodal contrastive loss against float64 loops, torch's cross-entropy and hand-worked values."

import math

import pytest
import torch
from torch.nn import functional as F

from trmml_nb.method.contrast import ContrastError, multimodal_contrastive_loss, prototype_logits


def make(b=6, c=4, d=8, k=None, seed=0, dtype=torch.float32):
    "Random features, positives, visual and text prototypes of length 1."
    g = torch.Generator().manual_seed(seed)
    shapes = ((b, c, d), (c, d) if k is None else (c, k, d), (c, d))
    z, visual, texts = (F.normalize(torch.randn(*s, generator=g, dtype=dtype), dim=-1) for s in shapes)
    return z, torch.rand(b, c, generator=g) < 0.4, visual, texts


def loops(z, weights, visual, texts, tau, form='joint'):
    "Python floats: the formula term by term."
    if visual.ndim == 2:
        visual = visual[:, None]
    dot = lambda a, b: sum(x * y for x, y in zip(a.tolist(), b.tolist()))
    total = mass = 0.0
    for i in range(z.shape[0]):
        for c in range(z.shape[1]):
            w = float(weights[i, c])
            if w == 0:
                continue
            v = [sum(math.exp(dot(z[i, c], p) / tau) for p in bank) / len(bank) for bank in visual]
            t = [math.exp(dot(z[i, c], p) / tau) for p in texts]
            if form == 'joint':
                term = -math.log((v[c] + t[c]) / (sum(v) + sum(t)))
            else:
                term = -(math.log(v[c] / sum(v)) + math.log(t[c] / sum(t))) / 2
            total, mass = total + w * term, mass + w
    return total / mass


@pytest.mark.parametrize('form', ['joint', 'separate'])
@pytest.mark.parametrize('k', [None, 1, 3])
@pytest.mark.parametrize('tau', [0.05, 0.07, 0.2, 1.0])
def test_equals_float64_loops(form, k, tau):
    z, positives, visual, texts = make(k=k, dtype=torch.float64)
    weights = positives * torch.rand(positives.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert multimodal_contrastive_loss(z, positives, visual, texts, tau, form).item() == pytest.approx(
        loops(z, positives, visual, texts, tau, form), rel=1e-11
    )
    assert multimodal_contrastive_loss(z, weights, visual, texts, tau, form).item() == pytest.approx(
        loops(z, weights, visual, texts, tau, form), rel=1e-11
    )
    single = multimodal_contrastive_loss(z.float(), positives, visual.float(), texts.float(), tau, form)
    assert single.item() == pytest.approx(loops(z, positives, visual, texts, tau, form), rel=1e-4)


def test_hand_worked_plane():
    "-ln((e + e^0.8) / (e + e^0.8 + 1 + e^-0.6)), features and prototypes of length 2 are brought to length 1."
    visual, texts = torch.eye(2), torch.tensor([[0.8, 0.6], [-0.6, 0.8]])
    z = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    want = -math.log((math.e + math.exp(0.8)) / (math.e + math.exp(0.8) + 1 + math.exp(-0.6)))
    for scale in (1, 2):
        loss = multimodal_contrastive_loss(scale * z, torch.tensor([[True, False]]), scale * visual, scale * texts, 1.0)
        assert loss.item() == pytest.approx(want, rel=1e-6) and want == pytest.approx(0.2725, abs=1e-4)


def test_equal_banks_are_plain_cross_entropy():
    z, positives, visual, _ = make(seed=2)
    want = F.cross_entropy(z[positives] @ visual.T / 0.07, positives.nonzero()[:, 1])
    for form in ('joint', 'separate'):
        torch.testing.assert_close(multimodal_contrastive_loss(z, positives, visual, visual, form=form), want)


def test_gradient_by_finite_differences():
    z, positives, visual, texts = make(b=2, c=3, d=4, seed=3, dtype=torch.float64)
    positives[0, 0] = True
    for form in ('joint', 'separate'):
        f = lambda z, v, t: multimodal_contrastive_loss(z, positives, v, t, 0.3, form)
        assert torch.autograd.gradcheck(f, [t.clone().requires_grad_() for t in (z, visual, texts)])


def test_no_positives_is_zero_with_gradient():
    z, positives, visual, texts = make(seed=4)
    z.requires_grad_()
    for nothing in (torch.zeros_like(positives), torch.zeros(positives.shape)):
        z.grad = None
        loss = multimodal_contrastive_loss(z, nothing, visual, texts)
        loss.backward()
        assert loss.item() == 0 and torch.equal(z.grad, torch.zeros_like(z))


def test_other_entries_never_matter():
    z, positives, visual, texts = make(seed=5)
    dirty = torch.where(positives[..., None], z, float('nan')).requires_grad_()
    loss = multimodal_contrastive_loss(dirty, positives, visual, texts)
    loss.backward()
    assert loss == multimodal_contrastive_loss(z, positives, visual, texts)
    assert torch.equal(dirty.grad[~positives], torch.zeros_like(dirty.grad[~positives])) and dirty.grad.isfinite().all()


def test_low_temperature_does_not_overflow():
    z, positives, visual, texts = make(seed=6)
    z.requires_grad_()
    loss = multimodal_contrastive_loss(z, positives, visual, texts, temperature=1e-4)
    loss.backward()
    assert loss.isfinite() and z.grad.isfinite().all()


def test_float32_inside_autocast():
    z, positives, visual, texts = make(seed=7)
    half = z.bfloat16()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = multimodal_contrastive_loss(half, positives, visual, texts)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, multimodal_contrastive_loss(half.float(), positives, visual, texts))


def test_memory_may_change_before_backward():
    "The prototypes are updated in place between the loss and its backward pass."
    z, positives, visual, texts = make(seed=8)
    for bank in (visual, visual[:, None].repeat(1, 2, 1)):
        leaf, again = z.clone().requires_grad_(), z.clone().requires_grad_()
        multimodal_contrastive_loss(again, positives, bank.clone(), texts).backward()
        loss = multimodal_contrastive_loss(leaf, positives, bank, texts)
        bank.mul_(-1)
        loss.backward()
        torch.testing.assert_close(leaf.grad, again.grad)


def test_one_feature_for_two_present_categories_cannot_beat_ln_2():
    visual, both = torch.eye(2), torch.ones(1, 2, dtype=torch.bool)
    for angle in torch.linspace(0, math.pi / 2, 31):
        z = torch.stack([angle.cos(), angle.sin()]).expand(1, 2, 2)
        assert multimodal_contrastive_loss(z, both, visual, visual).item() >= math.log(2) - 1e-6
    assert multimodal_contrastive_loss(visual[None], both, visual, visual).item() < 1e-5


def test_prototype_logits_of_equal_prototypes():
    z, positives, visual, _ = make(seed=9)
    one = prototype_logits(z[positives], visual)
    torch.testing.assert_close(prototype_logits(z[positives], visual[:, None].expand(-1, 5, -1)), one)


def test_bad_input_is_named():
    z, positives, visual, texts = make()
    with pytest.raises(ContrastError, match=r'features has shape \(4, 8\), expected \[B, C, d\]'):
        multimodal_contrastive_loss(visual, positives, visual, texts)
    with pytest.raises(ContrastError, match=r'positives has shape \(4, 6\), expected \(6, 4\)'):
        multimodal_contrastive_loss(z, positives.T, visual, texts)
    with pytest.raises(ContrastError, match=r'visual_prototypes has shape \(3, 8\), expected \(4, 8\)'):
        multimodal_contrastive_loss(z, positives, visual[:3], texts)
    with pytest.raises(ContrastError, match=r'visual_prototypes has shape \(4, 0, 8\)'):
        multimodal_contrastive_loss(z, positives, visual[:, None][:, :0], texts)
    with pytest.raises(ContrastError, match=r'text_prototypes has shape \(8, 4\)'):
        multimodal_contrastive_loss(z, positives, visual, texts.T)
    for tau in (0, -1, float('nan')):
        with pytest.raises(ContrastError, match='temperature is'):
            multimodal_contrastive_loss(z, positives, visual, texts, tau)
    with pytest.raises(ContrastError, match="form is 'both'"):
        multimodal_contrastive_loss(z, positives, visual, texts, form='both')
    with pytest.raises(ContrastError, match='positives holds a value that is negative'):
        multimodal_contrastive_loss(z, positives.long() - 1, visual, texts)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_same_on_gpu():
    args = make(seed=10)
    there = multimodal_contrastive_loss(*(a.cuda() for a in args))
    torch.testing.assert_close(there.cpu(), multimodal_contrastive_loss(*args))


@pytest.mark.parametrize('form', ['joint', 'separate'])
@pytest.mark.parametrize('weighted', [False, True])
def test_keeping_every_entry_gives_the_same_loss_and_gradients(monkeypatch, form, weighted):
    """What is done on a GPU, where the number of positives is not looked at; features of entries that are no positives
    may be anything."""
    from trmml_nb.method import contrast

    z, positives, visual, texts = make(k=2, dtype=torch.float64)
    if weighted:
        positives = positives * torch.rand(positives.shape, generator=torch.Generator().manual_seed(1))
    z[~(positives > 0)] = float('nan')
    found = []
    for looks in (True, False):
        monkeypatch.setattr(contrast, 'can_look', lambda t: looks)
        leaf = z.clone().requires_grad_()
        loss = multimodal_contrastive_loss(leaf, positives, visual, texts, form=form)
        loss.backward()
        found.append((loss.detach(), leaf.grad))
    (few, slope), (every, other) = found
    assert torch.isfinite(few) and torch.allclose(few, every, rtol=1e-12)
    assert torch.allclose(slope, other, rtol=1e-10, atol=1e-14)
