"Sheets as people write them, honest probabilities, and the way from a folder to completed labels and a report."

import json
import os
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from PIL import Image
from typer.testing import CliRunner

from helpers.steps import said_before
from trmml_nb.yours.calibration import CalibrationError, folds
from trmml_nb.cli import app
from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.data.labels import bernoulli_mask
from trmml_nb.data.voc import voc_dataset
from trmml_nb.errors import RunError, TrmmlError
from trmml_nb.yours import photographs as own_photographs
from trmml_nb.runs.sets import zero_shot_cosines
from trmml_nb.yours.photographs import (
    check_album,
    Kept,
    PhotosError,
    PhotosJob,
    claim_photos,
    deliver,
    held_out_logits,
    limits,
    next_folder,
    photos_job,
    few_marks,
    html_table,
    report_html,
    study,
    sureness,
    tower_alone,
)
from trmml_nb.runs.options import TrainJob
from trmml_nb.runs.run import UNFINISHED, load_run
from trmml_nb.data.cells import TableError
from trmml_nb.data.votes import Sheet
from trmml_nb.data.tables import read_sheet
from trmml_nb.towers.encode import encode_dataset
from trmml_nb.towers.tower import load_tower
from trmml_nb.training.trainer import predict_logits

NAMES = ['dog', 'tree', '=cmd|calc', '<b>car</b>']


@pytest.fixture(scope='module')
def album(tmp_path_factory):
    "Forty scenes in nested folders; two annotators; names that a spreadsheet or a browser would run."
    root, data, rng = tmp_path_factory.mktemp('album') / 'photos', scenes_dataset('val', 40), np.random.default_rng(0)
    columns = [data.class_names.index(c) for c in ('dog', 'tree', 'person', 'car')]
    lines = ['image,annotator,' + ','.join(NAMES)]
    for i in range(40):
        name = f"{('a', 'b/c')[i % 2]}/{'=' if i == 1 else ''}{i}.png"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        data.image(i).resize((64, 64)).save(root / name)
        if i < 36:
            lines.append(
                ','.join([
                    name,
                    'ann',
                    *(('no', 'yes')[data.truth[i, c]] if rng.random() < 0.7 else '' for c in columns),
                ])
            )
    lines.append(f'a/0.png,bob,{("yes", "no")[data.truth[0, columns[0]]]},,,')
    (root / 'labels.csv').write_text('\n'.join(lines) + '\n')
    return root


@pytest.fixture(scope='module')
def run(album):
    return photos_job(
        PhotosJob(
            str(album),
            categories='kite',
            epochs=2,
            out=str(album.parent / 'run'),
            cache=str(album.parent / 'cache'),
            folds=2,
        ),
        progress=False,
    )


def put(folder, text):
    (folder / 'labels.csv').write_text(text)
    return folder / 'labels.csv'


@pytest.fixture
def two(tmp_path):
    (tmp_path / 'sub').mkdir()
    for name in ('a.png', 'sub/b.png'):
        Image.new('RGB', (8, 8)).save(tmp_path / name)
    return tmp_path


# -- the whole way


def test_files_and_given_labels(run, album):
    assert sorted(p.name for p in run.iterdir()) == [
        'completed.csv',
        'config.json',
        'decisions.json',
        'disagreements.csv',
        'metrics.json',
        'model.safetensors',
        'report.html',
    ]
    done = pd.read_csv(run / 'completed.csv').set_index('image')
    assert len(done) == 40 and "'=cmd|calc" in done and 'kite' in done
    sheet = read_sheet(album / 'labels.csv')
    names = dict(zip(sheet.dataset.class_names, ['dog', 'tree', "'=cmd|calc", '<b>car</b>']))
    for c, name in enumerate(sheet.dataset.class_names):
        known = sheet.dataset.known_mask[:, c]
        assert (done[names[name]].to_numpy()[known] == sheet.dataset.targets[known, c]).all()
    assert pd.read_csv(run / 'disagreements.csv')['image'].tolist() == ['a/0.png']
    metrics = json.loads((run / 'metrics.json').read_text())
    assert 'cross-validation' in metrics['measured'] and metrics['per_class_known']['kite'] == 0


