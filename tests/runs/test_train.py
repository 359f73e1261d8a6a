"""Trainings, from a job to a run folder."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from helpers.steps import said_before
from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.runs.options import JobError, TrainJob
from trmml_nb.runs.train import curves_figure, per_class_figure, train_job
from trmml_nb.data.labels import LabelError, bernoulli_mask, mask_sha256
from trmml_nb.runs.run import load_model, load_run, note_of
from trmml_nb.errors import RunError
from trmml_nb.errors import TowerError, TrainingError
from trmml_nb.io import JSON_SEAL, read_json
from trmml_nb.training.trainer import write_checkpoint


def test_run_folder_holds_what_is_promised(run):
    metrics = json.loads((run / 'metrics.json').read_text())
    for key in (
        'mAP',
        'zero_shot_mAP',
        'per_class_AP',
        'CF1',
        'OF1',
        'split',
        'known_fraction',
        'mask_sha256',
        'seed',
        'versions',
    ):
        assert key in metrics, key
    assert metrics['split'] == 'test' and 0.05 < metrics['known_fraction'] < 0.15 and 0 < metrics['mAP'] <= 100
    assert metrics['mask_sha256'] == mask_sha256(bernoulli_mask((80, 20), 0.1))
    assert len(pd.read_csv(run / 'history.csv')) == 2
    assert not list(run.glob('checkpoint.*'))
    assert sorted(p.name for p in (run / 'figures').iterdir()) == ['curves.png', 'examples.png', 'per_class.png']
    state = load_run(run).method.state_dict()
    from safetensors.torch import load_file

    saved = load_file(run / 'model.safetensors')
    assert (
        'texts' not in saved
        and 'memory.prototypes' in saved
        and all(torch.equal(v, state[k]) for k, v in saved.items())
    )


def test_same_seed_same_metrics(run, place):
    other = train_job(TrainJob(limit=80, epochs=2, out=str(place / 'twin'), cache=str(place / 'cache')), progress=False)
    a, b = (read_json(r / 'metrics.json') for r in (run, other))
    for m in (a, b):
        m.pop('train_seconds')
    assert a == b
    assert (run / 'model.safetensors').read_bytes() == (other / 'model.safetensors').read_bytes()


@pytest.mark.fault(
    'overwriting',
    'a run folder that is finished, or holds files of yours',
    'refused; it stays as it was',
)
def test_nothing_is_overwritten(run, place):
    before = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
    write_checkpoint(run / 'checkpoint.safetensors', dict(version=2), {})  # killed between its last two acts
    with pytest.raises(JobError, match='holds a finished run'):
        train_job(TrainJob(limit=80, epochs=2, out=str(run)), progress=False)
    assert {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()} == before
    (place / 'full').mkdir()
    (place / 'full' / 'mine.txt').write_text('x')
    with pytest.raises(JobError, match='is not empty and holds no run'):
        train_job(TrainJob(out=str(place / 'full')), progress=False)


@pytest.mark.parametrize('resume', [False, True])
def test_a_run_killed_before_its_first_file_was_whole_begins_anew(place, resume):
    folder = place / f'barely-{resume}'
    folder.mkdir()
    (folder / '.config.json.elsewhere.7.part').write_text('{"jo')
    made = train_job(
        TrainJob(limit=40, epochs=1, out=str(folder), cache=str(place / 'cache'), resume=resume), progress=False
    )
    assert made == folder and (folder / 'model.safetensors').is_file() and not list(folder.glob('.*'))


@pytest.mark.fault(
    'stopped in the middle',
    '`trmml train` stopped',
    '`--resume` gives the same model; without it the folder is refused',
)
def test_killed_run_resumes_to_the_same_model(run, place, monkeypatch):
    from trmml_nb.training import trainer as training

    whole = training.Trainer.train_epoch

    def dies(self, bar=None):
        if self.epoch == 1:
            raise KeyboardInterrupt
        return whole(self, bar)

    job = dict(limit=80, epochs=2, out=str(place / 'killed'), cache=str(place / 'cache'))
    monkeypatch.setattr(training.Trainer, 'train_epoch', dies)
    with pytest.raises(KeyboardInterrupt):
        train_job(TrainJob(**job), progress=False)
    monkeypatch.setattr(training.Trainer, 'train_epoch', whole)
    with pytest.raises(RunError, match='the run is not finished'):
        load_run(place / 'killed')
    with pytest.raises(JobError, match='holds an unfinished run'):
        train_job(TrainJob(**job), progress=False)
    with pytest.raises(JobError, match='train.lr'):
        train_job(TrainJob(**job, resume=True, lr=1e-3), progress=False)
    with pytest.raises(JobError, match='train.epochs'):
        train_job(TrainJob(**{**job, 'epochs': 3}, resume=True), progress=False)
    older, pickled = (
        shutil.copytree(place / 'killed', place / 'older'),
        shutil.copytree(place / 'killed', place / 'pickled'),
    )
    folder = train_job(TrainJob(**job, resume=True), progress=False)
    assert (folder / 'model.safetensors').read_bytes() == (run / 'model.safetensors').read_bytes()
    (older / 'checkpoint.safetensors').rename(older / 'checkpoint.pt')  # as older versions named it
    train_job(TrainJob(**{**job, 'out': str(older)}, resume=True), progress=False)
    assert (older / 'model.safetensors').read_bytes() == (run / 'model.safetensors').read_bytes() and not list(
        older.glob('checkpoint.*')
    )
    (pickled / 'checkpoint.safetensors').unlink()
    torch.save(dict(epoch=1), pickled / 'checkpoint.pt')
    with pytest.raises(TrainingError, match='checkpoint.pt: not a readable checkpoint .*delete it to start anew'):
        train_job(TrainJob(**{**job, 'out': str(pickled)}, resume=True), progress=False)


def test_training_on_a_table_of_ones_own(place):
    data = scenes_dataset('train', 40)
    folder = place / 'album'
    folder.mkdir()
    lines = ['image,person,tree,car']
    columns = [data.class_names.index(c) for c in ('person', 'tree', 'car')]
    for i in range(40):
        data.image(i).save(folder / f'{i}.jpg')
        cells = [str(data.truth[i, c]) if (i + k) % 3 else '' for k, c in enumerate(columns)]
        lines.append(','.join([f'{i}.jpg', *cells]))
    (folder / 'labels.csv').write_text('\n'.join(lines) + '\n')
    run = train_job(
        TrainJob(data='csv', labels=str(folder / 'labels.csv'), epochs=1, out=str(place / 'own')), progress=False
    )
    metrics = json.loads((run / 'metrics.json').read_text())
    assert metrics['images'] == 8 and metrics['known_share'] < 100


def test_labels_that_teach_nothing(place):
    folder = place / 'blank'
    folder.mkdir()
    for i in range(10):
        Image.new('RGB', (16, 16)).save(folder / f'{i}.png')
    (folder / 'labels.csv').write_text('image,a\n' + ''.join(f'{i}.png,\n' for i in range(10)))
    with pytest.raises((JobError, LabelError), match='no label is known|none of its'):
        train_job(TrainJob(data='csv', labels=str(folder / 'labels.csv'), out=str(place / 'n')), progress=False)
    assert not (place / 'n' / 'model.safetensors').exists()


def test_a_training_refused_before_its_first_epoch_leaves_nothing(tmp_path, monkeypatch):
    import trmml_nb.runs.train as module

    def refuses(*_, **__):
        raise TowerError('features that are no numbers')

    job = TrainJob(limit=20, epochs=1, out=str(tmp_path / 'runs' / 'a'), cache=str(tmp_path / 'cache'))
    with monkeypatch.context() as patch:
        patch.setattr(module, 'encode_dataset', refuses)
        with pytest.raises(TowerError):
            train_job(job, progress=False)
        assert {f.name for f in tmp_path.iterdir()} <= {'cache'}, 'neither a folder nor a lock'
        (tmp_path / 'runs' / 'a').mkdir(parents=True)
        with pytest.raises(TowerError):
            train_job(job, progress=False)
    kept = {f.name for f in (tmp_path / 'runs' / 'a').iterdir()}
    assert kept == {'config.json'}, 'a folder that was there stays as it is made use of'
    train_job(replace(job, resume=True), progress=False)
    assert (tmp_path / 'runs' / 'a' / 'metrics.json').is_file()


def test_resuming_where_nothing_is_begins_anew_and_says_so(tmp_path, capsys):
    job = TrainJob(limit=20, epochs=1, out=str(tmp_path / 'new'), cache=str(tmp_path / 'cache'), resume=True)
    train_job(job, progress=True)
    assert 'nothing to go on with was found there, so the training begins anew\n' in capsys.readouterr().out


@pytest.mark.fault('damaged or foreign files', 'model damaged, or the tower changed since', 'refused')
def test_damaged_model_and_changed_tower(run, place):
    import shutil

    broken = place / 'broken'
    shutil.copytree(run, broken)
    data = (broken / 'model.safetensors').read_bytes()
    (broken / 'model.safetensors').write_bytes(data[:100])
    with pytest.raises(RunError, match='not a readable model'):
        load_run(broken)
    config = json.loads((broken / 'config.json').read_text())
    config['tower']['fingerprint'] = 'f' * 64
    config.pop(JSON_SEAL)
    (broken / 'config.json').write_text(json.dumps(config))
    with pytest.raises(RunError, match='its weights or preprocessing changed'):
        load_run(broken)


def test_voc_layout_with_mask_file_and_difficult_objects(place):
    data = scenes_dataset('train', 40)
    base = place / 'VOCdevkit' / 'VOC2007'
    main = base / 'ImageSets' / 'Main'
    main.mkdir(parents=True)
    (base / 'JPEGImages').mkdir()
    columns = [data.class_names.index(c) for c in ('person', 'tree')]
    for split, rows in (('train', range(30)), ('val', range(30, 40))):
        (main / f'{split}.txt').write_text(''.join(f'{i:06d}\n' for i in rows))
        for name, c in zip(('person', 'tree'), columns):
            value = [1 if data.truth[i, c] == 1 else -1 for i in rows]
            value[-1] = 0 if name == 'person' else value[-1]  # one difficult object
            (main / f'{name}_{split}.txt').write_text(''.join(f'{i:06d} {v}\n' for i, v in zip(rows, value)))
        for i in rows:
            data.image(i).save(base / 'JPEGImages' / f'{i:06d}.jpg')
    lines = [f'{i:06d} {1 if data.truth[i, columns[0]] == 1 else -1} 0' for i in range(30)]
    (place / 'mask.txt').write_text('\n'.join(lines) + '\n')
    run = train_job(
        TrainJob(
            data='voc2007',
            root=str(base.parent),
            mask=str(place / 'mask.txt'),
            epochs=1,
            out=str(place / 'voc'),
            cache=str(place / 'cache'),
        ),
        progress=False,
    )
    metrics = json.loads((run / 'metrics.json').read_text())
    assert metrics['known_fraction'] == pytest.approx(0.5) and metrics['split'] == 'val'
    assert metrics['known_share'] == pytest.approx(95.0)  # 1 of 20 entries is difficult and left out
    assert metrics['mAP_difficult_absent'] <= 100 and metrics['known'] == 'file mask.txt'


# -- what a run rests on, and that its files are as they were written


@pytest.fixture(scope='module')
def album(tmp_path_factory):
    "Forty pictures with a table, and a run on them that was stopped after its first epoch, and one that was finished."
    folder, data = tmp_path_factory.mktemp('album'), scenes_dataset('train', 40)
    for i in range(40):
        data.image(i).save(folder / f'{i}.png')
    frame = pd.DataFrame(data.targets[:, :4], columns=data.class_names[:4])
    frame.insert(0, 'image', [f'{i}.png' for i in range(40)])
    frame.to_csv(folder / 'labels.csv', index=False)
    return folder


def turned_over(folder):
    frame = pd.read_csv(folder / 'labels.csv')
    frame.iloc[:, 1:] = 1 - frame.iloc[:, 1:]
    frame.to_csv(folder / 'labels.csv', index=False)


def swapped(folder):
    a, b = (folder / '0.png').read_bytes(), (folder / '1.png').read_bytes()
    for i in range(0, 40, 2):
        a, b = (folder / f'{i}.png').read_bytes(), (folder / f'{i + 1}.png').read_bytes()
        (folder / f'{i}.png').write_bytes(b), (folder / f'{i + 1}.png').write_bytes(a)


def renamed(folder):
    text = (folder / 'labels.csv').read_text(encoding='utf-8')
    for i in range(40):
        (folder / f'{i}.png').rename(folder / f'n{i}.png')
        text = text.replace(f'\n{i}.png', f'\nn{i}.png')
    (folder / 'labels.csv').write_text(text, encoding='utf-8')


def reordered(folder):
    frame = pd.read_csv(folder / 'labels.csv')
    frame[['image', *frame.columns[:0:-1]]].to_csv(folder / 'labels.csv', index=False)


@pytest.mark.fault(
    'damaged or foreign files',
    'labels, names, pictures or categories changed since a run began',
    'resume, complete and evaluate refuse, and name which',
)
def test_a_run_is_gone_on_with_and_used_only_on_the_data_it_was_made_from(album, tmp_path, monkeypatch):
    """Labels turned over, pictures swapped, files renamed, categories reordered: each is named, on resume, complete
    and evaluate."""
    from trmml_nb.runs.use import complete_job, evaluate_job
    from trmml_nb.training import trainer as training

    folder, whole = shutil.copytree(album, tmp_path / 'photos'), training.Trainer.train_epoch

    def dies(self, bar=None):
        if self.epoch == 1:
            raise KeyboardInterrupt
        return whole(self, bar)

    options = dict(data='csv', labels=str(folder / 'labels.csv'), epochs=2, cache=str(tmp_path / 'cache'))
    done = train_job(TrainJob(**options, out=str(tmp_path / 'done')), progress=False)
    monkeypatch.setattr(training.Trainer, 'train_epoch', dies)
    with pytest.raises(KeyboardInterrupt):
        train_job(TrainJob(**options, out=str(tmp_path / 'killed')), progress=False)
    monkeypatch.setattr(training.Trainer, 'train_epoch', whole)
    for change, said in (
        (turned_over, 'labels'),
        (swapped, 'pictures'),
        (renamed, 'names of images'),
        (reordered, 'categories'),
    ):
        shutil.rmtree(folder), shutil.copytree(album, folder)
        change(folder)
        with pytest.raises(JobError, match=f'data to train on were changed since .*other .*{said}'):
            train_job(TrainJob(**options, out=str(tmp_path / 'killed'), resume=True), progress=False)
        with pytest.raises(JobError, match=f'was trained on other .*{said}'):
            complete_job(done, None, tmp_path / 'completed.csv', cache=str(tmp_path / 'cache'), progress=False)
        with pytest.raises(JobError, match=f'was measured on other .*{said}|trained on categories'):
            evaluate_job(done, cache=str(tmp_path / 'cache'), progress=False)
        assert not (tmp_path / 'completed.csv').exists()
    shutil.rmtree(folder), shutil.copytree(album, folder)
    evaluate_job(done, cache=str(tmp_path / 'cache'), progress=False)
    complete_job(done, None, tmp_path / 'completed.csv', cache=str(tmp_path / 'cache'), progress=False)
    train_job(TrainJob(**options, out=str(tmp_path / 'killed'), resume=True), progress=False)
    config = json.loads((done / 'config.json').read_text(encoding='utf-8'))
    config['class_names'].reverse()
    config.pop(JSON_SEAL)  # else that would tell
    (done / 'config.json').write_text(json.dumps(config), encoding='utf-8')
    with pytest.raises(RunError, match='config.json.*: was changed since the model was written'):
        load_run(done)


@pytest.mark.fault(
    'damaged or foreign files',
    'one bit of a model or a checkpoint turned over',
    'refused: sha256 differs',
)
def test_one_bit_that_differs_is_noticed(album, tmp_path):
    "In the tensors of a model and of a checkpoint, 200 places each."
    from trmml_nb.training.trainer import read_checkpoint

    options = dict(data='csv', labels=str(album / 'labels.csv'), epochs=1, cache=str(tmp_path / 'cache'))
    kept = {}
    from trmml_nb.runs import train as jobs

    finish = jobs.finish_run
    jobs.finish_run = lambda folder, *rest: (
        kept.update(c=(folder / 'checkpoint.safetensors').read_bytes()),
        finish(folder, *rest),
    )
    try:
        run = train_job(TrainJob(**options, out=str(tmp_path / 'run')), progress=False)
    finally:
        jobs.finish_run = finish
    method = load_run(run).method
    rng = np.random.default_rng(0)
    for data, load, error in (
        ((run / 'model.safetensors').read_bytes(), lambda path: load_model(method, path), RunError),
        (kept['c'], read_checkpoint, TrainingError),
    ):
        start = 8 + int.from_bytes(data[:8], 'little')
        path = tmp_path / 'flipped.safetensors'
        path.write_bytes(data)
        load(path)
        for at in rng.integers(start, len(data), 200):
            flipped = bytearray(data)
            flipped[at] ^= 1 << int(rng.integers(8))
            path.write_bytes(flipped)
            with pytest.raises(error, match='sha256 differs'):
                load(path)


@pytest.mark.fault('damaged or foreign files', 'a model whose weights are no numbers', 'nothing is written')
def test_a_model_without_numbers_writes_nothing(album, tmp_path, monkeypatch):
    from trmml_nb.runs.run import save_model
    from trmml_nb.runs.predict import predict_job
    from trmml_nb.runs.use import complete_job, evaluate_job, inspect_job

    options = dict(data='csv', labels=str(album / 'labels.csv'), epochs=1, cache=str(tmp_path / 'cache'))
    run = train_job(TrainJob(**options, out=str(tmp_path / 'run')), progress=False)
    about = json.loads(note_of(run / 'model.safetensors')['about'])
    method = load_run(run).method

    def without_numbers(method, *_):
        with torch.no_grad():
            for p in method.parameters():
                p.fill_(float('nan'))
        return method

    save_model(without_numbers(method), run / 'model.safetensors', about)
    with pytest.raises(RunError, match='holds what is no finite number'):
        load_run(run)
    monkeypatch.setattr('trmml_nb.runs.run.load_model', without_numbers)  # numbers that fail only when it predicts
    more = dict(cache=str(tmp_path / 'cache'), progress=False)
    picture = next(p for p in sorted(album.rglob('*')) if p.suffix in ('.png', '.jpg'))
    for work in (
        lambda: predict_job(run, album, tmp_path / 'out.csv', **more),
        lambda: complete_job(run, album / 'labels.csv', tmp_path / 'out.csv', **more),
        lambda: evaluate_job(run, **more),
        lambda: inspect_job(run, picture, tmp_path / 'out.csv'),
        lambda: load_run(run).predict(picture),
    ):
        with pytest.raises(RunError, match='gives no numbers for'):
            work()
        assert not (tmp_path / 'out.csv').exists()


@pytest.mark.fault('overwriting', 'a file of yours that is called like a checkpoint', 'it stays')
def test_files_of_a_person_stay(run, place):
    "A checkpoint is removed only if it says of itself that it is one."
    for name in ('checkpoint.safetensors', 'checkpoint.pt'):
        (run / name).write_bytes(b'years of work')
        with pytest.raises(JobError, match='holds a finished run'):
            train_job(TrainJob(limit=80, epochs=2, out=str(run)), progress=False)
        assert (run / name).read_bytes() == b'years of work'
        (run / name).unlink()


def drawn_names(fig, ax):
    "Boxes of the names at the ends of lines, as they are on the page."
    fig.draw_without_rendering()
    return [t.get_window_extent() for t in ax.texts if t.get_gid() == 'direct-label'], fig.bbox


@pytest.mark.parametrize('before', [40.0, 91.4, 91.5, 91.55])
@pytest.mark.parametrize('epochs', [1, 2, 8])
def test_curves_show_no_noise_and_their_names_stand_apart(before, epochs):
    "All scores within a tenth of a point: the axis shows twenty points; names never lie over each other or the edge."
    r = np.random.default_rng(0)
    history = pd.DataFrame(
        dict(epoch=range(epochs), lr=0.1, loss=0.3, classification=0.2, contrast=0.2001, seconds=1.0)
    )
    history['test_mAP'], history['test_mAP_ema'] = 91.5 + r.random(epochs) / 20, 91.52 + r.random(epochs) / 20
    fig = curves_figure(history, dict(zero_shot_mAP=before, mAP=91.45))
    left, right = fig.axes
    low, high = right.get_ylim()
    assert high - low >= 20 and high <= 100 and low <= before <= high
    for ax, count in ((left, 2), (right, 4)):
        boxes, page = drawn_names(fig, ax)
        assert len(boxes) == count
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
        assert all(b.x1 <= page.x1 and b.y0 >= page.y0 for b in boxes)
        ticks = [t for t in ax.get_xticks() if ax.get_xlim()[0] <= t <= ax.get_xlim()[1]]
        assert ticks and all(float(t).is_integer() for t in ticks)
    assert all(np.isfinite(line.get_ydata()).all() for line in right.lines)


def test_curves_say_where_the_saved_model_stands_if_it_is_another():
    history = pd.DataFrame(dict(epoch=[0, 1], loss=[0.3, 0.2], test_mAP=[90.0, np.nan], test_mAP_ema=[90.0, 91.0]))
    names = lambda mAP: [t.get_text() for t in curves_figure(history, dict(zero_shot_mAP=80.0, mAP=mAP)).axes[1].texts]
    assert names(91.01) == ['plain', 'averaged', 'zero-shot']
    assert names(90.2) == ['plain', 'averaged', 'zero-shot', 'as saved']


@pytest.mark.parametrize('epochs', [1, 3])
@pytest.mark.parametrize('drawn', [0, 1])
def test_curves_where_nothing_is_known_absent(epochs, drawn):
    "Positives alone have no mAP, so metrics say None: nothing is drawn of it, and nothing breaks."
    history = pd.DataFrame(dict(epoch=range(epochs), loss=0.3, test_mAP=np.nan, test_mAP_ema=np.nan))
    fig = curves_figure(history, dict(zero_shot_mAP=[None, 80.0][drawn], mAP=None))
    fig.canvas.draw()
    assert not any('saved' in t.get_text() for t in fig.axes[1].texts)


@pytest.mark.parametrize('count', [1, 20, 60, 61, 80, 200, 240, 241, 1203])
def test_every_category_is_drawn_or_it_is_said_how_many_are_not(count):
    r = np.random.default_rng(1)
    scores = {f'category {i}': 100 * float(x) for i, x in enumerate(r.random(count))}
    fig = per_class_figure(dict(per_class_AP=scores | dict(nothing=None), zero_shot_per_class_AP=scores))
    drawn = [t.get_text() for ax in fig.axes for t in ax.get_yticklabels()]
    best_first = sorted(scores, key=scores.get, reverse=True)
    said = fig.get_suptitle()
    if count <= 240:
        assert drawn == best_first and not said
    else:
        assert drawn == best_first[:120] + best_first[-120:] and f'of {count:,} categories' in said
    assert len({ax.get_xlim() for ax in fig.axes}) == 1, 'bars of all parts have one scale'
    assert max(len(ax.get_yticks()) for ax in fig.axes) <= 60


def test_long_names_of_categories_are_whole_and_apart():
    scores = {f'{i} a category whose name is very long, as names in real tables can be': 50.0 + i for i in range(9)}
    fig = per_class_figure(dict(per_class_AP=scores, zero_shot_per_class_AP=scores))
    fig.draw_without_rendering()
    (ax,) = fig.axes
    boxes = [t.get_window_extent() for t in ax.get_yticklabels()]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert {t.get_text().replace('\n', ' ') for t in ax.get_yticklabels()} == set(scores)
    assert ax.get_window_extent().width > 0.4 * fig.bbox.width


def test_each_long_step_is_named_before_it_begins(place, monkeypatch, capsys):
    "Nobody waits without knowing for what."
    heard = said_before(
        'trmml_nb.runs.train', ('load_sets', 'load_tower', 'build_method', 'finish_run'), monkeypatch, capsys
    )
    train_job(TrainJob(limit=20, epochs=1, out=str(place / 'words'), cache=str(place / 'cache')), progress=True)
    assert heard == dict(
        load_sets='reading the data: scenes',
        load_tower='loading the tower: tiny',
        build_method='preparing the method: TRM-ML adaptive',
        finish_run='measuring on scenes/test, saving, and drawing the figures',
    )


def test_of_scenes_only_those_that_are_asked_for_are_drawn(monkeypatch):
    "Planning a scene takes milliseconds, and there are 3,000; the first few are the same either way."
    from trmml_nb.runs import sets

    asked, whole = [], sets.scenes_dataset
    monkeypatch.setattr(sets, 'scenes_dataset', lambda split, n=None: asked.append((split, n)) or whole(split, n))
    for got, split in zip(sets.load_sets(TrainJob(data='scenes', limit=7)), ('train', 'test')):
        some = whole(split, 9).subset(range(7))
        assert got.image_ids == some.image_ids and got.split == some.split and (got.truth == some.truth).all()
    sets.load_sets(TrainJob(data='scenes', limit=10**6, eval_split='val', train_split='val'))
    assert asked == [('train', 7), ('test', 7), ('val', 500), ('val', 500)]
