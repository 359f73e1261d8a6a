"Labels that would go to the wrong picture or the wrong category, or that are none: asked about, in every form."

import json
import warnings

import pytest
from PIL import Image
from typer.testing import CliRunner

from trmml_nb.cli import app
from trmml_nb.data.formats import read_labels
from trmml_nb.data.reading import Reading
from trmml_nb.errors import DataError
from trmml_nb.runs.compare_job import published_masks
from trmml_nb.runs.options import DataChoice, LabelChoice
from trmml_nb.runs.sets import hide_labels, mask_targets


@pytest.mark.fault(
    'other languages',
    'a name of a file or a category that goes over two lines',
    'a file is refused, or left out and told; a category gets one line',
)
def test_names_in_two_lines(tmp_path):
    for name in ('a.png', 'b.png'):
        Image.new('RGB', (8, 8)).save(tmp_path / name)
    (tmp_path / 'labels.csv').write_text('image,"dog\n big"\na.png,1\nb.png,0\n', encoding='utf-8')
    sheet = read_labels(tmp_path / 'labels.csv')
    assert sheet.dataset.class_names == ['dog big'] and r"'dog\n big' is read in one line, 'dog big'" in sheet.notes
    task = [dict(data=dict(image='a.png'), annotations=[dict(result=[dict(value=dict(choices=['dog\nbig', 'tree']))])])]
    (tmp_path / 'tasks.json').write_text(json.dumps(task), encoding='utf-8')
    sheet = read_labels(tmp_path / 'tasks.json')
    assert sheet.dataset.class_names == ['dog big', 'tree']
    assert r"'dog\nbig' is read in one line, 'dog big'" in sheet.notes
    Image.new('RGB', (8, 8)).save(tmp_path / 'x.png\nerror: all is lost.png')
    with pytest.raises(DataError, match=r"x.png\\nerror: .*: this name is not UTF-8, or not in one line"):
        read_labels(tmp_path / 'labels.csv')
    sheet = read_labels(tmp_path / 'labels.csv', on_bad='skip')
    assert sheet.dataset.image_ids == ['a.png', 'b.png']
    assert '1 entry of the folder left out: name that is not in one line' in sheet.notes
    done = CliRunner().invoke(app, ['check', str(tmp_path), '--labels', str(tmp_path / 'labels.csv')])
    assert done.exit_code == 0 and not any(line.startswith('error') for line in done.output.splitlines())


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding='utf-8')
    return path


@pytest.fixture
def photos(tmp_path):
    for name in ('a.png', 'b.png', 'c.png'):
        (tmp_path / 'photos').mkdir(exist_ok=True)
        Image.new('RGB', (8, 8)).save(tmp_path / 'photos' / name)
    return tmp_path / 'photos'


COCO = dict(
    images=[dict(id=1, file_name='a.png'), dict(id=2, file_name='b.png')],
    categories=[dict(id=1, name='dog'), dict(id=2, name='cat')],
    annotations=[dict(image_id=1, category_id=1), dict(image_id=2, category_id=2)],
)
VOC = '<annotation><filename>{}</filename><object><name>dog</name>{}</object></annotation>'
CVAT = '<annotations><meta/>{}</annotations>'


def task(*results, **data):
    return dict(data=data, annotations=[dict(result=[dict(value=dict(choices=c), to_name=n) for n, c in results])])


