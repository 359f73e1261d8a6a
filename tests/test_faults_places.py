"What stands in the place of a file, a lock or a folder: links, folders, pipes, devices; and options that cannot be."

import contextlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor


import numpy as np
import pytest

from typer.testing import CliRunner

from trmml_nb.cli import main, with_messages
from trmml_nb.data.dataset import MultiLabelDataset, scenes_dataset
from trmml_nb.errors import MethodError, RunError, TowerError, TrainingError, TrmmlError
from trmml_nb.io import alone, part_of, write_atomic
from trmml_nb.people.review import Review, ReviewError
from trmml_nb.rivals.compare import FIRST, TEXT_COLUMNS, add_rows
from trmml_nb.rivals.registry import configure, parse_spec
from trmml_nb.runs.compare_job import CompareJob
from trmml_nb.runs.encode_job import EncodeJob
from trmml_nb.runs.options import JobError, TrainJob
from trmml_nb.runs.train import train_job
from trmml_nb.towers.encode import encode_dataset
from trmml_nb.towers.tower import load_tower
from trmml_nb.towers.views import view_parts
from trmml_nb.training.trainer import pick_device

BLANKS = np.full((4, 2), -1, np.int8)
TABLE = MultiLabelDataset('t', 'all', ['cat', 'dog'], [f'{i}.png' for i in range(4)], BLANKS, BLANKS, [None] * 4)


def review(path, person='Ada'):
    return Review(TABLE, np.full((4, 2), 0.7), path, person)


def answer(path):
    one = review(path)
    one.answer((one.proposals()[0], 'accept'))
    return len(one.answers)


PLACES = dict(
    folder=lambda path, kept: path.mkdir(),
    link=lambda path, kept: os.symlink(kept, path),
    dead_link=lambda path, kept: os.symlink(kept.with_name('nowhere'), path),
)


@pytest.mark.fault(
    'hostile files',
    'a folder or a link in the place of a lock',
    'refused with the mend; what it leads to stays as it was, and nothing is left behind',
)
@pytest.mark.parametrize('kind', PLACES)
def test_what_stands_in_the_place_of_a_lock_is_told(tmp_path, kind):
    kept = tmp_path / 'kept.txt'
    kept.write_text('kept', encoding='utf-8')
    row = {name: 1.0 for name in FIRST} | {name: 'x' for name in TEXT_COLUMNS} | dict(known='0.1', seed=0)
    train = TrainJob(limit=5, epochs=1, out=str(tmp_path / 'train' / 'run'))
    for name, work in dict(
        table=lambda folder: add_rows(folder / 'run', [row]),
        train=lambda folder: train_job(train, progress=False),
        review=lambda folder: answer(folder / 'run'),
    ).items():
        folder = tmp_path / name
        folder.mkdir()
        PLACES[kind](folder / '.run.lock', kept)
        with pytest.raises(
            TrmmlError, match='no lock can be made here .* a link or a folder is in its place; remove it'
        ):
            work(folder)
        assert os.listdir(folder) == ['.run.lock']
    assert kept.read_text(encoding='utf-8') == 'kept' and not (tmp_path / 'nowhere').exists()


def test_a_folder_in_the_place_of_a_note_keeps_no_lock(tmp_path):
    (tmp_path / '.a.lock.who').mkdir()
    with alone(tmp_path / '.a.lock'):
        pass
    assert os.listdir(tmp_path) == ['.a.lock.who']


def test_a_lock_that_its_holder_removes_meanwhile_is_no_fault(tmp_path):
    "Eight threads take one lock two thousand times; each holder removes its file when it goes."
    held = []

    def work(n):
        with alone(tmp_path / '.a.lock', wait=60):
            held.append(n)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(2000)))
    assert sorted(held) == list(range(2000)) and not os.listdir(tmp_path)


def test_the_note_that_a_killed_holder_was_writing_goes_with_the_next(tmp_path):
    begun, foreign = part_of(tmp_path / '.a.lock.who'), tmp_path / '..a.lock.who.somebody.part'
    begun.write_text('process 1'), foreign.write_text('mine')
    with alone(tmp_path / '.a.lock'):
        assert not begun.exists()
    assert os.listdir(tmp_path) == [foreign.name] and foreign.read_text() == 'mine'


@pytest.mark.fault(
    'two at once', 'two people who reach one file of answers by two names', 'one file and one lock; no answer is lost'
)
def test_two_names_of_one_file_of_answers(tmp_path):
    (tmp_path / 'shared').mkdir()
    (tmp_path / 'mine.csv').symlink_to(tmp_path / 'shared' / 'a.csv')  # not there yet
    first, second = review(tmp_path / 'mine.csv'), review(tmp_path / 'shared' / 'a.csv', 'Bob')
    first.answer((first.proposals()[0], 'accept'))
    with pytest.raises(ReviewError, match='changed since this review wrote it'):
        second.answer((second.proposals()[1], 'accept'))
    assert (tmp_path / 'mine.csv').is_symlink() and len(review(tmp_path / 'shared' / 'a.csv').answers) == 1


