"""Faults of words: names that a machine's own code cannot show or reads wrongly, options that nothing would come of,
files of a person that stand where the program keeps its own."""

import csv
import io
import json
import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from trmml_nb.cli import app, open_streams
from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.data.formats import read_labels
from trmml_nb.data.own_data import named_files
from trmml_nb.data.cells import TableError
from trmml_nb.data.reading import Reading
from trmml_nb.data.listed import cell_parts
from trmml_nb.data.tables import read_sheet
from trmml_nb.datasets.archives import Source, identify
from trmml_nb.datasets.reproduce import ReproduceError, read_setting
from trmml_nb.errors import DataError, RunError, TowerError
from trmml_nb.io import LockError, alone, check_word, csv_bytes, guarded, misread, tell, unguarded, write_json
from trmml_nb.runs.options import JobError, TrainJob
from trmml_nb.runs.predict import checksum, read_records, record_line
from trmml_nb.runs.train import CHECKPOINTS, clear_checkpoints, made_from, same_pictures
from trmml_nb.runs.use import evaluate_job, inspect_job, job_of
from trmml_nb.towers.cache import cached_stores, remove_stores, unlisted_stores
from trmml_nb.towers.encode import encode_dataset
from trmml_nb.towers.precision import PrecisionProbe, read_probe
from trmml_nb.towers.tower import TOWERS, load_tower, register_tower
from trmml_nb.yours.photographs import PhotosJob

STRANGE = os.fsdecode(b'b\xff')  # bytes that are no UTF-8


