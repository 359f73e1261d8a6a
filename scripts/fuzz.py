"""Damage every file that the library reads, and count what becomes of it:
python scripts/fuzz.py [--trials N] [--seed S] [--only READER ...] [--note FILE]

Each trial damages a good file (bits, cuts, copies, words that have hurt other programs; in JSON also values, types
and names) and reads it. What may happen: `refused`, an error of the library's own with a message, and `read`, a
result. What must not: `raw`, an error from inside; `silent`, a file that carries a digest gave another result than
the undamaged one; `hang`, more than a minute of the processor. The command fails if any of the three occurs, and
says with which reader, seed and error, so that the trial can be repeated. With --note, the counts go into a JSON file,
from which the notebook of faults makes its table.
"""

import argparse
import contextlib
import io
import json
import random
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from trmml_nb.data.dataset import FileImage, MultiLabelDataset, open_image, scenes_dataset
from trmml_nb.data.formats import from_coco, from_voc_xml, to_coco, to_voc_xml
from trmml_nb.data.mask_files import read_mask_file, write_mask_file
from trmml_nb.data.own_data import csv_dataset
from trmml_nb.data.prepared import prepared_dataset
from trmml_nb.data.tables import read_sheet, read_synonyms
from trmml_nb.data.voc import voc_dataset
from trmml_nb.errors import TrmmlError
from trmml_nb.io import csv_bytes, write_json
from trmml_nb.people.review import Review, read_answers, read_predictions
from trmml_nb.runs.options import TrainJob
from trmml_nb.rivals.compare import FIRST, TEXT_COLUMNS, add_rows, read_table
from trmml_nb.runs.run import load_model, load_run, read_config, read_history
from trmml_nb.runs.train import train_job
from trmml_nb.towers.store import FeatureStore
from trmml_nb.towers.tower import load_tower
from trmml_nb.training.trainer import read_checkpoint

WORDS = (
    b'../../etc/passwd', b'/etc/passwd', b'=cmd|', b'NaN', b'nan', b'Infinity', b'-1', b'1e999', b'9' * 400, b'\x00',
    b'\xff\xfe', b'\xef\xbb\xbf', b'"', b"'", b',', b';', b'\t', b'\r', b'\n', b'\r\n', b'{', b'}', b'[' * 3000,
    b'<!DOCTYPE a [<!ENTITY b "c">]>', b'&b;', b'<a>' * 300, b'null', b'true',
    b'[]', b'{}', b'.0', b'2', '\u0661'.encode(), '\u202e'.encode(), '\ud7ff\uff11'.encode(), b'image', b'stands\xc3(',
)  # fmt: skip
VALUES = (
    None,
    True,
    False,
    0,
    -1,
    2,
    1.5,
    1e308,
    10**30,
    '',
    'x',
    '../x',
    '/etc/x',
    '\x00',
    [],
    {},
    [None],
    ['x', 'x'],
    {'x': 1},
    'é' * 50,
)


def damaged_bytes(data: bytes, r: random.Random) -> bytes:
    "One to three damages anywhere."
    data = bytearray(data)
    for _ in range(r.randint(1, 3)):
        at, to = sorted(r.randint(0, len(data)) for _ in range(2))
        kind = r.randrange(6)
        if kind == 0 and data:
            data[min(at, len(data) - 1)] ^= 1 << r.randrange(8)
        elif kind == 1:
            del data[at : min(to, at + 40)]
        elif kind == 2:
            data[at:at] = r.choice(WORDS)
        elif kind == 3:
            data[at:at] = data[at : min(to, at + 200)]
        elif kind == 4:
            del data[at:]
        else:
            lines = bytes(data).split(b'\n')
            i, j = r.randrange(len(lines)), r.randrange(len(lines))
            lines[i], lines[j] = (lines[j], lines[i]) if r.random() < 0.5 else (lines[i], lines[i])
            data = bytearray(b'\n'.join(lines))
    return bytes(data)


def damaged_json(data: bytes, r: random.Random) -> bytes:
    "A value, a type or a name somewhere in a JSON text is another one."
    content = json.loads(data)
    places = []

    def walk(node):
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            places.append((node, key))
            walk(value)

    walk(content)
    if not places or r.random() < 0.03:
        return json.dumps(r.choice(VALUES)).encode()
    node, key = r.choice(places)
    kind = r.randrange(4)
    if kind == 0:
        del node[key]
    elif kind == 1 and isinstance(node, dict):
        node[r.choice(['x', '', key.upper()])] = node.pop(key)
    elif kind == 2 and isinstance(node, list):
        node.append(node[key])
    else:
        node[key] = r.choice(VALUES)
    return json.dumps(content).encode()


class Reader:
    "A good file, how to read it, and whether any damage that changes the result must be noticed."

    def __init__(self, path, read, sealed=False):
        self.path, self.read, self.sealed, self.good = Path(path), read, sealed, Path(path).read_bytes()
        self.whole = fingerprint(read())


