"""Scores of many pictures: they leave as they are made, a stop costs nothing, and nothing but numbers comes out."""

import csv
import gc
import json
import threading
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from trmml_nb.data.own_data import picture_set
from trmml_nb.errors import DataError
from trmml_nb.io import csv_bytes, csv_chunks
from trmml_nb.runs import predict as module
from trmml_nb.runs.options import JobError
from trmml_nb.runs.predict import PREDICT_FORMS, predict_job
from trmml_nb.runs.run import load_run


def small_pieces(monkeypatch):
    "Pieces of hundreds of pictures would hide what happens between pieces."
    monkeypatch.setattr(module, 'piece_size', lambda tower: 2)


def noise(folder, count, side=32):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(folder / f'{i:05d}.png')
    return folder


def test_the_way_without_a_store_gives_the_numbers_of_the_way_through_one(run, place, photos, tmp_path):
    a, _ = predict_job(run, photos, tmp_path / 'a.csv', progress=False)
    b, _ = predict_job(run, photos, tmp_path / 'b.csv', cache=str(place / 'cache'), progress=False)
    a, b = (pd.read_csv(p, index_col='image') for p in (a, b))
    assert a.index.equals(b.index) and abs(a - b).max().max() <= 2e-6


def test_files_folders_and_patterns_each_picture_once(run, photos, tmp_path):
    (photos / 'notes.txt').write_text('no picture')
    sources = [str(photos / 'sub'), str(photos / '*'), str(photos / '0.png')]
    table, skipped = predict_job(run, sources, tmp_path / 's.csv', progress=False)
    (photos / 'notes.txt').unlink()
    assert list(pd.read_csv(table).image) == ['0.png', '2.png', '4.png', 'sub/1.png', 'sub/3.png', 'sub/5.png']
    assert [(what.rsplit('/', 1)[-1], why) for what, why in skipped] == [('notes.txt', 'not an image suffix')]
    with pytest.raises(DataError, match=r'nowhere/\*.jpg: no such file or folder'):
        picture_set([photos, 'nowhere/*.jpg'])
    one, _ = predict_job(run, [photos / 'sub' / '1.png'], tmp_path / 'one.csv', progress=False)
    assert list(pd.read_csv(one).image) == ['1.png']


@pytest.mark.parametrize('form', PREDICT_FORMS)
def test_every_form_says_the_same(run, photos, tmp_path, form):
    plain = pd.read_csv(predict_job(run, photos, tmp_path / 'p.csv', progress=False)[0], index_col='image')
    path, _ = predict_job(run, photos, tmp_path / 'out', form=form, top=3, progress=False)
    text = path.read_text(encoding='utf-8')
    if form == 'csv':
        assert pd.read_csv(path, index_col='image').equals(plain)
    elif form == 'top':
        rows = list(csv.DictReader(text.splitlines()))
        assert len(rows) == 3 * len(plain) and [r['rank'] for r in rows[:3]] == ['1', '2', '3']
        for r in rows:
            p = plain.loc[r['image']]
            assert float(r['probability']) == p[r['category']] == sorted(p)[-int(r['rank'])]
            assert r['present'] == str(int(p[r['category']] >= 0.5))
    elif form == 'json':
        for item in json.loads(text):
            assert item['probabilities'] == plain.loc[item['image']].to_dict()
            assert item['present'] == [c for c, v in item['probabilities'].items() if v >= 0.5]
    else:
        for item in json.loads(text):
            (said,) = item['predictions'][0]['result']
            p = plain.loc[item['data']['image']]
            assert said['type'] == 'choices' and said['value']['choices'] == [c for c in plain if p[c] >= 0.5]


def test_keywords_go_into_sidecars_and_nobody_elses_is_touched(run, photos, tmp_path):
    words = tmp_path / 'words'
    predict_job(run, photos, tmp_path / 'a.json', form='json', xmp=words, progress=False)
    present = {r['image']: r['present'] for r in json.loads((tmp_path / 'a.json').read_text(encoding='utf-8'))}
    there = {p.relative_to(words).as_posix().removesuffix('.xmp'): p for p in words.rglob('*.xmp')}
    assert set(there) == {name for name, found in present.items() if found}
    item = '{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li'
    for name, path in there.items():
        assert [e.text for e in ET.parse(path).iter(item)] == present[name]
    predict_job(run, photos, tmp_path / 'b.json', form='json', xmp=words, progress=False)  # its own may be written anew
    (words / '0.png.xmp').write_text('<mine/>')
    with pytest.raises(JobError, match=r'0.png.xmp: exists and was not made by this program'):
        predict_job(run, photos, tmp_path / 'c.json', form='json', xmp=words, progress=False)
    assert (words / '0.png.xmp').read_text() == '<mine/>' and not list(tmp_path.glob('*c.json*'))


def test_stopped_anywhere_it_goes_on_and_gives_the_same_bytes(run, tmp_path, monkeypatch):
    small_pieces(monkeypatch)
    album, scored = noise(tmp_path / 'album', 7), []
    whole = predict_job(run, album, tmp_path / 'whole.csv', progress=False)[0].read_bytes()
    pieces = module.scored_pieces

    def counted(recogniser, dataset, todo, on_bad):
        scored.append(sum(map(len, todo)))
        for number, piece in enumerate(pieces(recogniser, dataset, todo, on_bad)):
            if number == stop:
                raise KeyboardInterrupt
            yield piece

    monkeypatch.setattr(module, 'scored_pieces', counted)
    out = tmp_path / 'part.csv'
    for stop in (2, 0, 1, None):
        try:
            predict_job(run, album, out, progress=False)
        except KeyboardInterrupt:
            assert not out.exists()
    assert scored == [7, 3, 3, 1] and out.read_bytes() == whole
    assert sorted(p.name for p in tmp_path.iterdir()) == ['album', 'part.csv', 'whole.csv']


