"""Thirty times each: encoding, training, completing, preparing and a run on one's own photographs are killed at a
random moment, and what is left on the disk is gone on with, to the same bytes. A process that has imported
everything forks one child for each kill."""

import json
import multiprocessing
import os
import shutil
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import tqdm.auto
from helpers.benchmarks import QUICK, served, tiny_coco
from helpers.stores import make_tower

from trmml_nb.runs import train as jobs
from trmml_nb.yours import photographs as own_photographs
from trmml_nb.runs import run as runs
from trmml_nb.datasets.archives import PracticeServer
from trmml_nb.io import read_json
from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.runs.options import TrainJob
from trmml_nb.runs.train import train_job
from trmml_nb.runs.run import UNFINISHED
from trmml_nb.yours.photographs import PhotosJob, photos_job
from trmml_nb.datasets.prepare import prepare_benchmark
from trmml_nb.runs.use import complete_job
from trmml_nb.towers.encode import encode_dataset
from trmml_nb.towers.tower import load_tower

FORK = multiprocessing.get_context('fork')
KILLS = int(os.environ.get('TRMML_KILLS', 30))  # of each kind of work; scripts/kills.py asks for more
SEED = int(os.environ.get('TRMML_KILLS_SEED', 0))  # of the moments; others by scripts/kills.py --seed


def in_child(work, place, after=None):
    """Do `work(place)` in a child, and kill it `after` so many seconds of work. Returns whether it was killed while it
    worked."""
    here, there = FORK.Pipe(duplex=False)

    def run():
        for bars in (tqdm.std.tqdm, tqdm.auto.tqdm):
            bars.set_lock(
                threading.RLock()
            )  # forked children share the one of the parent: a child that is killed while it holds it stops them all
        there.send('begun')
        work(place)
        there.send('done')

    child = FORK.Process(target=run)
    child.start()
    there.close()
    assert here.poll(60) and here.recv() == 'begun', 'the child did not start'
    child.join(after)
    if after is not None:
        child.kill()
    child.join()
    try:
        done = here.poll() and here.recv() == 'done'
    except EOFError:
        done = False
    assert child.exitcode == 0 and done or child.exitcode == -9 and after is not None, (
        f'the child failed with exit code {child.exitcode}'
    )
    return not done


def kill_often(folder, work, result, begin=Path.mkdir, kills=KILLS, tries=10 * KILLS, seed=SEED):
    """Kill `work` in mid-work `kills` times, alone and several times in a row. What each kill has left is copied and gone on with to the end:
    `result(place)` must be that of a run that nobody disturbed. Returns how many different states of the disk the kills have left.

    The moments are drawn up to a limit that grows when a kill came and shrinks when the work was done before it: whatever the machine's speed,
    kills fall everywhere, and about two of three hit."""
    begin(folder / 'whole')
    assert not in_child(work, folder / 'whole')
    expected, rng, limit, states, counted = result(folder / 'whole'), np.random.default_rng(seed), 0.3, set(), 0
    for attempt in range(tries):
        if counted >= kills:
            break
        if attempt % 3 == 0:
            place = folder / f'{attempt}' / 'place'
            place.parent.mkdir()
            begin(place)
        if not in_child(work, place, rng.uniform(0, limit)):
            assert_same(result(place), expected, f'done in try {attempt}')
            limit *= 0.6
            continue
        counted, limit = counted + 1, limit * 1.3
        states.add(
            tuple(sorted((str(p.relative_to(place)), p.stat().st_size) for p in place.rglob('*') if p.is_file()))
        )
        kept = shutil.move(shutil.copytree(place, folder / 'copy', symlinks=True), folder / 'go on')
        assert not in_child(work, kept)
        assert_same(result(kept), expected, f'kill {counted}, in try {attempt}')
        shutil.rmtree(kept)
        if log := os.environ.get('TRMML_KILLS_LOG'):
            Path(log).write_text(json.dumps(dict(kills=counted, states=len(states))), encoding='utf-8')
    assert counted >= kills, f'{counted} kills in {tries} tries'
    return len(states)


