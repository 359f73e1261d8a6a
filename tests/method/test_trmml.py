"""The assembled model: every part of its output and loss recomputed outside the model."""

import math
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from trmml_nb.towers import views
from trmml_nb.towers.dense import ImageFeatures
from trmml_nb.data.labels import PRESENT, UNKNOWN
from trmml_nb.method.losses import partial_asymmetric_loss
from trmml_nb.method.contract import LossState
from trmml_nb.method.adaptive import believed, misplaced
from trmml_nb.method.positions import carry_maps, contest_maps, spread_maps
from trmml_nb.method.trmml import TRMML, TRMMLConfig
from trmml_nb.method.vocabulary import first_look, kept_categories

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
            loss = -(y * (1 - p) ** gp * torch.log(p) + (1 - y) * q**gn * math.log(max(1 - q, 1e-30)))
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


def test_prototypes_take_their_share_of_the_match_at_prediction_only():
    plain, model = make()[0], make(prototype_share=0.2)[0]
    assert plain.eval().categories(plain.texts) is plain.texts
    model.memory.prototypes.copy_(torch.eye(C, D))
    torch.testing.assert_close(model.eval().categories(model.texts), 0.8 * model.texts + 0.2 * torch.eye(C, D))
    assert model.train().categories(model.texts) is model.texts


