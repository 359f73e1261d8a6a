"Other formats, there and back; silence is unknown; every fault is named."

import json
import sys
import types

import numpy as np
import pytest
from PIL import Image

from trmml_nb.data.dataset import FileImage, MultiLabelDataset
from trmml_nb.errors import DataError
from trmml_nb.data.formats import (
    FormatError,
    from_coco,
    from_frame,
    from_hf,
    from_pairs,
    from_voc_xml,
    to_coco,
    to_frame,
    to_hf,
    to_voc_xml,
)

NAMES = ['dog', 'a <b> & "c"', 'car']


@pytest.fixture
def data(tmp_path):
    names = [f'{i}.png' for i in range(5)]
    for name in names:
        Image.new('RGB', (4, 4)).save(tmp_path / name)
    targets = np.random.default_rng(0).integers(-1, 2, (5, 3)).astype(np.int8)
    return MultiLabelDataset('t', 'all', NAMES, names, targets, targets, [FileImage(str(tmp_path / n)) for n in names])


def test_there_and_back(data, tmp_path):
    (tmp_path / 'c.json').write_text(json.dumps(to_coco(data)))
    for back in (from_coco(tmp_path / 'c.json'), from_frame(to_frame(data), tmp_path)):
        assert (
            np.array_equal(back.targets, data.targets)
            and back.class_names == NAMES
            and back.image_ids == data.image_ids
        )
    back = from_voc_xml(to_voc_xml(data, tmp_path / 'xml'), tmp_path, NAMES)
    assert np.array_equal(back.targets, np.where(data.targets == 1, 1, -1))
    with pytest.raises(FormatError, match='not overwritten'):
        to_voc_xml(data, tmp_path / 'xml')


def test_silence_is_unknown_unless_said(data, tmp_path):
    about = to_coco(data)
    for image in about['images']:
        del image['neg_category_ids']
    (tmp_path / 'c.json').write_text(json.dumps(about))
    assert (
        not (from_coco(tmp_path / 'c.json').targets == 0).any()
        and not (from_coco(tmp_path / 'c.json', absent='all').targets == -1).any()
    )
    with pytest.raises(FormatError, match="expected 'unknown'"):
        from_coco(tmp_path / 'c.json', absent='no')


def test_a_real_coco_file_has_unordered_ids(tmp_path):
    (tmp_path / 'c.json').write_text(
        json.dumps(
            dict(
                images=[dict(id=9, file_name='b.jpg'), dict(id=3, file_name='a.jpg')],
                categories=[dict(id=18, name='dog'), dict(id=2, name='cat')],
                annotations=[dict(image_id=3, category_id=18), dict(image_id=3, category_id=18)],
            )
        )
    )
    back = from_coco(tmp_path / 'c.json', check=False, absent='all')
    assert (
        back.class_names == ['cat', 'dog']
        and back.image_ids == ['b.jpg', 'a.jpg']
        and back.targets.tolist() == [[0, 0], [0, 1]]
    )


@pytest.mark.fault('damaged or foreign files', 'damaged COCO JSON', 'refused with what is wrong')
@pytest.mark.parametrize(
    'text',
    [
        '',
        '{',
        '[]',
        'null',
        '{"images": 3}',
        '{"images": [{}], "categories": [], "annotations": []}',
        '{"images": [], "categories": [null], "annotations": []}',
        '{"images": [], "categories": [], "annotations": [{"image_id": 1, "category_id": 1}]}',
        '\x00',
        '{"images": [{"id": [], "file_name": "a"}], "categories": [], "annotations": []}',
        '{"images": [{"id": 1, "file_name": "a", "neg_category_ids": [7]}], "categories": [], "annotations": []}',
    ],
)
def test_damaged_coco(tmp_path, text):
    (tmp_path / 'c.json').write_text(text)
    with pytest.raises(FormatError, match=r'c\.json'):
        from_coco(tmp_path / 'c.json', check=False)


@pytest.mark.parametrize(
    'text',
    [
        '',
        '<annotation>',
        '<annotation/>',
        '<!DOCTYPE x><annotation/>',
        '<a><filename>0.png</filename><object/></a>',
        '<a><filename>0.png</filename><object><name>kite</name></object></a>',
        '\xff',
    ],
)
def test_damaged_xml(tmp_path, text):
    (tmp_path / 'one.xml').write_text(text, encoding='latin-1')
    with pytest.raises(FormatError, match=r'one\.xml'):
        from_voc_xml(tmp_path, tmp_path, ['dog'], check=False)


