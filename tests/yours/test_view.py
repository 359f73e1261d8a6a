"""A run folder under the eyes: the widgets open on what the run itself says, for a training and for an album."""

import base64
import io
import json
import re
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from trmml_nb import cli
from trmml_nb.data.dataset import MultiLabelDataset, scenes_dataset
from trmml_nb.data.labels import ABSENT, PRESENT, UNKNOWN
from trmml_nb.runs.options import TrainJob
from trmml_nb.errors import RunError, ViewError
from trmml_nb.io import read_json, write_json
from trmml_nb.runs.run import load_run
from trmml_nb.runs.train import train_job
from trmml_nb.runs.use import complete_job, inspect_job, training_set
from trmml_nb.yours.photographs import PhotosJob, options_again, photos_job
from trmml_nb.yours.view import (
    Inspector,
    OpenRun,
    Reviewer,
    Thresholds,
    about_training,
    again,
    album_of,
    from_completed,
    read_decisions,
    review_notebook,
    save_thresholds,
    view_notebook,
)

pytest.importorskip('anywidget', reason='the widgets need pip install "trmml_nb[notebooks]"')
NAMES = ['=dog', 'tree', '<b>car</b>']  # what a spreadsheet or a browser would run


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    "A scenes run and a photos run, with their features."
    home, data = tmp_path_factory.mktemp('home'), scenes_dataset('val', 45)
    train_job(
        TrainJob(limit=60, epochs=1, known=0.3, cache=str(home / 'cache'), out=str(home / 'scenes')), progress=False
    )
    columns = [data.class_names.index(c) for c in ('dog', 'tree', 'car')]
    (home / 'photos').mkdir()
    lines = ['image,' + ','.join(NAMES)]
    for i in range(45):
        name = ('=' if i == 1 else '') + f'{i:02d}.png'
        data.image(i).save(home / 'photos' / name)
        cells = (str(data.truth[i, c]) if (i + c) % 3 else '' for c in columns)
        lines.append(f'{name},{",".join(cells)}')
    (home / 'photos/labels.csv').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    job = PhotosJob(str(home / 'photos'), epochs=1, folds=2, cache=str(home / 'cache'), out=str(home / 'album'))
    photos_job(job, progress=False)
    return home


def test_a_photos_run_says_what_its_table_says(home):
    live = Reviewer(home / 'album', annotator='Ada', answers=home / 'one.csv')
    seen, table = live.inspection, pd.read_csv(home / 'album/completed.csv')
    filled, said = table.iloc[:, 1:4].to_numpy(), read_decisions(home / 'album', NAMES)
    blank = live.review.dataset.targets == UNKNOWN
    assert blank.sum() > 20 and len(set(said.thresholds)) >= 1 and not np.allclose(said.thresholds, 0.5)
    proposals = {(q.row, q.column): q.label for q in live.review.proposals()}
    assert proposals == {(r, c): filled[r, c] for r, c in np.argwhere(blank)}
    np.testing.assert_allclose(seen.probabilities, table.filter(like='(probability)').to_numpy(), atol=6e-5)
    view = seen.view(1)
    assert view.image_id == '=01.png' and (view.probabilities == seen.probabilities[1]).all()
    assert (view.thresholds == said.thresholds).all()


def test_a_rounded_probability_keeps_its_side_of_the_threshold(tmp_path):
    targets = np.array([[UNKNOWN], [UNKNOWN], [PRESENT]])
    data = MultiLabelDataset('x', 'all', ['a'], ['1', '2', '3'], targets, targets, [None] * 3)
    (tmp_path / 'completed.csv').write_text('image,a,a (probability)\n1,1,0.3333\n2,0,0.3334\n3,1,0.2\n')
    threshold = np.array([1 / 3 + 1e-6])
    p = from_completed(tmp_path, data, threshold)
    assert (p >= threshold)[:, 0].tolist() == [True, False, False] and abs(p[:, 0] - [0.3333, 0.3334, 0.2]).max() < 1e-4
    with pytest.raises(ViewError, match='added or renamed'):
        from_completed(tmp_path, replace(data, class_names=['b']), threshold)


