"""The assembled model: every part of its output and loss recomputed outside the model."""
import math

import pytest
import torch
import torch.nn.functional as F

from trmml_nb.labels import PRESENT, UNKNOWN
from trmml_nb.matching import LossState
from trmml_nb.towers import ImageFeatures
from trmml_nb.trmml import TRMML, TRMMLConfig, start_bias

B, C, N, D = 5, 4, 9, 16


def make(seed=0, **config):
    g = torch.Generator().manual_seed(seed)
    texts = F.normalize(torch.randn(C, D, generator=g), dim=-1)
    dense = F.normalize(torch.randn(B, N, D, generator=g), dim=-1)
    pooled = F.normalize(dense.mean(1), dim=-1)
    targets = torch.randint(-1, 2, (B, C), generator=g)
    targets[0, 0], targets[0, 1], targets[1, 2] = 1, 0, UNKNOWN
    model = TRMML(texts, (3, 3), scale=12.0, bias=-1.5, config=TRMMLConfig(ffn_dim=32, **config))
    return model, ImageFeatures(pooled, dense), targets


def reference_asl(logits, targets, weights, gp=1.0, gn=2.0, clip=0.05):
    total = torch.zeros((), dtype=torch.float64)
    for b in range(B):
        for c in range(C):
            if targets[b, c] == UNKNOWN:
                continue
            p = torch.sigmoid(logits[b, c].double())
            q = max(p.item() - clip, 0.0)
            y = float(targets[b, c])
            loss = -(y * (1 - p) ** gp * torch.log(p) + (1 - y) * q ** gn * math.log(max(1 - q, 1e-30)))
            total += weights[b, c].double() * loss
    return total / B


def test_output_against_own_arithmetic():
    model, features, _ = make()
    out = model.eval()(features)
    assert out.logits.shape == (B, C) and out.saliency.shape == (B, C, N)
    assert torch.allclose(out.saliency.sum(-1), torch.ones(B, C), atol=1e-5)
    for name in ('query', 'region'):
        cosine = (out.features[name] * model.texts).sum(-1)
        assert torch.allclose(out.scores[name], 12.0 * cosine - 1.5, atol=1e-4)
    mean = (out.scores['query'].double().sigmoid() + out.scores['region'].double().sigmoid()) / 2
    assert torch.allclose(out.logits.double(), torch.logit(mean), atol=1e-4)


@pytest.mark.parametrize('score', ['query', 'region'])
def test_score_option_is_the_branch(score):
    model, features, _ = make(score=score)
    out = model.eval()(features)
    assert torch.equal(out.logits, out.scores[score])


def test_joint_loss_is_the_weighted_sum_of_references():
    model, features, targets = make(contrast_weight=0.3, distill_weight=0.7, pseudo='none')
    out = model.eval()(features)
    total, parts = model.loss(out, targets, targets != UNKNOWN, LossState(0, 10))
    cls = reference_asl(out.logits.detach(), targets, torch.ones(B, C))
    t, s = (out.scores[k].double().detach() / 4.0 for k in ('region', 'query'))
    kd = 16 * (t.softmax(-1) * (t.log_softmax(-1) - s.log_softmax(-1))).sum() / B
    terms = []
    for b, c in (targets == PRESENT).nonzero().tolist():
        z = out.features[model.config.prototype_feature][b, c].double().detach()
        v = (model.memory.prototypes.double() @ z / 0.07).exp() + (model.texts.double() @ z / 0.07).exp()
        terms.append(-torch.log(v[c] / v.sum()))
    mcl = torch.stack(terms).mean()
    for name, value in dict(classification=cls, distillation=kd, contrast=mcl).items():
        assert parts[name].item() == pytest.approx(value.item(), rel=1e-4, abs=1e-5), name
    assert total.item() == pytest.approx((cls + 0.7 * kd + 0.3 * mcl).item(), rel=1e-4)


def test_unknown_labels_give_no_gradient():
    model, features, targets = make(contrast_weight=0.0, distill='none', pseudo='none')
    out = model.eval()(features)
    out.logits.retain_grad()
    model.loss(out, targets, targets != UNKNOWN, LossState(0, 10))[0].backward()
    assert (out.logits.grad[targets == UNKNOWN] == 0).all() and (out.logits.grad[targets == 1] != 0).all()


def test_known_mask_hides_targets():
    model, features, targets = make(pseudo='none')
    known = targets != UNKNOWN
    known[0, 0] = False
    hidden = targets.clone()
    hidden[0, 0] = UNKNOWN
    out = model.eval()(features)
    a = model.loss(out, targets, known, LossState(0, 10))[0]
    b = model.loss(out, hidden, hidden != UNKNOWN, LossState(0, 10))[0]
    assert a.item() == b.item()


def test_warm_up_and_known_labels_in_complete():
    model, features, targets = make(pseudo='hard', pseudo_warmup=3, pseudo_present=0.2, pseudo_absent=0.1)
    out = model.eval()(features)
    assert (model.complete(out, targets, LossState(2, 10)).targets == targets).all()
    late = model.complete(out, targets, LossState(3, 10))
    known = targets != UNKNOWN
    assert (late.targets[known] == targets[known]).all() and (late.targets[~known] != UNKNOWN).any()


def test_prototypes_move_only_in_training_and_only_from_known_present():
    model, features, targets = make(pseudo='none')
    before = model.memory.prototypes.clone()
    model.eval()
    model.loss(model(features), targets, targets != UNKNOWN, LossState(0, 10))
    assert torch.equal(before, model.memory.prototypes)
    model.train()
    model.loss(model(features), targets, targets != UNKNOWN, LossState(0, 10))
    moved = (model.memory.prototypes != before).any(-1)
    assert torch.equal(moved, (targets == PRESENT).any(0))


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


def test_bfloat16_autocast_is_finite_and_close():
    model, features, targets = make()
    with torch.autocast('cpu', torch.bfloat16):
        out = model.eval()(features)
        total, _ = model.loss(out, targets, targets != UNKNOWN, LossState(5, 10))
    exact = model(features)
    assert torch.isfinite(total) and total.dtype == torch.float32
    assert (out.logits.float() - exact.logits).abs().max() < 0.5


def test_config_refuses_unknown_choices():
    with pytest.raises(ValueError, match="score is 'both'"):
        TRMMLConfig(score='both')
