"Names of pictures match as people mean them, and it is told how; synonyms join categories."

import unicodedata

import pytest
from PIL import Image

from helpers.tables import read
from trmml_nb.data.cells import TableError
from trmml_nb.data.formats import read_labels
from trmml_nb.data.names import read_synonyms
from trmml_nb.errors import DataError


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


def test_synonyms_that_cannot_be_meant(tmp_path):
    for text, said in (
        ('name,means\nbike,bicycle,cycle\n', "line 2: 'bike,bicycle,cycle', expected two words in every line"),
        ('name,means\nbike\n', "line 2: 'bike', expected two words in every line"),
        ('name,means\nbike,bicycle\n\nBike,motorbike\n', "line 4: 'Bike' stands in line 2 already"),
        ('', 'an empty file'),
    ):
        (tmp_path / 's.csv').write_text(text, encoding='utf-8')
        with pytest.raises(TableError, match=said):
            read_synonyms(tmp_path / 's.csv')


def test_synonyms(tmp_path):
    (tmp_path / 's.csv').write_text('name,means\nauto, car\npup,puppy\npuppy,dog\n')
    assert read_synonyms(tmp_path / 's.csv') == {'auto': 'car', 'pup': 'dog', 'puppy': 'dog'}
    for text, said in (
        ('a,b\n1,2\n', 'expected the header name,means'),
        ('name,means\na,b\nb,a\n', 'in a circle'),
        ('name,means\na,\n', 'two words in every line'),
    ):
        (tmp_path / 's.csv').write_text(text)
        with pytest.raises(TableError, match=said):
            read_synonyms(tmp_path / 's.csv')
    with pytest.raises(TableError, match='cannot be read'):
        read_synonyms(tmp_path / 'none.csv')


def test_a_long_chain_of_synonyms_is_followed_once():
    chain = {f'a{i}': f'a{i + 1}' for i in range(20_000)}
    assert (
        set(read_synonyms(chain).values()) == {'a20000'} == set(read_synonyms(dict(reversed(chain.items()))).values())
    )
