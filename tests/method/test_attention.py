"""Category attention: the position code against DETR's formula, the looks of each head against
torch.nn.MultiheadAttention in float64."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trmml_nb.method.attention import (
    CategoryAttention,
    pool_regions,
    sine_position_code,
)
from trmml_nb.method.positions import (
    RegionError,
    grid_of,
    head_scores,
    head_values,
    spread_maps,
    split_heads,
    view_position_code,
)

B, C, D, H = 3, 5, 16, 4
GRID = (3, 4)
N = GRID[0] * GRID[1]


def unit(*shape, seed=0, dtype=torch.float64):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype), dim=-1)


def module(**options):
    net = CategoryAttention(C, D, heads=H, **options)
    with torch.no_grad():
        for seed, p in enumerate(net.parameters()):
            p.copy_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(seed)))
    return net.double()


# ---- position code


def test_code_by_hand():
    code = sine_position_code((2, 2), 8)  # per axis: two frequencies, 1 and 1/100
    half, full, slow_half, slow_full = math.pi, 2 * math.pi, math.pi / 100, 2 * math.pi / 100
    first = [math.sin(half), math.cos(half), math.sin(slow_half), math.cos(slow_half)]
    last = [math.sin(full), math.cos(full), math.sin(slow_full), math.cos(slow_full)]
    expected = torch.tensor([first + first, first + last, last + first, last + last])
    torch.testing.assert_close(code, expected, atol=1e-6, rtol=0)


def detr_code(h, w, dim, temperature=10000):
    "DETR's PositionEmbeddingSine with normalize=True, entry by entry in float64 (Carion et al., ECCV 2020)."
    out = np.zeros((h, w, dim))
    for r in range(h):
        for c in range(w):
            for offset, at in ((0, (r + 1) / h), (dim // 2, (c + 1) / w)):
                for i in range(dim // 2):
                    angle = 2 * math.pi * at / temperature ** (2 * (i // 2) / (dim // 2))
                    out[r, c, offset + i] = math.cos(angle) if i % 2 else math.sin(angle)
    return out.reshape(h * w, dim)


@pytest.mark.parametrize('grid, dim', [((3, 4), 16), ((7, 7), 64), ((14, 14), 256), ((1, 5), 4)])
def test_code_against_detr_entry_by_entry(grid, dim):
    np.testing.assert_allclose(sine_position_code(grid, dim), detr_code(*grid, dim), atol=2e-6)


def test_codes_have_one_length_and_differ():
    code = sine_position_code((7, 9), 32)
    torch.testing.assert_close(code.norm(dim=-1), torch.full((63,), 4.0))
    assert (torch.cdist(code, code) + 10 * torch.eye(63)).min() > 0.1


@pytest.mark.parametrize('dim', [2, 6])
def test_bad_width_is_named(dim):
    with pytest.raises(RegionError, match=f'dim is {dim}, expected a multiple of 4'):
        sine_position_code((2, 2), dim)


def test_each_view_has_a_first_row_of_its_own():
    views = view_position_code(sine_position_code, [(2, 3), (2, 2)], 10, 8)
    torch.testing.assert_close(views[:6], F.normalize(sine_position_code((2, 3), 8), dim=-1))
    torch.testing.assert_close(views[6:], F.normalize(sine_position_code((2, 2), 8), dim=-1))
    torch.testing.assert_close(
        view_position_code(sine_position_code, (2, 3), 18, 8),
        view_position_code(sine_position_code, (2, 3), 6, 8).repeat(3, 1),
    )


@pytest.mark.parametrize(
    'positions, grid, expected', [(6, (2, 3), (2, 3)), (12, (2, 3), (2, 3)), (9, (2, 3), (3, 3)), (1, (2, 3), (1, 1))]
)
def test_the_grid_of_so_many_positions(positions, grid, expected):
    assert grid_of(positions, grid) == expected


@pytest.mark.parametrize('positions', [0, 5, 8])
def test_positions_without_a_grid_are_refused(positions):
    with pytest.raises(RegionError, match=f'{positions} positions fill neither'):
        grid_of(positions, (2, 3))


# ---- the looks


def test_pooling_is_a_weighted_sum_of_length_one():
    saliency, dense = (
        torch.rand(B, C, N, generator=torch.Generator().manual_seed(2)).double().softmax(-1),
        unit(B, N, D),
    )
    expected = sum(saliency[..., n, None] * dense[:, n, None] for n in range(N))
    torch.testing.assert_close(pool_regions(saliency, dense), expected / expected.norm(dim=-1, keepdim=True))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = pool_regions(saliency.float(), dense.float())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, pool_regions(saliency.float(), dense.float()))


def reference(net, query, key, value=None):
    "torch's own attention with the same projections, keys made: (what it says, attention of each head)."
    theirs, eye = nn.MultiheadAttention(D, H, batch_first=True, dtype=torch.float64), torch.eye(D).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([net.to_query.weight, net.to_key.weight, eye]))
        theirs.in_proj_bias.copy_(torch.cat([net.to_query.bias, torch.zeros(2 * D).double()]))
        theirs.out_proj.weight.copy_(eye)
        theirs.out_proj.bias.zero_()
    return theirs(query, key, key if value is None else value, need_weights=True, average_attn_weights=False)


@pytest.mark.parametrize('position_scale', [0.0, 0.5, 3.0])
def test_looks_against_torch_multihead_attention(position_scale):
    net, dense = module(position_scale=position_scale), unit(B, N, D)
    keys = (dense + position_scale * view_position_code(sine_position_code, GRID, N, D).double()) * math.sqrt(D)
    theirs = reference(net, (net.queries * math.sqrt(D)).expand(B, -1, -1), keys)[1]
    torch.testing.assert_close(net.attend(dense, GRID), theirs, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(
        net.attend(dense, GRID, queries=net.queries[[4, 1]]), theirs[:, :, [4, 1]], atol=1e-6, rtol=1e-5
    )
    each = net.attend(
        dense, GRID, queries=net.queries[torch.tensor([[0, 1], [2, 3], [4, 0]])]
    )  # other categories for each image
    torch.testing.assert_close(each[1], theirs[1][:, [2, 3]], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize('carry', [True, False])
def test_values_against_torch_multihead_attention(carry):
    net, dense = module(), unit(B, N, D)
    query, identity = net.queries.expand(B, -1, -1), nn.Linear(D, D, dtype=torch.float64)
    with torch.no_grad():
        identity.weight.copy_(torch.eye(D))
        identity.bias.zero_()
    said, attention = reference(net, query, dense)
    torch.testing.assert_close(head_values(attention, identity, dense, carry), said)


def test_scores_and_their_gradients_are_equal_both_ways():
    net, dense, gradients = module(), unit(B, N, D), []
    query = split_heads(net.to_query(net.queries), H)
    torch.testing.assert_close(query[1], net.to_query(net.queries)[:, D // H : 2 * D // H])
    for carry in (True, False):
        scores = head_scores(query, net.to_key, dense, carry)
        gradients.append([
            scores,
            *torch.autograd.grad(scores.pow(2).sum(), [net.queries, net.to_key.weight], retain_graph=True),
        ])
    for carried, made in zip(*gradients):
        torch.testing.assert_close(carried, made)


def test_norm_power_multiplies_the_attention():
    net = module()
    net.norm_power = 2.0
    dense, norms = unit(B, N, D), torch.rand(B, N, generator=torch.Generator().manual_seed(3)).double() + 0.1
    plain, weighted = net.attend(dense, GRID), net.attend(dense, GRID, norms)
    expected = plain * norms[:, None, None] ** 2
    torch.testing.assert_close(weighted, expected / expected.sum(-1, keepdim=True), atol=1e-9, rtol=0)


def test_spread_maps_against_a_loop():
    "Two views with grids of their own: each cell is the bell-weighted mean of its own view, then the map sums to 1."
    maps = torch.rand(2, 3, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spread = spread_maps(maps, ((2, 3), (2, 2)), 0.3)
    expected, start = torch.zeros_like(maps), 0
    for rows, columns in ((2, 3), (2, 2)):
        places = [((r + 0.5) / rows, (c + 0.5) / columns) for r in range(rows) for c in range(columns)]
        for i, a in enumerate(places):
            weights = [math.exp(-((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) / (2 * 0.3**2)) for b in places]
            near = sum(w * maps[..., start + j] for j, w in enumerate(weights))
            expected[..., start + i] = near / sum(weights)
        start += len(places)
    torch.testing.assert_close(spread, expected / expected.sum(-1, keepdim=True))


def test_spread_maps_keep_what_is_even_or_empty_and_narrow_bells_change_nothing():
    even, maps = torch.full((9,), 1 / 9), torch.rand(4, 9, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(spread_maps(even, (3, 3)), even)
    assert not spread_maps(torch.zeros(9), (3, 3)).any()
    torch.testing.assert_close(spread_maps(maps, (3, 3), 0.01), maps / maps.sum(-1, keepdim=True))
    assert spread_maps(maps.half(), (3, 3)).dtype == torch.float32


@pytest.mark.parametrize('positions, width', [(8, 0.1), (9, 0.0), (9, math.nan), (9, math.inf)])
def test_spread_maps_refuse(positions, width):
    with pytest.raises(RegionError, match=f'{positions} positions and width is {width}'):
        spread_maps(torch.ones(positions), (3, 3), width)
