"""One harness: specs, worlds, cells, and a table that grows, resumes and refuses what cannot stand side by side."""

import json
import multiprocessing
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import torch

from trmml_nb.method.contract import Method
from trmml_nb.rivals.compare import (
    CompareError,
    World,
    add_rows,
    compare,
    hidden_targets,
    hold_out,
    margins,
    missing_cells,
    read_table,
    run_cell,
    score,
    summarise,
    unknown_quality,
    view_logits,
    views_of,
    wide,
)
from trmml_nb.runs.compare_job import CompareJob, compare_job, published_masks, split_knowns, split_seeds, split_specs
from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.runs.options import JobError
from trmml_nb.data.labels import PRESENT, UNKNOWN, bernoulli_mask, mask_sha256
from trmml_nb.data.mask_files import single_positive_mask
from trmml_nb.data.mask_files import write_mask_file
from trmml_nb.rivals.registry import (
    ABLATIONS,
    METHODS,
    RELEASES,
    build_method,
    configure,
    method_title,
    parse_spec,
    released,
    settings_sha256,
    trained_parameters,
)
from trmml_nb.errors import MethodError
from trmml_nb.training.metrics import mean_average_precision
from trmml_nb.towers.encode import encode_dataset
from trmml_nb.towers.tower import load_tower
from trmml_nb.training.trainer import TrainConfig, predict_logits
from trmml_nb.method.trmml import TRMMLConfig


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    tower, cache = load_tower('tiny'), tmp_path_factory.mktemp('features')
    parts = {split: scenes_dataset(split, n) for split, n in dict(train=64, val=48, test=48).items()}
    stores = {split: encode_dataset(tower, part, cache, progress=False).to_memory() for split, part in parts.items()}
    return World(
        'scenes',
        'tiny',
        tower,
        parts['train'].class_names,
        stores['train'],
        parts['train'].truth,
        *((split, stores[split], parts[split].truth) for split in ('test', 'val')),
    )


# -- specs


def test_specs_name_method_and_training_settings():
    assert parse_spec('coop') == ('coop', {}, {})
    assert parse_spec('trmml:score=mean,query_residual=False,lr=1e-3,epochs=2') == (
        'trmml',
        dict(score='mean', query_residual=False),
        dict(lr=1e-3, epochs=2),
    )
    method, training = configure('trmml:score=mean,lr=1e-3', seed=5, precision='bf16')
    assert (method.score, method.seed, training.lr, training.seed, training.precision) == ('mean', 5, 1e-3, 5, 'bf16')


def test_rivals_are_named_by_their_form():
    "A row of a public code is told from ours by its spec, title and checksum; more settings do not change that."
    for name, release in RELEASES.items():
        assert released(release.spec) and released(f'{release.spec},epochs=3') and not released(name)
        assert parse_spec(release.spec)[0] == name and method_title(release.spec).startswith(METHODS[name].title)
        assert method_title(name) == METHODS[name].title != method_title(release.spec)
        assert settings_sha256(release.spec) != settings_sha256(name)
    assert method_title(RELEASES['dualcoop_plus'].spec) == "DualCoOp++, a third party's form"
    assert not released('query2label:form=release') and not released('trmml') and not released('coop:lr=1e-3')


@pytest.mark.parametrize(
    'spec, said',
    [('coopp', 'coopp'), ('coop:lenght=3', 'lenght'), ('coop:lr', "'lr' is no setting"), ('coop:seed=3', 'seed')],
)
def test_a_wrong_spec_is_named(spec, said):
    with pytest.raises(MethodError, match=said):
        parse_spec(spec)


def test_a_value_of_the_wrong_kind_is_the_configurations_own_error():
    with pytest.raises(ValueError, match='score'):
        configure('trmml:score=best')


@pytest.mark.parametrize('name', METHODS)
def test_every_method_keeps_the_contract(world, name):
    """Logits, saliency that sums to 1, a finite loss whose unknown labels do not matter, and gradients for all it trains."""
    method = build_method(name, world.tower, world.class_names)
    features = world.store.batch(range(8))
    if hasattr(method, 'prepare'):
        method.prepare(world.store, torch.as_tensor(hidden_targets(world, 0.5)))
    output = method(features)
    assert output.logits.shape == (8, 20) and output.logits.isfinite().all()
    if output.saliency is not None:
        assert output.saliency.shape == (8, 20, 64) and torch.allclose(
            output.saliency.sum(-1), torch.ones(8, 20), atol=1e-4
        )
    assert trained_parameters(method) == 0 or METHODS[name].trains
    assert not any(key.startswith(('tower', '_tower')) for key in method.state_dict())
    if not METHODS[name].trains:
        return
    from trmml_nb.method.contract import LossState

    targets = torch.as_tensor(hidden_targets(world, 0.5)[:8]).long()
    total, parts = method.train().loss(method(features), targets, targets != UNKNOWN, LossState(0, 10, torch.arange(8)))
    total.backward()
    assert total.isfinite() and list(parts)[0] == 'classification'
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters() if p.requires_grad)