def fingerprint(result) -> str:
    "What a result says, for comparison."
    if isinstance(result, MultiLabelDataset):
        return repr((result.class_names, result.image_ids, result.targets.tolist()))
    return repr(result)


def tensors_of(method) -> str:
    return repr({k: v.double().sum().item() for k, v in method.state_dict().items()})


def readers(work: Path) -> dict[str, Reader]:
    "One of each, in a folder."
    data, found = scenes_dataset('train', 12), {}
    names, ids = data.class_names[:3], [f'{i}.png' for i in range(6)]
    photos = work / 'photos'
    photos.mkdir()
    for i, name in enumerate(ids):
        data.image(i).resize((24, 24)).save(photos / name)
    labels = np.where(np.random.default_rng(0).random((6, 3)) < 0.4, -1, data.targets[:6, :3]).astype(np.int8)
    files = [FileImage(str(photos / i)) for i in ids]
    small = MultiLabelDataset('small', 'all', names, ids, labels, labels, files)
    cells = [[i, *('' if v < 0 else int(v) for v in row)] for i, row in zip(ids, labels)]

    def put(name, content):
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    table = put('photos/labels.csv', csv_bytes(['image', *names], cells))
    found['table'] = Reader(table, lambda: csv_dataset(table))
    found['sheet'] = Reader(
        put('sheet.csv', table.read_bytes()), lambda: read_sheet(work / 'sheet.csv', photos, add_images=False).dataset
    )
    synonyms = put('synonyms.csv', b'name,means\nbike,bicycle\nauto,car\npup,dog\n')
    found['synonyms'] = Reader(synonyms, lambda: read_synonyms(synonyms))
    write_mask_file(work / 'mask.txt', ids, labels)
    found['mask'] = Reader(work / 'mask.txt', lambda: read_mask_file(work / 'mask.txt', ids, names).tolist())
    coco = put('coco.json', json.dumps(to_coco(small)).encode())
    found['coco'] = Reader(coco, lambda: from_coco(coco, photos, check=False))
    to_voc_xml(small, work / 'xml')
    found['voc xml'] = Reader(work / 'xml/000001.xml', lambda: from_voc_xml(work / 'xml', photos, check=False))
    main = work / 'VOC2007/ImageSets/Main'
    main.mkdir(parents=True)
    (work / 'VOC2007/JPEGImages').mkdir()
    for i in range(3):
        data.image(i).resize((16, 16)).save(work / f'VOC2007/JPEGImages/00{i}.jpg')
    put('VOC2007/ImageSets/Main/train.txt', b'000\n001\n002\n')
    voc = put('VOC2007/ImageSets/Main/dog_train.txt', b'000  1\n001 -1\n002  0\n')
    found['voc list'] = Reader(voc, lambda: voc_dataset(work / 'VOC2007'))
    import hashlib

    toy = put('toy/labels.csv', b'image,split,cat,dog\na/1.png,train,1,0\na/2.png,train,0,1\nb/3.png,val,0,1\n')
    put('toy/categories.txt', b'cat\ndog\n')
    about = dict(
        name='toy',
        title='Toy',
        ids='path',
        image_root='images',
        missing=0,
        unknown=0,
        masks=[],
        splits=dict(train=['train'], val=['val']),
    )
    write_json(
        work / 'toy/provenance.json',
        about | dict(table=dict(size=toy.stat().st_size, sha256=hashlib.sha256(toy.read_bytes()).hexdigest())),
    )
    read_toy = lambda: prepared_dataset(work / 'toy')
    found['prepared table'] = Reader(toy, read_toy, sealed=True)
    found['provenance'] = Reader(work / 'toy/provenance.json', read_toy)
    scores = put('scores.csv', csv_bytes(['image', *names], [[i, 0.25, 0.5, 0.75] for i in ids]))
    found['predictions'] = Reader(scores, lambda: read_predictions(scores, small).tolist())
    review = Review(small, np.full((6, 3), 0.7), work / 'answers.csv', 'Ada')
    for question in review.proposals(count=3):
        review.answer((question, 'accept'))
    found['answers'] = Reader(work / 'answers.csv', lambda: read_answers(work / 'answers.csv', small))
    photo = put('photo.png', (photos / '0.png').read_bytes())
    found['png'] = Reader(photo, lambda: open_image(photo).size)
    with io.BytesIO() as held:
        data.image(0).save(held, 'jpeg')
        jpeg = put('photo.jpg', held.getvalue())
    found['jpeg'] = Reader(jpeg, lambda: open_image(jpeg).size)
    kept = {}
    from trmml_nb.runs import train as jobs

    finish = jobs.finish_run
    jobs.finish_run = lambda folder, *rest: (
        kept.update(data=(folder / 'checkpoint.safetensors').read_bytes()),
        finish(folder, *rest),
    )
    draw, jobs.draw_run = jobs.draw_run, lambda *_: None
    try:
        options = dict(limit=12, epochs=1, known=0.5, method='trmml:ffn_dim=32', cache=str(work / 'cache'))
        run = train_job(TrainJob(**options, out=str(work / 'run')), progress=False)
    finally:
        jobs.finish_run, jobs.draw_run = finish, draw
    found['history'] = Reader(run / 'history.csv', lambda: read_history(run).to_csv(), sealed=True)
    compared = work / 'table.csv'
    add_rows(
        compared,
        [
            {name: 1.0 for name in FIRST}
            | {name: 'x' for name in TEXT_COLUMNS}
            | {'AP cat': 12.5, 'known': k, 'seed': 0}
            for k in ('0.1', '0.5')
        ],
    )
    found['comparison'] = Reader(compared, lambda: read_table(compared).to_csv(), sealed=True)
    checkpoint = put('checkpoint.safetensors', kept['data'])
    totals = lambda: sorted(
        (part, name, v.double().sum().item())
        for part, named in read_checkpoint(checkpoint)[1].items()
        for name, v in named.items()
    )
    found['checkpoint'] = Reader(checkpoint, totals, sealed=True)
    method = load_run(run, 'cpu').method
    found['model'] = Reader(
        run / 'model.safetensors', lambda: tensors_of(load_model(method, run / 'model.safetensors')), sealed=True
    )
    found['config'] = Reader(
        run / 'config.json', lambda: {k: v for k, v in read_config(run).items() if k == 'class_names'}
    )
    tower = load_tower()
    place = next((work / 'cache').glob('*/store.json')).parent
    del tower
    sums = lambda: [
        float(np.asarray(part, dtype=np.float64).sum())
        for part in (FeatureStore(place).pooled, FeatureStore(place).norms)
    ]
    found['shard'] = Reader(next(place.glob('*.safetensors')), sums, sealed=True)
    found['store.json'] = Reader(place / 'store.json', sums, sealed=True)
    return found


