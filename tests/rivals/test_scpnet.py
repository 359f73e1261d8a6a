"""A prior over labels: relation matrix, graph, second view and thresholds against numbers of their own."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from trmml_nb.towers import views
from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.towers.dense import ImageFeatures
from trmml_nb.data.labels import PRESENT, UNKNOWN, apply_mask, bernoulli_mask
from trmml_nb.method.losses import partial_asymmetric_loss
from trmml_nb.method.contract import LossState, MethodOutput
from trmml_nb.rivals.scpnet import (
    ClassGraph,
    PriorError,
    ReleasedSCPNet,
    SCPNet,
    SCPNetConfig,
    class_thresholds,
    focal_margin_loss,
    position_view,
    relation_matrix,
    released_settings,
    sharpened_relation,
    surest_labels,
)
from trmml_nb.towers.encode import encode_dataset
from trmml_nb.towers.tower import load_tower
from trmml_nb.training.trainer import TrainConfig, Trainer

NAMES = ['dog', 'cat', 'tree', 'boat']
B, C, N = 6, 4, 9


@pytest.fixture(scope='module')
def tower():
    return load_tower('tiny')


def some_features(tower, seed=0, norms=True):
    g = torch.Generator().manual_seed(seed)
    dense = F.normalize(torch.randn(B, N, tower.dim, generator=g), dim=-1)
    lengths = torch.rand(B, N, generator=g) + 0.5
    return ImageFeatures(F.normalize(torch.randn(B, tower.dim, generator=g), dim=-1), dense, lengths if norms else None)


def labels(seed=0):
    targets = torch.randint(-1, 2, (B, C), generator=torch.Generator().manual_seed(seed))
    targets[0, 0], targets[0, 1], targets[1, 2] = 1, 0, UNKNOWN
    return targets


# -- the relation matrix


def test_relation_by_hand():
    texts = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 3.0]])  # lengths do not matter
    assert relation_matrix(texts, 1).tolist() == [[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0.5, 0.5]]
    two = relation_matrix(texts, 2, 0.6 / math.log(3), 0.2)
    assert two[2].tolist() == pytest.approx([0.2, 0.6, 0.2])  # e^0 : e^(ln 3) shares what is left, 0.8
    assert torch.equal(relation_matrix(texts, 1, self_weight=1.0), torch.eye(3))


@pytest.mark.parametrize('top_k', [1, 3, 6, 50])
def test_relation_against_a_loop_in_float64(top_k):
    x = np.random.RandomState(0).randn(7, 5)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    expected = 0.3 * np.eye(7)
    for i in range(7):
        others = sorted((j for j in range(7) if j != i), key=lambda j: -unit[i] @ unit[j])[:top_k]
        weights = {j: math.exp(unit[i] @ unit[j] / 0.2) for j in others}
        for j, w in weights.items():
            expected[i, j] += 0.7 * w / sum(weights.values())
    got = relation_matrix(torch.as_tensor(x), top_k, 0.2, 0.3)
    assert got.dtype == torch.float64 and np.abs(got.numpy() - expected).max() < 1e-14
    single = relation_matrix(torch.as_tensor(x).float(), top_k, 0.2, 0.3)
    assert single.dtype == torch.float32 and np.abs(single.numpy() - expected).max() < 1e-5


def test_relation_of_equal_texts_keeps_top_k_and_of_one_text_is_one():
    same = relation_matrix(torch.ones(5, 3), top_k=2)
    assert ((same > 0).sum(-1) == 3).all() and torch.allclose(same.sum(-1), torch.ones(5))
    assert relation_matrix(torch.ones(1, 3)).tolist() == [[1.0]]
    cold = relation_matrix(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), 5, 1e-6)
    assert torch.isfinite(cold).all() and ((cold > 0.01).sum(-1) == 2).all()


@pytest.mark.parametrize(
    'wrong', [dict(top_k=0), dict(temperature=0.0), dict(temperature=math.inf), dict(self_weight=1.1)]
)
def test_relation_refuses_settings(wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(PriorError, match=f'{name}.*{value}'):
        relation_matrix(torch.eye(3), **wrong)


def test_relation_refuses_texts():
    with pytest.raises(PriorError, match=r'texts has shape \(3,\)'):
        relation_matrix(torch.ones(3))
    with pytest.raises(PriorError, match='finite'):
        relation_matrix(torch.full((2, 2), math.nan))


# -- the graph


def test_graph_starts_as_the_texts_and_learns():
    texts = F.normalize(torch.randn(C, 6, generator=torch.Generator().manual_seed(0)), dim=-1)
    graph = ClassGraph(relation_matrix(texts, 2), 6, 3)
    assert torch.allclose(graph(texts), texts, atol=1e-6)
    graph(texts)[0, 0].backward()
    assert graph.second.grad.abs().sum() > 0 and sorted(graph.state_dict()) == ['first', 'second']
    assert [n for n, _ in graph.named_parameters()] == ['first', 'second']


def test_graph_against_numpy():
    g = torch.Generator().manual_seed(1)
    texts = F.normalize(torch.randn(C, 6, generator=g), dim=-1)
    graph = ClassGraph(relation_matrix(texts, 2), 6, 3, seed=5)
    with torch.no_grad():
        graph.second.copy_(torch.randn(3, 6, generator=g))
    r, t, w1, w2 = [x.detach().double().numpy() for x in (graph.relation, texts, graph.first, graph.second)]
    h = r @ t @ w1
    x = t + r @ np.where(h > 0, h, 0.2 * h) @ w2
    expected = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert np.abs(graph(texts).detach().numpy() - expected).max() < 1e-5
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(graph(texts), graph(texts.float())) and graph(texts).dtype == torch.float32
    with pytest.raises(PriorError, match=r'relation has shape \(2, 3\)'):
        ClassGraph(torch.ones(2, 3), 6, 3)


# -- the second view


def test_view_of_everything_is_the_pooled_vector(tower):
    features = some_features(tower)
    assert torch.allclose(position_view(features, 1.0), features.pooled, atol=1e-6)


@pytest.mark.parametrize('norms', [True, False])
def test_view_of_one_position(tower, norms):
    features = some_features(tower, norms=norms)
    view = position_view(features, 1e-3, generator=torch.Generator().manual_seed(0))  # at least one position stays
    raw = features.dense * (features.norms[..., None] if norms else 1)
    choices = F.normalize(features.pooled[:, None] + raw - raw.mean(1, keepdim=True), dim=-1)  # [B, N, d]
    distance = (choices - view[:, None]).norm(dim=-1)
    assert (distance.min(-1).values < 1e-5).all() and distance.argmin(-1).unique().numel() > 1


def test_view_is_decided_by_its_generator_and_centred_on_the_pooled_vector(tower):
    features = some_features(tower)
    a, b, other = [position_view(features, 0.4, 0.2, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert torch.equal(a, b) and not torch.equal(a, other) and torch.allclose(a.norm(dim=-1), torch.ones(B), atol=1e-5)
    g = torch.Generator().manual_seed(2)
    mean = torch.stack([position_view(features, 0.5, generator=g) for _ in range(400)]).mean(0)
    assert F.cosine_similarity(mean, features.pooled, dim=-1).min() > 0.99
    dropped = position_view(features, 1.0, 0.25, torch.Generator().manual_seed(0))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize('wrong', [dict(keep=0.0), dict(keep=1.2), dict(dropout=1.0)])
def test_view_refuses(tower, wrong):
    with pytest.raises(PriorError, match=f'{next(iter(wrong))} is {next(iter(wrong.values()))}'):
        position_view(some_features(tower), **wrong)


# -- thresholds


def test_thresholds_by_hand():
    status = torch.tensor([0.6, 0.3, 0.0])
    assert class_thresholds(status, 0.9, 0.0).tolist() == pytest.approx([0.9, 0.3, 0])
    assert class_thresholds(status, 0.9, 0.6).tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert class_thresholds(torch.zeros(2), 0.9, 0.6).tolist() == pytest.approx([0.6, 0.6])
    with pytest.raises(PriorError, match='floor is 0.95'):
        class_thresholds(status, 0.9, 0.95)


def test_status_learns_from_known_present_labels_only(tower):
    method = SCPNet.from_tower(tower, NAMES, SCPNetConfig(status_momentum=0.75))
    p = torch.rand(B, C, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[1, 0, -1, 1], [1, 0, -1, -1]] + [[-1, -1, 0, 0]] * (B - 2))
    method.learn_status(p, targets)
    expected = [0.75 + 0.25 * (p[0, 0] + p[1, 0]).item() / 2, 1.0, 1.0, 0.75 + 0.25 * p[0, 3].item()]
    assert method.status.tolist() == pytest.approx(expected)
    assert 'status' in method.state_dict() and 'graph.relation' not in method.state_dict()


# -- the method


def test_untrained_is_zero_shot(tower):
    features = some_features(tower)
    expected = tower.logit_scale * features.pooled.double() @ tower.encode_classes(NAMES).double().T + tower.logit_bias
    for config in (SCPNetConfig(), SCPNetConfig(hidden=0), SCPNetConfig(top_k=99)):
        out = SCPNet.from_tower(tower, NAMES, config).eval()(features)
        assert torch.allclose(out.logits.double(), expected, atol=1e-4) and out.saliency is None


def test_relation_comes_from_the_towers_own_texts_and_scale(tower):
    method = SCPNet.from_tower(tower, NAMES, SCPNetConfig(top_k=2))
    assert torch.allclose(
        method.graph.relation, relation_matrix(tower.encode_classes(NAMES), 2, 1 / tower.logit_scale, 0.5)
    )
    assert method.graph.first.shape == (tower.dim, tower.dim // 8)
    assert SCPNet.from_tower(tower, NAMES, SCPNetConfig(hidden=0)).graph is None


def test_second_view_in_training_only(tower):
    features, method = some_features(tower), SCPNet.from_tower(tower, NAMES)
    method.train()
    torch.manual_seed(0)
    a = method(features)
    torch.manual_seed(0)
    b, c = method(features), method(features)
    assert torch.equal(a.features['strong'], b.features['strong']) and not torch.equal(
        a.features['strong'], c.features['strong']
    )
    assert torch.equal(a.logits, c.logits)
    torch.manual_seed(0)
    view = position_view(features, 0.5, 0.1)
    expected = method.calibration(view @ tower.encode_classes(NAMES).T)
    assert torch.allclose(a.features['strong'], expected, atol=1e-4)
    assert 'strong' not in method.eval()(features).features
    assert (
        'strong' not in SCPNet.from_tower(tower, NAMES, SCPNetConfig(consistency_weight=0.0)).train()(features).features
    )


def test_prepare_fits_the_bias(tower):
    features, targets = some_features(tower), labels()

    class Store(views.Store):
        pooled = features.pooled.numpy()

    method, known = SCPNet.from_tower(tower, NAMES), targets != UNKNOWN
    method.prepare(Store, targets)
    assert method(features).probabilities[known].mean().item() == pytest.approx(
        (targets[known] == 1).float().mean().item(), abs=1e-4
    )


def test_complete(tower):
    method = SCPNet.from_tower(tower, NAMES, SCPNetConfig(threshold=0.9, threshold_floor=0.6))
    method.status.copy_(torch.tensor([0.6, 0.3, 0.6, 0.6]))  # thresholds .9, .7, .9, .9
    p = torch.tensor([[0.8, 0.8, 0.95, 0.95], [0.05, 0.65, 0.5, 0.05]])
    out = MethodOutput(p.logit())
    targets = torch.tensor([[-1, -1, -1, 0], [-1, -1, -1, 1]])
    early, late = [method.complete(out, targets, LossState(e, 9)) for e in (0, 1)]
    assert torch.equal(early.targets, targets.float())
    assert late.targets.tolist() == [[-1, 1, 1, 0], [0, -1, -1, 1]]
    assert late.weights.tolist() == [[0, 1, 1, 1], [1, 0, 0, 1]]


@pytest.mark.parametrize('unknown', ['splc', 'ignore', 'assume_negative'])
@pytest.mark.parametrize('epoch', [0, 1])
def test_loss_from_its_definition(tower, unknown, epoch):
    config = SCPNetConfig(unknown=unknown, consistency_weight=0.7, threshold=0.8, threshold_floor=0.8)
    method, targets = SCPNet.from_tower(tower, NAMES, config).eval(), labels()
    g = torch.Generator().manual_seed(0)
    logits, strong = 3 * torch.randn(2, B, C, generator=g)
    total, parts = method.loss(
        MethodOutput(logits, features=dict(strong=strong)), targets, targets != UNKNOWN, LossState(epoch, 5)
    )
    p, cls, co = logits.double().sigmoid(), 0.0, 0.0
    for b in range(B):
        for c in range(C):
            y, q = targets[b, c].item(), p[b, c].item()
            if y == UNKNOWN and epoch >= 1 and (q >= 0.8 or q <= 0.2):  # consistency: plain cross-entropy
                s = strong[b, c].double().sigmoid().item()
                co -= math.log(s if q >= 0.8 else 1 - s)
            if y == UNKNOWN and unknown == 'ignore':
                continue
            y = y if y != UNKNOWN else int(unknown == 'splc' and epoch >= 1 and q > 0.6)
            r = max(q - 0.05, 0)
            cls -= (1 - q) * math.log(q) if y else r**2 * math.log(1 - r)
    assert parts['classification'].item() == pytest.approx(cls / B, rel=1e-4)
    assert parts['consistency'].item() == pytest.approx(co / B, rel=1e-4, abs=1e-9)
    assert total.item() == pytest.approx((cls + 0.7 * co) / B, rel=1e-4)
    assert list(parts) == ['classification', 'consistency'] and not any(v.requires_grad for v in parts.values())


def test_known_mask_hides_targets(tower):
    method, targets = SCPNet.from_tower(tower, NAMES, SCPNetConfig(unknown='ignore')).eval(), labels()
    out = method(some_features(tower))
    known = targets != UNKNOWN
    known[0, 0] = False
    expected = partial_asymmetric_loss(out.logits, targets, known)
    assert method.loss(out, targets, known, LossState(0, 5))[0].item() == pytest.approx(expected.item())


def test_gradients_and_pseudo_labels_have_none(tower):
    method = SCPNet.from_tower(tower, NAMES, SCPNetConfig(unknown='ignore')).train()
    targets = torch.full((B, C), UNKNOWN)
    targets[0, 0] = PRESENT
    out = method(some_features(tower))
    out.logits = (out.logits * 0 + torch.tensor([5.0, -9.0, 9.0, 0.0])).detach().requires_grad_()
    method.loss(out, targets, targets != UNKNOWN, LossState(2, 5))[0].backward()
    assert (out.logits.grad != 0).sum() == 1 and out.logits.grad[
        0, 0
    ] < 0  # the weak view learns from the known label alone
    for name, p in method.named_parameters():
        assert name in ('graph.first',) or p.grad.abs().sum() > 0, (
            name
        )  # the first layer waits for the second to leave zero
    assert all(p.grad is None for p in tower.parameters())


def test_status_moves_in_training_only(tower):
    features, targets, method = some_features(tower), labels(), SCPNet.from_tower(tower, NAMES)
    out = method.train()(features)
    method.eval().loss(out, targets, targets != UNKNOWN, LossState(0, 5))
    assert torch.equal(method.status, torch.ones(C))
    method.train().loss(out, targets, targets != UNKNOWN, LossState(0, 5))
    assert torch.equal(method.status != 1, (targets == PRESENT).any(0))


def test_bfloat16_autocast_is_finite_and_close(tower):
    features, targets, method = some_features(tower), labels(), SCPNet.from_tower(tower, NAMES)
    with torch.autocast('cpu', torch.bfloat16):
        out = method.train()(features)
        total, _ = method.loss(out, targets, targets != UNKNOWN, LossState(2, 5))
    assert torch.isfinite(total) and total.dtype == torch.float32
    assert (out.logits.float() - method(features).logits).abs().max() < 0.5


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(unknown='guess'), 'unknown is .guess., expected one of ignore'),
        (dict(threshold=0.8), 'floor is 0.85'),
        (dict(keep=0.0), 'keep is 0.0'),
        (dict(hidden=-1), 'hidden is -1'),
        (dict(consistency_weight=-1.0), 'consistency_weight is -1.0'),
        (dict(context_length=0), 'context_length is 0'),
        (dict(status_momentum=1.0), 'status_momentum is 1.0'),
        (dict(view_dropout=1.0), 'view_dropout is 1.0'),
    ],
)
def test_config_refuses(wrong, message):
    with pytest.raises(PriorError, match=message):
        SCPNetConfig(**wrong)


def test_the_trainer_repeats_and_reports_pseudo_labels(tower, tmp_path):
    scenes = scenes_dataset('train', 24)
    store = encode_dataset(tower, scenes, tmp_path, progress=False).to_memory()
    y, results = apply_mask(scenes.truth, bernoulli_mask(scenes.truth.shape, 0.3)), []
    for _ in range(2):
        method = SCPNet.from_tower(tower, scenes.class_names)
        trainer = Trainer(method, store, y, TrainConfig(epochs=2, batch_size=8, lr=2e-3, ema=0.5), truth=scenes.truth)
        history = trainer.fit(progress=False)
        results.append(trainer.final(store.batch([0, 1])).logits.detach().numpy())
        assert {'classification', 'consistency', 'pseudo_precision_absent'} <= set(history.columns)
        assert trainer.final.prompts._tower[0] is tower and not torch.equal(
            method.status, torch.ones(len(method.status))
        )
    assert np.array_equal(*results)
    twin = SCPNet.from_tower(tower, scenes.class_names)
    twin.load_state_dict(method.state_dict())
    assert torch.equal(twin.thresholds, method.thresholds) and torch.equal(copy.deepcopy(twin).status, method.status)


# -- the release form


def test_relation_in_proportion_by_hand():
    "Cosines 0.8 and 0.4 with two neighbours: two thirds and one third of what is not the category's own."
    texts = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.4, 0.0, math.sqrt(0.84)]], dtype=torch.float64)
    row = relation_matrix(texts, 2, 1.0, 0.8, proportional=True)[0]
    assert torch.allclose(row, torch.tensor([0.8, 0.2 * 2 / 3, 0.2 / 3], dtype=torch.float64))


def test_three_rounds_against_numpy():
    relation = torch.rand(3, 3, generator=torch.Generator().manual_seed(0))
    graph = ClassGraph(relation / relation.sum(1, keepdim=True), 4, 8, rounds=3)
    texts = F.normalize(torch.randn(3, 4, generator=torch.Generator().manual_seed(1)), dim=-1)
    r, x = graph.relation.numpy(), texts.numpy()
    leaky = lambda y: np.where(y > 0, y, 0.2 * y)
    w1, w2, w3 = (w.detach().numpy() for w in (graph.first, graph.middle, graph.second))
    y = x + r @ leaky(r @ leaky(r @ x @ w1) @ w2) @ w3
    assert np.allclose(graph(texts).detach(), y / np.linalg.norm(y, axis=1, keepdims=True), atol=1e-5)
    assert abs(w1).max() <= 8**-0.5 and abs(w3).max() <= 4**-0.5 and w3.std() > 0.1


@pytest.mark.parametrize('categories, neighbours', [(20, 20), (80, 62), (40, 31)])
def test_release_form(tower, categories, neighbours):
    names = [f'thing {i}' for i in range(categories)]
    method = SCPNet.from_tower(tower, names, SCPNetConfig(form='release'))
    relation = method.graph.relation
    assert isinstance(method, ReleasedSCPNet)
    assert (relation > 0).sum(1).tolist() == [neighbours] * categories, 'the category itself and the others'
    assert torch.allclose(relation.diagonal(), torch.full((categories,), 0.8))
    assert torch.allclose(relation.sum(1), torch.ones(categories))
    d = tower.dim
    assert [tuple(w.shape) for w in (method.graph.first, method.graph.middle, method.graph.second)] == [
        (d, 2 * d),
        (2 * d, 2 * d),
        (2 * d, d),
    ]
    assert method.calibration.scale.item() == pytest.approx(10.0) and method.calibration.bias.item() == 0
    assert not any(p.requires_grad for p in method.calibration.parameters())


def test_release_has_settings_for_each_of_its_data_sets(tower):
    "NUS-WIDE alone has the tower's scale, and learns it."
    assert released_settings(20).surest == 5 and released_settings(20).relation_weight == 2
    assert released_settings(312).surest == 31 and released_settings(312).relation_temperature == 0.3
    assert released_settings(160) == released_settings(80)._replace(neighbours=124, surest=4)
    assert released_settings(1).neighbours == released_settings(1).surest == 1
    method = SCPNet.from_tower(tower, [f'concept {i}' for i in range(81)], SCPNetConfig(form='release'))
    assert method.calibration.scale.item() == pytest.approx(tower.logit_scale, rel=1e-5)
    assert method.calibration.log_scale.requires_grad and not method.calibration.bias.requires_grad
    with pytest.raises(PriorError, match="form is 'other', expected ours or release"):
        SCPNetConfig(form='other')
    for mine in (dict(top_k=3), dict(consistency_weight=0.0), dict(fit_bias=False)):
        with pytest.raises(PriorError, match="form 'release' has its own: leave it out"):
            SCPNetConfig(form='release', **mine)


def test_release_thresholds_come_from_counts_of_pseudo_labels(tower):
    "Two categories, two surest ones an image; by hand for no label, few, and many."
    method = SCPNet.from_tower(tower, ['cat', 'dog'], SCPNetConfig(form='release', threshold=0.8))
    method.released = method.released._replace(surest=2)
    assert torch.allclose(method.thresholds, torch.full((2,), 0.8 * 0.5 / 1.5)), 'nothing chosen: 1 / C each'
    method.status.copy_(torch.tensor([0.9, 0.6]))  # 2 - 1.5 = 0.5 is less than 0.9
    assert torch.allclose(method.thresholds, torch.tensor([0.8, 0.8 * (2 / 3) / (4 / 3)]))
    method.status.copy_(torch.tensor([0.9, 0.1]))  # 2 - 1 = 1
    assert torch.allclose(method.thresholds, torch.tensor([0.8 * 0.9 / 1.1, 0.8 * 0.5 / 1.5]))


def test_focal_margin_loss_in_float64():
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.3, 3.0, -2.0]], dtype=torch.float64, requires_grad=True)
    targets, given = torch.tensor([[1, 0, -1], [1, 0, 0]]), torch.tensor([[True, False, False], [False] * 3])
    total = 0.0
    for i, c in ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2)):  # not the unknown one
        x = logits[i, c] - (1.0 if given[i, c] else 0.0)
        p = 1 / (1 + torch.exp(-x))
        total = total - ((1 - p) ** 2 * torch.log(p) if targets[i, c] == 1 else p**2 * torch.log(1 - p))
    loss = focal_margin_loss(logits, targets, given)
    assert loss.item() == pytest.approx(total.item() / 2, rel=1e-12)
    own, theirs = (torch.autograd.grad(x, logits)[0] for x in (loss, total / 2))
    assert torch.allclose(own, theirs) and own[0, 2] == 0
    assert torch.isfinite(focal_margin_loss(torch.tensor([[500.0, -500.0]]), torch.tensor([[0, 1]]), given[:1, 1:]))


def test_surest_labels_and_sharpened_relation_by_hand():
    p, limits = torch.tensor([[0.6, 0.5, 0.9], [0.1, 0.2, 0.05]]), torch.tensor([0.55, 0.1, 0.95])
    assert surest_labels(p, limits, 2).tolist() == [[True, False, False], [False, True, False]]
    assert surest_labels(p, limits, 9).tolist() == [[True, True, False], [False, True, False]]
    relation = torch.tensor([[0.8, 0.15, 0.05, 0.0], [0.1, 0.8, 0.0, 0.1]])
    for row, shares in zip(sharpened_relation(relation, 0.2), relation.numpy()):
        e = np.where(shares > 0, np.exp(shares / 0.2), 0)
        assert np.allclose(row, e / e.sum(), atol=1e-6)


def test_the_second_view_of_the_release_from_its_definition(tower):
    "Image by image and category by category, in plain Python."
    method = SCPNet.from_tower(tower, ['cat', 'dog', 'car', 'sky'], SCPNetConfig(form='release', splc_threshold=0.7))
    method.released = method.released._replace(surest=2, relation_weight=1.5, relation_temperature=0.25)
    method.status.copy_(torch.tensor([0.9, 0.5, 0.05, 0.2]))
    g = torch.Generator().manual_seed(3)
    weak, strong = torch.randn(5, 4, generator=g) * 2, torch.randn(5, 4, generator=g)
    weak[4] = -9.0  # no sure label
    y = torch.tensor([[1, -1, -1, -1], [-1, -1, 0, -1], [-1, 1, -1, -1], [0, -1, -1, -1], [1, -1, -1, -1]])
    output = MethodOutput(weak, features=dict(strong=strong))
    total, parts = method.eval().loss(output, y.to(torch.int8), y != -1, LossState(0, 10))
    limits, p, q = method.thresholds.tolist(), weak.sigmoid().tolist(), strong.sigmoid().tolist()
    spread = sharpened_relation(method.graph.relation, 0.25).tolist()
    bce = lambda t, s: -(t * math.log(s) + (1 - t) * math.log(1 - s))
    chosen, by_labels, by_relation = [], 0.0, 0.0
    for i in range(5):
        top = sorted(range(4), key=lambda c: -p[i][c])[:2]
        sure = [c for c in top if p[i][c] >= limits[c] and y[i, c] != 0]
        chosen.append([float(c in sure or y[i, c] == 1) for c in range(4)])
        for c in range(4) if sure else ():
            by_labels += bce(chosen[i][c], q[i][c])
            by_relation += bce(sum(spread[c][j] * p[i][j] for j in range(4)), q[i][c])
    assert 0 < sum(map(bool, chosen)) and parts['consistency'].item() == pytest.approx(by_labels / 5, rel=1e-4)
    assert parts['relation'].item() == pytest.approx(by_relation / 5, rel=1e-4)
    first = focal_margin_loss(weak, torch.where(y == -1, 0, y), y == 1)  # first epoch: unknown is absent
    assert total.item() == pytest.approx(first.item() + 0.125 * (by_labels + 1.5 * by_relation) / 5, rel=1e-4)
    filled = method.complete(output, y, LossState(0, 10))
    assert ((filled.targets == 1) == torch.tensor(chosen).bool())[:4].all() and (filled.targets[4, 1:] == -1).all()
    before = method.status.clone()
    method.train().loss(output, y.to(torch.int8), y != -1, LossState(0, 10))
    assert torch.allclose(method.status, 0.9 * before + 0.1 * torch.tensor(chosen).mean(0))


def test_release_form_trains_repeats_and_is_saved(tower, tmp_path):
    scenes = scenes_dataset('train', 24)
    store = encode_dataset(tower, scenes, tmp_path, progress=False).to_memory()
    y = apply_mask(scenes.truth, bernoulli_mask(scenes.truth.shape, 0.3))
    method = SCPNet.from_tower(tower, scenes.class_names, SCPNetConfig(form='release'))
    before = method.graph.middle.detach().clone()
    trainer = Trainer(method, store, y, TrainConfig(epochs=2, batch_size=8, lr=2e-3, ema=0.5), truth=scenes.truth)
    history = trainer.fit(progress=False)
    assert {'classification', 'consistency', 'relation'} <= set(history.columns) and method.status.sum() > 0
    assert not torch.equal(method.graph.middle, before) and np.isfinite(history['relation']).all()
    twin = SCPNet.from_tower(tower, scenes.class_names, SCPNetConfig(form='release'))
    twin.load_state_dict(method.state_dict())
    assert torch.equal(twin.thresholds, method.thresholds)
    rows = store.batch([0, 1])
    assert torch.equal(twin.eval()(rows).logits, method.eval()(rows).logits)
