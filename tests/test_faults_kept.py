"""What is kept is what was written: files that say so, links that are not followed, data that changed in between,
advice that fits."""

import json
import os
import re
import shutil
import time
import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from trmml_nb.cli import app, without_skip
from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.data.formats import read_labels
from trmml_nb.data.labels import UNKNOWN
from trmml_nb.data.own_data import picture_set
from trmml_nb.data.reading import Reading
from trmml_nb.datasets.archives import ArchiveError, Patience, PracticeServer, Source, download
from trmml_nb.errors import DataError, RunError
from trmml_nb.io import JSON_SEAL, parse_json, read_json, write_json
from trmml_nb.people.review import Review, ReviewError, read_answers
from trmml_nb.rivals.compare import CompareError
from trmml_nb.runs import predict as predicting
from trmml_nb.runs.compare_job import CompareJob, compare_job
from trmml_nb.runs.options import JobError, TrainJob
from trmml_nb.runs.predict import predict_job, record_line
from trmml_nb.runs.run import load_run, read_config
from trmml_nb.runs.train import train_job
from trmml_nb.runs.use import completed_table, run_decisions, write_table
from trmml_nb.towers.weights import tiny_folder
from trmml_nb.yours.hub import from_pretrained, save_pretrained

NAMES = ('dog', 'tree', 'person')


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    return tmp_path_factory.mktemp('kept')


@pytest.fixture(scope='module')
def album(place):
    "Eighteen scenes, and a table of three categories."
    folder, data = place / 'album', scenes_dataset('val', 18)
    folder.mkdir()
    columns = [data.class_names.index(c) for c in NAMES]
    for i in range(18):
        data.image(i).save(folder / f'{i}.png')
    frame = pd.DataFrame(data.truth[:, columns], columns=NAMES)
    frame.insert(0, 'image', [f'{i}.png' for i in range(18)])
    frame.to_csv(folder / 'labels.csv', index=False)
    return folder


@pytest.fixture(scope='module')
def run(place, album):
    "A small training whose tower is a folder."
    options = dict(clip=f'local-dir:{tiny_folder()}', epochs=1, method='trmml:ffn_dim=32', cache=str(place / 'cache'))
    return train_job(
        TrainJob(data='csv', labels=str(album / 'labels.csv'), **options, out=str(place / 'run')), progress=False
    )


def damaged(data, r, count):
    "Single bits turned over, and cuts."
    for k in r.integers(0, len(data), count):
        yield data[:k] + bytes([data[k] ^ 1 << int(r.integers(8))]) + data[k + 1 :] if r.random() < 0.8 else data[:k]


# -- JSON


@pytest.mark.fault(
    'damaged or foreign files',
    'a bit of settings, scores or decisions turned over, or the file cut',
    'refused, or read as it was',
)
def test_settings_scores_and_decisions_tell_when_they_were_changed(tmp_path):
    "Every bit and every cut; who takes the seal out means it; a file that never had one is read."
    path = tmp_path / 'metrics.json'
    whole = dict(mAP=91.25, none=None, names=['ä', 'b'], deep={'b': 1, 'a': [0.5, True]}, mask_sha256='0' * 64)
    write_json(path, whole, sealed=True)
    data = path.read_bytes()
    assert read_json(path) == whole and json.loads(data)[JSON_SEAL]
    turned = [data[:k] + bytes([data[k] ^ 1 << bit]) + data[k + 1 :] for k in range(len(data)) for bit in range(8)]
    refused = 0
    for one in (*turned, *(data[:k] for k in range(len(data)))):
        path.write_bytes(one)
        try:
            assert read_json(path) == whole
        except RunError:
            refused += 1
    assert refused > 0.9 * len(turned)
    content = json.loads(data) | dict(mAP=3.0)
    path.write_text(json.dumps(content), encoding='utf-8')
    with pytest.raises(RunError, match=f'{JSON_SEAL} differs; if the change is meant, take that entry out'):
        read_json(path)
    content.pop(JSON_SEAL)
    path.write_text(json.dumps(content), encoding='utf-8')
    assert read_json(path)['mAP'] == 3.0
    with pytest.raises(ValueError, match='1e999 is no number that can be held'):
        parse_json('{"a": 1e999}')


