"Sheets as people write them, honest probabilities, and the way from a folder to completed labels and a report."
import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from trmml_nb.calibration import (CalibrationError, calibration_error, choose_thresholds, cross_fitted, fit_calibration, folds, own_shifts, reliability)
from trmml_nb.cli import app
from trmml_nb.data import DataError, scenes_dataset
from trmml_nb.own_photographs import PhotosError, PhotosJob, limits, photos_job, report_html, study, sureness
from trmml_nb.runs import load_run
from trmml_nb.tables import TableError, read_cell, read_sheet, read_synonyms, sheet_statistics

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
            lines.append(','.join([name, 'ann', *(('no', 'yes')[data.truth[i, c]] if rng.random() < .7 else '' for c in columns)]))
    lines.append(f'a/0.png,bob,{("yes", "no")[data.truth[0, columns[0]]]},,,')
    (root / 'labels.csv').write_text('\n'.join(lines) + '\n')
    return root


@pytest.fixture(scope='module')
def run(album):
    return photos_job(PhotosJob(str(album), categories='kite', epochs=2, out=str(album.parent / 'run'), cache=str(album.parent / 'cache'), folds=2), progress=False)


# -- tables

@pytest.mark.parametrize('cell, label', [('1', 1), ('Yes', 1), ('x', 1), ('TRUE', 1), ('0', 0), ('no', 0), ('0.0', 0), ('', -1), (' ? ', -1), ('n/a', -1), ('-1', -1)])
def test_cells(cell, label):
    assert read_cell(cell) == label


def put(folder, text):
    (folder / 'labels.csv').write_text(text)
    return folder / 'labels.csv'


@pytest.fixture
def two(tmp_path):
    (tmp_path / 'sub').mkdir()
    for name in ('a.png', 'sub/b.png'):
        Image.new('RGB', (8, 8)).save(tmp_path / name)
    return tmp_path


def test_votes_synonyms_and_what_nobody_labelled(two):
    text = 'image,Annotator,bike,Bicycle,dog\na.png,ann,1,,1\na.png,bob,,0,1\na.png,cy,0,,\n'
    sheet = read_sheet(put(two, text), synonyms={'BIKE': 'bicycle'}, categories=['Dog', 'tent'])
    assert sheet.dataset.class_names == ['bicycle', 'dog', 'tent'] and sheet.dataset.image_ids == ['a.png', 'sub/b.png']
    assert sheet.dataset.targets.tolist() == [[0, 1, -1], [-1, -1, -1]] and sheet.annotators == ['ann', 'bob', 'cy']
    assert sheet.disagreements.values.tolist() == [['a.png', 'bicycle', 1, 2, 0]]
    assert sheet.unlabelled_images == ['sub/b.png'] and sheet.unlabelled_categories == ['tent'] and sheet_statistics(sheet)['disagreements'].tolist() == [1, 0, 0]
    assert len(read_sheet(two / 'labels.csv', add_images=False).dataset) == 1


@pytest.mark.parametrize('text, said', [
    ('image,dog\na.png,maybe\n', r"labels\.csv, line 2, column 'dog': 'maybe' is no label"), ('image,dog\na.png,1\na.png,0\n', r'line 3: .a\.png. +is named already in .*line 2'),
    ('image,dog\nz.png,1\n', r'line 2 \(z\.png\): .*no such image'), ('image,dog\n../a.png,1\n', 'no path inside'), ('image,dog\na.png,1,2\n', '3 cells, expected 2'),
    ('image,,dog\na.png,1,1\n', 'column 2: a category has no name'), ('image\na.png\n', r'line 1|expected a header'), ('file,dog\n', 'line 1'), ('', 'line 1'),
    ('image,annotator,dog\na.png,x,1\na.png,x,0\n', 'by x is named already'), ('image,dog\n"a.png,1\n', 'line 2')])
def test_wrong_sheets_are_named_with_file_and_line(two, text, said):
    with pytest.raises(DataError, match=said) as caught:
        read_sheet(put(two, text), add_images=False)
    assert 'labels.csv' in str(caught.value)


