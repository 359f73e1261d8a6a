"""Faults that the tests of single modules do not try: malformed tables by the dozen, two trainings in one folder,
clocks that are wrong."""

import ast
import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.stores import Slow, contents, in_child, make_tower
from typer.testing import CliRunner

from trmml_nb import io as files
from trmml_nb.cli import app, show_result, with_messages
from trmml_nb.data.dataset import open_image, scenes_dataset
from trmml_nb.errors import DataError, TrainingError, TrmmlError
from trmml_nb.method.scores import MatchingError, prior_bias
from trmml_nb.towers import encode as store_building
from trmml_nb.towers.views import StoreError
from trmml_nb.training.trainer import read_checkpoint
from trmml_nb.yours.calibration import CalibrationError, folds
from trmml_nb.runs.options import JobError, TrainJob
from trmml_nb.runs.train import alone_in, train_job
from trmml_nb.data.own_data import csv_dataset
from trmml_nb.towers.encode import encode_dataset
from trmml_nb.towers.tower import load_tower

TESTS = Path(__file__).parent
NOTES = TESTS.parent / 'nbs' / 'library' / 'faults'
HEADER, ROWS = ['image', 'cat', 'dog'], [['a.png', '1', ''], ['b.png', '0', '1'], ['c.png', '', '0']]


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    for name, _, _ in ROWS:
        Image.new('RGB', (8, 8)).save(folder / name)
    return folder


def text(rows):
    return '\n'.join(','.join(row) for row in rows) + '\n'


def bad_cell(draw):
    rows, at, column = [HEADER, *map(list, ROWS)], draw(st.integers(1, 3)), draw(st.integers(1, 2))
    rows[at][column] = draw(
        st.sampled_from(['2', '-2', 'maybe', '0.5', '1e9', 'inf', '=1+1', '<b>1</b>', '１x', '--', 'None1', '\x07'])
    )
    return text(rows).encode(), at + 1


def wrong_count(draw):
    rows, at = [HEADER, *map(list, ROWS)], draw(st.integers(1, 3))
    rows[at] = (
        rows[at][: draw(st.integers(1, 2))] if draw(st.booleans()) else rows[at] + ['1'] * draw(st.integers(1, 3))
    )
    return text(rows).encode(), at + 1


def same_image_twice(draw):
    rows, at = [HEADER, *map(list, ROWS)], draw(st.integers(2, 3))
    rows[at][0] = rows[1][0]
    return text(rows).encode(), at + 1


def image_that_is_not_there(draw):
    rows, at = [HEADER, *map(list, ROWS)], draw(st.integers(1, 3))
    rows[at][0] = draw(
        st.sampled_from([
            'd.png',
            '',
            '../../etc/passwd',
            '/etc/passwd',
            '.',
            'a.png/b.png',
            'x' * 300,
            '\\\\server\\share.png',
        ])
    )
    return text(rows).encode(), at + 1


def bad_header(draw):
    header = draw(
        st.sampled_from([
            ['image', 'cat', 'cat'],
            ['image', 'cat', ''],
            ['image'],
            ['cat', 'dog', 'image'],
            ['', '', ''],
        ])
    )
    return text([header, *[row[: len(header)] for row in ROWS]]).encode(), None


def not_a_table(draw):
    return draw(
        st.sampled_from([
            b'',
            b'\n\n',
            b'\x00\x01\x02\x03',
            b'\xff\xfe\x00',
            text([HEADER]).encode(),
            b'image,cat\n"a.png,1\n',
            b'PK\x03\x04zip',
            text([HEADER, *ROWS]).encode('utf-16'),
            'image,cat\na.png,1\n\udcff'.encode('utf-8', 'surrogateescape'),
        ])
    ), None


KINDS = [bad_cell, wrong_count, same_image_twice, image_that_is_not_there, bad_header, not_a_table]


@st.composite
def malformed(draw):
    kind = draw(st.sampled_from(KINDS))
    return kind.__name__, *kind(draw)


