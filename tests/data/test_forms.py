"""Every form of labels that people have: read as it is meant, or asked about; and never without a word.

`python -m pytest tests/data/test_forms.py --forms=nbs/library/data/forms.json` notes what is said for the notebook."""

import gzip
import io
import json
import re
import zipfile
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trmml_nb.data.formats import read_labels
from trmml_nb.data.labels import UNKNOWN
from trmml_nb.data.reading import Reading
from trmml_nb.errors import DataError

NOTES = Path(__file__).resolve().parents[2] / 'nbs/library/data/forms.json'
WIDE = 'image,dog,cat\na.png,1,0\nb.png,0,1\nsub/c.jpg,,1\n'
MEANT = {('a.png', 'dog'): 1, ('a.png', 'cat'): 0, ('b.png', 'dog'): 0, ('b.png', 'cat'): 1, ('sub/c.jpg', 'cat'): 1}
PLUS = {k: v for k, v in MEANT.items() if v}
LONG = 'image,label\na.png,dog\nb.png,cat\nsub/c.jpg,cat\n'
VALUES = 'image,label,value\na.png,dog,1\na.png,cat,0\nb.png,dog,0\nb.png,cat,1\nsub/c.jpg,cat,1\n'
LISTS = 'image,labels\na.png,dog;cat\nb.png,cat\n'
LISTED = {('a.png', 'dog'): 1, ('a.png', 'cat'): 1, ('b.png', 'cat'): 1}
DOG = {('a.png', 'dog'): 1}
SAME_DOG, TURNED = {('sub/c.jpg', 'dog'): 1}, {k: 1 - v for k, v in MEANT.items()}
QUESTIONS = VALUES.replace('label,value', 'question,answer').replace(',1', ',yes').replace(',0', ',no')
NUMBERED = 'image,class_id,class_name\na.png,3,dog\nb.png,17,cat\nsub/c.jpg,17,cat\n'


@dataclass(frozen=True)
class Form:
    "A file, what is said about it, and what comes of it."

    group: str
    name: str
    content: object  # text, bytes, or {file: text} for a folder
    meant: dict | None  # labels; None: it is asked about
    file: str = 't.csv'
    said: dict = field(default_factory=dict)


FORMS = []


def forms(group, *rows):
    "Rows of (name, content, meant[, file or what is said, ...])."
    before = ''
    for name, content, meant, *more in rows:
        name = before + name.removeprefix('the same') if name.startswith('the same') else name
        before = name if not before or not name.startswith(before) else before
        file = next((m for m in more if isinstance(m, str)), 't.csv')
        FORMS.append(Form(group, name, content, meant, file, next((m for m in more if isinstance(m, dict)), {})))


def words(p, n, u=''):
    "The wide table with other words for present, absent and unknown."
    return WIDE.replace('1', '\0').replace('0', n).replace('\0', p).replace(',,', f',{u},')


def names(*others):
    "The wide table with other names of pictures."
    lines = [
        line.replace(a, b)
        for line, a, b in zip(WIDE.splitlines(), ('-', 'a.png', 'b.png', 'sub/c.jpg'), ('-', *others))
    ]
    return '\n'.join(lines) + '\n'


def verdicts(header, *cells):
    "The long table with one more column."
    return '\n'.join(f'{line},{more}' for line, more in zip(LONG.splitlines(), (header, *cells))) + '\n'


def beside(header, *cells, first=False):
    "The wide table with one more column."
    lines = zip(WIDE.splitlines(), (header, *cells))
    return '\n'.join(f'{more},{line}' if first else f'{line},{more}' for line, more in lines) + '\n'


def book(*lines, change=None):
    "A workbook with these lines."
    openpyxl = pytest.importorskip('openpyxl')
    made, file = openpyxl.Workbook(), io.BytesIO()
    for line in lines:
        made.active.append(line)
    if change:
        change(made)
    made.save(file)
    return file.getvalue()


ROWS = [['image', 'dog', 'cat'], ['a.png', 1, 0], ['b.png', 0, 1], ['sub/c.jpg', None, 1]]


def hide_sheet(made):
    made.create_sheet('old')['A1'] = 'image'
    made['old'].sheet_state = 'hidden'


def second_sheet(made):
    made.create_sheet('old')['A1'] = 'image'


def hide_line(made):
    made.active.row_dimensions[3].hidden = True


def merge_title(made):
    made.active.merge_cells('A1:C1')


def merge_header(made):
    made.active.merge_cells('B1:C1')


def error_cell(made):
    made.active['B4'] = '#N/A'


def given(made):
    made.active['B2'], made.active['C2'] = '=1*1', '=IF(1,"","x")'


def computed(content, *values):
    "A workbook's formulas with the values that a spreadsheet stores beside them."
    source, file = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        for name in source.namelist():
            data = source.read(name)
            for cell, kind, value in values if name.endswith('sheet1.xml') else ():
                data = re.sub(
                    rf'<c r="{cell}"[^>]*>(<f>.*?</f>)<v ?/?>(</v>)?</c>'.encode(),
                    rf'<c r="{cell}" t="{kind}">\1<v>{value}</v></c>'.encode(),
                    data,
                )
            archive.writestr(name, data)
    return file.getvalue()


def colours(made):
    from openpyxl.styles import PatternFill

    made.active['B2'].fill = made.active['C3'].fill = PatternFill('solid', fgColor='FF00FF00')


def link_names(made):
    for row in range(2, 5):
        made.active.cell(row, 1).hyperlink = 'photos/' + made.active.cell(row, 1).value


def strike_cell(made):
    from openpyxl.styles import Font

    made.active['B2'].font = Font(strike=True)


def colour_cell(made):
    from openpyxl.styles import PatternFill

    made.active['B2'].fill = PatternFill('solid', fgColor='FFFFFF00')


def stripe(made):
    from openpyxl.styles import PatternFill

    for cell in made.active[3]:
        cell.fill = PatternFill('solid', fgColor='FFEEEEEE')


def comment_cell(made):
    from openpyxl.comments import Comment

    made.active['B2'].comment = Comment('not sure', 'Ann')


def hide_zeros(made):
    for cell in made.active['C']:
        cell.number_format = '0;-0;;@'


def words_by_format(made):
    for cell in made.active['C']:
        cell.number_format = '[=0]"yes";"no"'


def three_digits(made):
    made.active['A2'].number_format = '000'


def json_of(content):
    return json.dumps(content, ensure_ascii=False)


def task(image, **result):
    return dict(data=dict(image=image), annotations=[dict(result=[dict(value=result)])])


COCO = dict(
    images=[dict(id=1, file_name='a.png'), dict(id=2, file_name='b.png')],
    categories=[dict(id=1, name='dog'), dict(id=2, name='cat')],
    annotations=[dict(image_id=1, category_id=1)],
)
NOTED, GONE = dict(image_id=1, category_id=1, attributes=dict(wet=True)), dict(image_id=1, category_id=2, deleted=True)
BOX = '1 .5 .5 .1 .1\n'
VOC = '<annotation><filename>a.png</filename><object><name>dog</name>{}</object></annotation>'
XMP = '<x xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:subject><li>dog</li></dc:subject></x>'
VISION = json_of(
    dict(responses=[dict(context=dict(uri='gs://x/a.png'), labelAnnotations=[dict(description='dog', score=0.9)])])
)
UMLAUT = {(i, c.replace('dog', 'bär')): v for (i, c), v in MEANT.items()}

