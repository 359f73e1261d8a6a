"""Every command on every kind of run folder: it works, or it says in one line, in the words of the command, what to
do."""

import json
import re
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from trmml_nb.cli import OnDemand, app, as_options
from trmml_nb.data.dataset import scenes_dataset

NAMES = ('dog', 'tree', 'person')
KINDS = ('scenes', 'csv', 'voc', 'a rival', 'photos', 'photos, the tower alone')
COMMANDS = (
    'evaluate',
    'evaluate a table',
    'predict',
    'inspect',
    'complete',
    'complete a table',
    'view',
    'review',
    'export',
    'photos on from it',
    'check on from it',
)
WITHOUT_RUNS = {'train', 'encode', 'compare', 'prepare', 'reproduce', 'cache'}  # commands that take no finished run


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "Twenty-four scenes, three categories: as a folder with a table, and as Pascal VOC."
    place, data = tmp_path_factory.mktemp('matrix'), scenes_dataset('val', 24)
    columns, rng = [data.class_names.index(c) for c in NAMES], np.random.default_rng(0)
    lists = place / 'VOCdevkit/VOC2007/ImageSets/Main'
    lists.mkdir(parents=True)
    (place / 'album').mkdir()
    (lists.parent.parent / 'JPEGImages').mkdir()
    rows = ['image,' + ','.join(NAMES)]
    for i in range(24):
        data.image(i).save(place / 'album' / f'{i}.png')
        data.image(i).save(lists.parent.parent / 'JPEGImages' / f'{i:06}.jpg')
        rows.append(','.join([f'{i}.png', *('' if rng.random() < 0.3 else str(data.truth[i, c]) for c in columns)]))
    (place / 'labels.csv').write_text('\n'.join(rows) + '\n')
    for split, part in dict(train=range(16), val=range(16, 24)).items():
        (lists / f'{split}.txt').write_text(''.join(f'{i:06}\n' for i in part))
        for name, c in zip(NAMES, columns):
            (lists / f'{name}_{split}.txt').write_text(''.join(f'{i:06} {2 * data.truth[i, c] - 1:2d}\n' for i in part))
    return place


def make(kind, place):
    "A finished run, made by the command."
    out, table = str(place / kind), ['--labels', str(place / 'labels.csv')]
    words = dict(
        scenes=['train', '--limit', '24'],
        csv=['train', '--data', 'csv', *table, '--root', str(place / 'album')],
        rival=['train', '--limit', '24', '--method', 'coop'],
        voc=['train', '--data', 'voc2007', '--root', str(place), '--eval-split', 'val', '--known', '0.5'],
        photos=['photos', str(place / 'album'), *table, '--folds', '2'],
        alone=['photos', str(place / 'album'), *table, '--folds', '2', '--model', 'tower'],
    )[kind.split()[-1]]
    done = CliRunner().invoke(app, [*words, '--epochs', '1', '--out', out, '--cache', str(place / 'cache')])
    assert done.exit_code == 0, done.output
    return words


@pytest.fixture(scope='module')
def runs(place):
    "(kind, finished) -> folder."
    found = {}
    for kind in KINDS:
        words = make(kind, place)
        found[kind, True], half = place / kind, place / f'{kind}-half'
        half.mkdir()
        if kind.startswith('photos'):
            (half / 'unfinished.json').write_text(json.dumps(dict(asked=words)))
        else:
            shutil.copy(place / kind / 'config.json', half)
        found[kind, False] = half
    return found


def arguments(command, kind, run, place, out):
    album, table = str(place / 'album'), ['--labels', str(place / 'labels.csv'), '--root', str(place / 'album')]
    return dict(
        zip(
            COMMANDS,
            (
                ['evaluate', run],
                ['evaluate', run, *table],
                ['predict', run, album, '--out', f'{out}/p.csv'],
                ['inspect', run, f'{album}/0.png', '--out', f'{out}/page.html'],
                ['complete', run, '--out', f'{out}/c.csv'],
                ['complete', run, *table, '--out', f'{out}/d.csv'],
                ['view', run, '--no-open'],
                ['review', run, '--no-open'],
                ['export', run, '--out', f'{out}/run.onnx'],
                ['photos', album, *table[:2], '--from', run, '--out', f'{out}/next'],
                ['check', album, *table[:2], '--from', run],
            ),
        )
    )[command]


WORDS_OF_PYTHON = re.compile(r"\w+\(\)|\w_job\b|\w+_dataset\b|\bpass [a-z_]+=|=None|Traceback|\.skipped")
REFUSED = {  # what cannot be, and what is said instead
    ('evaluate', 'photos'): 'was measured by cross-validation',
    ('complete', 'photos'): 'has completed its own table',
}


@pytest.mark.parametrize('finished', [True, False], ids=['finished', 'unfinished'])
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_on_every_kind_of_run(runs, place, tmp_path, monkeypatch, command, kind, finished):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TRMML_CACHE', str(place / 'cache'))
    run = runs[kind, finished]
    before = sorted(p.name for p in run.iterdir())
    done = CliRunner().invoke(app, arguments(command, kind, str(run), place, tmp_path))
    said = REFUSED.get((command, kind.split(',')[0])) if finished else 'the run is not finished'
    if 'on from it' in command and not kind.startswith('photos'):
        said = 'is no run of trmml photos'
    if said is None:
        assert done.exit_code == 0, done.output
    else:
        lines = [line for line in done.stderr.strip().splitlines() if not line.startswith('note:')]
        assert done.exit_code == 1 and len(lines) == 1 and said in lines[0], done.output
        assert lines[0].startswith('error: ') and not WORDS_OF_PYTHON.search(lines[0]) and not list(tmp_path.iterdir())
    assert sorted(p.name for p in run.iterdir()) == before


def test_the_matrix_has_every_command():
    assert set(OnDemand.waiting) == {c.split()[0] for c in COMMANDS} | WITHOUT_RUNS


@pytest.mark.parametrize('kind', KINDS)
def test_no_command_writes_into_a_finished_run_of_another(runs, place, kind):
    "Trained into: a finished run is kept, whatever its kind."
    album = [str(place / 'album'), '--labels', str(place / 'labels.csv')]
    for words in (['train', '--limit', '24'], ['photos', *album]):
        done = CliRunner().invoke(app, [*words, '--out', str(runs[kind, True])])
        assert done.exit_code == 1 and 'is not overwritten' in done.stderr, done.output


def test_advice_is_in_the_words_of_the_command(place, tmp_path):
    "What the library says of its own parameters is said of options."
    album = tmp_path / 'album'
    shutil.copytree(place / 'album', album)
    (album / '3.png').write_bytes(b'no picture')
    shutil.copy(place / 'labels.csv', album)
    for words in (['photos', str(album)], ['check', str(album), '--labels', 'no.csv'], ['predict', 'no/run', 'x.png']):
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 1 and not WORDS_OF_PYTHON.search(done.stderr), done.stderr
    assert '--on-bad skip' in CliRunner().invoke(app, ['photos', str(album)]).stderr
    assert as_options("or pass on_bad='skip' to leave them out (.skipped will list them).").endswith(
        '--on-bad skip to leave them out.'
    )
    assert as_options('a.png,image=3: 1 + 1=2') == 'a.png,image=3: 1 + 1=2'