class Hang(BaseException):
    pass


def outcome(reader: Reader, data: bytes, seconds: float = 60) -> tuple[str, str]:
    "Read a damaged file. Returns the outcome and a line about it."
    reader.path.write_bytes(data)

    def late(*_):
        raise Hang

    signal.signal(signal.SIGVTALRM, late)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter('ignore')
            said = fingerprint(reader.read())
    except Hang:
        return 'hang', f'more than {seconds:g} seconds'
    except TrmmlError as error:
        return ('refused', '') if str(error).strip() else ('raw', 'an error without a message')
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return 'raw', f'{type(error).__name__}: {str(error)[:120]} ({Path(where.filename).name}:{where.lineno})'
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        reader.path.write_bytes(reader.good)
    if said == reader.whole:
        return 'read', 'the same'
    return ('silent', 'another result') if reader.sealed else ('read', 'another')


def campaign(found: dict[str, Reader], trials: int, seed: int) -> tuple[dict[str, Counter], list[str]]:
    "As many trials, the readers in turn; outcomes by reader, and what must not happen, in words."
    counts, wrong = {name: Counter() for name in found}, []
    for trial in range(trials):
        name = list(found)[trial % len(found)]
        reader, r = found[name], random.Random(f'{seed} {trial}')
        structured = reader.path.suffix == '.json' and r.random() < 0.7
        data = (damaged_json if structured else damaged_bytes)(reader.good, r)
        what, said = outcome(reader, data)
        counts[name][what] += 1
        if what in ('raw', 'silent', 'hang'):
            wrong.append(f'{name}, seed {seed}, trial {trial}: {what}: {said}')
    wrong += [
        f'{n}: the undamaged file reads otherwise now' for n, r in found.items() if fingerprint(r.read()) != r.whole
    ]
    return counts, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--trials', type=int, default=3000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', nargs='*', default=[])
    parser.add_argument('--note', type=Path, help='JSON file to write the counts to')
    asked = parser.parse_args()
    torch.set_num_threads(1)
    work = Path(tempfile.mkdtemp(prefix='trmml-fuzz-'))
    try:
        found = readers(work)
        found = {k: v for k, v in found.items() if not asked.only or k in asked.only}
        counts, wrong = campaign(found, asked.trials, asked.seed)
    finally:
        shutil.rmtree(work)
    kinds = ('refused', 'read', 'raw', 'silent', 'hang')
    print(f'{"reader":16}' + ''.join(f'{k:>9}' for k in kinds))
    for name, count in [*counts.items(), ('together', sum(counts.values(), Counter()))]:
        print(f'{name:16}' + ''.join(f'{count[k]:9}' for k in kinds))
    print('\n'.join(wrong[:40]))
    if asked.note is not None:
        rows = {name: {k: count[k] for k in kinds} for name, count in counts.items()}
        write_json(asked.note, dict(trials=asked.trials, seed=asked.seed, outcomes=rows))
    sys.exit(bool(wrong))


if __name__ == '__main__':
    main()
