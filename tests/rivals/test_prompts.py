"""Learnable prompts: pooling by hand, the methods recomputed outside themselves, and what they must refuse."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trmml_nb.towers import views
from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.towers.dense import ImageFeatures
from trmml_nb.data.labels import UNKNOWN
from trmml_nb.method.losses import partial_asymmetric_loss
from trmml_nb.method.contract import LossState
from trmml_nb.rivals.prompts import (
    CoOp,
    CoOpConfig,
    DualCoOp,
    DualCoOpConfig,
    DualCoOpPlus,
    DualCoOpPlusConfig,
    PromptError,
    PromptSets,
    dual_pool,
    winner_share,
    winner_take_all,
)
from trmml_nb.towers.encode import encode_dataset
from trmml_nb.towers.texts import insert_context
from trmml_nb.towers.tower import load_tower
from trmml_nb.training.trainer import TrainConfig, Trainer

NAMES = ['dog', 'cat', 'tree', 'pottedplant']
B, C, N = 5, 4, 9
STATE = LossState(0, 10)
KINDS = {CoOp: CoOpConfig, DualCoOp: DualCoOpConfig, DualCoOpPlus: DualCoOpPlusConfig}


@pytest.fixture(scope='module')
def tower():
    return load_tower('tiny')


@pytest.fixture
def features(tower):
    g = torch.Generator().manual_seed(0)
    pooled, dense = torch.randn(B, tower.dim, generator=g), torch.randn(B, N, tower.dim, generator=g)
    return ImageFeatures(F.normalize(pooled, dim=-1), F.normalize(dense, dim=-1))


def labels(seed=0):
    targets = torch.randint(-1, 2, (B, C), generator=torch.Generator().manual_seed(seed))
    targets[0, 0], targets[0, 1], targets[1, 2] = 1, 0, UNKNOWN
    return targets


def reference_pool(p, n, scale, evidence=None, share=None):
    "One map at a time, in Python numbers."
    e = p if evidence is None else evidence
    w = [math.exp(scale * x) * (1 if share is None else s) for x, s in zip(e, share if share is not None else e)]
    w = [x / sum(w) for x in w]
    return sum(a * b for a, b in zip(w, p)), sum(a * b for a, b in zip(w, n)), w


# -- pooling


def test_dual_pool_by_hand():
    p, n = torch.tensor([0.5, 0, 0, 0]), torch.tensor([-0.2, 0.6, 0.6, 0])
    positive, negative, weights = dual_pool(p, n, 2 * math.log(3))
    assert weights.tolist() == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6])
    assert (positive.item(), negative.item()) == pytest.approx((0.25, 0.10))


def test_dual_pool_limits():
    p, n = torch.tensor([0.5, 0.1, -0.3]), torch.tensor([0.2, 0.9, 0.4])
    even, sharp = dual_pool(p, n, 1e-6), dual_pool(p, n, 1e4)
    assert (even[0].item(), even[1].item()) == pytest.approx((p.mean().item(), n.mean().item()), abs=1e-5)
    assert (sharp[0].item(), sharp[1].item()) == pytest.approx((
        0.5,
        0.2,
    ))  # the negative map is read where the positive one is highest


@pytest.mark.parametrize('with_evidence', [False, True])
@pytest.mark.parametrize('with_share', [False, True])
def test_dual_pool_against_a_loop(with_evidence, with_share):
    g = torch.Generator().manual_seed(1)
    p, n, e = torch.rand(3, B, C, N, generator=g, dtype=torch.float64) * 2 - 1
    share = torch.rand(B, C, N, generator=g, dtype=torch.float64) if with_share else None
    got = dual_pool(p, n, 7.0, e if with_evidence else None, share)
    for b in range(B):
        for c in range(C):
            expected = reference_pool(
                p[b, c].tolist(),
                n[b, c].tolist(),
                7.0,
                e[b, c].tolist() if with_evidence else None,
                share[b, c].tolist() if with_share else None,
            )
            assert (got[0][b, c].item(), got[1][b, c].item()) == pytest.approx(expected[:2], abs=1e-12)
            assert got[2][b, c].tolist() == pytest.approx(expected[2], abs=1e-12)


def test_dual_pool_gradients_and_a_share_of_zero():
    g = torch.Generator().manual_seed(2)
    p, n, e = [torch.randn(2, 3, generator=g, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda *x: dual_pool(x[0], x[1], 3.0, x[2])[:2], (p, n, e))
    positive, _, weights = dual_pool(
        p, n, 3.0, e, torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.0, 0.0]], dtype=torch.float64)
    )
    assert (
        weights[0, 0] < 1e-100 and torch.isfinite(weights).all() and weights.sum(-1).tolist() == pytest.approx([1, 1])
    )
    positive.sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in (p, e))


def test_dual_pool_stays_in_float32_under_autocast():
    p, n = torch.rand(2, 2, 6, generator=torch.Generator().manual_seed(3))
    with torch.autocast('cpu', torch.bfloat16):
        got = dual_pool(p, n, 20.0)
    for a, b in zip(got, dual_pool(p, n, 20.0)):
        assert a.dtype == torch.float32 and torch.equal(a, b)
    assert dual_pool(p.half(), n.half(), 20.0)[0].dtype == torch.float32


def test_dual_pool_refuses():
    x = torch.zeros(2, 3)
    with pytest.raises(PromptError, match=r'negative_maps has shape \(2, 4\), expected \(2, 3\)'):
        dual_pool(x, torch.zeros(2, 4), 1.0)
    with pytest.raises(PromptError, match=r'share has shape \(3,\)'):
        dual_pool(x, x, 1.0, share=torch.zeros(3))
    for scale in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(PromptError, match='scale is'):
            dual_pool(x, x, scale)


def test_winner_take_all_by_hand_and_limits():
    maps = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    assert winner_take_all(maps, math.log(2)).T.tolist() == [
        pytest.approx([0.5, 0.25, 0.25]),
        pytest.approx([1 / 3] * 3),
    ]
    g = torch.Generator().manual_seed(4)
    random = torch.rand(B, C, N, generator=g)
    share = winner_take_all(random, 1e4)
    assert torch.equal(share.argmax(-2), random.argmax(-2)) and torch.allclose(share.sum(-2), torch.ones(B, N))
    assert (share.amax(-2) > 0.99).float().mean() > 0.9
    with pytest.raises(PromptError, match=r'maps has shape \(3,\)'):
        winner_take_all(torch.zeros(3), 1.0)
    with pytest.raises(PromptError, match='scale is 0'):
        winner_take_all(maps, 0)


# -- sets of prompts


@pytest.mark.parametrize('per_class', [False, True])
def test_sets_in_one_batch_equal_sets_one_by_one(tower, per_class):
    sets = PromptSets(tower, NAMES, sets=3, length=5, per_class=per_class, seed=2)
    assert sets.context.shape == (3, C if per_class else 1, 5, tower.texts.width)
    texts = sets()
    for k in range(3):
        context = sets.context[k] if per_class else sets.context[k, 0]
        assert torch.allclose(texts[k], tower.encode_prompts(context, NAMES), atol=1e-5)
    assert torch.allclose(texts.norm(dim=-1), torch.ones(3, C), atol=1e-5)


def test_random_start(tower):
    a, b, other = [PromptSets(tower, NAMES, 2, 16, per_class=True, seed=s).context.detach() for s in (0, 0, 1)]
    assert torch.equal(a, b) and not torch.equal(a, other)
    assert a.std().item() == pytest.approx(0.02, rel=0.05) and abs(a.mean().item()) < 0.002
    assert not torch.equal(a[0], a[1]) and not torch.equal(a[0, 0], a[0, 1])  # each prompt has a draw of its own


def test_start_from_words(tower):
    sets = PromptSets(tower, NAMES, 2, init='a photo of a', per_class=True)
    for texts in sets():
        assert torch.allclose(texts, tower.encode_classes(NAMES), atol=1e-5)
    assert sets.context.requires_grad and sets.context.is_leaf


def test_gradients_reach_the_context_and_nothing_else(tower):
    sets = PromptSets(tower, NAMES, 2, 3, per_class=True)
    (sets() * torch.randn(2, C, tower.dim, generator=torch.Generator().manual_seed(0))).sum().backward()
    assert (sets.context.grad.flatten(2).norm(dim=-1) > 0).all()
    assert all(p.grad is None and not p.requires_grad for p in tower.parameters())
    assert list(sets.state_dict()) == ['context'] == [n for n, _ in sets.named_parameters()]


def test_a_copy_shares_the_tower_and_not_the_context(tower):
    method = DualCoOp.from_tower(tower, NAMES)
    twin = copy.deepcopy(method)
    assert twin.prompts._tower[0] is tower and twin.prompts.context is not method.prompts.context
    with torch.no_grad():
        method.prompts.context.add_(1.0)
    assert (
        not torch.equal(twin.prompts.context, method.prompts.context)
        and twin.prompts.class_names == method.prompts.class_names
    )


def test_sets_refuse(tower):
    with pytest.raises(PromptError, match='sets is 0'):
        PromptSets(tower, NAMES, 0)
    with pytest.raises(PromptError, match='length is 0'):
        PromptSets(tower, NAMES, 1, 0)
    with pytest.raises(PromptError, match='DualCoOp needs 2 sets of prompts, got 1'):
        DualCoOp(PromptSets(tower, NAMES, 1), 10.0)


@pytest.mark.parametrize(
    'kind, wrong, message',
    [
        (CoOpConfig, dict(context_length=0), 'context_length is 0'),
        (DualCoOpConfig, dict(scale=-1.0), 'scale is -1.0'),
        (DualCoOpConfig, dict(spatial_share=0.0), 'spatial_share is 0.0'),
        (DualCoOpPlusConfig, dict(winner_scale=-0.1), 'winner_scale is -0.1'),
        (DualCoOpPlusConfig, dict(context_length=-2), 'context_length is -2'),
    ],
)
def test_configs_refuse(kind, wrong, message):
    with pytest.raises(PromptError, match=message):
        kind(**wrong)


# -- the methods


def test_coop_from_words_is_zero_shot(tower, features):
    out = CoOp.from_tower(tower, NAMES, CoOpConfig(init='a photo of a'))(features)
    expected = tower.logit_scale * features.pooled.double() @ tower.encode_classes(NAMES).double().T + tower.logit_bias
    assert torch.allclose(out.logits.double(), expected, atol=1e-4) and out.saliency is None


def test_coop_prepare_fits_the_bias(tower, features):
    class Store(views.Store):
        pooled = features.pooled.numpy()

    targets = labels()
    method = CoOp.from_tower(tower, NAMES)
    method.prepare(Store, targets)
    known = targets != UNKNOWN
    assert method(features).probabilities[known].mean().item() == pytest.approx(
        (targets[known] == 1).float().mean().item(), abs=1e-4
    )
    fixed = CoOp.from_tower(tower, NAMES, CoOpConfig(fit_bias=False))
    fixed.prepare(Store, targets)
    assert fixed.calibration.bias.item() == pytest.approx(tower.logit_bias)


def reference_maps(method, features):
    texts = method.prompts().detach().double()
    return [torch.einsum('bnd,cd->bcn', features.dense.double(), t) for t in texts]


def test_dualcoop_against_own_arithmetic(tower, features):
    method = DualCoOp.from_tower(tower, NAMES)
    out, (positive, negative) = method(features), reference_maps(method, features)
    k = tower.logit_scale
    weights = (0.2 * k * positive).softmax(-1)
    p, n = (weights * positive).sum(-1), (weights * negative).sum(-1)
    assert torch.allclose(out.logits.double(), k * (p - n), atol=1e-4) and torch.allclose(
        out.saliency.double(), weights, atol=1e-5
    )
    pair = torch.stack([k * n, k * p], -1).softmax(-1)[..., 1]
    assert torch.allclose(out.probabilities.double(), pair, atol=1e-5)
    assert torch.allclose(out.scores['positive'] + out.scores['negative'], out.logits)


def test_scales(tower):
    own, clip = DualCoOp.from_tower(tower, NAMES), DualCoOp.from_tower(tower, NAMES, DualCoOpConfig(scale=100.0))
    assert (own.scale, own.spatial_scale) == pytest.approx((tower.logit_scale, 0.2 * tower.logit_scale))
    assert (clip.scale, clip.spatial_scale) == pytest.approx((100.0, 20.0))


@pytest.mark.parametrize('winner_scale', [None, 0.0, 5.0])
def test_dualcoop_plus_against_own_arithmetic(tower, features, winner_scale):
    method = DualCoOpPlus.from_tower(tower, NAMES, DualCoOpPlusConfig(winner_scale=winner_scale, per_class=False))
    out, (positive, negative, evidence) = method(features), reference_maps(method, features)
    s = 0.2 * tower.logit_scale
    w = (s * evidence).exp()
    if winner_scale != 0:
        w = w * ((s if winner_scale is None else winner_scale) * evidence).softmax(1)
    w = w / w.sum(-1, keepdim=True)
    assert torch.allclose(out.saliency.double(), w, atol=1e-5)
    assert torch.allclose(out.logits.double(), tower.logit_scale * (w * (positive - negative)).sum(-1), atol=1e-4)


def test_plus_without_competition_and_with_evidence_equal_to_positive_is_dualcoop(tower, features):
    dual, plus = (
        DualCoOp.from_tower(tower, NAMES),
        DualCoOpPlus.from_tower(tower, NAMES, DualCoOpPlusConfig(winner_scale=0.0)),
    )
    with torch.no_grad():
        plus.prompts.context.copy_(dual.prompts.context[[0, 1, 0]])
    assert torch.allclose(dual(features).logits, plus(features).logits, atol=1e-5)


@pytest.mark.parametrize('kind', [DualCoOp, DualCoOpPlus])
def test_order_of_positions_does_not_matter(tower, features, kind):
    method, order = kind.from_tower(tower, NAMES), torch.randperm(N, generator=torch.Generator().manual_seed(0))
    a, b = method(features), method(features._replace(dense=features.dense[:, order]))
    assert torch.allclose(a.logits, b.logits, atol=1e-5) and torch.allclose(
        a.saliency[..., order], b.saliency, atol=1e-6
    )


@pytest.mark.parametrize('kind', KINDS)
def test_loss_is_that_of_known_labels(tower, features, kind):
    method, targets = kind.from_tower(tower, NAMES), labels()
    known = targets != UNKNOWN
    out = method(features)
    out.logits.retain_grad()
    total, parts = method.loss(out, targets, known, STATE)
    assert list(parts) == ['classification'] and not parts['classification'].requires_grad
    assert total.item() == pytest.approx(partial_asymmetric_loss(out.logits, targets, known, 1.0, 2.0, 0.05).item())
    total.backward()
    assert (out.logits.grad[~known] == 0).all() and (out.logits.grad[targets == 1] < 0).all()
    assert method.prompts.context.grad.abs().sum() > 0
    hidden = known.clone()
    hidden[0, 0] = False
    assert method.loss(out, targets, hidden, STATE)[0] < total
    everywhere = torch.ones_like(known)  # a mask that is too generous does not turn unknown into absent
    assert method.loss(out, targets, everywhere, STATE)[0].item() == pytest.approx(total.item())


@pytest.mark.parametrize('kind', KINDS)
def test_same_seed_same_method_other_seed_another(tower, features, kind):
    a, b, other = [kind.from_tower(tower, NAMES, KINDS[kind](seed=s))(features).logits for s in (0, 0, 7)]
    assert torch.equal(a, b) and not torch.allclose(a, other, atol=1e-3)


@pytest.mark.parametrize('kind', KINDS)
def test_bfloat16_autocast_is_finite_and_close(tower, features, kind):
    method, targets = kind.from_tower(tower, NAMES), labels()
    with torch.autocast('cpu', torch.bfloat16):
        out = method(features)
        total, _ = method.loss(out, targets, targets != UNKNOWN, STATE)
    assert total.dtype == torch.float32 and torch.isfinite(total)
    assert (out.logits.float() - method(features).logits).abs().max() < 0.5
    assert out.saliency is None or torch.allclose(out.saliency.sum(-1), torch.ones(B, C), atol=1e-5)


@pytest.mark.parametrize('kind', KINDS)
def test_learns_what_it_is_shown(tower, features, kind):
    method, targets = kind.from_tower(tower, NAMES), (labels(3) == 1).long()
    optimizer, losses = torch.optim.AdamW(method.parameters(), lr=1e-2), []
    for _ in range(100):
        total, _ = method.loss(method(features), targets, torch.ones_like(targets, dtype=torch.bool), STATE)
        optimizer.zero_grad(), total.backward(), optimizer.step()
        losses.append(total.item())
    assert losses[-1] < 0.5 * losses[0]


def test_the_trainer_takes_all_three_and_saves_contexts_only(tower, tmp_path):
    scenes = scenes_dataset('train', 12)
    store = encode_dataset(tower, scenes, tmp_path, progress=False).to_memory()
    for kind in KINDS:
        runs = []
        for _ in range(2):
            method = kind.from_tower(tower, scenes.class_names)
            before = method.prompts.context.detach().clone()
            trainer = Trainer(method, store, scenes.truth, TrainConfig(epochs=1, batch_size=6, lr=2e-3, ema=0.5))
            trainer.fit(progress=False)
            assert not torch.equal(before, method.prompts.context) and trainer.final.prompts._tower[0] is tower
            runs.append(np.asarray(trainer.final(store.batch([0, 1])).logits.detach()))
        assert np.array_equal(*runs)
        keys = ['calibration.bias', 'calibration.log_scale', 'prompts.context'] if kind is CoOp else ['prompts.context']
        assert sorted(method.state_dict()) == keys


# -- the public form of DualCoOp++, and names as papers write them


def test_winner_share_by_hand():
    "Cosines 0.3 and 0.2 at one position: exponents 18 and 12, so the loser keeps exp(-6)."
    share = winner_share(torch.tensor([[0.3, 0.1], [0.2, 0.1]], dtype=torch.float64))
    assert torch.allclose(share, torch.tensor([[1.0, 1.0], [math.exp(-6), 1.0]], dtype=torch.float64))


def test_dualcoop_plus_in_its_public_form(tower, features):
    method = DualCoOpPlus.from_tower(tower, NAMES, DualCoOpPlusConfig(form='public', per_class=False))
    out, (positive, negative, evidence) = method(features), reference_maps(method, features)
    k = math.exp(3)
    sharp = (200 * positive * positive.amax(1, keepdim=True)).softmax(1)
    weights = (k * evidence).softmax(-1)
    won = (weights * k * positive * (sharp / sharp.amax(1, keepdim=True))).sum(-1)
    expected = won - (weights * k * negative).sum(-1)
    assert torch.allclose(out.logits.double(), expected, atol=1e-3)
    assert torch.allclose(out.saliency.double(), weights, atol=1e-5)
    out.logits.sum().backward()
    assert method.log_scales.grad.abs().min() > 0 and method.prompts.context.grad.abs().max() > 0
    assert set(method.state_dict()) == {'prompts.context', 'log_scales'}
    assert set(DualCoOpPlus.from_tower(tower, NAMES).state_dict()) == {'prompts.context'}


@pytest.mark.parametrize('kind', KINDS)
def test_names_as_papers_write_them(tower, kind):
    "Joined words stay joined; everything else is as before."
    spoken, papers = (kind.from_tower(tower, NAMES, KINDS[kind](class_names=w)) for w in ('spoken', 'papers'))
    a, b = spoken.prompts().detach(), papers.prompts().detach()
    assert torch.allclose(a[:, :3], b[:, :3], atol=1e-6) and not torch.allclose(a[:, 3], b[:, 3], atol=1e-4)
    context = papers.prompts.context.detach().expand(-1, len(NAMES), -1, -1).flatten(0, 1)
    texts = insert_context(tower.texts, context, [f'{n}.' for n in NAMES] * papers.prompts.sets)
    assert torch.allclose(b.flatten(0, 1), F.normalize(texts.float(), dim=-1), atol=1e-5)
    with pytest.raises(PromptError, match="class_names is 'mine', expected one of spoken, papers"):
        KINDS[kind](class_names='mine')
