"Folding norms into convolutions: which pairs are found, and that the copy says the same, in every kind of tower."

import pytest
import torch
import torch.nn.functional as F
from helpers.towers import images, make
from torch import nn

from trmml_nb.towers.folding import Watch, fold, folded_conv


def lively(network, seed=0):
    "Norms whose numbers do something."
    g = torch.Generator().manual_seed(seed)
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            if part.running_mean is not None:
                part.running_mean.normal_(0, 0.3, generator=g), part.running_var.uniform_(0.5, 2, generator=g)
            if part.weight is not None:
                part.weight.data.uniform_(-1.5, 1.5, generator=g), part.bias.data.normal_(0, 0.3, generator=g)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    "shape", [dict(), dict(groups=2), dict(stride=2, padding=1), dict(dilation=2, padding_mode="circular", padding=2)]
)
def test_one_convolution_does_what_both_did(bias, affine, shape):
    torch.manual_seed(1)
    both = lively(nn.Sequential(nn.Conv2d(4, 6, 3, bias=bias, **shape), nn.BatchNorm2d(6, affine=affine))).double()
    x = torch.randn(2, 4, 9, 9, dtype=torch.float64)
    one = folded_conv(both[0], both[1])
    assert torch.allclose(one(x), both(x), atol=1e-12) and not one.weight.requires_grad
    assert (one.stride, one.groups, one.padding_mode) == (both[0].stride, both[0].groups, both[0].padding_mode)
    assert both[0].weight is not one.weight and (both[0].bias is None) == (not bias)


class Shared(nn.Module):
    "Two norms read one convolution's result; one norm reads two; one norm keeps no mean."

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Conv2d(2, 2, 1) for _ in range(4))
        self.n1, self.n2, self.n3 = (nn.BatchNorm2d(2) for _ in range(3))
        self.free = nn.BatchNorm2d(2, track_running_stats=False)

    def forward(self, x):
        x = self.a(x)
        x = self.n1(x) * self.n2(x)
        x = self.n3(self.b(x)) + self.n3(self.c(x))
        return self.free(self.d(x))


def test_what_others_also_read_is_left_alone():
    network, x = lively(Shared()), torch.randn(2, 2, 3, 3)
    with torch.no_grad(), Watch(network) as seen:
        result = network(x)
    assert seen.pairs(result) == ()
    assert torch.equal(fold(network, ())(x), result)


@pytest.mark.parametrize(
    "name", ["t-resnet", "t-timm-plain", "t-timm-own-head", "t-timm-convnext", "t-vit-tok", "t-custom"]
)
def test_every_kind_of_tower_says_the_same(name):
    tower = make(name)
    lively(tower.model.visual)
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in tower.model.visual.modules())
    assert len(tower.folded) == norms and (norms > 0) == (name in ("t-resnet", "t-timm-plain", "t-timm-own-head"))
    raw, got = tower.raw(images(tower)), tower.encode_images(images(tower))
    assert torch.allclose(got.dense, F.normalize(raw.dense, dim=-1), atol=1e-5)
    assert torch.allclose(got.pooled, F.normalize(raw.pooled, dim=-1), atol=1e-5)
    assert torch.allclose(got.norms, raw.dense.norm(dim=-1) / raw.dense.norm(dim=-1).mean(-1, keepdim=True), atol=1e-4)


def test_the_tower_itself_and_its_fingerprint_stay():
    tower = make("t-resnet")
    before, state = tower.fingerprint, {k: v.clone() for k, v in tower.model.state_dict().items()}
    tower.encode_images(images(tower)), tower.encode_images(images(tower), torch.bfloat16)
    after = tower.model.state_dict()
    assert list(after) == list(state) and all(torch.equal(after[k], v) for k, v in state.items())
    again = make("t-resnet")
    assert again.fingerprint == before and all(k.startswith("model.") for k in tower.state_dict())


def test_the_copy_follows_the_weights():
    "A copy is made once, and anew when the weights were changed or moved to another type."
    tower = make("t-resnet")
    x = images(tower)
    first, copied = tower.encode_images(x), tower.working()
    assert tower.working() is copied and tower.working(torch.bfloat16) is tower.working(torch.bfloat16) is not copied
    with torch.no_grad():
        tower.model.visual.layer4[-1].conv3.weight.mul_(-1)
    changed = tower.encode_images(x)
    assert not torch.allclose(first.dense, changed.dense, atol=1e-2)
    assert torch.allclose(changed.pooled, F.normalize(tower.raw(x).pooled, dim=-1), atol=1e-5)
    assert next(tower.double().working().parameters()).dtype == torch.float64


@pytest.mark.parametrize("name", ["t-resnet", "t-timm-plain", "t-vit-tok"])
def test_bfloat16_copy_agrees(name):
    tower = make(name)
    full, low = (tower.encode_images(images(tower), kind) for kind in (None, torch.bfloat16))
    assert {p.dtype for p in tower.working(torch.bfloat16).parameters()} == {torch.bfloat16}
    assert {p.dtype for p in tower.parameters()} == {
        torch.float32
    } and low.dense.dtype == low.norms.dtype == torch.float32
    assert F.cosine_similarity(full.dense, low.dense, dim=-1).mean() > 0.995