def test_a_correction_does_not_move_what_the_run_said(home, tmp_path):
    run = tmp_path / 'album'
    shutil.copytree(home / 'album', run)
    before = Reviewer(run, answers=tmp_path / 'a.csv').inspection.probabilities
    table = pd.read_csv(run / 'completed.csv', dtype=str, keep_default_na=False)
    turned = table.columns[1:4]
    table[turned] = 1 - table[turned].astype(int)  # as a person may correct them; the sources stay
    for saved in (dict(), dict(sep=';')):  # by this library's rule, and by a spreadsheet that writes decimal commas
        if saved:
            chances = table.columns[7:10]
            table[chances] = table[chances].map(lambda p: p.replace('.', ','))
        table.to_csv(run / 'completed.csv', index=False, **saved)
        assert (Reviewer(run, answers=tmp_path / f'{len(saved)}.csv').inspection.probabilities == before).all()


def test_a_training_shows_its_sets_with_the_labels_it_saw(home):
    measured, learned = Inspector(home / 'scenes').runs[0], Inspector(home / 'scenes', split='train').runs[0]
    assert measured.dataset.split == 'test' and not measured.seen and learned.seen
    assert learned.dataset.targets.tolist() == training_set(home / 'scenes').targets.tolist()
    assert {measured.view(0).state(c) for c in range(20)} == {
        'not in training'
    }  # though its labels are known to the evaluator
    assert {'unknown', 'known absent'} <= {learned.view(0).state(c) for c in range(20)}
    p = load_run(home / 'scenes').predict_dataset(measured.dataset, home / 'cache', progress=False)
    np.testing.assert_allclose(measured.probabilities, p, atol=1e-5)
    assert Inspector(home / 'scenes', split='val').runs[0].dataset.split == 'val'


def test_calibrated_probabilities_of_photographs_outside_the_album(home):
    files = [str(home / f'photos/{i:02d}.png') for i in (4, 3)]
    seen = Inspector(home / 'album', images=files).runs[0]
    assert seen.dataset.image_ids == ['04.png', '03.png'] and not seen.seen
    logits = np.array([
        [np.log(p / (1 - p)) for p in load_run(home / 'album').predict(f).probabilities.values()] for f in files
    ])
    said = json.loads((home / 'album/decisions.json').read_text())
    expected = 1 / (1 + np.exp(-(said['slope'] * logits + np.array([said['shift'][c] for c in NAMES]))))
    np.testing.assert_allclose(seen.probabilities, expected, atol=2e-3)
    assert len(Inspector(home / 'album', images=home / 'photos').runs[0].dataset) == 45
    with pytest.raises(ViewError, match='empty list'):
        Inspector(home / 'album', images=[])


def test_two_runs_side_by_side(home):
    live = Inspector(home / 'scenes', other=home / 'scenes', filter='runs differ')
    assert len(live.runs) == 2 and live.runs[0].name == 'scenes'


def test_the_mistakes_come_first(home):
    live = Inspector(home / 'scenes')
    assert live.filter == 'disagreements' and live.row == live.runs[0].rank('disagreements').rows[0]
    assert Inspector(home / 'scenes', row=3).row == 3
    files = [str(home / f'photos/{i:02d}.png') for i in (4, 3)]
    assert Inspector(home / 'album', images=files).filter == 'all'  # nothing is known of them


def test_answers_are_kept_in_the_run_and_found_again(home):
    first = Reviewer(home / 'scenes', annotator='Ada')
    question = first.review.proposals(count=1)[0]
    first.review.answer((question, 'accept'))
    second = Reviewer(home / 'scenes', annotator='Bob')
    assert second.review.progress()['answered'] == 1 and (home / 'scenes/answers.csv').is_file()
    second.undo()
    assert Reviewer(home / 'scenes', order='diverse').review.annotator


def test_a_label_corrected_in_the_inspector_is_an_answer_of_the_reviewer(home):
    look, path = Inspector(home / 'album', annotator='Ada'), home / 'album/answers.csv'
    row, column = np.argwhere(look.runs[0].dataset.targets == PRESENT)[0].tolist()
    blank = np.argwhere(look.runs[0].dataset.targets == UNKNOWN)[0].tolist()
    for (r, c), said in (((row, column), ABSENT), (blank, PRESENT)):
        look.correct(said, NAMES[c], look.runs[0].dataset.image_ids[r])
    assert 'saved in answers.csv' in look.content['said']
    ask = Reviewer(home / 'album', annotator='Bob')
    assert ask.review.targets[row, column] == ABSENT and ask.review.targets[tuple(blank)] == PRESENT
    assert ask.review.progress()['answered'] == 1  # of the blanks
    ask.review.correct(row, column, None)  # in the reviewer; the inspector reads the file again before it writes
    look.correct(ABSENT, NAMES[blank[1]], look.runs[0].dataset.image_ids[blank[0]])
    assert [a.label for a in look.review.answers] == [ABSENT] and look.reference[row, column] == PRESENT
    look.undo()
    assert look.row == blank[0] and look.label == NAMES[blank[1]] and 'taken back' in look.content['said']
    path.unlink()