@pytest.mark.fault(
    'damaged or foreign files',
    'a category that denies or doubts another, in words, signs or values, in tables and in files of tools',
    'asked about; it becomes no category of its own',
)
@pytest.mark.parametrize(
    'name, content',
    [
        ('t.csv', f'image,label\na.png,{label}\nb.png,{other}\n')
        for label, other in (
            ('dog:0', 'cat:1'),
            ('dog = no', 'dog = yes'),
            ('maybe dog', 'dog'),
            ('dog (uncertain)', 'Dog'),
            ('dog absent', 'dog present'),
            ('never dog', 'dog'),
            ('no-dog', 'dog'),
            ('vielleicht Hund', 'hund'),
        )
    ]
    + [('t.csv', f'image,dog,{column}\na.png,1,0\nb.png,0,1\n') for column in ('no_dog', 'dog_absent', 'Dog: no')]
    + [
        ('t.json', COCO | dict(categories=[dict(id=1, name='no dog'), dict(id=2, name='dog')])),
        ('t.json', [task(('image', ['not dog']), image='a.png'), task(('image', ['dog']), image='b.png')]),
        ('t.xml', CVAT.format('<image name="a.png"><tag label="dog?"/><tag label="dog"/></image>')),
        (
            'v/a.xml',
            VOC.format('a.png', '').replace('</annotation>', '<object><name>no dog</name></object></annotation>'),
        ),
    ],
)
def test_categories_that_deny_or_doubt_others(photos, tmp_path, name, content):
    path = put(tmp_path / name, content)
    with pytest.raises(DataError, match='denies the second|doubts the second|says of itself that it is not there'):
        read_labels(path.parent if path.parent.name == 'v' else path, photos)
    numbered = put(tmp_path / 'n.csv', 'image,plate,plate no,type 0,type 1\na.png,1,0,1,0\n')
    assert read_labels(numbered, photos).dataset.class_names == ['plate', 'plate no', 'type 0', 'type 1']
    sexes = put(tmp_path / 's.csv', 'image,label\na.png,sex:f\nb.png,sex:m\n')
    assert read_labels(sexes, photos).dataset.class_names == ['sex:f', 'sex:m']


@pytest.mark.fault(
    'damaged or foreign files',
    'two names in a table or a file of a tool that lead to one picture, because the other one is not there',
    'refused with both; no label goes to the wrong picture',
)
@pytest.mark.parametrize(
    'name, content',
    [
        ('t.csv', 'image,label\nb.png,dog\nb.jpg,cat\n'),
        ('t.csv', 'image,label\ntrain/b.png,dog\nval/b.png,cat\n'),
        ('t.csv', 'image,label\nhttp://x/1/b.png,dog\nhttp://x/2/b.png,cat\n'),
        ('t.csv', 'image,annotator,dog\nb.png,Ada,1\nB.gif,Bob,0\n'),
        ('t.json', COCO | dict(images=[dict(id=1, file_name='b.png'), dict(id=2, file_name='B.PNG')])),
        ('t.json', [task(('i', ['dog']), image=f'/data/upload/1/0000000{k}-b.png') for k in (1, 2)]),
        (
            't.xml',
            CVAT.format('<image name="b.png" subset="x"/><image name="b.png" subset="y"><tag label="dog"/></image>'),
        ),
        ('v/a.xml', VOC.format('b.png', '')),
        ('y/b.txt', '0 0.5 0.5 0.1 0.1'),
    ],
)
def test_two_names_that_lead_to_one_picture(photos, tmp_path, name, content):
    path = put(tmp_path / name, content)
    if path.parent.name in 'vy':
        put(path.parent / 'sub' / f'b{path.suffix}', content)
        put(path.parent / 'classes.txt', 'dog\n')
        path = path.parent
    with pytest.raises(DataError, match='lead to|stands in .* already'):
        read_labels(path, photos, reading=Reading(format='voc' if path.name == 'v' else 'auto'))
    fits = put(tmp_path / 'f.csv', 'image,label\nb,dog\nB.PNG,cat\nx/b.png,cat\n/home/a/b.png,dog\nC:\\b.png,dog\n')
    assert read_labels(fits, photos).dataset.image_ids[0] == 'b.png'


