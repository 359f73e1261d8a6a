"""The loop: repeats itself, resumes bit for bit, stops at NaN, and never writes half a file."""

import dataclasses
import itertools
import math
import multiprocessing
import os
import threading
import time

import numpy as np
import pytest
import torch

from trmml_nb.training import trainer as training
from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.data.labels import UNKNOWN, LabelError, bernoulli_mask
from trmml_nb.towers.encode import encode_dataset
from trmml_nb.towers.tower import load_tower
from trmml_nb.training.trainer import (
    Evaluation,
    SHORT_TRAINING,
    TrainConfig,
    Trainer,
    epoch_seed,
    pick_device,
    predict_logits,
)
from trmml_nb.errors import TrainingError
from trmml_nb.method.trmml import TRMML, TRMMLConfig
from trmml_nb.towers.views import ViewStore


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    tower, cache = load_tower('tiny'), tmp_path_factory.mktemp('features')
    data = scenes_dataset('train', 60).with_mask(bernoulli_mask((60, 20), 0.3))
    test = scenes_dataset('test', 40)
    stores = [encode_dataset(tower, s, cache, progress=False).to_memory() for s in (data, test)]
    return tower, data, test, stores


def trainer(world, seed=0, epochs=3, truth=True, **config):
    tower, data, test, stores = world
    method = TRMML.from_tower(
        tower, data.class_names, TRMMLConfig(ffn_dim=32, pseudo_warmup=1, pseudo_present=0.5, pseudo_absent=0.3)
    )
    settings = TrainConfig(epochs=epochs, batch_size=16, seed=seed, device='cpu', **config)
    return Trainer(
        method, stores[0], data.targets, settings, Evaluation(stores[1], test.truth), data.truth if truth else None
    )


def weights(t):
    return torch.cat([p.detach().flatten() for p in t.final.state_dict().values()])


def without_time(history):
    return history.drop(columns='seconds')


def test_same_seed_same_bits_other_seed_other_bits(world):
    a, b, c = trainer(world), trainer(world), trainer(world, seed=1)
    ha, hb, hc = (t.fit(progress=False) for t in (a, b, c))
    assert torch.equal(weights(a), weights(b)) and not torch.equal(weights(a), weights(c))
    assert without_time(ha).equals(without_time(hb))


def test_resumed_run_ends_bit_identical(world, tmp_path):
    whole = trainer(world)
    expected = whole.fit(progress=False)
    first = trainer(world)

    class Killed(Exception):
        pass

    def kill(row):
        if row['epoch'] == 1:
            raise Killed

    with pytest.raises(Killed):
        first.fit(tmp_path / 'c.pt', progress=False, on_epoch=kill)
    torch.manual_seed(12345)  # whatever happened in between
    second = trainer(world).load_checkpoint(tmp_path / 'c.pt')
    assert second.epoch == 2
    history = second.fit(tmp_path / 'c.pt', progress=False)
    assert torch.equal(weights(whole), weights(second))
    assert without_time(history).equals(without_time(expected))


def test_evaluation_is_the_mean_average_precision_of_scikit_learn(world):
    from sklearn.metrics import average_precision_score

    t = trainer(world, epochs=1)
    t.fit(progress=False)
    scores, truth = predict_logits(t.final, world[3][1]).numpy(), world[2].truth
    columns = [c for c in range(20) if (truth[:, c] == 1).any()]
    reference = 100 * np.mean([average_precision_score(truth[:, c], scores[:, c]) for c in columns])
    assert t.history[-1]['val_mAP_ema'] == pytest.approx(reference, abs=1e-9)


def test_truth_is_reported_but_never_used(world):
    with_truth, without = trainer(world), trainer(world, truth=False)
    h = with_truth.fit(progress=False)
    without.fit(progress=False)
    assert torch.equal(weights(with_truth), weights(without)) and 'pseudo_precision_present' in h