def differences(a, b, name=''):
    "Where two results differ, in words: file by file and value by value, for two models as bytes say nothing."
    if isinstance(a, dict) and isinstance(b, dict):
        return [d for k in sorted(a.keys() | b.keys()) for d in differences(a.get(k), b.get(k), f'{name}/{k}')]
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        return [d for i, (x, y) in enumerate(zip(a, b)) for d in differences(x, y, f'{name}/{i}')]
    if type(a) is type(b) is bytes:
        at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
        return (
            []
            if a == b
            else [f'{name}: {len(a)} and {len(b)} bytes, from byte {at} on {a[at : at + 60]!r} and {b[at : at + 60]!r}']
        )
    return [] if a == b else [f'{name}: {str(a)[:300]} and {str(b)[:300]}']


def assert_same(found, expected, when):
    differ = differences(found, expected)
    assert found == expected and not differ, when + ''.join(f'\n{d}' for d in differ[:10])


def contents(folder, skip=()):
    "Every file that is not hidden, with its bytes."
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob('*')
        if p.is_file() and not p.name.startswith('.') and p.name not in skip
    }


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


@pytest.mark.fault(
    'stopped in the middle',
    f'encoding killed at {KILLS} random moments',
    'goes on where it was; the same bytes as without',
)
@pytest.mark.young
def test_encoding(tmp_path):
    torch.set_num_threads(1)
    tower, data = make_tower(), scenes_dataset('test', 24)

    def result(place):
        assert not list(place.glob('**/*.part')) and not list((place / '.locks').iterdir())
        return contents(place)

    states = kill_often(
        tmp_path, lambda place: encode_dataset(tower, data, place, batch_size=2, shard_size=4, progress=False), result
    )
    assert states > 3


@pytest.mark.fault(
    'stopped in the middle',
    f'`trmml train --every 1` killed at {KILLS} random moments',
    '`--resume` ends with the same model and metrics, bit for bit',
)
@pytest.mark.young
def test_training(tmp_path, monkeypatch, quiet):
    """`trmml train --every 1`, then again and again with --resume. Its figures, which come last, are left out: they
    take most of the time."""
    torch.set_num_threads(1)
    tower = load_tower()
    monkeypatch.setattr(jobs, 'load_tower', lambda *_, **__: tower)  # read once
    monkeypatch.setattr(jobs, 'draw_run', lambda *_: None)
    options = dict(
        limit=24,
        epochs=4,  # with two, kills leave few different states behind, on a fast machine three
        batch_size=6,
        every=1,
        known=0.5,
        method='trmml:ffn_dim=32',
        cache=str(tmp_path / 'cache'),
        resume=True,
    )
    train_job(
        TrainJob(**options, out=str(tmp_path / 'first')), progress=False
    )  # encodes, and gives the settings that a run begins with

    def begin(place):
        place.mkdir()
        shutil.copy(tmp_path / 'first' / 'config.json', place)

    def work(place):
        if not (place / 'metrics.json').exists():  # written last
            train_job(TrainJob(**options, out=str(place)), progress=False)

    def result(place):
        metrics = read_json(place / 'metrics.json')
        metrics.pop('train_seconds')
        return metrics, (place / 'model.safetensors').read_bytes()

    assert kill_often(tmp_path, work, result, begin) > 3


