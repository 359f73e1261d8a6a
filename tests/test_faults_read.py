"Files made to hold a reader up, to move labels to another category, or to run code: what becomes of each."

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from trmml_nb.data.dataset import FileImage
from trmml_nb.data.formats import from_voc_xml, read_labels
from trmml_nb.data.cells import TableError
from trmml_nb.data.reading import Reading
from trmml_nb.errors import DataError, TowerError
from trmml_nb.towers.weights import find_tower, require_transformers, tiny_folder

NAMES = ('a.png', 'b.png', 'c.png')


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    for k, name in enumerate(NAMES):
        Image.new('RGB', (8, 8), (k * 40, 0, 0)).save(folder / name)
    return folder


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding='utf-8')
    return path


# -- YOLO


def yolo(folder, lists, name='data.yaml', lines='1 0.5 0.5 0.2 0.2'):
    put(folder / name, lists)
    put(folder / 'a.txt', lines)
    return folder


@pytest.mark.parametrize(
    'lists',
    [
        'names: [cat, dog]',
        'names: {0: cat, 1: dog}',
        'names:\n  1: dog\n  0: cat\n',
        'names:\n- cat  # purrs\n- "dog"\n',
        "nc: 2\nnames:\n  # the second first\n  1: 'dog'\n  0: cat\n",
    ],
)
def test_numbers_of_yolo_keep_their_names(photos, tmp_path, lists):
    sheet = read_labels(yolo(tmp_path / 'labels', lists), photos)
    assert sheet.dataset.class_names == ['cat', 'dog'] and sheet.dataset.targets[0].tolist() == [-1, 1]


@pytest.mark.fault(
    'damaged or foreign files',
    'a list of categories in which a name lacks, stands twice or has no number',
    'refused with the place; no label moves to the next category',
)
@pytest.mark.parametrize(
    'name, lists, said',
    [
        ('classes.txt', 'cat\n\ndog\n', r'classes.txt: category 1 has no name'),
        ('classes.txt', 'cat\ndog\ncat\n', r"category 2: category 'cat' stands in .*category 0 already"),
        ('data.yaml', 'names: [cat, dog, cat]', r"category 2: category 'cat' stands in .*category 0 already"),
        ('data.yaml', 'names: {0: cat, 0: dog}', '0 stands twice'),
        ('data.yaml', 'names:\n 0: cat\n 5: dog', 'names has no category 1; number them'),
        ('data.yaml', 'names: 5', 'expected a list'),
        ('data.yaml', 'names: [[cat]]', 'expected a list'),
        ('data.yaml', 'names: &a [*a]', 'expected a list'),
        ('data.yaml', 'names: [cat', 'cannot be read'),
        ('data.yaml', 'names: ' + '[' * 5000, 'cannot be read'),
    ],
)
def test_no_category_of_yolo_gets_the_number_of_another(photos, tmp_path, name, lists, said):
    with pytest.raises(DataError, match=said):
        read_labels(yolo(tmp_path / 'labels', lists, name), photos)


def test_yaml_makes_no_objects(photos, tmp_path):
    made = tmp_path / 'made'
    lists = f'names: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ["{made}"]]'
    with pytest.raises(DataError, match='could not determine a constructor'):
        read_labels(yolo(tmp_path / 'labels', lists), photos)
    assert not made.exists()


@pytest.mark.parametrize('score', ['nan', '7', '-1', 'x'])
def test_what_stands_in_the_place_of_a_score_is_one(photos, tmp_path, score):
    with pytest.raises(DataError, match=rf"a.txt, line 1: '{score}', in the place of a score"):
        folder = yolo(tmp_path / 'labels', 'names: [cat, dog]', lines=f'1 0.5 0.5 0.2 0.2 {score}')
        read_labels(folder, photos, reading=Reading(confidence=0.5))


# -- other tools


def test_a_picture_of_coco_that_is_listed_under_two_spellings(photos, tmp_path):
    listed = [dict(id=0, file_name='a.png'), dict(id=1, file_name='./a.png')]
    content = dict(images=listed, categories=[dict(id=1, name='cat')], annotations=[dict(image_id=0, category_id=1)])
    with pytest.raises(DataError, match=r"images 1: image 'a.png' stands in .*images 0 already"):
        read_labels(put(tmp_path / 'c.json', content), photos)
    content['images'] = [listed[0] | dict(neg_category_ids=[1])]
    with pytest.raises(DataError, match="'a.png' has 'cat' both as an object and as absent"):
        read_labels(put(tmp_path / 'c.json', content), photos)


@pytest.mark.parametrize('said', [None, [{'a': 1}], [None], [['a', 1]]])
def test_what_is_no_name_becomes_no_category_of_label_studio(photos, tmp_path, said):
    result = dict(value=dict(choices=said), type='choices')
    tasks = [dict(data=dict(image='a.png'), annotations=[dict(result=[result])])]
    with pytest.raises(DataError, match='not in the form labelstudio'):
        read_labels(put(tmp_path / 't.json', tasks), photos)


def test_an_empty_box_of_label_studio_is_no_label(photos, tmp_path):
    tasks = [dict(image='a.png', choice=[dict(rectanglelabels=[])]), dict(image='b.png', choice='cat')]
    assert read_labels(put(tmp_path / 't.json', tasks), photos).dataset.targets.tolist() == [[-1], [1], [-1]]


