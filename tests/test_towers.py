"Towers against open_clip's own layers and models, with random weights; no download, no network."
import json
import subprocess
import sys
from types import SimpleNamespace

import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from trmml_nb import towers
from trmml_nb.towers import (DEFAULT_TEMPLATES, ENSEMBLE_TEMPLATES, PromptLearner, TowerError, load_tower,
                             raw_features, resize_position_table, unit)

TEXT = dict(context_length=77, vocab_size=49408, width=32, heads=4, layers=2)
VIT = dict(image_size=64, patch_size=16, width=64, layers=2, head_width=16)
CONFIGS = {
    "t-resnet": dict(embed_dim=16, vision_cfg=dict(image_size=64, layers=[1, 1, 1, 1], width=16, patch_size=None)),
    "t-vit-tok": dict(embed_dim=16, vision_cfg=VIT),
    "t-vit-avg": dict(embed_dim=16, vision_cfg=VIT | dict(pool_type="avg")),
    "t-vit-drop": dict(embed_dim=16, vision_cfg=VIT | dict(patch_dropout=0.5)),
    "t-vit-coca": dict(embed_dim=16, vision_cfg=VIT | dict(attentional_pool=True, attn_pooler_queries=3, attn_pooler_heads=4)),
    "t-timm-own-head": dict(embed_dim=16, vision_cfg=dict(image_size=64, timm_model_name="mobilenetv3_small_050",
                                                          timm_pool="avg", timm_proj=None)),
    "t-timm-plain": dict(embed_dim=16, vision_cfg=dict(image_size=64, timm_model_name="mobilenetv2_035",
                                                       timm_pool="avg", timm_proj="linear")),
    "t-timm-mlp": dict(embed_dim=16, vision_cfg=dict(image_size=64, timm_model_name="mobilenetv2_035",
                                                     timm_pool="avg", timm_proj="mlp")),
    "t-timm-convnext": dict(embed_dim=16, vision_cfg=dict(image_size=64, timm_model_name="test_convnext",
                                                          timm_pool="", timm_proj="linear")),
    "t-timm-vit": dict(embed_dim=16, vision_cfg=dict(image_size=160, timm_model_name="test_vit",
                                                     timm_pool="token", timm_proj="linear")),
    "t-custom": dict(embed_dim=16, custom_text=True, init_logit_scale=2.302585, init_logit_bias=-10.0,
                     vision_cfg=VIT | dict(pool_type="avg")),
    "t-last": dict(embed_dim=16, custom_text=True, init_logit_bias=-10.0, vision_cfg=VIT,
                   text_cfg=TEXT | dict(no_causal_mask=True, pool_type="last", proj_bias=True)),
}


@pytest.fixture(scope="module", autouse=True)
def registry(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny tensors: more threads only wait for each other
    folder = tmp_path_factory.mktemp("configs")
    for name, config in CONFIGS.items():
        (folder / f"{name}.json").write_text(json.dumps({"text_cfg": TEXT} | config))
    open_clip.add_model_config(folder)
    yield folder
    torch.set_num_threads(threads)


def make(name, image_size=None, seed=0):
    torch.manual_seed(seed)
    tower = load_tower(name, "random", image_size)
    for module in tower.model.visual.modules():  # zero-initialised last norms would hide mistakes
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)) and module.weight is not None:
            nn.init.uniform_(module.weight, 0.5, 1.5), nn.init.normal_(module.bias, 0, 0.2)
    return tower


def images(tower, n=2):
    return torch.randn(n, 3, tower.image_size, tower.image_size, generator=torch.Generator().manual_seed(1))


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


@pytest.mark.parametrize("name, grids, linear", [("RN101", (7, 14), False), ("ViT-B-16", (14, 28), False), ("ViT-L-14", (16, 32), False),
                                                 ("MobileCLIP2-S0", (7, 14), True), ("ViT-B-16-SigLIP", (14, 28), False)])
def test_real_families_at_two_sizes(name, grids, linear):
    "Image halves with random weights: the pooled vector is the model's own, and the mean of dense where the head is average and linear."
    visual = open_clip.create_model(name, load_weights=False).visual.eval()
    for size, side in zip((224, 448), grids):
        if size == 448:
            towers.resize_tower(visual, 448)
        with torch.no_grad():
            x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(size))
            raw, own = raw_features(visual, x), visual(x)
        assert raw.grid == (side, side) and raw.dense.shape[:2] == (1, side * side) and raw.dense.shape[-1] == raw.pooled.shape[-1]
        assert torch.allclose(raw.pooled, own, atol=1e-5) and torch.isfinite(raw.dense).all()
        assert torch.allclose(raw.dense.mean(1), raw.pooled, atol=1e-4) == linear


