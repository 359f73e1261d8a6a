"""Damage every file that the library reads, and count what becomes of it:
python scripts/fuzz.py [--trials N] [--flips N] [--seed S] [--only READER ...] [--note FILE]

Each trial damages a good file (bits, cuts, copies, words that have hurt other programs; in JSON also values, types
and names) and reads it. What may happen: `refused`, an error of the library's own with a message, and `read`, a
result. What must not: `raw`, an error from inside; `silent`, a file that carries a digest gave another result than
the undamaged one; `hang`, more than a minute of the processor. The command fails if any of the three occurs, and
says with which reader, seed and error, so that the trial can be repeated.

With --flips, so many single bits are turned over (one time in five the file is cut instead) in each of the files that
the library itself writes and reads again: `noticed`, refused or told with a note; `same`, another byte and the same
result; `silent` is another result without a word.

With --note, the counts go into a JSON file, from which the notebook of faults makes its tables.
"""

import argparse
import contextlib
import hashlib
import io
import json
import random
import shutil
import signal
import sys
import tarfile
import tempfile
import traceback
import warnings
import zipfile
from collections import Counter
from dataclasses import asdict
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from trmml_nb.data.dataset import FileImage, MultiLabelDataset, open_image, scenes_dataset
from trmml_nb.data.formats import from_coco, from_voc_xml, read_labels, to_coco, to_voc_xml
from trmml_nb.data.mask_files import read_mask_file, write_mask_file
from trmml_nb.data.own_data import csv_dataset
from trmml_nb.data.prepared import prepared_dataset, read_provenance
from trmml_nb.data.reading import Reading
from trmml_nb.data.names import read_synonyms
from trmml_nb.data.tables import read_sheet
from trmml_nb.data.voc import voc_dataset
from trmml_nb.datasets.archives import Source, identify, unpack
from trmml_nb.datasets.reproduce import read_setting, setting_names
from trmml_nb.errors import TrmmlError
from trmml_nb.io import csv_bytes, write_json
from trmml_nb.people.review import Review, read_answers, read_predictions
from trmml_nb.runs.options import TrainJob
from trmml_nb.rivals.compare import FIRST, TEXT_COLUMNS, add_rows, read_table
from trmml_nb.runs import predict as predicting
from trmml_nb.runs.predict import XMP_MAKER, predict_job, xmp_sidecar
from trmml_nb.runs.run import UNFINISHED, load_model, load_run, read_config, read_history, read_metrics
from trmml_nb.runs.train import train_job
from trmml_nb.runs.use import completed_table, run_decisions, write_table
from trmml_nb.towers.precision import PrecisionProbe, judge, read_probe
from trmml_nb.towers.store import FeatureStore
from trmml_nb.towers.weights import read_tower_config, read_weights, tiny_folder
from trmml_nb.training.localisation import BOX_COLUMNS, box_table
from trmml_nb.training.trainer import read_checkpoint
from trmml_nb.yours.photographs import Kept, PhotosJob, claim_photos
from trmml_nb.yours.view import from_completed

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


def one_flip(data: bytes, r: random.Random) -> bytes:
    "One bit turned over, or the file cut at a byte."
    at = r.randrange(len(data))
    return data[:at] if r.random() < 0.2 else data[:at] + bytes([data[at] ^ 1 << r.randrange(8)]) + data[at + 1 :]


def told(read):
    "The same reader, with every warning as an error: what is told is noticed."

    def strict():
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            try:
                return read()
            except Warning as warning:
                raise TrmmlError(str(warning)) from None

    return strict


class Reader:
    "A good file, how to read it, and whether any damage that changes the result must be noticed."

    def __init__(self, path, read, sealed=False):
        self.path, self.read, self.sealed, self.good = Path(path), read, sealed, Path(path).read_bytes()
        self.whole = fingerprint(read())