@pytest.mark.fault(
    'hostile files', 'a pipe among annotations or pictures', 'refused at once; nobody waits for what never comes'
)
@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='this system has no pipes with names')
def test_a_pipe_is_not_waited_for(photos, tmp_path):
    folder = tmp_path / 'xml'
    folder.mkdir()
    os.mkfifo(folder / 'a.xml')
    for read in (lambda: read_labels(folder, photos), lambda: from_voc_xml(folder, photos)):
        with pytest.raises(DataError, match=r'a\.xml: no file, but a folder, a pipe or a device'):
            read()
    os.mkfifo(photos / 'd.png')
    for read in (FileImage(str(photos / 'd.png')).content_key, FileImage(str(photos / 'd.png')).check):
        with pytest.raises(DataError, match='d.png: no'):
            read()
    with pytest.raises(DataError, match='d.png'):
        read_labels(put(photos / 'l.csv', 'image,cat\na.png,1\n'), photos)


def test_a_form_that_is_a_folder_does_not_blame_rights(photos, tmp_path):
    for form in ('voc', 'lightroom'):
        with pytest.raises(DataError, match='a file, expected a folder with a .x'):
            read_labels(put(tmp_path / 'l.csv', 'image,cat\na.png,1\n'), photos, reading=Reading(format=form))


# -- tables


@pytest.mark.parametrize('said', [dict(present='x|Y', absent=' y '), dict(absent='1', unknown='1')])
def test_a_word_of_ones_own_means_one_thing(said):
    with pytest.raises(TableError, match='it can mean only one of them'):
        Reading(**said)


@pytest.mark.parametrize('confidence', [float('nan'), float('inf'), -0.1, 1.5])
def test_a_confidence_is_a_share(confidence):
    with pytest.raises(TableError, match='--confidence is'):
        Reading(confidence=confidence)


@pytest.mark.parametrize('encoding', ['undefined', 'a\0', 'zlib', 'no such'])
def test_an_encoding_that_is_none(photos, encoding):
    table = put(photos / 'l.csv', 'image,cat\na.png,1\n')
    with pytest.raises(TableError, match='cannot be read as --encoding'):
        read_labels(table, photos, reading=Reading(encoding=encoding))


def test_a_cell_longer_than_any(photos):
    for cell in ('a' * 200_000, '"' + 'a' * 200_000 + '"'):
        with pytest.raises(TableError, match='field larger than field limit'):
            read_labels(put(photos / 'l.csv', f'image,cat\n{cell},1\n'), photos)


def test_a_workbook_whose_cells_reach_too_far(photos, tmp_path, monkeypatch):
    "Blank cells up to the last line of a sheet, or a sheet that unpacks to a thousand times its size."
    openpyxl = pytest.importorskip('openpyxl')
    book = openpyxl.Workbook()
    for line in (['image', 'cat'], ['a.png', 1]):
        book.active.append(line)
    book.active.cell(1_048_576, 16_384, 'x')
    book.save(tmp_path / 'far.xlsx')
    with pytest.raises(TableError, match='its cells reach from A1 to XFD1048576; delete the lines'):
        read_labels(tmp_path / 'far.xlsx', photos)
    monkeypatch.setattr('trmml_nb.data.grids.LARGEST_BOOK', 1000)
    with pytest.raises(TableError, match='it would unpack to'):
        read_labels(tmp_path / 'far.xlsx', photos)


# -- towers


@pytest.fixture
def tower(tmp_path):
    def make(**text):
        folder = tmp_path / 'tower'
        folder.mkdir()
        for file in tiny_folder().iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        config = json.loads((folder / 'open_clip_config.json').read_text(encoding='utf-8'))
        config['model_cfg']['text_cfg'] |= text
        put(folder / 'open_clip_config.json', config)
        return folder

    return make


@pytest.mark.parametrize('form', ['{"aut\\u006f_map": {"AutoTokenizer": ["evil.Evil", null]}}', '[{"x": "auto_map"}]'])
def test_code_is_named_however_it_is_written(tower, form):
    folder = tower()
    for encoding in ('utf-8', 'utf-16'):
        (folder / 'tokenizer_config.json').write_bytes(form.encode(encoding))
        with pytest.raises(TowerError, match='names Python code'):
            find_tower(f'local-dir:{folder}', None)
    put(folder / 'tokenizer_config.json', '[' * 100_000)
    with pytest.raises(TowerError, match='tokenizer_config.json: not a JSON file'):
        find_tower(f'local-dir:{folder}', None)


@pytest.mark.fault(
    'hostile files',
    'a folder that is called like a model of the hub, in the place where a command is started',
    'refused: it would be read in place of the model, and could bring code',
)
def test_a_folder_here_is_not_taken_for_a_model_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('roberta-base').mkdir()
    Path('timm').mkdir()
    for name, text in (
        ('local-dir:x', dict(hf_model_name='roberta-base')),
        ('a tower', dict(hf_tokenizer_name='timm')),
    ):
        with pytest.raises(TowerError, match='a folder of that name here would be read in its place'):
            require_transformers(dict(text_cfg=text), name)


@pytest.mark.fault(
    'hostile files', 'a configuration that asks for terabytes', 'refused before memory is asked for, by its weights'
)
def test_weights_that_a_file_cannot_hold_are_not_made(tower):
    folder = tower(layers=512, width=1 << 15)
    with pytest.raises(TowerError, match=r'11,343,252 bytes cannot hold the 2,199,\d{3},\d{3},\d{3} weights'):
        find_tower(f'local-dir:{folder}', None)


@pytest.mark.parametrize('place', ['.00.5', '0.5.', '1e99', '٠.٥', '-'])
def test_a_place_of_yolo_is_a_number(photos, tmp_path, place):
    (tmp_path / 'y').mkdir()
    (tmp_path / 'y' / 'classes.txt').write_text('cat\ndog\n')
    (tmp_path / 'y' / 'a.txt').write_text(f'1 .5 {place} .1 .1\n')
    with pytest.raises(DataError, match='is no place of YOLO'):
        read_labels(tmp_path / 'y', photos)
