"""PVLR: every part recomputed in float64 by hand-written loops; starts, switches, loss, errors."""

import math

import pytest
import torch
import torch.nn.functional as F

from trmml_nb.towers import views
from trmml_nb.towers.dense import ImageFeatures
from trmml_nb.data.labels import UNKNOWN
from trmml_nb.method.matching import text_pixel_scores
from trmml_nb.method.contract import LossState, MethodOutput
from trmml_nb.method.pvlr import (
    PVLR,
    ContextPrompts,
    DualModalAttention,
    Interaction,
    KnowledgePrompts,
    ResidualAttention,
    pool_cosines,
)
from trmml_nb.method.pvlr_choices import PVLRConfig, PVLRError
from trmml_nb.towers.tower import load_tower

B, C, N, D = 3, 4, 5, 8
STATE = LossState(0, 1)


def random(*shape, seed=0, unit=False):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return F.normalize(x, dim=-1) if unit else x


def features(seed=1, count=B):
    return ImageFeatures(random(count, D, seed=seed, unit=True), random(count, N, D, seed=seed + 1, unit=True))


def make(seed=0, prompts=None, **config):
    torch.manual_seed(5)
    config = {'heads': 2, 'dropout': 0.0, **config}
    return PVLR(random(C, D, seed=seed, unit=True), 12.0, -1.5, PVLRConfig(**config), prompts).eval()


class Prompts(torch.nn.Module):
    "Stands in for a PromptLearner."

    def __init__(self):
        super().__init__()
        self.context = torch.nn.Parameter(random(C, D, seed=9))

    def forward(self):
        return F.normalize(self.context, dim=-1)


def shake(module, seed=3):
    "Give every weight of a module a value that is neither zero nor matched."
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            if p.ndim:
                p.add_(0.3 * torch.randn(p.shape, generator=g))
    return module


# -- references, with loops over heads, in float64


def ref_norm(layer, x):
    x = x.double()
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / (centred.pow(2).mean(-1, keepdim=True) + layer.eps).sqrt() * layer.weight.double()
        + layer.bias.double()
    )


def ref_linear(x, weight, bias):
    return x.double() @ weight.double().T + bias.double()


def ref_block(block, x, memory):
    "[L, d], [K, d] -> [L, d], [L, K]"
    asked, answers = x.double(), memory.double()
    if block.norm_memory is not None:
        asked, answers = ref_norm(block.norm, asked), ref_norm(block.norm_memory, answers)
    mha = block.attention
    h, dh = mha.num_heads, mha.embed_dim // mha.num_heads
    ws, bs = mha.in_proj_weight.chunk(3), mha.in_proj_bias.chunk(3)
    q, k, v = (ref_linear(y, w, b) for y, w, b in zip((asked, answers, answers), ws, bs))
    heads, maps = [], []
    for j in range(h):
        part = slice(j * dh, (j + 1) * dh)
        weight = torch.exp(q[:, part] @ k[:, part].T / math.sqrt(dh))
        weight = weight / weight.sum(-1, keepdim=True)
        heads.append(weight @ v[:, part])
        maps.append(weight)
    out = x.double() + ref_linear(torch.cat(heads, -1), mha.out_proj.weight, mha.out_proj.bias)
    return (out if block.norm_memory is not None else ref_norm(block.norm, out)), sum(maps) / h


def unit64(x):
    return x.double() / x.double().norm(dim=-1, keepdim=True)


def ref_cosines(model, feats, b):
    "[C, N] similarities of image b, as the reconstruction writes them."
    X, texts = feats.dense[b].double(), model.texts.double()
    prompts = texts if model.prompts is None else model.prompts().double()
    ka, relations = ref_block(model.knowledge.among_labels, texts * math.sqrt(D), texts * math.sqrt(D))
    look = ref_linear(prompts, model.context.look.weight, model.context.look.bias)
    weights = torch.exp(look @ X.T / model.config.context_temperature)
    ca = unit64(weights / weights.sum(-1, keepdim=True) @ X) * math.sqrt(D)
    ca, _ = ref_block(model.context.among_labels, ca, ca)
    words, _ = ref_block(model.interaction.knowledge_reads, ka, ca)
    pictures, _ = ref_block(model.interaction.context_reads, ca, ka)
    uf = ref_linear(torch.cat([words, pictures], -1), model.interaction.fuse.weight, model.interaction.fuse.bias)
    fn, t2r = ref_block(model.dual_attention.labels_read, uf, X * math.sqrt(D))
    xn, r2t = ref_block(model.dual_attention.regions_read, X * math.sqrt(D), uf)
    return unit64(fn) @ unit64(xn).T, relations, t2r, r2t