forms(
    'how a file is written',
    ('commas between cells', WIDE, MEANT),
    ('semicolons between cells', WIDE.replace(',', ';'), MEANT),
    ('tabs between cells', WIDE.replace(',', '\t'), MEANT),
    ('bars between cells', WIDE.replace(',', '|'), MEANT),
    ('first line sep=;', 'sep=;\n' + WIDE.replace(',', ';'), MEANT),
    ('Windows line ends', WIDE.replace('\n', '\r\n'), MEANT),
    ('line ends of old Macs', WIDE.replace('\n', '\r'), MEANT),
    ('quoted cells', '"image","dog","cat"\n' + WIDE.split('\n', 1)[1], MEANT),
    ('spaces around cells', WIDE.replace(',', ' , '), MEANT),
    ('byte-order mark', WIDE.encode('utf-8-sig'), MEANT),
    ('two byte-order marks', '\ufeff'.encode() + WIDE.encode('utf-8-sig'), MEANT),
    ('UTF-16 ("Unicode text")', WIDE.replace(',', '\t').encode('utf-16'), MEANT),
    ('UTF-16 without a mark', WIDE.encode('utf-16-le'), MEANT),
    ('Latin-1 with an accent', WIDE.replace('dog', 'bär').encode('latin-1'), None),
    ('the same, encoding said', WIDE.replace('dog', 'bär').encode('latin-1'), UMLAUT, dict(encoding='cp1252')),
    (
        'Shift-JIS, encoding said',
        WIDE.replace('dog', '犬').encode('shift_jis'),
        {(i, c.replace('dog', '犬')): v for (i, c), v in MEANT.items()},
        dict(encoding='shift_jis'),
    ),
    ('Windows-1251 (Russian)', words('да', 'нет').encode('cp1251'), None),
    ('Arabic with marks of direction', words('\u200fنعم\u200f', '\u200fلا'), MEANT),
    (
        'an apostrophe before =',
        WIDE.replace('dog', "'=dog"),
        {(i, c.replace('dog', '=dog')): v for (i, c), v in MEANT.items()},
    ),
    ('an empty file', '', None),
    ('quotation marks that do not close', WIDE.replace('dog', '"dog'), None),
    ('a short line', WIDE.replace('b.png,0,1', 'b.png,0'), None),
    ('a long line', WIDE.replace('b.png,0,1', 'b.png,0,1,1'), None),
)
forms(
    'what stands around the table',
    ('a title above the header', 'Our summer 2024\n' + WIDE, MEANT),
    ('a title, padded with delimiters', 'Our summer 2024;;\n' + WIDE.replace(',', ';'), MEANT),
    ('a title and a date above the header', 'Our summer\n2024-08-01\n' + WIDE, MEANT),
    ('lines of comment', '# my table\n' + WIDE, MEANT),
    ('blank lines', WIDE.replace('\n', '\n\n'), MEANT),
    ('empty columns at the end', WIDE.replace('\n', ',,\n'), MEANT),
    ('an empty column in front', ',' + WIDE.strip('\n').replace('\n', '\n,') + '\n', MEANT),
    ('a last line of means', WIDE.replace(',', ';') + 'Mittelwert;0,5;0,7\n', MEANT),
    ('groups above the header', ',animals,\n' + WIDE, MEANT),
    ('a last line of totals', WIDE + 'Total,1,2\n', MEANT),
    ('a last line of totals in German', WIDE + 'Summe:,1,2\n', MEANT),
    ('a last line of totals in Russian', WIDE + 'Итого,1,2\n', MEANT),
    ('totals without a word', WIDE + ',1,2\n', None),
    ('a last line of text', WIDE + 'exported by Ann,,\n', None),
    ('the header again in the middle', WIDE + WIDE.split('\n')[0] + '\n', None),
    ('two lines of header', 'image,animals,\n,dog,cat\n' + WIDE.split('\n', 1)[1], None),
    ('no header', WIDE.split('\n', 1)[1], None),
    ('pictures as columns', 'category,a.png,b.png\ndog,1,0\n', None),
    ('pictures as columns, the first one called image', 'image,a.png,b.png\ndog,1,0\n', None),
    ('lines as R writes them, with spaces', '"image" "dog"\n"1" "a.png" 1\n', None),
)
forms(
    'what the columns are called',
    (
        'categories whose names are numbered',
        WIDE.replace('dog', 'class 0').replace('cat', 'class 1'),
        {(image, {'dog': 'class 0', 'cat': 'class 1'}[name]): label for (image, name), label in MEANT.items()},
    ),
    *(
        (f'header {h}', WIDE.replace('image', h, 1), MEANT)
        for h in (
            'Image',
            'filename',
            'file_name',
            'File Name',
            'photo',
            'path',
            'Datei',
            'Bildname',
            'fichier',
            'archivo',
            'Plik',
            'Nazwa pliku',
            'файл',
            '图片',
            'ファイル名',
            '画像',
            'اسم الملف',
            'Εικόνα',
        )
    ),
    ('a header of another name', WIDE.replace('image', 'thing', 1), MEANT),
    ('the same, above other names', WIDE.replace('image', 'thing', 1).replace('.png', '!'), None),
    ('names of pictures without a header', WIDE.replace('image', '', 1), MEANT),
    (
        'image_id with numbers beside path with names',
        beside('image_id', 17, 23, 31, first=True).replace('image,', 'path,'),
        MEANT,
    ),
    ('id beside name', beside('id', 17, 23, 31, first=True).replace('image,', 'name,'), MEANT),
    ('a leading index without a name', beside('', 0, 1, 2, first=True), MEANT),
    ('a leading column Unnamed: 0', beside('Unnamed: 0', 0, 1, 2, first=True), MEANT),
    ('a leading column Nr.', beside('Nr.', 1, 2, 3, first=True), MEANT),
    (
        'a leading column that counts two lines',
        'id,image,dog\n0,a.png,1\n1,b.png,0\n',
        {('a.png', 'dog'): 1, ('b.png', 'dog'): 0},
    ),
    ('a column of notes', beside('notes', 'nice', '', 'dark'), MEANT),
    ('a column of dates', beside('Datum', '01.02.2024', '', '03.02.2024'), MEANT),
    ('a column of another text', beside('weather here', 'sun', '', 'rain'), None),
    ('the same, ignored', beside('weather here', 'sun', '', 'rain'), MEANT, dict(ignore='weather here')),
    ('a column that adds up', beside('Total', 1, 1, 1), MEANT),
    ('a column split', beside('split', 'train', 'val', 'test'), MEANT),
    ('a column of thumbnails', beside('thumbnail', 't/a.png', 't/b.png', 't/c.jpg'), MEANT),
    (
        'a column reviewed with yes and no',
        beside('reviewed', 'yes', 'no', 'yes'),
        MEANT | {('a.png', 'reviewed'): 1, ('b.png', 'reviewed'): 0, ('sub/c.jpg', 'reviewed'): 1},
    ),
    ('a column dog_conf beside dog', beside('dog_conf', '0.9', '0.4', '1.0'), MEANT),
    ('a column of scores beside others', beside('blur', '0.9', '0.4', '0.3'), None),
    ('the same, ignored', beside('blur', '0.9', '0.4', '0.3'), MEANT, dict(ignore='blur')),
    ('a column of two words', beside('quality', 'good', 'bad', 'good'), None),
    (
        'a category called date',
        beside('date', 1, 0, 1),
        MEANT | {('a.png', 'date'): 1, ('b.png', 'date'): 0, ('sub/c.jpg', 'date'): 1},
    ),
    ('columns Dog and dog', WIDE.replace('cat', 'Dog', 1), None),
    ('two columns dog', WIDE.replace('cat', 'dog', 1), None),
    ('dog and dog.1, from a data frame', WIDE.replace('cat', 'dog.1', 1), None),
    (
        'traffic_light and traffic light',
        WIDE.replace('dog', 'traffic_light', 1).replace('cat', 'traffic light', 1),
        None,
    ),
    (
        'one name with accents in one and in two characters',
        WIDE.replace('dog', 'b\u00e4r', 1).replace('cat', 'ba\u0308r', 1),
        None,
    ),
    ('a category without a name', WIDE.replace('cat', '', 1), None),
    ('a category called annotator', WIDE.replace('cat', 'annotator', 1), None),
    ('a column annotator with people', 'image,annotator,dog\na.png,ann,1\na.png,bob,1\n', DOG),
    ('only a column of pictures', 'image\na.png\n', None),
)
forms(
    'words in cells',
    *(
        (f'{p} / {n}: {name}', words(p, n), MEANT)
        for p, n, name in (
            ('yes', 'no', 'English'),
            ('present', 'absent', 'English'),
            ('TRUE', 'FALSE', 'English'),
            ('T', 'F', 'R'),
            ('ja', 'nein', 'German'),
            ('WAHR', 'FALSCH', 'German Excel'),
            ('vorhanden', 'nein', 'German'),
            ('oui', 'non', 'French'),
            ('VRAI', 'FAUX', 'French Excel'),
            ('présent', 'absent', 'French'),
            ('sí', 'no', 'Spanish'),
            ('VERDADERO', 'FALSO', 'Spanish Excel'),
            ('sim', 'não', 'Portuguese'),
            ('vero', 'falso', 'Italian'),
            ('WAAR', 'ONWAAR', 'Dutch Excel'),
            ('tak', 'nie', 'Polish'),
            ('PRAWDA', 'FAŁSZ', 'Polish Excel'),
            ('да', 'нет', 'Russian'),
            ('ИСТИНА', 'ЛОЖЬ', 'Russian Excel'),
            ('evet', 'hayır', 'Turkish'),
            ('DOĞRU', 'YANLIŞ', 'Turkish Excel'),
            ('はい', 'いいえ', 'Japanese'),
            ('有', '無', 'Japanese'),
            ('是', '否', 'Chinese'),
            ('예', '아니오', 'Korean'),
            ('نعم', 'لا', 'Arabic'),
            ('صحيح', 'خطأ', 'Arabic'),
            ('כן', 'לא', 'Hebrew'),
            ('ναι', 'όχι', 'Greek'),
            ('हाँ', 'नहीं', 'Hindi'),
            ('positive', 'negative', 'English'),
            ('J', 'N', 'German'),
        )
    ),
    ('present / absent / ?', words('present', 'absent', '?'), MEANT),
    ('✓ / ✗', words('✓', '✗'), MEANT),
    ('✔ and ✅, as telephones write them', words('✔\ufe0f', '❌', '?'), MEANT),
    ('☑ / ☐', words('☑', '☐'), MEANT),
    ('✔ / ✖', words('✔', '✖'), MEANT),
    ('👍 / 👎 / 🤷', words('👍', '👎', '🤷'), MEANT),
    ('🟢 / 🔴 / ❓', words('🟢', '🔴', '❓'), MEANT),
    ('✗ and blank', words('✗', ''), None),
    ('the same, said', words('✗', ''), PLUS, dict(present='✗')),
    ('x, – and blank', words('x', '–'), None),
    ('the same, said', words('x', '–'), MEANT, dict(absent='–')),
    ('1, 0 and –', words('1', '0', '–'), MEANT),
    ('brak danych for unknown', words('tak', 'nie', 'brak danych'), MEANT),
    ('1 / 2 / 9, a code of surveys', words('1', '2', '9'), None),
    ('the same, said', words('1', '2', '9'), MEANT, dict(present='1', absent='2', unknown='9')),
    ('x and blank', words('x', ''), PLUS),
    ('n/a for unknown', words('1', '0', 'n/a'), MEANT),
    ('NaN for unknown', words('1', '0', 'NaN'), MEANT),
    ('#N/A for unknown', words('1', '0', '#N/A'), MEANT),
    ('+ and -', words('+', '-'), None),
    ('x and o', words('x', 'o'), None),
    ('○ and ×', words('○', '×'), None),
    ('the same, said', words('○', '×'), MEANT, dict(present='○', absent='×')),
    ('a word that nobody knows', words('perhaps', '0'), None),
    ('the same, said', words('perhaps', '0'), MEANT, dict(present='perhaps')),
)
forms(
    'numbers in cells',
    ('1.0 and 0.0', words('1.0', '0.0'), MEANT),
    ('1.00 and 0.00', words('1.00', '0.00'), MEANT),
    ('decimal commas', WIDE.replace(',', ';').replace('0', '0,0').replace('1', '1,0'), MEANT),
    ('numbers in quotation marks', words('"1"', '"0"'), MEANT),
    ('Arabic digits', words('١', '٠'), MEANT),
    ('full-width digits', words('１', '０'), MEANT),
    ('1 / -1 / 0', words('1', '-1', '0'), None),
    ('the same, signed', words('1', '-1', '0'), MEANT, dict(code='signed')),
    ('1 / 0 / -1', words('1', '0', '-1'), None),
    ('the same, minus_one', words('1', '0', '-1'), MEANT, dict(code='minus_one')),
    ('the same with a long minus', words('1', '0', '−1'), None),
    ('1 and 0 that only notes', words('1', '0', '0'), PLUS, dict(code='positives')),
    ('every cell is 0 or 1', words('1', '0', '0'), MEANT | {('sub/c.jpg', 'dog'): 0}),
    ('counts of objects', words('2', '0'), None),
    ('the same, said', words('2', '0'), MEANT, dict(present='2')),
    ('probabilities', words('0.93', '0.02'), None),
    ('the same, border said', words('0.93', '0.02'), PLUS, dict(confidence=0.7)),
    ('percentages', words('93 %', '2 %'), None),
    ('the same, border said', words('93 %', '2 %'), PLUS, dict(confidence=0.7)),
    ('100% and 0%', words('100%', '0%'), None),
    ('the same, words said', words('100%', '0%'), MEANT, dict(present='100%', absent='0%')),
    ('a score of 0 among scores', words('0.93', '0', '0.4'), PLUS, dict(confidence=0.7)),
)
forms(
    'names of pictures',
    ('names in upper case', names('A.PNG', 'B.PNG', 'SUB/C.JPG'), MEANT),
    ('names without ending', names('a', 'b', 'sub/c'), MEANT),
    ('names with another ending', names('a.tif', 'b.CR2', 'c.png'), MEANT),
    ('a dot that is no ending', names('a.v2', 'b.png', 'sub/c.jpg'), None),
    ('backslashes', names('a.png', 'b.png', 'sub\\c.jpg'), MEANT),
    ('names with ./', names('./a.png', './b.png', './sub/c.jpg'), MEANT),
    ("another computer's paths", names('C:\\x\\a.png', 'C:\\x\\b.png', 'C:\\x\\sub\\c.jpg'), MEANT),
    ('web addresses', names('http://x.org/a.png', 'http://x.org/b.png?w=3', 'https://x.org/c.jpg'), MEANT),
    ('addresses of a store', names('gs://x/a.png', 's3://x/b.png', 's3://x/sub/c.jpg'), MEANT),
    ('a picture that is not there', names('a.png', 'bb.png', 'c.jpg'), None),
    ('a path outside', names('a.png', '../b.png', 'c.jpg'), None),
    ('a picture twice', WIDE + 'a.png,1,1\n', None),
    ('a picture twice, under two names', WIDE + 'A.PNG,1,1\n', None),
)
forms(
    'long tables and lists',
    ('a line per label', LONG, PLUS),
    ('a line per label, everything searched', LONG, MEANT | {('sub/c.jpg', 'dog'): 0}, dict(unlisted='absent')),
    ('a line per label with 1 and 0', VALUES, MEANT),
    ('a line per label with yes and no', VALUES.replace(',1', ',yes').replace(',0', ',no'), MEANT),
    ('a line per label with scores', VALUES.replace(',1', ',0.9').replace(',0\n', ',0.2\n'), None),
    ('the same, border said', VALUES.replace(',1', ',0.9').replace(',0\n', ',0.2\n'), PLUS, dict(confidence=0.5)),
    ('a line per label in German', LONG.replace('image,label', 'Datei;Schlagwort').replace(',', ';'), PLUS),
    (
        'a line per box',
        LONG
        .replace('image,label', 'filename,width,class,xmin')
        .replace(',cat', ',9,cat,1')
        .replace(',dog', ',9,dog,1'),
        PLUS,
    ),
    (
        'Open Images, verified',
        VALUES
        .replace('image,label,value', 'ImageID,LabelName,Confidence')
        .replace('.png', '')
        .replace('sub/c.jpg', 'c'),
        MEANT,
    ),
    (
        'a line per label with numbers of categories',
        LONG.replace('label', 'class_id').replace('dog', '3').replace('cat', '17'),
        {(image, {'dog': '3', 'cat': '17'}[name]): label for (image, name), label in PLUS.items()},
    ),
    ('a line per description and score', LONG.replace('label', 'description'), None),
    ('Dog and dog', LONG + 'b.png,Dog\n', PLUS | {('b.png', 'dog'): 1}),
    ('lists dog;cat', LISTS, LISTED),
    ('lists dog, cat in quotation marks', LISTS.replace('dog;cat', '"dog, cat"'), LISTED),
    ('lists with line breaks', LISTS.replace('dog;cat', '"dog\ncat"'), LISTED),
    ('lists dog|cat', LISTS.replace(';', '|'), LISTED),
    ('lists as Python shows them', LISTS.replace('dog;cat', '"[\'dog\', \'cat\']"'), LISTED),
    ('lists in JSON', LISTS.replace('dog;cat', '"[""dog"", ""cat""]"'), LISTED),
    ('a list that does not close', LISTS.replace('dog;cat', '"[\'dog\', "'), None),
    ('lists with scores dog:0.9', LISTS.replace('dog;cat', 'dog:0.9;cat:0.4') + 'sub/c.jpg,dog:0.7\n', None),
    ('lists with counts dog (2)', LISTS.replace('dog;cat', 'dog (2);cat (1)') + 'sub/c.jpg,dog (1)\n', None),
    ('lists in a column contains', LISTS.replace('labels', 'contains'), None),
    ('the same, said', LISTS.replace('labels', 'contains'), LISTED, dict(format='list')),
    ('lists with two signs', LISTS + 'sub/c.jpg,"dog,cat"\n', None),
    ('lists dog+cat and single labels', LISTS.replace('dog;cat', 'dog+cat') + 'sub/c.jpg,dog\n', None),
    ('lists with spaces', 'image,tags\na.png,clear road\nb.png,clear water\nsub/c.jpg,road water clear\n', None),
    ('the same, said', 'image,tags\na.png,dog cat\nb.png,cat\n', LISTED, dict(separator=' ')),
    (
        'names with spaces',
        'image,tags\na.png,traffic light\nb.png,cat\n',
        {('a.png', 'traffic light'): 1, ('b.png', 'cat'): 1},
    ),
    ('label_1, label_2, label_3', 'image,label_1,label_2\na.png,dog,cat\nb.png,cat,\n', LISTED),
    ('no dog beside dog', LONG.replace('b.png,cat', 'b.png,no dog'), None),
    ('a column no dog beside a column dog', beside('no dog', '0', '1', '1'), None),
    ('the same, in German', beside('kein Hund', '0', '1', '1').replace('dog', 'Hund'), None),
    ('a column that says of some labels that they are not verified', verdicts('verified', 'yes', 'no', 'yes'), None),
    ('the same, and they stay', verdicts('verified', 'yes', 'no', 'yes'), PLUS, dict(ignore='verified')),
    ('the same, rejected ones', verdicts('status', 'accepted', 'rejected', 'accepted'), None),
    ('the same, all verified', verdicts('verified', 'yes', 'yes', 'yes'), PLUS),
    ('a column that says which pictures to leave out', beside('skip', '', 'x', ''), MEANT | {('b.png', 'skip'): 1}),
    ('none for a picture without labels', LISTS + 'sub/c.jpg,none\n', None),
    ('the same: nothing is known', LISTS + 'sub/c.jpg,none\n', LISTED, dict(unknown='none')),
    (
        'the same: nothing is there',
        LISTS + 'sub/c.jpg,none\n',
        LISTED | {('sub/c.jpg', 'dog'): 0, ('sub/c.jpg', 'cat'): 0},
        dict(absent='none'),
    ),
    ('? for a picture without labels', LISTS + 'sub/c.jpg,?\n', LISTED),
    ('a wide table with a column of tags', 'image,dog,tags\na.png,1,cat\nb.png,0,cat\n', None),
    ('a column label with 0 and 1', 'image,label\na.png,0\nb.png,1\n', None),
    (
        'the same: a category',
        'image,label\na.png,0\nb.png,1\n',
        {('a.png', 'label'): 0, ('b.png', 'label'): 1},
        dict(format='wide'),
    ),
)
forms(
    'data bases, forms and programs',
    ('Airtable, ticked', WIDE.replace('1', 'checked').replace('0', ''), PLUS),
    (
        'Airtable, pictures with their addresses',
        'Name,Attachments,Tags\nfirst,a.png (https://x.org/v3/7Gf/a.png),"dog,cat"\n'
        'second,b.png (https://x.org/v3/9/b.png),cat\n',
        LISTED,
    ),
    ('Notion, names as in an address', WIDE.replace('sub/c', 'sub%2Fc'), MEANT),
    ('Notion, a column Created time', beside('Created time', *['"April 3, 2024 9:00 AM"'] * 3), None),
    (
        'Google Forms with yes and no',
        beside('Timestamp', '2024/01/01', '2024/01/02', '2024/01/03', first=True).replace('1,0', 'Yes,No'),
        MEANT,
    ),
    (
        'Google Forms, several answers in a cell',
        'Timestamp,Image,What is there?\n2024,a.png,"dog, cat"\n2024,b.png,cat\n',
        None,
    ),
    (
        'the same, said',
        'Timestamp,Image,What is there?\n2024,a.png,"dog, cat"\n2024,b.png,cat\n',
        LISTED,
        dict(format='list'),
    ),
    ('R write.csv: names of lines, NA', beside('""', '"1"', '"2"', '"3"', first=True).replace(',,', ',NA,'), MEANT),
    ('R write.csv: lines called like pictures', WIDE.replace('image', '""', 1).replace(',,', ',NA,'), MEANT),
    ('R write.table: a header without its first cell', WIDE.replace('image,', '', 1), None),
    (
        'pandas: an index out of order, NaN',
        beside('', 17, 3, 5, first=True).replace(',1', ',1.0').replace(',0', ',0.0').replace(',,', ',NaN,'),
        MEANT,
    ),
    ('pandas: two lines of header', 'image,animals,animals.1\n,dog,cat\na.png,1,0\n', None),
    ('="1", as programs write numbers for Excel', words('="1"', '="0"'), MEANT),
    ('groups above the header, and a title', 'Summer,,\n,animals,\n' + WIDE, MEANT),
    ('two tables, one below the other', WIDE + '\ufeff' + WIDE, None),
    ('a byte-order mark before a line in the middle', WIDE.replace('b.png', '\ufeffb.png'), MEANT),
    ('a workbook called .csv', lambda: book(*ROWS), None),
    ('each line in quotation marks', ''.join(f'"{line}"\n' for line in WIDE.splitlines()), None),
    ('spaces between cells', WIDE.replace(',', '  '), None),
    ('a line of shares at the end', WIDE + 'share,50%,67%\n', None),
    ('thousands: a column with 1,234', beside('views', '"1,234"', '"12,001"', '"7"'), None),
    ('0.5 for perhaps', words('1', '0', '0.5'), None),
    ('the same, said', words('1', '0', '0.5'), MEANT, dict(unknown='0.5')),
    ('0, 1, 2 and 3', WIDE.replace('b.png,0,1', 'b.png,2,3'), None),
    ('a column folder', beside('folder', '.', '.', 'sub', first=True), MEANT),
    ('a column dog confidence with words', beside('dog confidence', 'high', 'low', ''), MEANT),
    (
        'a column confidence that is 1 everywhere',
        beside('confidence', 1, 1, 1),
        MEANT | {(image, 'confidence'): 1 for image in ('a.png', 'b.png', 'sub/c.jpg')},
    ),
    (
        'categories that are emoji',
        WIDE.replace('dog', '🐶').replace('cat', '🐱'),
        {(image, {'dog': '🐶', 'cat': '🐱'}[name]): label for (image, name), label in MEANT.items()},
    ),
    (
        'a category with a comma and one with a line break',
        WIDE.replace('dog', '"dog, big"').replace('cat', '"cat\n(any)"'),
        {(image, {'dog': 'dog, big', 'cat': 'cat (any)'}[name]): label for (image, name), label in MEANT.items()},
    ),
    ('dates as names of pictures', names('2024-01-05', '2024-01-06', '2024-01-07'), None),
    ('a line per label, the picture named once', 'image,label\na.png,dog\n,cat\nb.png,cat\n', None),
    ('a line per label with counts', VALUES.replace(',value', ',count').replace('dog,1', 'dog,2'), MEANT),
    (
        'a line per label in percent',
        VALUES.replace(',value', ',percent').replace(',1', ',93').replace(',0\n', ',2\n'),
        None,
    ),
    ('a line per label with votes', VALUES.replace(',value', ',votes').replace(',1', ',3'), None),
    ('columns labels and absent', 'image,labels,absent\na.png,dog;cat,\nb.png,cat,dog\n', None),
    ('the same, ignored', 'image,labels,absent\na.png,dog;cat,\nb.png,cat,dog\n', LISTED, dict(ignore='absent')),
    ('a column of labels and one of guesses', 'image,label,guess\na.png,dog,cat\nb.png,cat,cat\n', None),
    ('lists with a comma in Arabic', LISTS.replace('dog;cat', 'dog، cat'), LISTED),
    ('lists with a comma in Chinese', LISTS.replace('dog;cat', 'dog、cat'), LISTED),
    ('lists with a wide semicolon', LISTS.replace('dog;cat', 'dog；cat'), LISTED),
    ('lists with a dot in Japanese', LISTS.replace('dog;cat', 'dog・cat') + 'sub/c.jpg,dog\n', None),
    ('lists with and', LISTS.replace('dog;cat', 'dog and cat') + 'sub/c.jpg,dog\n', None),
    ('lists with ; and a label with a comma', LISTS + 'sub/c.jpg,"big,cat"\n', None),
    ('lists with ; at the end', LISTS.replace('cat\n', 'cat;\n'), LISTED),
    ('cat? beside cat', LISTS.replace('dog;cat', 'dog;cat?'), None),
)
forms(
    'workbooks',
    ('.xlsx', lambda: book(*ROWS), MEANT, 't.xlsx'),
    (
        '.xlsx with TRUE and FALSE',
        lambda: book(*[[*r[:1], *(c if c is None or isinstance(c, str) else bool(c) for c in r[1:])] for r in ROWS]),
        MEANT,
        't.xlsx',
    ),
    ('.xlsx with a merged title above', lambda: book(['Our summer'], *ROWS, change=merge_title), MEANT, 't.xlsx'),
    ('.xlsx with merged cells in the header', lambda: book(*ROWS, change=merge_header), None, 't.xlsx'),
    ('.xlsx with a hidden sheet', lambda: book(*ROWS, change=hide_sheet), MEANT, 't.xlsx'),
    ('.xlsx with two sheets', lambda: book(*ROWS, change=second_sheet), None, 't.xlsx'),
    ('the same, sheet said', lambda: book(*ROWS, change=second_sheet), MEANT, 't.xlsx', dict(sheet='Sheet')),
    ('.xlsx with a filtered line', lambda: book(*ROWS, change=hide_line), MEANT, 't.xlsx'),
    ('.xlsx with a formula that has no value', lambda: book(*ROWS[:3], ['sub/c.jpg', '=B2', 1]), None, 't.xlsx'),
    (
        '.xlsx with formulas and their values',
        lambda: computed(book(*ROWS, change=given), ('B2', 'n', 1), ('C2', 'str', '')),
        {k: v for k, v in MEANT.items() if k != ('a.png', 'cat')},
        't.xlsx',
    ),
    ('.xlsx with colours for labels', lambda: book(*ROWS, change=colours), MEANT, 't.xlsx'),
    (
        '.xlsx with numbers stored as text',
        lambda: book(*[[str(c or 0) for c in r] for r in ROWS[:3]]),
        {k: v for k, v in MEANT.items() if 'c.jpg' not in k[0]},
        't.xlsx',
    ),
    ('.xlsx with days as names of pictures', lambda: book(ROWS[0], [date(2024, 1, 5), 1, 0]), None, 't.xlsx'),
    ('.xlsx with #N/A', lambda: book(*ROWS, change=error_cell), MEANT, 't.xlsx'),
    ('.xlsx with a line of totals', lambda: book(*ROWS, ['Total', 1, 2]), MEANT, 't.xlsx'),
    (
        '.xlsx in Japanese',
        lambda: book(['ファイル名', '犬'], ['a.png', '有'], ['b.png', '無']),
        {('a.png', '犬'): 1, ('b.png', '犬'): 0},
        't.xlsx',
    ),
    ('.xlsx that is none', WIDE, None, 't.xlsx'),
    ('.xls', WIDE, None, 't.xls'),
    ('.ods', WIDE, None, 't.ods'),
)
forms(
    'labelling tools',
    ('COCO JSON', json_of(COCO), DOG, 't.json'),
    (
        'COCO JSON, verified absent',
        json_of(COCO | dict(images=[dict(id=1, file_name='a.png', neg_category_ids=[2])])),
        DOG | {('a.png', 'cat'): 0},
        't.json',
    ),
    ('COCO JSON with absolute paths', json_of(COCO | dict(images=[dict(id=1, file_name='/x/y/a.png')])), DOG, 't.json'),
    (
        'COCO JSON, a picture twice',
        json_of(COCO | dict(images=[dict(id=1, file_name='a.png'), dict(id=2, file_name='a.png')])),
        None,
        't.json',
    ),
    ('COCO results with scores', json_of([dict(image_id=1, category_id=1, score=0.9)]), None, 't.json'),
    ('VOC XML', {'x.xml': VOC.format('')}, DOG, 'voc'),
    ('VOC XML in a folder below', {'Annotations/x.xml': VOC.format('')}, DOG, 'voc'),
    ('VOC XML, difficult', {'x.xml': VOC.format('<difficult>1</difficult>')}, DOG, 'voc'),
    ('one VOC file', VOC.format(''), None, 't.xml'),
    ('VOC XML with a DOCTYPE', {'x.xml': '<!DOCTYPE a>' + VOC.format('')}, None, 'voc'),
    ('YOLO with classes.txt', {'classes.txt': 'cat\ndog\n', 'a.txt': '1 .5 .5 .1 .1\n'}, DOG, 'yolo'),
    (
        'YOLO with data.yaml',
        {'data.yaml': 'names:\n  0: cat\n  1: dog\n', 'labels/a.txt': '1 .5 .5 .1 .1\n'},
        DOG,
        'yolo',
    ),
    (
        'YOLO with names in one line',
        {'data.yml': "names: {0: cat, 1: 'dog'}\n", 'a.txt': '1 .5 .5 .1 .1\n'},
        DOG,
        'yolo',
    ),
    (
        'YOLO with names out of order',
        {'data.yaml': 'names:\n  1: dog  # that barks\n  0: cat\n', 'labels/a.txt': '1 .5 .5 .1 .1\n'},
        DOG,
        'yolo',
    ),
    (
        'YOLO with a comma in a name',
        {'data.yaml': 'names: ["cat, big",\n  dog]\n', 'labels/a.txt': '1 .5 .5 .1 .1\n'},
        DOG,
        'yolo',
    ),
    (
        'YOLO with categories yes and no',
        {'data.yaml': 'names: [yes, no]\n', 'labels/a.txt': '1 .5 .5 .1 .1\n'},
        None,
        'yolo',
    ),
    (
        'YOLO as Roboflow writes it',
        {
            'data.yaml': "train: ../train/images\nnames: ['cat', 'dog']\n",
            'README.roboflow.txt': 'Exported on May 3, 2024\n',
            'train/labels/a.txt': '1 .5 .5 .1 .1\n',
        },
        DOG,
        'yolo',
    ),
    ('YOLO with words for numbers', {'classes.txt': 'dog\n', 'a.txt': 'dog .5 .5 .1 .1\n'}, None, 'yolo'),
    ('YOLO with a damaged data.yaml', {'data.yaml': 'names: [cat, {\n', 'a.txt': '1 .5 .5 .1 .1\n'}, None, 'yolo'),
    ('YOLO polygons', {'classes.txt': 'cat\ndog\n', 'a.txt': '1 .1 .1 .2 .2 .3 .1\n'}, DOG, 'yolo'),
    ('YOLO without names', {'a.txt': '1 .5 .5 .1 .1\n'}, None, 'yolo'),
    ('YOLO, a number too high', {'classes.txt': 'cat\n', 'a.txt': '1 .5 .5 .1 .1\n'}, None, 'yolo'),
    ('YOLO with scores', {'classes.txt': 'cat\ndog\n', 'a.txt': '1 .5 .5 .1 .1 .83\n'}, None, 'yolo'),
    (
        'the same, border said',
        {'classes.txt': 'cat\ndog\n', 'a.txt': '1 .5 .5 .1 .1 .83\n'},
        DOG,
        'yolo',
        dict(confidence=0.5),
    ),
    (
        'a folder with YOLO and VOC',
        {'classes.txt': 'dog\n', 'a.txt': '0 .5 .5 .1 .1\n', 'x.xml': VOC.format('')},
        None,
        'both',
    ),
    (
        'the same, said',
        {'classes.txt': 'dog\n', 'a.txt': '0 .5 .5 .1 .1\n', 'x.xml': VOC.format('')},
        DOG,
        'both',
        dict(format='voc'),
    ),
    ('CVAT XML', '<annotations><image name="a.png"><box label="dog"/></image></annotations>', DOG, 't.xml'),
    (
        'CVAT XML, attributes',
        '<annotations><image name="a.png"><tag label="dog"><attribute name="wet">true</attribute></tag></image>'
        '</annotations>',
        DOG,
        't.xml',
    ),
    ('CVAT XML of a video', '<annotations><track label="dog"><box frame="0"/></track></annotations>', None, 't.xml'),
    ('Label Studio JSON', json_of([task('/data/upload/3/0123abcd-a.png', choices=['dog'])]), DOG, 't.json'),
    ('Label Studio JSON, boxes', json_of([task('s3://x/a.png', rectanglelabels=['dog'])]), DOG, 't.json'),
    (
        'Label Studio JSON, a name that begins like its own',
        json_of([task('/data/local-files/?d=20240101-a.png', choices=['dog'])]),
        None,
        't.json',
    ),
    ('Label Studio JSON-MIN', json_of([dict(image='a.png', choice='dog')]), DOG, 't.json'),
    (
        'Label Studio JSON-MIN, fields of one\'s own',
        json_of([dict(photo='a.png', seen=dict(choices=['dog', 'cat'])), dict(photo='b.png', seen='cat')]),
        LISTED,
        't.json',
    ),
    ('the same, no field with labels', json_of([dict(photo='a.png', seen='dog')]), None, 't.json'),
    ('Label Studio CSV', 'image,id,choice,annotator,lead_time\n/data/upload/1/0123abcd-a.png,1,dog,a@x.org,3.2\n', DOG),
    (
        'Label Studio CSV, several choices',
        'image,id,choice\n/data/upload/1/0123abcd-a.png,1,"{""choices"": [""dog"", ""cat""]}"\n',
        DOG | {('a.png', 'cat'): 1},
    ),
    ('Label Studio CSV, boxes', 'image,id,label\na.png,1,"[{""x"": 3.1, ""rectanglelabels"": [""dog""]}]"\n', DOG),
    ('metadata.jsonl', '{"file_name": "a.png", "labels": ["dog"]}\n', DOG, 't.jsonl'),
    ('Google Vision with scores', VISION, None, 't.json'),
    ('the same, border said', VISION, DOG, 't.json', dict(confidence=0.5)),
    ('Lightroom keywords in sidecars', {'a.xmp': XMP}, DOG, 'side'),
    ('sidecars with endings in capitals', {'a.XMP': XMP}, DOG, 'side'),
    ('sidecars called a.png.xmp', {'a.png.xmp': XMP}, DOG, 'side'),
    ('Lightroom table of keywords', 'File Name;Keywords\na.png;dog, cat\nb.png;cat\n', LISTED),
    ('VIA', json_of({'a.png1': dict(filename='a.png', regions=[])}), None, 't.json'),
    ('VIA, a project', json_of(dict(_via_settings={}, _via_img_metadata={})), None, 't.json'),
    (
        'VIA, a table',
        'filename,region_count,region_shape_attributes,region_attributes\na.png,1,{},"{""type"":""dog""}"\n',
        None,
    ),
    ('LabelMe', json_of(dict(shapes=[dict(label='dog')], imagePath='a.png')), None, 't.json'),
    ('LabelMe, a folder', {'a.json': json_of(dict(shapes=[dict(label='dog')], imagePath='a.png'))}, None, 'me'),
    ('CreateML', json_of([dict(image='a.png', annotations=[dict(label='dog', coordinates={})])]), None, 't.json'),
    (
        'SageMaker Ground Truth',
        '{"source-ref": "s3://x/a.png", "dogs": [0], "dogs-metadata": {"class-map": {"0": "dog"}}}\n',
        None,
        't.manifest',
    ),
    ('Labelbox', '{"data_row": {"external_id": "a.png"}, "projects": {}}\n', None, 't.ndjson'),
    ('Prodigy, rejected', '{"image": "a.png", "label": "dog", "answer": "reject"}\n', None, 't.jsonl'),
    ('COCO JSON in a folder', {'train/_annotations.coco.json': json_of(COCO)}, None, 'coco'),
    ('JSON of something else', '{"a": 1}', None, 't.json'),
    ('damaged JSON', '[{', None, 't.json'),
    ('a folder without annotations', {'x.md': 'x'}, None, 'none'),
)