def test_patience_stops_and_a_resumed_run_stops_where_the_whole_one_did(world, tmp_path):
    values = iter([
        50.0,
        50.0,
        60.0,
        60.0,
        60.0,
        60.0,
        55.0,
        55.0,
        70.0,
        70.0,
    ])  # plain and averaged weights in turn; the best is the second epoch

    class Told:
        name = 'val'

        def __call__(self, method, precision='fp32'):
            return next(values)

    patient = trainer(world, epochs=6, patience=2)
    patient.evaluation = Told()
    patient.fit(tmp_path / 'c.safetensors', progress=False)
    assert patient.epoch == 4 and patient.stalled()
    again = trainer(world, epochs=6, patience=2).load_checkpoint(tmp_path / 'c.safetensors')
    assert again.stalled() and len(again.fit(progress=False)) == 4
    with pytest.raises(TrainingError, match='no evaluation to be patient about'):
        Trainer(
            TRMML.from_tower(world[0], world[1].class_names, TRMMLConfig(ffn_dim=32)),
            world[3][0],
            world[1].targets,
            TrainConfig(patience=2),
        )
    with pytest.raises(TrainingError, match='patience is 0'):
        TrainConfig(patience=0)


def test_nan_loss_stops_with_names(world):
    t = trainer(world)
    with torch.no_grad():
        t.method.regions.queries.fill_(float('nan'))
    with pytest.raises(TrainingError, match=r'the loss is nan in epoch 0 .*first images of the batch: scene-'):
        t.fit(progress=False)


@pytest.mark.fault('disk and clock', 'disk full while a checkpoint is written', 'the checkpoint before it stays')
def test_full_disk_leaves_the_old_checkpoint(world, tmp_path, monkeypatch):
    t = trainer(world)
    t.train_epoch()
    t.save_checkpoint(tmp_path / 'c.pt')
    old = (tmp_path / 'c.pt').read_bytes()

    def full(path, data):
        path.with_name(f'.{path.name}.host.{os.getpid()}.part').write_bytes(b'half')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(training, 'write_atomic', full)
    with pytest.raises(TrainingError, match='No space left on device'):
        t.save_checkpoint(tmp_path / 'c.pt')
    assert (tmp_path / 'c.pt').read_bytes() == old and len(list(tmp_path.iterdir())) == 1


@pytest.mark.fault(
    'damaged or foreign files',
    'checkpoint damaged, or of another run',
    'refused, with the file and what to do',
)
def test_damaged_or_foreign_checkpoints_are_refused(world, tmp_path):
    t = trainer(world)
    t.train_epoch()
    t.save_checkpoint(tmp_path / 'c.pt')
    with pytest.raises(TrainingError, match=r"lr=0.0002 \(now 0.001\)"):
        trainer(world, lr=1e-3).load_checkpoint(tmp_path / 'c.pt')
    data = (tmp_path / 'c.pt').read_bytes()
    (tmp_path / 'half.pt').write_bytes(data[: len(data) // 2])
    with pytest.raises(TrainingError, match='half.pt: not a readable checkpoint'):
        trainer(world).load_checkpoint(tmp_path / 'half.pt')


def test_a_checkpoint_is_opened_once(world, tmp_path):
    "A run at work may replace it between two looks. A pipe can be opened once only, and what comes out is gone."
    trainer(world).save_checkpoint(tmp_path / 'c')
    os.mkfifo(tmp_path / 'pipe')
    threading.Thread(target=(tmp_path / 'pipe').write_bytes, args=((tmp_path / 'c').read_bytes(),), daemon=True).start()
    (about, parts), (same, tensors) = (
        training.read_checkpoint(tmp_path / 'pipe'),
        training.read_checkpoint(tmp_path / 'c'),
    )
    assert about == same and parts.keys() == tensors.keys() and len(parts) > 1
    assert all(torch.equal(v, tensors[part][name]) for part, held in parts.items() for name, v in held.items())


@pytest.mark.fault('hostile files', 'checkpoint or weights that are a pickle', 'never run')
def test_pickled_code_in_a_checkpoint_is_not_run(world, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / 'ran'), 'w'))

    torch.save(dict(config=Evil()), tmp_path / 'evil.pt')
    with pytest.raises(TrainingError, match='evil.pt: not a readable checkpoint'):
        trainer(world).load_checkpoint(tmp_path / 'evil.pt')
    assert not (tmp_path / 'ran').exists()