def test_ablations_change_what_they_name():
    for what, spec in ABLATIONS.items():
        _, chosen, trained = parse_spec(spec)
        assert not trained and all(getattr(TRMMLConfig(), k) != v for k, v in chosen.items()), what


def test_training_settings_are_fields_of_the_training():
    for method in METHODS.values():
        assert set(method.training) <= {f.name for f in fields(TrainConfig)}
        method.config(**method.settings)


# -- a world and a cell


@pytest.fixture(scope='module')
def seen_twice(world, tmp_path_factory):
    "The world again, scored from three views, one of them of another size."
    cache, views = tmp_path_factory.mktemp('views'), ('plain', 'flip', 'scale:192')
    sets = {split: scenes_dataset(split, n) for split, n in dict(train=40, test=24).items()}
    stores = {
        split: encode_dataset(world.tower, part, cache, progress=False, views=views) for split, part in sets.items()
    }
    report = ('test', stores['test'], sets['test'].truth)
    return replace(
        world, store=stores['train'], truth=sets['train'].truth, report=report, select=report, views='+'.join(views)
    )


def test_logits_of_several_views_are_averaged(seen_twice):
    for name in ('trmml', 'query2label', 'pvlr', 'dualcoop', 'zero_shot_pixel'):
        method = build_method(name, seen_twice.tower, seen_twice.class_names)
        each = [predict_logits(method, view) for view in views_of(seen_twice.report[1])]
        assert len(each) == 3 and not torch.equal(each[0], each[2])
        torch.testing.assert_close(view_logits(method, seen_twice.report[1]), sum(each) / 3)


def test_training_sees_the_first_view_and_rows_name_all(seen_twice):
    rows = run_cell(seen_twice, 'linear_ignore:epochs=1', 0.5)
    one_view = replace(
        seen_twice,
        store=seen_twice.store.stores[0],
        report=('test', seen_twice.report[1].stores[0], seen_twice.report[2]),
        views='plain',
    )
    alone = run_cell(one_view, 'linear_ignore:epochs=1', 0.5)
    assert {r['views'] for r in rows} == {'plain+flip+scale:192'} and {r['views'] for r in alone} == {'plain'}
    assert rows[0]['mAP'] != alone[0]['mAP'] and rows[1]['epoch'] == alone[1]['epoch']


def test_images_set_aside_are_never_trained_on(world, seen_twice):
    for whole in (world, seen_twice):
        part = hold_out(whole, 0.25)
        held, rest = part.report[1], part.store
        assert set(held.image_ids).isdisjoint(rest.image_ids) and set(held.image_ids) | set(rest.image_ids) == set(
            whole.store.image_ids
        )
        assert len(held) == len(part.report[2]) == round(0.25 * len(whole.truth)) and len(rest) == len(part.truth)
        where = {name: row for row, name in enumerate(whole.store.image_ids)}
        assert (part.truth == whole.truth[[where[name] for name in rest.image_ids]]).all()
        assert (hidden_targets(part, 0.1) == hidden_targets(whole, 0.1)[[where[name] for name in rest.image_ids]]).all()
        for view, of in zip(views_of(held), views_of(whole.store)):
            assert torch.equal(view.batch([3], 'cpu').dense, of.batch([where[held.image_ids[3]]], 'cpu').dense)
        assert (held.pooled == whole.store.pooled[[where[name] for name in held.image_ids]]).all()
        assert run_cell(part, 'coop:epochs=1', 0.5)[0]['split'] == 'holdout'
    with pytest.raises(CompareError, match='share is 0.001'):
        hold_out(world, 0.001)


def test_hidden_targets_are_the_fields_own_masks(world):
    for known in (0.1, 0.9):
        mask = hidden_targets(world, known) != UNKNOWN
        assert (mask == (np.random.RandomState(0).random_sample(world.truth.shape) < known)).all()
    assert (hidden_targets(world, 1.0) == world.truth).all()
    single = hidden_targets(world, 'single')
    assert ((single == PRESENT).sum(1) == 1).all() and ((single != UNKNOWN) == single_positive_mask(world.truth)).all()
    published = World(**{f.name: getattr(world, f.name) for f in fields(World)} | dict(masks={0.1: world.truth}))
    assert (hidden_targets(published, 0.1) == world.truth).all()