forms(
    'pivot tables, ticks and codes',
    (
        'a pivot table',
        'Count of label,Column Labels,,\nRow Labels,cat,dog,Grand Total\na.png,,1,1\nb.png,1,,1\nsub/c.jpg,1,,1\n'
        'Grand Total,2,1,3\n',
        PLUS,
    ),
    (
        'a pivot table in German, counting twice',
        'Anzahl von label;Spaltenbeschriftungen;;\nZeilenbeschriftungen;cat;dog;Gesamtergebnis\na.png;;2;2\n'
        'Gesamtergebnis;;2;2\n',
        None,
    ),
    (
        'the same, said',
        'Anzahl von label;Spaltenbeschriftungen;;\nZeilenbeschriftungen;cat;dog;Gesamtergebnis\na.png;;2;2\n'
        'Gesamtergebnis;;2;2\n',
        DOG,
        dict(present='2'),
    ),
    ('a pivot table with a line (blank)', 'Row Labels,cat,dog\na.png,,1\n(blank),1,\n', None),
    ('ticks in every cell, TRUE and FALSE', words('TRUE', 'FALSE', 'FALSE'), MEANT | {('sub/c.jpg', 'dog'): 0}),
    ('the same, FALSE is not ticked', words('TRUE', 'FALSE', 'FALSE'), PLUS, dict(code='positives')),
    ('ticks, TRUE, FALSE and blank', words('TRUE', 'FALSE', ''), MEANT),
    ('V and X', words('V', 'X'), None),
    ('the same, said', words('V', 'X'), MEANT, dict(present='v', absent='x')),
    ('● and ○', words('●', '○'), None),
    ('1, 0 and x', words('1', '0', 'x'), None),
    ('the same, said', words('1', '0', 'x'), MEANT, dict(unknown='x')),
    ('yes and x', words('yes', 'x'), None),
    ('1 and a dot', words('1', '.', '.'), None),
    ('the same, said', words('1', '.', ''), MEANT, dict(absent='.')),
    ('1, 0 and a dot', words('1', '0', '.'), MEANT),
    ('1, 0 and 99', words('1', '0', '99'), None),
    ('1, 0 and -9', words('1', '0', '-9'), None),
    ('the same, said', words('1', '0', '-9'), MEANT, dict(unknown='-9')),
    ('1 and 2', words('1', '2'), None),
    ('the same, said', words('1', '2'), MEANT, dict(absent='2')),
    ('S / N', words('S', 'N'), MEANT),
    ('V / F', words('V', 'F'), MEANT),
    ('O / N', words('O', 'N'), None),
    ('(x) for doubt', words('x', 'no', '(x)'), None),
    ('notes in the cells', WIDE.replace('b.png,0', 'b.png,"no, too dark"'), None),
    ('10+, a count', words('10+', '0'), None),
    ('D and R, a scale of botany', words('D', '', 'R'), None),
    ('only what is not there', words('', '0'), {k: v for k, v in MEANT.items() if not v}),
)
forms(
    'columns that say more of others',
    ('dog_count beside dog', beside('dog_count', 1, 0, ''), MEANT),
    ('dog_difficult beside dog', beside('dog_difficult', 1, 0, ''), MEANT),
    ('dog_verified beside dog', beside('dog_verified', 'yes', 'no', ''), None),
    ('the same, ignored', beside('dog_verified', 'yes', 'no', ''), MEANT, dict(ignore='dog_verified')),
    (
        'light_source beside light is a category',
        'image,light,light_source\na.png,1,0\n',
        {('a.png', 'light'): 1, ('a.png', 'light_source'): 0},
    ),
    ('a column for each person, dog_1 and dog_2', 'image,dog_1,dog_2,cat_1,cat_2\na.png,1,1,0,0\n', None),
    ('the same, dog (A) and dog (B)', 'image,dog (A),dog (B),cat (A),cat (B)\na.png,1,1,0,0\n', None),
    (
        'colours of cars and buses',
        'image,red car,blue car,red bus,blue bus\na.png,1,0,0,0\n',
        {('a.png', f'{c} {v}'): int((c, v) == ('red', 'car')) for c in ('red', 'blue') for v in ('car', 'bus')},
    ),
    ('a column none, the others blank', 'image,dog,cat,none\na.png,x,,\nb.png,,x,\nsub/c.jpg,,,x\n', None),
    (
        'the same: a category',
        'image,dog,cat,none\na.png,x,,\nb.png,,x,\nsub/c.jpg,,,x\n',
        {('a.png', 'dog'): 1, ('b.png', 'cat'): 1, ('sub/c.jpg', 'none'): 1},
        dict(present='none'),
    ),
    (
        'a column empty, every cell filled',
        'image,dog,empty\na.png,1,0\nb.png,0,1\n',
        {('a.png', 'dog'): 1, ('a.png', 'empty'): 0, ('b.png', 'dog'): 0, ('b.png', 'empty'): 1},
    ),
)
forms(
    'lines with a label, and what they may mean',
    ('pandas melt: variable and value', VALUES.replace('label', 'variable'), MEANT),
    ('tidyr pivot_longer: name and value', VALUES.replace('label', 'name'), MEANT),
    ('question and answer', QUESTIONS, None),
    ('the same, and --format long', QUESTIONS, None, dict(format='long')),
    ('label and answer', QUESTIONS.replace('question', 'label'), None),
    ('the same, answer called value', QUESTIONS.replace('question,answer', 'label,value'), MEANT),
    ('class_id and class_name', NUMBERED, None),
    ('the same, class_id ignored', NUMBERED, PLUS, dict(ignore='class_id')),
    ('label and label_name', NUMBERED.replace('class_id,class_name', 'label,label_name'), None),
    ('category and subcategory', NUMBERED.replace('class_id,class_name', 'category,subcategory'), None),
    ('class and species', NUMBERED.replace('class_id,class_name', 'class,species'), None),
    ('species', LONG.replace('label', 'species'), PLUS),
    ('species beside site', 'image,site,kind\na.png,north,dog\nb.png,south,cat\n', None, dict(format='list')),
    ('Cat, big: one label or two', 'image,label\na.png,"Cat, big"\nb.png,"Dog, small"\nsub/c.jpg,Bird\n', None),
    (
        'the same: one',
        'image,label\na.png,"Cat, big"\nb.png,Bird\n',
        {('a.png', 'Cat, big'): 1, ('b.png', 'Bird'): 1},
        dict(separator=';'),
    ),
    (
        'the same: two',
        'image,label\na.png,"Cat, big"\nb.png,Bird\n',
        {('a.png', 'Cat'): 1, ('a.png', 'big'): 1, ('b.png', 'Bird'): 1},
        dict(separator=','),
    ),
    ('dog, cat in a table with a line per label', 'image,label\na.png,"dog, cat"\na.png,bird\nb.png,bird\n', None),
    (
        'Cat, big in a line per box',
        'image,label,xmin\na.png,"Cat, big",1\na.png,Bird,2\n',
        {('a.png', 'Cat, big'): 1, ('a.png', 'Bird'): 1},
    ),
    (
        'tags of which none stands alone',
        'image,tags\na.png,"dog, grass"\nb.png,"cat, grass"\n',
        {('a.png', 'dog'): 1, ('a.png', 'grass'): 1, ('b.png', 'cat'): 1, ('b.png', 'grass'): 1},
    ),
    ('numbers of categories, 16 0', 'image,target\na.png,16 0\nb.png,5\n', None),
    (
        'the same, said',
        'image,target\na.png,16 0\nb.png,5\n',
        {('a.png', '16'): 1, ('a.png', '0'): 1, ('b.png', '5'): 1},
        dict(separator=' '),
    ),
    ('bits, 101', 'image,labels\na.png,101\nb.png,010\n', None),
    ('dog: yes; cat: no', 'image,labels\na.png,dog: yes; cat: no\n', None),
    ('yes among labels', 'image,tags\na.png,dog;yes\nb.png,cat\n', None),
    (
        'signs of a language, yes and no among them',
        'image,label\na.png,hello\nb.png,yes\n',
        {('a.png', 'hello'): 1, ('b.png', 'yes'): 1},
        dict(present='yes'),
    ),
    ('a list of what is absent', 'image,absent\na.png,cat\nb.png,dog\n', None, dict(format='list')),
    ('blank, a label of camera traps', LONG.replace('sub/c.jpg,cat', 'sub/c.jpg,Blank'), None),
    (
        'the same: nothing is there',
        LONG.replace('sub/c.jpg,cat', 'sub/c.jpg,Blank'),
        {('a.png', 'dog'): 1, ('b.png', 'cat'): 1, ('sub/c.jpg', 'dog'): 0, ('sub/c.jpg', 'cat'): 0},
        dict(absent='blank'),
    ),
    (
        'the same: a category',
        LONG.replace('sub/c.jpg,cat', 'sub/c.jpg,Blank'),
        {('a.png', 'dog'): 1, ('b.png', 'cat'): 1, ('sub/c.jpg', 'Blank'): 1},
        dict(present='blank'),
    ),
    ('no animal, a label', LONG.replace('sub/c.jpg,cat', 'sub/c.jpg,no animal'), None),
    ('No Finding, as in chest X-rays', 'Image Index,Finding Labels\na.png,Mass|Effusion\nb.png,No Finding\n', None),
)
forms(
    'camera traps, museums and other tools',
    (
        'Timelapse',
        'File,RelativePath,DateTime,DeleteFlag,Species,Count\na.png,,2024-01-05 10:00:00,false,dog,1\n'
        'c.jpg,sub,2024-01-05 10:01:00,false,cat,2\n',
        {('a.png', 'dog'): 1, ('sub/c.jpg', 'cat'): 1},
    ),
    (
        'Darwin Core, occurrenceStatus',
        'occurrenceID,scientificName,occurrenceStatus,associatedMedia\n1,dog,present,http://x.org/a.png\n'
        '2,cat,absent,http://x.org/a.png\n',
        {('a.png', 'dog'): 1, ('a.png', 'cat'): 0},
    ),
    (
        'Darwin Core, individualCount',
        'occurrenceID,scientificName,individualCount,associatedMedia\n1,dog,3,http://x.org/a.png\n'
        '2,cat,0,http://x.org/a.png\n',
        {('a.png', 'dog'): 1, ('a.png', 'cat'): 0},
    ),
    (
        'Wildlife Insights',
        'deployment_id,filename,is_blank,class,order,species,common_name\nd,a.png,0,Mammalia,Carnivora,familiaris,dog\n'
        'd,b.png,1,,,,Blank\n',
        None,
    ),
    ('MegaDetector JSON', json_of(dict(images=[], detection_categories={'1': 'animal'}, info={})), None, 't.json'),
    (
        'MegaDetector CSV',
        'image_path,max_confidence,detections\na.png,0.93,"[[0.1,0.2,0.3,0.4,0.93,1]]"\n',
        None,
    ),
    (
        'Zooniverse',
        'classification_id,user_name,annotations,subject_data\n1,ann,"[{""task"":""T0""}]","{""1"":{}}"\n',
        None,
    ),
    ('Zooniverse, votes', 'subject_id,filename,data.dog,data.cat\n1,a.png,5,0\n2,b.png,1,4\n', None),
    (
        'iNaturalist',
        'id,observed_on,image_url,scientific_name,common_name\n1,2024-05-01,http://x.org/a.png,Canis,dog\n',
        None,
    ),
    ('Roboflow, several labels', WIDE.replace(',', ', '), MEANT),
    ('Roboflow, its names of pictures', names('a_png.rf.0123456789abcdef0123.jpg', 'b.png', 'sub/c.jpg'), MEANT),
    ('Datumaro', json_of(dict(info={}, categories={}, items=[])), None, 't.json'),
    ('Doccano', '{"id": 1, "filename": "a.png", "label": ["dog"], "Comments": []}\n', DOG, 't.jsonl'),
    ('Prodigy, choices', '{"image": "a.png", "accept": ["dog"], "answer": "accept"}\n', None, 't.jsonl'),
    ('Label Studio, answers', json_of([task('a.png', choices=['yes'])]), None, 't.json'),
    ('lines of JSON, labels with 1 and 0', '{"image": "a.png", "labels": {"dog": 1}}\n', None, 't.jsonl'),
    ('lines of JSON, numbers of labels', '{"image": "a.png", "labels": [0, 2]}\n', None, 't.jsonl'),
    ('lines of JSON, dog, cat in one text', '{"image": "a.png", "label": "dog, cat"}\n', None, 't.jsonl'),
    (
        'the same, said',
        '{"image": "a.png", "label": "dog, cat"}\n',
        DOG | {('a.png', 'cat'): 1},
        't.jsonl',
        dict(separator=','),
    ),
    (
        'COCO JSON with scores',
        json_of(COCO | dict(annotations=[dict(image_id=1, category_id=1, score=0.2)])),
        None,
        't.json',
    ),
    (
        'the same, border said',
        json_of(
            COCO
            | dict(
                annotations=[
                    dict(image_id=1, category_id=1, score=0.9),
                    dict(image_id=2, category_id=2, score=0.1),
                ]
            )
        ),
        DOG,
        't.json',
        dict(confidence=0.5),
    ),
    (
        'Azure Custom Vision',
        json_of([dict(originalImageUri='http://x.org/a.png', tags=[dict(tagName='dog')])]),
        None,
        't.json',
    ),
    ('exiftool, a table', 'SourceFile,Subject,Keywords\n./a.png,"dog, cat","dog, cat"\n./b.png,cat,cat\n', LISTED),
    (
        'exiftool, JSON',
        json_of([dict(SourceFile='./a.png', Subject=['dog', 'cat']), dict(SourceFile='./b.png', Subject='cat')]),
        LISTED,
        't.json',
    ),
    ('exiftool, a number among keywords', json_of([dict(SourceFile='./a.png', Subject=['dog', 2024])]), None, 't.json'),
    ('keywords in groups', 'File Name,Keywords\na.png,"Animals|Dog, Animals|Cat"\nb.png,Animals|Cat\n', None),
    ('osxphotos', 'uuid,filename,original_filename,keywords\n1,1.jpeg,a.png,"dog,cat"\n2,2.jpeg,b.png,cat\n', LISTED),
    (
        'Google Drive, addresses without names',
        'Timestamp,Photo,Animals\n1,https://drive.google.com/open?id=1a,"Dog, Cat"\n',
        None,
    ),
    ('CelebA', '2\ndog cat\na.png 1 -1\nb.png -1 1\n', None, 't.txt'),
    ('a table in Markdown', '| image | dog |\n|---|---|\n| a.png | 1 |\n', DOG),
    ('links in Markdown', names('[a](a.png)', 'b.png', 'sub/c.jpg'), MEANT),
    ('addresses of files', names('file:///C:/My%20Pictures/a.png', 'b.png', 'c.jpg'), MEANT),
    ('numbers that a spreadsheet shortened', names('2.02401E+11', 'b.png', 'sub/c.jpg'), None),
    ('a title of twelve lines', 'Project\n' * 12 + WIDE, MEANT),
    ('subtotals in the middle', WIDE.replace('sub/', 'Subtotal,1,1\nsub/'), None),
    ('a second line with questions', WIDE.replace('a.png', 'image,Is there a dog?,Is there a cat?\na.png'), None),
    ('Google AutoML, no header', 'TRAIN,gs://x/a.png,dog\nTEST,gs://x/b.png,cat\n', None),
    ('a packed table', gzip.compress(WIDE.encode()), None, 't.csv.gz'),
    ('Parquet', b'PAR1\x15\x04\x15\x10\x00\xff\xfe\x99PAR1', None, 't.parquet'),
    ('YAML', '- image: a.png\n  labels: [dog]\n', None, 't.yaml'),
)
forms(
    'what a workbook shows and a table does not',
    ('names that are links', lambda: book(*ROWS, change=link_names), MEANT, 't.xlsx'),
    ('struck through', lambda: book(*ROWS, change=strike_cell), None, 't.xlsx'),
    ('a cell in yellow', lambda: book(*ROWS, change=colour_cell), MEANT, 't.xlsx'),
    ('every second line in a colour', lambda: book(*ROWS, change=stripe), MEANT, 't.xlsx'),
    ('a comment', lambda: book(*ROWS, change=comment_cell), MEANT, 't.xlsx'),
    ('zeros that a format hides', lambda: book(*ROWS, change=hide_zeros), MEANT, 't.xlsx'),
    ('a label that became a date', lambda: book(ROWS[0], ['a.png', date(2024, 1, 1), 0]), None, 't.xlsx'),
    (
        'a line of units below the header',
        lambda: book(ROWS[0], ['(file)', '(0/1)', '(0/1)'], *ROWS[1:]),
        None,
        't.xlsx',
    ),
    (
        'a column of sums and a line of sums',
        lambda: book([*ROWS[0], 'Summe'], ['a.png', 1, 2, 3], ['Summe', 1, 2, 3]),
        DOG | {('a.png', 'cat'): 1},
        't.xlsx',
        dict(present='2'),
    ),
)