def fingerprint(result) -> str:
    "What a result says, for comparison."
    if isinstance(result, MultiLabelDataset):
        return repr((result.class_names, result.image_ids, result.targets.tolist()))
    if isinstance(result, dict):
        return json.dumps(result, sort_keys=True)  # in whatever order it stands
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
    digest = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()
    named = work / 'toy/categories.txt'
    about |= dict(table=dict(size=toy.stat().st_size, sha256=digest(toy)), beside={named.name: digest(named)})
    write_json(work / 'toy/provenance.json', about, sealed=True)
    read_toy = lambda: prepared_dataset(work / 'toy')
    found['prepared table'] = Reader(toy, read_toy, sealed=True)
    found['benchmark categories'] = Reader(named, read_toy, sealed=True)
    found['provenance'] = Reader(work / 'toy/provenance.json', lambda: read_provenance(work / 'toy'), sealed=True)
    scores = put('scores.csv', csv_bytes(['image', *names], [[i, 0.25, 0.5, 0.75] for i in ids]))
    found['predictions'] = Reader(scores, lambda: read_predictions(scores, small).tolist())
    review = Review(small, np.full((6, 3), 0.7), work / 'answers.csv', 'Ada')
    for question in review.proposals(count=3):
        review.answer((question, 'accept'))
    found['answers'] = Reader(work / 'answers.csv', lambda: read_answers(work / 'answers.csv', small), sealed=True)
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
    found['config'] = Reader(run / 'config.json', lambda: read_config(run), sealed=True)
    found['metrics'] = Reader(run / 'metrics.json', lambda: read_metrics(run), sealed=True)
    place = next((work / 'cache').glob('*/store.json')).parent

    def sums():
        store = FeatureStore(place)
        parts = (store.pooled, store.norms, store.dense)
        return (
            sorted(store.meta.items()),
            store.image_ids,
            [float(np.asarray(part, dtype=np.float64).sum()) for part in parts],
        )

    found['shard'] = Reader(next(place.glob('*.safetensors')), sums, sealed=True)
    found['store.json'] = Reader(place / 'store.json', sums, sealed=True)
    found['images.json'] = Reader(place / 'images.json', sums, sealed=True)
    return found | of_tools(work, photos, names, ids) | of_runs(work, run, photos, small)