@pytest.mark.fault('hostile files', 'formulas in names (`=cmd`)', 'written so that no spreadsheet runs them')
def test_no_cell_is_a_formula_and_no_name_is_html(run):
    for name in ('completed.csv', 'disagreements.csv'):
        for cell in re.split(r'[,\n]', (run / name).read_text()):
            assert not cell.lstrip('"').startswith(('=', '+', '-', '@'))
    page, found = (run / 'report.html').read_text(), []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append((tag, dict(attributes)))
    parser.feed(page)
    assert (
        '&lt;b&gt;car' in page
        and not any(tag in ('b', 'script') and 'car' in str(a) for tag, a in found)
        and '<b>car' not in page
    )
    assert not [t for t, _ in found if t in ('script', 'link', 'iframe')] and all(
        a['src'].startswith('data:') for t, a in found if t == 'img'
    )
    assert 'No label at all: kite' in page and '://' not in page


def test_nothing_is_overwritten(run, album):
    before = (album / 'labels.csv').read_bytes()
    with pytest.raises(ValueError, match='finished run'):
        photos_job(PhotosJob(str(album), out=str(run), cache=str(album.parent / 'cache')), progress=False)
    assert (album / 'labels.csv').read_bytes() == before


def test_the_run_can_be_used_and_repeats(run, album):
    assert set(load_run(run).predict(album / 'a' / '0.png').probabilities) == set(NAMES) | {'kite'}
    twin = photos_job(
        PhotosJob(
            str(album),
            categories='kite',
            epochs=2,
            out=str(album.parent / 'twin'),
            cache=str(album.parent / 'cache'),
            folds=2,
        ),
        progress=False,
    )
    for name in ('completed.csv', 'model.safetensors', 'decisions.json'):
        assert (run / name).read_bytes() == (twin / name).read_bytes(), name


def test_command_line(album):
    out = album.parent / 'by-hand'
    done = CliRunner().invoke(
        app,
        [
            'photos',
            str(album),
            '--epochs',
            '1',
            '--folds',
            '2',
            '--out',
            str(out),
            '--cache',
            str(album.parent / 'cache'),
        ],
    )
    assert done.exit_code == 0 and 'report.html' in done.output and (out / 'completed.csv').exists(), done.output
    for args, said in (
        (['nowhere'], 'no such folder'),
        ([str(album), '--labels', 'no.csv'], 'no.csv'),
        ([str(album), '--folds', '1'], '--folds is 1'),
    ):
        wrong = CliRunner().invoke(app, ['photos', *args, '--out', str(album.parent / 'x')])
        assert wrong.exit_code == 1 and said in wrong.output and not (album.parent / 'x').exists()


def test_no_labels_at_all(two):
    put(two, 'image,dog\na.png,\n')
    with pytest.raises((PhotosError, CalibrationError)):
        photos_job(PhotosJob(str(two), out=str(two.parent / 'o'), folds=2), progress=False)


def test_sureness_and_limits(two):
    assert np.allclose(sureness(np.array([[0.7], [0.2], [0.4]]), np.array([0.4])).ravel(), [0.5, 0.5, 0])
    sheet = read_sheet(put(two, 'image,dog,cat,bird\na.png,1,0,\nsub/b.png,0,,\n'), categories=['kite'])
    result = study(sheet, np.array([[2.0, -1, 0, 0], [-2, 1, 0, 0]]), np.zeros((2, 4)), parts=2)
    said = ' '.join(limits(result))
    assert 'No label at all: bird, kite' in said and 'Fewer than five known present labels: dog' in said
    assert result.filled[:, 0].tolist() == [1, 0] and result.filled[0, 1] == 0 and len(result.check_first(50)) == 8 - 3
    assert 'Training did not help' not in said, 'the logits rank better than equal scores'
    scores = np.array([[-2.0, 1, 0, 0], [2, -1, 0, 0]]), np.array([[2.0, 0, 0, 0], [1, 0, 0, 0]])
    worse, forced = study(sheet, *scores, parts=2), study(sheet, *scores, parts=2, model='trained')
    assert (
        'Training did not help here' in limits(worse)[1]
        and 'the model of this run is the tower alone' in limits(worse)[1]
    )
    assert (worse.chosen, worse.metrics['mAP'], worse.metrics['trained_mAP']) == ('tower', 100, 50) and (
        worse.raw[:, 0] > 0.5
    ).all()
    assert 'because you asked for it' in limits(forced)[1] and (forced.chosen, forced.metrics['mAP']) == ('trained', 50)
    assert 'the tower alone, without training' in report_html(
        worse, 'x', check=1
    ) and 'Kept: the trained model' in report_html(forced, 'x', check=1)
    assert '–' in report_html(result, 'x', check=1)


