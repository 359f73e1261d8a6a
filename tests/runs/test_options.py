"""What a training can be told."""

from dataclasses import fields

import pytest

from trmml_nb.datasets.reproduce import ReproduceJob
from trmml_nb.runs.compare_job import CompareJob
from trmml_nb.errors import MethodError
from trmml_nb.runs.encode_job import EncodeJob
from trmml_nb.runs.options import JobError, TowerChoice, TrainJob
from trmml_nb.towers.weights import RESIZES
from trmml_nb.yours.photographs import PhotosJob


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(known=0.1, mask='m'), '--known and --mask'),
        (dict(known=1.5), '--known is 1.5'),
        (dict(data='voc2007'), 'needs --root'),
        (dict(data='csv'), 'needs --labels'),
        (dict(labels='x.csv'), 'belongs to --data csv'),
        (dict(limit=0), '--limit is 0'),
    ],
)
def test_options_that_contradict(options, message):
    with pytest.raises(JobError, match=message):
        TrainJob(**options)


def test_names_as_papers_write_them_reach_every_method_with_texts():
    assert TrainJob(class_names='papers').method == 'trmml_adaptive:class_names=papers'
    assert TrainJob(class_names='papers', method='pvlr:lr=0.1').method == 'pvlr:lr=0.1,class_names=papers'
    assert TrainJob(class_names='papers', method='query2label').method == 'query2label', 'it reads no text'
    assert TrainJob().method == TrainJob(class_names='spoken').method == 'trmml_adaptive'
    said = CompareJob(methods='zero_shot,query2label,coop:lr=0.1,linear_ignore', class_names='papers').methods
    assert said == (
        'zero_shot:class_names=papers,query2label,coop:lr=0.1,class_names=papers,linear_ignore:class_names=papers'
    )
    asked = ReproduceJob(data='voc2007', class_names='papers', root='.', clip='tiny')
    assert asked.class_names == 'papers' and 'class_names' in {f.name for f in fields(PhotosJob)}
    with pytest.raises(JobError, match="--class-names is 'mine', expected one of spoken, papers"):
        TrainJob(class_names='mine')


def test_every_command_with_a_tower_knows_the_ways_to_squares():
    for job in (TrainJob, CompareJob, EncodeJob, ReproduceJob, PhotosJob):
        assert 'resize' in {f.name for f in fields(job)}, job
    told = next(f.metadata['help'] for f in fields(TowerChoice) if f.name == 'resize')
    assert all(name in told for name in RESIZES)


@pytest.mark.parametrize(
    'options, said',
    [
        (dict(seed=2**64), '--seed is'),
        (dict(seed=-1), '--seed is'),
        (dict(image_size=-64), '--image-size is -64'),
        (dict(image_size=0), '--image-size is 0'),
        (dict(image_size=10**7), '--image-size is 10000000'),
        (dict(out='a\0b'), '--out holds a NUL'),
        (dict(method='trmml:ffn_dim=text'), "ffn_dim is 'text', expected int"),
        (dict(method='trmml:ffn_dim=1.5'), 'ffn_dim is 1.5, expected int'),
        (dict(method='trmml:ffn_dim=1e12'), 'ffn_dim is 1000000000000.0, expected int'),
        (dict(method='trmml:ffn_dim=-1'), 'ffn_dim is -1, expected a whole number from 1'),
        (dict(method='query2label:ffn_dim=-1'), 'ffn_dim is -1, expected a whole number from 1'),
        (dict(method='trmml:lr=fast'), "lr is 'fast', expected float"),
        (dict(method='trmml:query_residual=1'), 'query_residual is 1, expected bool'),
    ],
)
def test_impossible_numbers_and_names_are_refused_before_anything_is_read(options, said):
    with pytest.raises((JobError, MethodError, ValueError), match=said):
        TrainJob(data='csv', labels='no/such/table.csv', **options)


def test_settings_of_every_kind_are_taken():
    from trmml_nb.rivals.registry import ABLATIONS, configure

    for spec in (*ABLATIONS.values(), 'trmml:lr=1,distill_until=None', 'trmml:distill_reach=1', 'coop:init='):
        configure(spec)