@pytest.mark.parametrize('known', [0, 10, 'all', None])
def test_a_share_that_is_none_is_refused(world, known):
    with pytest.raises(CompareError, match='known is'):
        hidden_targets(world, known)


def test_a_cell_measures_what_it_says(world):
    last, chosen = run_cell(world, 'linear_ignore:epochs=2', 0.5, seed=1)
    assert (last['selection'], last['split'], last['epoch'], last['epochs']) == ('last', 'test', 2, 2)
    assert (chosen['selection'], chosen['split']) == ('val', 'test') and chosen['epoch'] in (1, 2)
    assert last['mask_sha256'] == mask_sha256(bernoulli_mask(world.truth.shape, 0.5))[:16]
    assert last['trained_parameters'] == trained_parameters(
        build_method('linear_ignore', world.tower, world.class_names)
    )
    assert last['mAP'] == pytest.approx(np.nanmean([last[f'AP {name}'] for name in world.class_names]))
    again = run_cell(world, 'linear_ignore:epochs=2', 0.5, seed=1)[0]
    assert {k: v for k, v in again.items() if k != 'train_seconds'} == pytest.approx(
        {k: v for k, v in last.items() if k != 'train_seconds'}, nan_ok=True
    )


def test_zero_shot_is_measured_once_and_untrained(world):
    rows = run_cell(world, 'zero_shot', 0.5)
    assert len(rows) == 1 and rows[0]['epochs'] == 0 and rows[0]['trained_parameters'] == 0
    texts = world.tower.encode_classes(world.class_names)
    expected = mean_average_precision((world.report[1].batch(range(48)).pooled @ texts.T).numpy(), world.report[2])[0]
    assert rows[0]['mAP'] == pytest.approx(expected, abs=1e-6)


def test_score_is_in_percent():
    truth = np.array([[1, 0], [0, 1], [1, 0]])
    said = score(np.where(truth == 1, 3.0, -3.0), truth, ['a', 'b'])
    assert said == {'mAP': 100, 'CF1': 100, 'OF1': 100, 'AP a': 100, 'AP b': 100}


# -- the table


def cell(method='coop', known='0.1', seed=0, value=50.0, selection='last', **more):
    return (
        dict(
            data='scenes',
            clip='tiny',
            image_size=256,
            views='plain',
            method=method,
            known=known,
            seed=seed,
            split='test',
            selection=selection,
            mAP=value,
            CF1=1.0,
            OF1=1.0,
            epoch=1,
            epochs=1,
            lr=0.1,
            train_seconds=1.0,
            trained_parameters=1,
            mask_sha256='0' * 16,
            tower='t',
            settings='s',
        )
        | more
    )


def test_rows_are_kept_once_and_the_newest_wins(tmp_path):
    path = tmp_path / 'deep' / 'table.csv'
    add_rows(path, [cell(value=50.0, lr=2e-4)])
    assert read_table(path).lr.item() == 2e-4  # small numbers keep their digits
    add_rows(path, [cell(value=51.0), cell(seed=1)])
    table = read_table(path)
    assert (
        len(table) == 2
        and table.loc[table.seed == 0, 'mAP'].item() == 51.0
        and table.mask_sha256.tolist() == ['0' * 16] * 2
    )


@pytest.mark.fault(
    'damaged or foreign files',
    'a table of results that was cut short, or a digit of it changed',
    'refused: its digest differs',
)
def test_a_table_that_is_cut_short_or_changed_is_refused(tmp_path):
    "No cut and no single digit that differs is taken for a result; names like formulas or like nothing come back."
    path = tmp_path / 't.csv'
    odd = {'data': '=cmd|1', 'clip': 'NA', 'AP -word': 12.5, 'left_out': 'val: 1 images: b.jpg'}
    add_rows(path, [cell(value=100.0) | odd, cell(seed=1, value=40.0) | odd])
    whole, data = read_table(path), path.read_bytes()
    assert list(whole['data']) == ['=cmd|1'] * 2 and list(whole['clip']) == ['NA'] * 2
    assert list(whole['AP -word']) == [12.5] * 2 and list(whole['left_out']) == ['val: 1 images: b.jpg'] * 2
    assert b"\n'=cmd" in data and b'\n=cmd' not in data
    r = np.random.default_rng(0)
    cuts = [data[:k] for k in r.integers(0, len(data) - 1, 60)]
    flips = [data[:k] + bytes([data[k] ^ 1 << r.integers(8)]) + data[k + 1 :] for k in r.integers(0, len(data), 140)]
    for damaged in (*cuts, *flips):
        path.write_bytes(damaged)
        with pytest.raises(CompareError, match='t.csv'):
            read_table(path)