def said_by(*words):
    "What a command says, on standard output and standard error, and its status."
    done = CliRunner().invoke(app, [str(w) for w in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.stdout, done.stderr, done.exit_code


@pytest.mark.fault('other languages', "names that the terminal's own code lacks", 'shown as escapes; the work goes on')
@pytest.mark.parametrize('code', ['ascii', 'latin-1', 'cp1252', 'utf-8'])
def test_names_that_a_stream_cannot_write_end_nothing(code, monkeypatch):
    name = f'Kätzchen, 漢字 – {STRANGE}'
    said = io.TextIOWrapper(io.BytesIO(), encoding=code)
    tell(name, 3, file=said, flush=True)
    assert said.buffer.getvalue().decode(code) == f'{name} 3\n'.encode(code, 'backslashreplace').decode(code)
    strict = io.TextIOWrapper(io.BytesIO(), encoding=code)
    monkeypatch.setattr(sys, 'stdout', strict)
    monkeypatch.setattr(sys, 'stderr', io.TextIOWrapper(io.BytesIO(), encoding=code))
    open_streams()
    print(name, flush=True)
    assert strict.buffer.getvalue().decode(code) == f'{name}\n'.encode(code, 'backslashreplace').decode(code)


@pytest.mark.fault(
    'other languages',
    'UTF-8 names on a machine whose own code is another (Latin-1)',
    'refused before any work, with what to set; never garbled in a table',
)
def test_names_that_the_machine_reads_wrongly_are_refused(tmp_path, monkeypatch):
    assert not misread('Kätzchen') and not misread(STRANGE)
    real = os.fsencode
    monkeypatch.setattr(
        'trmml_nb.io.os.fsencode',
        lambda word: real(word) if isinstance(word, bytes) else word.encode('latin-1', 'surrogateescape'),
    )
    garbled = 'Kätzchen'.encode().decode('latin-1')
    assert misread(garbled) == 'Kätzchen' and not misread('Kätzchen') and not misread('漢字') and not misread('plain')
    with pytest.raises(RunError, match='Set PYTHONUTF8=1'):
        check_word(garbled, '--out')
    with pytest.raises(RunError, match='holds a NUL'):
        check_word('a\0b', '--out')
    Image.new('RGB', (8, 8)).save(tmp_path / f'{garbled}.png')
    for on_bad in ('error', 'skip'):
        for source in (tmp_path, tmp_path / f'{garbled}.png', tmp_path / '*.png'):
            with pytest.raises(DataError, match='Set PYTHONUTF8=1'):
                named_files([source], on_bad)
    with pytest.raises(JobError, match='Set PYTHONUTF8=1'):
        inspect_job('run', tmp_path / f'{garbled}.png', tmp_path / 'page.html')


@pytest.mark.fault(
    'other languages', 'folders, tables and words of a command that are not UTF-8', 'refused before any work'
)
@pytest.mark.parametrize('words', [
    ['photos', '{0}', '--clip', 'tiny'],
    ['photos', 'album', '--out', '{0}'],
    ['photos', 'album', '--labels', '{0}.csv'],
    ['photos', 'album', '--present', '{0}'],
    ['photos', 'album', '--categories', '{0}'],
    ['train', '--out', '{0}'],
    ['train', '--data', 'csv', '--labels', 'labels.csv', '--root', '{0}'],
    ['encode', '--cache', '{0}'],
    ['compare', '--name', '{0}'],
    ['compare', '--out', '{0}.csv'],
    ['predict', '{0}', 'album'],
    ['predict', 'run', 'album', '--out', '{0}'],
    ['predict', 'run', 'album', '--xmp', '{0}'],
    ['evaluate', '{0}'],
    ['inspect', 'run', 'a.png', '--out', '{0}'],
    ['view', '{0}', '--no-open'],
    ['review', '{0}', '--no-open'],
    ['export', 'run', '--out', '{0}'],
    ['cache', '--cache', '{0}'],
    ['prepare', 'voc2007', '--root', '{0}', '--plan-only'],
])  # fmt: skip
def test_words_that_are_not_utf_8_are_refused_before_any_work(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out, err, status = said_by(*(w.format(STRANGE) for w in words))
    assert status == 1 and 'is not UTF-8, so no file could hold it; rename it.' in err and not out
    assert not any(Path().iterdir())


def test_words_that_are_not_utf_8_are_refused_in_python_too(tmp_path):
    (tmp_path / 'album').mkdir()
    for make in (
        lambda: TrainJob(out=STRANGE),
        lambda: PhotosJob(photos=str(tmp_path / 'album'), clip='tiny', present=STRANGE),
        lambda: inspect_job('run', f'{STRANGE}.png', tmp_path / 'page.html'),
        lambda: evaluate_job(tmp_path / STRANGE),
    ):
        with pytest.raises(RunError, match='is not UTF-8'):
            make()


def test_emoji_words_in_names_are_shown_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ':smile: [bold] [/x]: no such folder' in said_by('photos', ':smile: [bold] [/x]', '--clip', 'tiny')[1]


@pytest.mark.fault('hostile files', 'formulas behind a sign at which some spreadsheets cut cells', 'guarded too')
@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='=+-@;|,\t\r\n\'" x1.', max_size=12))
def test_no_cell_holds_a_formula_however_it_is_cut(text):
    written = guarded(text)
    assert unguarded(written) == text and unguarded(guarded(text, path=True)) == text
    data = csv_bytes(['n', 'name'], [['0', text]]).decode()
    for sign in ',;|\t':
        for row in csv.reader(io.StringIO(data, newline=''), delimiter=sign):
            for cell in row:
                try:
                    float(cell)
                except ValueError:
                    assert not cell.startswith(('=', '+', '@')), (text, sign, cell)


IDLE = [
    ('--pretrained openai', dict(pretrained='openai')),
    ('--pretrained openai', dict(clip='tiny16', pretrained='openai')),
    ('--pretrained openai', dict(clip='local-dir:tower', pretrained='openai')),
    ('--pretrained openai', dict(clip='hf-hub:a/b', pretrained='openai')),
    ('--root there', dict(root='there')),
    ('--holdout 0.5', dict(holdout=0.5)),
    ('--code signed', dict(code='signed')),
    ('--format wide', dict(format='wide')),
    ('--difficult absent', dict(difficult='absent')),
    ('--train-split train', dict(data='csv', labels='labels.csv', train_split='train')),
    ('--eval-split test', dict(data='csv', labels='labels.csv', eval_split='test')),
    ('--difficult absent', dict(data='csv', labels='labels.csv', difficult='absent')),
]


@pytest.mark.fault(
    'wrong words', 'an option that nothing would come of beside the others', 'refused, with where it belongs'
)
@pytest.mark.parametrize('said, options', IDLE)
def test_an_option_that_nothing_would_come_of_is_refused(said, options):
    with pytest.raises(JobError, match=f'{said} belongs to .*; leave it out'):
        TrainJob(**options)


def test_other_options_that_nothing_would_come_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('labels.csv').write_text('image,cat\na.png,1\n', encoding='utf-8')
    for words, belongs in (
        (['compare', '--boxes', 'boxes.csv'], '--boxes boxes.csv belongs to data in files'),
        (['encode', '--pretrained', 'openai'], '--pretrained openai belongs to a name of open_clip'),
        (['predict', 'run', '.', '--top', '3'], '--top 3 belongs to --format top'),
        (['evaluate', 'run', '--labels', 'labels.csv', '--split', 'val'], '--split belongs to'),
        (['evaluate', 'run', '--code', 'signed'], '--code belongs to --labels'),
        (['evaluate', 'run', '--format', 'wide'], '--format belongs to --labels'),
        (['complete', 'run', '--out', 'c.csv', '--code', 'signed'], '--code belongs to --labels'),
        (['complete', 'run', '--out', 'c.csv', '--format', 'wide'], '--format belongs to --labels'),
        (['cache', '--yes', '--cache', 'none'], '--yes belongs to --empty'),
    ):
        assert belongs in said_by(*words)[1]
    with pytest.raises(TableError, match='--sheet belongs to a workbook'):
        read_sheet('labels.csv', reading=Reading(sheet='first'))
    with pytest.raises(TableError, match='--encoding belongs to a text table'):
        read_sheet('labels.xlsx', reading=Reading(encoding='cp1252'))


def test_a_tower_says_which_of_its_options_have_no_effect():
    for name in ('tiny', 'tiny16', 'local-dir:x', 'hf-hub:a/b'):
        with pytest.raises(TowerError, match="pretrained='openai' belongs to a name of open_clip"):
            load_tower(name, 'openai')
    register_tower('mine', lambda size, device: load_tower('tiny', image_size=size))
    try:
        assert load_tower('mine', image_size=64).image_size == 64
        for options in (
            dict(pretrained='openai'),
            dict(dense='dualcoop'),
            dict(resize_mode='shortest'),
            dict(preprocess={'mean': 0}),
        ):  # fmt: skip
            with pytest.raises(TowerError, match='has no effect on'):
                load_tower('mine', **options)
    finally:
        del TOWERS['mine']


def test_options_that_an_older_version_let_pass_do_not_end_the_use_of_its_runs():
    assert job_of('run', dict(pretrained='openai', root='x', holdout=0.5)).pretrained is None
    with pytest.raises(JobError, match='--root y belongs to'):
        job_of('run', dict(root='x'), root='y')


def test_what_is_said_to_evaluate_is_not_passed_over(tmp_path, monkeypatch):
    "What an old run was told may be dropped; what is said now is refused."
    config = dict(job=dict(data='csv', labels='labels.csv', eval_split='test'), class_names=['cat'])
    monkeypatch.setattr('trmml_nb.runs.use.read_config', lambda _: config)
    monkeypatch.setattr('trmml_nb.runs.use.is_photos', lambda _: False)
    monkeypatch.setattr('trmml_nb.runs.use.load_run', lambda *_: None)
    with pytest.raises(JobError, match='--eval-split val belongs to data with splits'):
        evaluate_job(tmp_path, split='val')


@pytest.mark.fault('overwriting', 'an empty file of yours that is called like a checkpoint', 'it stays')
def test_only_proven_checkpoints_are_removed(tmp_path):
    for name in CHECKPOINTS:
        for content in (b'', b'years of work'):
            (tmp_path / name).write_bytes(content)
            clear_checkpoints(tmp_path)
            assert (tmp_path / name).read_bytes() == content


@pytest.mark.fault('overwriting', 'a file of yours in the place of a lock', 'told; it stays')
def test_a_file_in_the_place_of_a_lock_stays(tmp_path):
    lock = tmp_path / '.answers.csv.lock'
    lock.write_text('my notes')
    with pytest.raises(LockError, match='never does; it is not overwritten'), alone(lock):
        pass
    assert lock.read_text() == 'my notes'


@pytest.mark.fault(
    'overwriting', "files of yours in a store's folder of the cache", '`trmml cache --empty` lets them stay'
)
def test_emptying_a_cache_removes_only_what_a_store_has(tmp_path):
    encode_dataset(load_tower('tiny', image_size=64), scenes_dataset('val', 4), tmp_path, progress=False)
    (store,) = cached_stores(tmp_path)
    mine = ['notes.txt', 'shard-1.safetensors', '.store.json', 'store.json.part', 'my shard-00000.safetensors']
    for name in mine:
        (store.folder / name).write_text('mine')
    (store.folder / '.store.json.host.7.part').write_text('{')  # of a writer that was killed
    assert remove_stores([store]) == ([store], [])
    assert sorted(p.name for p in store.folder.iterdir()) == sorted(mine)


@pytest.mark.fault(
    'damaged or foreign files', 'a store of features that cannot be listed', '`trmml cache` tells it, by name'
)
def test_stores_that_cannot_be_listed_are_told(tmp_path):
    assert not unlisted_stores(tmp_path / 'none') and not unlisted_stores(tmp_path)
    for name, content in (('damaged', '{"version": 2'), ('other', '{}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'store.json').write_text(content)
    (tmp_path / 'mine').mkdir()
    assert [folder.name for folder, _ in unlisted_stores(tmp_path)] == ['damaged', 'other']
    assert f'not listed: {tmp_path / "damaged"}' in said_by('cache', '--cache', tmp_path)[1]
    assert unlisted_stores(tmp_path / 'damaged' / 'store.json')[0][1]


@pytest.mark.fault('damaged or foreign files', 'a link to a folder among annotations', 'told: it is not followed')
def test_a_link_to_a_folder_among_annotations_is_told(tmp_path):
    for name in ('notes', 'elsewhere'):
        (tmp_path / name).mkdir()
        (tmp_path / name / f'{name}.txt').write_text('0 .5 .5 .1 .1\n')
        Image.new('RGB', (8, 8)).save(tmp_path / f'{name}.png')
    (tmp_path / 'notes' / 'classes.txt').write_text('cat\n')
    (tmp_path / 'notes' / 'link').symlink_to(tmp_path / 'elsewhere')
    with pytest.warns(UserWarning, match='link: a link to a folder is not followed'):
        sheet = read_labels(tmp_path / 'notes', tmp_path, add_images=False, reading=Reading(format='yolo'))
    assert sheet.dataset.image_ids == ['notes.png']


@pytest.mark.fault(
    'damaged or foreign files', 'a line of a long table without a label, and with a value that is none', 'refused'
)
def test_a_value_without_a_label_is_read_too(tmp_path):
    Image.new('RGB', (8, 8)).save(tmp_path / 'a.png')
    (tmp_path / 'long.csv').write_text('image,label,confidence\na.png,cat,1\na.png,,confidence\n')
    with pytest.raises(TableError, match="'confidence' is no label"):
        read_labels(tmp_path / 'long.csv', tmp_path, reading=Reading(format='long'))


@pytest.mark.fault('damaged or foreign files', 'JSON that goes deeper than any sensible file', 'refused')
def test_deep_json_in_settings_and_unfinished_work(tmp_path):
    deep = b'[' * 100_000 + b']' * 100_000
    (tmp_path / 'setting.json').write_bytes(deep)
    with pytest.raises(ReproduceError, match='lists within lists'):
        read_setting(str(tmp_path / 'setting.json'))
    (tmp_path / 'records').write_bytes(record_line(dict(key='x')) + deep + b' ' + checksum(deep) + b'\n')
    assert [record for record, _ in read_records(tmp_path / 'records')] == [dict(key='x')]


@pytest.mark.fault(
    'two at once', 'a picture that is changed between its digest and its encoding', 'noticed; nothing is trained on it'
)
def test_pictures_that_change_between_digest_and_encoding_are_noticed(tmp_path):
    from trmml_nb.data.own_data import image_folder

    for k in range(2):
        Image.fromarray(np.full((8, 8, 3), 90 * k, np.uint8)).save(tmp_path / f'{k}.png')
    data = image_folder(tmp_path, ['cat'])
    said = made_from(data)
    store = encode_dataset(load_tower('tiny', image_size=64), data, tmp_path / 'cache', progress=False)
    same_pictures(store, said)
    shutil.copy(tmp_path / '0.png', tmp_path / '1.png')
    store = encode_dataset(load_tower('tiny', image_size=64), data, tmp_path / 'cache', progress=False)
    with pytest.raises(JobError, match='changed while they were encoded'):
        same_pictures(store, said)


@pytest.mark.fault('damaged or foreign files', 'a cell with a list of a program that is no list of labels', 'refused')
@pytest.mark.parametrize('cell', [
    '[' * 100_000, '[{"labels": 5}]', '{"choices": null}', '{"labels": {"a": 1}}', '[{"labels": [5]}]', '[[]]',
])  # fmt: skip
def test_lists_in_cells_that_are_no_labels(cell):
    with pytest.raises(TableError, match='of a program'):
        cell_parts(cell, 'line 2')
    assert cell_parts('[{"labels": ["cat"]}, {"choices": "dog"}, "cow"]', 'line 2') == ['cat', 'dog', 'cow']


@pytest.mark.fault(
    'damaged or foreign files', 'what was measured about this machine, or noted on an archive, damaged', 'made anew'
)
def test_notes_of_measurements_and_archives(tmp_path):
    probe, note = PrecisionProbe(0.2, 0.1, 0.9999, 0.999, 8), tmp_path / 'probe.json'
    write_json(note, asdict(probe), sealed=True)
    assert read_probe(note) == probe
    whole = note.read_text()
    for damage in (
        whole.replace('0.9999', '0.9998'), whole.replace('8', '1e999'), '[' * 100_000, '[]', '{}',
        json.dumps(asdict(probe) | dict(full=0.0)), whole[:-30],
    ):  # fmt: skip
        note.write_text(damage)
        assert read_probe(note) is None
    path, source = tmp_path / 'a.zip', Source('a.zip')
    path.write_bytes(b'archive')
    found = identify(path, source)
    note, known = tmp_path / '.a.zip.json', json.loads((tmp_path / '.a.zip.json').read_text())
    for damage in (
        {k: v for k, v in known.items() if k not in ('md5', 'json_sha256')},
        known | dict(sha256='0' * 64), known | dict(sha256=None), known | dict(md5=[]), [], {},
    ):  # fmt: skip
        note.write_text(json.dumps(damage))
        assert identify(path, source) == found and json.loads(note.read_text()) == known
