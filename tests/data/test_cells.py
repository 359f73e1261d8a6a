"Cells as people write them: a word has one meaning, and what has two is asked about."

import pytest

from helpers.tables import read
from trmml_nb.data.cells import CELLS, CELL_CODES, WORDS, TableError, plain, read_cell
from trmml_nb.data.labels import ABSENT, PRESENT, UNKNOWN


@pytest.mark.parametrize(
    'cell, label',
    [
        ('1', 1),
        ('Yes', 1),
        ('x', 1),
        ('TRUE', 1),
        ('0', 0),
        ('no', 0),
        ('0.0', 0),
        ('', -1),
        (' ? ', -1),
        ('n/a', -1),
        ('-1', -1),
    ],
)
def test_cells(cell, label):
    assert read_cell(cell) == label


def test_words_mean_one_thing():
    groups = [{plain(w) for w in words} for words in WORDS.values()]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    assert set(CELL_CODES) == {'blank', 'minus_one', 'signed', 'nan', 'positives'}
    assert all(CELLS[w] == label for group, label in zip(groups, (PRESENT, ABSENT, UNKNOWN)) for w in group)
    assert [read_cell(c) for c in ('1,00', ' JA ', 'Oui', 'ЛОЖЬ', 'ИСТИНА', 'いいえ', '１', 'HAYIR', '#N/A', '\xa0')] == [
        1, 1, 1, 0, 1, 0, 1, 0, -1, -1,
    ]  # fmt: skip


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