def _add(path, seed):
    add_rows(path, [cell(seed=seed)])


@pytest.mark.fault('two at once', 'several processes add to one table of results', 'no row is lost')
def test_processes_that_write_at_once_lose_nothing(tmp_path):
    jobs = [
        multiprocessing.get_context('fork').Process(target=_add, args=(tmp_path / 't.csv', seed)) for seed in range(6)
    ]
    [job.start() for job in jobs], [job.join() for job in jobs]
    assert sorted(read_table(tmp_path / 't.csv').seed) == list(range(6))


@pytest.mark.fault('stopped in the middle', 'comparison stopped', 'finished cells stay, the rest is run')
def test_a_stopped_comparison_goes_on(world, tmp_path):
    class Stop(Exception):
        pass

    def stop(rows, left):
        raise Stop

    grid = dict(specs=['zero_shot', 'linear_ignore:epochs=1'], knowns=[0.5], seeds=[0, 1], path=tmp_path / 't.csv')
    with pytest.raises(Stop):
        compare(world, **grid, on_cell=stop)
    assert len(read_table(grid['path'])) == 1
    ran = []
    table = compare(world, **grid, on_cell=lambda rows, left: ran.append((rows[0]['method'], rows[0]['seed'])))
    assert ran == [('linear_ignore:epochs=1', 0), ('linear_ignore:epochs=1', 1)] and len(table) == 5
    before = grid['path'].read_bytes()
    compare(world, **grid, on_cell=lambda *_: pytest.fail('ran again'))
    assert grid['path'].read_bytes() == before
    assert missing_cells(table, world, grid['specs'], [0.5, 1.0], [0]) == [
        ('zero_shot', 1.0, 0),
        ('linear_ignore:epochs=1', 1.0, 0),
    ]


def test_rows_of_another_tower_or_mask_are_refused(world, tmp_path):
    other = pd.DataFrame([cell(tower='another')])
    with pytest.raises(CompareError, match='weights changed'):
        missing_cells(other, world, ['coop'], [0.1], [0])
    other = pd.DataFrame([cell(tower=world.tower.fingerprint[:12])])
    with pytest.raises(CompareError, match='with mask 0000'):
        missing_cells(other, world, ['coop'], [0.1], [0])
    (tmp_path / 'x.csv').write_text('a,b\n1,2\n')
    with pytest.raises(CompareError, match="no column 'data'"):
        read_table(tmp_path / 'x.csv')


def test_rows_of_other_settings_are_run_again(world):
    sums = dict(tower=world.tower.fingerprint[:12], mask_sha256=mask_sha256(hidden_targets(world, 0.1) != UNKNOWN)[:16])
    old, new = (pd.DataFrame([cell('coop', settings=s, **sums)]) for s in ('other', settings_sha256('coop', 'scenes')))
    assert missing_cells(old, world, ['coop'], [0.1], [0]) == [('coop', 0.1, 0)] and not missing_cells(
        new, world, ['coop'], [0.1], [0]
    )


def test_mean_spread_and_margin_by_hand():
    table = pd.DataFrame([
        cell('trmml', value=80.0),
        cell('trmml', seed=1, value=84.0),
        cell('coop', value=79.0),
        cell('coop', seed=1, value=79.0),
        cell('pvlr', value=60.0),
        cell('trmml', value=90.0, selection='val'),
        cell('zero_shot', value=70.0, epochs=0),
    ])
    summary = summarise(table)
    assert summary.loc[('trmml', '0.1')].tolist() == pytest.approx([82.0, np.sqrt(8), 2])
    assert summarise(table, selection='selected').loc[('trmml', '0.1'), 'mean'] == 90.0
    assert summarise(table, selection='selected').loc[('zero_shot', '0.1'), 'mean'] == 70.0
    row = margins(summary).loc['0.1']
    assert (row.best_other, row.margin) == ('coop', 3.0) and row.error == pytest.approx(2.0)
    assert wide(summary).loc['trmml', '0.1'] == '82.0 ± 2.8' and wide(summary).loc['pvlr', '0.1'] == '60.0'


# -- the job