def test_sets_that_do_not_fit(world):
    tower, data, test, stores = world
    method = TRMML.from_tower(tower, data.class_names, TRMMLConfig(ffn_dim=32))
    with pytest.raises(TrainingError, match=r'holds 60 images and targets has shape \(59, 20\)'):
        Trainer(method, stores[0], data.targets[:59])
    with pytest.raises(TrainingError, match='no label is known'):
        Trainer(method, stores[0], np.full((60, 20), -1))


@pytest.mark.parametrize(
    'bad', [dict(lr=0), dict(lr=float('nan')), dict(epochs=0), dict(ema=1.0), dict(precision='fp8'), dict(warmup=0)]
)
def test_settings_that_cannot_work(bad):
    with pytest.raises(TrainingError, match=f'{next(iter(bad))} is '):
        TrainConfig(**bad)


def test_epoch_seed_keeps_the_callers_random_state():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = torch.rand(1)
    with epoch_seed(0, 0):
        torch.rand(5)
    assert torch.equal(torch.cat([first, torch.rand(1)]), expected)


def test_device_that_is_not_there():
    with pytest.raises(TrainingError, match="device 'warp' cannot be used"):
        pick_device('warp')


def test_bf16_trains(world):
    history = trainer(world, epochs=1, precision='bf16').fit(progress=False)
    assert np.isfinite(history['loss']).all()


def test_sampled_views_are_drawn_by_the_runs_seed_and_evaluation_sees_the_first(world, tmp_path):
    tower, data, test, stores = world
    both = encode_dataset(tower, data, tmp_path, progress=False, views=('plain', 'flip'), mode='sample').to_memory()
    runs = [trainer((tower, data, test, [store, stores[1]]), epochs=1) for store in (both, both, stores[0])]
    for run in runs:
        run.fit(progress=False)
    assert torch.equal(weights(runs[0]), weights(runs[1])) and not torch.equal(weights(runs[0]), weights(runs[2]))
    assert torch.equal(predict_logits(runs[0].final, both), predict_logits(runs[0].final, stores[0]))
    joined = trainer((tower, data, test, [ViewStore(both.stores, both.views), stores[1]]), epochs=1)
    joined.fit(progress=False)
    assert joined.final(joined.store.batch([0, 1])).saliency.shape == (2, 20, 128)


def test_a_target_outside_the_code_is_named_before_training(world):
    "0.5 would be cut to 0, which is 'absent'."
    tower, data, test, stores = world
    for value in (0.5, 2, float('nan')):
        targets = data.targets.astype(float)
        targets[7, 3] = value
        with pytest.raises(LabelError, match=rf'row 7 \({data.image_ids[7]}\), column 3 holds {value:g} \(1 bad'):
            Trainer(TRMML.from_tower(tower, data.class_names), stores[0], targets, TrainConfig(device='cpu'))


# -- nothing waits on a GPU


class Looks(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes operations whose result the processor would have to wait for on a GPU. Integers are left out: token
    numbers and counters live on the CPU."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        waits = (
            name
            in (
                'nonzero',
                'masked_select',
                '_unique2',
                'equal',
                'bincount',
                'repeat_interleave',
                '_linalg_check_errors',
            )
            or name == '_local_scalar_dense'
            and (args[0].is_floating_point() or args[0].dtype == torch.bool)
        )
        if name in ('index', 'index_put', 'index_put_', '_index_put_impl_'):
            waits = any(i is not None and i.dtype == torch.bool for i in args[1])
        if waits:
            self.found.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    'spec',
    [
        'trmml',
        'trmml:pseudo_levels=True,pseudo=soft',
        'trmml:keep=5',
        'trmml_plus',
        'trmml_prompts',
        'pvlr',
        'dualcoop',
        'dualcoop_plus',
        'query2label',
        'coop',
        'scpnet',
        'linear_splc',
    ],
)
def test_a_step_looks_at_no_value_where_a_look_would_wait(world, monkeypatch, spec):
    """The rules of a GPU on a CPU: no check of values, losses looked at later. Optimiser and average are left out:
    their counters are on the CPU everywhere."""
    from trmml_nb.method import contract
    from trmml_nb.method import contrast
    from trmml_nb.method import prototypes
    from trmml_nb.rivals.registry import build_method

    tower, data, test, stores = world
    t = Trainer(
        build_method(spec, tower, data.class_names), stores[0], data.targets, TrainConfig(batch_size=16, device='cpu')
    )
    t.method.train()
    with Looks() as here:
        t.step(torch.arange(16))
    assert here.found  # on a CPU it does look
    for module in (contract, contrast, prototypes):
        monkeypatch.setattr(module, 'can_look', lambda t: False)
    t.look_every, t.epoch, t.optimizer.step, t.averaged = 100, 6, lambda: None, None
    with Looks() as there:
        t.step(torch.arange(16, 32))
    assert not there.found
    assert len(t.unseen) == 1 and np.isfinite(t.unseen[0][1]['loss'].item())