# -- which model is kept


def test_a_training_that_went_wrong_is_not_handed_out(album, monkeypatch):
    "Held-out logits of noise: the tower alone is kept, says so everywhere, and can be used like any run."
    monkeypatch.setattr(own_photographs, 'held_out_logits', lambda *a: np.random.default_rng(0).normal(size=(40, 4)))
    monkeypatch.setattr(
        own_photographs, 'fit_rows', lambda *a: pytest.fail('nothing is trained for a model that is not kept')
    )
    options = dict(out=str(album.parent / 'noise'), cache=str(album.parent / 'cache'), folds=2, epochs=2)
    run = photos_job(PhotosJob(str(album), **options), progress=False)
    decisions, metrics = (json.loads((run / f'{n}.json').read_text()) for n in ('decisions', 'metrics'))
    assert (
        decisions['model'] == metrics['model'] == 'tower'
        and metrics['mAP'] == metrics['zero_shot_mAP'] > metrics['trained_mAP']
    )
    assert decisions['cross_validated_mAP'] == dict(trained=metrics['trained_mAP'], tower=metrics['zero_shot_mAP'])
    assert 'Training did not help here' in (run / 'report.html').read_text()
    recogniser = load_run(run)
    data = read_sheet(album / 'labels.csv').dataset
    p = recogniser.predict_dataset(data, options['cache'], progress=False)
    store = own_photographs.encode_dataset(recogniser.tower, data, options['cache'], progress=False)
    cosines = zero_shot_cosines(recogniser.tower, store, data.class_names)['image']
    assert (np.argsort(p, 0) == np.argsort(cosines, 0)).all()
    known = data.known_mask
    assert p[known].mean() == pytest.approx((data.targets[known] == 1).mean(), abs=0.02), (
        'its bias fits the labels, and was saved'
    )
    again = own_photographs.predict_logits(tower_alone(recogniser.tower, store, data), store).sigmoid().numpy()
    assert np.allclose(again, p, atol=1e-6)


def test_the_model_that_is_asked_for_is_kept(run, album):
    out = album.parent / 'asked'
    photos_job(
        PhotosJob(str(album), model='tower', epochs=2, folds=2, out=str(out), cache=str(album.parent / 'cache')),
        progress=False,
    )
    assert (
        json.loads((out / 'config.json').read_text())['method'] == 'zero_shot'
        and json.loads((out / 'decisions.json').read_text())['model'] == 'tower'
    )
    with pytest.raises(PhotosError, match='expected one of best, trained, tower'):
        PhotosJob(str(album), model='both')


# -- runs that were stopped; real kills are in test_kills


def test_pieces_count_only_for_their_key_and_whole(tmp_path):
    piece = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    Kept(tmp_path, 'k').write('fold-1', piece)
    same, other, none = Kept(tmp_path, 'k'), Kept(tmp_path, 'l'), Kept(tmp_path, 'k')
    found = same.read('fold-1')
    assert found.dtype == piece.dtype and (found == piece).all() and same.taken == 1
    assert (
        other.read('fold-1') is None
        and (other.taken, other.stale) == (0, 1)
        and none.read('fold-2') is None
        and none.stale == 0
    )
    raw = bytearray(same.path('fold-1').read_bytes())
    for damaged in (raw[:-1], raw[:10], b'', raw[:-1] + bytes([raw[-1] ^ 1])):
        same.path('fold-1').write_bytes(damaged)
        assert Kept(tmp_path, 'k').read('fold-1') is None


class Stop(BaseException):
    pass


def stop_at(monkeypatch, number):
    "Let the training with this number, from 1, fail as a kill would; returns the list of trainings."
    made, real = [], own_photographs.fit_rows

    def fit(*args, **said):
        made.append(args)
        if len(made) == number:
            raise Stop
        return real(*args, **said)

    monkeypatch.setattr(own_photographs, 'fit_rows', fit)
    return made