def test_advice_after_an_answer_that_was_not_saved_fits(tmp_path, monkeypatch):
    (tmp_path / 'a.csv').mkdir()
    with pytest.raises(ReviewError, match='is no file; give another path'):
        review(tmp_path / 'a.csv')
    for number, said in ((28, 'Free some space and answer again'), (13, 'Mend that and answer again')):

        def fails(*_, number=number):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr('trmml_nb.people.review.write_atomic', fails)
        with pytest.raises(ReviewError, match=said):
            answer(tmp_path / 'b.csv')


@pytest.mark.fault(
    'overwriting', 'an output that is a device or a pipe (`--out /dev/null`)', 'refused; what is there stays'
)
@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='this system has no pipes with names')
def test_what_is_no_plain_file_is_never_replaced(tmp_path):
    "`os.replace` would put a file in the place of the device, and root may do so."
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    with pytest.raises(FileExistsError, match='is no plain file'):
        write_atomic(pipe, b'x')
    with pytest.raises(JobError, match='pipe: is no file; choose another --out'):
        CompareJob(out=str(pipe))
    assert pipe.is_fifo() and os.listdir(tmp_path) == ['pipe']


def test_a_cache_that_cannot_be_made(tmp_path):
    (tmp_path / 'file').touch()
    (tmp_path / 'cache').mkdir()
    (tmp_path / 'cache' / '.locks').touch()
    tower, data = load_tower('tiny', image_size=64), scenes_dataset('test', 2, size=64)
    for cache in (tmp_path / 'file', tmp_path / 'file' / 'below', tmp_path / 'cache'):
        with pytest.raises(TowerError, match='the folder for features cannot be made .* pass cache='):
            encode_dataset(tower, data, cache, progress=False)


# -- options that cannot be


@pytest.mark.parametrize(
    'make, said',
    [
        (lambda: configure('trmml:ffn_dim=999999999999'), 'ffn_dim is 999999999999, expected'),
        (lambda: configure('trmml:neighbour_share=2'), 'neighbour_share is 2'),
        (lambda: parse_spec('trmml:ffn_dim=32,ffn_dim=64'), 'ffn_dim stands twice'),
        (lambda: CompareJob(methods=','), '--methods is'),
        (lambda: CompareJob(known=''), '--known is'),
        (lambda: CompareJob(seeds=str(2**64)), '--seeds is'),
        (lambda: CompareJob(tune=float('nan')), '--tune is nan'),
        (lambda: EncodeJob(workers=0), '--workers is 0'),
        (lambda: EncodeJob(workers=100_000), '--workers is 100000'),
        (lambda: EncodeJob(shard_size=10**10), '--shard-size is'),
        (lambda: view_parts('scale:99999'), 'pixels up to 8192'),
        (lambda: view_parts('crop:١'), "view 'crop:١'"),
        (lambda: pick_device('meta'), "device 'meta' cannot be used here"),
    ],
)
def test_options_that_cannot_be_are_told_before_the_work(make, said):
    with pytest.raises((MethodError, RunError, TowerError, TrainingError), match=said):
        make()


@pytest.mark.parametrize('error', [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")])
def test_full_memory_is_told_by_every_command(error):
    import typer

    def work():
        raise error

    toy = typer.Typer()
    toy.command()(with_messages(work))
    done = CliRunner().invoke(toy, [])
    assert done.exit_code == 1 and 'the memory of this machine is full' in done.output


# -- streams that take nothing


@pytest.mark.fault(
    'disk and clock',
    'a full disk where results or notes are shown (`> log.txt`, `2> log.txt`)',
    'results: told, and status 1; notes: the work goes on without them',
)
@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='this system has no device that is always full')
@pytest.mark.parametrize('words', [['--version'], ['--help'], ['cache', '--cache', 'nothing']])
def test_results_that_cannot_be_shown_are_told_and_notes_stop_nothing(monkeypatch, words, capfd):
    with open('/dev/full', 'w', encoding='utf-8') as full:
        monkeypatch.setattr(sys, 'argv', ['trmml', *words])
        monkeypatch.setattr(sys, 'stderr', sys.stderr)
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
            patch.setattr(sys, 'stderr', full)
            main()
        assert not end.value.code and capfd.readouterr().out.strip()
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
            patch.setattr(sys, 'stdout', full)
            main()
        assert end.value.code and 'Traceback' not in capfd.readouterr().err
        with contextlib.suppress(OSError):
            full.flush()