forms(
    'what nobody sees, and what looks alike',
    ('columns dog and do-g with a hyphen that does not show', WIDE.replace('cat', 'do\u00adg'), None),
    ('columns dog and dog, one with a Cyrillic o', WIDE.replace('cat', 'd\u043eg'), None),
    ('labels dog and dog, one with a Cyrillic o', LONG + 'sub/c.jpg,d\u043eg\n', None),
    ('labels dog and dog, one with a sign that joins letters', LONG + 'sub/c.jpg,do\u200dg\n', PLUS | SAME_DOG),
    ('labels dog and dog, one with spaces that do not break', LONG + 'sub/c.jpg,\u00a0dog\u00a0\n', PLUS | SAME_DOG),
    ('columns dog_yes and dog_no', WIDE.replace('dog', 'dog_yes').replace('cat', 'dog_no'), None),
    ('columns dog_0 and dog_1', WIDE.replace('dog', 'dog_0').replace('cat', 'dog_1'), None),
    (
        'columns class_0, class_1 and class_2',
        'image,class_0,class_1,class_2\na.png,1,0,0\nb.png,0,1,\n',
        {('a.png', 'class_0'): 1, ('a.png', 'class_1'): 0, ('a.png', 'class_2'): 0}
        | {('b.png', 'class_0'): 0, ('b.png', 'class_1'): 1},
    ),
    ('a column idx that counts', 'image,dog,cat,idx\na.png,1,0,0\nb.png,0,1,1\nsub/c.jpg,,1,2\n', MEANT),
    (
        'a column session of 0 and 1',
        'image,dog,session\na.png,1,1\nb.png,0,0\n',
        {('a.png', 'dog'): 1, ('b.png', 'dog'): 0, ('a.png', 'session'): 1, ('b.png', 'session'): 0},
    ),
    ('a column cluster with numbers', 'image,dog,cat,cluster\na.png,1,0,4\nb.png,0,1,7\nsub/c.jpg,,1,4\n', MEANT),
    ('columns dog_True and dog_False', WIDE.replace('dog', 'dog_True').replace('cat', 'dog_False'), None),
    ('a column of sex, F', beside('sex', 'F', 'F', ''), None),
    ('the same, ignored', beside('sex', 'F', 'F', ''), MEANT, dict(ignore='sex')),
    ('a column of directions, N and S', beside('direction', 'N', 'S', 'N'), None),
    (
        'the same, which are no and yes',
        beside('bird', 'N', 'S', 'N'),
        MEANT | {('a.png', 'bird'): 0, ('b.png', 'bird'): 1, ('sub/c.jpg', 'bird'): 0},
        dict(present='s', absent='n'),
    ),
    ('a title that says 0 = present', '"0 = present, 1 = absent"\n' + WIDE, None),
    ('the same, and it holds', '"0 = present, 1 = absent"\n' + WIDE, TURNED, dict(present='0', absent='1')),
    ('a title that says 1 = yes, 0 = no', '"1 = yes, 0 = no"\n' + WIDE, MEANT),
    ('a comment that says no = 1', '# no = 1, yes = 0\n' + WIDE, None),
    ('a header that says 0 = not checked', WIDE.replace('dog', '"dog (1=yes, 0=not checked)"'), None),
    (
        'a header dog (1=yes)',
        WIDE.replace('dog', 'dog (1=yes)'),
        {(i, n.replace('dog', 'dog (1=yes)')): v for (i, n), v in MEANT.items()},
    ),
    ('a column labeler with 1 and 1', beside('labeler', 1, 1, 1), None),
    ('a column rater with people', 'image,rater,dog\na.png,ann,1\na.png,bob,1\n', DOG),
    ('two tables side by side', 'image,dog,,image,cat\na.png,1,,b.png,1\nb.png,0,,a.png,0\n', None),
    (
        'the same, in one order',
        'image,dog,,image,cat\na.png,1,,a.png,0\nb.png,0,,b.png,1\n',
        {k: v for k, v in MEANT.items() if 'c.jpg' not in k[0]},
    ),
    ('pairs of pictures', 'image_1,image_2,label\na.png,b.png,dog\nb.png,a.png,cat\n', None),
    ('a label that became 1-Mar', LONG.replace('dog', '1-Mar'), None),
    ('a column that became Sep-02', WIDE.replace('dog', 'Sep-02'), None),
)
forms(
    'lists that say more than names',
    ('!cat, which is not there', LISTS + 'sub/c.jpg,dog;!bird\n', None),
    (
        'the same, which is its name',
        LISTS + 'sub/c.jpg,!bird\n',
        LISTED | {('sub/c.jpg', '!bird'): 1},
        dict(present='!bird'),
    ),
    ('-bird', LISTS + 'sub/c.jpg,dog;-bird\n', None),
    ('bird?', LISTS + 'sub/c.jpg,bird?\n', None),
    ('~~bird~~', LISTS + 'sub/c.jpg,~~bird~~\n', None),
    ('#dog #cat', LISTS.replace('dog;cat', '#dog #cat'), None),
    ('<dog><cat>', LISTS.replace('dog;cat', '<dog><cat>'), None),
    ('(dog,cat)', LISTS.replace('dog;cat', '"(dog,cat)"'), None),
    ('cat (big, black)', LISTS.replace('dog;cat', '"dog, cat (big, black)"'), None),
    ('("dog", "cat"), as Python shows it', LISTS.replace('dog;cat', '"(\'dog\', \'cat\')"'), LISTED),
    ('c("dog", "cat"), as R shows it', LISTS.replace('dog;cat', '"c(""dog"", ""cat"")"'), None),
    ("['dog' 'cat'], as numpy shows it", LISTS.replace('dog;cat', "['dog' 'cat']"), None),
    ("array(['dog']), as numpy shows it", LISTS.replace('dog;cat', "array(['dog'])"), None),
    ('set(), as Python shows an empty one', LISTS + 'sub/c.jpg,set()\n', LISTED),
    ('a column that says not present', verdicts('remark', '', 'not present', ''), None),
    ('the same, ignored', verdicts('remark', '', 'not present', ''), PLUS, dict(ignore='remark')),
    ('a column that says hard negative', verdicts('kind', 'gt', 'hard_negative', 'gt'), None),
    ('a count of none', verdicts('count', '2', 'none', '1'), None),
    ('a column deleted at, with a day', verdicts('deleted_at', '', '2024-05-01', ''), None),
)
forms(
    'what a workbook shows and a table does not',
    ('a label that became a day', lambda: book(['image', 'label'], ['a.png', date(2024, 3, 1)]), None, 't.xlsx'),
    ('a column that became a day', lambda: book(['image', date(2024, 5, 1)], ['a.png', 1]), None, 't.xlsx'),
    ('numbers that a format shows as words', lambda: book(*ROWS, change=words_by_format), MEANT, 't.xlsx'),
)

