"A table and a folder of pictures become a sheet; a wrong one is refused with file and line."

import pytest
from PIL import Image

from trmml_nb.data.formats import read_labels
from trmml_nb.data.own_data import folder_files
from trmml_nb.data.tables import read_sheet, sheet_statistics
from trmml_nb.errors import DataError


def put(folder, text):
    (folder / 'labels.csv').write_text(text)
    return folder / 'labels.csv'


@pytest.fixture
def two(tmp_path):
    (tmp_path / 'sub').mkdir()
    for name in ('a.png', 'sub/b.png'):
        Image.new('RGB', (8, 8)).save(tmp_path / name)
    return tmp_path


def test_votes_synonyms_and_what_nobody_labelled(two):
    text = 'image,Annotator,bike,Bicycle,dog\na.png,ann,1,,1\na.png,bob,,0,1\na.png,cy,0,,\n'
    sheet = read_sheet(put(two, text), synonyms={'BIKE': 'bicycle'}, categories=['Dog', 'tent'])
    assert sheet.dataset.class_names == ['bicycle', 'dog', 'tent'] and sheet.dataset.image_ids == ['a.png', 'sub/b.png']
    assert sheet.dataset.targets.tolist() == [[0, 1, -1], [-1, -1, -1]] and sheet.annotators == ['ann', 'bob', 'cy']
    assert sheet.disagreements.values.tolist() == [['a.png', 'bicycle', 1, 2, 0]]
    assert (
        sheet.unlabelled_images == ['sub/b.png']
        and sheet.unlabelled_categories == ['tent']
        and sheet_statistics(sheet)['disagreements'].tolist() == [1, 0, 0]
    )
    assert len(read_sheet(two / 'labels.csv', add_images=False).dataset) == 1


@pytest.mark.parametrize(
    'text, said',
    [
        ('image,dog\na.png,maybe\n', r"labels\.csv, line 2, column 'dog': 'maybe' is no label"),
        ('image,dog\na.png,1\na.png,0\n', r'line 3: image .a\.png. is named already in .*line 2'),
        ('image,dog\nz.png,1\n', r'line 2 \(z\.png\): .*no such image'),
        ('image,dog\n../a.png,1\n', 'no path inside'),
        ('image,dog\na.png,1,2\n', '3 cells, expected 2'),
        ('image,,dog\na.png,1,1\n', 'column 2: a category has no name'),
        ('image\na.png\n', r'line 1|expected a header'),
        ('file,dog\n', 'line 1'),
        ('', 'line 1'),
        ('image,annotator,dog\na.png,x,1\na.png,x,0\n', 'by x is named already'),
        ('image,dog\n"a.png,1\n', 'line 2'),
    ],
)
def test_wrong_sheets_are_named_with_file_and_line(two, text, said):
    with pytest.raises(DataError, match=said) as caught:
        read_sheet(put(two, text), add_images=False)
    assert 'labels.csv' in str(caught.value)


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
