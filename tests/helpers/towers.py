"""Small towers with random weights, of every kind that open_clip builds."""

import json

import torch
from safetensors.torch import save_file
from torch import nn

from trmml_nb.towers.tower import load_tower

TEXT = dict(context_length=77, vocab_size=49408, width=32, heads=4, layers=2)
VIT = dict(image_size=64, patch_size=16, width=64, layers=2, head_width=16)
CONFIGS = {
    "t-resnet": dict(embed_dim=16, vision_cfg=dict(image_size=64, layers=[1, 1, 1, 1], width=16, patch_size=None)),
    "t-vit-tok": dict(embed_dim=16, vision_cfg=VIT),
    "t-vit-avg": dict(embed_dim=16, vision_cfg=VIT | dict(pool_type="avg")),
    "t-vit-drop": dict(embed_dim=16, vision_cfg=VIT | dict(patch_dropout=0.5)),
    "t-vit-coca": dict(
        embed_dim=16, vision_cfg=VIT | dict(attentional_pool=True, attn_pooler_queries=3, attn_pooler_heads=4)
    ),
    "t-timm-own-head": dict(
        embed_dim=16,
        vision_cfg=dict(image_size=64, timm_model_name="mobilenetv3_small_050", timm_pool="avg", timm_proj=None),
    ),
    "t-timm-plain": dict(
        embed_dim=16,
        vision_cfg=dict(image_size=64, timm_model_name="mobilenetv2_035", timm_pool="avg", timm_proj="linear"),
    ),
    "t-timm-mlp": dict(
        embed_dim=16,
        vision_cfg=dict(image_size=64, timm_model_name="mobilenetv2_035", timm_pool="avg", timm_proj="mlp"),
    ),
    "t-timm-convnext": dict(
        embed_dim=16, vision_cfg=dict(image_size=64, timm_model_name="test_convnext", timm_pool="", timm_proj="linear")
    ),
    "t-timm-vit": dict(
        embed_dim=16, vision_cfg=dict(image_size=160, timm_model_name="test_vit", timm_pool="token", timm_proj="linear")
    ),
    "t-custom": dict(
        embed_dim=16,
        custom_text=True,
        init_logit_scale=2.302585,
        init_logit_bias=-10.0,
        vision_cfg=VIT | dict(pool_type="avg"),
    ),
    "t-last": dict(
        embed_dim=16,
        custom_text=True,
        init_logit_bias=-10.0,
        vision_cfg=VIT,
        text_cfg=TEXT | dict(no_causal_mask=True, pool_type="last", proj_bias=True),
    ),
}


def make(name, image_size=None, seed=0):
    torch.manual_seed(seed)
    tower = load_tower(name, "random", image_size)
    for module in tower.model.visual.modules():  # zero-initialised last norms would hide mistakes
        if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)) and module.weight is not None:
            nn.init.uniform_(module.weight, 0.5, 1.5), nn.init.normal_(module.bias, 0, 0.2)
    return tower


def images(tower, n=2):
    return torch.randn(n, 3, tower.image_size, tower.image_size, generator=torch.Generator().manual_seed(1))


NAMES = ["cat", "potted_plant", "a very long category name of many words"]


def folder_of(tower, name, path, weights=True):
    path.mkdir()
    (path / "open_clip_config.json").write_text(
        json.dumps(
            dict(
                model_cfg={"text_cfg": TEXT} | CONFIGS[name],
                preprocess_cfg=dict(mean=[0.5] * 3, std=[0.25] * 3, interpolation="bilinear", resize_mode="shortest"),
            )
        )
    )
    if weights:
        save_file(
            {k: v.contiguous() for k, v in tower.model.state_dict().items()}, path / "open_clip_model.safetensors"
        )
    return f"local-dir:{path}"