forms(
    'labelling tools, more of what they say',
    ('COCO JSON with attributes', json_of(COCO | dict(annotations=[NOTED])), DOG, 't.json'),
    ('COCO JSON, an annotation deleted', json_of(COCO | dict(annotations=[NOTED, GONE])), DOG, 't.json'),
    (
        'VOC XML with the name of another of its files',
        {
            'a.xml': VOC.format(''),
            'b.xml': VOC.format('').replace('a.p', 'c.p'),
            'c.xml': VOC.format('').replace('a.p', 'b.p'),
        },
        None,
        'voc',
    ),
    ('XML of something else among VOC', {'a.xml': VOC.format(''), 'b.xml': '<note/>'}, None, 'voc'),
    ('YOLO with a line of comment among names', {'classes.txt': '# mine\ncat\ndog\n', 'a.txt': BOX}, None, 'yolo'),
    ('YOLO with numbers before the names', {'classes.txt': '1: dog\n0: cat\n', 'a.txt': BOX}, None, 'yolo'),
    (
        'YOLO with 2 wheeler and 4 wheeler',
        {'classes.txt': '2 wheeler\n4 wheeler\n', 'a.txt': BOX},
        {('a.png', '4 wheeler'): 1},
        'yolo',
    ),
    ('YOLO with names between commas', {'classes.txt': 'cat, dog\n', 'a.txt': BOX.replace('1 ', '0 ')}, None, 'yolo'),
    ('YOLO with nc and fewer names', {'data.yaml': 'nc: 3\nnames: [cat, dog]\n', 'a.txt': BOX}, None, 'yolo'),
    (
        'YOLO with another list in a folder below',
        {'classes.txt': 'cat\ndog\n', 'day/classes.txt': 'dog\ncat\n', 'day/a.txt': BOX},
        None,
        'yolo',
    ),
    ('YOLO with places in pixels', {'classes.txt': 'cat\ndog\n', 'a.txt': '1 120 30 20 9\n'}, None, 'yolo'),
    ('YOLO with only a number', {'classes.txt': 'cat\ndog\n', 'a.txt': '1\n'}, None, 'yolo'),
    ('YOLO with commas', {'classes.txt': 'cat\ndog\n', 'a.txt': BOX.replace(' ', ',')}, None, 'yolo'),
    (
        'Google Vision, a picture that failed',
        json_of(
            dict(
                responses=[
                    dict(context=dict(uri='b.png'), error=dict(code=3)),
                    dict(context=dict(uri='a.png'), labelAnnotations=[dict(description='dog', score=0.9)]),
                ]
            )
        ),
        DOG,
        't.json',
        dict(confidence=0.5, unlisted='absent'),
    ),
    ('Google Vision with a score of 90', VISION.replace('0.9', '90'), None, 't.json', dict(confidence=0.5)),
    ('a keyword dog, cat in a sidecar', {'a.xmp': XMP.replace('dog', 'dog, cat')}, None, 'xmp'),
    (
        'the same, said',
        {'a.xmp': XMP.replace('dog', 'dog, cat')},
        DOG | {('a.png', 'cat'): 1},
        'xmp',
        dict(separator=','),
    ),
    (
        'Label Studio JSON, rejected by a reviewer',
        json_of([task('a.png', choices=['dog'])]).replace('"result"', '"last_action": "rejected", "result"'),
        None,
        't.json',
    ),
    (
        'Label Studio JSON, a question called absent',
        json_of([task('a.png', choices=['dog'])]).replace('"value"', '"from_name": "absent", "value"'),
        None,
        't.json',
    ),
    (
        'Label Studio JSON, answers of two people',
        json_of([dict(data=dict(image='a.png'), annotations=2 * task('a.png', choices=['dog'])['annotations'])]),
        DOG,
        't.json',
    ),
    *(
        (
            f'JSON with label and {name} {value}',
            json_of([{'image': 'a.png', 'label': 'dog', name: value}]),
            meant,
            't.json',
        )
        for name, value, meant in (
            ('value', 0, None),
            ('value', 1, DOG),
            ('present', False, None),
            ('score', 0.2, None),
            ('verified', False, None),
            ('absent', ['cat'], None),
            ('count', 0, None),
            ('skip', True, None),
            ('remark', 'not present', None),
            ('remark', 'nice', DOG),
        )
    ),
    (
        'JSON with labels and scores',
        json_of([dict(image='a.png', labels=['dog', 'cat'], scores=[0.9, 0.1])]),
        None,
        't.json',
    ),
    ('JSON about two pictures', json_of([dict(before='a.png', after='b.png', label='dog')]), None, 't.json'),
)

