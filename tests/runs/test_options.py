"""What a training can be told."""

import ast
from dataclasses import fields
from pathlib import Path

import pytest

from trmml_nb.data.formats import FORMATS
from trmml_nb.data.cells import CELL_CODES
from trmml_nb.datasets.prepare import BENCHMARKS, PrepareJob
from trmml_nb.datasets.reproduce import ReproduceJob
from trmml_nb.runs import options
from trmml_nb.runs.compare_job import CompareJob
from trmml_nb.errors import MethodError
from trmml_nb.runs.encode_job import EncodeJob
from trmml_nb.runs.options import JobError, TowerChoice, TrainJob
from trmml_nb.towers.store import DTYPES
from trmml_nb.towers.weights import RESIZES
from trmml_nb.yours.photographs import PhotosJob

JOBS = [
    (EncodeJob, options.EncodeOptions),
    (CompareJob, options.CompareOptions),
    (PrepareJob, options.PrepareOptions),
    (ReproduceJob, options.ReproduceOptions),
    (PhotosJob, options.PhotosOptions),
]


@pytest.mark.parametrize(
    'said, message',
    [
        (dict(known=0.1, mask='m'), '--known and --mask'),
        (dict(known=1.5), '--known is 1.5'),
        (dict(data='voc2007'), 'needs --root'),
        (dict(data='csv'), 'needs --labels'),
        (dict(labels='x.csv'), 'belongs to --data csv'),
        (dict(limit=0), '--limit is 0'),
    ],
)
def test_options_that_contradict(said, message):
    with pytest.raises(JobError, match=message):
        TrainJob(**said)


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


# -- each option is written once

# a name that stands in several classes that are no relatives, for it means another thing in each
HOMONYMS = {
    'data': 'a data set of one\'s own or a published one; a benchmark to prepare; a published setting',
    'root': 'where data are; where a benchmark is to be put; where the data of a setting are',
    'labels': 'a table for --data csv; the table beside the photographs',
    'known': 'one share; several shares',
    'batch_size': 'images a step; images a forward pass',
    'workers': 'threads that encode; threads that decode',
    'views': 'to be encoded, one by one; to be averaged',
    'out': 'a run folder; a table; a folder of one\'s own photographs',
    'plan_only': 'of a download; of a comparison',
}


def test_no_option_is_declared_twice():
    "A class may change what it inherits, or take up an option of another group with `borrow`; nobody writes it anew."
    source = ast.parse(Path(options.__file__).read_text(encoding='utf-8'))
    declared = {}
    for node in (n for n in source.body if isinstance(n, ast.ClassDef)):
        for line in node.body:
            if isinstance(line, ast.AnnAssign) and line.value.func.id == 'option':
                declared.setdefault(line.target.id, []).append(node.name)
    twice = {name for name, classes in declared.items() if len(classes) > 1}
    assert twice == HOMONYMS.keys(), {n: declared.get(n) for n in twice ^ HOMONYMS.keys()}
    assert len(declared) > 60 and 'clip' not in twice and declared['device'] == ['Place']


@pytest.mark.parametrize('job, words', JOBS)
def test_a_job_has_the_options_of_its_command_and_no_others(job, words):
    assert issubclass(job, words) and [f.name for f in fields(job)] == [f.name for f in fields(words)]


def test_choices_are_those_that_the_library_knows():
    choices = lambda group, name: next(f for f in fields(group) if f.name == name).metadata['choices']
    assert choices(options.PhotosOptions, 'format') == FORMATS
    assert choices(options.PhotosOptions, 'code') == ('auto', *CELL_CODES)
    assert choices(options.EncodeOptions, 'dtype') == tuple(DTYPES)
    assert {n.partition('-')[0] for n in BENCHMARKS} == set(choices(options.PrepareOptions, 'data'))
