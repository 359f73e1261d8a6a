"From a file to rows: whatever a spreadsheet writes comes back cell by cell, with its line; a digest says what was changed."

import csv
import io

import numpy as np
import pytest

from trmml_nb.data.cells import TableError
from trmml_nb.data.grids import Grid, as_written, read_grid, written_digest

CELLS = ['1', '', 'no', 'two words', 'a, b', 'c;d', 'e|f', 'say "x"', 'line\nbreak', 'Käfer', '猫', '007', '0,93']


def table(seed):
    "A header and six lines of cells that need quotation marks, now and then."
    rng = np.random.default_rng(seed)
    return [['image', 'dog', 'cat'], *([f'{k}.png', *rng.choice(CELLS, 2)] for k in range(6))]


def written(lines, delimiter):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator='\r\n').writerows(lines)
    return text.getvalue()


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le'])
@pytest.mark.parametrize('delimiter', [',', ';', '\t', '|'])
def test_what_a_spreadsheet_writes_comes_back_cell_by_cell(tmp_path, delimiter, encoding):
    for seed in range(5):
        lines = table(seed)
        (tmp_path / 't.csv').write_bytes(written(lines, delimiter).encode(encoding))
        grid = read_grid(tmp_path / 't.csv')
        assert [grid.header, *(cells for _, cells in grid.rows)] == lines
        assert grid.column(0) == [line[0] for line in lines[1:]] and grid.said(0).total() == 6


def test_a_workbook_and_a_text_table_are_one_grid(tmp_path):
    openpyxl = pytest.importorskip('openpyxl')
    lines, book = table(7), openpyxl.Workbook()
    for line in lines:
        book.active.append(line)
    book.save(tmp_path / 't.xlsx')
    (tmp_path / 't.csv').write_text(written(lines, ','), encoding='utf-8', newline='')
    one, other = read_grid(tmp_path / 't.xlsx'), read_grid(tmp_path / 't.csv')
    assert one.header == other.header and [c for _, c in one.rows] == [c for _, c in other.rows] == lines[1:]


def test_a_place_is_the_line_in_the_file(tmp_path):
    (tmp_path / 't.csv').write_text('# mine\nMy summer,\n\nimage,dog\na.png,"1\n"\n\nb.png,0\n')
    grid = read_grid(tmp_path / 't.csv')
    assert grid.where.endswith('line 4') and [where.rpartition(' ')[2] for where, _ in grid.rows] == ['5', '8']
    (tmp_path / 't.csv').write_text('image,dog\na.png,1\nb.png\n')
    with pytest.raises(TableError, match=r't\.csv, line 3: 1 cell, expected 2'):
        read_grid(tmp_path / 't.csv')


def test_a_digest_notices_what_nobody_should_change():
    header = ['image', 'dog', 'dog (source)', 'dog (probability)']
    rows = [
        ['a.png', '1', 'given 1', '0.93'],
        ['b.png', '0', 'proposed 0', '0.08'],
        ['c.png', '', 'proposed 1', '0.71'],
    ]
    digest = written_digest(header, rows)

    def whole(rows, order=(0, 1, 2, 3)):
        turned = [[row[c] for c in order] + [''] for row in rows]
        return as_written(Grid('', [header[c] for c in order] + [digest], [('', row) for row in turned]))

    assert whole(rows) and whole(rows[::-1]) and whole(rows, (2, 0, 3, 1)) and whole(rows, (3, 2, 1, 0))
    for r in range(3):
        for c, changed in enumerate(('d.png', '0' if r else '', 'proposed 9', '0.5')):
            other = [list(row) for row in rows]
            other[r][c] = changed
            assert whole(other) == (c == 1), other[r]
    assert not whole(rows[:2]) and not whole([*rows, rows[0]])