def test_a_stopped_run_goes_on_and_says_so(album, monkeypatch, capsys):
    root = album.parent / 'stopped'
    (root / 'photos').mkdir(parents=True)
    monkeypatch.chdir(root)
    job = dict(photos=str(album), epochs=1, folds=3, model='trained', cache=str(album.parent / 'cache'))
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        with pytest.raises(Stop):
            photos_job(PhotosJob(**job), progress=False)
    first = root / 'runs' / 'photos'
    assert sorted(p.name for p in first.iterdir()) == ['fold-1.safetensors', 'fold-2.safetensors', UNFINISHED]
    assert next_folder('runs/photos') == 'runs/photos-2' and PhotosJob(**job).training.out == 'runs/photos'
    assert PhotosJob(**{**job, 'epochs': 2}).training.out == 'runs/photos-2', 'another run does not touch it'
    with pytest.raises(PhotosError, match=r'started with --epochs 1, now 2; --folds 3, now 2\. Use the same options'):
        photos_job(PhotosJob(**{**job, 'epochs': 2, 'folds': 2}, out=str(first)), progress=False)
    with monkeypatch.context() as patch:
        made = stop_at(patch, 0)
        capsys.readouterr()
        assert (
            photos_job(PhotosJob(**job)) == first.relative_to(root) and len(made) == 2
        )  # the third fold, and all rows
    assert 'went on with an unfinished run, 2 of 3 folds were taken over\n' in capsys.readouterr().out
    assert not (first / UNFINISHED).exists() and not list(first.glob('fold*')) and (first / 'report.html').exists()
    assert PhotosJob(**job).training.out == 'runs/photos-2'


@pytest.mark.fault(
    'stopped in the middle',
    '`trmml photos` stopped, and labels mended before it goes on',
    'folds of the old labels are not used, and it says so',
)
def test_labels_that_changed_in_between_are_used(album, monkeypatch, capsys):
    labels, out = album.parent / 'mended.csv', album.parent / 'mended'
    text = (album / 'labels.csv').read_text()
    labels.write_text(text)
    job = dict(
        photos=str(album), labels=str(labels), epochs=1, folds=2, model='trained', cache=str(album.parent / 'cache')
    )
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(Stop):
            photos_job(PhotosJob(**job, out=str(out)), progress=False)
    labels.write_text(text.replace('yes', 'no', 3))
    with monkeypatch.context() as patch:
        made = stop_at(patch, 0)
        photos_job(PhotosJob(**job, out=str(out)))
    assert (
        len(made) == 3
        and '0 of 2 folds were taken over, 1 not: labels, photographs or versions are others now'
        in capsys.readouterr().out
    )
    fresh = photos_job(PhotosJob(**job, out=str(album.parent / 'fresh')), progress=False)
    for name in ('completed.csv', 'model.safetensors', 'decisions.json', 'metrics.json', 'report.html'):
        assert (out / name).read_bytes() == (fresh / name).read_bytes(), name


@pytest.mark.fault(
    'overwriting',
    'a file of yours in the folder of an unfinished run',
    'refused; the file stays as it was',
)
def test_what_a_person_puts_into_an_unfinished_run_stays(album, monkeypatch):
    out = album.parent / 'mine'
    job = PhotosJob(str(album), epochs=1, folds=2, out=str(out), cache=str(album.parent / 'cache'))
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(Stop):
            photos_job(job, progress=False)
    (out / 'completed.csv').write_text('mine')
    with pytest.raises(
        PhotosError, match=r'completed\.csv: exists and is not what would be written; it is not overwritten'
    ):
        photos_job(job, progress=False)
    assert (
        (out / 'completed.csv').read_text() == 'mine'
        and not (out / 'report.html').exists()
        and (out / UNFINISHED).exists()
    )
    (out / 'completed.csv').unlink()
    assert (photos_job(job, progress=False) / 'report.html').exists() and not (out / '.results').exists()


def test_folders_that_are_claimed_and_those_that_are_not(album, tmp_path):
    def claim(name):
        job = PhotosJob(str(album), out=str(tmp_path / name))
        return claim_photos(job, job.training)

    assert claim('new') == (tmp_path / 'new', False) and not (tmp_path / 'new').exists(), (
        'a try that is refused leaves nothing'
    )
    (tmp_path / 'new').mkdir()
    (tmp_path / 'new' / f'.{UNFINISHED}.host.7.part').write_text('{')
    assert claim('new') == (tmp_path / 'new', False), 'killed while it wrote its first file'
    for name, said in (
        ('notes.txt', 'is not empty and holds no run'),
        ('config.json', 'unfinished run of another kind'),
    ):
        (tmp_path / name[:5]).mkdir()
        (tmp_path / name[:5] / name).write_text('{}')
        with pytest.raises(ValueError, match=said):
            claim(name[:5])
    (tmp_path / 'confi' / 'model.safetensors').write_bytes(b'')  # `photos` has no --resume to be told of
    (tmp_path / 'link').mkdir()
    (tmp_path / 'link/config.json').symlink_to(tmp_path / 'nowhere')
    for name in ('confi', 'link'):
        with pytest.raises(ValueError, match='unfinished run of another kind; choose another --out'):
            claim(name)
    (tmp_path / 'bad').mkdir()
    (tmp_path / 'bad' / UNFINISHED).write_text('{')
    with pytest.raises(ValueError, match='unfinished.json: not a readable file'):
        claim('bad')


