"Dense features against open_clip's own layers and models, with random weights; no download, no network."

import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from trmml_nb.towers.dense import choose_dense, raw_features, resize_position_table, resize_tower
from trmml_nb.errors import TowerError
from trmml_nb.towers.tower import load_tower
from helpers.towers import CONFIGS, images, make


@pytest.mark.parametrize("name", [n for n in CONFIGS if n != "t-vit-drop"])
def test_pooled_is_the_models_own(name):
    tower = make(name)
    x = images(tower)
    with torch.no_grad():
        theirs = tower.model.encode_image(x)
        own = F.normalize(theirs.double(), dim=-1)
    got = tower.encode_images(x)
    assert torch.allclose(tower.raw(x).pooled, theirs, atol=1e-6)
    assert torch.allclose(got.pooled.double(), own, atol=1e-6)
    assert got.dense.shape == (2, tower.grid[0] * tower.grid[1], tower.dim) and got.dense.dtype == torch.float32
    assert torch.allclose(got.dense.norm(dim=-1), torch.ones(got.dense.shape[:2]), atol=1e-5)
    assert not torch.allclose(got.dense[:, :1], got.dense[:, 1:2], atol=1e-3)  # positions differ


@pytest.mark.parametrize("name", ["t-vit-avg", "t-timm-plain", "t-custom"])
def test_mean_of_dense_is_pooled_where_it_must_be(name):
    raw = (tower := make(name)).raw(images(tower))
    assert torch.allclose(raw.dense.mean(1), raw.pooled, atol=1e-5)


@pytest.mark.parametrize("name", ["t-resnet", "t-vit-tok", "t-timm-mlp", "t-timm-convnext"])
def test_mean_of_dense_is_not_pooled_elsewhere(name):
    raw = (tower := make(name)).raw(images(tower))
    assert not torch.allclose(raw.dense.mean(1), raw.pooled, atol=1e-3)


def test_resnet_dense_is_the_attention_pool_of_one_entry():
    tower = make("t-resnet", 128)
    visual, x = tower.model.visual, images(tower)
    with torch.no_grad():
        last = visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.stem(x))))).double()
        pool = visual.attnpool
        v = last.permute(0, 2, 3, 1) @ pool.v_proj.weight.double().T + pool.v_proj.bias.double()
        reference = v @ pool.c_proj.weight.double().T + pool.c_proj.bias.double()
    assert tower.grid == (4, 4)
    assert torch.allclose(tower.raw(x).dense.double(), reference.flatten(1, 2), atol=1e-5)


def test_vit_dense_is_final_norm_and_projection_of_patch_tokens():
    tower = make("t-vit-tok")
    visual, seen = tower.model.visual, []
    hook = visual.transformer.register_forward_hook(lambda m, i, o: seen.append(o))
    with torch.no_grad():
        visual(images(tower))
    hook.remove()
    x = seen[0].double()
    ln = visual.ln_post
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + ln.eps).sqrt() * ln.weight + ln.bias
    assert torch.allclose(tower.raw(images(tower)).dense.double(), x[:, 1:] @ visual.proj.double(), atol=1e-5)


def test_convnext_dense_runs_the_whole_head_per_position():
    tower = make("t-timm-convnext")
    visual, x = tower.model.visual, images(tower)
    with torch.no_grad():
        maps = visual.trunk.forward_features(x)
        one = visual.head(visual.trunk.forward_head(maps[:, :, 1:2, 0:1]))
    assert torch.allclose(tower.raw(x).dense[:, tower.grid[1]], one, atol=1e-5)


def test_timm_attention_head_gives_value_path():
    "SigLIP's map head with one token is independent of its query."
    import timm
    from open_clip.timm_model import TimmModel

    torch.manual_seed(0)
    visual = TimmModel("test_vit", 64, image_size=160, pool="avg", proj="linear").eval()
    visual.trunk = timm.create_model("test_vit", num_classes=0, global_pool="map", class_token=False).eval()
    visual.head = nn.Sequential()
    pool, x = visual.trunk.attn_pool, torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        raw = raw_features(visual, x)
        tokens = visual.trunk.forward_features(x)
        values = pool.kv(tokens).chunk(2, dim=-1)[1]
        out = pool.proj(values)
        out = visual.trunk.fc_norm(out + pool.mlp(pool.norm(out)))
        assert torch.allclose(raw.dense, out, atol=1e-5) and torch.allclose(raw.pooled, visual(x), atol=1e-6)


@pytest.mark.parametrize("name", ["t-resnet", "t-vit-tok", "t-vit-avg", "t-timm-plain", "t-timm-vit"])
def test_other_image_size(name):
    native = make(name)
    tower = make(name, 2 * native.image_size)
    assert tower.grid == (2 * native.grid[0], 2 * native.grid[1])
    assert tower.encode_images(images(tower)).dense.shape[1] == 4 * native.grid[0] * native.grid[1]
    assert tower.fingerprint != native.fingerprint
    with pytest.raises(TowerError, match=rf"\(2, 3, {native.image_size}, .*expected \[B, 3, {tower.image_size}"):
        tower.encode_images(images(native))