def test_losses_looked_at_later_name_the_same_batch(world, tmp_path):
    "Where nothing waits, the error comes later, before anything is written, and says what the early one says."
    messages = []
    for look_every in (1, 100):
        t = trainer(world, truth=False)
        t.look_every, own = look_every, t.method.forward

        def spoilt(features, own=own, t=t):
            output = own(features)
            return dataclasses.replace(
                output, logits=output.logits * (float('nan') if t.steps == 2 and t.epoch == 1 else 1)
            )

        t.method.forward = spoilt
        with pytest.raises(TrainingError, match='the loss is nan in epoch 1') as caught:
            t.fit(tmp_path / f'{look_every}.safetensors', progress=False)
        messages.append(str(caught.value).split('first images')[1])
        assert (
            training.read_checkpoint(tmp_path / f'{look_every}.safetensors')[0]['epoch'] == 1
        )  # written before that epoch
    assert messages[0] == messages[1]


def test_no_checkpoint_is_written_after_a_loss_that_was_not_looked_at(world, tmp_path):
    t = trainer(world, truth=False)
    t.unseen.append((torch.arange(3), dict(loss=torch.tensor(float('inf')))))
    with pytest.raises(TrainingError, match='the loss is inf'):
        t.save_checkpoint(tmp_path / 'c.safetensors')
    assert not list(tmp_path.iterdir())


# -- killed


@pytest.mark.fault(
    'stopped in the middle',
    'training killed within an epoch',
    'resumed at that step; the same weights, bit for bit',
)
@pytest.mark.young
@pytest.mark.parametrize('every', [1, 3])
def test_killed_in_mid_epoch_ends_bit_identical(world, tmp_path, every):
    """Real SIGKILLs of a real process, again and again, until the run is through: weights and history are those of an undisturbed run.
    Each child trains some steps and then waits to be killed, so that where it was stopped does not hang on the speed of the machine."""
    whole = trainer(world)
    expected = whole.fit(progress=False)
    path, seen, counts = tmp_path / 'c.safetensors', [], itertools.cycle((3, 4, 2))

    def stands():
        about = training.read_checkpoint(path)[0] if path.exists() else dict(epoch=0, steps=0)
        return about['epoch'], about['steps']

    def run(steps):
        t, left = trainer(world), iter(range(steps))
        if path.exists():
            t.load_checkpoint(path)
        own = t.step

        def step(*args):
            if next(left, None) is None:
                threading.Event().wait()  # for the kill
            return own(*args)

        t.step = step
        t.fit(path, progress=False, every=every)

    def after(steps):
        """Where the last checkpoint stands when so many steps more are done: written after each epoch and after every
        third (or each) step of one."""
        epoch, step = stands()
        done = [divmod(n, 4) for n in range(4 * epoch + step, 4 * epoch + step + steps + 1)]
        return [place for place in done if place[1] % every == 0][-1]

    while stands()[0] < 3:
        steps = next(counts)
        child = multiprocessing.get_context('fork').Process(target=run, args=(steps,), daemon=True)
        wanted = min(after(steps), (3, 0))
        child.start()
        while stands() != wanted:
            assert child.is_alive() or wanted == (3, 0), f'the child ended at {stands()}, before {wanted}'
            time.sleep(0.01)
        if wanted == (3, 0):
            child.join()
            assert child.exitcode == 0
            break
        child.kill()
        child.join()
        assert child.exitcode == -9
        seen.append(wanted)
    assert len(seen) > 2 and any(steps for _, steps in seen), seen  # was also stopped within an epoch
    torch.manual_seed(99)
    last = trainer(world).load_checkpoint(path)
    assert torch.equal(weights(whole), weights(last)) and last.epoch == 3
    assert without_time(last.fit(progress=False)).equals(without_time(expected))
    assert torch.equal(whole.method.memory.prototypes, last.method.memory.prototypes)
    assert [p.name for p in tmp_path.iterdir()] == ['c.safetensors']