@pytest.mark.fault(
    'damaged or foreign files',
    'malformed tables of labels, by the hundred',
    'refused with file and row',
)
@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(case=malformed())
def test_malformed_label_files_are_refused_with_file_and_row(case, photos):
    "Never a traceback from inside a dependency, never a silent repair; the row is named wherever there is one."
    kind, content, row = case
    path = photos / 'labels.csv'
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        csv_dataset(path, photos)
    said = str(caught.value)
    assert 'labels.csv' in said, said
    assert row is None or f'line {row}' in said or f'row {row}' in said, (kind, content, said)


def test_the_table_itself_is_right(photos):
    "Else the variations above would be refused for another reason."
    path = photos / 'right.csv'
    path.write_text(text([HEADER, *ROWS]))
    assert csv_dataset(path, photos).targets.tolist() == [[1, -1], [0, 1], [-1, 0]]


# -- two trainings in one folder


@pytest.mark.fault(
    'two at once',
    'two trainings in one folder',
    'the second is kept out; a killed one keeps nobody out',
)
def test_a_second_training_is_kept_out_and_a_killed_one_keeps_nobody_out(tmp_path):
    folder = tmp_path / 'run'
    code = (
        'import sys, time\nfrom pathlib import Path\nfrom trmml_nb.runs.train import alone_in\n'
        f'with alone_in(Path({str(folder)!r})):\n    print("in", flush=True)\n    time.sleep(60)\n'
    )
    other = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == 'in\n'
        with pytest.raises(JobError, match='another process is training there'):
            train_job(TrainJob(limit=20, epochs=1, out=str(folder), cache=str(tmp_path / 'c')), progress=False)
        assert not list(folder.iterdir())  # nothing was written into the other's folder
    finally:
        other.kill(), other.wait()
    with alone_in(folder):
        pass


@pytest.mark.fault(
    'overwriting', 'a training that is refused after its folder was claimed', 'neither folders nor locks stay'
)
def test_a_refused_training_leaves_neither_folder_nor_lock(tmp_path):
    "The tower does not exist: that is known only after the folder was claimed. A folder that was there before stays."
    (tmp_path / 'there').mkdir()
    for out in (tmp_path / 'new' / 'and' / 'deep', tmp_path / 'there'):
        with pytest.raises(TrmmlError):
            train_job(TrainJob(limit=5, clip='local-dir:/no/such/tower', out=str(out)), progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ['there'] and not list((tmp_path / 'there').iterdir())


# -- somebody who was stopped, and streams that are closed


@pytest.mark.fault(
    'two at once',
    'a builder that was stopped, and not killed',
    'the next says who it is, since when and how to go on, and goes on by itself',
)
@pytest.mark.young
def test_who_is_waited_for_is_told(tmp_path, monkeypatch):
    "A builder that was stopped (SIGSTOP) holds its shard: the next says who, since when and how to go on, and goes on."
    tower, data = make_tower(), scenes_dataset('test', 8)
    whole = encode_dataset(tower, data, tmp_path / 'whole', shard_size=4, progress=False)
    child = in_child(
        encode_dataset, tower, Slow(data, tmp_path / 'note', 0.2), tmp_path / 'c', shard_size=4, progress=False
    )
    while not list((tmp_path / 'c').glob('.locks/*.00000.lock.who')):
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGSTOP)
    monkeypatch.setattr(store_building, 'SILENT_FOR', 0.5)
    threading.Timer(3, os.kill, (child.pid, signal.SIGCONT)).start()
    with pytest.warns(
        UserWarning, match=rf'process {child.pid} on .*, since .*\d{{4}}; .*kill -CONT {child.pid}'
    ) as told:
        store = encode_dataset(tower, data, tmp_path / 'c', shard_size=4, progress=False)
    child.join()
    assert child.exitcode == 0 and len([w for w in told if 'waiting for' in str(w.message)]) == 1
    assert contents(store.folder) == contents(whole.folder) and not list((tmp_path / 'c' / '.locks').iterdir())


