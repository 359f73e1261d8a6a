"What `trmml prepare` made can be read, trained on, measured, completed and compared, by name or by folder."

import hashlib
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from helpers.benchmarks import make, put, tiny_coco, tiny_vg, tiny_voc
from typer.testing import CliRunner

from trmml_nb.cli import app
from trmml_nb.io import JSON_SEAL, read_json, write_json
from trmml_nb.runs.compare_job import CompareJob, make_world, selection_set
from trmml_nb.runs.options import JobError, TrainJob
from trmml_nb.runs.sets import hide_labels, load_sets
from trmml_nb.runs.train import train_job
from trmml_nb.data.labels import PRESENT, UNKNOWN, bernoulli_mask, mask_sha256
from trmml_nb.data.prepared import (
    PrepareError,
    default_splits,
    find_prepared,
    prepared_dataset,
    read_provenance,
    single_positive_list,
)
from trmml_nb.runs.predict import predict_job
from trmml_nb.runs.use import complete_job, evaluate_job, training_set


@pytest.fixture
def coco(server, tmp_path):
    return make(put(server, 'coco2014', tiny_coco()), tmp_path / 'data')


@pytest.fixture
def vg(server, tmp_path):
    files, counts = tiny_vg()
    shelf = tmp_path / 'shelf'
    shelf.mkdir()
    (shelf / 'vg_category_500_labels_index.json').write_bytes(files['vg_category_500_labels_index.json'])
    (shelf / 'vg_category_names.txt').write_text(''.join(f'thing {chr(97 + i % 26)}{i}\n' for i in range(500)))
    return make(put(server, 'vg200', (files, counts)), tmp_path / 'data', shelf)


@pytest.fixture
def voc(server, tmp_path):
    return make(put(server, 'voc2007', tiny_voc()), tmp_path / 'data')


def job(place, **more):
    return TrainJob(**{**dict(epochs=1, out=str(place / 'run'), cache=str(place / 'cache'), known=1.0), **more})


def test_found_by_name_by_folder_and_after_a_move(coco, tmp_path):
    data = coco.parent
    assert find_prepared('coco2014', data) == find_prepared('coco2014', coco) == find_prepared(str(coco)) == coco
    assert find_prepared('vg200', coco) is None and find_prepared('csv') is None
    assert (
        TrainJob(data=str(coco)) == TrainJob(data='coco2014', root=str(data))
        and TrainJob(data=str(coco)).data == 'coco2014'
    )
    for wrong, said in (
        (dict(data='vg200', root=str(data)), 'trmml prepare vg200 --root'),
        (dict(data='vg200'), 'with --root DIR'),
        (dict(data='mnist'), 'expected scenes, csv'),
    ):
        with pytest.raises(JobError, match=said):
            TrainJob(**wrong)


def test_coco_from_training_to_completed_labels(coco, tmp_path):
    "Train, evaluate, predict and complete on a prepared COCO; then again after the data moved."
    run = train_job(
        job(tmp_path, data='coco2014', root=str(coco.parent), train_split='train_all', known=0.5), progress=False
    )
    config, metrics = (json.loads((run / f'{n}.json').read_text()) for n in ('config', 'metrics'))
    assert (
        config['job']['data'] == 'coco2014'
        and config['class_names'] == ['person', 'cat', 'dog']
        and config['data']['images'] == 4
    )
    assert metrics['mask_sha256'] == mask_sha256(bernoulli_mask((4, 3), 0.5)) and (
        metrics['data'],
        metrics['split'],
    ) == ('COCO 2014', 'val')
    moved = shutil.move(coco.parent, tmp_path / 'moved')
    with pytest.raises(JobError, match='give the folder where it is now with --root'):
        evaluate_job(run, cache=str(tmp_path / 'cache'), progress=False)
    again = evaluate_job(run, root=str(moved), cache=str(tmp_path / 'cache'), progress=False)
    assert again['mAP'] == pytest.approx(metrics['mAP'])
    assert (
        evaluate_job(run, split='val_all', root=str(moved), cache=str(tmp_path / 'cache'), progress=False)['images']
        == 2
    )
    table, _ = predict_job(
        run, moved / 'coco2014', tmp_path / 's.csv', cache=str(tmp_path / 'cache'), progress=False, split='train_all'
    )
    assert len(pd.read_csv(table)) == 4
    table, counts = complete_job(
        run, None, tmp_path / 'c.csv', str(moved), cache=str(tmp_path / 'cache'), progress=False
    )
    seen, done = training_set(run, str(moved)), pd.read_csv(table)[['person', 'cat', 'dog']].to_numpy()
    assert counts['given'] == seen.known_mask.sum() and (done[seen.known_mask] == seen.targets[seen.known_mask]).all()


