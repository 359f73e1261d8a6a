"""Category regions against torch.nn.MultiheadAttention and torch's own decoder layer in float64, with copied weights."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trmml_nb.method.attention import sine_position_code
from trmml_nb.method.positions import RegionError, carries, view_position_code
from trmml_nb.method.regions import CategoryRegions, RegionOutput
from trmml_nb.method.vocabulary import candidates

B, C, D, H = 3, 5, 16, 4
GRID = (3, 4)
N = GRID[0] * GRID[1]


def unit(*shape, seed=0, dtype=torch.float64):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype), dim=-1)


def module(dtype=torch.float64, **options):
    options = dict(residual=False) | options
    net = CategoryRegions(C, D, heads=H, ffn_dim=32, generator=torch.Generator().manual_seed(1), **options)
    with torch.no_grad():
        for p in net.parameters():  # away from the tidy first values, biases included
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    return net.to(dtype)


def reference(net, dense, position_code):
    "The same computation through torch's own layers, keys and values made explicitly."
    d = dense.shape[-1]
    mha = nn.MultiheadAttention(d, H, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        mha.in_proj_weight.copy_(torch.cat([net.to_query.weight, net.to_key.weight, net.to_value.weight]))
        mha.in_proj_bias.copy_(torch.cat([net.to_query.bias, torch.randn(d).double(), net.to_value.bias]))
        mha.out_proj.weight.copy_(net.to_out.weight)
        mha.out_proj.bias.copy_(net.to_out.bias)
    memory, query = dense * math.sqrt(d), (net.queries * math.sqrt(d)).expand(len(dense), -1, -1)
    attended, saliency = mha(query, memory + position_code, memory, need_weights=True, average_attn_weights=True)
    x = F.layer_norm(query + attended, (d,), net.norm_attention.weight, net.norm_attention.bias)
    first, second = net.ffn[0], net.ffn[3]
    ffn = F.linear(F.relu(F.linear(x, first.weight, first.bias)), second.weight, second.bias)
    x = F.layer_norm(x + ffn, (d,), net.norm_ffn.weight, net.norm_ffn.bias)
    first, second = net.mlp[0], net.mlp[2]
    x = F.linear(F.relu(F.linear(x, first.weight, first.bias)), second.weight, second.bias)
    region = torch.einsum('bcn,bnd->bcd', saliency, dense)
    return RegionOutput(*[x / x.norm(dim=-1, keepdim=True) for x in (x, region)], saliency)


@pytest.mark.parametrize('position_scale', [0.0, 0.5, 3.0])
def test_against_torch_multihead_attention(position_scale):
    net, dense = module(position_scale=position_scale).eval(), unit(B, N, D)
    code = sine_position_code(GRID, D).double() * position_scale * math.sqrt(2)
    for name, ours, theirs in zip(RegionOutput._fields, net(dense, GRID), reference(net, dense, code)):
        torch.testing.assert_close(ours, theirs, atol=1e-7, rtol=1e-6, msg=name)


def test_gradients_against_torch_multihead_attention():
    net, dense = module().eval(), unit(B, N, D)
    code = sine_position_code(GRID, D).double() * 0.25 * math.sqrt(2)
    weights = [torch.randn(x.shape, generator=torch.Generator().manual_seed(5)).double() for x in net(dense, GRID)]
    gradients = []
    for out in (net(dense, GRID), reference(net, dense, code)):
        loss = sum((x * w).sum() for x, w in zip(out, weights))
        gradients.append(torch.autograd.grad(loss, [net.queries, net.ffn[0].weight, net.mlp[2].weight]))
    for ours, theirs in zip(*gradients):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_shapes_lengths_and_sums():
    out = module(torch.float32)(unit(B, N, D, dtype=torch.float32), GRID)
    assert out.query.shape == out.region.shape == (B, C, D) and out.saliency.shape == (B, C, N)
    ones = torch.ones(B, C)
    torch.testing.assert_close(out.query.norm(dim=-1), ones)
    torch.testing.assert_close(out.region.norm(dim=-1), ones)
    torch.testing.assert_close(out.saliency.sum(-1), ones)  # in training too: dropout leaves the maps alone
    assert (out.saliency >= 0).all()


def test_region_is_a_mixture_of_the_towers_own_features():
    net, dense = module(), unit(B, N, D)
    out = net(dense, GRID)
    torch.testing.assert_close(out.region, F.normalize(out.saliency @ dense, dim=-1), atol=1e-9, rtol=0)


def test_first_maps_are_a_softmax_of_cosines():
    texts, dense = unit(C, D, dtype=torch.float32), unit(B, N, D, seed=1, dtype=torch.float32)
    net = CategoryRegions(C, D, heads=1, init=texts, position_scale=0.0, attention_scale=12.0)
    torch.testing.assert_close(net(dense, GRID).saliency, (12 * texts @ dense.transpose(1, 2)).softmax(-1))


def test_position_code_lets_equal_cells_differ():
    same = unit(1, 1, D, dtype=torch.float32).expand(1, N, D)
    flat = torch.full((1, C, N), 1 / N)
    torch.testing.assert_close(module(torch.float32, position_scale=0.0)(same, GRID).saliency, flat)
    assert (module(torch.float32)(same, GRID).saliency - flat).abs().max() > 1e-4


def test_images_and_positions_do_not_mix():
    net, dense = module(position_scale=0.0).eval(), unit(B, N, D)
    one = net(dense[1:2], GRID)
    for alone, together in zip(one, net(dense, GRID)):
        torch.testing.assert_close(alone[0], together[1])
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(net(dense[:, order], GRID).saliency, net(dense, GRID).saliency[..., order])
    torch.testing.assert_close(net(dense[:, order], GRID).query, net(dense, GRID).query)


def test_every_parameter_learns():
    net = module(torch.float32)
    out = net(unit(B, N, D, dtype=torch.float32), GRID)
    (out.query[..., 0].sum() + out.region[..., 0].sum()).backward()
    for name, p in net.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, name


def test_queries_start_from_texts_or_from_small_noise():
    texts = 3 * unit(C, D, dtype=torch.float32)
    torch.testing.assert_close(CategoryRegions(C, D, init=texts).queries.data, texts / 3)
    many = CategoryRegions(400, 64, init=None, generator=torch.Generator().manual_seed(0)).queries
    assert many.std().item() == pytest.approx(0.02, rel=0.05) and abs(many.mean().item()) < 1e-3


def test_same_generator_same_weights():
    a, b, c = [CategoryRegions(C, D, generator=torch.Generator().manual_seed(s)).state_dict() for s in (0, 0, 1)]
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a['to_query.weight'], c['to_query.weight'])


def test_state_dict_round_trip():
    net, dense = module(torch.float32).eval(), unit(B, N, D, dtype=torch.float32)
    other = CategoryRegions(C, D, heads=H, ffn_dim=32, residual=False).eval()
    other.load_state_dict(net.state_dict())
    for a, b in zip(net(dense, GRID), other(dense, GRID)):
        assert torch.equal(a, b)


def test_dropout_only_in_training():
    net, dense = module(torch.float32, dropout=0.5), unit(B, N, D, dtype=torch.float32)
    torch.manual_seed(0)
    assert not torch.equal(net(dense, GRID).query, net(dense, GRID).query)
    net.eval()
    assert torch.equal(net(dense, GRID).query, net(dense, GRID).query)


def test_bfloat16_autocast_is_finite_and_close():
    net, dense = module(torch.float32).eval(), unit(B, N, D, dtype=torch.float32)
    full = net(dense, GRID)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = net(dense, GRID)
    sum(x.square().sum() for x in half).backward()
    for a, b in zip(full, half):
        assert b.dtype == torch.float32
        torch.testing.assert_close(a, b, atol=0.03, rtol=0.05)
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device')
def test_cuda_equals_cpu():
    net, dense = module(torch.float32).eval(), unit(B, N, D, dtype=torch.float32)
    on_cpu, on_gpu = net(dense, GRID), net.cuda()(dense.cuda(), GRID)
    for a, b in zip(on_cpu, on_gpu):
        torch.testing.assert_close(a, b.cpu(), atol=1e-4, rtol=1e-3)


def test_a_thousand_categories():
    net = CategoryRegions(1000, 64, ffn_dim=64).eval()
    with torch.no_grad():
        out = net(unit(2, 49, 64, dtype=torch.float32), (7, 7))
    assert out.saliency.shape == (2, 1000, 49) and torch.isfinite(out.query).all()


@pytest.mark.parametrize(
    'call, words',
    [
        (lambda: CategoryRegions(C, 16, heads=3), ['16', '3', 'heads']),
        (lambda: CategoryRegions(C, 16, init=torch.zeros(4, 16)), ['init', '(4, 16)', '[5, 16]']),
        (lambda: CategoryRegions(C, 16, position_scale=-1.0), ['position_scale', '-1']),
        (lambda: CategoryRegions(C, 16, attention_scale=-2.0), ['attention_scale', '-2']),
        (lambda: CategoryRegions(C, D)(torch.zeros(2, 11, D), (3, 4)), ['dense', '(2, 11, 16)', '12']),
        (lambda: CategoryRegions(C, D)(torch.zeros(2, 12, 8), (3, 4)), ['dense', '(2, 12, 8)', '16']),
        (lambda: CategoryRegions(C, D)(torch.zeros(12, D), (3, 4)), ['dense', '(12, 16)', '[B, N, d]']),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(RegionError) as error:
        call()
    for word in words:
        assert word in str(error.value)


def test_both_ways_to_bracket_agree():
    five, dense = module().eval(), unit(B, N, D)  # makes keys: heads * 5 > 16
    two = CategoryRegions(2, D, heads=H, ffn_dim=32, residual=False).double().eval()  # carries queries: heads * 2 <= 16
    two.load_state_dict({k: v[:2] if k == 'queries' else v for k, v in five.state_dict().items()})
    assert carries(H, 2, D) and not carries(H, 5, D)
    for a, b in zip(two(dense, GRID), five(dense, GRID)):
        torch.testing.assert_close(a, b[:, :2], atol=1e-9, rtol=0)


def test_norms_weigh_positions_and_flat_maps_give_the_plain_sum():
    g = torch.Generator().manual_seed(9)
    raw = torch.randn(B, N, D, generator=g).double()
    norms, dense = raw.norm(dim=-1), F.normalize(raw, dim=-1)
    net = CategoryRegions(C, D, position_scale=0.0, norm_power=1.0).double().eval()
    with torch.no_grad():
        net.queries.zero_()  # flat scores
        net.to_query.bias.zero_()
    out = net(dense, GRID, norms / norms.mean(-1, keepdim=True))
    expected = F.normalize(raw.sum(1), dim=-1)
    torch.testing.assert_close(out.region, expected[:, None].expand(-1, C, -1), atol=1e-9, rtol=0)
    torch.testing.assert_close(out.saliency[:, 0], norms / norms.sum(-1, keepdim=True), atol=1e-9, rtol=0)


def test_residual_query_starts_at_the_region():
    net, dense = CategoryRegions(C, D, heads=H, ffn_dim=32).double().eval(), unit(B, N, D)
    out = net(dense, GRID)
    torch.testing.assert_close(out.query, out.region)
    with torch.no_grad():
        net.mlp[-1].bias.fill_(0.3)
    moved = net(dense, GRID)
    torch.testing.assert_close(moved.query, F.normalize(moved.region + 0.3, dim=-1))


def test_several_views_have_a_code_each_and_equal_views_change_nothing():
    "The same view twice: every map is the old one, halved and repeated; regions and queries stay."
    g = torch.Generator().manual_seed(5)
    net = CategoryRegions(3, 8, heads=2, ffn_dim=16, generator=g).eval()
    dense = torch.nn.functional.normalize(torch.randn(2, 6, 8, generator=g), dim=-1)
    norms = torch.rand(2, 6, generator=g) + 0.5
    one, two = net(dense, (2, 3), norms), net(torch.cat([dense, dense], 1), (2, 3), torch.cat([norms, norms], 1))
    torch.testing.assert_close(two.saliency, torch.cat([one.saliency, one.saliency], -1) / 2)
    torch.testing.assert_close(two.region, one.region)
    torch.testing.assert_close(two.query, one.query)
    more = torch.cat([dense, dense[:, :4]], 1)
    assert net(more, [(2, 3), (2, 2)]).saliency.shape == (2, 3, 10)
    codes = view_position_code(sine_position_code, [(2, 3), (2, 2)], 10, 8)
    torch.testing.assert_close(codes.norm(dim=-1), torch.ones(10))
    with pytest.raises(RegionError, match=r'dense has shape \(2, 10, 8\), expected .* N = 2 \* 3 = 6 \(or a multiple'):
        net(more, (2, 3))
    with pytest.raises(RegionError, match=r'N = 2 \* 3 \+ 2 \* 2 = 10'):
        net(dense, [(2, 3), (2, 2)])


@pytest.mark.parametrize('chunk', [1, 3, 5, 7, 50])
def test_chunks_of_categories_change_no_number_and_no_gradient(chunk):
    g = lambda: torch.Generator().manual_seed(7)
    make = lambda chunk: CategoryRegions(7, 8, heads=2, ffn_dim=16, dropout=0.0, generator=g(), chunk=chunk).double()
    dense = torch.nn.functional.normalize(torch.randn(2, 6, 8, generator=g()).double(), dim=-1)
    found = []
    for net in (make(0), make(chunk)):
        out = net(dense, (2, 3), torch.ones(2, 6))
        loss = out.query.pow(3).sum() + out.saliency.pow(2).sum() + out.region[..., 0].sum()
        found.append([*out, *torch.autograd.grad(loss, list(net.parameters()))])
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-10)


def test_chunked_dropout_is_the_same_on_the_way_back():
    "Finite differences under a fixed seed: the mask drawn again for the gradient is the one of the forward pass."
    net = (
        CategoryRegions(4, 8, heads=2, ffn_dim=16, dropout=0.5, generator=torch.Generator().manual_seed(1), chunk=2)
        .double()
        .train()
    )
    dense = torch.nn.functional.normalize(torch.randn(1, 6, 8).double(), dim=-1)

    def value():
        torch.manual_seed(3)
        return net(dense, (2, 3)).query.pow(3).sum()

    (gradient,) = torch.autograd.grad(value(), net.queries)
    with torch.no_grad():
        net.queries[1, 2] += 1e-5
        up = value()
        net.queries[1, 2] -= 2e-5
        down = value()
    assert (up - down).item() / 2e-5 == pytest.approx(gradient[1, 2].item(), rel=1e-5)


def test_candidates_are_exact_for_the_kept():
    g = torch.Generator().manual_seed(2)
    net = CategoryRegions(6, 8, heads=2, ffn_dim=16, generator=g).eval()
    dense, texts = (torch.nn.functional.normalize(torch.randn(*s, generator=g), dim=-1) for s in ((3, 6, 8), (6, 8)))
    kept = candidates(dense, texts, 4)
    best = (dense @ texts.T).amax((0, 1))
    assert kept.tolist() == sorted(best.argsort(descending=True)[:4].tolist())
    some, whole = net.some(dense, (2, 3), rows=kept), net(dense, (2, 3))
    for a, b in zip(some, whole):
        torch.testing.assert_close(a, b[:, kept])
    assert candidates(dense, texts, 99).tolist() == list(range(6))
    with pytest.raises(RegionError, match='keep is 0'):
        candidates(dense, texts, 0)
    with pytest.raises(RegionError, match='chunk is -1'):
        CategoryRegions(3, 8, heads=2, chunk=-1)


def test_chunks_save_memory():
    "What autograd keeps for the way back, in bytes: a third at most with chunks of a tenth."

    def kept(chunk):
        net, sizes = CategoryRegions(40, 16, heads=2, ffn_dim=64, chunk=chunk), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            net(torch.nn.functional.normalize(torch.randn(8, 64, 16), dim=-1), (8, 8))
        return sum(sizes)

    assert kept(4) < kept(0) / 3


def test_given_maps_are_used_and_maps_of_another_shape_are_named():
    net = CategoryRegions(C, D, heads=H, ffn_dim=32).double().eval()
    dense, looks = unit(B, N, D), torch.rand(B, C, N, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    looks = looks / looks.sum(-1, keepdim=True)
    out = net(dense, GRID, looks=looks)
    torch.testing.assert_close(out.saliency, looks)
    torch.testing.assert_close(out.region, F.normalize(looks @ dense, dim=-1))
    for bad in (looks[:, :2], looks[..., :3], looks[:1]):
        with pytest.raises(RegionError, match=r'looks has shape .* a map for each image and category'):
            net(dense, GRID, looks=bad)