@pytest.mark.parametrize(
    'change, said',
    [
        (dict(slope=float(-1)), "field 'slope'"),
        (dict(threshold={'dog': 1.5, 'tree': 0.5}), "field 'threshold.dog'"),
        (dict(shift=[0.0]), "field 'shift'"),
        (dict(noted={'dog': 0.0, 'tree': 1.0}), "field 'noted.dog'"),
        (dict(threshold={'dog': 0.5}), "no threshold or shift for 'tree' .threshold; 1 entry"),
    ],
)
def test_decisions_of_another_form_are_named(tmp_path, change, said):
    good = dict(slope=1.0, shift=dict(dog=0.0, tree=0.5), threshold=dict(dog=0.5, tree=0.25))
    write_json(tmp_path / 'decisions.json', good, sealed=True)
    assert run_decisions(tmp_path, ['tree', 'dog'])['threshold'].tolist() == [0.25, 0.5]
    write_json(tmp_path / 'decisions.json', good | change, sealed=True)
    with pytest.raises(RunError, match=f'decisions.json: .*{said}'):
        run_decisions(tmp_path, ['tree', 'dog'])


@pytest.mark.fault(
    'damaged or foreign files',
    'a shared model with other categories, settings or fields than it was trained with',
    'refused, wherever its tower is',
)
@pytest.mark.parametrize('tower', [True, False], ids=['tower beside it', 'tower elsewhere'])
def test_a_shared_model_is_the_one_that_was_shared(run, tmp_path, tower):
    folder = save_pretrained(run, tmp_path / 'shared', tower=tower)
    clip = None if tower else f'local-dir:{tiny_folder()}'
    assert from_pretrained(folder, 'cpu', clip).class_names == list(NAMES)
    content = (folder / 'config.json').read_text(encoding='utf-8')
    for change, said in (
        (lambda c: c['class_names'].reverse(), 'was changed since the model was written'),
        (lambda c: c['method_config'].update(ffn_dim='many'), 'method_config does not fit|was changed since'),
        (lambda c: c['tower'].pop('clip'), "field 'tower.clip'"),
        (lambda c: c.update(class_names='dog'), "field 'class_names'"),
        (lambda c: c.update(class_names=[]), "field 'class_names'"),
        (lambda c: c['tower'].update(image_size=-64), "field 'tower.image_size'"),
        (lambda c: c['tower'].update(image_size=64.5), "field 'tower.image_size'"),
        (lambda c: c['tower'].update(image_size=10**7), 'was changed since'),  # before memory is asked for
        (lambda c: c.pop('method_config'), "field 'method_config'"),
    ):
        config = json.loads(content)
        change(config)
        (folder / 'config.json').write_text(json.dumps(config), encoding='utf-8')
        with pytest.raises(RunError, match=said if JSON_SEAL not in config else f'{said}|{JSON_SEAL} differs'):
            from_pretrained(folder, 'cpu', clip)
        config.pop(JSON_SEAL)
        (folder / 'config.json').write_text(json.dumps(config), encoding='utf-8')
        with pytest.raises(RunError, match=said):
            from_pretrained(folder, 'cpu', clip)


# -- answers and completed tables


@pytest.mark.fault(
    'damaged or foreign files',
    'a bit of the answers of a review turned over, or the file cut',
    'refused: its digest differs',
)
def test_no_answer_changes_or_goes_without_a_word(tmp_path):
    data = scenes_dataset('val', 4)
    blank = data.with_targets(np.full(data.targets.shape, -1, np.int8))
    review = Review(blank, np.full(data.targets.shape, 0.7), tmp_path / 'answers.csv', '=Ada')
    for question in review.proposals(count=4):
        review.answer((question, 'accept'))
    whole, path, refused = review.path.read_bytes(), review.path, 0
    for one in damaged(whole, np.random.default_rng(0), 400):
        path.write_bytes(one)
        try:
            assert read_answers(path, blank) == review.answers
        except ReviewError as error:
            assert 'answers.csv' in str(error)
            refused += 1
    assert refused > 350
    older = b'\n'.join(line.rpartition(b',')[0] for line in whole.splitlines()) + b'\n'
    path.write_bytes(older)
    assert read_answers(path, blank) == review.answers, 'a file of before, or one whose seal was taken out'