@pytest.mark.fault('two at once', 'a lock that is held for long', 'who holds it is told')
def test_a_lock_that_is_waited_for_says_who_holds_it(tmp_path, monkeypatch):
    monkeypatch.setattr(files, 'SILENT_FOR', 0.1)
    lock, held, go = tmp_path / '.a.lock', threading.Event(), threading.Event()

    def hold():
        with files.alone(lock):
            held.set(), go.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20), threading.Timer(0.5, go.set).start()
    with pytest.warns(UserWarning, match=f'waiting for process {os.getpid()} on'):
        with files.alone(lock, wait=None):
            pass
    thread.join()
    assert not list(tmp_path.iterdir())


@pytest.mark.fault('stopped in the middle', 'standard error is closed (`2>&-`)', 'the training goes on')
def test_training_goes_on_where_standard_error_is_closed(tmp_path):
    "`trmml train 2>&-`: its bars and notes go nowhere, and no file gets what was meant for it."
    words = f"train --limit 12 --epochs 1 --method trmml:ffn_dim=32 --out {tmp_path / 'run'} --cache {tmp_path / 'c'}"
    code = 'from trmml_nb.cli import main; main()'
    done = subprocess.run(['bash', '-c', f'{sys.executable} -c "{code}" {words} 2>&-'], capture_output=True, text=True)
    assert done.returncode == 0 and 'zero-shot' in done.stdout
    assert json.loads((tmp_path / 'run/metrics.json').read_text(encoding='utf-8'))['epochs'] == 1


# -- full disks


@pytest.mark.fault(
    'disk and clock', 'a disk that is full while a file is written or moved', 'the old file stays, and no part'
)
@pytest.mark.parametrize('fails', ['write', 'rename'])
def test_a_write_that_fails_leaves_the_old_file_and_no_part(tmp_path, monkeypatch, fails):
    (tmp_path / 'a.json').write_text('{}', encoding='utf-8')

    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    if fails == 'rename':
        monkeypatch.setattr(files.os, 'replace', full)
    else:
        real = open
        monkeypatch.setattr(files, 'open', lambda *a: _Full(real(*a)), raising=False)
    with pytest.raises(OSError, match='No space left'):
        files.write_json(tmp_path / 'a.json', dict(x=1))
    assert [(p.name, p.read_text(encoding='utf-8')) for p in tmp_path.iterdir()] == [('a.json', '{}')]


class _Full:
    "A file on a disk that fills up after the first bytes."

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def writelines(self, pieces):
        self.file.write(next(iter(pieces))[:3])
        raise OSError(errno.ENOSPC, 'No space left on device')


# -- words that help


@pytest.mark.fault('stopped in the middle', 'Ctrl-C in any command', 'how to go on with this very command')
@pytest.mark.parametrize(
    'name, said',
    [('train', '--resume'), ('photos', 'same command'), ('compare', 'same command'), ('encode', 'same command'),
     ('predict', 'nothing was written')],
)  # fmt: skip
def test_advice_after_an_interruption_fits_the_command(name, said):
    import typer

    def stopped():
        raise KeyboardInterrupt

    stopped.__name__ = name
    toy = typer.Typer()
    toy.command()(with_messages(stopped))
    done = CliRunner().invoke(toy, [])
    assert done.exit_code == 130 and said in done.output
    options = CliRunner().invoke(app, [name, '--help']).output
    assert ('--resume' in done.output) == (name == 'train') and (name != 'train' or '--resume' in options)


@pytest.mark.fault('hostile files', '`[bold]` and `[/x]` in names', 'shown as they are')
def test_names_are_shown_as_they_are(capsys):
    odd = ['[bold]', '[/x]', ':smile:', '[red]a[/red]']
    show_result(
        dict(data='[/x]', split='[bold]', images=3, zero_shot_mAP=1.0, zero_shot_pixel_mAP=2.0, mAP=3.0, CF1=4.0,
             OF1=None, title='[b]TRM[/y]', classes_left_out=4, left_out=odd)
    )  # fmt: skip
    shown = capsys.readouterr().out
    assert all(word in shown for word in (*odd, '[/x]/[bold]', '[b]TRM[/y]'))