def test_a_delivery_that_was_stopped_is_ended(tmp_path):
    """Half of the results are in their places, under another spelling of --out; and everything that a run keeps for
    itself goes."""
    made = tmp_path / '.results'
    made.mkdir()
    for name, content in {
        'completed.csv': 'a',
        'report.html': 'r',
        'config.json': json.dumps(dict(epochs=3, job=dict(out='./run', seed=0))),
    }.items():
        (made / name).write_text(content)
    (tmp_path / 'completed.csv').write_text('a')
    (tmp_path / 'config.json').write_text(json.dumps(dict(epochs=3, job=dict(out='run', seed=0))))
    for name in (UNFINISHED, f'.{UNFINISHED}.host.7.part', '.fold-2.safetensors.host.7.part'):
        (tmp_path / name).write_text('{}')
    save_file(dict(piece=np.zeros(2)), tmp_path / 'fold-1.safetensors', dict(key='k', sha256='s'))
    save_file(dict(mine=np.zeros(2)), tmp_path / 'fold-9.safetensors')  # a person's own, by chance of such a name
    deliver(made, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        'completed.csv',
        'config.json',
        'fold-9.safetensors',
        'report.html',
    ]
    for there in (
        '{"epochs": 3, "job": {"out": "run", "seed": 1}}',
        '{"epochs": 4, "job": {"out": "run", "seed": 0}}',
        'mine',
        '[]',
    ):
        made.mkdir(exist_ok=True)
        (made / 'config.json').write_text(json.dumps(dict(epochs=3, job=dict(out='./run', seed=0))))
        (tmp_path / 'config.json').write_text(there)
        with pytest.raises(PhotosError, match='config.json: exists and is not what would be written'):
            deliver(made, tmp_path)
        assert (tmp_path / 'config.json').read_text() == there


# -- what is known absent nowhere, and towers that cannot serve


def test_positives_only_give_no_ap_and_something_that_works(album, capsys):
    "Only what is there was noted: dashes, a choice that says what it rests on, proposals that are not all present."
    labels = album.parent / 'positives.csv'
    labels.write_text(re.sub(r'\bno\b', '', (album / 'labels.csv').read_text()))
    out = album.parent / 'positives'
    done = CliRunner().invoke(
        app,
        ['photos', str(album), '--labels', str(labels), '--epochs', '2', '--folds', '2', '--out', str(out)]
        + ['--cache', str(album.parent / 'cache')],
    )
    assert done.exit_code == 0, done.output
    assert 'did not see: – (without training: –)' in done.output and '4 of 4 categories are left out' in done.output
    assert 'nothing is known absent' in done.output
    metrics = json.loads((out / 'metrics.json').read_text())
    assert metrics['mAP'] is None and metrics['choice_rests_on'] == 'assumed labels' and len(metrics['left_out']) == 4
    assert set(metrics['per_class_AP'].values()) == {None} and metrics['OF1'] is None
    page = (out / 'report.html').read_text()
    assert 'Never known absent' in page and 'random part of all' in page and 'blanks as absent' in page
    sheet = read_sheet(album / 'labels.csv')
    p = pd.read_csv(out / 'completed.csv').filter(like='(probability)').to_numpy()
    assert 0.02 < (p >= 0.5).mean() < 0.9, 'neither everything nor nothing is proposed'
    absent = sheet.dataset.targets == 0
    assert p[absent].mean() < p[sheet.dataset.targets == 1].mean()


