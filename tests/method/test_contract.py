"""The contract of a method: hooks that do nothing by default, and everything it says the same after it was saved and
loaded."""

import pytest
import torch
from torch import nn

from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.data.labels import UNKNOWN, bernoulli_mask
from trmml_nb.errors import MethodError, TrainingError
from trmml_nb.method.contract import Growing, LossState, Method, MethodOutput, evaluating
from trmml_nb.rivals.registry import METHODS, RELEASES, build_method
from trmml_nb.runs.run import load_model, save_model
from trmml_nb.towers.encode import encode_dataset
from trmml_nb.towers.tower import load_tower
from trmml_nb.training.trainer import TrainConfig, Trainer

EXTRA = [
    'trmml:pseudo_levels=True,pseudo_warmup=0',
    'trmml:matching=pixel',
    'trmml:neighbour_share=0.3,neighbour_images=17',
    *(release.spec for release in RELEASES.values()),
]


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    "A tower, names, features of 40 scenes, and a third of their labels."
    tower, data = load_tower(), scenes_dataset('train', 40)
    store = encode_dataset(tower, data, tmp_path_factory.mktemp('cache'), progress=False).to_memory()
    return tower, data.class_names, store, data.with_mask(bernoulli_mask(data.truth.shape, 0.3)).targets


def everything(method, store, targets):
    "All that a method says of ten images."
    state = LossState(9, 10)
    with evaluating(method):
        output = method(store.batch(torch.arange(10), 'cpu'))
        filled = method.complete(output, torch.as_tensor(targets[:10]), state)
        said = dict(
            logits=output.logits, evidence=method.evidence(output), filled=filled.targets, weights=filled.weights
        )
        said |= {} if output.saliency is None else dict(saliency=output.saliency)
        said |= dict(zip(('visual', 'text'), method.prototypes() or ()))
    return {name: value.clone() for name, value in said.items()}


@pytest.mark.parametrize('spec', [*METHODS, *EXTRA])
def test_all_that_a_method_says_is_the_same_after_saving_and_loading(spec, world, tmp_path):
    tower, names, store, targets = world
    method = build_method(spec, tower, names, seed=3)
    if method.trains:
        Trainer(method, store, targets, TrainConfig(epochs=2, batch_size=8, lr=3e-3, ema=0)).fit(progress=False)
    else:
        method.prepare(store, torch.as_tensor(targets))
    before = everything(method, store, targets)
    save_model(method, tmp_path / 'model.safetensors')
    again = load_model(build_method(spec, tower, names, seed=4), tmp_path / 'model.safetensors')
    after = everything(again, store, targets)
    assert before.keys() == after.keys()
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0, msg=f'{spec}: {name} is another after loading')


@pytest.mark.parametrize('spec', [name for name, entry in METHODS.items() if entry.trains] + EXTRA)
def test_a_resumed_training_says_the_same(spec, world, tmp_path):
    tower, names, store, targets = world
    make = lambda epochs=2: Trainer(
        build_method(spec, tower, names), store, targets, TrainConfig(epochs=epochs, batch_size=16, lr=1e-3)
    )
    whole, first = make(), make()
    whole.fit(progress=False)
    first.train_epoch()
    first.save_checkpoint(tmp_path / 'c')
    second = make().load_checkpoint(tmp_path / 'c')
    second.fit(progress=False)
    a, b = (everything(t.final, store, targets) for t in (whole, second))
    assert all(torch.equal(a[name], b[name]) for name in a), [name for name in a if not torch.equal(a[name], b[name])]


class Counting(Method):
    "A method with a buffer of its own, which its score depends on."

    def __init__(self, classes):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(classes))
        self.register_buffer('seen', torch.zeros(classes))
        self.register_buffer('texts', torch.ones(classes), persistent=False)

    def forward(self, features):
        return MethodOutput((self.weight + self.seen).expand(len(features.pooled), -1))

    def loss(self, output, targets, known_mask, state):
        self.seen += ((targets == 1) & known_mask).sum(0)
        total = nn.functional.softplus(output.logits).sum()
        return total, dict(classification=total.detach())


def test_a_buffer_of_a_methods_own_is_saved(world, tmp_path):
    _, names, store, targets = world
    method = Counting(len(names))
    trainer = Trainer(method, store, targets, TrainConfig(epochs=1))
    trainer.fit(progress=False)
    assert trainer.final.seen.sum() == (targets == 1).sum() > 0
    save_model(trainer.final, tmp_path / 'm.safetensors')
    again = load_model(Counting(len(names)), tmp_path / 'm.safetensors')
    assert torch.equal(again.seen, trainer.final.seen) and 'texts' not in again.state_dict()


def test_hooks_do_nothing_by_default(world):
    _, names, store, targets = world
    method = Counting(len(names))
    output, known = method(store.batch(torch.arange(4))), torch.as_tensor(targets[:4])
    filled = method.complete(output, known, LossState(5, 6))
    assert torch.equal(filled.targets, known.float()) and torch.equal(filled.known_mask, known != UNKNOWN)
    assert torch.equal(method.evidence(output), output.probabilities) and method.prototypes() is None
    assert method.prepare(store, known) is None and method.finish(store, known) is None
    assert not method.completes and not method.prunes and method.trains


def test_what_is_not_written_says_so(world):
    bare = Method()
    for call, said in (
        (lambda: bare(None), 'has no forward'),
        (lambda: bare.loss(None, None, None, None), 'has no loss'),
    ):
        with pytest.raises(MethodError, match=f'Method {said}'):
            call()
    with pytest.raises(MethodError, match='Method has no from_tower'):
        Method.from_tower(None, [])
    with pytest.raises(TrainingError, match='Linear is no Method'):
        Trainer(nn.Linear(2, 2), world[2], world[3])


def test_the_mode_comes_back_after_an_error():
    method = Counting(2).train()
    with pytest.raises(RuntimeError, match='stop'), evaluating(method):
        assert not method.training and not torch.is_grad_enabled()
        raise RuntimeError('stop')
    assert method.training and torch.is_grad_enabled()


def test_growing_takes_the_length_that_was_saved_along_its_axis():
    class Rows(Growing):
        grows, axis = ('rows',), 0

        def __init__(self, n):
            super().__init__()
            self.register_buffer('rows', torch.arange(2.0 * n).reshape(n, 2))

    new = Rows(0)
    new.load_state_dict(Rows(3).state_dict())
    assert torch.equal(new.rows, Rows(3).rows)
    with pytest.raises(RuntimeError, match='size mismatch'):
        new.load_state_dict(dict(rows=torch.zeros(3, 5)))


def test_models_of_version_0_3_still_load(world, tmp_path):
    "They hold what was trained and the memories, and no word on being whole."
    from safetensors.torch import save_file

    tower, names, store, _ = world
    method = build_method('trmml:pseudo_levels=True', tower, names, seed=1)
    old = {n: p for n, p in method.named_parameters()} | {
        n: v for n, v in method.state_dict().items() if n.startswith('memory.')
    }
    save_file({n: v.detach().contiguous() for n, v in old.items()}, tmp_path / 'old.safetensors', dict(tower='x'))
    again = load_model(build_method('trmml:pseudo_levels=True', tower, names, seed=2), tmp_path / 'old.safetensors')
    with evaluating(method), evaluating(again):
        assert torch.equal(again(store.batch(torch.arange(3))).logits, method(store.batch(torch.arange(3))).logits)