@pytest.mark.fault(
    'damaged or foreign files', 'a file that is whole, and too large for the memory', 'told as that, and not as damage'
)
def test_full_memory_is_not_told_as_damage(tmp_path, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    picture, checkpoint = tmp_path / 'a.png', tmp_path / 'checkpoint.safetensors'
    Image.new('RGB', (8, 8)).save(picture)
    checkpoint.write_bytes(b'\x02\0\0\0\0\0\0\0{}')
    monkeypatch.setattr('trmml_nb.data.dataset._to_rgb', full)
    with pytest.raises(DataError, match='8 x 8 pixels are too large for the memory'):
        open_image(picture)
    monkeypatch.setattr('trmml_nb.training.trainer.load', full)
    checkpoint.write_bytes(b'\x14\0\0\0\0\0\0\0{"__metadata__": {}}')
    with pytest.raises(TrainingError, match='nothing is said against the file'):
        read_checkpoint(checkpoint)


def test_numbers_in_messages_are_the_ones_that_are_wrong(tmp_path, monkeypatch):
    with pytest.raises(CalibrationError, match='0 images with a label .*label some more'):
        list(folds(0, 2))
    with pytest.raises(CalibrationError, match='4 folds of 3 images with a label .*expected 2 to 3'):
        list(folds(3, 4))
    with pytest.raises(MatchingError, match='1 of 3 cosines are no finite numbers'):
        prior_bias(torch.tensor([0.1, float('nan'), 0.2]), 10.0, 0.5)
    monkeypatch.setattr(store_building.shutil, 'disk_usage', lambda _: type('', (), dict(free=0)))
    with pytest.raises(StoreError, match='need 2.93 KiB and 0 bytes are free'):
        store_building.require_space(tmp_path, 3000)


# -- stores beside ours

VALUES = (None, True, -1, 1e9, '', 'x', [], {}, [None], ['x'], {'x': 1})


@pytest.mark.fault(
    'damaged or foreign files', 'another store in the cache says wrong things', 'the next encoding is as without it'
)
def test_a_wrong_neighbour_spoils_no_encoding(tmp_path):
    "Valid JSON with another value in any field of a store that shares pictures: the next encoding is as without it."
    tower, data = make_tower(), scenes_dataset('test', 4)
    whole = contents(encode_dataset(tower, data, tmp_path / 'whole', progress=False).folder)
    beside = encode_dataset(tower, data.subset([0, 1]), tmp_path / 'c', progress=False).folder
    tried = 0
    for name in ('store.json', 'images.json'):
        good = json.loads((beside / name).read_text(encoding='utf-8'))
        for field in good:
            for value in VALUES:
                (beside / name).write_text(json.dumps(good | {field: value}), encoding='utf-8')
                made = encode_dataset(tower, data, tmp_path / 'c', progress=False).folder
                found = contents(made)
                assert found.keys() == whole.keys() and found['images.json'] == whole['images.json'], (name, field)
                for path in made.iterdir():
                    path.unlink()
                made.rmdir()
                tried += 1
        (beside / name).write_text(json.dumps(good), encoding='utf-8')
    assert tried > 100


@pytest.mark.fault(
    'damaged or foreign files',
    'a store that says wrong things',
    'refused or made anew; what the message says to delete helps',
)
def test_advice_for_a_wrong_store_helps(tmp_path):
    "Another version, or another value in any field: it is read, made anew, or refused, and the advice helps."
    tower, data = make_tower(), scenes_dataset('test', 3)
    folder = encode_dataset(tower, data, tmp_path, progress=False).folder
    whole, refused = contents(folder), 0
    for field in json.loads(whole['store.json']):
        for value in (*VALUES, 99):
            for name, content in whole.items():
                (folder / name).write_bytes(content)
            content = json.loads(whole['store.json'])
            (folder / 'store.json').write_text(json.dumps(content | {field: value}), encoding='utf-8')
            try:
                encode_dataset(tower, data, tmp_path, progress=False)
            except StoreError as error:
                refused += 1
                assert str(folder) in str(error) and re.search('elete .*(folder|file)', str(error)), str(error)
                for path in [*folder.iterdir()]:
                    if 'folder' in str(error) or path.name in str(error):
                        path.unlink()
                encode_dataset(tower, data, tmp_path, progress=False)
            assert len(store_building.FeatureStore(folder)) == 3
    assert refused > 30


# -- clocks


@pytest.mark.fault('disk and clock', 'a clock that is decades off', 'nothing: files are known by content')
@pytest.mark.parametrize('moment', [0, 2**31 + 10**8])
def test_a_clock_that_is_wrong_changes_nothing(tmp_path, moment):
    "What is stored is known by its content: files from 1970 or from 2041 are as good as those of today."
    tower, data = load_tower(), scenes_dataset('train', 5)
    before = encode_dataset(tower, data, tmp_path, progress=False)
    whole = torch.from_numpy(np.asarray(before.dense).copy())
    for path in tmp_path.rglob('*'):
        os.utime(path, (moment, moment))
    written = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
    started = time.time()
    again = encode_dataset(tower, data, tmp_path, progress=False)
    assert torch.equal(torch.from_numpy(np.asarray(again.dense).copy()), whole)
    assert all(
        path.read_bytes() == content and path.stat().st_mtime != pytest.approx(started, abs=60)
        for path, content in written.items()
        if path.suffix == '.safetensors'
    )


def marked():
    "Tests with a mark `fault`: name -> the words of its line that are no formula."
    found = {}
    for path in sorted(TESTS.rglob('test_*.py')):
        for test in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            for mark in getattr(test, 'decorator_list', ()):
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == 'pytest.mark.fault':
                    name = f'{path.relative_to(TESTS).with_suffix("").as_posix()}::{test.name}'
                    found[name] = [a.value if isinstance(a, ast.Constant) else None for a in mark.args]
    return found


def test_the_table_of_faults_is_that_of_the_tests():
    "A line for each marked test, in its own words, with what became of it: nothing in the table is typed."
    told = json.loads((NOTES / 'tests.json').read_text(encoding='utf-8'))
    tests = marked()
    assert len(tests) > 60 and told.keys() == tests.keys(), (
        'run: python -m pytest --faults=nbs/library/faults/tests.json'
    )
    for name, words in tests.items():
        assert len(words) == 3
        for word, key in zip(words, ('group', 'fault', 'then')):
            assert word in (None, told[name][key]), f'{name}: {key}'
        assert told[name]['outcome'] in ('passed', 'skipped', 'not noted yet'), name
    cells = json.loads((NOTES.parent / '05_faults.ipynb').read_text(encoding='utf-8'))['cells']
    assert not re.search(r'test_\w+::|::test_', ''.join(line for cell in cells for line in cell['source']))


def test_campaigns_found_nothing_that_must_not_happen():
    "What the two scripts noted: trials and kills enough, and nothing raw, silent or hanging."
    fuzzed = json.loads((NOTES / 'fuzz.json').read_text(encoding='utf-8'))
    total = {
        k: sum(row[k] for row in fuzzed['outcomes'].values()) for k in ('refused', 'read', 'raw', 'silent', 'hang')
    }
    assert sum(total.values()) == fuzzed['trials'] >= 3000 and not (total['raw'] or total['silent'] or total['hang'])
    flipped = fuzzed['flips']
    assert len(flipped) >= 17 and all(sum(row.values()) >= 200 for row in flipped.values())
    assert not any(row['raw'] or row['silent'] or row['hang'] for row in flipped.values())
    killed = json.loads((NOTES / 'kills.json').read_text(encoding='utf-8'))
    assert sum(kind['kills'] for kind in killed.values()) >= 100 and {'training', 'own_photographs'} <= killed.keys()
