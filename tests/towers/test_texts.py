"Sentences, and free vectors in front of names, against open_clip's own text halves; random weights, no network."

import pytest
import torch
import torch.nn.functional as F
from helpers.towers import make

from trmml_nb.errors import TowerError
from trmml_nb.towers.texts import DEFAULT_TEMPLATES, fill_template
from helpers.towers import NAMES


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
    assert torch.allclose(
        tower.encode_prompts(context, NAMES), tower.encode_classes(NAMES, DEFAULT_TEMPLATES), atol=1e-5
    )


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
    fill = fill_template
    assert fill("a {}.", "pottedplant") == "a potted plant." and fill("{}", "traffic_light") == "traffic light"
    assert fill("{}", "tvmonitor") == "tv monitor" and fill("{} {{x}}", "dog") == "dog {{x}}"


def test_attributes_are_spoken():
    assert fill_template("a photo of a {}.", "has_wing_color::blue") == "a photo of a bird with blue wing color."
