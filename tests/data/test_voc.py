"The benchmark folder: the official lists of Pascal VOC, whole, in part, and wrong."

import os

import numpy as np
import pytest
from PIL import Image
from helpers.pictures import noise

from trmml_nb.errors import DataError
from trmml_nb.data.labels import ABSENT, UNKNOWN
from trmml_nb.data.voc import VOC_CLASSES, voc_dataset


@pytest.fixture
def voc(tmp_path):
    base = tmp_path / 'VOCdevkit' / 'VOC2007'
    main = base / 'ImageSets' / 'Main'
    main.mkdir(parents=True)
    (base / 'JPEGImages').mkdir()
    for i in range(6):
        noise(seed=i).save(base / 'JPEGImages' / f'00000{i}.jpg')
    files = {
        'train': '000003\n000001\n',
        'val': '000000\n',
        'test': '000004\n000005\n',
        'train_train': '000001  1\n000003 -1\n',
        'train_val': '000000  0\n',  # a class named train
        'dog_train': '000001  0\n000003  1\n000002 1\n',
        'dog_val': '000000  1\n',
    }
    for name, text in files.items():
        (main / f'{name}.txt').write_text(text)
    return base


def test_voc(voc):
    for root in (voc, voc.parent, voc.parent.parent):
        ds = voc_dataset(root)
        assert ds.class_names == ['dog', 'train'] and ds.image_ids == ['000003', '000001']
        assert ds.truth.tolist() == [[1, 0], [0, 1]]  # difficult (0) counts as absent
    assert ds.name == 'VOC2007' and np.array_equal(ds.image(1), Image.open(voc / 'JPEGImages/000001.jpg'))
    assert voc_dataset(voc, 'val', year=2007).truth.tolist() == [[1, 0]]


def test_voc_without_class_lists(voc):
    ds = voc_dataset(voc, 'test')
    assert ds.image_ids == ['000004', '000005'] and (ds.truth == UNKNOWN).all() and ds.truth.shape == (2, 2)
    for path in (voc / 'ImageSets/Main').glob('*_*.txt'):
        path.unlink()
    assert voc_dataset(voc, 'test').class_names == VOC_CLASSES
    assert len(VOC_CLASSES) == 20 and VOC_CLASSES == sorted(VOC_CLASSES)


def test_voc_trainval_from_parts(voc):
    ds = voc_dataset(voc, 'trainval')
    assert ds.image_ids == ['000000', '000001', '000003'] and ds.truth.tolist() == [[1, 0], [0, 1], [1, 0]]


def test_voc_errors(voc, tmp_path):
    main = voc / 'ImageSets/Main'
    with pytest.raises(DataError, match='no list tset.txt; lists there: test, train, val'):
        voc_dataset(voc, 'tset')
    with pytest.raises(DataError, match=r'no VOC2012/ImageSets/Main here \(VOC2007\)'):
        voc_dataset(voc.parent, year='2012')
    with pytest.raises(DataError, match='no such folder'):
        voc_dataset(tmp_path / 'nowhere')
    (main / 'dog_test.txt').write_text('000004 1\n000005 1\n')
    with pytest.raises(DataError, match='no list train_test.txt .1 of 2'):
        voc_dataset(voc, 'test')
    for text, match in [
        ('000001 1\n', 'dog_train.txt has no line for 1 images of train.txt, first .000003'),
        ('000001 1\n000003 2\n', "dog_train.txt, line 2: '000003 2'"),
        ('000001 1\n000003\n', 'dog_train.txt, line 2'),
        ('000001 1\n000001 1\n', "line 2: image id '000001' stands twice"),
    ]:
        (main / 'dog_train.txt').write_text(text)
        with pytest.raises(DataError, match=match):
            voc_dataset(voc)
    (main / 'val.txt').write_text('')
    with pytest.raises(DataError, match='the list is empty'):
        voc_dataset(voc, 'val')


def test_voc_missing_image(voc):
    (voc / 'JPEGImages/000003.jpg').unlink()
    with pytest.raises(DataError, match='(?s)1 of 2 images.*000003.jpg: no such image'):
        voc_dataset(voc)
    ds = voc_dataset(voc, on_bad='skip')
    assert ds.image_ids == ['000001'] and ds.truth.tolist() == [[0, 1]] and ds.skipped[0][0] == '000003'


REAL = os.environ.get('TRMML_VOC2007', '')


@pytest.mark.skipif(not os.path.isdir(REAL), reason='set TRMML_VOC2007 to a VOCdevkit folder to read the real one')
def test_real_voc():
    ds = voc_dataset(REAL, 'train')
    assert ds.class_names == VOC_CLASSES and ds.known_mask.all()
    for c in ('aeroplane', 'tvmonitor'):
        path = os.path.join(REAL, f'VOC2007/ImageSets/Main/{c}_train.txt')
        expected = [int(line.split()[1] == '1') for line in open(path, encoding="utf-8")]
        assert ds.truth[:, VOC_CLASSES.index(c)].tolist() == expected
    assert ds.image(0).mode == 'RGB'


def test_difficult_objects_absent_or_left_out(voc):
    main = voc / 'ImageSets/Main'
    text = (main / 'dog_train.txt').read_text()
    ids = [line.split()[0] for line in text.splitlines()]
    (main / 'dog_train.txt').write_text(''.join(f'{i} 0\n' for i in ids))
    absent, left_out = (voc_dataset(voc, difficult=d) for d in ('absent', 'unknown'))
    c = absent.class_names.index('dog')
    assert (absent.truth[:, c] == ABSENT).all() and (left_out.truth[:, c] == UNKNOWN).all()
    with pytest.raises(DataError, match="difficult='ignore'"):
        voc_dataset(voc, difficult='ignore')


def test_lists_that_contradict_leave_the_folder_or_are_no_text(voc):
    main = voc / 'ImageSets/Main'
    (main / 'val.txt').write_text('000000\n000001\n', encoding='utf-8')
    with pytest.raises(DataError, match=r"train.txt and .*val.txt: image id '000001' stands in both"):
        voc_dataset(voc, 'trainval')
    (main / 'train.txt').write_text('000003\n\n000003\n', encoding='utf-8')
    with pytest.raises(DataError, match=r"train.txt, line 3: image id '000003' stands twice, in line 1"):
        voc_dataset(voc)
    for away in ('../../000003', '/etc/000003'):
        (main / 'train.txt').write_text(f'{away}\n', encoding='utf-8')
        for name in ('dog', 'train'):
            (main / f'{name}_train.txt').write_text(f'{away} 1\n', encoding='utf-8')
        with pytest.raises(DataError, match='list train, image id .* no path inside'):
            voc_dataset(voc)
    (main / 'train.txt').write_bytes(b'\xff\xfe0\n')
    with pytest.raises(DataError, match=r'train.txt: cannot be read as UTF-8'):
        voc_dataset(voc)