def test_training_set_that_changed_since(coco, tmp_path):
    run = train_job(job(tmp_path, data=str(coco), known=0.5), progress=False)
    config = json.loads((run / 'config.json').read_text())
    config['data']['mask_sha256'] = 'f' * 64
    config.pop(JSON_SEAL)
    (run / 'config.json').write_text(json.dumps(config))
    with pytest.raises(JobError, match='they were changed since'):
        training_set(run)


def test_vg200_uses_train_and_test_and_names(vg, tmp_path):
    run = train_job(job(tmp_path, data=str(vg)), progress=False)
    metrics = json.loads((run / 'metrics.json').read_text())
    assert (metrics['data'], metrics['split'], metrics['images']) == ('VG-200', 'test', 1) and metrics[
        'classes_left_out'
    ] == 200  # of one image each category is never present, or never absent


def test_single_positives_come_from_the_list_of_the_benchmark(coco):
    "COCO's rows are visited in Cole's order, so the list differs from a draw in row order."
    asked = TrainJob(data=str(coco), single_positive=True)
    hidden, how = hide_labels(load_sets(asked)[0], asked, asked)
    assert (
        single_positive_list(coco, 'train').name in how
        and ((hidden.targets == PRESENT).sum(1) == 1).all()
        and not (hidden.targets == 0).any()
    )
    first = hide_labels(load_sets(TrainJob(data=str(coco), single_positive=True, limit=2))[0], asked, asked)[0]
    assert np.array_equal(first.targets, hidden.targets[:2])


def test_voc_prepared_and_devkit_are_the_same_data(voc, tmp_path):
    prepared, devkit = (
        TrainJob(data='voc2007', root=str(r), train_split='trainval', eval_split='test')
        for r in (voc.parent, voc / 'images' / 'VOCdevkit')
    )
    assert prepared.prepared == voc and devkit.prepared is None
    for a, b in zip(load_sets(prepared), load_sets(devkit)):
        assert np.array_equal(a.truth, b.truth) and a.image_ids == b.image_ids and a.class_names == b.class_names
    run = train_job(job(tmp_path, data=str(voc), train_split='trainval', eval_split='test'), progress=False)
    assert 'mAP_difficult_absent' in json.loads((run / 'metrics.json').read_text())


def test_compare_selects_on_val_only_where_it_is_free(voc, tmp_path):
    def chosen(**more):
        asked = CompareJob(data=str(voc), cache=str(tmp_path / 'c'), **more)
        train, report = load_sets(asked)
        return selection_set(asked, report, train).split

    assert (
        chosen(train_split='train', eval_split='test') == 'val'
        and chosen(train_split='trainval', eval_split='test') == 'test'
        and chosen() == 'val'
    )
    world = make_world(
        CompareJob(data=str(voc), train_split='trainval', eval_split='test', cache=str(tmp_path / 'c')), progress=False
    )
    assert len(world.store) == 3 and world.data == 'PASCAL VOC 2007' and world.select[0] == 'test'


def test_command_line(coco, tmp_path):
    out = tmp_path / 'table.csv'
    done = CliRunner().invoke(
        app,
        [
            'compare',
            '--data',
            str(coco),
            '--methods',
            'zero_shot',
            '--known',
            '1',
            '--out',
            str(out),
            '--cache',
            str(tmp_path / 'c'),
        ],
    )
    assert done.exit_code == 0, done.output
    assert pd.read_csv(out).data.tolist() == ['COCO 2014']
    wrong = CliRunner().invoke(app, ['train', '--data', 'coco2014', '--root', str(tmp_path)])
    assert wrong.exit_code == 1 and 'trmml prepare coco2014' in wrong.output


def sign(folder, **more):
    write_json(folder / 'provenance.json', read_json(folder / 'provenance.json') | more, sealed=True)