@pytest.mark.parametrize('step', [1, 4, 5])
def test_every_step_can_be_resumed_also_with_sampled_views(world, tmp_path, step):
    tower, data, test, stores = world
    both = encode_dataset(tower, data, tmp_path, progress=False, views=('plain', 'flip'), mode='sample').to_memory()
    sampled = (tower, data, test, [both, stores[1]])
    whole, first, count = trainer(sampled, epochs=2), trainer(sampled, epochs=2), [0]
    expected = whole.fit(progress=False)

    def stop():
        count[0] += 1
        if count[0] == step:
            first.save_checkpoint(tmp_path / 'c')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.train_epoch(stop), first.train_epoch(stop)
    second = trainer(sampled, epochs=2).load_checkpoint(tmp_path / 'c')
    assert without_time(second.fit(progress=False)).equals(without_time(expected)) and torch.equal(
        weights(whole), weights(second)
    )


def test_a_checkpoint_of_another_order_is_refused(world, tmp_path):
    t = trainer(world)
    t.save_checkpoint(tmp_path / 'c')
    other = trainer(world)
    other.block = 8
    with pytest.raises(TrainingError, match=r'order=\[0, 16\] \(now \[8, 16\]\)'):
        other.load_checkpoint(tmp_path / 'c')
    with pytest.raises(TrainingError, match='every is 0'):
        t.fit(every=0)


def test_reading_ahead_and_blocks_change_no_bit_of_what_is_read(world, tmp_path):
    tower, data, test, stores = world
    disk = encode_dataset(tower, data, tmp_path, progress=False)
    from_disk, from_memory = trainer((tower, data, test, [disk, stores[1]]), epochs=1), trainer(world, epochs=1)
    from_disk.fit(progress=False), from_memory.fit(progress=False)
    assert torch.equal(weights(from_disk), weights(from_memory))


@pytest.mark.parametrize('part, share', [(1, 0.2), (2, 0.4), (3, 0.6), (100, 1.0)])
def test_a_short_training_from_positives_alone_learns_faster(world, part, share):
    "A training of a half of the steps below which it is short learns twice as fast, and none faster than the rate."
    tower, data, _, stores = world
    method = TRMML.from_tower(tower, data.class_names, TRMMLConfig(ffn_dim=32))
    targets = np.where(data.targets == 1, 1, UNKNOWN)
    config = TrainConfig(
        lr=1e-3, positive_rate=0.2, epochs=SHORT_TRAINING // part, batch_size=len(targets), device='cpu'
    )
    made = Trainer(method, stores[0], targets, config)
    assert made.schedule.optimizer.param_groups[0]['max_lr'] == pytest.approx(1e-3 * share)


@pytest.mark.parametrize(
    'absent, unexplained, share', [(True, 0.0, 1.0), (False, 0.0, 0.2), (False, 0.6, 0.6), (False, 1.5, 1.0)]
)
def test_steps_are_smaller_where_no_label_is_known_absent(world, absent, unexplained, share):
    "Unless the method found that the tower knows nothing of these labels."
    tower, data, _, stores = world
    method = TRMML.from_tower(tower, data.class_names, TRMMLConfig(ffn_dim=32))
    method.unexplained = unexplained
    targets = data.targets if absent else np.where(data.targets == 1, 1, UNKNOWN)
    long = SHORT_TRAINING // math.ceil(len(targets) / 64) + 1
    t = Trainer(method, stores[0], targets, TrainConfig(lr=1e-3, positive_rate=0.2, epochs=long, device='cpu'))
    assert t.schedule.optimizer.param_groups[0]['max_lr'] == pytest.approx(1e-3 * share)
    assert Trainer(method, stores[0], targets, TrainConfig(lr=1e-3, device='cpu')).schedule.optimizer.param_groups[0][
        'max_lr'
    ] == pytest.approx(1e-3)
    with pytest.raises(TrainingError, match='positive_rate is 0, expected a share above 0'):
        TrainConfig(positive_rate=0)