def test_attributes_are_spoken():
    assert towers.fill_template("a photo of a {}.", "has_wing_color::blue") == "a photo of a bird with blue wing color."


def test_patch_dropout_is_off():
    tower = make("t-vit-drop").train()
    x = images(tower)
    assert torch.equal(tower.raw(x).dense, tower.raw(x).dense) and tower.raw(x).dense.shape[1] == 16


def test_frozen():
    tower = make("t-vit-tok")
    nn.Sequential(tower).train()
    assert not any(m.training for m in tower.modules()) and not any(p.requires_grad for p in tower.parameters())
    assert not tower.encode_images(images(tower)).dense.requires_grad


@pytest.mark.parametrize("name", ["t-resnet", "t-vit-tok", "t-timm-plain"])
def test_bfloat16_autocast_and_half_weights(name):
    tower = make(name)
    full = tower.encode_images(images(tower))
    with torch.autocast("cpu", torch.bfloat16):
        cast = tower.encode_images(images(tower))
    low = tower.bfloat16().encode_images(images(tower))
    for got in (cast, low):
        assert got.dense.dtype == got.pooled.dtype == torch.float32
        assert torch.allclose(got.dense.norm(dim=-1), torch.ones(got.dense.shape[:2]), atol=1e-5)
        assert F.cosine_similarity(got.pooled, full.pooled).min() > 0.98


# --- texts -----------------------------------------------------------------------------------------------------------
NAMES = ["cat", "potted_plant", "a very long category name of many words"]


@pytest.mark.parametrize("name", ["t-vit-tok", "t-custom", "t-last"])
def test_texts_equal_the_uncut_model(name):
    tower = make(name)
    ids = tower.texts.tokenizer([f"a photo of a {n.replace('_', ' ')}." for n in NAMES])
    with torch.no_grad():
        own = F.normalize(tower.model.encode_text(ids), dim=-1)
    assert ids.shape[1] == 77 and torch.allclose(tower.encode_classes(NAMES), own, atol=1e-5)
    assert torch.allclose(torch.cat([tower.encode_classes([n]) for n in NAMES]), own, atol=1e-5)
    assert tower.texts.can_cut == (name != "t-last")
    if tower.texts.can_cut:
        assert tower.texts.cut(ids).shape[1] == int((ids == ids.max()).nonzero()[:, 1].max()) + 1 < 25


@pytest.mark.parametrize("name", ["t-vit-tok", "t-custom"])
@pytest.mark.parametrize("per_class", [False, True])
def test_prompts_equal_fixed_sentences(name, per_class):
    tower = make(name)
    context = tower.embed_words("a photo of a")
    assert context.shape == (4, 32)
    context = context.repeat(3, 1, 1) if per_class else context
    assert torch.allclose(tower.encode_prompts(context, NAMES), tower.encode_classes(NAMES, DEFAULT_TEMPLATES), atol=1e-5)


def test_prompt_gradients_reach_the_context_only():
    tower = make("t-custom")
    prompts = PromptLearner(tower, NAMES, length=3, per_class=True)
    assert [n for n, _ in prompts.named_parameters()] == ["context"] and list(prompts.state_dict()) == ["context"]
    (prompts() @ torch.randn(16)).sum().backward()
    assert (prompts.context.grad.abs().sum((1, 2)) > 0).all() and all(p.grad is None for p in tower.parameters())
    assert torch.equal(PromptLearner(tower, NAMES, seed=3).context, PromptLearner(tower, NAMES, seed=3).context)
    eps, direction = 1e-3, torch.randn(3, 3, 32, generator=torch.Generator().manual_seed(2))
    w = torch.randn(16, generator=torch.Generator().manual_seed(3))
    f = lambda c: (tower.double().encode_prompts(c, NAMES).double() @ w.double()).sum()
    c = (torch.randn(3, 3, 32, generator=torch.Generator().manual_seed(4)) * 0.5).double().requires_grad_()
    slope = (torch.autograd.grad(f(c), c)[0] * direction).sum()
    numeric = (f(c + eps * direction) - f(c - eps * direction)) / (2 * eps)
    assert slope.item() == pytest.approx(numeric.item(), rel=0.02, abs=1e-4)