@pytest.mark.parametrize('how', ['image', 'pixel'])
def test_older_matchings_change_the_maps_and_learn_all_else(how):
    """Text-image: one map for all categories, by length; text-pixel: the softmax of the text's own cosines, and a mean
    of cosines as the score."""
    model, features, targets = make(matching=how)
    features = features._replace(norms=0.5 + torch.rand(B, N, generator=torch.Generator().manual_seed(5)))
    maps = model.given_looks(features, model.texts)
    if how == 'image':
        expected = F.normalize(features.norms, p=1, dim=-1)[:, None].expand(-1, C, -1)
        torch.testing.assert_close(
            model.eval()(features).features['region'][:, 0],
            F.normalize((features.dense * features.norms[..., None]).mean(1), dim=-1),
        )
    else:
        cosines = model.texts.double() @ features.dense.double().mT
        weights = (model.sharpness * cosines).exp() * features.norms[:, None].double()
        expected = (weights / weights.sum(-1, keepdim=True)).float()
        score = model.calibration.scale * (expected * cosines.float()).sum(-1) + model.calibration.bias
        torch.testing.assert_close(model.eval()(features).scores['region'], score, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(maps, expected, atol=1e-5, rtol=1e-4)
    model.train().loss(model(features), targets, targets != UNKNOWN, LossState(0, 10))[0].backward()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {
        'regions.to_query.weight',
        'regions.to_query.bias',
        'regions.to_key.weight',
    }  # where to look; all else learns
    for bad in (dict(keep=2), dict(chunk=2)):
        with pytest.raises(ValueError, match='matching'):
            TRMMLConfig(matching=how, **bad)


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


# -- groups of choices

GROUPS = [kind for kind in TRMMLConfig.__mro__[1:] if is_dataclass(kind)]


def test_every_choice_stands_in_one_group_and_few_are_needed():
    flat = {f.name for f in fields(TRMMLConfig)}
    names = [f.name for kind in GROUPS for f in fields(kind)]
    assert len(names) == len(set(names)) and set(names) | {'seed'} == flat
    assert max(len(fields(kind)) for kind in GROUPS) <= 6
    assert all(fields(kind)[0].default == getattr(TRMMLConfig(), fields(kind)[0].name) for kind in GROUPS)


@pytest.mark.parametrize(
    'wrong',
    [
        dict(score='both'),
        dict(distill='mse'),
        dict(pseudo='firm'),
        dict(query_init='zero'),
        dict(text_offset=float('inf')),
        dict(distill_reach=-1.0),
        dict(prototype_feature='text'),
        dict(contrast_form='sum'),
        dict(matching='box'),
        dict(map_width=-1.0),
        dict(neighbour_share=1.0),
        dict(keep=0),
    ],
)
def test_a_group_checks_its_own_alone_and_in_the_whole(wrong):
    name = next(iter(wrong))
    group = next(kind for kind in GROUPS if name in {f.name for f in fields(kind)})
    for kind in (group, TRMMLConfig):
        with pytest.raises(ValueError, match=f'{name} is '):
            kind(**wrong)


# -- large vocabularies


def pair(keep, **config):
    "The same weights, with few categories kept and with all."
    torch.manual_seed(0)
    whole, features, targets = make(dropout=0.0, **config)
    few, _, _ = make(dropout=0.0, keep=keep, **config)
    with torch.no_grad():
        for p in whole.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    few.load_state_dict(whole.state_dict())
    return whole, few, features, targets


@pytest.mark.parametrize('score', ['query', 'region', 'mean'])
@pytest.mark.parametrize('chunk', [None, 1])
def test_kept_categories_have_exactly_the_logits_of_the_whole(score, chunk):
    whole, few, features, _ = pair(2, score=score)
    few.regions.chunk = chunk or 0
    with torch.no_grad():
        a, b = whole.eval()(features), few.eval()(features)
        cosines, maps = first_look(features.dense, few.texts, maps=True)
        zero_shot = few.calibration(cosines)
    kept = b.features['kept']
    assert kept.tolist() == cosines.topk(2).indices.sort(-1).values.tolist()  # each image its own
    assert len({tuple(row) for row in kept.tolist()}) > 1
    out = torch.ones(B, C, dtype=torch.bool).scatter(1, kept, False)
    for name in ('query', 'region'):
        torch.testing.assert_close(b.scores[name].gather(1, kept), a.scores[name].gather(1, kept))
        torch.testing.assert_close(b.features[name], a.features[name].gather(1, kept[..., None].expand(-1, -1, D)))
        assert torch.equal(b.scores[name][out], zero_shot[out])
    torch.testing.assert_close(b.logits.gather(1, kept), a.logits.gather(1, kept))
    torch.testing.assert_close(b.logits[out], zero_shot[out])
    torch.testing.assert_close(b.saliency[~out], a.saliency[~out])
    assert torch.equal(b.saliency[out], maps[out]) and torch.allclose(b.saliency.sum(-1), torch.ones(B, C), atol=1e-5)


def test_every_known_label_gets_a_region_in_training_and_gradients_agree():
    whole, few, features, targets = pair(1, contrast_weight=0.3, distill='cosine', distill_weight=0.0, pseudo='none')
    known = targets != UNKNOWN
    parts = []
    for model in (whole, few):
        output = model.train()(features, known)
        total, found = model.loss(output, targets, known, LossState(0, 10))
        total.backward()
        parts.append((
            total.detach(),
            found,
            model.regions.queries.grad,
            model.regions.to_key.weight.grad,
            model.memory.prototypes,
            model.memory.counts,
        ))
    kept = output.features['kept']
    assert (
        kept.shape[1] == min(C, 1 + int(known.sum(1).max()))
        and torch.zeros(B, C, dtype=torch.bool).scatter(1, kept, True)[known].all()
    )
    torch.testing.assert_close(parts[0], parts[1], atol=1e-5, rtol=1e-4)  # only known labels count in these parts


def test_nothing_is_filled_in_without_a_region():
    _, few, features, targets = pair(1, pseudo='hard', pseudo_present=0.2, pseudo_absent=0.1)
    output = few.eval()(features)
    filled = few.complete(output, targets, LossState(5, 10))
    looked = torch.zeros(B, C, dtype=torch.bool).scatter(1, output.features['kept'], True)
    nobody = ~looked & (targets == UNKNOWN)
    assert nobody.any() and (filled.targets[nobody] == UNKNOWN).all() and (filled.weights[nobody] == 0).all()
    assert (filled.targets[targets != UNKNOWN] == targets[targets != UNKNOWN]).all()
    assert (few.evidence(output)[~looked] == 0).all() and (few.evidence(output)[looked] > 0).all()


def test_keeping_all_or_more_changes_nothing():
    whole, few, features, _ = pair(C)
    assert not few.prunes and torch.equal(whole.eval()(features).logits, few.eval()(features).logits)
    with pytest.raises(ValueError, match='keep is 0'):
        TRMMLConfig(keep=0)
    with pytest.raises(ValueError, match='chunk is -1'):
        TRMMLConfig(chunk=-1)


def test_the_trainer_tells_which_labels_are_known():
    from trmml_nb.training.trainer import TrainConfig, Trainer

    model, features, targets = make(keep=1)

    class Store(views.Store):
        image_ids, grid = list(range(B)), (3, 3)
        __len__ = lambda self: B
        batch = lambda self, rows, device=None: ImageFeatures(
            *(None if x is None else x[torch.as_tensor(rows)] for x in features)
        )

    seen = []
    plain = model.forward
    model.forward = lambda features, known_mask=None: seen.append(known_mask) or plain(features, known_mask)
    trainer = Trainer(model, Store(), targets, TrainConfig(epochs=1, batch_size=3, ema=0, device='cpu'))
    rows = torch.tensor([4, 0, 2])
    trainer.method.train()
    trainer.step(rows)
    assert torch.equal(seen[-1], targets[rows] != UNKNOWN) and model.most_known == int(
        (targets != UNKNOWN).sum(1).max()
    )


def test_equally_many_are_kept_of_every_image():
    scores = torch.tensor([[0.9, 0.1, 0.8, 0.3, 0.0], [0.1, 0.2, 0.3, 0.4, 0.5]])
    known = torch.tensor([[False, True, False, False, True], [False] * 5])
    assert kept_categories(scores, 1, known).tolist() == [[0, 1, 4], [2, 3, 4]]
    assert kept_categories(scores, 1, known, most_known=3).shape == (2, 4) and kept_categories(scores, 9).shape == (
        2,
        5,
    )


def test_checksums_and_run_folders_of_before_stay():
    "Rows of the committed tables were made before there was a `keep`; they are the same method still."
    from trmml_nb.rivals.compare import read_table
    from trmml_nb.rivals.registry import METHODS, settings_sha256

    found = 0
    for name in ('scenes', 'voc2007_lab'):
        table = read_table(Path(__file__).parents[2] / f'results/{name}.csv')
        rows = table[(table['method'] == 'trmml') & (table['known'] == '0.1')]
        assert len(rows) and set(rows['settings']) == {settings_sha256('trmml', rows['data'].iloc[0])}
        found += len(rows)
    assert found > 10 and settings_sha256('trmml:keep=5') != settings_sha256('trmml') == settings_sha256(
        'trmml:chunk=None'
    )
    before = {
        k: v for k, v in asdict(TRMMLConfig()).items() if k not in ('keep', 'chunk')
    }  # as an older version wrote config.json
    assert METHODS['trmml'].config(**before) == TRMMLConfig()
    assert all(before.get(k) == v for k, v in asdict(TRMMLConfig()).items())  # what `trmml train --resume` compares


# -- views of other grids


def test_each_view_has_positions_of_its_own_grid(tmp_path):
    from trmml_nb.method.attention import sine_position_code
    from trmml_nb.method.positions import RegionError
    from trmml_nb.data.dataset import scenes_dataset
    from trmml_nb.data.labels import bernoulli_mask
    from trmml_nb.towers.encode import encode_dataset
    from trmml_nb.towers.tower import load_tower
    from trmml_nb.training.trainer import TrainConfig, Trainer

    tower, data = load_tower('tiny', image_size=64), scenes_dataset('val', 8, size=64)
    store = encode_dataset(tower, data, tmp_path, progress=False, views=('plain', 'scale:96', 'scale:128'))
    assert store.grids == ((2, 2), (3, 3), (4, 4))  # 29 positions: neither a square nor a multiple of 4
    model = TRMML.from_tower(tower, data.class_names, TRMMLConfig(ffn_dim=16))
    with pytest.raises(RegionError, match='29 positions'):
        model.eval()(store.batch([0]))
    targets = data.with_mask(bernoulli_mask(data.truth.shape, 0.5)).targets
    trainer = Trainer(model, store, targets, TrainConfig(epochs=1, batch_size=4, device='cpu'))
    assert model.layout(29) == ((2, 2), (3, 3), (4, 4)) and model.layout(4) == (2, 2) and model.layout(9) == (3, 3)
    before = model.regions.to_key.weight.detach().clone()
    trainer.fit(progress=False)
    assert not torch.equal(before, model.regions.to_key.weight) and trainer.final.layout(29) == store.grids

    dense = store.batch([1, 3]).dense
    code = torch.cat([sine_position_code(grid, tower.dim) for grid in store.grids])
    regions = model.regions.eval()
    with torch.no_grad():
        attention = regions.attend(dense, model.layout(29))
        regions.position_scale, scale = 0.0, regions.position_scale
        by_hand = regions.attend(dense + scale * F.normalize(code, dim=-1), (1, 29))
    torch.testing.assert_close(attention, by_hand)


def test_views_whose_positions_look_like_repeated_grids():
    "Four views of 2 x 2 and one of 4 x 4 both make multiples of four; the training set's own grids decide."
    model, _, targets = make()

    class Joined:
        mode, grids, image_ids = 'concat', ((3, 3), (6, 6)), list(range(B))  # 45 = 5 x 9 positions
        __len__ = lambda self: B
        batch = lambda self, rows, device=None: ImageFeatures(
            torch.zeros(len(rows), D), F.normalize(torch.randn(len(rows), 45, D), dim=-1)
        )

    assert model.layout(45) == (3, 3)
    model.prepare(Joined(), targets)
    assert model.layout(45) == ((3, 3), (6, 6)) and model.layout(9) == (3, 3)


def test_levels_follow_the_known_labels_of_training_and_reach_the_evidence():
    """With levels on they move in training only, they are saved, and evidence is the calibrated probability where
    prototypes weigh nothing."""
    texts = torch.nn.functional.normalize(torch.randn(3, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    model = TRMML(
        texts, (2, 2), 10.0, config=TRMMLConfig(ffn_dim=16, pseudo_levels=True, pseudo_share=0.0, dropout=0.0)
    )
    features = ImageFeatures(
        torch.randn(8, 16), torch.nn.functional.normalize(torch.randn(8, 4, 16), dim=-1), torch.ones(8, 4)
    )
    targets = torch.tensor([[1, -1, 0]] * 8)
    state = LossState(0, 10)
    output = model.eval()(features)
    model.loss(output, targets, targets != -1, state)
    assert torch.equal(model.levels.levels, torch.tensor([[1.0, 0.0]] * 3))
    output = model.train()(features)
    model.loss(output, targets, targets != -1, state)
    moved = model.levels.levels
    assert moved[0, 1] > 0 > moved[2, 1] and moved[1].tolist() == [1, 0]
    assert torch.allclose(model.evidence(output), (output.logits * moved[:, 0] + moved[:, 1]).sigmoid())
    assert {'levels.levels', 'levels.curvature'} <= set(model.state_dict())
    assert not any('levels' in name for name in TRMML(texts, (2, 2), 10.0, config=TRMMLConfig(ffn_dim=16)).state_dict())


@pytest.mark.parametrize(
    'power, unknown, left', [(0.0, 0.9, 1.0), (1.0, 0.75, 0.75), (2.0, 0.5, 0.25), (2.0, 0.0, 0.0), (0.0, 0.0, 1.0)]
)
def test_focus_fades_with_the_share_of_unknown_labels(power, unknown, left):
    "The focusing powers and the margin are scaled by the share of unknown labels, to the power given; 0 leaves them."
    config = TRMMLConfig(
        ffn_dim=16, distill='none', contrast_weight=0.0, pseudo='none', focus_fades=power, fit_bias=False
    )
    model = TRMML(
        F.normalize(torch.randn(10, 8, generator=torch.Generator().manual_seed(0)), dim=-1), (2, 2), 10.0, config=config
    ).eval()
    targets = torch.randint(0, 2, (20, 10), generator=torch.Generator().manual_seed(1))
    targets.view(-1)[: round(unknown * 200)] = -1
    model.prepare(SimpleNamespace(mode="plain"), targets)
    assert model.focus == pytest.approx(left)
    features = ImageFeatures(
        torch.zeros(20, 8), F.normalize(torch.randn(20, 4, 8, generator=torch.Generator().manual_seed(2)), dim=-1)
    )
    output = model(features)
    total, _ = model.loss(output, targets, targets != -1, LossState(0, 10))
    expected = partial_asymmetric_loss(output.logits, targets, targets != -1, left * 1.0, left * 2.0, left * 0.05)
    torch.testing.assert_close(total, expected)
    if left == 0:
        torch.testing.assert_close(
            total, F.binary_cross_entropy_with_logits(output.logits, targets.float(), reduction='none').sum(1).mean()
        )


class OneStore(views.Store):
    "The test's images as a store."

    def __init__(self, features):
        self.features, self.image_ids = features, [str(i) for i in range(len(features.dense))]

    def __len__(self):
        return len(self.features.dense)

    def batch(self, rows, device=None, generator=None):
        return ImageFeatures(self.features.pooled[rows], self.features.dense[rows])


def test_teacher_is_believed_less_as_more_is_unexplained():
    assert [believed(x, 0.4) for x in (0.0, 0.3, 0.4, 2.0)] == [1.0, 1.0, 0.0, 0.0]
    assert believed(0.35, 0.4) == pytest.approx(0.5)


def test_trust_scales_the_distillation_and_nothing_else():
    model, features, targets = make(distill_reach=0.4, query_residual=False)
    out = model.eval()(features)
    totals = []
    for model.trust in (0.0, 0.5, 1.0):
        total, parts = model.loss(out, targets, targets != UNKNOWN, LossState(0, 10))
        totals.append(total.item())
    assert parts['distillation'] > 0.01
    assert totals[1] - totals[0] == pytest.approx(0.5 * parts['distillation'].item(), rel=1e-4)
    assert totals[2] - totals[0] == pytest.approx(parts['distillation'].item(), rel=1e-4)


def test_trust_and_rate_follow_the_known_labels():
    """Labels that the untrained regions tell perfectly: believed, slow offsets; the opposite labels: not believed,
    full rate."""
    model, features, _ = make(distill_reach=0.4, text_offset=15.0)
    model.calibration.log_scale.data.fill_(math.log(400.0))
    scores = model.eval()(features).scores['region']
    right = (scores > scores.median()).long()
    model.prepare(OneStore(features), right)
    assert model.trust == 1.0 and model.offset_rate.item() < 1.0
    model.prepare(OneStore(features), 1 - right)
    assert model.trust == 0.0 and model.offset_rate.item() == 15.0
    model.prepare(OneStore(features), torch.where(right == 1, 1, UNKNOWN))  # single positives: nothing to judge by
    assert model.trust == 1.0 and model.offset_rate.item() == 0.0


def test_offsets_start_at_the_text_learn_and_are_saved():
    plain, features, targets = make()
    model, _, _ = make(text_offset=15.0)
    assert torch.equal(model.eval()(features).logits, plain.eval()(features).logits)
    total, _ = model.loss(model.train()(features), targets, targets != UNKNOWN, LossState(0, 10))
    total.backward()
    assert model.offsets.grad.abs().sum() > 0 and model.shifts.grad.abs().sum() > 0
    with torch.no_grad():
        model.offsets.normal_(std=0.01), model.shifts.normal_(), model.offset_rate.fill_(3.0)
    again, _, _ = make(text_offset=15.0)
    again.load_state_dict(model.state_dict())
    moved = model.eval()(features)
    assert torch.equal(again.eval()(features).logits, moved.logits)
    meaning = F.normalize(model.texts + 3.0 * model.offsets, dim=-1)
    cosine = (moved.features['query'] * meaning).sum(-1)
    torch.testing.assert_close(moved.scores['query'], 12.0 * cosine - 1.5 + 3.0 * model.shifts, atol=1e-4, rtol=1e-4)


def test_offsets_with_categories_left_out():
    model, features, targets = make(text_offset=15.0, keep=2)
    with torch.no_grad():
        model.shifts.copy_(torch.arange(C).float())
    out, whole = model.eval()(features), make(text_offset=15.0)[0].eval()
    whole.load_state_dict(model.state_dict())
    kept = out.features['kept']
    torch.testing.assert_close(out.logits.gather(1, kept), whole(features).logits.gather(1, kept))


def test_map_width_spreads_maps_at_prediction_only():
    plain, features, _ = make()
    model, _, _ = make(map_width=0.1)
    seen, spread = plain.eval()(features), model.eval()(features)
    assert torch.equal(seen.logits, spread.logits)
    torch.testing.assert_close(spread.saliency, spread_maps(seen.saliency, (3, 3), 0.1))
    torch.manual_seed(0)
    learning = model.train()(features).saliency
    assert torch.equal(learning, plain.eval()(features).saliency)


def test_maps_are_refined_at_prediction_only():
    "First beside the other maps, then by what looks alike, then by what lies near; the scores stay as they are."
    plain, features, _ = make()
    seen = plain.eval()(features)
    cosines = plain.current_texts() @ features.dense.mT
    contested = contest_maps(seen.saliency, cosines, plain.sharpness, 0.5)
    carried = carry_maps(contested, features.dense, 0.2)
    steps = [
        (dict(map_rivals=0.5), contested),
        (dict(map_rivals=0.5, map_alike=0.2), carried),
        (dict(map_rivals=0.5, map_alike=0.2, map_width=0.1), spread_maps(carried, (3, 3), 0.1)),
    ]
    for options, wanted in steps:
        model = make(**options)[0]
        refined = model.eval()(features)
        assert torch.equal(seen.logits, refined.logits)
        torch.testing.assert_close(refined.saliency, wanted)
        torch.manual_seed(0)
        assert torch.equal(model.train()(features).saliency, seen.saliency)


def test_a_category_alone_has_no_rival():
    maps = torch.rand(2, 1, 9)
    maps = maps / maps.sum(-1, keepdim=True)
    torch.testing.assert_close(contest_maps(maps, torch.rand(2, 1, 9), 20.0), maps)


def test_a_map_that_all_share_alike_stays():
    maps = torch.rand(2, 4, 9).softmax(-1)
    torch.testing.assert_close(contest_maps(maps, torch.rand(2, 1, 9).expand(2, 4, 9), 20.0), maps)
    torch.testing.assert_close(carry_maps(maps, torch.eye(9).expand(2, 9, 9), 0.01), maps)


@pytest.mark.parametrize(
    'wrong',
    [
        dict(map_width=-0.1),
        dict(map_rivals=-0.5),
        dict(map_alike=0.0),
        dict(text_offset=-1.0),
        dict(distill_reach=0.0),
    ],
)
def test_settings_that_are_no_share_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TRMMLConfig(**wrong)


class OneStore(views.Store):
    "So many images, held."

    def __init__(self, features):
        self.features, self.image_ids = features, [str(i) for i in range(len(features.dense))]

    def __len__(self):
        return len(self.image_ids)

    def batch(self, rows, device=None):
        rows = torch.as_tensor(rows)
        return ImageFeatures(
            *(
                None if part is None else part[rows]
                for part in (self.features.pooled, self.features.dense, self.features.norms)
            )
        )


def spots(noise, sharp, seed=0, images=300, positions=25):
    "Images in which one position shows each present category, among positions that look a little like everything."
    g = torch.Generator().manual_seed(seed)
    texts = F.normalize(torch.randn(C, D, generator=g), dim=-1)
    truth = torch.rand(images, C, generator=g) < 0.3
    dense = (
        noise * torch.randn(images, positions, D, generator=g) + (0 if sharp else 1) * (truth.float() @ texts)[:, None]
    )
    at = torch.randint(0, positions, (images, C), generator=g)
    for c in range(C):
        dense[torch.arange(images), at[:, c]] += 1.5 * sharp * truth[:, c, None] * texts[c]
    return texts, OneStore(ImageFeatures(F.normalize(dense.mean(1), dim=-1), F.normalize(dense, dim=-1))), truth.long()


def sharpness(model):
    "Of the first maps, from the weights."
    gain = model.regions.to_query.weight.norm() / model.regions.to_key.weight.norm()
    return (gain / math.sqrt(model.regions.heads / D)).item()


def test_known_labels_choose_how_sharply_to_look():
    found = {}
    for sharp in (True, False):
        texts, store, truth = spots(0.35, sharp)
        hidden = torch.where(torch.rand(truth.shape, generator=torch.Generator().manual_seed(1)) < 0.5, truth, UNKNOWN)
        model = TRMML(texts, (5, 5), scale=10.0, config=TRMMLConfig(fit_attention=True, position_scale=0.0))
        model.prepare(store, hidden)
        found[sharp], rows = sharpness(model), torch.arange(len(store))
        left = {}
        for factor in (0.5, 1, 2, 4, 8):
            other = TRMML(
                texts, (5, 5), scale=10.0, config=TRMMLConfig(attention_share=0.2 * factor, position_scale=0.0)
            )
            left[2.0 * factor] = misplaced(other.region_logits(store, rows), hidden)
        best = min(left, key=left.get)
        assert found[sharp] == pytest.approx(best if left[best] < 0.9 * left[2.0] else 2.0, rel=1e-5)
        model.prepare(store, hidden)  # a second time changes nothing
        assert sharpness(model) == pytest.approx(found[sharp], rel=1e-6)
    assert found[True] > 2.0 * 1.5  # a category in one position out of 25 wants sharp maps


def test_without_known_labels_the_share_stays():
    texts, store, truth = spots(0.35, True)
    for labels in (torch.full_like(truth, UNKNOWN), torch.zeros_like(truth)):
        model = TRMML(texts, (5, 5), scale=10.0, config=TRMMLConfig(fit_attention=True))
        model.prepare(store, labels)
        assert sharpness(model) == pytest.approx(2.0, rel=1e-5)
    single = torch.where(truth == PRESENT, truth, UNKNOWN)
    model.prepare(store, single)
    assert sharpness(model) > 2.0 * 1.5  # present labels alone say it too


@pytest.mark.parametrize('other', [dict(matching='image'), dict(query_init='random'), dict(attention_share=0.0)])
def test_sharpness_is_chosen_for_texts_that_look_at_regions(other):
    with pytest.raises(ValueError, match='fit_attention is set: it needs'):
        TRMMLConfig(fit_attention=True, **other)
