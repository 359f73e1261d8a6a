"Single positive labels: one rule for all prepared benchmarks, and lists from files, in a training and in a comparison."

import numpy as np
import pandas as pd
import pytest
from helpers.benchmarks import flickr, make, put, served, tiny_cub, tiny_nus_official, tiny_voc, wider_coco

from trmml_nb.runs.compare_job import CompareJob, compare_job, make_world, published_masks
from trmml_nb.runs.options import JobError, TrainJob
from trmml_nb.runs.sets import hide_labels, load_sets
from trmml_nb.runs.train import train_job
from trmml_nb.data.labels import ABSENT, PRESENT, UNKNOWN, LabelError, mask_sha256
from trmml_nb.data.mask_files import read_mask_file, write_mask_file
from trmml_nb.data.prepared import prepared_dataset, read_provenance, single_positive_list
from trmml_nb.runs.use import training_set


def coles(truth, order):
    "Cole's rule, rows in the order of the code, present ones shuffled and the first kept; absent ones too."
    rng, targets = np.random.RandomState(1200), np.full(truth.shape, UNKNOWN)
    for row in order:
        present, absent = np.flatnonzero(truth[row] == PRESENT), np.flatnonzero(truth[row] == ABSENT)
        rng.shuffle(present)
        rng.shuffle(absent)
        targets[row, present[:1]] = PRESENT
    return targets


@pytest.fixture(params=['coco2014', 'voc2012', 'nuswide-official', 'cub200'])
def folder(request, server, tmp_path):  # noqa: F811
    if request.param == 'nuswide-official':
        files = tiny_nus_official()
        server.files.update(files)
        return make(
            served(request.param, files, server, categories=2, images=dict(train=3, test=2)),
            tmp_path / 'data',
            flickr(tmp_path / 'shelf'),
        )
    made = dict(coco2014=wider_coco, voc2012=lambda: tiny_voc('2012'), cub200=tiny_cub)[request.param]()
    return make(put(server, request.param, made), tmp_path / 'data')


def test_every_benchmark_has_coles_list_and_both_commands_use_it(folder, tmp_path):
    data = prepared_dataset(folder)
    order = (
        sorted(range(len(data)), key=lambda i: str(int(data.image_ids[i][-12:])))
        if folder.name == 'coco2014'
        else range(len(data))
    )
    expected = coles(data.truth, order)
    record = read_provenance(folder)['masks'][0]
    assert record['sha256'] == mask_sha256(expected == PRESENT) and record['split'] == 'train'
    asked = TrainJob(data=str(folder), single_positive=True)
    assert np.array_equal(hide_labels(load_sets(asked)[0], asked, asked)[0].targets, expected)
    world = make_world(CompareJob(data=str(folder), known='single', cache=str(tmp_path / 'c')), progress=False)
    assert np.array_equal(world.masks['single'], expected)
    if folder.name == 'coco2014':
        assert not np.array_equal(expected, coles(data.truth, range(len(data)))), 'the order of rows decides'


def other_list(folder, path):
    "A list from elsewhere: the last present label of each image, lines in another order, and an image too many."
    data = prepared_dataset(folder)
    targets = np.full(data.truth.shape, UNKNOWN)
    for i, row in enumerate(data.truth):
        targets[i, np.flatnonzero(row == PRESENT)[-1:]] = PRESENT
    ids = [*data.image_ids[::-1], 'another']
    write_mask_file(path, ids, np.concatenate([targets[::-1], targets[:1]]))
    return targets


def test_a_list_file_goes_before_the_benchmarks_own(folder, tmp_path):
    (tmp_path / 'lists').mkdir()
    path = tmp_path / 'lists' / 'scpnet_single.txt'
    targets = other_list(folder, path)
    world = make_world(
        CompareJob(data=str(folder), known='single', masks=str(path.parent), cache=str(tmp_path / 'c')), progress=False
    )
    assert np.array_equal(world.masks['single'], targets)
    with pytest.raises(
        LabelError, match="'another' was not asked for"
    ):  # a single training takes a file for exactly its images
        asked = TrainJob(data=str(folder), mask=str(path))
        hide_labels(load_sets(asked)[0], asked, asked)
    text = path.read_text().splitlines()
    exact = tmp_path / 'exact.txt'
    exact.write_text('\n'.join(text[:-1]) + '\n')
    asked = TrainJob(data=str(folder), mask=str(exact))
    hidden, how = hide_labels(load_sets(asked)[0], asked, asked)
    assert np.array_equal(hidden.targets, targets) and how == 'file exact.txt'


def test_lists_that_are_none(folder, tmp_path):
    data, lists = prepared_dataset(folder), tmp_path / 'lists'
    lists.mkdir()
    assert published_masks(lists, data, ['single']) == {}
    write_mask_file(lists / 'a_single_positive.txt', data.image_ids, data.truth)
    with pytest.raises(
        JobError, match=r'a_single_positive\.txt: image id .* has more than one present label, or an absent one'
    ):
        published_masks(lists, data, ['single'])
    other_list(folder, lists / 'b_single.txt')
    with pytest.raises(JobError, match='2 files end in _single.txt or _single_positive.txt, expected one'):
        published_masks(lists, data, ['single'])
    (lists / 'a_single_positive.txt').unlink()
    (lists / 'b_single.txt').write_text('nobody' + ' 0' * len(data.class_names) + '\n')
    with pytest.raises(LabelError, match='image ids have no line'):
        published_masks(lists, data, ['single'])


def test_a_cut_set_reads_its_lines_of_a_whole_file(folder, tmp_path):
    "`--limit` with published masks: the lines of the images that are left out are no mistake then, and else they are."
    data = prepared_dataset(folder)
    write_mask_file(tmp_path / 'all_0.5.txt', data.image_ids, data.truth)
    few = data.subset(range(1))
    assert np.array_equal(published_masks(tmp_path, few, [0.5], cut=True)[0.5], data.truth[:1])
    with pytest.raises(LabelError, match='is it the list of another split'):
        published_masks(tmp_path, few, [0.5])


def test_from_the_list_to_a_table_and_to_a_run(server, tmp_path):  # noqa: F811
    "The checksum of Cole's list stands in the table of a comparison and in the metrics of a run."
    folder = make(put(server, 'coco2014', wider_coco()), tmp_path / 'data')
    table = compare_job(
        CompareJob(
            data=str(folder),
            methods='zero_shot',
            known='single',
            cache=str(tmp_path / 'c'),
            out=str(tmp_path / 't.csv'),
        ),
        progress=False,
    )
    listed = read_mask_file(single_positive_list(folder, 'train'), prepared_dataset(folder).image_ids)
    assert (
        pd.read_csv(tmp_path / 't.csv', dtype=str)['mask_sha256'].tolist()
        == table['mask_sha256'].tolist()
        == [mask_sha256(listed == PRESENT)[:16]]
    )
    with pytest.warns(UserWarning, match='known labels'):
        run = train_job(
            TrainJob(
                data=str(folder), single_positive=True, epochs=1, out=str(tmp_path / 'run'), cache=str(tmp_path / 'c')
            ),
            progress=False,
        )
    assert np.array_equal(training_set(run).targets, listed)