def test_photographs_need_a_word_on_the_tower(tmp_path):
    "Noise stands for photographs. Without --clip nothing is begun; with --clip tiny a note comes first."
    rng = np.random.default_rng(0)
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / f'{i}.png')
    put(tmp_path, 'image,dog,cat\n' + ''.join(f'{i}.png,{i % 2},{1 - i % 2}\n' for i in range(6)))
    out = tmp_path / 'made'
    command = [
        'photos',
        str(tmp_path),
        '--epochs',
        '1',
        '--folds',
        '2',
        '--out',
        str(out),
        '--cache',
        str(tmp_path / 'c'),
    ]
    wrong = CliRunner().invoke(app, command)
    assert wrong.exit_code == 1 and 'no tower was chosen' in wrong.output and 'RN50' in wrong.output
    assert not out.exists() and not list(tmp_path.glob('.made*'))
    fine = CliRunner().invoke(app, [*command, '--clip', 'tiny'])
    assert fine.exit_code == 0 and 'knows drawn scenes only' in fine.output, fine.output


def test_every_command_reads_one_table_alike(album, run, monkeypatch):
    "1 / -1 / 0 is asked about by photos, train, complete and review; with a code all read the same."
    from trmml_nb.people.review import open_review
    from trmml_nb.data.reading import Reading

    text = (album / 'labels.csv').read_text().replace('annotator,', '').replace('yes', '1')
    text = re.sub(r'\bno\b', '-1', text)
    lines = [line.replace(',ann', '') for line in text.splitlines() if ',bob' not in line]
    lines[1] = lines[1].rsplit(',', 1)[0] + ',0'
    labels = album.parent / 'signed.csv'
    labels.write_text('\n'.join(lines) + '\n')
    scores = album.parent / 'scores.csv'
    cache = ['--cache', str(album.parent / 'cache')]
    commands = (
        ['photos', str(album), '--labels', str(labels), '--epochs', '1', '--folds', '2'],
        ['train', '--data', 'csv', '--labels', str(labels), '--root', str(album), '--epochs', '1'],
        ['complete', str(run), '--labels', str(labels), '--root', str(album)],
    )
    for k, command in enumerate(commands):
        out = album.parent / f'coded-{k}{".csv" if command[0] == "complete" else ""}'
        asked = CliRunner().invoke(app, [*command, '--out', str(out), *cache])
        assert asked.exit_code == 1 and 'more than one reading' in asked.output and not out.exists(), asked.output
        done = CliRunner().invoke(app, [*command, '--out', str(out), *cache, '--code', 'signed'])
        assert done.exit_code == 0 and out.exists(), done.output
    with pytest.raises(TableError, match='more than one reading'):
        open_review(labels, scores, album.parent / 'answers.csv', 'Ada', root=album)
    with pytest.raises(ValueError, match='scores.csv'):  # the table is read; the scores are not there
        open_review(labels, scores, album.parent / 'answers.csv', 'Ada', root=album, reading=Reading(code='signed'))


def album_of(data, draw, count=400):
    "So many pictures drawn from a data set, half of their labels hidden."
    album = data.subset(np.sort(np.random.default_rng(100 + draw).choice(len(data), count, replace=False)))
    return album.with_mask(bernoulli_mask(album.truth.shape, 0.5, seed=draw))


@pytest.mark.skipif(
    not {'TRMML_VOC2007', 'TRMML_VOC2007_CLIP'} <= os.environ.keys(),
    reason='needs photographs: TRMML_VOC2007=VOCdevkit TRMML_VOC2007_CLIP=local-dir:FOLDER',
)
def test_proposals_on_photographs_hold_as_expected():
    "Five albums of 400 photographs, half labelled: precision, recall, and what the report expects of the precision."
    data, tower = voc_dataset(os.environ['TRMML_VOC2007'], 'train'), os.environ['TRMML_VOC2007_CLIP']
    job = TrainJob(clip=tower, image_size=448, data='csv', labels='labels.csv', root='.', method='trmml_adaptive')
    tower, found = load_tower(tower, image_size=448), []
    for draw in range(5):
        album = album_of(data, draw)
        store = encode_dataset(tower, album, progress=False).to_memory()
        trained = held_out_logits(tower, store, album, job)
        result = study(
            Sheet(album, pd.DataFrame(columns=['image', 'category', 'present', 'absent', 'label'])),
            trained,
            predict_logits(tower_alone(tower, store, album), store).numpy(),
        )
        proposed = (result.probabilities >= result.thresholds) & ~album.known_mask
        right = (album.truth == 1) & proposed
        recall = right.sum() / ((album.truth == 1) & ~album.known_mask).sum()
        found.append((right.sum() / proposed.sum(), recall, result.metrics['expected_precision']))
    precision, recall, expected = np.mean(found, axis=0)
    print(np.round(found, 3).tolist())
    assert precision >= 0.85 and recall >= 0.7 and abs(expected - precision) <= 0.05


