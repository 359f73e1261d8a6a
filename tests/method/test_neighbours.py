"""The memory of neighbours: against loops in float64, by hand, and what must not happen."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from trmml_nb.data.labels import UNKNOWN, bernoulli_mask
from trmml_nb.method.trmml import TRMMLConfig
from trmml_nb.rivals.registry import build_method, configure
from trmml_nb.method.neighbours import NeighbourError, NeighbourMemory, join_neighbours, main_directions
from trmml_nb.runs.run import load_model, save_model
from trmml_nb.errors import MethodError, RunError
from trmml_nb.towers.encode import encode_dataset
from trmml_nb.training.trainer import TrainConfig, Trainer, predict_logits
from trmml_nb.method.trmml import TRMML, TRMMLConfig


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def loops(asked, features, values, k, temperature):
    "One entry at a time, in float64, with numpy."
    asked, features, values = (np.asarray(x, dtype=np.float64) for x in (asked, features, values))
    said = np.zeros(asked.shape[:2])
    for c in range(asked.shape[1]):
        mean = features[:, c].mean(0)
        code = lambda x: (x - mean) / np.linalg.norm(x - mean)
        for b in range(len(asked)):
            cosines = np.array([code(asked[b, c]) @ code(one) for one in features[:, c]])
            best = np.argsort(-cosines)[:k]
            weights = np.exp(cosines[best] / temperature)
            said[b, c] = (weights * values[best, c]).sum() / weights.sum()
    return said


@pytest.mark.parametrize('k,temperature', [(1, 0.1), (5, 0.1), (20, 1.0), (500, 0.05)])
def test_equals_loops(k, temperature):
    features, asked, values = rand(60, 3, 16, seed=1) + 4, rand(9, 3, 16, seed=2) + 4, rand(60, 3, seed=3).sigmoid()
    memory = NeighbourMemory(3, 16, k, temperature, code_dim=16)
    memory.fill(features, values)
    np.testing.assert_allclose(memory(asked), loops(asked, features, values, k, temperature), atol=5e-3)


def test_main_directions_are_those_of_the_covariance():
    features = rand(300, 4, 6) * torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, 0.5]) + rand(1, 4, 6, seed=1) * 10
    mean, directions = main_directions(features, 3)
    centred = (features - features.mean(0)).flatten(0, 1).double().numpy()
    _, vectors = np.linalg.eigh(centred.T @ centred)
    torch.testing.assert_close(mean, features.mean(0))
    assert torch.allclose(directions.T @ directions, torch.eye(3), atol=1e-5)
    np.testing.assert_allclose(np.abs(np.diag(directions.numpy().T @ vectors[:, ::-1][:, :3])), 1, atol=1e-4)
    assert main_directions(features, 99)[1].shape == (6, 6)


def test_short_codes_keep_the_neighbours_where_features_vary_in_few_directions():
    features = F.pad(rand(100, 2, 4), (0, 28)) + 0.001 * rand(100, 2, 32, seed=1)
    long, short = (NeighbourMemory(2, 32, 5, code_dim=r) for r in (32, 4))
    for memory in (long, short):
        memory.fill(features, rand(100, 2, seed=2).sigmoid())
    assert short.codes.shape == (2, 100, 4)
    torch.testing.assert_close(short(features[:30]), long(features[:30]), atol=0.02, rtol=0)


def test_a_picture_does_not_hear_itself_but_others_do():
    features, values = rand(40, 2, 8), rand(40, 2, seed=1).sigmoid()
    memory, other = NeighbourMemory(2, 8, 3), values.clone()
    memory.fill(features, values)
    alone, rest = memory(features[:1]), memory(features[1:])
    other[0] = 1 - other[0]
    memory.fill(features, other)
    torch.testing.assert_close(memory(features[:1]), alone)
    assert not torch.allclose(memory(features[1:]), rest)


def test_one_picture_in_the_memory_and_nothing_but_itself_still_gives_a_number():
    memory = NeighbourMemory(2, 8)
    memory.fill(torch.cat([rand(1, 2, 8), rand(1, 2, 8)]), torch.tensor([[0.2, 0.7]] * 2))
    assert memory(rand(1, 2, 8)).isfinite().all()
    memory.fill(rand(1, 2, 8), torch.tensor([[0.2, 0.7]]))
    torch.testing.assert_close(memory(rand(3, 2, 8, seed=5)), torch.tensor([[0.2, 0.7]] * 3))


def test_what_they_say_never_leaves_0_to_1_and_the_joined_logits_are_finite():
    "Weights sum to 1 within rounding only: a mean of ones must not be above 1, where its logarithm has no value."
    memory = NeighbourMemory(4, 8)
    memory.fill(rand(400, 4, 8), torch.tensor([[0.0, 1.0, 1.0, 0.0]]).expand(400, -1))
    said = memory(rand(500, 4, 8, seed=2))
    assert said.min() >= 0 and said.max() <= 1 and join_neighbours(rand(500, 4, seed=3), said, 0.3).isfinite().all()


def test_half_precision_around_it_changes_nothing():
    "Under autocast cosines stay float32: 8 bits would take neighbours for the picture itself."
    memory, features, asked = NeighbourMemory(3, 16), rand(80, 3, 16), rand(9, 3, 16, seed=1)
    memory.fill(features, rand(80, 3, seed=2).sigmoid())
    plain = memory(asked)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(memory(asked), plain)
        other = NeighbourMemory(3, 16)
        other.fill(features, rand(80, 3, seed=2).sigmoid())
    assert torch.equal(other.codes, memory.codes)


def test_many_at_once_equals_one_at_a_time():
    features, asked = rand(300, 3, 8), rand(64, 3, 8, seed=1)
    memory = NeighbourMemory(3, 8)
    memory.fill(features, rand(300, 3, seed=2).sigmoid())
    torch.testing.assert_close(memory(asked), torch.cat([memory(one[None]) for one in asked]))


@pytest.mark.parametrize('share', [0.0, 0.1, 0.5, 0.99])
def test_joined_probability_is_the_mixture_also_at_the_ends(share):
    logits, said = (
        torch.tensor([[-90.0, -3.0, 0.0, 5.0, 90.0]], dtype=torch.float64),
        torch.tensor([[0.0, 1.0, 0.3, 0.0, 1.0]], dtype=torch.float64),
    )
    joined = join_neighbours(logits, said, share)
    torch.testing.assert_close(joined.sigmoid(), (1 - share) * logits.sigmoid() + share * said)
    assert joined.isfinite().all()
    if share == 0:
        torch.testing.assert_close(joined, logits)


@pytest.mark.parametrize(
    'make,says',
    [
        (lambda: NeighbourMemory(2, 8, 0), 'neighbours is 0'),
        (lambda: NeighbourMemory(2, 8, temperature=0.0), 'temperature 0.0'),
        (lambda: NeighbourMemory(2, 8)(rand(1, 2, 8)), 'the memory is empty'),
        (lambda: NeighbourMemory(2, 8).fill(rand(3, 2, 8), torch.zeros(4, 2)), r'values have shape \(4, 2\)'),
        (lambda: NeighbourMemory(2, 8).fill(rand(3, 2, 8), -torch.ones(3, 2)), r'outside \[0, 1\]'),
        (lambda: NeighbourMemory(2, 8).fill(rand(3, 2, 8), torch.full((3, 2), float('nan'))), r'outside \[0, 1\]'),
        (lambda: NeighbourMemory(2, 8).fill(rand(3, 5, 8), torch.zeros(3, 5)), r'features have shape \(3, 5, 8\)'),
        (lambda: join_neighbours(torch.zeros(1, 1), torch.zeros(1, 1), 1.0), 'share is 1.0'),
    ],
)
def test_bad_input_is_refused(make, says):
    with pytest.raises(NeighbourError, match=says):
        make()


@pytest.mark.parametrize(
    'change,says',
    [
        (dict(neighbour_share=1.0), 'neighbour_share is 1.0'),
        (dict(neighbours=0), 'neighbours 0'),
        (dict(neighbour_share=0.5, keep=2), 'leave one of them out'),
    ],
)
def test_settings_that_make_no_memory(change, says):
    with pytest.raises(ValueError, match=says):
        TRMMLConfig(**change)


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    from trmml_nb.data.dataset import scenes_dataset
    from trmml_nb.towers.tower import load_tower

    tower, data = load_tower('tiny'), scenes_dataset('train', 96)
    store = encode_dataset(tower, data, tmp_path_factory.mktemp('cache'), progress=False)
    return tower, data, store, np.where(bernoulli_mask(data.truth.shape, 0.2, seed=0), data.truth, UNKNOWN)


def trained(world, spec='trmml_plus', **training):
    tower, data, store, targets = world
    method = build_method(spec, tower, data.class_names, 0, data.name)
    trainer = Trainer(method, store, targets, TrainConfig(epochs=2, batch_size=32, device='cpu', **training))
    trainer.fit(progress=False)
    return trainer


def test_training_fills_it_once_and_only_predictions_change(world):
    plain, plus = trained(world, 'trmml_fading'), trained(world)
    assert len(plus.final.neighbours) == 96 and [r['loss'] for r in plain.history] == [r['loss'] for r in plus.history]
    _, data, store, targets = world
    batch = store.batch(range(20))
    with torch.no_grad():
        before, after = plain.final.eval()(batch), plus.final.eval()(batch)
    said = plus.final.neighbours(after.features['query'])
    torch.testing.assert_close(after.probabilities, 0.7 * before.probabilities + 0.3 * said)
    torch.testing.assert_close(after.saliency, before.saliency)
    known = torch.as_tensor(targets).T
    values = plus.final.neighbours.values
    assert torch.equal(values[known != UNKNOWN], known[known != UNKNOWN].float())
    assert ((values > 0) & (values < 1))[known == UNKNOWN].all()


def test_few_pictures_have_a_share_in_proportion(world):
    _, _, store, _ = world
    whole, half = (trained(world, f'trmml_plus:neighbour_full={n}').final.eval() for n in (96, 192))
    with torch.no_grad():
        one, other = (method(store.batch(range(20))) for method in (whole, half))
        said = whole.neighbours(one.features['query'])
    alone = (one.probabilities - 0.3 * said) / 0.7
    torch.testing.assert_close(other.probabilities, 0.85 * alone + 0.15 * said, atol=1e-5, rtol=1e-4)
    assert half.config.share_of(192) == half.config.share_of(10**6) == 0.3 and half.config.share_of(0) == 0
    with pytest.raises(MethodError, match='neighbour_full 0, expected'):
        TRMMLConfig(neighbour_share=0.3, neighbour_full=0)


def test_the_averaged_weights_have_the_memory(world):
    trainer = trained(world, ema=0.9)
    assert len(trainer.final.neighbours) == 96 and not len(trainer.method.neighbours)


def test_holds_no_more_images_than_it_may_and_the_seed_says_which(world):
    first, second = (trained(world, 'trmml_plus:neighbour_images=40').final.neighbours for _ in range(2))
    assert len(first) == 40 and torch.equal(first.codes, second.codes)


def test_saved_and_loaded_bit_for_bit_and_another_number_of_categories_is_refused(world, tmp_path):
    tower, data, store, _ = world
    method = trained(world).final.eval()
    save_model(method, tmp_path / 'm.safetensors')
    new = build_method('trmml_plus', tower, data.class_names, 5, data.name)
    load_model(new, tmp_path / 'm.safetensors')
    assert torch.equal(predict_logits(new.eval(), store), predict_logits(method, store)) and len(new.neighbours) == 96
    with pytest.raises(RunError, match='neighbours'):
        load_model(build_method('trmml_fading', tower, data.class_names, 5, data.name), tmp_path / 'm.safetensors')
    fewer = TRMML.from_tower(tower, data.class_names[:7], configure('trmml_plus')[0])
    with pytest.raises(RunError, match='belongs to another'):
        load_model(fewer, tmp_path / 'm.safetensors')


def test_a_state_from_before_the_end_empties_it_and_finish_fills_it_again(world):
    trainer = trained(world)
    full = copy.deepcopy(trainer.final.state_dict())
    empty = {k: v[:, :0] if k in ('neighbours.codes', 'neighbours.values') else v for k, v in full.items()}
    trainer.final.load_state_dict(empty)
    assert not len(trainer.final.neighbours)
    trainer.finish()
    assert torch.equal(trainer.final.neighbours.codes, full['neighbours.codes'])


def test_resumed_from_a_checkpoint_it_is_the_same(world, tmp_path):
    tower, data, store, targets = world
    whole = trained(world)

    def build():
        return Trainer(
            build_method('trmml_plus', tower, data.class_names, 0, data.name),
            store,
            targets,
            TrainConfig(epochs=2, batch_size=32, device='cpu'),
        )

    first = build()
    first.train_epoch()
    first.save_checkpoint(tmp_path / 'c.safetensors')
    again = build().load_checkpoint(tmp_path / 'c.safetensors')
    again.fit(progress=False)
    for name, value in whole.final.state_dict().items():
        assert torch.equal(value, again.final.state_dict()[name]), name