def test_template_ensemble_is_the_normalised_mean():
    tower = make("t-vit-tok")
    parts = torch.stack([tower.encode_classes(NAMES, t) for t in ENSEMBLE_TEMPLATES]).double()
    assert torch.allclose(tower.encode_classes(NAMES, ENSEMBLE_TEMPLATES).double(), F.normalize(parts.mean(0), dim=-1), atol=1e-6)
    assert tower.encode_texts([]).shape == (0, 16) and tower.encode_texts("a dog").shape == (1, 16)
    many = [f"number {i}" for i in range(5)]
    assert torch.allclose(tower.encode_texts(many, batch_size=2), tower.encode_texts(many), atol=1e-6)


def test_bad_prompts():
    tower = make("t-vit-tok")
    with pytest.raises(TowerError, match=r"shape \(4, 31\), expected \[M, 32\] or \[3, M, 32\]"):
        tower.encode_prompts(torch.zeros(4, 31), NAMES)
    with pytest.raises(TowerError, match="75 context vectors .* the tower reads 77"):
        tower.encode_prompts(torch.zeros(75, 32), ["cat"])
    assert tower.encode_prompts(torch.zeros(73, 32), ["cat"]).shape == (1, 16)  # start, 73, cat, full stop, end
    with pytest.raises(TowerError, match="learnable context has no place"):
        make("t-last").encode_prompts(torch.zeros(2, 32), NAMES)
    with pytest.raises(TowerError, match="has no {}"):
        tower.encode_classes(NAMES, "a photo")


def test_names_are_written_as_people_write_them():
    fill = towers.fill_template
    assert fill("a {}.", "pottedplant") == "a potted plant." and fill("{}", "traffic_light") == "traffic light"
    assert fill("{}", "tvmonitor") == "tv monitor" and fill("{} {{x}}", "dog") == "dog {{x}}"


# --- scale, bias, fingerprint, files -----------------------------------------------------------------------------------
def test_scale_and_bias(tmp_path):
    tower = make("t-custom")
    assert tower.logit_scale == pytest.approx(10.0, rel=1e-5) and tower.logit_bias == pytest.approx(-10.0)
    assert make("t-vit-tok").logit_bias == 0.0 and make("t-vit-tok").logit_scale == pytest.approx(1 / 0.07, rel=1e-5)
    state = {k: v.contiguous() for k, v in make("t-vit-tok").model.state_dict().items()}
    save_file(state | {"logit_bias": torch.tensor(-6.0)}, tmp_path / "b.safetensors")  # the config knows of no bias
    assert load_tower("t-vit-tok", str(tmp_path / "b.safetensors")).logit_bias == -6.0


def test_fingerprint():
    first, again = make("t-vit-tok"), make("t-vit-tok")
    assert first.fingerprint == again.fingerprint and len(first.fingerprint) == 64
    with torch.no_grad():
        again.model.visual.proj[0, 0] += 1e-4
    del again.fingerprint
    others = [again, make("t-vit-tok", 128), make("t-vit-avg")]
    torch.manual_seed(0)
    others.append(load_tower("t-vit-tok", "random", resize_mode=None))
    assert len({t.fingerprint for t in [first, *others]}) == 5


def folder_of(tower, name, path, weights=True):
    path.mkdir()
    (path / "open_clip_config.json").write_text(json.dumps(dict(model_cfg={"text_cfg": TEXT} | CONFIGS[name], preprocess_cfg=dict(
        mean=[0.5] * 3, std=[0.25] * 3, interpolation="bilinear", resize_mode="shortest"))))
    if weights:
        save_file({k: v.contiguous() for k, v in tower.model.state_dict().items()}, path / "open_clip_model.safetensors")
    return f"local-dir:{path}"


def test_local_folder(tmp_path):
    tower = make("t-timm-plain")
    name = folder_of(tower, "t-timm-plain", tmp_path / "a")
    loaded = load_tower(name)
    assert torch.allclose(loaded.raw(images(tower)).dense, tower.raw(images(tower)).dense, atol=1e-6)
    assert loaded.preprocess == dict(mean=[0.5] * 3, std=[0.25] * 3, interpolation="bilinear", resize_mode="squash")
    assert load_tower(name, resize_mode=None).preprocess["resize_mode"] == "shortest"
    (tmp_path / "a").rename(tmp_path / "b")
    assert load_tower(f"local-dir:{tmp_path / 'b'}").fingerprint == loaded.fingerprint
    with pytest.raises(TowerError, match="a is not a folder"):
        load_tower(name)
    with pytest.raises(TowerError, match="holds no weights"):
        load_tower(folder_of(tower, "t-timm-plain", tmp_path / "c", weights=False))
    with pytest.raises(TowerError, match="holds no open_clip_config.json"):
        load_tower(f"local-dir:{tmp_path}")