# -- the block


@pytest.mark.parametrize('norm', ['post', 'pre'])
@pytest.mark.parametrize('start', ['zero-shot', 'random'])
def test_block_against_float64_reference(norm, start):
    block = (
        shake(ResidualAttention(D, 2, norm=norm, start=start, generator=torch.Generator().manual_seed(0)))
        .double()
        .eval()
    )
    x, memory = random(2, C, D).double(), random(2, N, D, seed=1).double()
    out, weights = block(x, memory)
    for b in range(2):
        wanted, maps = ref_block(block, x[b], memory[b])
        torch.testing.assert_close(out[b], wanted)
        torch.testing.assert_close(weights[b], maps)


def test_block_starts_as_identity_and_looks_along_cosines():
    x, memory = random(1, C, D, unit=True) * math.sqrt(D), random(1, N, D, seed=1, unit=True) * math.sqrt(D)
    block = ResidualAttention(D, 1, attention_scale=7.0, generator=torch.Generator().manual_seed(0)).eval()
    out, weights = block(x, memory)
    torch.testing.assert_close(out, F.layer_norm(x, (D,)))
    torch.testing.assert_close(weights, (7.0 * x @ memory.mT / D).softmax(-1))
    same, _ = ResidualAttention(D, 2, norm='pre')(x, memory)
    assert torch.equal(same, x)


def test_dropout_spares_the_maps():
    block = shake(ResidualAttention(D, 2, dropout=0.5)).train()
    x = random(1, C, D)
    (a, maps_a), (b, maps_b) = block(x, x), block(x, x)
    assert not torch.equal(a, b) and torch.equal(maps_a, maps_b)
    torch.testing.assert_close(maps_a.sum(-1), torch.ones(1, C))


# -- the parts


def test_knowledge_is_equivariant_and_plain_without_attention():
    kap = KnowledgePrompts(shake(ResidualAttention(D, 2))).eval()
    texts, order = random(C, D, unit=True), torch.tensor([2, 0, 3, 1])
    labels, relations = kap(texts)
    moved, moved_relations = kap(texts[order])
    torch.testing.assert_close(moved, labels[order])
    torch.testing.assert_close(moved_relations, relations[order][:, order])
    plain, none = KnowledgePrompts()(texts)
    assert none is None and torch.allclose(plain, texts * math.sqrt(D))


