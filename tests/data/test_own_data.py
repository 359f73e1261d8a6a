"""Your own pictures: tables in every dialect, and folders; good input against labels by hand, bad input against
messages."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from helpers.pictures import noise

from trmml_nb.errors import DataError
from trmml_nb.data.labels import ABSENT, PRESENT, UNKNOWN
from trmml_nb.data.own_data import csv_dataset, flatness, folder_files, image_folder, look_like_photographs, named_files


def table(folder, text, name='labels.csv'):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# --- tables ----------------------------------------------------------------------------------------------------------

EXPECTED = [[1, 0], [UNKNOWN, 1], [0, UNKNOWN]]


def test_csv(photos, monkeypatch):
    ds = csv_dataset(table(photos, 'image,dog,boat\na.png,1,0\nb.png,,1\nc.png,0,\n'))
    assert ds.targets.tolist() == EXPECTED == ds.truth.tolist() and ds.class_names == ['dog', 'boat']
    assert ds.image_ids == ['a.png', 'b.png', 'c.png'] and np.array_equal(ds.image(1), noise(seed=1))
    monkeypatch.chdir(photos)
    assert csv_dataset('labels.csv').targets.tolist() == EXPECTED
    monkeypatch.chdir(photos.parent)
    assert np.array_equal(csv_dataset('photos/labels.csv').image(0), noise(seed=0))


def test_csv_other_root(photos, tmp_path):
    ds = csv_dataset(table(tmp_path, 'image,dog\na.png,1\n'), root=photos)
    assert ds.image(0).size == (24, 16)


@pytest.mark.parametrize(
    'text',
    [
        b'\xef\xbb\xbfimage,dog,boat\r\na.png,1,0\r\nb.png,,1\r\nc.png,0,\r\n',  # BOM, Windows line ends
        b'image;dog;boat\na.png;1;0\nb.png;;1\nc.png;0;\n',
        b'image\tdog\tboat\na.png\t1\t0\nb.png\t\t1\nc.png\t0\t\n',
        b'"image","dog","boat"\n"a.png","1","0"\n"b.png","","1"\n"c.png","0",""\n',
        b'image, dog , boat\n a.png , 1.0, 0.0\n\nb.png,,1\nc.png,0,\n,,\n',  # spaces, floats, blank lines
    ],
)
def test_csv_dialects(photos, text):
    ds = csv_dataset(table(photos, text))
    assert ds.targets.tolist() == EXPECTED and ds.class_names == ['dog', 'boat'] and ds.image_ids[0] == 'a.png'


def test_csv_quoted_comma(photos):
    noise().save(photos / 'a, b.png')
    ds = csv_dataset(table(photos, 'image,"dog, big"\n"a, b.png",1\n'))
    assert ds.class_names == ['dog, big'] and ds.image_ids == ['a, b.png']


@pytest.mark.parametrize(
    'code, cells', [('minus_one', '1 0 -1'), ('signed', '1 -1 0'), ('nan', '1 0 NaN'), ('blank', '1 0 ')]
)
def test_csv_codes(photos, code, cells):
    rows = ''.join(f'{n}.png,{v}\n' for n, v in zip('abc', cells.split(' ')))
    ds = csv_dataset(table(photos, 'image,dog\n' + rows), code=code)
    assert ds.targets[:, 0].tolist() == [PRESENT, ABSENT, UNKNOWN]


def test_csv_from_frame(photos, monkeypatch):
    frame = pd.DataFrame({
        'image': ['a.png', 'b.png', 'c.png'],
        'dog': [1, None, 0],
        'boat': pd.array([0, 1, None], dtype='Int64'),
    })
    assert csv_dataset(frame, root=photos).targets.tolist() == EXPECTED
    monkeypatch.chdir(photos)
    assert csv_dataset(frame).name == 'table'
    with pytest.raises(DataError, match=r"the table, row 2, column 'dog': '7' is no label"):
        csv_dataset(frame.assign(dog=['1', '0', '7']))
    with pytest.raises(DataError, match="the table, header: column 'dog' stands twice"):
        csv_dataset(pd.DataFrame([['a.png', 1, 0]], columns=['image', 'dog', 'dog']))


@pytest.mark.parametrize(
    'text, match',
    [
        ('image,dog,boat\na.png,1,0\nb.png,1,yes\n', r"labels.csv, line 3, column 'boat': 'yes' is no label"),
        ('image,dog\na.png,-1\n', r"line 2, column 'dog': '-1' is no label; code='blank'.*name the code"),
        ('image,dog\na.png,2\n', "'2' is no label"),
        ('image,dog\na.png,nan\n', "'nan' is no label"),
        ('image,dog\na.png\n', 'line 2: 1 cells, expected 2'),
        ('image,dog\na.png,1,0\n', 'line 2: 3 cells, expected 2'),
        ('image,dog,dog\na.png,1,0\n', "line 1: column 'dog' stands twice"),
        ('image,dog,image\na.png,1,0\n', "column 'image' stands twice"),
        ('image,dog,\na.png,1,0\n', 'line 1, column 3: a category has no name'),
        ('file,dog\na.png,1\n', "line 1: expected a header image,<category>,.*found 'file,dog'"),
        ('image|dog\na.png|1\n', 'line 1: expected a header'),
        ('image\na.png\n', 'image_folder'),
        ('', "line 1: expected a header.*'an empty file'"),
        ('image,dog\n', 'a header, and no rows'),
        ('image,dog\na.png,1\nb.png,0\na.png,1\n', "line 4: image 'a.png' is named already in .*line 2"),
        ('image,dog\na.png,1\n./a.png,0\n', 'is named already'),
        ('image,dog\n,1\n', "line 2: '' is no path"),
        ('image,dog\n../x.png,1\n', r"line 2: '../x.png' is no path inside .*allow_outside"),
        ('image,dog\nsub/../../x.png,1\n', 'is no path inside'),
        ('image,dog\n/etc/x.png,1\n', "'/etc/x.png' is no path inside"),
        ('image,dog\n"a.png,1\n', 'line 2: unexpected end of data'),
        (b'image,dog\n\xff\xfe.png,1\n', 'not UTF-8'),
        ('image,dog\n"a\n.png",1\nb.png,x\n', 'line 4, column'),  # a quoted line break counts
    ],
)
def test_csv_errors(photos, text, match):
    with pytest.raises(DataError, match=match) as error:
        csv_dataset(table(photos, text))
    assert 'labels.csv' in str(error.value)


def test_csv_utf16_and_absent(photos):
    with pytest.raises(DataError, match='not UTF-8'):
        csv_dataset(table(photos, 'image,dog\na.png,1\n'.encode('utf-16')))
    with pytest.raises(DataError, match='none.csv: cannot be read'):
        csv_dataset(photos / 'none.csv')
    with pytest.raises(DataError, match="no code 'coco'"):
        csv_dataset(photos / 'none.csv', code='coco')
    with pytest.raises(DataError, match='on_bad='):
        csv_dataset(table(photos, 'image,dog\na.png,1\n'), on_bad='ignore')


def test_csv_outside_when_allowed(photos, tmp_path):
    noise(seed=9).save(tmp_path / 'x.png')
    path = table(photos, f'image,dog\n../x.png,1\n{photos}/a.png,0\n')
    ds = csv_dataset(path, allow_outside=True)
    assert np.array_equal(ds.image(0), noise(seed=9)) and ds.image_ids[0] == '../x.png'


def test_csv_links(photos, tmp_path):
    noise(seed=9).save(tmp_path / 'x.png')
    (photos / 'link.png').symlink_to(tmp_path / 'x.png')
    (photos / 'dead.png').symlink_to(tmp_path / 'nothing.png')
    assert np.array_equal(csv_dataset(table(photos, 'image,dog\nlink.png,1\n')).image(0), noise(seed=9))
    with pytest.raises(DataError, match='dead.png: no such image'):
        csv_dataset(table(photos, 'image,dog\ndead.png,1\n'))


def test_csv_bad_images(photos):
    data = (photos / 'c.png').read_bytes()
    (photos / 'c.png').write_bytes(data[: len(data) // 2])
    path = table(photos, 'image,dog\na.png,1\nlost.png,0\nb.png,0\nc.png,\n')
    with pytest.raises(DataError, match=r'1 of 4 images.*\n.*line 3: .*lost.png: no such image.*\n.*on_bad'):
        csv_dataset(path)
    ds = csv_dataset(path, on_bad='skip')
    assert ds.image_ids == ['a.png', 'b.png'] and ds.targets[:, 0].tolist() == [1, 0]
    assert [what.split(', ')[-1] for what, _ in ds.skipped] == ['line 3', 'line 5'] and 'damaged' in ds.skipped[1][1]
    assert '2 files skipped' in repr(ds) and ds.subset([0]).skipped == ds.skipped
    late = csv_dataset(table(photos, 'image,dog\nc.png,1\n'))  # the header is sound: named when it is loaded
    with pytest.raises(DataError, match='c.png: damaged'):
        late.image(0)
    with pytest.raises(DataError, match='1 of 1 images cannot be used'):
        csv_dataset(photos / 'labels.csv', on_bad='skip')


def test_csv_wrong_label_is_never_skipped(photos):
    with pytest.raises(DataError, match='is no label'):
        csv_dataset(table(photos, 'image,dog\na.png,x\n'), on_bad='skip')


def test_csv_many_bad_images_are_counted(photos):
    rows = ''.join(f'no{i}.png,1\n' for i in range(9))
    with pytest.raises(DataError, match=r'(?s)9 of 9 images.*no4.png.*\n  \.\.\.\n') as error:
        csv_dataset(table(photos, 'image,dog\n' + rows))
    assert 'no5.png' not in str(error.value)


# --- folders ---------------------------------------------------------------------------------------------------------


def test_image_folder(photos, tmp_path):
    (photos / 'B').mkdir()
    noise(seed=7).save(photos / 'B' / 'Z.JPG')
    noise(seed=8).save(photos / 'B' / 'a.Tiff')
    for name in ('notes.txt', '.hidden.png', 'Thumbs.db'):
        (photos / name).write_text('x')
    (photos / '.cache').mkdir()
    (tmp_path / 'elsewhere').mkdir()
    (photos / 'loop').symlink_to(photos)
    ds = image_folder(photos, ['dog', 'cat'])
    assert ds.image_ids == ['B/Z.JPG', 'B/a.Tiff', 'a.png', 'b.png', 'c.png']
    assert ds.truth is None and ds.object_masks(0) is None
    assert ds.targets.shape == (5, 2) and (ds.targets == UNKNOWN).all()
    assert {(os.path.basename(what), why) for what, why in ds.skipped} == {
        ('notes.txt', 'not an image suffix'),
        ('Thumbs.db', 'not an image suffix'),
        ('.hidden.png', 'hidden file'),
        ('.cache', 'hidden folder'),
        ('loop', 'link to a folder'),
    }


def test_image_folder_one_file_and_errors(photos, tmp_path):
    ds = image_folder(photos / 'b.png')
    assert ds.image_ids == ['b.png'] and ds.targets.shape == (1, 0) and np.array_equal(ds[0].image, noise(seed=1))
    assert 'none of labels known' in repr(ds)
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty' / 'x.txt').touch()
    with pytest.raises(DataError, match=r'empty: no image in this folder \(1 other'):
        image_folder(tmp_path / 'empty')
    with pytest.raises(DataError, match='nowhere: no such image'):
        image_folder(tmp_path / 'nowhere')
    (photos / 'd.png').touch()
    with pytest.raises(DataError, match='(?s)1 of 4.*d.png.*0 bytes'):
        image_folder(photos)
    assert len(image_folder(photos, on_bad='skip')) == 3


@pytest.mark.parametrize('cell', ['.0', '-.0', '.00', '1.0.0'])
def test_a_cell_without_a_digit_is_no_label(tmp_path, cell):
    Image.new('RGB', (4, 4)).save(tmp_path / 'a.png')
    (tmp_path / 'l.csv').write_text(f'image,dog,cat\na.png,1.0,{cell}\n', encoding='utf-8')
    with pytest.raises(DataError, match=f"line 2, column 'cat': '{cell}' is no label"):
        csv_dataset(tmp_path / 'l.csv')


@pytest.mark.fault('damaged or foreign files', 'a folder that cannot be read', 'told, by name')
def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    "In whatever depth: an error that names it, or an entry of what was skipped; never fewer pictures without a word."
    for name in ('a', 'closed', 'a/closed'):
        (tmp_path / name).mkdir()
        Image.new('RGB', (4, 4)).save(tmp_path / name / '0.png')
    scan = os.scandir

    def scandir(path):
        if os.path.basename(path) == 'closed':
            raise PermissionError(13, 'Permission denied', str(path))
        return scan(path)

    monkeypatch.setattr(os, 'scandir', scandir)
    with pytest.raises(DataError, match='closed: this folder cannot be read .Permission denied'):
        image_folder(tmp_path)
    data = image_folder(tmp_path, on_bad='skip')
    assert data.image_ids == ['a/0.png'] and [
        Path(what).relative_to(tmp_path).as_posix() for what, _ in data.skipped
    ] == [
        'a/closed',
        'closed',
    ]
    assert all('cannot be read (Permission denied)' in why for _, why in data.skipped)
    with pytest.raises(DataError, match='closed: this folder cannot be read'):
        image_folder(tmp_path / 'closed')


def test_names_that_are_not_text_are_refused_before_any_work(tmp_path):
    odd = b'k\xe4tze.png'.decode('utf-8', 'surrogateescape')
    try:
        Image.new('RGB', (4, 4)).save(tmp_path / odd, 'png')
    except (OSError, UnicodeError):
        pytest.skip('this file system takes UTF-8 only')
    Image.new('RGB', (4, 4)).save(tmp_path / 'dog.png')
    with pytest.raises(DataError, match='this name is not UTF-8'):
        image_folder(tmp_path)
    data = image_folder(tmp_path, on_bad='skip')
    assert data.image_ids == ['dog.png'] and data.skipped[0][1] == 'name that is not UTF-8'
    data.skipped[0][0].encode()
    with pytest.raises(DataError, match='is not UTF-8'):
        image_folder(tmp_path / odd)
    with pytest.raises(DataError, match='in class_names is not UTF-8'):
        image_folder(tmp_path / 'dog.png', [odd])


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


@pytest.mark.fault(
    'hostile files',
    'links that lead in a circle, under a pattern with **',
    'are not followed: the pattern ends, and finds each picture once',
)
def test_a_pattern_follows_no_links_to_folders(tmp_path):
    inside = tmp_path / 'a' / 'b'
    inside.mkdir(parents=True)
    for name in ('x.png', '.hidden.png'):
        Image.new('RGB', (4, 4)).save(inside / name)
    for k in range(3):
        (tmp_path / 'a' / f'up{k}').symlink_to('..')
        (inside / f'self{k}').symlink_to('.')
    for pattern in ('**/*.png', '**/**/**/*.png', 'a/*/x.png', '**', '[a]/b/?.png'):
        assert named_files([tmp_path / pattern], 'skip')[0] == [inside / 'x.png'], pattern
    with pytest.raises(DataError, match='no pattern that can be read|no such file or folder'):
        named_files([tmp_path / '**x.png'])
