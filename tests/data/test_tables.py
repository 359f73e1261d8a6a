"Tables as people write them: every form is read right, refused, or asked about; nothing is guessed in silence."

import json
import unicodedata

import numpy as np
import pytest
from PIL import Image

from trmml_nb.errors import DataError
from trmml_nb.data.formats import read_labels
from trmml_nb.data.labels import ABSENT, PRESENT, UNKNOWN
from trmml_nb.data.own_data import flatness, folder_files, look_like_photographs, image_folder
from trmml_nb.data.tables import CELLS, CELL_CODES, WORDS, Reading, TableError, plain, read_cell


@pytest.fixture
def album(tmp_path):
    "Three pictures, one of them in a folder."
    (tmp_path / 'sub').mkdir()
    for name in ('a.png', 'b.png', 'sub/c.jpg'):
        Image.new('RGB', (8, 8)).save(tmp_path / name)
    return tmp_path


def read(folder, text, name='labels.csv', **said):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_labels(folder / name, folder, add_images=False, reading=Reading(**said))


# -- more than one reading


def test_one_minus_one_zero_is_asked_about_and_counted(album):
    text = 'image,dog,cat\na.png,1,-1\nb.png,0,-1\nsub/c.jpg,-1,1\n'
    with pytest.raises(
        TableError, match=r'more than one reading: -1 in 3, 1 in 2, 0 in 1 cells.*--code signed.*minus_one'
    ):
        read(album, text)
    assert read(album, text, code='signed').dataset.targets.tolist() == [[1, 0], [-1, 0], [0, 1]]
    assert read(album, text, code='minus_one').dataset.targets.tolist() == [[1, -1], [0, -1], [-1, 1]]
    assert read(album, text, code='positives').dataset.targets.tolist() == [[1, -1], [-1, -1], [-1, 1]]
    with pytest.raises(TableError, match="'-1' is no label"):
        read(album, text, code='blank')
    assert any('(absent)' in note for note in read(album, text, code='signed').notes)


@pytest.mark.parametrize('cells', ['-1 1 1', '-1 0 0', '1 -1 ', '-1.0 1.0 0.0', '−1 1 0', 'yes -1 no'])
def test_minus_one_is_never_read_without_a_code(album, cells):
    rows = ''.join(f'{n},{v}\n' for n, v in zip(('a.png', 'b.png', 'sub/c.jpg'), cells.split(' ')))
    with pytest.raises(TableError, match='more than one reading'):
        read(album, 'image,dog\n' + rows)
    for code in ('signed', 'minus_one', 'positives'):
        assert read(album, 'image,dog\n' + rows, code=code).notes


@pytest.mark.parametrize('a, b', [('+', '-'), ('x', 'o'), ('x', '✓'), ('×', '○')])
def test_marks_that_can_mean_both_are_asked_about(album, a, b):
    text = f'image,dog\na.png,{a}\nb.png,{b}\n'
    with pytest.raises(TableError, match=r'more than one reading.*--present=.*--absent='):
        read(album, text)
    assert read(album, text, present=a, absent=b).dataset.targets.ravel().tolist() == [1, 0]
    assert read(album, text, present=b, absent=a).dataset.targets.ravel().tolist() == [0, 1]


def test_a_full_table_says_that_zero_is_absent(album):
    sheet = read(album, 'image,dog\na.png,1\nb.png,0\n')
    assert any('0 is read as absent' in n and '--code positives' in n for n in sheet.notes)
    assert read(album, 'image,dog\na.png,1\nb.png,0\n', code='positives').dataset.targets.ravel().tolist() == [1, -1]


def test_words_mean_one_thing():
    groups = [{plain(w) for w in words} for words in WORDS.values()]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    assert set(CELL_CODES) == {'blank', 'minus_one', 'signed', 'nan', 'positives'}
    assert all(CELLS[w] == label for group, label in zip(groups, (PRESENT, ABSENT, UNKNOWN)) for w in group)
    assert [read_cell(c) for c in ('1,00', ' JA ', 'Oui', 'ЛОЖЬ', 'ИСТИНА', 'いいえ', '１', 'HAYIR', '#N/A', '\xa0')] == [
        1, 1, 1, 0, 1, 0, 1, 0, -1, -1,
    ]  # fmt: skip