@pytest.mark.fault(
    'damaged or foreign files',
    'objects with scores of a model in COCO, VOC and YOLO files',
    'asked about; low ones are unknown, and what is no score is refused',
)
@pytest.mark.parametrize('form', ['coco', 'voc', 'yolo'])
def test_objects_with_scores(photos, tmp_path, form):
    def write(score):
        if form == 'coco':
            first, second = COCO['annotations']
            return put(tmp_path / 't.json', COCO | dict(annotations=[first | dict(score=score), second]))
        if form == 'voc':
            return put(tmp_path / 'v' / 'a.xml', VOC.format('a.png', f'<confidence>{score}</confidence>')).parent
        put(tmp_path / 'y' / 'classes.txt', 'dog\ncat\n')
        return put(tmp_path / 'y' / 'a.txt', f'0 .1 .1 .2 .2 .3 .3 {score}\n').parent

    with pytest.raises(DataError, match=r'--confidence \(0.7'):
        read_labels(write(0.4), photos)
    for score, label in ((0.4, -1), (0.8, 1)):
        sheet = read_labels(write(score), photos, reading=Reading(confidence=0.5))
        assert sheet.dataset.targets[0, 0] == label and not any('nothing came' in note for note in sheet.notes)
    with pytest.raises(DataError, match='no number from 0 to 1|less than or equal to 1'):
        read_labels(write(7.0), photos, reading=Reading(confidence=0.5))


@pytest.mark.fault(
    'damaged or foreign files',
    'answers of labelling tools that say yes or no, belong to another picture, or have no name',
    'asked about, read for the picture they are about, or refused; what is left out is told',
)
def test_answers_of_tools_that_are_no_categories(photos, tmp_path):
    path = tmp_path / 't.json'
    with pytest.raises(DataError, match="'no' is an answer and no name of a category"):
        read_labels(put(path, [task(('a', ['yes']), image='a.png'), task(('a', ['no']), image='b.png')]), photos)
    put(path, [task(('a', ['dog']), image='a.png'), task(('a', ['none']), image='b.png')])
    with pytest.raises(DataError, match="'none' stands in .* instead of a label. Say --unknown=none"):
        read_labels(path, photos)
    assert read_labels(path, photos, reading=Reading(absent='none')).dataset.targets[:2].tolist() == [[1], [0]]
    assert read_labels(path, photos, reading=Reading(unknown='none')).dataset.targets[:2].tolist() == [[1], [-1]]
    second = read_labels(put(path, [task(('other', ['dog']), image='a.png', other='b.png')]), photos).dataset
    assert second.image_ids[0] == 'b.png' and second.targets[:, 0].tolist() == [1, -1, -1]
    with pytest.raises(DataError, match='task 0: answers about several pictures'):
        read_labels(put(path, [task(('other', ['dog']), ('image', ['cat']), image='a.png', other='b.png')]), photos)
    left = read_labels(put(path, [dict(image='a.png', label='dog', category='cat')]), photos)
    assert left.dataset.class_names == ['dog'] and "labels in 'category' left out: another field was read" in left.notes
    for content, said in (
        ('<image name="a.png"><box/></image>', 'image 0: has no name, or a tag or shape in it has no label'),
        ('<image id="7"><box label="dog"/></image>', 'image 7: has no name'),
        ('<track label="dog"><box frame="0"/></track>', 'CVAT for video'),
    ):
        with pytest.raises(DataError, match=said):
            read_labels(put(tmp_path / 't.xml', CVAT.format(content)), photos)
    with pytest.raises(DataError, match='an <object> without <name>'):
        read_labels(put(tmp_path / 'v' / 'a.xml', VOC.format('a.png', '').replace('dog', ' ')).parent, photos)
    gone = put(
        tmp_path / 'v' / 'a.xml',
        VOC.format('a.png', '<deleted>1</deleted>').replace(
            '</annotation>', ('<object><name>cat</name></object></annotation>')
        ),
    ).parent
    assert read_labels(gone, photos).dataset.class_names == ['cat']
    with pytest.raises(DataError, match="field 'categories.0.name'"):
        read_labels(put(tmp_path / 't.json', COCO | dict(categories=[dict(id=1, name=' ')])), photos)