def test_synonyms(tmp_path):
    (tmp_path / 's.csv').write_text('name,means\nauto, car\npup,puppy\npuppy,dog\n')
    assert read_synonyms(tmp_path / 's.csv') == {'auto': 'car', 'pup': 'dog', 'puppy': 'dog'}
    for text, said in (('a,b\n1,2\n', 'expected the header name,means'), ('name,means\na,b\nb,a\n', 'in a circle'), ('name,means\na,\n', 'two words in every line')):
        (tmp_path / 's.csv').write_text(text)
        with pytest.raises(TableError, match=said):
            read_synonyms(tmp_path / 's.csv')
    with pytest.raises(TableError, match='cannot be read'):
        read_synonyms(tmp_path / 'none.csv')


# -- calibration

def test_reliability_equals_scikit_learn():
    from sklearn.calibration import calibration_curve
    rng = np.random.default_rng(0)
    p, t = rng.random((300, 3)), rng.integers(-1, 2, (300, 3))
    known = t != -1
    observed, predicted = calibration_curve(t[known], p[known], n_bins=7)
    table = reliability(p, t, 7)
    assert np.allclose(table['observed'], observed) and np.allclose(table['predicted'], predicted) and table['count'].sum() == known.sum()
    assert calibration_error(np.array([[.9], [.9]]), np.array([[1], [0]])) == pytest.approx(.4)


def test_known_line_is_found_and_order_kept():
    rng = np.random.default_rng(1)
    z = rng.normal(0, 2, (5000, 3))
    t = (rng.random(z.shape) < 1 / (1 + np.exp(-(z - [0, 1, -1])))).astype(int)
    fit = fit_calibration(3 * z, t)
    assert fit.slope == pytest.approx(1 / 3, abs=.02) and np.allclose(fit.shift, [0, -1, 1], atol=.15)
    assert (np.argsort(fit(z), 0) == np.argsort(z, 0)).all() and calibration_error(fit(3 * z), t) < .02


@pytest.mark.parametrize('t', [np.full((20, 2), -1), np.ones((20, 2)), np.r_[np.full((18, 2), -1), np.eye(2)]])
def test_nothing_to_calibrate_with_changes_nothing(t):
    fit = fit_calibration(np.random.default_rng(0).normal(size=t.shape), t.astype(int))
    assert fit.slope == 1 and not np.any(fit.shift)


def test_shift_by_hand():
    "The best shift solves 30 * p = 24 - s: Newton's answer against a search."
    s = own_shifts(np.zeros(30), np.arange(30) < 24, np.zeros(30, int), 1)[0]
    grid = np.linspace(0, 2, 200_001)
    assert s == pytest.approx(grid[np.argmin(abs(24 - 30 / (1 + np.exp(-grid)) - grid))], abs=1e-4)


def test_thresholds_and_folds():
    p = np.array([[.9, .2], [.8, .3], [.7, .1], [.6, .1], [.5, .2], [.4, .6]])
    t = np.array([[1, -1], [1, -1], [1, 0], [1, -1], [1, 0], [0, 1]])
    assert choose_thresholds(p, t, at_least=1).tolist() == [.5, .6] and choose_thresholds(p, t).tolist() == [.5, .5]
    parts = list(folds(7, 3, seed=1))
    assert sorted(np.concatenate([j for _, j in parts])) == list(range(7)) and all(len(a) + len(b) == 7 for a, b in parts)
    with pytest.raises(CalibrationError, match='4 folds of 3 images'):
        list(folds(3, 4))
    rng = np.random.default_rng(0)
    noise, labels = rng.normal(size=(60, 3)), rng.integers(0, 2, (60, 3))
    honest, yes = cross_fitted(noise, labels)
    assert honest.shape == yes.shape == (60, 3) and yes.dtype == bool
    assert abs(honest - .5).mean() < abs(1 / (1 + np.exp(-noise)) - .5).mean(), 'noise is worth a coin'


# -- the whole way

