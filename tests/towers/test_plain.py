"The plain trunk: centred on its cells, bounded, and known to timm and open_clip by its name."

import open_clip
import pytest
import timm
import torch

from trmml_nb.towers.dense import timm_features
from trmml_nb.towers.plain import PlainTrunk, trmml_plain


def reach(trunk, row, column, size=256):
    "First and last row and column of the pixels on which a position depends."
    pixels = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)).requires_grad_()
    trunk.double().forward_features(pixels.double())[0, :, row, column].sum().backward()
    seen = pixels.grad[0].abs().sum(0)
    rows, columns = seen.sum(1).nonzero().ravel(), seen.sum(0).nonzero().ravel()
    return rows.min().item(), rows.max().item(), columns.min().item(), columns.max().item()


@pytest.mark.parametrize('depths, side', [((1, 1, 2), 104), ((1, 2, 1), 88), ((0, 0, 0), 16)])
def test_a_position_sees_a_square_around_its_own_cell(depths, side):
    torch.manual_seed(0)
    top, bottom, left, right = reach(PlainTrunk(depths=depths).eval(), 8, 7)
    assert bottom - top + 1 <= side and right - left + 1 <= side  # worked out layer by layer
    assert bottom - top + 1 >= side - 24  # and not much less: rectifiers may hide an edge
    assert abs((top + bottom) / 2 - (8 * 16 + 7.5)) <= 12 and abs((left + right) / 2 - (7 * 16 + 7.5)) <= 12
    assert top >= 8 * 16 + 8 - side // 2 and bottom < 8 * 16 + 8 + side // 2


def test_by_name_through_timm_and_open_clip():
    assert timm.is_model('trmml_plain')
    visual = open_clip.timm_model.TimmModel('trmml_plain', embed_dim=8, image_size=64).eval()
    pixels = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        raw = timm_features(visual, pixels)
        assert raw.grid == (4, 6) and torch.allclose(raw.dense.mean(1), raw.pooled, atol=1e-6)
        assert torch.allclose(raw.pooled, visual(pixels), atol=1e-6)


def test_what_it_does_not_have_is_refused():
    with pytest.raises(ValueError, match='no weights are published'):
        trmml_plain(pretrained=True)
    with pytest.raises(ValueError, match="timm_pool='avg'"):
        PlainTrunk().reset_classifier(10)
    with pytest.raises(ValueError, match="'max'"):
        PlainTrunk().reset_classifier(0, 'max')