# -- columns


@pytest.mark.parametrize('header', ['Dog,dog', 'dog,dog', 'dog,cat,DOG'])
def test_two_columns_of_one_name_are_refused_unless_joined(album, header):
    n = header.count(',') + 1
    text = f'image,{header}\na.png{",1" * n}\n'
    with pytest.raises(TableError, match=r'have one name.*--synonyms'):
        read(album, text)
    (album / 'labels.csv').write_text(text)
    joined = read_labels(album / 'labels.csv', synonyms={'dog': 'dog'}, add_images=False)
    assert [c.casefold() for c in joined.dataset.class_names].count('dog') == 1


def test_a_category_called_annotator(album):
    text = 'image,annotator,dog\na.png,1,0\nb.png,0,1\n'
    with pytest.raises(TableError, match='holds only labels.*--annotator none'):
        read(album, text)
    assert read(album, text, annotator='none').dataset.class_names == ['annotator', 'dog']
    assert read(album, text, annotator='annotator').annotators == ['1', '0']
    assert read(album, 'image,annotator,dog\na.png,ann,0\nb.png,bob,1\n').annotators == ['ann', 'bob']
    with pytest.raises(TableError, match="no column is called 'who'"):
        read(album, text, annotator='who')


# -- what a folder holds


def test_pictures_that_cannot_be_read_and_linked_folders_are_counted(album, tmp_path_factory, monkeypatch):
    from trmml_nb.data import own_data

    monkeypatch.setattr(own_data, 'IMAGE_SUFFIXES', {'.png', '.jpg'})
    for name in ('x.HEIC', 'y.heic', 'z.avif', 'r.NEF', 'p.jp2', 'notes.txt'):
        (album / name).write_bytes(b'x')
    other = tmp_path_factory.mktemp('other')
    (album / 'linked').symlink_to(other)
    sheet = read_labels_with_all(album)
    said = '\n'.join(sheet.notes)
    for part in (r'2 entries of the folder left out: .*HEIC', 'AVIF', 'JP2', 'NEF', '1 entry .*link to a folder'):
        assert __import__('re').search(part, said), part
    assert 'notes.txt' not in said and len(sheet.dataset.skipped) == 6 and len(folder_files(album)[0]) == 3


def read_labels_with_all(folder):
    (folder / 'labels.csv').write_text('image,dog\na.png,1\n')
    return read_labels(folder / 'labels.csv')


def test_avif_and_jp2_are_read_where_pillow_can(album):
    from PIL import features

    for suffix, codec in (('avif', 'avif'), ('jp2', 'jpg_2000')):
        if features.check(codec):
            Image.new('RGB', (8, 8), 'red').save(album / f'new.{suffix}')
            assert f'new.{suffix}' in folder_files(album)[0]
    assert image_folder(album).image(0).size == (8, 8)


def test_photographs_and_drawings(album):
    grain = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    assert flatness(Image.fromarray(grain)) < 0.1 and flatness(Image.new('RGB', (9, 9))) == 1
    assert flatness(Image.new('RGB', (1, 9))) == 1 and not look_like_photographs(image_folder(album))


# -- names of pictures


@pytest.mark.parametrize(
    'cell, rule',
    [
        ('./a.png', None),
        ('A.PNG', 'upper and lower'),
        ('a', 'without the ending'),
        ('a.jpeg', 'without the ending'),
        ('photos/a.png', 'without its folders'),
        ('C:\\photos\\a.png', 'without its folders'),
        ('/home/ann/photos/a.png', 'without its folders'),
        ('https://x.org/files/a.png?size=3', 'without its folders'),
        ('old/A', 'without folders and ending'),
    ],
)
def test_names_match_as_people_mean_them_and_it_is_told(album, cell, rule):
    sheet = read(album, f'image,dog\n{cell},1\n')
    assert sheet.dataset.image_ids == ['a.png']
    assert rule is None or any('1 of 1 names' in n and rule in n for n in sheet.notes)