def test_transform_is_open_clips_own(tmp_path):
    from PIL import Image
    name = folder_of(make("t-vit-tok"), "t-vit-tok", tmp_path / "a")
    picture = Image.fromarray((torch.rand(50, 90, 3, generator=torch.Generator().manual_seed(0)) * 255).byte().numpy())
    for mode in ("squash", "shortest"):
        theirs = open_clip.create_model_and_transforms(name, image_resize_mode=mode)[2](picture)
        assert torch.equal(load_tower(name, resize_mode=mode).transform(picture), theirs)


def test_wrong_weights(tmp_path):
    state = {k: v.contiguous() for k, v in make("t-vit-tok").model.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(TowerError, match="not weights of 't-resnet'"):
        load_tower("t-resnet", str(tmp_path / "w.safetensors"))
    wide = dict(state, **{"visual.proj": torch.zeros(64, 24), "ln_final.weight": torch.zeros(48)})
    save_file(wide, tmp_path / "wide.safetensors")
    with pytest.raises(TowerError, match=r"visual.proj: \[64, 24\] in the file, \[64, 16\] in t-vit-tok"):
        load_tower("t-vit-tok", str(tmp_path / "wide.safetensors"))
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:5000])
    with pytest.raises(TowerError, match="cut.safetensors: not a readable checkpoint"):
        load_tower("t-vit-tok", str(tmp_path / "cut.safetensors"))


class Hook:
    def __reduce__(self):
        return (open, ("hooked", "w"))


def test_pickles_never_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.zeros(1), "x": Hook()}, tmp_path / "bad.pt")
    with pytest.raises(TowerError, match="bad.pt: not a readable checkpoint.*could run code"):
        load_tower("t-vit-tok", "bad.pt")
    assert not (tmp_path / "hooked").exists()
    torch.save(make("t-vit-tok").model.state_dict(), tmp_path / "good.pt")
    assert load_tower("t-vit-tok", "good.pt").dim == 16
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    with pytest.raises(TowerError, match="no state_dict of tensors"):
        load_tower("t-vit-tok", "none.pt")


def test_names():
    for args, match in {("RN51",): "no tower is called 'RN51'; close names: .*RN50", ("RN50",): "needs weights.*openai.*random",
                        ("RN50", "openia"): "close names: openai", ("RN50", "/no/such.pt"): "neither a file nor"}.items():
        with pytest.raises(TowerError, match=match):
            load_tower(*args)


def test_no_network_is_told_at_once():
    "In a fresh process, since the hub library reads its settings when it is imported."
    run = """
import socket, sys, time
def refuse(*a, **k): raise OSError('no network')
socket.create_connection = refuse; socket.getaddrinfo = refuse
from trmml_nb.towers import load_tower, TowerError
for args in (('RN101', 'yfcc15m'), ('RN50', 'openai'), ('hf-hub:no/such-model',)):
    start = time.time()
    try: load_tower(*args); sys.exit('loaded?')
    except TowerError as error: assert 'on a machine with network' in str(error), error
    assert time.time() - start < 5, time.time() - start
"""
    import os
    env = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"} | {"HF_HOME": "/nonexistent"}
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def test_hub_that_never_answers_is_given_up(monkeypatch):
    import time
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(towers.hub, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(towers.socket, "create_connection", lambda *a, **k: time.sleep(1) or SimpleNamespace(close=int))
    start = time.time()
    assert not towers.hub_reachable(timeout=0.2) and time.time() - start < 1


def test_quick_gelu_follows_the_tag(tmp_path, monkeypatch):
    "A tag trained with QuickGELU switches it on; open_clip itself only warns."
    state = {k: v.contiguous() for k, v in make("t-vit-tok").model.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    plain = load_tower("t-vit-tok", str(tmp_path / "w.safetensors"))
    monkeypatch.setattr(towers, "find_weights", lambda n, p: (str(tmp_path / "w.safetensors"), dict(quick_gelu=True, mean=(.1,) * 3)))
    quick = load_tower("t-vit-tok", "tag")
    assert quick.preprocess["mean"] == (.1,) * 3 and quick.fingerprint != plain.fingerprint
    assert any(isinstance(m, open_clip.transformer.QuickGELU) for m in quick.model.modules())


def test_unknown_image_tower_is_refused():
    with pytest.raises(TowerError, match="kind Linear; known kinds: ModifiedResNet"):
        raw_features(nn.Linear(3, 3), torch.zeros(1, 3, 8, 8))


def test_unit_of_half():
    assert unit(torch.tensor([[3.0, 4.0]]).half()).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
