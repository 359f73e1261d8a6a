"What was there and went by unseen: exchanged photographs, folders that are not there, weights."

import json
import os
import shutil
import socket
import threading
import time
from contextlib import suppress

import huggingface_hub
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from helpers.albums import album_run
from trmml_nb.cli import app
from trmml_nb.datasets.prepare import PrepareJob, prepare_job
from trmml_nb.errors import MethodError, TowerError, TrmmlError, ViewError
from trmml_nb.io import read_json
from trmml_nb.rivals.compare import CompareError, percent
from trmml_nb.runs import compare_job as comparing
from trmml_nb.runs.compare_job import CompareJob, compare_job
from trmml_nb.runs.options import JobError
from trmml_nb.runs.predict import predict_job
from trmml_nb.towers import weights
from trmml_nb.towers.tower import load_tower
from trmml_nb.towers.weights import tiny_folder
from trmml_nb.yours.photographs import PhotosJob, check_album
from trmml_nb.yours.view import Inspector, Reviewer, Thresholds


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    "A run on an album of sixteen scenes."
    place = tmp_path_factory.mktemp('seen')
    album_run(place, place / 'run')
    return place


@pytest.mark.fault(
    'work that is stopped',
    'a comparison that is refused before its first row',
    'leaves neither settings nor folders',
)
def test_a_refused_comparison_leaves_nothing(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = dict(data='csv', labels=str(place / 'album' / 'labels.csv'), cache=str(place / 'cache'))
    compare_job(CompareJob(**job, methods='zero_shot', out='t.csv'), progress=False)
    table = (tmp_path / 't.csv').read_text(encoding='utf-8')
    shutil.rmtree(tmp_path / 'configs')
    (tmp_path / 't.csv').write_text(table.replace('zero_shot', 'zero_shut'), encoding='utf-8')
    with pytest.raises(CompareError, match='its cells were changed'):
        compare_job(CompareJob(**job, methods='zero_shot', out='t.csv'), progress=False)

    def refuses(*_):
        raise MethodError('this method does not go with this tower')

    monkeypatch.setattr('trmml_nb.rivals.compare.run_cell', refuses)
    with pytest.raises(MethodError):
        compare_job(CompareJob(**job, methods='pvlr', out='deep/new.csv'), progress=False)
    assert sorted(os.listdir(tmp_path)) == ['t.csv']
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    (tmp_path / 't.csv').write_text(table, encoding='utf-8')  # a job that was killed after its row: settings come now
    monkeypatch.setattr(comparing, 'tell', None)
    compare_job(CompareJob(**job, methods='zero_shot', out='t.csv'), progress=False)
    assert (tmp_path / 'configs' / 't' / 'zero_shot' / '0.1.json').is_file()


@pytest.mark.fault(
    'damaged or foreign files',
    'photographs exchanged under their names since trmml photos, while others were removed',
    'refused when its run is looked at; told where one goes on from it',
)
def test_photographs_exchanged_while_others_are_removed(place, tmp_path):
    album, run = tmp_path / 'album', place / 'run'
    shutil.copytree(place / 'album', album)
    table = pd.read_csv(album / 'labels.csv')
    table[table['image'] != '15.png'].to_csv(album / 'labels.csv', index=False)
    (album / '15.png').unlink()
    Thresholds(run, root=str(album))  # one is gone, the others are those of before
    one, other = album / '00.png', album / '01.png'
    was = one.read_bytes(), other.read_bytes()
    one.write_bytes(was[1])
    other.write_bytes(was[0])
    for widget in (Inspector, Reviewer, Thresholds):
        with pytest.raises(ViewError, match='its photographs are not those that it was made from'):
            widget(run, root=str(album))
    said = check_album(PhotosJob(str(album), labels=str(album / 'labels.csv'), start=str(run)))
    new = next(line for line in said if line.startswith('since '))
    assert '2 photographs have another content under the old name (00.png, 01.png): see that the labels' in new
    assert '1 photograph is gone (15.png)' in new
    other.write_bytes(was[1])
    assert any(
        '1 photograph has another content under the old name (00.png)' in line
        for line in check_album(PhotosJob(str(album), labels=str(album / 'labels.csv'), start=str(run)))
    )
    assert not {n for n in os.listdir(album) if n in json.dumps(read_json(run / 'config.json')['data'])}


@pytest.mark.fault('wrong words', 'a cache to list that is not there', 'said; it is not taken for an empty one')
def test_a_cache_that_is_not_there_is_said(tmp_path):
    done = CliRunner().invoke(app, ['cache', '--cache', str(tmp_path / 'nowhere')])
    assert done.exit_code == 0 and 'nowhere: 0 bytes in 0 stores: no such folder, so nothing is kept' in done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.fault(
    'damaged or foreign files',
    'a tower whose weights hold numbers that are none, also where only texts need them',
    'refused when it is loaded, with the file and the tensor',
)
@pytest.mark.parametrize('name', ['text_projection', 'transformer.resblocks.0.mlp.c_fc.weight', 'logit_scale'])
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_without_numbers(tmp_path, name, value):
    shutil.copytree(tiny_folder(), tmp_path / 'tower')
    path = next((tmp_path / 'tower').glob('*.safetensors'))
    state = load_file(path)
    state[name].view(-1)[0] = value
    save_file(state, path)
    with pytest.raises(TowerError, match=rf'1 of {len(state)} tensors hold what is no finite number, first {name}'):
        load_tower(f'local-dir:{tmp_path / "tower"}')
    assert torch.isfinite(load_tower('tiny').encode_classes(['dog'])).all()


@pytest.mark.fault(
    'wrong words',
    'a table, masks, boxes, views or a folder for sidecars that cannot be what they should',
    'refused before anything is encoded or scored',
)
def test_what_cannot_be_is_refused_before_the_work(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mine.txt').write_text('mine', encoding='utf-8')
    for said, options in (
        ('no table of comparisons', dict(out='mine.txt')),
        ('--masks is nowhere: no such folder', dict(masks='nowhere')),
        ('--boxes is nowhere: no such file', dict(boxes='nowhere')),
        ('expected different views', dict(views='plain+plain')),
        ('view .nonsense.', dict(views='nonsense')),
    ):
        with pytest.raises(TrmmlError, match=said):
            CompareJob(data='csv', labels=str(place / 'album' / 'labels.csv'), **options)
    with pytest.raises(JobError, match='mine.txt: is no folder; choose another --xmp'):
        predict_job(place / 'run', place / 'album', xmp='mine.txt', progress=False)
    with pytest.raises(TrmmlError, match='Nothing was downloaded'):
        prepare_job(PrepareJob(root='deep/data', offline=True), progress=False)
    assert os.listdir(tmp_path) == ['mine.txt']
    assert (percent(float('nan')), percent(12.345, 2)) == ('–', '12.35')


class Dripping:
    "A server on 127.0.0.1 that says what `begins` gives for a request, then a byte now and then."

    def __init__(self, begins):
        self.begins, self.socket = begins, socket.create_server(('127.0.0.1', 0))
        self.url = f'http://127.0.0.1:{self.socket.getsockname()[1]}'
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with suppress(OSError):
            while True:
                threading.Thread(target=self.answer, args=(self.socket.accept()[0],), daemon=True).start()

    def answer(self, line):
        with suppress(OSError), line:
            begin = self.begins(line.recv(1 << 16).decode('latin-1'))
            line.sendall(begin)
            for _ in range(0 if begin.endswith((b'}', b']')) else 600):
                line.sendall(b' ')
                time.sleep(0.05)


@pytest.mark.fault(
    'stopped in the middle',
    'a model hub that never answers, or that sends a byte now and then',
    'given up with a message, however long it would go on',
)
@pytest.mark.parametrize('when', ['before the headers', 'in the list of files', 'in the file'])
def test_a_hub_that_drips_is_given_up(monkeypatch, tmp_path, when):
    names = ('open_clip_config.json', 'open_clip_model.safetensors')
    listed = json.dumps([dict(type='file', path=name, size=9, oid='a') for name in names]).encode()
    head = b'HTTP/1.1 200 OK\r\nX-Repo-Commit: %s\r\nETag: "e"\r\nConnection: close\r\nContent-Length: ' % (b'5' * 40)
    seen = []

    def begins(asked):
        seen.append(asked.split(' HTTP')[0])
        if when == 'before the headers':
            return b'HTTP/1.1 200 OK\r\nX: '
        if '/tree/' in asked:
            return head + b'%d\r\n\r\n' % len(listed) + (b'' if when == 'in the list of files' else listed)
        if asked.startswith('HEAD') or '/resolve/' in asked:
            return head + b'1000000\r\n\r\n'
        return head + b'2\r\n\r\n{}'

    server = Dripping(begins)
    for place in (weights.hub, huggingface_hub.constants):
        monkeypatch.setattr(place, 'ENDPOINT', server.url)
        monkeypatch.setattr(place, 'HF_HUB_OFFLINE', False)
        monkeypatch.setattr(place, 'HF_HUB_CACHE', str(tmp_path))
        monkeypatch.setattr(
            place, 'HUGGINGFACE_CO_URL_TEMPLATE', server.url + '/{repo_id}/resolve/{revision}/{filename}'
        )
    monkeypatch.delenv('HF_HUB_OFFLINE', raising=False)
    monkeypatch.setenv('NO_PROXY', '*')
    monkeypatch.setattr(weights, 'HEARD', 1.0)
    monkeypatch.setattr(weights, 'GROWN', 1.0)
    began = time.monotonic()
    with pytest.raises(TowerError, match='nothing came from http://127.0.0.1'):
        weights.fetch_hub_folder('a/b')
    assert time.monotonic() - began < 15
    assert when != 'in the file' or any(asked.startswith('GET /a/b/resolve/') for asked in seen)


@pytest.mark.parametrize('value', [float('inf'), float('nan')])
def test_a_model_whose_numbers_are_none_is_refused_without_its_digest_too(place, tmp_path, value):
    "An infinite shift would make every category certain, and every output finite."
    run = tmp_path / 'run'
    shutil.copytree(place / 'run', run)
    state = load_file(run / 'model.safetensors')
    save_file(state | {'calibration.bias': torch.tensor(value)}, run / 'model.safetensors')
    with pytest.raises(TrmmlError, match='calibration.bias holds what is no finite number'):
        predict_job(str(run), [str(place / 'album' / '00.png')], str(tmp_path / 's.csv'))
    assert not (tmp_path / 's.csv').exists()


@pytest.mark.parametrize('said', ['"timm_drop": NaN', '"timm_drop": 0.1, "timm_drop": 0.2'])
def test_a_tower_whose_settings_are_no_numbers_or_stand_twice(tmp_path, said):
    shutil.copytree(tiny_folder(), tmp_path / 'tower')
    config = tmp_path / 'tower' / 'open_clip_config.json'
    config.write_text(config.read_text().replace('"vision_cfg": {', '"vision_cfg": {' + said + ', ', 1))
    with pytest.raises(TowerError, match=r'open_clip_config.json: not readable .*(no number|stands twice)'):
        load_tower(f'local-dir:{tmp_path / "tower"}')


@pytest.mark.fault(
    'damaged or foreign files', 'a device or a pipe in the place of a table', 'refused before it is read'
)
@pytest.mark.parametrize('option', ['--labels', '--synonyms'])
def test_a_device_is_no_table(place, tmp_path, option):
    os.mkfifo(pipe := tmp_path / 'pipe.csv')
    for there in ('/dev/zero', str(pipe)):
        said = CliRunner().invoke(app, ['check', str(place / 'album'), option, there])
        assert said.exit_code == 1 and 'no file, but a folder, a pipe or a device' in said.output


def test_settings_of_a_method_are_told_as_they_are_written(place):
    said = CliRunner().invoke(app, ['check', str(place / 'album'), '--method', 'trmml:nothing=1']).output
    assert "'trmml:nothing=1': 'nothing=1' is no setting of trmml; write NAME=VALUE with one of" in said