def test_the_report_expects_a_precision(run):
    metrics, page = json.loads((run / 'metrics.json').read_text()), (run / 'report.html').read_text()
    assert (
        0 <= metrics['expected_precision'] <= 1 and 'share of them that should hold' in page and '95 % interval' in page
    )
    assert 'expected_precision' not in page and 'known_share' not in page and 'name="viewport"' in page


def test_measures_of_few_labels_are_marked():
    table = pd.DataFrame(dict(present=[1, 4, 5, 2], AP=[100.0, 50.0, 60.0, np.nan]), index=['a', 'b', 'c', 'd'])
    marks = few_marks(table)
    assert marks == {('a', 'AP'): 'from 1 positive', ('b', 'AP'): 'from 4 positives'}
    page = html_table(table, marks=marks)
    assert page.count('class="few"') == 2 and '100.00 <span class="few">from 1 positive</span>' in page


# -- what a run of photographs is worth to every other command


def test_every_command_on_a_run_of_photographs(run, album, tmp_path):
    "It works, or it says in one line what to do; a completed table that is given back holds what people said."
    cache = ['--cache', str(album.parent / 'cache')]
    table = ['--labels', str(album / 'labels.csv'), '--root', str(album)]
    for command, code, said in (
        (['evaluate', str(run)], 1, 'was measured by cross-validation'),
        (['evaluate', str(run), *table], 0, 'mAP'),
        (['complete', str(run), '--out', str(tmp_path / 'a.csv')], 1, 'has completed its own table'),
        (['complete', str(run), *table, '--out', str(tmp_path / 'b.csv')], 0, 'labels were given'),
        (['predict', str(run), str(album), '--out', str(tmp_path / 's.csv')], 0, 'scores'),
        (['check', str(album)], 0, 'to encode: 40 images'),
    ):
        done = CliRunner().invoke(app, command + (cache if command[0] != 'check' else []))
        assert done.exit_code == code and said in done.output, (command, done.output)
        assert code == 0 or len(done.output.strip().splitlines()) == 1
    first, again = read_sheet(album / 'labels.csv').dataset, pd.read_csv(run / 'completed.csv')
    back = read_sheet(run / 'completed.csv', album).dataset
    assert (back.targets[:, :4] == first.targets).all() and (back.targets[:, 4] == -1).all()
    row, column = np.argwhere(first.targets == -1)[0]
    name = again.columns[1 + column]
    again.loc[row, name] = 1 - again.loc[row, name]
    again.to_csv(tmp_path / 'mended.csv', index=False)
    mended = read_sheet(tmp_path / 'mended.csv', album)
    assert mended.dataset.targets[row, column] == again.loc[row, name], 'a proposal that was changed is a label'
    assert any('1 that was changed as a label' in n for n in mended.notes)


def test_too_few_labels_are_refused_before_anything_is_encoded_and_leave_nothing(album, tmp_path):
    (tmp_path / 'few.csv').write_text(
        'image,dog\n' + ''.join(f'{i},1\n' for i in read_sheet(album / 'labels.csv').dataset.image_ids[:2])
    )
    said = dict(labels=str(tmp_path / 'few.csv'), out=str(tmp_path / 'run'), cache=str(tmp_path / 'cache'))
    with pytest.raises(PhotosError, match='2 photographs have a label, and .* needs 3.*--folds 2'):
        photos_job(PhotosJob(str(album), **said), progress=False)
    assert '2 photographs have a label' in check_album(PhotosJob(str(album), **said))[-1]
    assert not (tmp_path / 'run').exists() and not (tmp_path / 'cache').exists()


def test_a_run_that_is_refused_at_its_folds_leaves_nothing(tmp_path):
    for i in range(3):
        Image.new('RGB', (32, 32), (200, 30, 30)).save(tmp_path / f'{i}.png')  # copies: one group
    (tmp_path / 'labels.csv').write_text('image,dog\n0.png,1\n1.png,0\n2.png,1\n')
    with pytest.raises(CalibrationError, match='1 image with a label'):
        photos_job(PhotosJob(str(tmp_path), out=str(tmp_path / 'run'), cache=str(tmp_path / 'cache')), progress=False)
    assert not (tmp_path / 'run').exists()


