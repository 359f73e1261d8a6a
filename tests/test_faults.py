"""Faults that the tests of single modules do not try: malformed tables by the dozen, two trainings in one folder, clocks that are wrong."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.errors import DataError
from trmml_nb.runs.options import JobError, TrainJob
from trmml_nb.runs.train import alone_in, train_job
from trmml_nb.data.own_data import csv_dataset
from trmml_nb.towers.encode import encode_dataset
from trmml_nb.towers.tower import load_tower

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


# -- clocks


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


def test_every_fault_in_the_table_names_a_test():
    "The table of the notebook that lists the faults: each name is a test that exists."
    source = (Path(__file__).parent.parent / 'nbs/library/05_faults.ipynb').read_text(encoding='utf-8')
    named = re.findall(r"'([\w/]+)::(test_\w+)'", source)
    assert len(named) > 30
    for file, name in named:
        assert f'def {name}(' in (Path(__file__).parent / f'{file}.py').read_text(encoding='utf-8'), f'{file}::{name}'


def test_the_table_claims_no_more_kills_than_are_counted():
    "Each row with a number of kills names a test that asks for as many, and the helper counts them."
    source = (Path(__file__).parent.parent / 'nbs/library/05_faults.ipynb').read_text(encoding='utf-8')
    kills = (Path(__file__).parent / 'test_kills.py').read_text(encoding='utf-8')
    claimed = int(re.search(r'KILLS = (\d+)', source)[1])
    rows = re.findall(r"killed at \{KILLS\} random moments'.*?'test_kills::(test_\w+)'", source, re.S)
    assert sorted(rows) == sorted(re.findall(r'^def (test_\w+)', kills, re.M)) and len(rows) >= 4
    assert (
        f'kills={claimed},' in kills
        and len(re.findall(r'[^f] kill_often\(\s*tmp_path', kills)) == len(rows)
        and 'kills=' not in kills.split('def kill_often')[1].split('\n', 1)[1]
    )
    assert 'assert counted >= kills' in kills and claimed >= 30