def test_context_against_loops():
    cap = shake(ContextPrompts(D, temperature=0.3))
    prompts, dense = random(C, D, unit=True), random(B, N, D, seed=1, unit=True)
    labels, weights = cap(prompts, dense)
    for b in range(B):
        for c in range(C):
            asked = cap.look.weight.double() @ prompts[c].double() + cap.look.bias.double()
            e = torch.exp(dense[b].double() @ asked / 0.3)
            wanted = unit64((e / e.sum()) @ dense[b].double()) * math.sqrt(D)
            torch.testing.assert_close(weights[b, c].double(), e / e.sum(), atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(labels[b, c].double(), wanted, atol=1e-4, rtol=1e-4)


def test_context_starts_as_the_plain_look():
    prompts, dense = random(C, D, unit=True), random(B, N, D, seed=1, unit=True)
    _, weights = ContextPrompts(D, temperature=0.1)(prompts, dense)
    torch.testing.assert_close(weights, (10 * prompts @ dense.mT).softmax(-1))


def test_interaction_reads_the_inputs_and_starts_with_words():
    ifm = Interaction(D, ResidualAttention(D, 2), ResidualAttention(D, 2)).eval()
    words, pictures = random(B, C, D), random(B, C, D, seed=1)
    torch.testing.assert_close(ifm(words, pictures), F.layer_norm(words, (D,)))
    shake(ifm)
    out = ifm(words, pictures)
    for b in range(B):
        a, _ = ref_block(ifm.knowledge_reads, words[b], pictures[b])
        p, _ = ref_block(ifm.context_reads, pictures[b], words[b])
        wanted = ref_linear(torch.cat([a, p], -1), ifm.fuse.weight, ifm.fuse.bias)
        torch.testing.assert_close(out[b].double(), wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('labels_on', [True, False])
@pytest.mark.parametrize('regions_on', [True, False])
def test_dual_attention_in_every_direction(labels_on, regions_on):
    blocks = [shake(ResidualAttention(D, 2), seed) if on else None for seed, on in ((1, labels_on), (2, regions_on))]
    labels, regions = random(B, C, D), random(B, N, D, seed=1)
    both = DualModalAttention(*blocks).eval()(labels, regions)
    pairs = [
        (both.labels, both.text_to_region, blocks[0], labels, regions),
        (both.regions, both.region_to_text, blocks[1], regions, labels),
    ]
    for out, maps, block, x, memory in pairs:
        if block is None:
            assert out is x and maps is None
            continue
        wanted, weights = ref_block(block, x[0], memory[0])
        torch.testing.assert_close(out[0].double(), wanted, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(maps[0].double(), weights, atol=1e-5, rtol=1e-4)


def test_pooling_by_hand():
    cosines = torch.tensor([[[0.5, 0.0, -0.5]]])
    t = 0.5 / math.log(2)  # weights 2, 1, 1/2
    for how, wanted in dict(mean=0.0, max=0.5, softmax=(2 * 0.5 - 0.5 * 0.5) / 3.5).items():
        pooled, saliency = pool_cosines(cosines, how, t)
        assert pooled.item() == pytest.approx(wanted, abs=1e-6)
        torch.testing.assert_close(saliency, torch.tensor([[[2.0, 1.0, 0.5]]]) / 3.5)


# -- the model


@pytest.mark.parametrize('norm', ['post', 'pre'])
@pytest.mark.parametrize('pool', ['mean', 'max', 'softmax'])
def test_whole_model_against_loops(norm, pool):
    model, feats = make(norm=norm, pool=pool, prompts=Prompts()), features()
    for part in (model.knowledge, model.context, model.interaction, model.dual_attention):
        shake(part)
    out = model(feats)
    for b in range(B):
        S, relations, t2r, r2t = ref_cosines(model, feats, b)
        weights = torch.softmax(S / model.config.temperature, -1)
        z = dict(mean=S.mean(-1), max=S.max(-1).values, softmax=(weights * S).sum(-1))[pool]
        torch.testing.assert_close(out.logits[b].double(), 12 * z - 1.5, atol=2e-4, rtol=1e-4)
        torch.testing.assert_close(out.saliency[b].double(), weights, atol=1e-4, rtol=1e-3)
        for name, wanted in dict(relations=relations, text_to_region=t2r, region_to_text=r2t).items():
            found = out.features[name] if name == 'relations' else out.features[name][b]
            torch.testing.assert_close(found.double(), wanted, atol=1e-4, rtol=1e-3)
        whole = 12 * unit64(model.prompts()) @ unit64(feats.pooled[b]) - 1.5
        torch.testing.assert_close(out.scores['global'][b].double(), whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('pool', ['mean', 'max', 'softmax'])
def test_pre_form_starts_as_text_pixel_matching(pool):
    model, feats = make(norm='pre', pool=pool), features()
    wanted = 12 * text_pixel_scores(feats.dense, model.texts, pool)[0] - 1.5
    torch.testing.assert_close(model(feats).logits, wanted, atol=1e-4, rtol=1e-4)


def test_post_form_starts_as_centred_text_pixel_matching():
    model, feats = make(norm='post'), features()
    centre = lambda x: x - x.mean(-1, keepdim=True)
    wanted = 12 * text_pixel_scores(centre(feats.dense), centre(model.texts), 'mean')[0] - 1.5
    torch.testing.assert_close(model(feats).logits, wanted, atol=2e-3, rtol=1e-3)


def test_images_do_not_touch_each_other_and_labels_are_interchangeable():
    model, feats = shake(make()), features()
    whole = model(feats).logits
    alone = model(ImageFeatures(feats.pooled[1:2], feats.dense[1:2])).logits
    torch.testing.assert_close(alone, whole[1:2], atol=1e-4, rtol=1e-4)
    order = torch.tensor([3, 1, 0, 2])
    model.texts.copy_(model.texts[order])
    torch.testing.assert_close(model(feats).logits, whole[:, order], atol=1e-4, rtol=1e-4)


def test_positions_are_a_set():
    model, feats, order = shake(make()), features(), torch.tensor([4, 2, 0, 1, 3])
    a, b = model(feats), model(ImageFeatures(feats.pooled, feats.dense[:, order]))
    torch.testing.assert_close(a.logits, b.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(a.saliency[..., order], b.saliency, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    'settings,gone',
    [
        (dict(prompting='knowledge'), ('context', 'interaction')),
        (dict(prompting='context'), ('knowledge', 'interaction')),
        (dict(label_attention=False), ('knowledge.among_labels', 'context.among_labels')),
        (dict(interaction=False), ('interaction.knowledge_reads', 'interaction.context_reads')),
        (dict(dual_attention='labels'), ('dual_attention.regions_read',)),
        (dict(dual_attention='regions'), ('dual_attention.labels_read',)),
        (dict(dual_attention='none'), ('dual_attention',)),
    ],
)
def test_switches_leave_no_weights_behind_and_all_others_learn(settings, gone):
    model, feats = make(start='random', prompts=Prompts(), **settings), features()
    names = [name for name, _ in model.named_parameters()]
    assert not [name for name in names if name.startswith(gone)]
    targets = torch.tensor([[1, 0, 1, 0]] * B)
    model.loss(model(feats), targets, targets != UNKNOWN, STATE)[0].backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None]
    assert idle == []


def test_global_branch_can_be_left_out():
    out = make(global_weight=0.0)(features())
    assert set(out.scores) == {'local'} and torch.equal(out.logits, out.scores['local'])
    mean = make(score='mean', global_weight=0.0)(features())
    wanted = (mean.scores['local'].double().sigmoid() + mean.scores['global'].double().sigmoid()) / 2
    torch.testing.assert_close(mean.logits.double(), torch.logit(wanted), atol=1e-4, rtol=1e-4)


# -- the loss


def test_loss_is_the_asymmetric_sum_over_known_labels():
    model = make(global_weight=0.5)
    local, whole = random(B, C), random(B, C, seed=1)
    output = MethodOutput(local, scores={'local': local, 'global': whole})
    targets = torch.tensor([[1, 0, UNKNOWN, 1], [UNKNOWN] * 4, [0, 0, 1, UNKNOWN]])

    def reference(logits):
        total = 0.0
        for z, y in zip(logits.flatten().tolist(), targets.flatten().tolist()):
            p = 1 / (1 + math.exp(-z))
            total += {1: -math.log(p), 0: -(p**2) * math.log(1 - p), UNKNOWN: 0.0}[y]
        return total / B

    total, parts = model.loss(output, targets, targets != UNKNOWN, STATE)
    assert list(parts) == ['classification', 'global'] and not parts['classification'].requires_grad
    assert parts['classification'].item() == pytest.approx(reference(local), rel=1e-5)
    assert parts['global'].item() == pytest.approx(reference(whole), rel=1e-5)
    assert total.item() == pytest.approx(reference(local) + 0.5 * reference(whole), rel=1e-5)


def test_unknown_labels_give_no_gradient_and_the_mask_hides():
    model, feats = make(), features()
    targets = torch.tensor([[1, 0, UNKNOWN, 1]] * B)
    out = model(feats)
    out.logits.retain_grad()
    model.loss(out, targets, targets != UNKNOWN, STATE)[0].backward()
    assert (out.logits.grad[:, 2] == 0).all() and (out.logits.grad[:, [0, 1, 3]] != 0).all()
    hidden, known = targets.clone(), targets != UNKNOWN
    hidden[0, 0], known[0, 0] = UNKNOWN, False
    a = model.loss(out, targets, known, STATE)[0]
    assert a.item() == model.loss(out, hidden, hidden != UNKNOWN, STATE)[0].item()


def test_a_zero_start_still_learns():
    model, feats = make(prompts=Prompts()).train(), features()
    targets = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 0, 0]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    losses = []
    for _ in range(40):
        total, _ = model.loss(model(feats), targets, targets != UNKNOWN, STATE)
        optimizer.zero_grad(), total.backward(), optimizer.step()
        losses.append(total.item())
    assert losses[-1] < 0.6 * losses[0]
    assert [name for name, p in model.named_parameters() if torch.equal(p, before[name])] == []


# -- preparation, determinism, precision


class Store(views.Store):
    "A feature store of one batch."

    def __init__(self, feats):
        self.feats = feats

    def __len__(self):
        return len(self.feats.dense)

    def batch(self, rows, device=None):
        return ImageFeatures(self.feats.pooled[rows], self.feats.dense[rows])


def test_prepare_fits_both_biases_to_known_labels():
    feats = features(count=40)
    targets = torch.randint(-1, 2, (40, C), generator=torch.Generator().manual_seed(2))
    known, model = targets != UNKNOWN, make().train()
    model.prepare(Store(feats), targets)
    assert model.training
    rate = (targets[known] == 1).double().mean().item()
    out = model.eval()(feats)
    for name in ('local', 'global'):
        assert out.scores[name][known].sigmoid().mean().item() == pytest.approx(rate, abs=1e-3)
    fixed = make(fit_bias=False)
    fixed.prepare(Store(feats), targets)
    assert fixed.calibration.bias.item() == -1.5


def test_same_seed_same_weights():
    a, b, c = make(start='random'), make(start='random'), make(start='random', seed=1)
    torch.manual_seed(123)
    again = PVLR(a.texts, 12.0, -1.5, a.config)
    for other in (b, again):
        assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), other.state_dict().values()))
    fresh = PVLR(a.texts, 12.0, -1.5, PVLRConfig(heads=2, dropout=0.0, start='random', seed=7))
    assert not torch.equal(a.interaction.fuse.weight, fresh.interaction.fuse.weight) and c.texts.shape == (C, D)