def of_tools(work: Path, photos: Path, names: list[str], ids: list[str]) -> dict[str, Reader]:
    "Files of labelling tools, of towers and archives, and settings: made elsewhere, without a digest of ours."
    found = {}

    def put(name, content):
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def labels(key, path, read_from=None, **said):
        found[key] = Reader(path, lambda: read_labels(read_from or path, photos, reading=Reading(**said)).dataset)

    results = lambda n: [dict(value=dict(choices=[n]), from_name='choice', type='choices')]
    tasks = [
        dict(data=dict(image=f'/data/upload/1/0123abcd-{i}'), annotations=[dict(result=results(names[k % 3]))])
        for k, i in enumerate(ids)
    ]
    labels('label studio', put('studio.json', json.dumps(tasks)))
    shapes = ''.join(f'<image name="{i}"><tag label="{names[k % 3]}"/></image>' for k, i in enumerate(ids))
    labels('cvat', put('cvat.xml', f'<annotations><version>1.1</version>{shapes}</annotations>'))
    for k, i in enumerate(ids):
        put(f'yolo/{i[:-4]}.txt', f'{k % 3} 0.5 0.5 0.2 0.2\n{(k + 1) % 3} 0.5 0.5 0.2 0.2\n')
    labels('yolo names', put('yolo/classes.txt', '\n'.join(names)), work / 'yolo')
    labels('yolo', work / 'yolo/0.txt', work / 'yolo')
    listed = ''.join(f'  {k}: {n}\n' for k, n in enumerate(names))
    put('yaml/0.txt', '1 0.5 0.5 0.2 0.2\n')
    labels('yolo yaml', put('yaml/data.yaml', f'path: photos\nnames:\n{listed}'), work / 'yaml')
    seen = [
        dict(context=dict(uri=i), labelAnnotations=[dict(description=names[k % 3], score=0.2 * k)])
        for k, i in enumerate(ids)
    ]
    labels('google vision', put('google.json', json.dumps(dict(responses=seen))), confidence=0.5)
    for k, i in enumerate(ids):
        put(f'words/{i}.xmp', xmp_sidecar([names[k % 3]]).replace(XMP_MAKER.encode(), b'a catalogue'))
    labels('lightroom', work / 'words/0.png.xmp', work / 'words')
    rows = ''.join(f'{i},{names[k % 3]},{(k % 5) / 4}\n' for k, i in enumerate(ids))
    labels('long table', put('long.csv', 'ImageID,LabelName,Confidence\n' + rows), confidence=0.7)
    import openpyxl

    book = openpyxl.Workbook()
    for row in [['image', *names], *([i, k % 2, '', 1] for k, i in enumerate(ids))]:
        book.active.append(row)
    book.save(work / 'labels.xlsx')
    labels('workbook', work / 'labels.xlsx')
    cells = ''.join(f'{i},"[{{""labels"": [""{names[k % 3]}""]}}]"\n' for k, i in enumerate(ids))
    labels('lists in cells', put('lists.csv', f'image,labels\n{cells}'))
    boxes = put('boxes.csv', ','.join(BOX_COLUMNS) + ''.join(f'\n{i},{names[0]},0,0.1,0.5,1' for i in ids))
    found['boxes'] = Reader(boxes, lambda: box_table(boxes, names)[1].tolist())
    source = resources.files('trmml_nb') / 'configs' / f'{setting_names()[0]}.json'
    setting = put('setting.json', source.read_bytes())
    found['setting'] = Reader(setting, lambda: read_setting(str(setting)))
    tower = put('tower/open_clip_config.json', (tiny_folder() / 'open_clip_config.json').read_bytes())
    found['tower config'] = Reader(tower, lambda: read_tower_config(tower.parent))
    state = dict(a=torch.arange(6.0), b=torch.ones(2, 2))
    total = lambda path: {k: v.double().sum().item() for k, v in read_weights(path).items()}
    torch.save(state, work / 'weights.bin')
    found['weights, pickled'] = Reader(work / 'weights.bin', lambda: total(work / 'weights.bin'))
    tensors = put('weights.safetensors', save(state))
    found['weights'] = Reader(tensors, lambda: total(tensors))
    with zipfile.ZipFile(work / 'a.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
        for k, i in enumerate(ids):
            archive.writestr(f'images/{i}', bytes([k]) * 50)
    with tarfile.open(work / 'a.tar.gz', 'w:gz') as archive:
        archive.add(photos, 'photos')

    def unpacked(path):
        with tempfile.TemporaryDirectory(dir=work) as place:
            unpack(path, Path(place, 'in'), 1 << 20)
            assert {p.name for p in Path(place).iterdir()} == {'in'}, 'something was written outside'
            return sorted((str(p.relative_to(place)), p.stat().st_size) for p in Path(place).rglob('*'))

    source = Source('a.zip', unpacked=1 << 20)
    identify(work / 'a.zip', source)
    note = work / '.a.zip.json'
    found['note of an archive'] = Reader(note, lambda: identify(work / 'a.zip', source)['sha256'], sealed=True)
    found['zip'] = Reader(work / 'a.zip', lambda: unpacked(work / 'a.zip'))
    found['tar.gz'] = Reader(work / 'a.tar.gz', lambda: unpacked(work / 'a.tar.gz'))
    return found


def of_runs(work: Path, run: Path, photos: Path, small: MultiLabelDataset) -> dict[str, Reader]:
    "What finished and stopped work leaves beside models and settings; each carries a digest, or tells."
    found, names = {}, small.class_names
    table = work / 'completed.csv'
    filled = np.where(small.targets < 0, 1, small.targets)
    write_table(table, *completed_table(small.image_ids, names, small.targets, filled, np.full(filled.shape, 0.625)))
    first = None

    def completed():
        nonlocal first
        sheet = told(lambda: read_labels(table, photos, add_images=False))()
        first = first or sheet.notes
        if sheet.notes != first:
            raise TrmmlError(f'told: {sheet.notes}')
        return sorted(zip(sheet.dataset.image_ids, sheet.dataset.targets.tolist())), sheet.dataset.class_names

    found['completed table'] = Reader(table, completed, sealed=True)
    shown = lambda: from_completed(work, small, np.full(3, 0.5)).tolist()
    found['completed probabilities'] = Reader(table, shown, sealed=True)
    by_name = lambda value: dict.fromkeys(names, value)
    write_json(
        work / 'decisions.json', dict(slope=1.5, shift=by_name(-0.25), noted=by_name(0.9), threshold=by_name(0.4)), True
    )
    decided = lambda: {k: v.tolist() for k, v in run_decisions(work, names).items()}
    found['decisions'] = Reader(work / 'decisions.json', decided, sealed=True)
    job = PhotosJob(photos=str(photos), clip='tiny', out=str(work / 'begun'))
    (work / 'begun').mkdir()
    write_json(work / 'begun' / UNFINISHED, job.asked, sealed=True)
    claim = lambda: claim_photos(job, job.training)[1]
    found['unfinished photographs'] = Reader(work / 'begun' / UNFINISHED, claim, sealed=True)
    write_json(work / 'probe.json', asdict(PrecisionProbe(0.2, 0.1, 0.9999, 0.999, 8)), sealed=True)

    def probed():
        if (probe := read_probe(work / 'probe.json')) is None:
            raise TrmmlError('measured anew')
        return judge(probe).why

    found['precision of a tower here'] = Reader(work / 'probe.json', probed, sealed=True)
    kept = Kept(work, 'key')
    kept.write('fold-1', np.arange(12.0).reshape(4, 3))

    def fold():
        if (piece := kept.read('fold-1')) is None:
            raise TrmmlError('made anew')
        return piece.tolist()

    found['fold'] = Reader(work / 'fold-1.safetensors', fold, sealed=True)
    recogniser, load = load_run(run, 'cpu'), predicting.load_run
    out, hidden = work / 'scores/s.csv', work / 'scores/.s.csv.unfinished'
    out.parent.mkdir()
    dataset = predicting.chosen_pictures(str(photos), recogniser.class_names, 'error', None, False)

    def again():
        "`trmml predict` goes on from what it finds: the table at the end is always the same."
        predicting.load_run, predicting.piece_size = (lambda *_: recogniser), (lambda _: 2)
        try:
            return predict_job(run, photos, out, progress=False)[0].read_bytes()
        finally:
            predicting.load_run, predicting.piece_size = load, size
            out.unlink(missing_ok=True)

    size = predicting.piece_size
    predicting.piece_size = lambda _: 2
    try:
        predicting.write_records(run, recogniser, dataset, hidden, 'error', None, False)
    finally:
        predicting.piece_size = size
    found['scores of a stopped command'] = Reader(hidden, again, sealed=True)
    return found


class Hang(BaseException):
    pass


BAD = ('raw', 'silent', 'hang')


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


def flips(found: dict[str, Reader], trials: int, seed: int) -> tuple[dict[str, Counter], list[str]]:
    "So many single damages of each file that must notice them; outcomes by reader, and what must not happen, in words."
    counts, wrong = {}, []
    for name, reader in found.items():
        if reader.sealed:
            counts[name] = Counter()
            for trial in range(trials):
                what, said = outcome(reader, one_flip(reader.good, random.Random(f'{name} {seed} {trial}')))
                counts[name][dict(refused='noticed', read='same').get(what, what)] += 1
                if what in BAD:
                    wrong.append(f'{name}, seed {seed}, flip {trial}: {what}: {said}')
    return counts, wrong


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
        if what in BAD:
            wrong.append(f'{name}, seed {seed}, trial {trial}: {what}: {said}')
    wrong += [
        f'{n}: the undamaged file reads otherwise now' for n, r in found.items() if fingerprint(r.read()) != r.whole
    ]
    return counts, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--trials', type=int, default=3000)
    parser.add_argument('--flips', type=int, default=0, help='single bits and cuts of each file that carries a digest')
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
        turned, more = flips(found, asked.flips, asked.seed)
    finally:
        shutil.rmtree(work)
    noted = {}
    for part, some, kinds in (
        ('outcomes', counts, ('refused', 'read', *BAD)),
        ('flips', turned, ('noticed', 'same', *BAD)),
    ):
        print(f'{part:28}' + ''.join(f'{k:>9}' for k in kinds))
        for name, count in [*some.items(), ('together', sum(some.values(), Counter()))]:
            print(f'{name:28}' + ''.join(f'{count[k]:9}' for k in kinds))
        noted[part] = {name: {k: count[k] for k in kinds} for name, count in some.items()}
    print('\n'.join([*wrong, *more][:60]))
    if asked.note is not None:
        write_json(asked.note, dict(trials=asked.trials, seed=asked.seed) | noted)
    sys.exit(bool(wrong or more))


if __name__ == '__main__':
    main()