def test_copies_stay_in_one_fold():
    groups = np.array([0, 1, 2, 0, 3, 4, 5, 0, 6])
    for learn, judge in folds(9, 3, 0, groups):
        assert not set(groups[learn]) & set(groups[judge]) and len(learn) + len(judge) == 9
    with pytest.raises(CalibrationError, match='3 folds of 2 images'):
        list(folds(4, 3, 0, np.array([0, 0, 1, 1])))


# -- going on from a finished run


def test_another_category_and_corrected_labels_go_on_from_a_run(album, run, tmp_path, capsys):
    table = pd.read_csv(run / 'completed.csv', dtype=str)
    names = [c for c in table if f'{c} (source)' in table]
    given = table.index[table[f'{names[0]} (source)'].str.startswith('given')][:2]
    table.loc[given[0], names[0]] = str(1 - int(table.loc[given[0], names[0]]))
    table.loc[given[1], [names[0], f'{names[0]} (source)']] = ['', '']
    table['boat'] = ['1', '0'] * (len(table) // 2)
    table.to_csv(tmp_path / 'more.csv', index=False)
    said = dict(labels=str(tmp_path / 'more.csv'), start=str(run), cache=str(album.parent / 'cache'))
    job = PhotosJob(str(album), **said, out=str(tmp_path / 'second'))
    assert (job.epochs, job.folds, job.categories) == (2, 2, 'kite')
    assert PhotosJob(str(album), **said, epochs=3).epochs == 3
    lines = check_album(PhotosJob(str(album), **said))
    new = f'since {run}: 1 category is new (boat); of the labels for both, 0 are new, 1 changed, 1 taken back'
    assert new in lines and 'all photographs are encoded already' in lines
    capsys.readouterr()
    second = photos_job(job)
    assert new in capsys.readouterr().out and new in (second / 'report.html').read_text(encoding='utf-8')
    assert json.loads((second / 'decisions.json').read_text(encoding='utf-8'))['threshold'].keys() == {
        *(name.lstrip("'") for name in names),
        'boat',
    }
    config = json.loads((second / 'config.json').read_text(encoding='utf-8'))
    assert config['went_on_from'] == str(run) and config['job']['start'] is None and config['job']['epochs'] == 2


def test_going_on_from_what_is_no_run_of_photographs(album, tmp_path):
    with pytest.raises(RunError, match='nowhere'):
        PhotosJob(str(album), start=str(tmp_path / 'nowhere'))
    (tmp_path / 'config.json').write_text(json.dumps(dict(job=dict(data='scenes'))), encoding='utf-8')
    with pytest.raises(TrmmlError, match='photos|config'):
        PhotosJob(str(album), start=str(tmp_path))


def test_check_says_what_encoding_costs_or_why_it_cannot(album, tmp_path):
    lines = check_album(PhotosJob(str(album), cache=str(tmp_path)))
    assert any(line.startswith('to encode: 40 images, about ') and 'of disk' in line for line in lines)
    lines = check_album(PhotosJob(str(album), cache=str(tmp_path), clip='RN5O'))
    assert any(line.startswith('what encoding costs cannot be said: ') and 'RN50' in line for line in lines)
    assert not list(tmp_path.glob('*/shard*'))


def test_folds_have_a_bar_with_the_time_that_is_left(album, tmp_path, capsys):
    photos_job(
        PhotosJob(str(album), epochs=2, folds=2, out=str(tmp_path / 'o'), cache=str(album.parent / 'cache'), seed=7)
    )
    said = capsys.readouterr().err
    assert 'cross-validation, 2 trainings: 4 of 4 passes, 100 %' in said and '\r' not in said


def test_each_long_step_is_named_before_it_begins(album, monkeypatch, capsys):
    "Nobody waits without knowing for what."
    heard = said_before(
        'trmml_nb.yours.photographs', ('read_labels', 'load_tower', 'study', 'write_results'), monkeypatch, capsys
    )
    job = PhotosJob(str(album), epochs=1, out=str(album.parent / 'words'), cache=str(album.parent / 'cache'), folds=2)
    photos_job(job, progress=True)
    assert heard.pop('read_labels') == f'reading {job.labels}, and looking at the photographs in {album}'
    assert heard == dict(
        load_tower='loading the tower: tiny',
        study='calibrating the probabilities, and choosing the thresholds',
        write_results='filling the blanks, and writing the report',
    )
