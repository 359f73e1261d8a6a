"""SigLIP's text half: no causal mask, 64 tokens that are all read, the last one pooled, a projection with a bias, and a
bias on the logits. The shipped configuration with fewer and narrower layers, random weights, and a tokenizer of the
same form (its own needs a download)."""

import json

import open_clip
import pytest
import torch
import torch.nn.functional as F

from trmml_nb.towers import weights as tower_weights
from trmml_nb.errors import TowerError
from trmml_nb.towers.tower import FrozenTower, PromptLearner

NAMES, BIAS, PAD = ['dog', 'potted_plant', 'a very long name of many more words than the others'], -10.0, 1


def tokenizer(texts):
    "A number from 2 on for each word, one for the end, and the same one up to 64: SigLIP pads with its end-of-text."
    rows = [[2 + sum(map(ord, word)) % 198 for word in text.split()] for text in texts]
    return torch.tensor([row + [PAD] * (64 - len(row)) for row in rows])


@pytest.fixture(scope='module')
def tower(tmp_path_factory):
    shipped = open_clip.get_model_config('ViT-B-16-SigLIP')
    text = shipped['text_cfg']
    assert (
        text['no_causal_mask'],
        text['pool_type'],
        text['proj_bias'],
        text['context_length'],
        shipped['init_logit_bias'],
    ) == (True, 'last', True, 64, BIAS)
    small = dict(
        shipped,
        embed_dim=64,
        vision_cfg=dict(shipped['vision_cfg'], timm_model_name='test_vit', image_size=160),
        text_cfg={k: v for k, v in text.items() if 'tokenizer' not in k}
        | dict(width=32, heads=4, layers=3, vocab_size=200),
    )
    folder = tmp_path_factory.mktemp('config')
    (folder / 't-siglip.json').write_text(json.dumps(small))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    model = open_clip.create_model('t-siglip', load_weights=False)
    with torch.no_grad():
        for p in model.text.parameters():  # large enough to matter: the shipped start leaves attention almost even
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())) * 0.2)
        model.text.text_projection.bias.normal_(0, 1)
    return FrozenTower(
        model,
        tokenizer,
        't-siglip',
        160,
        dict(mean=(0.5,) * 3, std=(0.5,) * 3, interpolation='bicubic', resize_mode='squash'),
        small,
    )


def own(tower, sentences):
    "What open_clip itself says."
    with torch.no_grad():
        return tower.model.encode_text(tokenizer(sentences), normalize=True)


def test_texts_are_open_clips_own(tower):
    sentences = [f"a photo of a {n.replace('_', ' ')}." for n in NAMES]
    assert torch.allclose(tower.encode_classes(NAMES), own(tower, sentences), atol=1e-6)
    for sentence, vector in zip(
        sentences, tower.encode_texts(sentences)
    ):  # alone or together: no text sees its neighbours' length
        assert torch.allclose(tower.encode_texts(sentence)[0], vector, atol=1e-6)
    assert torch.allclose(
        tower.encode_texts([' '.join(['word'] * 64)]), own(tower, [' '.join(['word'] * 64)]), atol=1e-6
    )


def test_nothing_is_cut_because_cutting_would_be_wrong(tower):
    "Without a causal mask every token sees the padding: cut after the longest text, the vectors point elsewhere."
    texts, ids = tower.texts, tokenizer(NAMES)
    assert texts.open and not texts.can_cut and not texts.pools_end and texts.cut(ids).shape == (3, 64)
    longest = int((ids != PAD).sum(1).max()) + 1
    with torch.no_grad():
        whole = texts.run(texts.half.token_embedding(ids), ids)
        short = texts.run(texts.half.token_embedding(ids[:, :longest]), ids[:, :longest])
    assert (F.cosine_similarity(whole, short) < 0.99).all()
    changed = ids.clone()
    changed[:, 40] = 7  # far behind the end of each text, and still read
    with torch.no_grad():
        assert (whole - texts.run(texts.half.token_embedding(changed), changed)).abs().amax(1).min() > 1e-3


def test_logits_have_scale_and_bias(tower):
    pixels = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    assert tower.logit_scale == pytest.approx(tower.model.logit_scale.exp().item()) and tower.logit_bias == BIAS
    with torch.no_grad():
        image, text, scale, bias = tower.model(pixels, tokenizer(['dog', 'potted plant', NAMES[2]]))
        theirs = scale * image @ text.T + bias
    seen = tower.encode_images(pixels)
    assert torch.allclose(
        tower.logit_scale * seen.pooled @ tower.encode_classes(NAMES, '{}').T + tower.logit_bias, theirs, atol=1e-4
    )
    assert seen.dense.shape == (2, tower.grid[0] * tower.grid[1], 64) and torch.allclose(
        seen.dense.norm(dim=-1), torch.ones(seen.dense.shape[:2]), atol=1e-5
    )


def test_free_context_has_no_place_and_says_so(tower):
    for call in (
        lambda: tower.encode_prompts(torch.zeros(2, 32), NAMES),
        lambda: PromptLearner(tower, NAMES, init='a photo of a'),
    ):
        with pytest.raises(TowerError, match='learnable context has no place; use encode_classes'):
            call()


def test_its_tokenizer_is_asked_for_by_name(monkeypatch):
    monkeypatch.setattr(tower_weights.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(TowerError, match=r"pip install 'trmml_nb\[siglip\]'"):
        tower_weights.tower_tokenizer('ViT-B-16-SigLIP')
    monkeypatch.setattr(tower_weights.importlib.util, 'find_spec', lambda name: 'there')

    def lacks(*args, **options):
        raise OSError('no such files')

    monkeypatch.setattr(open_clip, 'get_tokenizer', lacks)
    with pytest.raises(TowerError, match='must lie in the tower.s folder, or in the hub cache'):
        tower_weights.tower_tokenizer('ViT-B-16-SigLIP')