@pytest.mark.fault(
    'damaged or foreign files',
    'a bit of a completed table turned over, or the table cut',
    'refused, or told with what changed; corrected labels are read',
)
def test_a_completed_table_tells_what_is_not_as_it_was_written(tmp_path):
    for i in range(5):
        Image.new('RGB', (8, 8)).save(tmp_path / f'{i}.png')
    given = np.array([[1, -1], [0, 1], [-1, 0], [1, 1], [-1, -1]])
    p = np.linspace(0.1, 0.9, 10).reshape(5, 2)
    path, filled = tmp_path / 'done.csv', np.where(given < 0, p >= 0.5, given)
    write_table(path, *completed_table([f'{i}.png' for i in range(5)], ['cat', '=dog'], given, filled, p))
    read = lambda: read_labels(path, tmp_path, add_images=False)
    whole, sheet = path.read_bytes(), read()
    assert (sheet.dataset.targets == given).all()
    told = 0
    with pytest.warns(UserWarning, match='not those that were written') as seen:
        for one in damaged(whole, np.random.default_rng(0), 300):
            path.write_bytes(one)
            before = len(seen)
            try:
                now = read()
            except DataError:
                told += 1
                continue
            if len(seen) > before or now.notes != sheet.notes:
                told += 1
            else:
                assert (now.dataset.targets == given).all() and now.dataset.image_ids == sheet.dataset.image_ids
    assert told > 250
    rows = whole.decode().splitlines()
    excel = '\n'.join([rows[0], *reversed(rows[1:])]).replace(',', ';').replace('0.100000', '0,1')
    path.write_text(excel.replace('given 1;given 1', 'given 1;given 1').replace('3.png;1;1', '3.png;0;1'))
    now = read()  # sorted, saved by a spreadsheet of another language, and one given label corrected
    assert now.dataset.targets[now.dataset.image_ids.index('3.png')].tolist() == [0, 1]
    assert '1 label is another than the one that was given' in now.notes
    assert rows[0].split(',')[-1].startswith('checksum ') and all(row.endswith(',') for row in rows[1:])
    path.write_text('\n'.join(rows).replace('proposed 1', 'given', 1))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert (read().dataset.targets != UNKNOWN).sum() == (given >= 0).sum() + 1, 'confirmed by hand, as is advised'
    path.write_text('\n'.join(rows[:-1]))
    with pytest.warns(UserWarning, match='not those that were written'):
        read()  # cut between two lines


# -- scores of a stopped command