def test_a_measured_set_has_a_journal_of_its_own(home):
    learned = home / 'scenes/answers.csv'
    before = learned.read_bytes() if learned.exists() else None
    look = Inspector(home / 'scenes', annotator='Ada')
    look.correct(ABSENT)
    assert (home / 'scenes/answers-test.csv').is_file()
    assert (learned.read_bytes() if learned.exists() else None) == before  # training again learns nothing from it
    assert Inspector(home / 'scenes').review.answers == look.review.answers
    assert Inspector(home / 'scenes', images=home / 'photos').review is None
    look.undo()
    (home / 'scenes/answers-test.csv').unlink()


def test_why_names_training_images_with_their_labels(home):
    look = Inspector(home / 'scenes', annotator='Ada')
    look.explain()
    learned = training_set(home / 'scenes')
    for r in look.why['regions']:
        assert learned.targets[learned.image_ids.index(r['image']), look.names.index(look.label)] == r['label']
    assert look.why['kind'] == 'visual' and len(look.why_pictures) == len(look.why['regions']) > 0
    album = Inspector(home / 'album', annotator='Ada')
    album.explain()
    assert album.content['image'] not in [r['image'] for r in album.why['regions']]


def test_a_threshold_is_saved_and_decides_everywhere_after(home, tmp_path):
    before = {p.name: p.read_bytes() for p in (home / 'album').iterdir() if p.is_file()}
    try:
        line = Thresholds(home / 'album')
        reference, p = Inspector(home / 'album').reference, Inspector(home / 'album').runs[0].probabilities
        column = p[reference[:, 1] == UNKNOWN, 1]
        line.category = 'tree'
        assert line.measures()['proposed'] == (column >= line.thresholds[1]).sum()  # as the table has it
        line.move('tree', 0.125)
        line.save()
        assert 'saved' in line.said and line.thresholds[1] == pytest.approx(0.125, abs=0.0011)
        look = Inspector(home / 'album')
        assert look.runs[0].thresholds.tolist() == line.thresholds
        np.testing.assert_array_equal(look.runs[0].probabilities, p)  # those of the table, by its own thresholds
        asked = {(q.row, q.column): q.label for q in Reviewer(home / 'album', annotator='Ada').review.proposals()}
        assert all(label == (p[r, c] >= line.thresholds[c]) for (r, c), label in asked.items())
        complete_job(
            home / 'album', home / 'photos/labels.csv', tmp_path / 'done.csv', cache=str(home / 'cache'), progress=False
        )
        done = pd.read_csv(tmp_path / 'done.csv')
        blank = done['tree (source)'].str.startswith('proposed') if 'tree (source)' in done else done.index >= 0
        said = done.loc[blank, 'tree'] == 1
        assert (said == (done.loc[blank, 'tree (probability)'] >= line.thresholds[1])).all()
        changed = {n for n, data in before.items() if (home / 'album' / n).read_bytes() != data}
        assert changed == {'decisions.json'}
        with pytest.raises(ViewError, match='between 0 and 1'):
            save_thresholds(home / 'album', NAMES, [0.5, 1, 0.5])
    finally:
        (home / 'album/decisions.json').write_bytes(before['decisions.json'])


def test_thresholds_of_a_training_rest_on_the_measured_set(home):
    line, learned = Thresholds(home / 'scenes'), training_set(home / 'scenes')
    c = line.names.index(line.category)
    assert line.measures()['blanks'] == (learned.targets[:, c] == UNKNOWN).sum() and 'measured' in line.note
    line.move(line.category, 0.3)
    line.save()
    assert read_decisions(home / 'scenes', line.names).thresholds[c] == line.thresholds[c]
    (home / 'scenes/decisions.json').unlink()


