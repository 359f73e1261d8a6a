"""The plain methods: every number against arithmetic in float64 or by hand, and the contract that all methods share."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trmml_nb.towers import views
from trmml_nb.method.positions import RegionError
from trmml_nb.rivals.baselines import (
    AttendingDecoderLayer,
    BaselineError,
    LinearHead,
    LinearHeadConfig,
    Query2Label,
    Query2LabelConfig,
    ZeroShot,
    ZeroShotConfig,
    grouped_readout,
    splc_targets,
    treat_unknown,
)
from trmml_nb.towers.dense import ImageFeatures
from trmml_nb.data.labels import UNKNOWN
from trmml_nb.method.scores import MatchingError
from trmml_nb.method.contract import LossState, MethodOutput
from trmml_nb.towers.texts import class_texts, written_names
from trmml_nb.towers.tower import load_tower

B, C, N, D = 5, 3, 6, 8
GRID = (2, 3)
STATE = LossState(0, 5)


class Store(views.Store):
    "Features of B images, with the two calls of a FeatureStore that a method may use."

    def __init__(self, features):
        self.features = features

    def __len__(self):
        return len(self.features.pooled)

    def batch(self, rows, device=None):
        return ImageFeatures(*(part[rows] for part in self.features))


class Tower:
    "What from_tower asks of a tower."

    dim, grid, logit_scale, logit_bias = D, GRID, 12.0, -1.5

    def encode_classes(self, class_names):
        return F.normalize(torch.randn(len(class_names), D, generator=torch.Generator().manual_seed(7)), dim=-1)


def data(seed=0):
    g = torch.Generator().manual_seed(seed)
    dense = F.normalize(torch.randn(B, N, D, generator=g), dim=-1)
    features = ImageFeatures(
        F.normalize(torch.randn(B, D, generator=g), dim=-1), dense, torch.rand(B, N, generator=g) + 0.5
    )
    targets = torch.tensor([[1, 0, -1], [-1, -1, 0], [1, -1, -1], [-1, 1, 0], [0, -1, -1]])
    return features, targets


def make(kind, **config):
    kinds = {
        'zero': (ZeroShot, ZeroShotConfig),
        'linear': (LinearHead, LinearHeadConfig),
        'q2l': (Query2Label, Query2LabelConfig),
    }
    method, settings = kinds[kind]
    config = dict(ffn_dim=16, heads=2) | config if kind == 'q2l' else config
    return method.from_tower(Tower(), ['a', 'b', 'c'], settings(**config))


def bce64(logits, targets):
    "Sum over known labels of binary cross-entropy, divided by the number of images."
    x, y = logits.detach().double().numpy(), np.asarray(targets)
    p = 1 / (1 + np.exp(-x))
    return -(np.log(p)[y == 1].sum() + np.log(1 - p)[y == 0].sum()) / len(x)


# ---- what an unknown label is


@pytest.mark.parametrize(
    'epoch, expected', [(0, [[1, 0, 0], [0, 1, 0]]), (1, [[1, 1, 0], [0, 1, 1]]), (4, [[1, 1, 0], [0, 1, 1]])]
)
def test_splc_by_hand(epoch, expected):
    p = torch.tensor([[0.1, 0.61, 0.60], [0.99, 0.2, 0.9]])
    targets = torch.tensor([[1, -1, -1], [0, 1, -1]], dtype=torch.int8)  # a known absent at 0.99 stays absent
    filled = splc_targets(p, targets, epoch)
    assert filled.tolist() == expected and filled.dtype == torch.int8 and targets[0, 1] == UNKNOWN


def test_splc_threshold_start_and_shapes():
    p, targets = torch.tensor([[0.3, 0.5]]), torch.tensor([[-1, -1]])
    assert splc_targets(p, targets, 3, threshold=0.4, start=3).tolist() == [[0, 1]]
    assert splc_targets(p, targets, 2, threshold=0.4, start=3).tolist() == [[0, 0]]
    with pytest.raises(BaselineError, match=r'\(1, 2\).*\(2, 2\)'):
        splc_targets(p, torch.zeros(2, 2), 0)


def test_three_treatments_by_hand():
    p, targets = torch.tensor([[0.9, 0.9, 0.1]]), torch.tensor([[0, -1, -1]])
    for how, expected in dict(ignore=[[0, -1, -1]], assume_negative=[[0, 0, 0]], splc=[[0, 1, 0]]).items():
        assert treat_unknown(how, p, targets, epoch=5).tolist() == expected, how
    with pytest.raises(BaselineError, match="how is 'guess', expected one of 'ignore'"):
        treat_unknown('guess', p, targets)


# ---- zero-shot


def test_zero_shot_image_is_scaled_cosine():
    features, _ = data()
    method = make('zero')
    cosine = features.pooled.double() @ Tower().encode_classes('abc').double().T
    np.testing.assert_allclose(method(features).logits, 12 * cosine - 1.5, atol=1e-5)
    assert method(features).saliency is None


def test_zero_shot_pixel_softmax_in_float64():
    features, _ = data()
    output = make('zero', matching='pixel', temperature=0.2)(features)
    maps = np.einsum('cd,bnd->bcn', Tower().encode_classes('abc').double().numpy(), features.dense.double().numpy())
    weights = np.exp(maps / 0.2) / np.exp(maps / 0.2).sum(-1, keepdims=True)
    np.testing.assert_allclose(output.saliency, weights, atol=1e-5)
    np.testing.assert_allclose(output.logits, 12 * (weights * maps).sum(-1) - 1.5, atol=1e-5)


@pytest.mark.parametrize('matching', ['image', 'pixel'])
def test_zero_shot_prepare_moves_the_bias_alone(matching):
    features, targets = data()
    method = make('zero', matching=matching)
    before = method(features).logits
    method.prepare(Store(features), targets)
    after = method(features)
    torch.testing.assert_close(after.logits - before, (after.logits - before)[:1, :1].expand(B, C))
    known = targets != UNKNOWN
    assert after.probabilities[known].mean().item() == pytest.approx(
        (targets[known] == 1).float().mean().item(), abs=1e-5
    )
    fixed = make('zero', matching=matching, fit_bias=False)
    fixed.prepare(Store(features), targets)
    assert torch.equal(fixed(features).logits, before)


def test_zero_shot_has_nothing_to_train():
    features, targets = data()
    method = make('zero')
    assert next(method.parameters()) is not None and not any(p.requires_grad for p in method.parameters())
    with pytest.raises(BaselineError, match='nothing to train'):
        method.loss(method(features), targets, targets != UNKNOWN, STATE)
    with pytest.raises(MatchingError, match='same tower'):
        method(ImageFeatures(torch.zeros(B, D + 1), features.dense, None))


# ---- linear head


def test_linear_head_starts_at_zero_shot_or_at_nothing():
    features, _ = data()
    torch.testing.assert_close(make('linear')(features).logits, make('zero')(features).logits)
    assert (make('linear', init='zeros')(features).logits == -1.5).all()
    twice = make('linear', scale=24.0)(features).logits + 1.5
    torch.testing.assert_close(twice, 2 * (make('linear')(features).logits + 1.5))


@pytest.mark.parametrize('how', ['ignore', 'assume_negative', 'splc'])
@pytest.mark.parametrize('epoch', [0, 1])
def test_linear_loss_and_gradient_against_float64(how, epoch):
    features, targets = data()
    head, state = make('linear', loss=how), LossState(epoch, 5)
    output = head(features)
    output.logits.retain_grad()
    total, parts = head.loss(output, targets, targets != UNKNOWN, state)
    seen = treat_unknown(how, output.probabilities, targets, epoch)
    assert total.item() == pytest.approx(bce64(output.logits, seen), rel=1e-5)
    assert list(parts) == ['classification'] and parts['classification'].item() == total.item()
    assert not parts['classification'].requires_grad
    total.backward()
    slope = torch.where(seen != UNKNOWN, output.probabilities - seen, 0) / B
    torch.testing.assert_close(output.logits.grad, slope.detach())
    torch.testing.assert_close(head.weight.grad, 12 * slope.detach().T @ features.pooled, atol=1e-5, rtol=1e-4)


def test_complete_says_what_the_loss_sees():
    features, targets = data()
    p = torch.full((B, C), 0.9)
    for how, filled in dict(ignore=UNKNOWN, assume_negative=0, splc=1).items():
        labels = make('linear', loss=how).complete(MethodOutput(p.logit()), targets, LossState(2, 5))
        assert (labels.targets[targets == UNKNOWN] == filled).all(), how
        assert (labels.targets == targets)[targets != UNKNOWN].all()
        assert torch.equal(labels.weights == 1, labels.known_mask)


@pytest.mark.parametrize(
    'kind, config',
    [('linear', {}), ('linear', dict(loss='splc')), ('q2l', {}), ('q2l', dict(unknown='assume_negative'))],
)
def test_known_mask_hides_targets(kind, config):
    features, targets = data()
    method, known = make(kind, **config).eval(), targets != UNKNOWN
    hidden, fewer = targets.clone(), known.clone()
    hidden[0, 0], fewer[0, 0] = UNKNOWN, False
    one, other = (
        method.loss(method(features), t, m, STATE)[0] for t, m in ((targets, fewer), (hidden, hidden != UNKNOWN))
    )
    assert one.item() == other.item() != method.loss(method(features), targets, known, STATE)[0].item()


@pytest.mark.parametrize('init', ['text', 'zeros'])
@pytest.mark.parametrize('how', ['ignore', 'assume_negative', 'splc'])
def test_linear_prepare_fits_the_labels_that_the_loss_sees(init, how):
    features, targets = data()
    head = make('linear', loss=how, init=init)
    head.prepare(Store(features), targets)
    counted = targets != UNKNOWN if how == 'ignore' else torch.ones(B, C, dtype=torch.bool)
    expected = (targets == 1).sum().item() / counted.sum().item()
    assert head(features).probabilities[counted].mean().item() == pytest.approx(expected, abs=1e-5)


def test_linear_head_learns_a_separable_toy():
    torch.manual_seed(0)
    features = ImageFeatures(F.normalize(torch.randn(64, D), dim=-1), torch.zeros(64, N, D), None)
    targets = (features.pooled[:, :C] > 0).long()
    head = make('linear')
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-2)
    losses = []
    for _ in range(150):
        total, _ = head.loss(head(features), targets, targets != UNKNOWN, STATE)
        optimizer.zero_grad(), total.backward(), optimizer.step()
        losses.append(total.item())
    assert losses[-1] < losses[0] / 3
    assert ((head(features).logits > 0) == (targets == 1)).float().mean() > 0.95


def test_settings_are_refused_with_the_choices():
    for bad, message in (
        (lambda: LinearHeadConfig(loss='bce'), "loss is 'bce', expected one of 'ignore'"),
        (lambda: LinearHeadConfig(init='random'), "'text', 'zeros'"),
        (lambda: LinearHeadConfig(splc_threshold=60), 'splc_threshold is 60'),
        (lambda: LinearHeadConfig(scale=0), 'scale is 0'),
        (lambda: ZeroShotConfig(matching='text'), "'image', 'pixel'"),
        (lambda: Query2LabelConfig(unknown='splc'), "'ignore', 'assume_negative'"),
        (lambda: Query2LabelConfig(layers=0), 'layers is 0'),
        (lambda: Query2Label(3, 10, GRID), 'multiple of 4'),
        (lambda: Query2Label(3, 12, GRID, Query2LabelConfig(heads=5)), 'heads is 5'),
        (lambda: grouped_readout(torch.zeros(2, 3, 4), torch.zeros(4, 3), torch.zeros(3)), r'\(2, 3, 4\)'),
    ):
        with pytest.raises(BaselineError, match=message):
            bad()


def test_features_that_do_not_fit_are_refused():
    features, _ = data()
    with pytest.raises(BaselineError, match=r'pooled has shape \(5, 9\), expected \[B, d\] with d = 8'):
        make('linear')(features._replace(pooled=torch.zeros(B, 9)))
    with pytest.raises(BaselineError, match=r'dense has shape \(5, 6, 7\).*d = 8'):
        make('q2l')(features._replace(dense=features.dense[..., :7]))
    with pytest.raises(RegionError, match=r'5 positions fill neither the grid \(2, 3\) nor a square'):
        make('q2l')(features._replace(dense=features.dense[:, :5], norms=features.norms[:, :5]))


# ---- decoder of label queries


def test_grouped_readout_against_a_loop():
    g = torch.Generator().manual_seed(0)
    x, w, b = (torch.randn(*s, generator=g, dtype=torch.float64) for s in ((B, C, D), (C, D), (C,)))
    loop = torch.stack([torch.stack([x[i, c] @ w[c] + b[c] for c in range(C)]) for i in range(B)])
    torch.testing.assert_close(grouped_readout(x, w, b), loop)


@pytest.mark.parametrize('training', [False, True])
def test_decoder_layer_is_that_of_torch(training):
    torch.manual_seed(0)
    layer = AttendingDecoderLayer(D, 2, 16, 0.0).train(training)
    queries, memory = torch.randn(B, C, D), torch.randn(B, N, D)
    x, attention = layer(queries, memory)
    torch.testing.assert_close(
        x, torch.nn.TransformerDecoderLayer.forward(layer, queries, memory), atol=1e-5, rtol=1e-4
    )
    y = layer.norm1(queries + layer.self_attn(queries, queries, queries)[0])  # the attention, head by head
    wq, wk, _ = layer.multihead_attn.in_proj_weight.chunk(3)
    bq, bk, _ = layer.multihead_attn.in_proj_bias.chunk(3)
    q, k = (F.linear(z, w, b).unflatten(-1, (2, -1)).transpose(1, 2) for z, w, b in ((y, wq, bq), (memory, wk, bk)))
    torch.testing.assert_close(attention, (q @ k.mT / math.sqrt(D // 2)).softmax(-1).mean(1), atol=1e-5, rtol=1e-4)


def test_saliency_sums_to_one_also_under_dropout():
    features, _ = data()
    torch.manual_seed(0)
    for method in (make('q2l', layers=2, dropout=0.5).train(), make('q2l').eval()):
        saliency = method(features).saliency
        assert saliency.shape == (B, C, N) and (saliency >= 0).all()
        torch.testing.assert_close(saliency.sum(-1), torch.ones(B, C))


def test_query2label_is_decided_by_its_seed_alone():
    features, _ = data()
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one = make('q2l').eval()(features).logits
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert torch.equal(make('q2l').eval()(features).logits, one)
    assert not torch.allclose(make('q2l', seed=1).eval()(features).logits, one)


def test_images_do_not_mix_and_positions_matter():
    features, _ = data()
    method = make('q2l').eval()
    whole = method(features).logits
    torch.testing.assert_close(
        method(ImageFeatures(*(part[2:3] for part in features))).logits, whole[2:3], atol=1e-5, rtol=1e-4
    )
    swapped = ImageFeatures(features.pooled, features.dense.flip(1), features.norms.flip(1))
    assert not torch.allclose(method(swapped).logits, whole, atol=1e-4)  # the position code
    assert not torch.allclose(method(features._replace(norms=None)).logits, whole, atol=1e-4)  # lengths of the features


def test_query2label_loss_gradient_and_bias():
    features, targets = data()
    method = make('q2l', gamma_neg=0.0, clip=0.0)
    method.prepare(None, targets)
    known = targets != UNKNOWN
    torch.testing.assert_close(
        method.bias.sigmoid(), torch.full((C,), (targets == 1).sum().item() / known.sum().item())
    )
    output = method.eval()(features)
    output.logits.retain_grad()
    total, parts = method.loss(output, targets, known, STATE)
    assert total.item() == pytest.approx(bce64(output.logits, targets), rel=1e-5) and list(parts) == ['classification']
    total.backward()
    assert (output.logits.grad[~known] == 0).all() and (output.logits.grad[known] != 0).all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())
    assumed = make('q2l', unknown='assume_negative', gamma_neg=0.0, clip=0.0).eval()
    total, _ = assumed.loss(MethodOutput(output.logits.detach()), targets, known, STATE)
    assert total.item() == pytest.approx(bce64(output.logits, torch.where(known, targets, 0)), rel=1e-5)
    assumed.prepare(None, targets)
    torch.testing.assert_close(assumed.bias.sigmoid(), torch.full((C,), 3 / 15))


@pytest.mark.parametrize('kind, config', [('zero', {}), ('zero', dict(matching='pixel')), ('linear', {}), ('q2l', {})])
def test_bfloat16_autocast_is_float32_where_it_counts(kind, config):
    features, targets = data()
    method = make(kind, **config).eval()
    exact = method(features)
    with torch.autocast('cpu', torch.bfloat16):
        output = method(features)
    assert output.logits.dtype == torch.float32 and (output.logits - exact.logits).abs().max() < 0.15
    if output.saliency is not None:
        torch.testing.assert_close(output.saliency.sum(-1), torch.ones(B, C), atol=1e-5, rtol=0)
    if kind != 'zero':
        total, _ = method.loss(output, targets, targets != UNKNOWN, STATE)
        assert total.isfinite() and total.dtype == torch.float32


@pytest.mark.parametrize('kind', ['zero', 'linear', 'q2l'])
def test_state_dict_goes_round(kind):
    features, targets = data()
    method, fresh = make(kind).eval(), make(kind).eval()
    method.prepare(Store(features), targets)
    assert not torch.allclose(method(features).logits, fresh(features).logits)
    fresh.load_state_dict(method.state_dict())
    assert torch.equal(method(features).logits, fresh(features).logits)


def test_trainer_trains_the_two_that_learn():
    from trmml_nb.training.trainer import TrainConfig, Trainer, predict_logits

    features, targets = data()
    store = Store(features)
    store.image_ids = list('abcde')
    for kind in ('linear', 'q2l'):
        method = make(kind)
        before = predict_logits(method, store)
        runs = [
            Trainer(make(kind), store, targets, TrainConfig(epochs=3, batch_size=2, lr=1e-2, device='cpu'))
            for _ in range(2)
        ]
        losses = [run.fit(progress=False)['loss'].tolist() for run in runs]
        assert losses[0] == losses[1] and not torch.allclose(predict_logits(runs[0].method, store), before)
    assert predict_logits(make('zero'), store).shape == (B, C)


# ---- the forms of released code, and names as papers write them


def test_query2label_in_its_release_form_against_its_definition():
    "Zero targets, queries added in front of every attention, code in the keys alone, a last norm, no self-attention."
    features, _ = data()
    decoder = make('q2l', form='release', layers=2, clip=0.0).double().eval()
    features = ImageFeatures(*(part.double() for part in features))
    memory, code = (part.double() for part in decoder.positions(features))
    q, heads, x = decoder.queries, 2, torch.zeros(B, C, D, dtype=torch.float64)
    for layer in decoder.layers:
        w, b = layer.multihead_attn.in_proj_weight, layer.multihead_attn.in_proj_bias
        split = lambda y: y.unflatten(-1, (heads, D // heads)).transpose(1, 2)  # [B, heads, ..., d / heads]
        asked = split((x + q) @ w[:D].T + b[:D])
        keys = split((memory + code) @ w[D : 2 * D].T + b[D : 2 * D])
        values = split(memory @ w[2 * D :].T + b[2 * D :])
        looks = (asked @ keys.transpose(-1, -2) / math.sqrt(D // heads)).softmax(-1)
        looked = layer.multihead_attn.out_proj((looks @ values).transpose(1, 2).flatten(-2))
        x = layer.norm2(x + looked)
        x = layer.norm3(x + layer.linear2(layer.linear1(x).relu()))
    x = decoder.last_norm(x)
    expected = (x * decoder.weight).sum(-1) + decoder.bias
    out = decoder(features)
    assert torch.allclose(out.logits.double(), expected, atol=1e-6)
    assert torch.allclose(out.saliency.double(), looks.mean(1), atol=1e-6)


def test_the_two_forms_are_two_functions():
    "On the same weights: neither is a version of the other, so rows are named."
    features, _ = data()
    ours, release = make('q2l', layers=2), make('q2l', form='release', layers=2)
    release.load_state_dict(ours.state_dict(), strict=False)
    with torch.no_grad():
        a, b = ours.eval()(features).logits, release.eval()(features).logits
    assert np.corrcoef(a.flatten(), b.flatten())[0, 1] < 0.9
    talking = make(
        'q2l', form='release', self_attention=True, layers=2
    )  # from zero targets the first layer has nothing to say
    talking.load_state_dict(release.state_dict())
    with torch.no_grad():
        assert not torch.allclose(talking.eval()(features).logits, b, atol=1e-3)
    with pytest.raises(BaselineError, match="form is 'other', expected one of 'ours', 'release'"):
        Query2LabelConfig(form='other')


def test_old_rows_keep_their_checksum():
    "Forms that are not asked for do not change what a row stands for."
    from trmml_nb.rivals.registry import settings_sha256

    for name in ('query2label', 'zero_shot', 'coop', 'dualcoop', 'dualcoop_plus', 'scpnet'):
        assert settings_sha256(name) == settings_sha256(
            f'{name}:' + ('clip=0.05' if 'zero' not in name else 'fit_bias=True')
        )
        assert 'papers' not in name and (
            name == 'query2label' or settings_sha256(name) != settings_sha256(f'{name}:class_names=papers')
        )


def test_names_as_papers_write_them():
    names = ['diningtable', 'pottedplant', 'tv_monitor']
    assert (
        written_names(names, 'papers') == ['diningtable', 'pottedplant', 'tv monitor'] and written_names(names) is None
    )
    tower = load_tower('tiny')
    papers = class_texts(tower, names, 'papers')
    expected = tower.encode_texts([
        'a photo of a diningtable.',
        'a photo of a pottedplant.',
        'a photo of a tv monitor.',
    ])
    assert torch.allclose(papers, expected, atol=1e-6)
    assert (F.cosine_similarity(papers[:2], class_texts(tower, names)[:2]) < 0.999).all()
    assert torch.allclose(
        ZeroShot.from_tower(tower, names, ZeroShotConfig(class_names='papers')).texts, papers, atol=1e-6
    )
    with pytest.raises(BaselineError, match="class_names is 'mine', expected one of 'spoken', 'papers'"):
        ZeroShotConfig(class_names='mine')
