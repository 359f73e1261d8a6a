"""The frozen tower: what never changes, what is learned in front of it, its scale, bias, transform and fingerprint;
random weights, no network."""

import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from helpers.towers import images, make
from helpers.towers import NAMES
from helpers.towers import folder_of
from torch import nn

from trmml_nb.towers import weights as tower_weights
from trmml_nb.towers.texts import ENSEMBLE_TEMPLATES
from trmml_nb.towers.tower import PromptLearner, load_tower, unit


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
    assert torch.allclose(
        tower.encode_classes(NAMES, ENSEMBLE_TEMPLATES).double(), F.normalize(parts.mean(0), dim=-1), atol=1e-6
    )
    assert tower.encode_texts([]).shape == (0, 16) and tower.encode_texts("a dog").shape == (1, 16)
    many = [f"number {i}" for i in range(5)]
    assert torch.allclose(tower.encode_texts(many, batch_size=2), tower.encode_texts(many), atol=1e-6)


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


def test_transform_is_open_clips_own(tmp_path):
    from PIL import Image

    name = folder_of(make("t-vit-tok"), "t-vit-tok", tmp_path / "a")
    picture = Image.fromarray((torch.rand(50, 90, 3, generator=torch.Generator().manual_seed(0)) * 255).byte().numpy())
    for mode in ("squash", "shortest"):
        theirs = open_clip.create_model_and_transforms(name, image_resize_mode=mode)[2](picture)
        assert torch.equal(load_tower(name, resize_mode=mode).transform(picture), theirs)


def test_quick_gelu_follows_the_tag(tmp_path, monkeypatch):
    "A tag trained with QuickGELU switches it on; open_clip itself only warns."
    state = {k: v.contiguous() for k, v in make("t-vit-tok").model.state_dict().items()}
    save_file(state, tmp_path / "w.safetensors")
    plain = load_tower("t-vit-tok", str(tmp_path / "w.safetensors"))
    monkeypatch.setattr(
        tower_weights,
        "find_weights",
        lambda n, p: (str(tmp_path / "w.safetensors"), dict(quick_gelu=True, mean=(0.1,) * 3)),
    )
    quick = load_tower("t-vit-tok", "tag")
    assert quick.preprocess["mean"] == (0.1,) * 3 and quick.fingerprint != plain.fingerprint
    assert any(isinstance(m, open_clip.transformer.QuickGELU) for m in quick.model.modules())


def test_unit_of_half():
    assert unit(torch.tensor([[3.0, 4.0]]).half()).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