@pytest.mark.parametrize('which', ['scenes', 'album'])
def test_training_again_learns_from_the_answers_and_leaves_the_run(home, which):
    before = {p.name: p.read_bytes() for p in (home / which).iterdir() if p.is_file()}
    opened = OpenRun(home / which, progress=False)
    seen = opened.inspection('train')
    labels = np.where(seen.dataset.targets == UNKNOWN, (seen.probabilities < 0.5).astype(int), seen.dataset.targets)
    newer = again(opened, seen.dataset, seen.store, labels)
    moved = (newer.probabilities - seen.probabilities)[seen.dataset.targets == UNKNOWN]
    towards = np.where(labels == 1, 1, -1)[seen.dataset.targets == UNKNOWN]
    assert (moved * towards).mean() > 0, 'answers against the proposals pull probabilities the other way'
    assert {p.name: p.read_bytes() for p in (home / which).iterdir() if p.is_file()} == before
    assert newer.dataset is seen.dataset and newer.thresholds.shape == seen.thresholds.shape
    assert newer.crop is seen.crop is False
    if which == 'scenes':
        assert newer.about == 'it learned from all labels, so none is left to measure it by'
    else:
        told, metrics = newer.about, read_json(home / 'album/metrics.json')
        why = r'its probabilities are better on labels held out \(log loss \d|by cross-validation both are equally good'
        assert re.match(f'kept: (the tower alone, without training|the trained model): ({why})', told)
        was = np.mean([ap for ap in metrics['per_class_AP'].values() if ap is not None])
        assert f'mAP on known labels held out {was:.1f} before, ' in told and told.endswith('over 3 categories')


def test_average_precision_before_and_now_is_about_the_same_categories():
    metrics = dict(model='trained', trained_log_loss=0.2, zero_shot_log_loss=0.3, choice_rests_on='known labels')
    found = SimpleNamespace(metrics=metrics, table=pd.DataFrame(dict(AP=[80.0, 60.0, np.nan]), index=list('abc')))
    why = 'kept: the trained model: its probabilities are better on labels held out (log loss 0.200, the other 0.300)'
    told = about_training(found, 'best', dict(a=70.0, b=None, c=90.0))
    assert told == f'{why}; mAP on known labels held out 70.0 before, 80.0 now, over 1 category'
    assert about_training(found, 'best', {}) == about_training(found, 'best', dict(c=90.0)) == why
    assert about_training(found, 'trained', {}) == 'kept: the trained model, as asked'


def test_after_training_again_maps_lie_where_the_tower_looked(home):
    "A tower that sees only the middle of a picture does so after another training too."
    opened = OpenRun(home / 'scenes', progress=False)
    opened.recogniser.tower.preprocess = {**opened.recogniser.tower.preprocess, 'resize_mode': 'shortest'}
    seen = opened.inspection('train')
    assert seen.crop and again(opened, seen.dataset, seen.store, seen.dataset.targets).crop


def test_what_is_gone_or_changed_is_named(home, tmp_path):
    with pytest.raises(RunError, match='config.json'):
        Inspector(tmp_path)
    config = read_json(home / 'album/config.json')
    config['job'] |= dict(photos=str(tmp_path / 'gone'), labels=str(tmp_path / 'gone/labels.csv'))
    moved = tmp_path / 'moved'
    moved.mkdir()
    for p in (home / 'album').iterdir():
        (moved / p.name).write_bytes(p.read_bytes())
    write_json(moved / 'config.json', config)
    with pytest.raises(ViewError, match='gone.*root=FOLDER'):
        Reviewer(moved)
    assert len(Reviewer(moved, root=home / 'photos').review.dataset) == 45
    said = read_json(moved / 'decisions.json')
    del said['threshold']['tree']
    write_json(moved / 'decisions.json', said)
    with pytest.raises(ViewError, match="no threshold or shift for 'tree'"):
        Reviewer(moved, root=home / 'photos')
    train_job(
        TrainJob(limit=40, epochs=1, known=1.0, cache=str(home / 'cache'), out=str(tmp_path / 'full')), progress=False
    )
    with pytest.raises(ViewError, match='nothing to ask'):
        Reviewer(tmp_path / 'full')


@pytest.mark.parametrize('make, widget', [(view_notebook, 'Inspector'), (review_notebook, 'Reviewer')])
def test_a_notebook_of_two_lines_that_runs(home, tmp_path, monkeypatch, make, widget):
    monkeypatch.chdir(home)
    path = make('album', tmp_path)
    cell = json.loads(path.read_text())['cells'][0]['source']
    assert cell == [f'from trmml_nb import {widget}\n', f"{widget}('album')"]
    (hint,) = json.loads(path.read_text())['cells'][0]['outputs']  # what will happen is said before somebody waits
    assert 'Shift+Enter runs this cell' in hint['text'][0] and '[*]' in hint['text'][0]
    names = {}
    exec(''.join(cell), names)
    path.write_text('changed by a person')
    assert make('album', tmp_path) == path and path.read_text() == 'changed by a person'
    with pytest.raises(RunError):
        make('nowhere', tmp_path)