TRIPLE = (('a.png', 1, 0), ('b.png', 0, 1), ('sub/c.jpg', None, 1))  # the wide table, as values
RECORDS = [dict(image=name, dog=dog, cat=cat) for name, dog, cat in TRIPLE]
TICKED = 'image,dog,cat\na.png,dog,\nb.png,,cat\nsub/c.jpg,,cat\n'
AUTOML = 'TRAIN,gs://x/a.png,dog,cat\nTEST,gs://x/b.png,cat\n'
ZOONIVERSE = 'classification_id,user_name,metadata,annotations,subject_data\n1,ann,{},"[{""task"": ""T0""}]",{}\n'


def below(line):
    "The wide table with one more line at its end."
    return WIDE + line + '\n'


def second(line):
    "The wide table with one more line below its header."
    return WIDE.replace('a.png', line + '\na.png', 1)


def link_pictures(made):
    for row in range(2, 5):
        made.active.cell(row, 1).hyperlink, made.active.cell(row, 1).value = ROWS[row - 1][0], 'view'


def percent(made):
    for row in made.active.iter_rows(min_row=2, min_col=2):
        for cell in row:
            cell.number_format = '0%'


forms(
    'lines that are not about a picture',
    *(
        (f'a last line {name.split(",")[0] or "without a word"} that adds up', below(name), None)
        for name in ('Σ,3,2', 'TOTAL (3),4,2', 'N=3,2,4', 'Gesamtsumme,2,3', 'Итог,2,4', 'Sum of labels,2,3')
    ),
    ('a total below the header', second('Sum of labels,5,7'), None),
    ('a line of types', second('string,bool,bool'), None),
    ('a line of units', second(',(0/1),(0/1)'), None),
    ('a line of questions of a form', second('image,What do you see? - dog,What do you see? - cat'), None),
    ('a footnote', below('* 1 = seen,,'), None),
    ('a source', below('Source: our survey'), None),
    ('(3 rows affected)', below('(3 rows affected)'), None),
    ('(3 rows), as psql ends', WIDE.replace(',', ' | ') + '(3 rows)\n', None),
    ('lines of a terminal, mysql', '+---+---+\n| image | dog |\n+---+---+\n| a.png | 1 |\n+---+---+\n', DOG, 't.txt'),
    ('lines of a terminal, psql', ' image | dog \n-------+-----\n a.png | t\n', DOG, 't.txt'),
    ('a legend below the table that says it the other way', below('1 = absent,,'), None),
    ('a legend beside the table that says it the other way', beside('legend', '1 = absent', '0 = present', ''), None),
    ('the same, and it holds', beside('legend', '1 = present', '0 = absent', ''), MEANT, dict(ignore='legend')),
    ('a line with another sign between cells', WIDE.replace('b.png,0,1', 'b.png;0;1'), None),
)
forms(
    'bytes and quotation marks',
    ('UTF-32', WIDE.encode('utf-32'), MEANT),
    ('the sign with which DOS ends a file', WIDE.encode() + b'\x1a', MEANT),
    ('zeros of a disk behind the text', WIDE.encode() + bytes(3), MEANT),
    (
        'a space before each quoted cell',
        ''.join(', '.join(f'"{c}"' for c in line.split(',')) + '\n' for line in WIDE.split()),
        MEANT,
    ),
    ('the same, only in the header', WIDE.replace('image,dog,cat', 'image, "dog", "cat"'), MEANT),
    (
        'the same, a comma inside',
        WIDE.replace(',cat', ', "cat, big"'),
        {(i, c.replace('cat', 'cat, big')): v for (i, c), v in MEANT.items()},
    ),
    ('single quotation marks around cells', re.sub(r'([^,\n]+)', r"'\1'", WIDE), None),
    ('curly quotation marks around cells', re.sub(r'([^,\n]+)', r'“\1”', WIDE), None),
    ('a quotation mark after a backslash', WIDE.replace('dog', '"the \\"dog\\""'), None),
    ('\x01 between cells, as Hive writes', WIDE.replace(',', '\x01'), None),
    ('^ between cells', WIDE.replace(',', '^'), None),
    ('a web page called .csv', '<html><table><tr><td>image</td></tr></table></html>', None),
    ('a text of a word processor', '{\\rtf1 image,dog}', None),
    ('a workbook with a password', b'\xd0\xcf\x11\xe0' + bytes(64), None, 't.xlsx'),
)
forms(
    'pictures named by links',
    *(
        (
            f'{name} in the column of pictures',
            names(*(f'"{form.format(n)}"' for n in ('a.png', 'b.png', 'sub/c.jpg'))),
            MEANT,
        )
        for name, form in (
            ('=HYPERLINK with a text', '=HYPERLINK(""https://x.org/{0}"",""{0}"")'),
            ('=HYPERLINK with semicolons', '=HYPERLINK(""C:\\photos\\{0}"";""{0}"")'),
            ('=HYPERLINK that says open', '=HYPERLINK(""https://x.org/{0}"",""open"")'),
            ('=HYPERLINK without a text', '=HYPERLINK(""https://x.org/{0}"")'),
            ('=IMAGE', '=IMAGE(""https://x.org/{0}"")'),
            ('a link of HTML', '<a href=""https://x.org/{0}"">{0}</a>'),
            ('a picture of HTML', '<img src=""https://x.org/{0}"">'),
        )
    ),
    ('a label that is a link', LONG.replace('dog', '"=HYPERLINK(""https://x.org/dog.jpg"",""dog"")"'), PLUS),
    ('.xlsx, links that say view', lambda: book(*ROWS, change=link_pictures), MEANT, 't.xlsx'),
    ('names that were cut off', names('IMG_20…', 'IMG_20…', 'sub/c.jpg'), None),
    ('links that all say Foto 1', names('Foto 1', 'Foto 1', 'Foto 1'), None),
)
forms(
    'tables in JSON',
    ('records', json_of(RECORDS), MEANT, 't.json'),
    (
        'records with true and false',
        json_of([{k: bool(v) if v in (0, 1) else v for k, v in r.items()} for r in RECORDS]),
        MEANT,
        't.json',
    ),
    ('a record a line', '\n'.join(map(json_of, RECORDS)), MEANT, 't.jsonl'),
    ('from pictures to labels', json_of({'a.png': ['dog'], 'b.png': ['cat'], 'sub/c.jpg': ['cat']}), PLUS, 't.json'),
    ('from pictures to 1 and 0', json_of({name: dict(dog=dog, cat=cat) for name, dog, cat in TRIPLE}), MEANT, 't.json'),
    ('columns and data', json_of(dict(columns=['image', 'dog', 'cat'], index=[0, 1, 2], data=TRIPLE)), MEANT, 't.json'),
    ('columns', json_of({key: {str(k): r[key] for k, r in enumerate(RECORDS)} for key in RECORDS[0]}), MEANT, 't.json'),
    ('columns as lists', json_of({key: [r[key] for r in RECORDS] for key in RECORDS[0]}), MEANT, 't.json'),
    ('columns of which one is shorter', json_of(dict(image=['a.png', 'b.png'], dog=[1])), None, 't.json'),
    ('rows of which one is shorter', json_of(dict(columns=['image', 'dog'], data=[['a.png']])), None, 't.json'),
    ('records with the names of labels', json_of([dict(photo='a.png', seen='dog')]), None, 't.json'),
    ('records of a model', json_of([dict(image='a.png', predictions=[dict(label='dog', score=0.9)])]), None, 't.json'),
    ('classes and pictures', json_of(dict(classes=['dog'], images=['a.png', 'b.png'])), None, 't.json'),
)
forms(
    'forms and surveys',
    ('what was ticked stands in its column', TICKED, PLUS),
    (
        'the same, with a number and a time',
        beside('Submitted At', *['2024-05-01 10:00'] * 3)
        .replace(',0', ',')
        .replace('.png,1,', '.png,dog,')
        .replace('1,2', 'cat,2'),
        PLUS,
        dict(ignore='Submitted At'),
    ),
    (
        'the answer stands below the question',
        'ID,image,What do you see?,\n,Open-Ended Response,dog,cat\n7,a.png,dog,\n',
        None,
    ),
    (
        'KoboToolbox, tags and columns',
        'start,photo,animals,animals/dog,animals/cat\n2024-05-01T10:00,a.png,dog,1,0\n2024-05-02T10:00,b.png,cat,0,1\n',
        None,
    ),
    (
        'the same, said',
        'start,photo,animals,animals/dog,animals/cat\n2024-05-01T10:00,a.png,dog,1,0\n2024-05-02T10:00,b.png,cat,0,1\n',
        {
            ('a.png', 'animals/dog'): 1,
            ('a.png', 'animals/cat'): 0,
            ('b.png', 'animals/dog'): 0,
            ('b.png', 'animals/cat'): 1,
        },
        dict(ignore='start|animals'),
    ),
    (
        'Google Forms, two people',
        'Timestamp,Email Address,Photo,dog\n5/1/2024,ann@x.org,a.png,Yes\n5/1/2024,bob@x.org,a.png,Yes\n',
        None,
    ),
    (
        'the same, said',
        'Timestamp,Email Address,Photo,dog\n5/1/2024,ann@x.org,a.png,Yes\n5/1/2024,bob@x.org,a.png,Yes\n',
        DOG,
        dict(annotator='Email Address'),
    ),
    ('a picture twice, and --format long', WIDE + 'a.png,1,1\n', None, dict(format='long')),
    ('a wide table, and --format list', WIDE, None, dict(format='list')),
    (
        'Microsoft Forms',
        'Id,Start time,Email,Which picture?,What do you see?\n1,5/1/24 10:00,anonymous,a.png,dog;cat;\n2,5/1/24 10:00,anonymous,b.png,cat;\n',
        None,
    ),
    (
        'the same, said',
        'Id,Start time,Email,Which picture?,What do you see?\n1,5/1/24 10:00,anonymous,a.png,dog;cat;\n2,5/1/24 10:00,anonymous,b.png,cat;\n',
        LISTED,
        dict(format='list', ignore='Email'),
    ),
    ('REDCap', words('Checked', 'Unchecked'), MEANT),
    ('a table filled with U for unknown', words('y', 'n', 'U'), None),
    (
        'P and A in a column where the others say ?, too',
        words('P', 'A', '?').replace('sub/c.jpg,?,P', 'sub/c.jpg,?,A'),
        None,
    ),
)
forms(
    'numbers and words of programs',
    ('.00 and 1.00, as SPSS writes', words('1.00', '.00'), MEANT),
    (',00 and 1,00 with semicolons', WIDE.replace(',', ';').replace('0', ',00').replace('1', '1,00'), MEANT),
    ('1.000e+00, as numpy writes', words('1.000000000000000000e+00', '0.000000000000000000e+00', 'nan'), MEANT),
    ('1 and 0 shown in percent', lambda: book(*ROWS, change=percent), MEANT, 't.xlsx'),
    ('0.93 shown as 93 %', lambda: book(ROWS[0], ['a.png', 0.93, 0.07], change=percent), None, 't.xlsx'),
    *((f'{null} for unknown', words('1', '0', null), MEANT) for null in ('\\N', '(null)', '[NULL]', '<null>', 'nil')),
    ('#REF! in a cell', words('1', '0', '#REF!'), None),
    ("b'1', as MySQL writes", words("b'1'", "b'0'", 'NULL'), None),
    ('1L and 0L, as R writes', words('1L', '0L', 'NA'), None),
    ('3/3 votes', words('3/3', '0/3', '1/3'), None),
    ('[x] and [ ]', words('[x]', '[ ]'), None),
    ('√ and blank', words('√', ''), PLUS),
    ('√ and ×', words('√', '×'), None),
    (
        'arrays of Postgres',
        LISTS.replace('dog;cat', '"{dog,""cat""}"').replace('g,cat\n', 'g,{cat}\n') + 'sub/c.jpg,{}\n',
        LISTED,
    ),
    ('an object of JSON in a cell', LISTS.replace('dog;cat', '"{""dog"": 1, ""cat"": 0}"'), None),
    *(
        (f'{p} / {n}: {name}', words(p, n), MEANT)
        for p, n, name in (
            ('bai', 'ez', 'Basque'),
            ('بله', 'خیر', 'Persian'),
            ('ہاں', 'نہیں', 'Urdu'),
            ('হ্যাঁ', 'না', 'Bengali'),
            ('ஆம்', 'இல்லை', 'Tamil'),
            ('კი', 'არა', 'Georgian'),
            ('այո', 'ոչ', 'Armenian'),
            ('ndiyo', 'hapana', 'Swahili'),
            ('对', '错', 'Chinese'),
            ('тийм', 'үгүй', 'Mongolian'),
            ('ใช่', 'ไม่ใช่', 'Thai'),
            ('já', 'nei', 'Icelandic'),
            ('ІСТИНА', 'ХИБНІСТЬ', 'Ukrainian Excel'),
            ('ВЯРНО', 'НЕВЯРНО', 'Bulgarian Excel'),
        )
    ),
    ('ydy / na: Welsh, where na is no', words('ydy', 'na'), None),
    ('O / X: Korean', words('O', 'X'), None),
)
forms(
    'columns of models and of work',
    ('gt_ and pred_', 'image,gt_dog,gt_cat,pred_dog,pred_cat\na.png,1,0,0,0\n', None),
    ('dog_true and dog_pred', 'image,dog_true,dog_pred,cat_true,cat_pred\na.png,1,1,0,0\n', None),
    ('rater1_dog and rater2_dog', 'image,rater1_dog,rater2_dog,rater1_cat,rater2_cat\na.png,1,1,0,0\n', None),
    ('dog_pred beside dog', beside('dog_pred', 1, 1, 0), MEANT),
    ('label_1 and score_1', 'image,label_1,score_1,label_2,score_2\na.png,dog,0.9,cat,0.1\n', None),
    (
        'the same, ignored',
        'image,label_1,score_1,label_2,score_2\na.png,dog,0.9,cat,0.1\n',
        {('a.png', 'dog'): 1, ('a.png', 'cat'): 1},
        dict(ignore='score_1|score_2'),
    ),
    *(
        (f'a column {name} beside labels', verdicts(name, 0.9, 0.1, 0.8), None)
        for name in ('label_score', 'model_confidence', 'max_conf')
    ),
    ('lists, and a column of lists of scores', 'image,labels,scores\na.png,dog;cat,0.9;0.2\nb.png,cat,0.8\n', None),
    ('a column status that says todo', verdicts('status', 'done', 'todo', 'done'), None),
    (
        'a column AssignmentStatus that says Rejected',
        verdicts('AssignmentStatus', 'Approved', 'Rejected', 'Approved'),
        None,
    ),
    ('a wide table, status rejected', beside('status', 'approved', 'rejected', 'approved'), None),
    ('the same, ignored', beside('status', 'approved', 'rejected', 'approved'), MEANT, dict(ignore='status')),
    ('a wide table, status approved', beside('status', 'approved', 'approved', 'approved'), MEANT),
    ('a column Unlabeled', 'filename,dog,cat,Unlabeled\na.png,1,0,0\nb.png,0,0,1\n', None),
    (
        'the same: it is a category',
        'filename,dog,Unlabeled\na.png,1,0\nb.png,0,1\n',
        {('a.png', 'dog'): 1, ('b.png', 'dog'): 0, ('a.png', 'Unlabeled'): 0, ('b.png', 'Unlabeled'): 1},
        dict(present='unlabeled'),
    ),
    ('columns no_dog and no_cat', WIDE.replace('dog', 'no_dog').replace('cat', 'no_cat'), None),
    ('columns dog_absent and cat_absent', WIDE.replace('dog', 'dog_absent').replace('cat', 'cat_absent'), None),
    (
        'a column no vest beside a column helmet',
        WIDE.replace('dog', 'helmet').replace('cat', 'no vest'),
        {(i, {'dog': 'helmet', 'cat': 'no vest'}[c]): v for (i, c), v in MEANT.items()},
    ),
    ('labels no dog and no cat', LONG.replace('dog', 'no dog').replace('cat', 'no cat'), None),
    (
        'columns yes and no with names of categories',
        'image,yes,no\na.png,dog,cat\nb.png,cat,dog\n',
        None,
        dict(format='list', ignore='yes'),
    ),
    ('a column exists with 1 and 0', VALUES.replace('value', 'exists'), None),
    ('the same, and --format list', VALUES.replace('value', 'exists'), None, dict(format='list')),
    ('Label and Keywords, as of Bridge', 'Name\tKeywords\tLabel\na.png\tdog; cat\tGreen\n', None, 't.txt'),
)
forms(
    'labels with more in them',
    ('dog x2', LISTS.replace('dog;cat', 'dog x2;cat x1').replace('png,cat\n', 'png,cat x1\n'), None),
    ('2x dog', LISTS.replace('dog;cat', '2x dog;1x cat').replace('png,cat\n', 'png,1x cat\n'), None),
    ('2 dogs; 1 cat', LISTS.replace('dog;cat', '2 dogs;1 cat').replace('png,cat\n', 'png,1 cat\n'), None),
    (
        '2 wheeler and 4 wheeler',
        LISTS.replace('dog', '2 wheeler').replace('cat', '4 wheeler'),
        {(i, {'dog': '2 wheeler', 'cat': '4 wheeler'}[c]): v for (i, c), v in LISTED.items()},
    ),
    ('dog 0.93', LISTS.replace('dog;cat', 'dog 0.93;cat 0.12').replace('png,cat\n', 'png,cat 0.5\n'), None),
    ('dog(0.93)', LISTS.replace('dog;cat', 'dog(0.93)').replace('png,cat\n', 'png,cat(0.5)\n'), None),
    ('dog 93%', LISTS.replace('dog;cat', 'dog 93%').replace('png,cat\n', 'png,cat 50%\n'), None),
    (
        'the same, which are names',
        'image,label\na.png,milk 3.5%\nb.png,milk 1.5%\n',
        {('a.png', 'milk 3.5%'): 1, ('b.png', 'milk 1.5%'): 1},
        dict(present='milk 3.5%|milk 1.5%'),
    ),
    ("'dog';'cat'", LISTS.replace('dog;cat', "'dog';'cat'").replace('png,cat\n', "png,'cat'\n"), None),
    ('dog/cat and cat', LISTS.replace('dog;cat', 'dog/cat'), None),
    ('the same, said', LISTS.replace('dog;cat', 'dog/cat'), LISTED, dict(separator='/')),
    ('dog<br>cat', LISTS.replace('dog;cat', 'dog<br>cat'), None),
    ('the same, said', LISTS.replace('dog;cat', 'dog<br>cat'), LISTED, dict(separator='<br>')),
    (
        'Animals/dog and Animals/cat',
        LISTS.replace('dog', 'Animals/dog').replace('cat', 'Animals/cat'),
        {(i, 'Animals/' + c): v for (i, c), v in LISTED.items()},
    ),
    (
        'dog+ and cat-',
        LISTS.replace('dog;cat', 'dog+ cat-').replace('png,cat\n', 'png,cat+ dog-\n'),
        None,
        dict(separator=' '),
    ),
    *(
        (f'{name} for a picture without labels', LISTS + f'sub/c.jpg,{name}\n', None)
        for name in ('background', 'negative', 'TODO', 'skipped', 'not labelled yet', 'pending')
    ),
    ('HÃ¶hle, read in another encoding', WIDE.replace('dog', 'HÃ¶hle'), None),
    ('the same among labels', LONG.replace('dog', 'HÃ¶hle'), None),
    ('H\ufffdhle and H?hle, which lost a letter', WIDE.replace('dog', 'H\ufffdhle').replace('cat', 'H?hle'), None),
    ('cars &amp; trucks', LISTS.replace('cat', 'cars &amp; trucks'), None),
    ('#NAME? as a category', WIDE.replace('dog', '#NAME?'), None),
    ('1.00E+05 as a category', WIDE.replace('dog', '1.00E+05'), None),
    ('a path whose folder is the category', 'path\ndog/a.png\ncat/b.png\n', None),
)
forms(
    'exports without names of columns, and with JSON in cells',
    ('Google AutoML, several labels', 'gs://x/a.png,dog,cat\ngs://x/b.png,cat,dog\n', None),
    ('Google AutoML, lines of different lengths', AUTOML, None),
    ('the same with a header', 'split,image,label_1,label_2\n' + AUTOML.replace('b.png,cat', 'b.png,cat,'), LISTED),
    ('Make Sense, a line per box', 'dog,10,10,20,20,a.png,640,480\ncat,10,10,20,20,b.png,640,480\n', None),
    ('Zooniverse, classifications', ZOONIVERSE, None),
    (
        'MegaDetector CSV, a line per box',
        'file,category,conf,x,y\na.png,dog,0.9,0.1,0.1\nb.png,cat,0.2,0.1,0.1\n',
        None,
    ),
    (
        'the same, border said',
        'file,category,conf,x,y\na.png,dog,0.9,0.1,0.1\nb.png,cat,0.2,0.1,0.1\n',
        DOG,
        dict(confidence=0.5),
    ),
    ('Labelbox CSV', 'ID,External ID,Labeled Data,Label\n1,a.png,https://x.org,"{""classifications"": []}"\n', None),
    (
        'VIA, names of files with attributes',
        'filename,file_attributes,region_shape_attributes,region_attributes\na.png,"{""dog"": true}",{},{}\n',
        None,
    ),
    (
        'Appen, a line per picture',
        '_unit_id,animals,animals:confidence,image_url\n1,dog,0.9,https://x.org/a.png\n',
        None,
    ),
    ('Toloka', 'INPUT:image\tOUTPUT:result\tASSIGNMENT:worker_id\nhttps://x.org/a.png\tdog\tw1\n', None, 't.tsv'),
    ('Wikidata-like identifiers', 'image,LabelName,Confidence\na.png,/m/0bt9lr,1\n', {('a.png', '/m/0bt9lr'): 1}),
)
forms(
    'many classes, and one',
    (
        '200 classes',
        'image,' + ','.join(f'class {k}' for k in range(200)) + '\na.png' + ',1,0' * 100 + '\n',
        {('a.png', f'class {k}'): 1 - k % 2 for k in range(200)},
    ),
    (
        'classes called 1 to 200',
        'image,' + ','.join(map(str, range(1, 201))) + '\na.png' + ',1,0' * 100 + '\n',
        {('a.png', str(k)): k % 2 for k in range(1, 201)},
    ),
    (
        'classes called as years',
        WIDE.replace('dog', '2019').replace('cat', '2020'),
        {(i, {'dog': '2019', 'cat': '2020'}[c]): v for (i, c), v in MEANT.items()},
    ),
    ('one class, is_dog', 'id,is_dog\na.png,1\nb.png,0\n', {('a.png', 'is_dog'): 1, ('b.png', 'is_dog'): 0}),
    ('one class, x', 'image,dog\na.png,x\nb.png,\n', DOG),
)


