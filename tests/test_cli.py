"""The command line as a person meets it: through the installed entry point."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
from helpers import ready
from typer.testing import CliRunner

from trmml_nb.cli import OnDemand, app
from trmml_nb.runs.options import TrainJob


def call(*args):
    return subprocess.run(
        [*ready.python(), '-c', 'from trmml_nb.cli import main; main()', *map(str, args)],
        capture_output=True,
        text=True,
    )


def test_every_field_is_an_option_with_help():
    shown = CliRunner().invoke(app, ['train', '--help'], env={'COLUMNS': '200'}).output
    for f in fields(TrainJob):
        assert '--' + f.name.replace('_', '-') in shown and f.metadata['help'].split('.')[0][:30] in shown, f.name


@pytest.mark.parametrize(
    'args, message',
    [
        (['train', '--data', 'mnist'], 'expected scenes, csv, or a benchmark'),
        (['train', '--known', '0'], 'above 0 and up to 1'),
        (['train', '--clip', 'RN5O', '--limit', '5'], 'RN50'),
        (['evaluate', 'no/such/run'], 'no/such/run'),
        (['train', '--data', 'csv', '--labels', 'no.csv'], 'no.csv'),
    ],
)
def test_one_message_and_status_one(args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 1 and message in result.output and 'Traceback' not in result.output


def test_from_training_to_completed_labels(tmp_path, monkeypatch):
    from trmml_nb.data.dataset import scenes_dataset

    monkeypatch.chdir(tmp_path)
    done = call('train', '--limit', 60, '--epochs', 1, '--out', 'run')
    assert done.returncode == 0, done.stderr
    assert 'zero-shot' in done.stdout and json.loads(Path('run/metrics.json').read_text(encoding='utf-8'))['seed'] == 0
    Path('photos').mkdir()
    data = scenes_dataset('test', 3)
    for i in range(3):
        data.image(i).save(f'photos/{i}.png')
    Path('photos/labels.csv').write_text('image,dog\n0.png,1\n1.png,\n', encoding='utf-8')
    runner = CliRunner()
    for args in (
        ['predict', 'run', 'photos', '--out', 'scores.csv'],
        ['evaluate', 'run', '--out', 'again.json'],
        ['complete', 'run', '--labels', 'photos/labels.csv', '--out', 'completed.csv'],
    ):
        result = runner.invoke(app, args)
        assert result.exit_code == 0, result.output
    assert len(pd.read_csv('scores.csv')) == 3 and list(pd.read_csv('completed.csv').dog)[0] == 1
    assert json.loads(Path('again.json').read_text(encoding='utf-8'))['mAP'] == pytest.approx(
        json.loads(Path('run/metrics.json').read_text(encoding='utf-8'))['mAP']
    )
    again = call('train', '--limit', 60, '--epochs', 1, '--out', 'run')
    assert again.returncode == 1 and 'is not overwritten' in again.stderr and 'Traceback' not in again.stderr


WORDS = {
    'train': [],
    'encode': [],
    'compare': [],
    'photos': ['album', '--labels', 'labels.csv'],
    'check': ['album', '--labels', 'labels.csv'],
    'reproduce': ['voc2007'],
    'evaluate': ['run'],
    'predict': ['run', 'a.png'],
    'inspect': ['run', 'a.png'],
    'complete': ['run', '--out', 'table.csv'],
    'export': ['run'],
    'view': ['run'],
    'review': ['run'],
}
STOP_AT_TORCH = """import sys
class Stop:
    def find_spec(self, name, *_):
        if name == 'torch':
            sys.exit(7)
sys.meta_path.insert(0, Stop())
from trmml_nb.cli import main
main()"""


def test_every_command_that_loads_torch_is_known_here():
    assert set(WORDS) | {'prepare', 'cache'} == set(OnDemand.waiting)


@pytest.mark.parametrize('name', WORDS)
def test_a_word_is_said_before_the_seconds_that_loading_takes(name, tmp_path):
    done = subprocess.run(
        [sys.executable, '-c', STOP_AT_TORCH, name, *WORDS[name]], cwd=tmp_path, capture_output=True, text=True
    )
    does = OnDemand.waiting[name][0].__doc__.strip().splitlines()[0]
    assert (done.returncode, done.stdout, done.stderr) == (7, '', f'loading the library; then: {does}\n')


def test_version():
    assert CliRunner().invoke(app, ['--version']).output.startswith('trmml_nb 0')


def test_encode_says_how_large_it_will_be_and_then_encodes(tmp_path):
    once, runner = ['encode', '--limit', '6', '--cache', str(tmp_path / 'features')], CliRunner()
    planned = runner.invoke(app, [*once, '--dry-run'])
    assert (
        planned.exit_code == 0 and 'scenes/train: 6 images' in planned.output and not (tmp_path / 'features').exists()
    )
    assert runner.invoke(app, once).exit_code == 0 and len(list((tmp_path / 'features').glob('[0-9a-f]*'))) == 2
    assert 'all encoded' in runner.invoke(app, [*once, '--dry-run']).output