@pytest.mark.fault(
    'stopped in the middle',
    f'`trmml complete` killed at {KILLS} random moments',
    'the table is whole or not there; again: the same bytes',
)
@pytest.mark.young
def test_completing(tmp_path, monkeypatch, quiet):
    torch.set_num_threads(1)
    tower = load_tower()
    monkeypatch.setattr(jobs, 'load_tower', lambda *_, **__: tower)  # read once
    monkeypatch.setattr(runs, 'load_tower', lambda *_, **__: tower)
    monkeypatch.setattr(jobs, 'draw_run', lambda *_: None)
    run = train_job(
        TrainJob(limit=24, epochs=1, known=0.5, out=str(tmp_path / 'run'), cache=str(tmp_path / 'cache')),
        progress=False,
    )
    photos, test = tmp_path / 'photos', scenes_dataset('test', 6)
    photos.mkdir()
    for i in range(6):
        test.image(i).save(photos / f'{i}.png')
    (photos / 'labels.csv').write_text(
        'image,dog,boat\n' + ''.join(f'{i}.png,{"" if i % 3 else 1},\n' for i in range(6))
    )

    def work(place):
        if not (place / 'completed.csv').exists():  # whole or not there
            complete_job(
                run, photos / 'labels.csv', place / 'completed.csv', cache=str(place / 'cache'), progress=False
            )

    before = contents(photos)
    assert kill_often(tmp_path, work, lambda place: (place / 'completed.csv').read_bytes()) > 1
    assert contents(photos) == before


@pytest.mark.fault(
    'stopped in the middle',
    f'preparing a benchmark killed at {KILLS} random moments',
    'goes on; the same files',
)
@pytest.mark.young
def test_preparing(tmp_path):
    "Download, unpack, read, check and write; the practice server is a process of its own."
    files, counts = tiny_coco()
    server = PracticeServer(files)
    serving = FORK.Process(target=server.http.serve_forever, daemon=True)
    serving.start()
    try:
        benchmark = served('coco2014', files, server, **counts)

        def result(place):
            found = contents(place)
            found.pop('coco2014/provenance.json')
            about = read_json(place / 'coco2014/provenance.json')
            assert about.pop('prepared')  # the time
            return about | dict(
                sources=[{k: v for k, v in s.items() if k != 'origin'} for s in about['sources']]
            ), found

        states = kill_often(
            tmp_path,
            lambda place: prepare_benchmark(benchmark, place, patience=QUICK, workers=2, progress=False),
            result,
        )
    finally:
        serving.kill(), serving.join()
    assert states > 3


@pytest.mark.fault(
    'stopped in the middle',
    f'`trmml photos` killed at {KILLS} random moments',
    'the same command takes finished folds over; the same files',
)
@pytest.mark.young
def test_own_photographs(tmp_path, monkeypatch, quiet):
    "`trmml photos`, and the same command again; afterwards nothing but the results is there."
    torch.set_num_threads(1)
    tower, data, album = load_tower(), scenes_dataset('val', 18), tmp_path / 'album'
    monkeypatch.setattr(own_photographs, 'load_tower', lambda *_, **__: tower)  # read once
    album.mkdir()
    columns = [data.class_names.index(c) for c in ('dog', 'tree', 'person')]
    for i in range(18):
        data.image(i).save(album / f'{i}.png')
    (album / 'labels.csv').write_text(
        'image,dog,tree,person\n'
        + ''.join(
            f'{i}.png,' + ','.join(str(data.truth[i, c]) if (i + k) % 4 else '' for k, c in enumerate(columns)) + '\n'
            for i in range(16)
        )
    )
    before = contents(album)

    def work(place):
        run = place / 'run'
        if (run / UNFINISHED).exists() or not (run / 'report.html').exists():
            photos_job(
                PhotosJob(
                    str(album),
                    epochs=2,
                    method='trmml:ffn_dim=32',
                    folds=2,
                    model='trained',
                    out=str(run),
                    cache=str(tmp_path / 'cache'),
                ),
                progress=False,
            )

    def result(place):
        assert not [p.name for p in (place / 'run').iterdir() if p.name.startswith(('.', 'fold', 'unfinished'))]
        found = contents(place)
        found.pop('run/config.json')
        config = read_json(place / 'run/config.json')
        config['job']['out'] = Path(
            config['job']['out']
        ).name  # a copy of a run that was killed after its last write names the place it was made in
        return config, found

    assert kill_often(tmp_path, work, result) > 3
    assert contents(album) == before
