"A column for each category: which columns are categories, and what their cells say."

import pytest

from helpers.tables import read
from trmml_nb.data import cells, grids, listed, names, reading, tables, wide
from trmml_nb.data.cells import TableError
from trmml_nb.data.formats import read_labels


@pytest.mark.parametrize('header', ['Dog,dog', 'dog,dog', 'dog,cat,DOG'])
def test_two_columns_of_one_name_are_refused_unless_joined(album, header):
    n = header.count(',') + 1
    text = f'image,{header}\na.png{",1" * n}\n'
    with pytest.raises(TableError, match=r'have one name.*--synonyms'):
        read(album, text)
    (album / 'labels.csv').write_text(text)
    joined = read_labels(album / 'labels.csv', synonyms={'dog': 'dog'}, add_images=False)
    assert [c.casefold() for c in joined.dataset.class_names].count('dog') == 1


def test_many_columns_are_looked_at_once_each(album, monkeypatch):
    "Twice as many take twice as long, so a table of ten thousand categories is read in seconds."
    looks = []
    monkeypatch.setattr(grids, 'head', lambda name, head=grids.head: looks.append(1) or head(name))
    for n in (100, 200):
        read(album, f'image,{",".join(f"c{i}" for i in range(n))}\na.png{",1" * n}\n')
        looks.append(0)
    first = looks.index(0)
    assert len(looks) - first < 2.5 * first


def test_a_category_called_annotator(album):
    text = 'image,annotator,dog\na.png,1,0\nb.png,0,1\n'
    with pytest.raises(TableError, match='holds only labels.*--annotator none'):
        read(album, text)
    assert read(album, text, annotator='none').dataset.class_names == ['annotator', 'dog']
    assert read(album, text, annotator='annotator').annotators == ['1', '0']
    assert read(album, 'image,annotator,dog\na.png,ann,0\nb.png,bob,1\n').annotators == ['ann', 'bob']
    with pytest.raises(TableError, match="no column is called 'who'"):
        read(album, text, annotator='who')


def test_a_full_table_says_that_zero_is_absent(album):
    sheet = read(album, 'image,dog\na.png,1\nb.png,0\n')
    assert any('0 is read as absent' in n and '--code positives' in n for n in sheet.notes)
    assert read(album, 'image,dog\na.png,1\nb.png,0\n', code='positives').dataset.targets.ravel().tolist() == [1, -1]


def test_the_time_to_read_a_header_does_not_grow_with_the_cube_of_its_columns(album, monkeypatch):
    "A table of 200 categories took 18 seconds to open: names of columns were read again for each pair of columns."
    asked = []
    for room in (cells, reading, grids, names, wide, listed, tables):
        monkeypatch.setattr(room, 'head', lambda cell, head=room.head: asked.append(cell) or head(cell))
    counts = []
    for n in (30, 60):
        asked.clear()
        things = [f'thing {k}' for k in range(n)]
        sheet = read(album, f'image,{",".join(things)}\n' + f'a.png{",1" * n}\nb.png{",0" * n}\n', name=f'{n}.csv')
        assert sheet.dataset.class_names == things
        counts.append(len(asked))
    assert counts[1] < 5 * counts[0], counts