def write(form, folder):
    "The file or folder of a form."
    path, content = folder / form.file, form.content() if callable(form.content) else form.content
    for part, text in content.items() if isinstance(content, dict) else ():
        (path / part).parent.mkdir(parents=True, exist_ok=True)
        (path / part).write_text(text, encoding='utf-8')
    if not isinstance(content, dict):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def numbered(found):
    "Names for tests, each once."
    seen = []
    for form in found:
        seen.append(f'{form.group}: {form.name}')
        yield f'{seen[-1]} ({seen.count(seen[-1])})'


@pytest.mark.parametrize('form', FORMS, ids=numbered(FORMS))
def test_form(form, album, record_property, request):
    path = write(form, album)
    try:
        found = read_labels(path, album, add_images=False, reading=Reading(**form.said))
    except DataError as error:
        labels, said = None, str(error).replace(f'{album}/', '').replace(str(album), 'photos')
    else:
        data, said = found.dataset, '; '.join(found.notes).replace(f'{album}/', '')
        known = np.argwhere(data.targets != UNKNOWN)
        labels = {(data.image_ids[i], data.class_names[c]): int(data.targets[i, c]) for i, c in known}
    assert labels == form.meant, said
    assert len(said) > 10
    options = ' '.join(f'--{name} {value!r}' for name, value in form.said.items())
    line = dict(
        group=form.group,
        form=form.name + (f' ({options})' if options else ''),
        happens='asked' if labels is None else 'read',
        said=said,
        outcome='passed',
    )
    record_property('form', line)
    if not request.config.getoption('--forms'):
        noted = json.loads(NOTES.read_text(encoding='utf-8'))
        assert line in noted, 'run: python -m pytest tests/data/test_forms.py --forms=nbs/library/data/forms.json'