def test_lists_on_the_command_line():
    assert split_specs('coop trmml:lr=1e-4,distill=none, pvlr') == ['coop', 'trmml:lr=1e-4,distill=none', 'pvlr']
    assert split_specs('ablations') == list(ABLATIONS.values())
    assert split_specs('released') == [release.spec for release in RELEASES.values()]
    assert split_specs(','.join(split_specs('released'))) == split_specs('released')
    assert split_knowns('0.1,single 1') == [0.1, 'single', 1.0] and split_seeds('3, 4') == [3, 4]
    for wrong, said in (
        (lambda: split_knowns('10'), "'10'"),
        (lambda: split_seeds('a'), 'a'),
        (lambda: CompareJob(methods='x'), 'x'),
    ):
        with pytest.raises(ValueError, match=said):
            wrong()


def test_the_job_leaves_a_table_and_all_settings(tmp_path):
    job = CompareJob(
        limit=40,
        methods='linear_ignore:epochs=1',
        known='0.5',
        seeds='0',
        cache=str(tmp_path / 'c'),
        out=str(tmp_path / 'r' / 't.csv'),
    )
    table = compare_job(job, progress=False)
    assert (
        set(table['selection']) == {'last', 'val'}
        and set(table['split']) == {'test'}
        and set(table['clip']) == {'tiny'}
    )
    config = json.loads((tmp_path / 'r/configs/t/linear_ignore_epochs=1/0.5.json').read_text())
    assert config['method'] == 'linear, ignore unknown'
    assert config['training']['epochs'] == 1 and config['mask_sha256'].startswith(table.mask_sha256.iloc[0])
    rebuilt = METHODS['linear_ignore'].config(**config['method_config'])
    assert rebuilt == configure('linear_ignore')[0].__class__(**config['method_config'])


def test_published_masks_are_read_and_missing_ones_named(tmp_path):
    train = scenes_dataset('train', 12)
    mask = bernoulli_mask(train.truth.shape, 0.3)
    write_mask_file(tmp_path / 'train_proportion_0.3.txt', train.image_ids, np.where(mask, train.truth, UNKNOWN))
    found = published_masks(tmp_path, train, [0.3, 1.0, 'single'])
    assert list(found) == [0.3] and ((found[0.3] != UNKNOWN) == mask).all()
    with pytest.raises(JobError, match='_0.4.txt'):
        published_masks(tmp_path, train, [0.4])


def test_the_job_takes_views_and_a_part_to_choose_on(tmp_path):
    job = CompareJob(
        limit=40,
        methods='linear_ignore:epochs=1',
        known='0.5',
        cache=str(tmp_path / 'c'),
        out=str(tmp_path / 't.csv'),
        views='plain+flip',
        tune=0.25,
    )
    table = compare_job(job, progress=False)
    assert set(table['split']) == {'holdout'} and set(table['views']) == {'plain+flip'}
    with pytest.raises(
        CompareError, match='choose another file'
    ):  # rows on images set aside and rows to report do not share a table
        compare_job(replace(job, tune=None), progress=False)


def test_what_a_method_knows_of_hidden_labels_by_hand(world):
    "Three images, one category; the third is known and must not count."

    class Fixed(Method):
        completes = True

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, features):
            from trmml_nb.method.contract import MethodOutput

            return MethodOutput(torch.tensor([[3.0], [2.0], [-9.0], [1.0], [-1.0]]), None)

        def complete(self, output, targets, state):
            from trmml_nb.method.contract import PseudoLabels

            filled = torch.where(targets == UNKNOWN, (output.logits > 1.5).float(), targets.float())
            return PseudoLabels(filled, torch.ones_like(filled))

    class Five:
        def __len__(self):
            return 5

        def batch(self, rows, device=None):
            return None

    targets, truth = np.array([[-1], [-1], [1], [-1], [-1]]), np.array([[1], [0], [1], [1], [0]])
    found = unknown_quality(Fixed(), Five(), targets, truth)
    assert found['unknown_P70'] == pytest.approx(200 / 3)  # both hidden present ones among the first three
    assert (found['pseudo_precision'], found['pseudo_recall'], found['probability_precision']) == (50, 50, 100)
    assert unknown_quality(Fixed(), Five(), truth, truth) == {}
    many = [np.tile(each, (60, 1)) for each in (targets, truth)]  # more than a batch: pieces are put together in order

    class Many(Five):
        def __len__(self):
            return 300

        def batch(self, rows, device=None):
            return rows

    class Repeated(Fixed):
        def forward(self, rows):
            from trmml_nb.method.contract import MethodOutput

            return MethodOutput(super().forward(None).logits[rows % 5], None)

    assert unknown_quality(Repeated(), Many(), *many) == pytest.approx(found)
    both = run_cell(world, 'trmml:epochs=1', 0.5)
    assert 0 < both[0]['evidence_P70'] <= 100 and 'evidence_P70' not in both[1]
