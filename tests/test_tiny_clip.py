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
    LocalTerm,
    make_optimizer,
    named_categories,
    new_model,
    pairwise_sigmoid_loss,
    random_rows,
    render_pairs,
    save_tiny_clip,
    tiny_config,
    to_pixels,
    tower_scores,
    train_step,
    train_tiny_clip,
    trained_tokens,
    write_history,
    zero_shot_scores,
)
from trmml_nb.towers.tower import load_tower
from trmml_nb.towers.weights import tiny_folder


@pytest.fixture(scope='module')
def bundled():
    model, _, preprocess = open_clip.create_model_and_transforms(f'local-dir:{tiny_folder("tiny16")}')
    return model.eval(), preprocess


@pytest.fixture(scope='module')
def config():
    return json.loads((tiny_folder('tiny16') / 'open_clip_config.json').read_text())


def test_loads_through_open_clip_alone(bundled, config):
    model, preprocess = bundled
    tokenizer = open_clip.get_tokenizer(f'local-dir:{tiny_folder("tiny16")}')
    state = load_file(tiny_folder('tiny16') / 'open_clip_model.safetensors')
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
        for f in tiny_folder('tiny16').iterdir():
            z.write(f, f.name)
    assert (tmp_path / 'w.zip').stat().st_size < 6e6


def test_untrained_words_are_exactly_zero():
    words = load_file(tiny_folder('tiny16') / 'open_clip_model.safetensors')['token_embedding.weight']
    assert words.dtype == torch.float16
    _, captions = render_pairs(scene_seeds('clip', 300), size=8)
    seen = trained_tokens(captions)
    trained = words.abs().sum(1) > 0
    assert trained[seen].all()  # every word of the captions has a vector
    assert 50 < trained.sum() < 500  # and next to nothing else has


@pytest.fixture(scope='module')
def test_scenes():
    return [draw_scene(s) for s in scene_seeds('test', 300)]


def test_zero_shot_band(bundled, config, test_scenes):
    pixels, truth = np.stack([np.asarray(s.image) for s in test_scenes]), np.stack([s.labels for s in test_scenes])
    scores = zero_shot_scores(bundled[0], pixels, config)
    value = np.mean([average_precision_score(truth[:, c], scores[:, c]) for c in range(len(CATEGORIES))]) * 100
    print(f'zero-shot mAP {value:.1f}')
    assert 60 <= value <= 85


def peaks_inside(maps, scenes, side):
    "Share of the shown categories whose highest cell has its centre in their mask: a plain loop."
    hits = []
    for scene, scores in zip(scenes, maps):
        for c in np.flatnonzero(scene.labels):
            row, column = divmod(int(scores[:, c].argmax()), side)
            step = scene.size / side
            hits.append(scene.masks[c][int((row + 0.5) * step), int((column + 0.5) * step)])
    return 100 * np.mean(hits)


def test_positions_mean_their_place(bundled, config, test_scenes):
    tower = load_tower('tiny16')
    assert tower.grid == (16, 16)
    pixels = torch.stack([tower.transform(s.image) for s in test_scenes])
    features = [tower.encode_images(part) for part in pixels.split(50)]
    cosine = torch.cat([f.dense for f in features]) @ tower.encode_classes(CATEGORIES).T
    norms = torch.cat([f.norms for f in features])
    with_lengths = 0.2 * tower.logit_scale * cosine + norms.log()[..., None]
    by_cosine, by_both = (peaks_inside(maps.numpy(), test_scenes, 16) for maps in (cosine, with_lengths))
    print(f'pointing by cosine {by_cosine:.1f}, with lengths {by_both:.1f}')
    assert by_cosine >= 50 and by_both >= 55
    ours = tower_scores(bundled[0], test_scenes, config)
    assert ours['pointing_cosine'] == pytest.approx(by_cosine, abs=1) and ours['pointing_lengths'] == pytest.approx(
        by_both, abs=1
    )


def test_batch_preprocessing_agrees_with_open_clips(bundled, config):
    image = draw_scene(3).image
    ours, theirs = to_pixels(np.asarray(image)[None], config)[0], bundled[1](image)
    assert ours.shape == theirs.shape and (ours - theirs).abs().mean() < 0.01


def test_history_is_kept():
    with open(tiny_folder('tiny16') / 'history.csv', encoding='utf-8') as f:
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
    run = lambda: train_tiny_clip(new_model(config), pixels, captions, config, 3, batch_size=8, every=1, amp=False)
    a, b = run(), run()
    assert a == b and [h['step'] for h in a] == [1, 2, 3]
    model, local = new_model(config), LocalTerm()
    tokenizer = open_clip.SimpleTokenizer(context_length=32)
    tokens, names = tokenizer(['a dog', 'a cat', 'a bus', 'a cup']).view(2, 2, 32), tokenizer(list(CATEGORIES))
    named = torch.from_numpy(named_categories([['a dog', 'a cat'], ['a bus', 'a cup']])).float()
    sum(train_step(model, local, to_pixels(pixels[:2], config), tokens, names, named, amp=False)).backward()
    parts = [model.visual.head.proj.weight, model.token_embedding.weight, model.logit_bias, local.level]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in parts)


def test_the_towers_own_pooling_is_the_mean_that_is_trained():
    model = new_model(tiny_config(image_size=64)).eval()
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = model.visual.trunk.forward_features(x)
        mean = model.visual.head(maps.flatten(2).transpose(1, 2)).mean(1)
        assert torch.allclose(mean, model.encode_image(x), atol=1e-5)


def test_named_categories():
    named = named_categories([['a photo of a red bus and some people'], ['two fish', 'i saw a cat'], ['what a view']])
    names = [{CATEGORIES[c] for c in np.flatnonzero(row)} for row in named]
    assert names == [{'bus', 'person'}, {'fish', 'cat'}, set()]


def test_local_term_against_a_loop_in_float64():
    g = torch.Generator().manual_seed(3)
    dense = torch.randn(3, 6, 4, generator=g, dtype=torch.float64)
    texts = torch.nn.functional.normalize(torch.randn(5, 4, generator=g, dtype=torch.float64), dim=-1)
    named = (torch.rand(3, 5, generator=g) < 0.4).double()
    total = 0.0
    for i in range(3):
        lengths = [float(v.norm()) for v in dense[i]]
        mean = sum(lengths) / len(lengths)
        for c in range(5):
            cosines = [float(v @ texts[c]) / n for v, n in zip(dense[i], lengths)]
            for sharpness, scores in ((10, cosines), (5, [s * n / mean for s, n in zip(cosines, lengths)])):
                weights = [math.exp(sharpness * s) for s in scores]
                found = sum(w * s for w, s in zip(weights, scores)) / sum(weights)
                p = 1 / (1 + math.exp(-(10 * found - 4)))
                total -= math.log(p) if named[i, c] else 0.5 * math.log(1 - p)
    assert LocalTerm()(dense, texts, named).item() == pytest.approx(total / 3, rel=1e-5)


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