def test_the_notebook_shows_all_forms_and_no_others():
    noted = json.loads(NOTES.read_text(encoding='utf-8'))
    assert len(noted) == len(FORMS) >= 80 and len({(f['group'], f['form']) for f in noted}) == len(noted)


@pytest.mark.parametrize('name', ['a', 'sub/c.jpg', 'C:\\x\\b.png'])
def test_a_form_of_thousands_of_lines_is_read_in_seconds(album, name):
    "Ten thousand lines of three people; names that match no picture are found out in time, too."
    people = [f'{"a.png" if k else name},p{k},1\n' for k in range(10_000)]
    (album / 't.csv').write_text('image,annotator,dog\n' + ''.join(people))
    sheet = read_labels(album / 't.csv', album, add_images=False)
    assert len(sheet.annotators) == 10_000 and sheet.dataset.targets.max() == 1
    (album / 't.csv').write_text('image,dog\n' + ''.join(f'no{k}.png,1\n' for k in range(10_000)))
    with pytest.raises(DataError, match='10000 of 10000 images cannot be used'):
        read_labels(album / 't.csv', album, add_images=False)


def test_a_number_that_lost_its_zeros_finds_its_picture_or_is_asked_about(album):
    for name in ('007.png', 'sub/0012.jpg'):
        (album / 'a.png').rename(album / name) if name == '007.png' else (album / 'b.png').rename(album / name)
    (album / 't.csv').write_text('image,dog\n7,1\n12,0\n')
    found = read_labels(album / 't.csv', album, add_images=False)
    assert found.dataset.image_ids == ['007.png', 'sub/0012.jpg']
    assert '2 of 2 names of pictures match without zeros in front of a number' in found.notes
    (album / '07.png').write_bytes((album / '007.png').read_bytes())
    with pytest.raises(DataError, match="'7' can be '007.png' or '07.png'"):
        read_labels(album / 't.csv', album, add_images=False)


def test_zeros_that_a_workbook_shows_belong_to_the_name(album):
    for name in ('7.png', '007.png'):
        Image.new('RGB', (8, 8)).save(album / name)
    (album / 't.xlsx').write_bytes(book(['image', 'dog'], [7, 1], change=three_digits))
    assert read_labels(album / 't.xlsx', album, add_images=False).dataset.image_ids == ['007.png']