@pytest.mark.parametrize('command', ['view', 'review'])
def test_the_commands_write_and_open(home, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    opened = []
    monkeypatch.setattr(cli.subprocess, 'run', lambda words, check: opened.append(words))
    runner = CliRunner()
    assert runner.invoke(cli.app, [command, str(home / 'album'), '--no-open']).exit_code == 0 and not opened
    done = runner.invoke(cli.app, [command, str(home / 'album')])
    assert done.exit_code == 0 and opened == [[sys.executable, '-m', 'jupyterlab', f'{command}-album.ipynb']]
    monkeypatch.setattr(cli.importlib.util, 'find_spec', lambda name: None)
    done = runner.invoke(cli.app, [command, str(home / 'album')])
    assert done.exit_code == 1 and 'trmml_nb[notebooks]' in done.output and 'Traceback' not in done.output


def test_an_album_of_an_older_version_that_noted_weights_for_a_bundled_tower(home, tmp_path):
    run = tmp_path / 'album'
    shutil.copytree(home / 'album', run)
    config = json.loads((run / 'config.json').read_text(encoding='utf-8'))
    config['job']['pretrained'] = 'openai'
    assert options_again(config['job'])['clip'] == config['job']['clip']
    assert 'pretrained' not in options_again(config['job']) and 'pretrained' in options_again(config['job'], 'RN50')
    job, sheet = album_of(run, config)
    assert job.pretrained is None and sheet.dataset.class_names == NAMES


def test_photographs_in_a_list_have_short_names(home):
    "The fewest folders that tell two files apart, and none where the names do."
    from trmml_nb.yours.view import short_names

    assert short_names(['/a/b/x.jpg', '/a/c/x.jpg', '/a/c/y.jpg']) == ['b/x.jpg', 'c/x.jpg', 'y.jpg']
    assert short_names(['x.jpg', 'a/x.jpg']) == ['x.jpg', 'a/x.jpg'] and short_names(['/only/one.jpg']) == ['one.jpg']
    assert short_names(['/p/a/s/x.jpg', '/q/a/s/x.jpg', '/q/b/s/x.jpg']) == ['p/a/s/x.jpg', 'q/a/s/x.jpg', 'b/s/x.jpg']
    files = sorted((home / 'photos').rglob('*.png'))[:3]
    live = Inspector(home / 'album', images=files)
    assert live.runs[0].dataset.image_ids == [f.name for f in files]
    assert live.content['said'].startswith(f'{files[0].name}: 1 of 3 under "all"; training never saw this picture')


@pytest.mark.parametrize('resize', ['squash', 'shortest'])
def test_the_page_of_inspect_shows_what_the_tower_saw_and_the_runs_thresholds(home, tmp_path, resize):
    "A tower that crops sees the middle of a picture, and so does the page; the lines in its bars are the run's own."
    run = tmp_path / 'run'
    job = TrainJob(limit=40, epochs=1, cache=str(home / 'cache'), out=str(run), resize=resize)
    train_job(job, progress=False)
    names = load_run(run).class_names
    limits = np.linspace(0.1, 0.9, len(names))
    save_thresholds(run, names, limits)
    thirds = np.repeat(np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8), 60, axis=0)  # red, green, blue
    Image.fromarray(np.tile(thirds, (60, 1, 1))).save(tmp_path / 'wide.png')
    page = inspect_job(run, tmp_path / 'wide.png', tmp_path / 'page.html').read_text(encoding='utf-8')
    data = re.search('data:image/jpeg;base64,([A-Za-z0-9+/=]+)', page)[1]
    shown = Image.open(io.BytesIO(base64.b64decode(data)))
    pixels = np.asarray(shown.convert('RGB')).astype(int)
    left, right = pixels[30, 3].argmax(), pixels[30, -4].argmax()
    assert (shown.size, left, right) == (((60, 60), 1, 1) if resize == 'shortest' else ((180, 60), 0, 2))
    rows = re.findall(r'data-label="(\d+)".*?class="?tick"? style="left:([\d.]+)%', page, re.S)
    assert len(rows) == len(names)
    assert [float(at) for _, at in rows] == pytest.approx(
        [100 * limits[int(c)] for c, _ in rows], abs=0.51
    )  # whole percents