def test_files_and_given_labels(run, album):
    assert sorted(p.name for p in run.iterdir()) == ['completed.csv', 'config.json', 'decisions.json', 'disagreements.csv', 'metrics.json', 'model.safetensors', 'report.html']
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


def test_no_cell_is_a_formula_and_no_name_is_html(run):
    for name in ('completed.csv', 'disagreements.csv'):
        for cell in re.split(r'[,\n]', (run / name).read_text()):
            assert not cell.lstrip('"').startswith(('=', '+', '-', '@'))
    page, found = (run / 'report.html').read_text(), []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: found.append((tag, dict(attributes)))
    parser.feed(page)
    assert '&lt;b&gt;car' in page and not any(tag in ('b', 'script') and 'car' in str(a) for tag, a in found) and '<b>car' not in page
    assert not [t for t, _ in found if t in ('script', 'link', 'iframe')] and all(a['src'].startswith('data:') for t, a in found if t == 'img')
    assert 'No label at all: kite' in page and '://' not in page


def test_nothing_is_overwritten(run, album):
    before = (album / 'labels.csv').read_bytes()
    with pytest.raises(ValueError, match='finished run'):
        photos_job(PhotosJob(str(album), out=str(run), cache=str(album.parent / 'cache')), progress=False)
    assert (album / 'labels.csv').read_bytes() == before


def test_the_run_can_be_used_and_repeats(run, album):
    assert set(load_run(run).predict(album / 'a' / '0.png').probabilities) == set(NAMES) | {'kite'}
    twin = photos_job(PhotosJob(str(album), categories='kite', epochs=2, out=str(album.parent / 'twin'), cache=str(album.parent / 'cache'), folds=2), progress=False)
    for name in ('completed.csv', 'model.safetensors', 'decisions.json'):
        assert (run / name).read_bytes() == (twin / name).read_bytes(), name


def test_command_line(album):
    out = album.parent / 'by-hand'
    done = CliRunner().invoke(app, ['photos', str(album), '--epochs', '1', '--folds', '2', '--out', str(out), '--cache', str(album.parent / 'cache')])
    assert done.exit_code == 0 and 'report.html' in done.output and (out / 'completed.csv').exists(), done.output
    for args, said in ((['nowhere'], 'no such folder'), ([str(album), '--labels', 'no.csv'], 'no.csv'), ([str(album), '--folds', '1'], '--folds is 1')):
        wrong = CliRunner().invoke(app, ['photos', *args, '--out', str(album.parent / 'x')])
        assert wrong.exit_code == 1 and said in wrong.output and not (album.parent / 'x').exists()


def test_no_labels_at_all(two):
    put(two, 'image,dog\na.png,\n')
    with pytest.raises((PhotosError, CalibrationError)):
        photos_job(PhotosJob(str(two), out=str(two.parent / 'o'), folds=2), progress=False)


def test_sureness_and_limits(two):
    assert np.allclose(sureness(np.array([[.7], [.2], [.4]]), np.array([.4])).ravel(), [.5, .5, 0])
    sheet = read_sheet(put(two, 'image,dog,cat,bird\na.png,1,0,\nsub/b.png,0,,\n'), categories=['kite'])
    result = study(sheet, np.array([[2., -1, 0, 0], [-2, 1, 0, 0]]), np.zeros((2, 4)), parts=2)
    said = ' '.join(limits(result))
    assert 'No label at all: bird, kite' in said and 'Fewer than five known present labels: dog' in said
    assert result.filled[:, 0].tolist() == [1, 0] and result.filled[0, 1] == 0 and len(result.check_first(50)) == 8 - 3
    assert 'Training did not help' not in said, 'the logits rank better than equal scores'
    worse = study(sheet, np.array([[-2., 1, 0, 0], [2, -1, 0, 0]]), np.array([[2., 0, 0, 0], [1, 0, 0, 0]]), parts=2)
    assert 'Training did not help here' in limits(worse)[1]
    assert '–' in report_html(result, 'x', check=1)