def test_accents_absolute_paths_and_two_candidates(album):
    Image.new('RGB', (8, 8)).save(album / unicodedata.normalize('NFC', 'Käfer.png'))
    text = f'image,dog\n{unicodedata.normalize("NFD", "Käfer.png")},1\n{album / "b.png"},0\nsub\\c.jpg,1\n'
    assert read(album, text).dataset.image_ids == ['Käfer.png', 'b.png', 'sub/c.jpg']
    Image.new('RGB', (8, 8)).save(album / 'sub' / 'a.png')
    assert read(album, 'image,dog\na.png,1\nx/sub/a.png,0\n').dataset.image_ids == ['a.png', 'sub/a.png']
    Image.new('RGB', (8, 8)).save(album / 'a.jpg')
    with pytest.raises(TableError, match=r"'a' can be 'a.jpg' or 'a.png'"):
        read(album, 'image,dog\na,1\n')
    with pytest.raises(DataError, match=r"(?s)no such image.*Not in the folder: bb.png; the nearest is 'b.png'"):
        read(album, 'image,dog\nbb.png,1\n')
    with pytest.raises(TableError, match='no path inside'):
        read(album, 'image,dog\n/etc/passwd,1\n')
    with pytest.raises(TableError, match='no such folder'):
        read_labels(album / 'labels.csv', album / 'nowhere')


@pytest.mark.parametrize('form', ['wide', 'list', 'coco'])
def test_what_was_said_of_a_table_and_does_not_occur_in_it_is_told(album, form):
    table = {
        'wide': 'image,cat,dog\na.png,1,0\nb.png,,yes\n',
        'list': 'image,label\na.png,cat\nb.png,dog\n',
        'coco': json.dumps(
            dict(
                images=[dict(id=1, file_name='a.png')],
                categories=[dict(id=1, name='cat')],
                annotations=[dict(id=1, image_id=1, category_id=1)],
            )
        ),
    }[form]
    name = 'labels.json' if form == 'coco' else 'labels.csv'
    said = dict(confidence=0.7, separator='#', proposals='accept', present='maybe|yes')
    told = [n for n in read(album, table, name, **said).notes if n.startswith('nothing came of')]
    options = [n.split()[3].rstrip(':') for n in told]
    words = ['--present=maybe'] if form == 'wide' else ['--present=maybe', '--present=yes']
    assert options == ['--confidence=0.7', "--separator='#'", '--proposals=accept', *words]
    unlisted, coded = (read(album, table, name, **o).notes for o in (dict(unlisted='absent'), dict(code='signed')))
    assert any('--unlisted=absent' in n for n in unlisted) == (form == 'wide')
    assert any('nothing came of --code=signed' in n for n in coded) == (form != 'wide')
    assert not any('nothing came of' in n for n in read(album, table, name).notes)


def test_what_was_said_and_does_occur_is_not_told_of(album):
    long = 'image,label,confidence\na.png,cat,0.9\nb.png,dog,0.2\n'
    listed = 'image,label\na.png,cat;dog\nb.png,leer\n'
    for text, said in ((long, dict(confidence=0.5)), (listed, dict(separator=';', absent='leer', unlisted='absent'))):
        assert not any('nothing came of' in n for n in read(album, text, 'labels.csv', **said).notes)


def test_the_time_to_read_a_header_does_not_grow_with_the_cube_of_its_columns(album, monkeypatch):
    "A table of 200 categories took 18 seconds to open: names of columns were read again for each pair of columns."
    from trmml_nb.data import tables

    asked, original = [], tables.head
    monkeypatch.setattr(tables, 'head', lambda cell: asked.append(cell) or original(cell))
    counts = []
    for n in (30, 60):
        asked.clear()
        names = [f'thing {k}' for k in range(n)]
        sheet = read(album, f'image,{",".join(names)}\n' + f'a.png{",1" * n}\nb.png{",0" * n}\n', name=f'{n}.csv')
        assert sheet.dataset.class_names == names
        counts.append(len(asked))
    assert counts[1] < 5 * counts[0], counts