def test_images_that_lack_and_pairs_that_contradict(tmp_path):
    with pytest.raises(DataError, match='no such image'):
        from_pairs('t', tmp_path, ['z.png'], ['dog'], [(0, 0)])
    with pytest.raises(FormatError, match="'z.png' has 'dog' both"):
        from_pairs('t', tmp_path, ['z.png'], ['dog'], [(0, 0)], [(0, 0)], check=False)
    with pytest.raises(FormatError, match=r'no \.xml file'):
        from_voc_xml(tmp_path, tmp_path)


def test_hugging_face(data, tmp_path, monkeypatch):
    "With a stand-in for the optional package, and without it."

    class Dataset:
        def __init__(self, columns):
            self.columns = columns

        from_dict = classmethod(lambda cls, columns: cls(columns))

        def to_pandas(self):
            import pandas as pd

            return pd.DataFrame(self.columns)

    monkeypatch.setitem(sys.modules, 'datasets', types.SimpleNamespace(Dataset=Dataset))
    table = to_hf(data)
    assert table.columns['image'] == data.image_ids and None in table.columns['dog'] + table.columns['car']
    assert np.array_equal(from_hf(table, tmp_path).targets, data.targets)
    monkeypatch.setitem(sys.modules, 'datasets', None)
    with pytest.raises(FormatError, match='pip install datasets'):
        to_hf(data)
    with pytest.raises(FormatError, match='choose a split first'):
        from_hf({'train': table}, tmp_path)


def test_hugging_face_itself(data, tmp_path):
    "The real package: paths and blanks there and back; pictures inside the table; a cell that holds none."
    datasets = pytest.importorskip('datasets')
    table = to_hf(data)
    assert isinstance(table, datasets.Dataset) and np.array_equal(from_hf(table, tmp_path).targets, data.targets)
    pictures = table.map(lambda row: dict(image=str(tmp_path / row['image'])), load_from_cache_file=False).cast_column(
        'image', datasets.Image()
    )
    for k, held in enumerate((
        pictures,
        pictures.map(lambda row: row, load_from_cache_file=False, features=pictures.features),
    )):
        again = from_hf(held, tmp_path / f'new{k}')
        assert np.array_equal(again.targets, data.targets) and again.class_names == data.class_names
        assert again.image(1).tobytes() == data.image(1).tobytes()
    with pytest.raises(FormatError, match='new0: holds files'):
        from_hf(pictures, tmp_path / 'new0')
    broken = datasets.Dataset.from_dict(dict(image=[dict(bytes=b'no picture', path=None)], dog=[1.0])).cast_column(
        'image', datasets.Image()
    )
    with pytest.raises(FormatError, match="column 'image', row 0"):
        from_hf(broken, tmp_path / 'broken')
    assert not (tmp_path / 'broken').exists() and not list(tmp_path.glob('.broken*'))


def coco_with(**more):
    return dict(
        images=[dict(id=1, file_name='a.png'), dict(id=2, file_name='b.png')],
        categories=[dict(id=1, name='dog'), dict(id=2, name='cat')],
        annotations=[dict(image_id=2, category_id=1)],
    ) | {k: v for k, v in more.items()}