@pytest.mark.fault(
    'damaged or foreign files',
    'two lists of names beside a YOLO folder that do not agree',
    'refused with both; no number gets the wrong name',
)
@pytest.mark.parametrize('second', ['data.yaml', 'other.yaml'])
def test_two_lists_of_names_of_yolo(photos, tmp_path, second):
    put(tmp_path / 'y' / 'a.txt', '0 0.5 0.5 0.1 0.1')
    put(tmp_path / 'y' / ('classes.txt' if second == 'data.yaml' else 'data.yaml'),
        'dog\ncat\n' if second == 'data.yaml' else 'names: [dog, cat]')  # fmt: skip
    put(tmp_path / 'y' / second, 'names: [cat, dog]')
    with pytest.raises(DataError, match='other names, or in another order, than in'):
        read_labels(tmp_path / 'y', photos)
    put(tmp_path / 'y' / second, 'names: {0: dog, 1: cat}')
    assert read_labels(tmp_path / 'y', photos).dataset.class_names == ['dog', 'cat']


@pytest.mark.fault(
    'other languages',
    'a synonym that is spelled with an underscore, two spaces or another form of its accents',
    'found as category names are; one that stands twice is refused',
)
def test_synonyms_are_found_however_they_are_spelled(photos, tmp_path):
    labels = put(tmp_path / 't.csv', 'image,big dog,étoile\na.png,1,0\n')
    same = put(tmp_path / 's.csv', 'name,means\nBig__Dog,dog\ne\u0301toile,star\n'.replace('__', '_ '))
    assert read_labels(labels, photos, same).dataset.class_names == ['dog', 'star']
    with pytest.raises(DataError, match="line 3: 'big_dog' stands in line 2 already"):
        read_labels(labels, photos, put(tmp_path / 's.csv', 'name,means\nbig dog,dog\nbig_dog,cat\n'))


@pytest.mark.parametrize('column, said', [('state', 'rejected'), ('status', 'to delete'), ('QA', 'false positive')])
def test_verdicts_beside_labels_in_other_words(photos, tmp_path, column, said):
    labels = put(tmp_path / 't.csv', f'image,label,{column}\na.png,dog,ok\nb.png,dog,{said}\n')
    with pytest.raises(DataError, match=f"'{column}' says '{said}' beside some labels"):
        read_labels(labels, photos)


@pytest.mark.parametrize('cells', ['○●', 'vx'])
def test_more_marks_with_two_readings(photos, tmp_path, cells):
    labels = put(tmp_path / 't.csv', 'image,dog\na.png,{}\nb.png,{}\n'.format(*cells))
    with pytest.raises(DataError, match='can mark and can deny'):
        read_labels(labels, photos)


@pytest.mark.fault(
    'damaged or foreign files',
    'a mask file that says other labels than the data, as one of another order of images or categories does',
    'told, with how many and the first',
)
def test_a_mask_of_another_order_is_told(photos, tmp_path):
    labels = put(tmp_path / 't.csv', 'image,dog,cat\na.png,1,0\nb.png,0,1\nc.png,,1\n')
    data = read_labels(labels, photos).dataset
    good = put(tmp_path / 'good.txt', 'a.png 1 0\nb.png 0 1\nc.png -1 0\n')
    bad = put(tmp_path / 'bad.txt', 'a.png 0 1\nb.png 1 -1\nc.png -1 0\n')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert mask_targets(good, data).tolist() == [[1, -1], [-1, 1], [0, -1]]
    with pytest.warns(UserWarning, match="another label than the data in 3 of 3 places.* first 'cat' of 'a.png'"):
        hide_labels(data, LabelChoice(mask=str(bad)), DataChoice())
    (tmp_path / 'masks').mkdir()
    bad.rename(tmp_path / 'masks' / 'x_0.5.txt')
    with pytest.warns(UserWarning, match='another label than the data'):
        published_masks(tmp_path / 'masks', data, [0.5])