def test_vit_table_is_resized_as_open_clip_does_on_loading(tmp_path):
    native = make("t-vit-tok")
    save_file({k: v.contiguous() for k, v in native.model.state_dict().items()}, tmp_path / "w.safetensors")
    theirs = open_clip.create_model("t-vit-tok", str(tmp_path / "w.safetensors"), force_image_size=128).eval()
    ours = load_tower("t-vit-tok", str(tmp_path / "w.safetensors"), 128)
    table = native.model.visual.positional_embedding
    assert torch.equal(ours.model.visual.positional_embedding, theirs.visual.positional_embedding)
    assert torch.equal(ours.model.visual.positional_embedding[0], table[0]) and len(table) == 17
    x = images(ours)
    with torch.no_grad():
        assert torch.allclose(ours.raw(x).pooled, theirs.encode_image(x), atol=1e-5)


def test_resize_table_against_torch_interpolate():
    table = torch.randn(1 + 49, 3)
    grid = table[1:].T.reshape(1, 3, 7, 7)
    wide = F.interpolate(grid, (14, 14), mode="bicubic", antialias=True, align_corners=False)
    assert torch.allclose(resize_position_table(table, (14, 14))[1:], wide.reshape(3, -1).T, atol=1e-6)


def test_size_the_patches_do_not_divide():
    with pytest.raises(TowerError, match="450 is not a multiple of 32: take 448 or 480"):
        load_tower("t-resnet", "random", 450)


def test_real_resnet_50_at_448():
    torch.manual_seed(0)
    tower = load_tower("RN50", "random", 448)
    got = tower.encode_images(torch.randn(1, 3, 448, 448))
    assert tower.grid == (14, 14) and got.dense.shape == (1, 196, 1024) and got.pooled.shape == (1, 1024)
    assert tower.model.visual.attnpool.positional_embedding.shape == (197, 2048)


@pytest.mark.parametrize(
    "name, grids, linear",
    [
        ("RN101", (7, 14), False),
        ("ViT-B-16", (14, 28), False),
        ("ViT-L-14", (16, 32), False),
        ("MobileCLIP2-S0", (7, 14), True),
        ("ViT-B-16-SigLIP", (14, 28), False),
    ],
)
def test_real_families_at_two_sizes(name, grids, linear):
    """Image halves with random weights: the pooled vector is the model's own, and the mean of dense where the head is
    average and linear."""
    visual = open_clip.create_model(name, load_weights=False).visual.eval()
    for size, side in zip((224, 448), grids):
        if size == 448:
            resize_tower(visual, 448)
        with torch.no_grad():
            x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(size))
            raw, own = raw_features(visual, x), visual(x)
        assert (
            raw.grid == (side, side)
            and raw.dense.shape[:2] == (1, side * side)
            and raw.dense.shape[-1] == raw.pooled.shape[-1]
        )
        assert torch.allclose(raw.pooled, own, atol=1e-5) and torch.isfinite(raw.dense).all()
        assert torch.allclose(raw.dense.mean(1), raw.pooled, atol=1e-4) == linear


def test_patch_dropout_is_off():
    tower = make("t-vit-drop").train()
    x = images(tower)
    assert torch.equal(tower.raw(x).dense, tower.raw(x).dense) and tower.raw(x).dense.shape[1] == 16


def test_unknown_image_tower_is_refused():
    with pytest.raises(TowerError, match="kind Linear; known kinds: ModifiedResNet"):
        raw_features(nn.Linear(3, 3), torch.zeros(1, 3, 8, 8))


def test_dualcoops_way_to_dense_features_by_hand(registry):
    "The position code before the value projection, the mean token kept: a row of 1 + N, and another identity."
    plain = make("t-resnet")
    tower = load_tower("t-resnet", "random", image_size=128, dense="dualcoop")
    tower.model.load_state_dict({
        **plain.model.state_dict(),
        **{"visual.attnpool.positional_embedding": tower.model.visual.attnpool.positional_embedding},
    })
    pixels = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    visual = tower.model.visual
    with torch.no_grad():
        maps = (
            visual.forward_intermediates(pixels, indices=1)["image_intermediates"][-1].flatten(2).double()
        )  # [B, c, N]
        tokens = torch.cat([maps.mean(-1, keepdim=True), maps], -1).transpose(1, 2)
        tokens = tokens + visual.attnpool.positional_embedding.double()
        for layer in (visual.attnpool.v_proj, visual.attnpool.c_proj):
            tokens = tokens @ layer.weight.double().T + layer.bias.double()
        seen = tower.raw(pixels)
        assert torch.allclose(seen.pooled, tower.model.encode_image(pixels), atol=1e-5)
    assert tower.grid == seen.grid == (1, 17) and torch.allclose(seen.dense.double(), tokens, atol=1e-4)
    assert torch.equal(tower.encode_images(pixels).dense.isfinite(), torch.ones(2, 17, 16, dtype=torch.bool))
    config = tower.config
    assert config["dense"] == "dualcoop" and "dense" not in plain.config
    for model, name, said in (
        ("t-vit-tok", "dualcoop", "this tower is a VisionTransformer"),
        ("t-resnet", "mine", "expected one of dualcoop"),
    ):
        with pytest.raises(TowerError, match=said):
            choose_dense(make(model).model.visual, name)