@pytest.mark.fault(
    'damaged or foreign files',
    'a COCO image or category that is listed twice',
    'refused with both places',
)
@pytest.mark.parametrize(
    'change, said',
    [
        (
            dict(images=[dict(id=i, file_name=f) for i, f in ((1, 'a.png'), (1, 'b.png'))]),
            'images 1: image id 1 stands in .*images 0 already',
        ),
        (
            dict(images=[dict(id=i, file_name=f) for i, f in ((1, 'a.png'), (2, './a.png'))]),
            r'images 1: image .* stands in .*images 0 already',
        ),
        (
            dict(categories=[dict(id=1, name='dog'), dict(id=1, name='cat')]),
            'categories 1: category id 1 stands in .*categories 0 already',
        ),
        (
            dict(categories=[dict(id=1, name='dog'), dict(id=2, name='dog')]),
            "categories 1: category 'dog' stands in .*categories 0 already",
        ),
        (dict(images=[dict(id=1, file_name='../a.png'), dict(id=2, file_name='b.png')]), 'images 0: .*no path inside'),
        (dict(images=[dict(id=1, file_name='/etc/a.png'), dict(id=2, file_name='b')]), 'images 0: .*no path inside'),
        (dict(annotations=[dict(image_id=2, category_id=None)]), "field 'annotations.0.category_id"),
    ],
)
def test_coco_that_would_move_labels_or_leave_the_folder(tmp_path, change, said):
    (tmp_path / 'c.json').write_text(json.dumps(coco_with()), encoding='utf-8')
    assert from_coco(tmp_path / 'c.json', check=False).targets.tolist() == [[-1, -1], [1, -1]]
    (tmp_path / 'c.json').write_text(json.dumps(coco_with(**change)), encoding='utf-8')
    with pytest.raises(DataError, match=said):
        from_coco(tmp_path / 'c.json', check=False)


@pytest.mark.parametrize(
    'text, said',
    [
        ('{"images": [], "images": [], "categories": [], "annotations": []}', "'images' stands twice in one object"),
        ('[' * 200_000, 'deeper'),
        ('{"images": [{"id": NaN, "file_name": "a"}], "categories": [], "annotations": []}', 'NaN is no number'),
    ],
)
def test_json_that_python_reads_in_its_own_way(tmp_path, text, said):
    (tmp_path / 'c.json').write_text(text, encoding='utf-8')
    with pytest.raises(FormatError, match=f'c.json: .*{said}'):
        from_coco(tmp_path / 'c.json', check=False)


def xml_of(name, *objects):
    return f'<a><filename>{name}</filename>{"".join(f"<object><name>{o}</name></object>" for o in objects)}</a>'


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-16', 'utf-16-be', 'latin-1'])
def test_a_doctype_is_found_in_every_encoding(tmp_path, encoding):
    "Entities must not unfold, whatever the bytes look like."
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY b "cccc">]>' + xml_of('0.png', '&b;&b;')
    (tmp_path / 'one.xml').write_bytes(text.encode(encoding))
    with pytest.raises(FormatError, match=r'one\.xml: .*(DOCTYPE|multi-byte)'):
        from_voc_xml(tmp_path, tmp_path, check=False)


def test_xml_files_of_one_image_of_another_folder_and_of_great_depth(tmp_path):
    (tmp_path / '0.xml').write_text(xml_of('0.png', 'dog'), encoding='utf-8')
    (tmp_path / 'note.txt').write_text('a note', encoding='utf-8')
    (tmp_path / '1.XML').write_bytes(xml_of('1.png', 'cät').encode('utf-16'))
    data = from_voc_xml(tmp_path, tmp_path, check=False)
    assert data.class_names == ['cät', 'dog'] and data.image_ids == ['0.png', '1.png']
    assert data.skipped == [(str(tmp_path / 'note.txt'), 'not an .xml file')]
    for text, said in (
        (xml_of('0.png', 'cat'), r'2\.xml: image .* stands in .*0\.xml already'),
        (xml_of('../0.png', 'cat'), r'2\.xml: .* no path inside'),
        (xml_of('/x/0.png', 'cat'), r'2\.xml: .* no path inside'),
        (xml_of('2.png', '  '), r'2\.xml: an <object> without <name>'),
        ('<a>' * 5000 + '</a>' * 5000, r'2\.xml: .*more than 100 elements'),
        ('<?xml version="1.0" encoding="klingon"?>' + xml_of('2.png'), r'2\.xml: not a VOC annotation'),
    ):
        (tmp_path / '2.xml').write_text(text, encoding='utf-8')
        with pytest.raises(DataError, match=said):
            from_voc_xml(tmp_path, tmp_path, check=False)


def test_a_name_that_xml_cannot_hold(data, tmp_path):
    odd = MultiLabelDataset('t', 'all', ['a\x01', 'b', 'c'], data.image_ids, data.targets, data.targets, data.images)
    with pytest.raises(FormatError, match='XML cannot hold'):
        to_voc_xml(odd, tmp_path / 'xml')
    assert not (tmp_path / 'xml').exists()
