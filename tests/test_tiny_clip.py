"The bundled tower: small, loadable by open_clip alone, good enough to learn from; and its training code."

import csv
import json
import math
import zipfile

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import average_precision_score

from trmml_nb.data.scenes import CATEGORIES, draw_scene, scene_seeds
from trmml_nb.tiny_clip import (
    Stage,
    make_optimizer,
    new_model,
    pairwise_sigmoid_loss,
    random_rows,
    render_pairs,
    save_tiny_clip,
    tiny_config,
    to_pixels,
    train_step,
    train_tiny_clip,
    trained_tokens,
    write_history,
    zero_shot_scores,
)
from trmml_nb.towers.weights import tiny_folder


@pytest.fixture(scope='module')
def bundled():
    model, _, preprocess = open_clip.create_model_and_transforms(f'local-dir:{tiny_folder()}')
    return model.eval(), preprocess


@pytest.fixture(scope='module')
def config():
    return json.loads((tiny_folder() / 'open_clip_config.json').read_text())


def test_loads_through_open_clip_alone(bundled, config):
    model, preprocess = bundled
    tokenizer = open_clip.get_tokenizer(f'local-dir:{tiny_folder()}')
    state = load_file(tiny_folder() / 'open_clip_model.safetensors')
    assert config == json.loads(json.dumps(tiny_config()))
    assert model.logit_bias.item() == pytest.approx(
        state['logit_bias'].item()
    )  # not the initial -6 of the configuration
    assert model.logit_scale.item() == pytest.approx(state['logit_scale'].item())
    tokens = tokenizer(['a photo of a dog.'])
    assert tokens.shape == (1, 32)
    with torch.no_grad():
        text = model.encode_text(tokens, normalize=True)
        image = model.encode_image(preprocess(draw_scene(1).image)[None], normalize=True)
    assert text.shape == image.shape == (1, 128) and torch.isfinite(text @ image.T).all()


def test_it_is_small(tmp_path):
    with zipfile.ZipFile(tmp_path / 'w.zip', 'w', zipfile.ZIP_DEFLATED) as z:
        for f in tiny_folder().iterdir():
            z.write(f, f.name)
    assert (tmp_path / 'w.zip').stat().st_size < 6e6


def test_untrained_words_are_exactly_zero():
    words = load_file(tiny_folder() / 'open_clip_model.safetensors')['token_embedding.weight']
    assert words.dtype == torch.float16
    _, captions = render_pairs(scene_seeds('clip', 300), size=8)
    seen = trained_tokens(captions)
    trained = words.abs().sum(1) > 0
    assert trained[seen].all()  # every word of the captions has a vector
    assert 50 < trained.sum() < 500  # and next to nothing else has


def test_zero_shot_band(bundled, config):
    scenes = [draw_scene(s) for s in scene_seeds('test', 300)]
    pixels, truth = np.stack([np.asarray(s.image) for s in scenes]), np.stack([s.labels for s in scenes])
    scores = zero_shot_scores(bundled[0], pixels, config)
    value = np.mean([average_precision_score(truth[:, c], scores[:, c]) for c in range(len(CATEGORIES))]) * 100
    print(f'zero-shot mAP {value:.1f}')
    assert 60 <= value <= 85


def test_batch_preprocessing_agrees_with_open_clips(bundled, config):
    image = draw_scene(3).image
    ours, theirs = to_pixels(np.asarray(image)[None], config)[0], bundled[1](image)
    assert ours.shape == theirs.shape and (ours - theirs).abs().mean() < 0.01


def test_history_is_kept():
    with open(tiny_folder() / 'history.csv', encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    assert float(rows[-1]['loss']) < float(rows[0]['loss']) and float(rows[-1]['val_map']) > float(rows[0]['val_map'])


def test_loss_against_a_loop_in_float64():
    g = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(5, 8, generator=g, dtype=torch.float64), dim=-1)
    t = torch.nn.functional.normalize(torch.randn(10, 8, generator=g, dtype=torch.float64), dim=-1)
    match = torch.eye(5, dtype=torch.bool).repeat_interleave(2, 1)
    total = 0.0
    for i in range(5):
        for j in range(10):
            p = 1 / (1 + math.exp(-(7.0 * float(x[i] @ t[j]) - 3.0)))
            total -= math.log(p if match[i, j] else 1 - p)
    assert pairwise_sigmoid_loss(x, t, match, 7.0, -3.0).item() == pytest.approx(total / 5, rel=1e-10)