def test_what_a_stopped_command_left_counts_only_if_it_still_holds(run, tmp_path, monkeypatch):
    small_pieces(monkeypatch)
    album, hidden = noise(tmp_path / 'album', 6), tmp_path / '.s.csv.unfinished'
    kept = []
    monkeypatch.setattr(module, 'write_atomic', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        predict_job(run, album, tmp_path / 's.csv', progress=False)
    monkeypatch.undo()
    small_pieces(monkeypatch)
    take = module.take_over
    monkeypatch.setattr(module, 'take_over', lambda *a: kept.append(take(*a)) or kept[-1])
    full = hidden.read_bytes()
    for damage, left in (
        (full, 6),
        (full[:-9], 4),
        (full.replace(b'"image": "00003.png"', b'"image": "x"'), 2),
        (full[:5], 0),
        (full.replace(b'"key": "', b'"key": "0'), 0),
    ):
        hidden.write_bytes(damage)
        predict_job(run, album, tmp_path / 's.csv', progress=False)
        (tmp_path / 's.csv').unlink()
        assert kept[-1][0] == left
    hidden.write_bytes(full)
    Image.new('RGB', (40, 40), 'red').save(album / '00002.png')  # another picture now
    predict_job(run, album, tmp_path / 's.csv', progress=False)
    assert kept[-1][0] == 2 and not hidden.exists()


def test_a_picture_that_cannot_be_read_stops_or_is_left_out(run, tmp_path):
    album = noise(tmp_path / 'album', 3)
    data = (album / '00001.png').read_bytes()
    (album / '00001.png').write_bytes(data[:200])
    with pytest.raises(DataError, match='00001.png: damaged picture'):
        predict_job(run, album, tmp_path / 'new' / 'a.csv', progress=False)
    assert not (tmp_path / 'new').exists()
    table, skipped = predict_job(run, album, tmp_path / 'a.csv', on_bad='skip', progress=False)
    assert list(pd.read_csv(table).image) == ['00000.png', '00002.png'] and skipped[0][0] == '00001.png'
    for name in ('00000', '00002'):
        (album / f'{name}.png').write_bytes(data[:200])
    with pytest.raises(DataError, match='none of 3 pictures can be read'):
        predict_job(run, album, tmp_path / 'b.csv', on_bad='skip', progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['a.csv', 'album']


@pytest.mark.parametrize(
    'words, message',
    [
        (dict(form='xml'), "--format is 'xml', expected one of csv, json, top, labelstudio"),
        (dict(top=0), '--top is 0'),
        (dict(on_bad='maybe'), '--on-bad'),
        (dict(split='val'), 'is no prepared benchmark'),
    ],
)
def test_options_are_checked_first(run, photos, tmp_path, words, message):
    with pytest.raises(JobError, match=message):
        predict_job(run, photos, tmp_path / 'x' / 'a.csv', progress=False, **words)
    assert not list(tmp_path.iterdir())


def test_no_cell_is_run_and_a_table_in_pieces_is_the_table(run, tmp_path):
    album = tmp_path / 'album'
    album.mkdir()
    Image.new('RGB', (20, 20), 'red').save(album / '=1+1.png')
    for form in ('csv', 'top'):
        table, _ = predict_job(run, album, tmp_path / f'{form}.csv', form=form, progress=False)
        assert table.read_text().splitlines()[1].startswith('./=1+1.png,')
    rows = [['a', i] for i in range(1201)]
    assert b''.join(csv_chunks(['image', 'n'], iter(rows))) == csv_bytes(['image', 'n'], rows)


def test_memory_does_not_grow_with_the_number_of_pictures(run, tmp_path, monkeypatch):
    "While records are written, the features that live are those of a piece and of what is read ahead."
    album, alive = noise(tmp_path / 'album', 160, side=16), []
    monkeypatch.setattr(module, 'piece_size', lambda tower: 20)
    monkeypatch.setattr(module, 'work_size', lambda tower: (4, 2))
    tower, own = load_run(run).tower, module.all_finite
    one = (tower.grid[0] * tower.grid[1], tower.dim)

    def count():
        gc.collect()
        return sum(len(t) for t in gc.get_objects() if type(t) is torch.Tensor and t.shape[1:] == one)

    def watched(p, names, folder):
        with gate:  # no thread is in the middle of a batch, whose passing tensors are not kept features
            alive.append(count() - before)
        return own(p, names, folder)

    def encoded(*args):
        with gate:
            return encode(*args)

    gate, encode = threading.Lock(), module.encode_pixels
    monkeypatch.setattr(module, 'encode_pixels', encoded)
    monkeypatch.setattr(module, 'all_finite', watched)
    before = count()  # of other tests
    table, _ = predict_job(run, album, tmp_path / 's.csv', progress=False)
    ahead = 4 * (2 * 2 + 2 + 1)
    assert len(alive) == 8 and max(alive) <= 2 * 20 + ahead and len(pd.read_csv(table)) == 160