def test_train_and_eval_agree_without_dropout():
    model, feats = shake(make()), features()
    with torch.no_grad():
        a, b = model.eval()(feats), model.train()(feats)
    torch.testing.assert_close(a.logits, b.logits, atol=1e-5, rtol=1e-5)


def test_bfloat16_autocast_is_close():
    model, feats = make(), features()
    targets = torch.tensor([[1, 0, UNKNOWN, 1]] * B)
    with torch.autocast('cpu', torch.bfloat16):
        out = model(feats)
        total, _ = model.loss(out, targets, targets != UNKNOWN, STATE)
    assert out.logits.dtype == torch.float32 and total.dtype == torch.float32
    assert (out.logits - model(feats).logits).abs().max() < 0.3
    torch.testing.assert_close(out.saliency.sum(-1), torch.ones(B, C))


# -- from a tower


@pytest.fixture(scope='module')
def tower():
    return load_tower('tiny')


def test_from_tower_starts_at_the_fixed_prompts(tower):
    names = ['dog', 'cat', 'tree']
    model = PVLR.from_tower(tower, names)
    torch.testing.assert_close(model.texts, tower.encode_classes(names, 'A photo of a {}.'))
    torch.testing.assert_close(model.current_texts(), tower.encode_classes(names), atol=1e-5, rtol=1e-4)
    assert model.prompts.context.shape[0] == 4 and model.calibration.scale.item() == pytest.approx(
        tower.logit_scale, rel=1e-5
    )
    dense = F.normalize(torch.randn(2, 6, tower.dim, generator=torch.Generator().manual_seed(0)), dim=-1)
    targets = torch.tensor([[1, 0, UNKNOWN]] * 2)
    model.loss(model(ImageFeatures(dense.mean(1), dense)), targets, targets != UNKNOWN, STATE)[0].backward()
    assert model.prompts.context.grad.abs().sum() > 0
    assert not [name for name in model.state_dict() if 'tower' in name] and all(
        p.grad is None for p in tower.parameters()
    )


