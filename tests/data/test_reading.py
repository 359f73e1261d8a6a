"What a person says of a table: what nothing came of is told, and nothing else is."

import json

import pytest

from helpers.tables import read
from trmml_nb.data.cells import TableError


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


@pytest.mark.parametrize('form', ['wide', 'long', 'list'])
@pytest.mark.parametrize('option', ['ignore', 'annotator'])
def test_a_column_that_is_named_and_not_there_is_refused_in_every_form(album, form, option):
    table = {
        'wide': 'image,by,cat\na.png,ann,1\nb.png,bob,0\n',
        'long': 'image,by,label\na.png,ann,cat\na.png,ann,dog\nb.png,bob,dog\n',
        'list': 'image,by,tags\na.png,ann,cat;dog\nb.png,bob,dog\n',
    }[form]
    with pytest.raises(TableError, match=f"line 1: no column is called 'who', which --{option} names"):
        read(album, table, **{option: 'who'})
    assert read(album, table, annotator='BY').annotators == ['ann', 'bob']
    assert not read(album, table, ignore='by', annotator='none').annotators


def test_a_file_without_columns_says_that_none_can_be_named(album):
    entry = dict(images=[dict(id=1, file_name='a.png')], categories=[dict(id=1, name='cat')], annotations=[])
    table = json.dumps(entry | dict(annotations=[dict(id=1, image_id=1, category_id=1)]))
    notes = read(album, table, 'labels.json', ignore='weather', annotator='who').notes
    for option in ('--ignore=weather', '--annotator=who'):
        assert f'nothing came of {option}: it has no columns' in notes