def test_loss_against_open_clips_own():
    g = torch.Generator().manual_seed(1)
    x, t = (torch.nn.functional.normalize(torch.randn(6, 16, generator=g), dim=-1) for _ in range(2))
    theirs = open_clip.loss.SigLipLoss()(x, t, torch.tensor(10.0), torch.tensor(-10.0))
    assert torch.isclose(pairwise_sigmoid_loss(x, t, torch.eye(6, dtype=torch.bool), 10.0, -10.0), theirs)


def test_loss_is_finite_at_extremes():
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    loss = pairwise_sigmoid_loss(x, x, torch.tensor([[False, True], [True, False]]), 1000.0, 0.0)
    assert torch.isfinite(loss) and loss.item() == pytest.approx(1000 + 2 * math.log(2) * 0 + math.log(2) * 2, rel=1e-3)


def test_every_row_once_before_any_again():
    rows = random_rows(12, 4, np.random.default_rng(0))
    first = np.concatenate([next(rows) for _ in range(3)])
    assert sorted(first) == list(range(12)) and len(next(rows)) == 4


def test_schedule():
    model = new_model(tiny_config())
    optimizer, schedule = make_optimizer(model, 1e-3, 1000)
    f = schedule.lr_lambdas[0]
    assert (
        f(0) == pytest.approx(0.01, rel=0.01) and f(1000) == pytest.approx(0, abs=1e-9) and f(500) == pytest.approx(0.5)
    )
    assert sum(len(g['params']) for g in optimizer.param_groups) == len(list(model.parameters()))


def test_a_step_moves_both_towers_and_training_repeats():
    pixels, captions = render_pairs(scene_seeds('clip', 16), 64)
    config = tiny_config(image_size=64)
    run = lambda: train_tiny_clip(
        new_model(config), pixels, captions, config, Stage(64, 3), batch_size=8, every=1, amp=False
    )
    a, b = run(), run()
    assert [h["loss"] for h in a] == [h["loss"] for h in b] and [h["size"] for h in a] == [64, 64, 64]
    model = new_model(config)
    tokens = open_clip.SimpleTokenizer(context_length=32)(['a dog', 'a cat', 'a bus', 'a cup']).view(2, 2, 32)
    train_step(model, to_pixels(pixels[:2], config), tokens, amp=False).backward()
    grads = [model.visual.head.proj.weight.grad, model.token_embedding.weight.grad, model.logit_bias.grad]
    assert all(g is not None and g.abs().sum() > 0 for g in grads)


def test_save_and_load_again(tmp_path):
    config = tiny_config(image_size=64)
    model, captions = new_model(config).eval(), [['a dog', 'two cats']]
    used = trained_tokens(captions)
    folder = save_tiny_clip(model, config, used, tmp_path / 'm')
    again = open_clip.create_model(f'local-dir:{folder}').eval()
    zero = (again.token_embedding.weight == 0).all(1)
    assert zero.sum() == 49408 - len(used) and not zero[used].any()
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(model.encode_image(x), again.encode_image(x), atol=2e-2)
    assert sorted(f.name for f in folder.iterdir()) == ['open_clip_config.json', 'open_clip_model.safetensors']


def test_history_file(tmp_path):
    write_history([dict(step=1, loss=2.0), dict(step=2, loss=1.0)], tmp_path / 'h.csv')
    assert (tmp_path / 'h.csv').read_text().split() == ['step,loss', '1,2.0', '2,1.0']


def test_clip_scenes_are_nobody_elses():
    assert not set(scene_seeds('clip', 16000)) & set(
        scene_seeds('train', 5000) + scene_seeds('val', 5000) + scene_seeds('test', 5000)
    )