@pytest.mark.parametrize('content', ['', '{"name": 1', '[]', '{}', '{"table": null}'])
def test_damaged_provenance_is_named(coco, content):
    (coco / 'provenance.json').write_text(content)
    with pytest.raises(PrepareError, match=r'provenance\.json: damaged'):
        read_provenance(coco)


def test_changed_table_and_wrong_split(coco):
    with pytest.raises(PrepareError, match="no split 'trainval'; its splits are train, val"):
        prepared_dataset(coco, 'trainval')
    text = (coco / 'labels.csv').read_text()
    (coco / 'labels.csv').write_text(text.replace(',1,', ',0,', 1))
    with pytest.raises(PrepareError, match='changed since it was written'):
        TrainJob(data=str(coco)) and load_sets(TrainJob(data=str(coco)))
    (coco / 'labels.csv').unlink()
    with pytest.raises(PrepareError, match='missing or changed'):
        prepared_dataset(coco)


def test_blank_cells_are_unknown_and_numbers_are_no_names(tmp_path, coco):
    sign(coco, splits=dict(all=['train']))
    with pytest.raises(PrepareError, match='say which to train on'):
        default_splits(read_provenance(coco))
    (coco / 'categories.txt').write_text('category 0\ncategory 1\ncategory 2\n')
    with pytest.raises(PrepareError, match='categories.txt: missing or changed'):
        prepared_dataset(coco, 'all')
    sign(coco, beside={})  # as folders that were prepared before the names were signed
    with pytest.warns(UserWarning, match='have no names'):
        data = prepared_dataset(coco, 'all')
    assert len(data) == 3 and not (data.truth == UNKNOWN).any()


@pytest.mark.parametrize(
    'field, value',
    [('title', 3), ('ids', 'number'), ('splits', {'train': 3}), ('splits', ['train']), ('image_root', None)]
    + [('unknown', 'many'), ('masks', {}), ('table', [])],
)
def test_a_provenance_of_another_shape_names_the_field(coco, field, value):
    sign(coco, **{field: value})
    with pytest.raises(PrepareError, match=rf"provenance\.json: damaged \(field '{field}"):
        read_provenance(coco)


def test_paths_of_a_prepared_folder_stay_inside_it(coco, tmp_path):
    sign(coco, image_root='../elsewhere')
    with pytest.raises(PrepareError, match='expected a folder inside'):
        prepared_dataset(coco)
    sign(coco, image_root='images', masks=[dict(split='train', single_positive='../../list.txt')])
    with pytest.raises(ValueError, match='no path inside'):
        single_positive_list(coco, 'train')
    text = (coco / 'labels.csv').read_text(encoding='utf-8').splitlines()
    text[1] = '../../../' + text[1]
    (coco / 'labels.csv').write_text('\n'.join(text) + '\n', encoding='utf-8')
    data = (coco / 'labels.csv').read_bytes()
    sign(coco, masks=[], table=dict(size=len(data), sha256=hashlib.sha256(data).hexdigest()))
    with pytest.raises(ValueError, match=r'labels\.csv, line 2: .*no path inside'):
        prepared_dataset(coco)


def test_names_that_look_like_nothing_or_like_formulas(tmp_path):
    "A category and an image called NA, an image called =x.png: the names that went in come back."
    from trmml_nb.datasets.prepare import LabelTable, write_label_table

    folder, images = tmp_path / 'toy', ['NA', '=x.png', 'nan/-1.png']
    folder.mkdir()
    table = LabelTable(images, ['train', 'train', 'NA'], ['NA', '-word'], np.array([[1, 0], [-1, 1], [0, 1]], np.int8))
    about = dict(name='toy', title='Toy', ids='path', image_root='images', missing=0, unknown=1, masks=[])
    splits = dict(train=['train'], val=['NA'])
    write_json(folder / 'provenance.json', about | dict(splits=splits, table=write_label_table(table, folder)))
    assert b'\n./=x.png' in (folder / 'labels.csv').read_bytes() and b"'-word" in (folder / 'labels.csv').read_bytes()
    train, val = prepared_dataset(folder), prepared_dataset(folder, 'val')
    assert (
        train.class_names == ['NA', '-word'] and train.image_ids == ['NA', '=x.png'] and val.image_ids == ['nan/-1.png']
    )
    assert train.targets.tolist() == [[1, 0], [-1, 1]] and val.targets.tolist() == [[0, 1]]