def stopped(run, album, out, monkeypatch):
    "Scored to the end, and stopped before the table was written."
    with monkeypatch.context() as patch:
        patch.setattr(predicting, 'piece_size', lambda _: 2)
        patch.setattr(predicting, 'write_atomic', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            predict_job(run, album, out, progress=False)
    return out.with_name(f'.{out.name}.unfinished')


@pytest.mark.fault(
    'damaged or foreign files',
    'a bit of the scores of a stopped `trmml predict` turned over',
    'that picture and those after it are scored again; the same table',
)
def test_scores_that_were_changed_in_between_are_made_again(run, album, tmp_path, monkeypatch):
    whole = predict_job(run, album, tmp_path / 'whole.csv', progress=False)[0].read_bytes()
    hidden = stopped(run, album, tmp_path / 's.csv', monkeypatch)
    full, recogniser = hidden.read_bytes(), load_run(run, 'cpu')
    monkeypatch.setattr(predicting, 'piece_size', lambda _: 2)
    monkeypatch.setattr(predicting, 'load_run', lambda *_: recogniser)
    planted = full.splitlines(keepends=True)
    planted[1] = record_line([1])
    for one in (*damaged(full, np.random.default_rng(0), 25), b''.join(planted)):
        hidden.write_bytes(one)
        table, _ = predict_job(run, album, tmp_path / 's.csv', progress=False)
        assert table.read_bytes() == whole
        table.unlink()


@pytest.mark.fault(
    'damaged or foreign files',
    'a picture that is replaced while `trmml predict` scores it, and then the command is stopped',
    'it is scored again',
)
def test_a_picture_replaced_while_it_is_scored_is_scored_again(run, album, tmp_path, monkeypatch):
    photos, pieces = shutil.copytree(album, tmp_path / 'photos'), predicting.scored_pieces

    def replacing(recogniser, dataset, todo, on_bad):
        for number, piece in enumerate(pieces(recogniser, dataset, todo, on_bad)):
            if number == 0:  # 0.png was read and scored a moment ago
                Image.new('RGB', (128, 128), 'red').save(photos / '0.png')
            yield piece

    with monkeypatch.context() as patch:
        patch.setattr(predicting, 'scored_pieces', replacing)
        stopped(run, photos, tmp_path / 's.csv', monkeypatch)
    table, _ = predict_job(run, photos, tmp_path / 's.csv', progress=False)
    fresh, _ = predict_job(run, photos, tmp_path / 'fresh.csv', progress=False)
    assert table.read_bytes() == fresh.read_bytes()


@pytest.mark.fault(
    'hostile files',
    'a link where `trmml predict` keeps its unfinished scores',
    'refused; what it leads to stays as it was',
)
@pytest.mark.parametrize('plant', [os.symlink, os.link], ids=['symbolic', 'hard'])
def test_a_link_in_the_place_of_unfinished_scores_is_not_followed(run, album, tmp_path, plant):
    target = tmp_path / 'precious.txt'
    target.write_text('years of work')
    plant(target, tmp_path / '.s.csv.unfinished')
    with pytest.raises(JobError, match='in the place of unfinished work; remove it'):
        predict_job(run, album, tmp_path / 's.csv', progress=False)
    assert target.read_text() == 'years of work' and not (tmp_path / 's.csv').exists()


@pytest.mark.fault(
    'overwriting', 'a file of yours where `trmml predict` keeps its unfinished scores', 'refused; it stays'
)
def test_a_file_of_somebody_else_in_the_place_of_unfinished_scores_stays(run, album, tmp_path):
    mine = tmp_path / '.s.csv.unfinished'
    for text in ('years of work', '{"key": 1}\n{"a": 2}\n'):
        mine.write_text(text)
        with pytest.raises(JobError, match='did not write, in the place of unfinished work; move it away'):
            predict_job(run, album, tmp_path / 's.csv', progress=False)
        assert mine.read_text() == text and not (tmp_path / 's.csv').exists()
    mine.write_text('')  # belongs to nobody
    assert predict_job(run, album, tmp_path / 's.csv', progress=False)[0].exists() and not mine.exists()


# -- data that changed in between


@pytest.mark.fault(
    'damaged or foreign files',
    'labels or pictures changed between two parts of one comparison',
    'the table is not gone on with',
)
def test_a_comparison_is_gone_on_with_only_on_the_same_data(album, tmp_path):
    photos = shutil.copytree(album, tmp_path / 'photos')
    more = dict(data='csv', labels=str(photos / 'labels.csv'), out=str(tmp_path / 't.csv'), cache=str(tmp_path / 'c'))
    ask = lambda methods: compare_job(CompareJob(methods=methods, known='1.0', **more), progress=False)
    assert len(ask('zero_shot')) == 1
    assert len(ask('zero_shot,zero_shot_pixel')) == 2
    good, picture = (photos / 'labels.csv').read_bytes(), (photos / '3.png').read_bytes()
    frame = pd.read_csv(photos / 'labels.csv')
    frame[list(NAMES)] = 1 - frame[list(NAMES)]
    frame.to_csv(photos / 'labels.csv', index=False)
    with pytest.raises(CompareError, match='other images, categories or labels'):
        ask('zero_shot,zero_shot_pixel,linear_ignore')
    (photos / 'labels.csv').write_bytes(good)
    Image.new('RGB', (128, 128), 'red').save(photos / '3.png')
    with pytest.raises(CompareError, match='other images, categories or labels'):
        ask('zero_shot,zero_shot_pixel,linear_ignore')
    (photos / '3.png').write_bytes(picture)
    assert len(ask('zero_shot,zero_shot_pixel')) == 2


# -- what cannot be read


@pytest.mark.fault(
    'damaged or foreign files',
    'a sub-folder of annotations, or of a pattern, that cannot be read',
    'told, by name',
)
def test_a_closed_folder_of_annotations_or_of_a_pattern_is_told(tmp_path, monkeypatch):
    for name in ('open', 'closed'):
        (tmp_path / name).mkdir()
        Image.new('RGB', (8, 8)).save(tmp_path / name / '0.png')
        (tmp_path / name / '0.txt').write_text('0 0.5 0.5 1 1\n')
    (tmp_path / 'classes.txt').write_text('dog\n')
    scan = os.scandir

    def scandir(path='.'):
        if os.path.basename(str(path)) == 'closed':
            raise PermissionError(13, 'Permission denied', str(path))
        return scan(path)

    yolo = lambda **said: read_labels(tmp_path, tmp_path, reading=Reading(format='yolo'), **said)
    assert len(yolo().dataset) == 2
    monkeypatch.setattr(os, 'scandir', scandir)
    with pytest.raises(DataError, match='closed: this folder cannot be read'):
        yolo()
    for pattern in (f'{tmp_path}/*/*.png', f'{tmp_path}/**/*.png'):
        with pytest.raises(DataError, match='closed: this folder cannot be read .Permission denied'):
            picture_set(pattern)
        data = picture_set(pattern, on_bad='skip')
        assert len(data) == 1 and 'cannot be read' in dict(data.skipped)[str(tmp_path / 'closed')]
    (tmp_path / 'labels.csv').write_text('image,dog\nopen/0.png,1\n')
    sheet = read_labels(tmp_path / 'labels.csv', tmp_path, on_bad='skip')
    assert len(sheet.dataset) == 1 and any('folder that cannot be read' in why for _, why in sheet.dataset.skipped)
    assert any('folder that cannot be read' in note for note in sheet.notes)


@pytest.mark.fault(
    'damaged or foreign files', 'a picture that cannot be read, in a command without --on-bad', 'no advice to use it'
)
def test_no_command_is_told_to_use_an_option_that_it_lacks(album, tmp_path):
    photos = shutil.copytree(album, tmp_path / 'photos')
    (photos / '3.png').write_bytes(b'no picture')
    table = ['--labels', str(photos / 'labels.csv')]
    for words, has in (
        (['train', '--data', 'csv', *table, '--out', str(tmp_path / 'r')], False),
        (['encode', '--data', 'csv', *table], False),
        (['check', str(photos), *table], True),
        (['photos', str(photos), *table, '--clip', 'tiny', '--out', str(tmp_path / 'p')], True),
    ):
        done = CliRunner().invoke(app, words)
        assert ('--on-bad' in CliRunner().invoke(app, [words[0], '--help'], env={'COLUMNS': '200'}).output) == has
        assert has or done.exit_code == 1 and '3.png' in done.stderr, done.output
        assert has or not re.search('on.bad|skipped', done.stderr), done.stderr
    said = "rename it, or pass on_bad='skip' to leave it out (.skipped will list it)."
    assert without_skip(said) == 'rename it.'


# -- servers


@pytest.mark.fault(
    'stopped in the middle', 'a server that is busy and asks for hours of patience', 'asked again after seconds'
)
def test_a_busy_server_does_not_decide_how_long_we_wait(tmp_path):
    body = bytes(1000)
    source = lambda server: Source('a.zip', (server.url('a.zip'),), size=len(body))
    quick = Patience(tries=2, wait=0.05, connect=2, silence=2)
    answer = PracticeServer.answer

    class Busy(PracticeServer):
        def answer(self, request):
            if self.left > 0:
                self.left -= 1
                request.send_response(503)
                request.send_header('Retry-After', '86400')
                request.send_header('Content-Length', '0')
                return request.end_headers()
            return answer(self, request)

    for left, said in ((1, None), (9, '503')):
        with Busy({'a.zip': body}) as server:
            server.left, started = left, time.monotonic()
            if said is None:
                assert download(source(server), tmp_path, quick, progress=False).read_bytes() == body
            else:
                with pytest.raises(ArchiveError, match=said):
                    download(source(server), tmp_path / 'other', quick, progress=False)
            assert time.monotonic() - started < 20


def test_a_run_says_which_field_is_wrong_before_its_digest(run, tmp_path):
    "The form of a file is looked at first, so that the message names the field."
    folder = shutil.copytree(run, tmp_path / 'run')
    config = json.loads((folder / 'config.json').read_text(encoding='utf-8'))
    (folder / 'config.json').write_text(json.dumps(config | dict(class_names=3)), encoding='utf-8')
    with pytest.raises(RunError, match="field 'class_names'"):
        read_config(folder)
    (folder / 'config.json').write_text(json.dumps(config | dict(job={})), encoding='utf-8')
    with pytest.raises(RunError, match=f'{JSON_SEAL} differs'):
        read_config(folder)