def test_from_tower_context_lengths(tower):
    long = PVLR.from_tower(tower, ['dog', 'cat'], PVLRConfig(context_length=16, context_phrase=''))
    assert long.prompts.context.shape[0] == 16 and long.prompts.context.std().item() == pytest.approx(0.02, rel=0.1)
    none = PVLR.from_tower(tower, ['dog', 'cat'], PVLRConfig(context_length=0))
    assert none.prompts is None and torch.equal(none.current_texts(), none.texts)
    with pytest.raises(PVLRError, match="has 4 tokens and context_length is 16"):
        PVLR.from_tower(tower, ['dog', 'cat'], PVLRConfig(context_length=16))


# -- errors


@pytest.mark.parametrize(
    'settings,message',
    [
        (dict(norm='none'), "norm is 'none', expected one of 'post', 'pre'"),
        (dict(pool='sum'), "pool is 'sum'"),
        (dict(dual_attention='one'), "dual_attention is 'one'"),
        (dict(temperature=0.0), 'temperature is 0.0'),
        (dict(label_scale=math.inf), 'label_scale is inf'),
        (dict(global_weight=-1.0), 'global_weight is -1.0'),
        (dict(prompting='all'), "prompting is 'all'"),
        (dict(score='region'), "score is 'region'"),
    ],
)
def test_config_refuses(settings, message):
    with pytest.raises(PVLRError, match=message):
        PVLRConfig(**settings)


def test_shapes_and_sizes_are_refused():
    with pytest.raises(PVLRError, match='heads is 3 and dim is 8'):
        ResidualAttention(8, 3)
    with pytest.raises(PVLRError, match=r'dense has shape \(3, 5, 6\), expected \[B, N, 8\]'):
        make()(ImageFeatures(torch.zeros(3, 6), torch.zeros(3, 5, 6)))
    with pytest.raises(PVLRError, match='temperature is -1'):
        ContextPrompts(8, temperature=-1)
    with pytest.raises(PVLRError, match="pool is 'median'"):
        pool_cosines(torch.zeros(1, 1, 2), 'median')
