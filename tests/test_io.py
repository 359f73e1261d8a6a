"Files: whole or not at all, in UTF-8; JSON read strictly; tables that nothing runs from; locks that leave nothing."

import csv
import io
import subprocess
import sys

import pytest
from filelock import Timeout
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from trmml_nb.errors import RunError
from trmml_nb.io import (
    progress_bar,
    SEAL,
    alone,
    check_fields,
    clear_parts,
    csv_bytes,
    guarded,
    parse_json,
    part_of,
    read_json,
    sealed_csv,
    unguarded,
    unsealed,
    write_json,
)

RUNS_IN_A_SPREADSHEET = ('=', '+', '-', '@', '\t', '\r', '\n')
words = st.text(
    st.one_of(st.sampled_from('=+-@\t\r\n\'./1 "a,;'), st.characters(exclude_categories=['Cs'])), max_size=8
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(word=words)
def test_every_word_survives_a_table_and_none_is_run(word):
    cell = guarded(word)
    assert unguarded(cell) == word or word.startswith('./')  # a path says the same without it
    if cell.startswith(RUNS_IN_A_SPREADSHEET):
        float(cell)  # a number is only a number
    rows = list(csv.reader(io.StringIO(csv_bytes(['n'], [[word]]).decode(), newline='')))
    assert rows == [['n'], [cell]] or (word == '' and rows == [['n'], []]) or (rows == [['n'], ['']] and word == '')


@settings(max_examples=200, deadline=None, derandomize=True)
@given(word=words)
def test_a_guarded_path_is_the_same_path(word):
    cell = guarded(word, path=True)
    assert cell in (word, './' + word, "'" + word)
    assert unguarded(cell) in (word, word.removeprefix('./'))


@pytest.mark.parametrize('bad', [float('nan'), float('inf'), -float('inf')])
def test_no_table_holds_what_is_no_number(bad):
    with pytest.raises(ValueError, match='which is no number'):
        csv_bytes(['image', 'cat'], [['a.png', bad]])


class Form(BaseModel):
    count: int
    names: list[str]


@pytest.mark.parametrize(
    'text, said',
    [
        (b'{"count": 1, "count": 2, "names": []}', "'count' stands twice"),
        (b'{"count": NaN, "names": []}', 'NaN is no number'),
        (b'{"count": Infinity, "names": []}', 'Infinity is no number'),
        (b'{"count": "many", "names": []}', "field 'count'"),
        (b'{"count": 1, "names": ["a", 2]}', "field 'names.1'"),
        (b'{"count": 1}', "field 'names': field required"),
        (b'{"count": ' + b'9' * 5000 + b', "names": []}', 'readable'),
        (b'[' * 100_000, 'deeper than any sensible file'),
        (b'[1]', 'expected a JSON object'),
        (b'\xff\xfe', 'readable'),
        (b'', 'readable'),
    ],
)
def test_json_is_read_strictly_with_the_field_and_the_file(tmp_path, text, said):
    (tmp_path / 'a.json').write_bytes(text)
    with pytest.raises(RunError, match=f'a.json: .*{said}'):
        read_json(tmp_path / 'a.json', form=Form)
    with pytest.raises(RunError, match='b.json: not a readable file'):
        read_json(tmp_path / 'b.json')


def test_json_of_another_encoding_is_written_and_read_in_utf8(tmp_path):
    "In a process whose own code is ASCII."
    code = (
        'import sys; from pathlib import Path; from trmml_nb.io import read_json, write_json; p = Path(sys.argv[1]);'
        "write_json(p, dict(name='\\u00e4gyptische Katze \\u732b')); assert read_json(p)['name'][0] == '\\u00e4'"
    )
    done = subprocess.run(
        [sys.executable, '-c', code, tmp_path / 'a.json'],
        env={
            'LC_ALL': 'C',
            'PYTHONUTF8': '0',
            'PYTHONCOERCECLOCALE': '0',
            'PYTHONPATH': ':'.join(sys.path),
            'PATH': '/usr/bin',
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'a.json').read_bytes() == '{\n "name": "ägyptische Katze 猫"\n}\n'.encode()


def test_what_fits_is_accepted():
    check_fields(dict(count=1, names=['a'], more=None), Form)
    assert parse_json(b'\xef\xbb\xbf{"a": [1.5, null, true]}') == {'a': [1.5, None, True]}


def test_a_lock_is_held_by_one_and_leaves_nothing(tmp_path):
    lock = tmp_path / '.a.lock'
    code = (
        f'import time; from trmml_nb.io import alone\nwith alone({str(lock)!r}): print(1, flush=True); time.sleep(60)'
    )
    other = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b'1\n'
        with pytest.raises(Timeout):
            with alone(lock, wait=0.1):
                pass
    finally:
        other.kill(), other.wait()
    with alone(lock):
        write_json(tmp_path / 'a.json', {})
    assert [p.name for p in tmp_path.iterdir()] == ['a.json']


def test_every_text_file_of_the_library_names_its_encoding():
    "Calls of open, read_text and write_text, by their syntax: what the linter cannot see for lack of types too."
    import ast
    from pathlib import Path

    import trmml_nb

    bare = []
    for path in Path(trmml_nb.__file__).parent.rglob('*.py'):
        for call in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if not isinstance(call, ast.Call):
                continue
            name = getattr(call.func, 'attr', getattr(call.func, 'id', ''))
            words = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            named = any(k.arg == 'encoding' for k in call.keywords) or 'utf-8' in words
            binary = any('b' in w for w in words if len(w) <= 3)
            opens = isinstance(call.func, ast.Name) and name == 'open' and len(call.args) > 0
            opaque = opens and len(call.args) > 1 and not isinstance(call.args[1], ast.Constant)
            if (name in ('read_text', 'write_text') or opens and not binary and not opaque) and not named:
                bare.append(f'{path.name}:{call.lineno}')
    assert not bare, bare


def test_a_table_that_was_cut_or_changed_is_refused_or_says_the_same():
    "Every cut, every bit; a table that was never sealed is read, one whose seal was taken out is meant."
    rows = [['a,b', '=x', 100.0], ["it's", './y', 0.5]]
    data = sealed_csv(['name', '-word', 'mAP'], rows)
    whole = unsealed(data)
    assert whole == [['name', '-word', 'mAP'], ['a,b', '=x', '100.0'], ["it's", './y', '0.5']]
    damaged = [data[:k] for k in range(len(data))]
    damaged += [data[:k] + bytes([data[k] ^ 1 << bit]) + data[k + 1 :] for k in range(len(data)) for bit in range(8)]
    read = 0
    for one in damaged:
        try:
            assert unsealed(one) == whole
            read += 1
        except ValueError as error:
            assert str(error)
    assert read <= 2  # the end of the last line says nothing
    assert unsealed(csv_bytes(['name', '-word', 'mAP'], rows)) == whole
    mended = data.replace(b'100.0', b'99.0')
    with pytest.raises(ValueError, match=f'{SEAL} differs.*take out the last column'):
        unsealed(mended)
    with pytest.raises(ValueError, match='holds no row'):
        unsealed(b'\n\n')
    without = b'\n'.join(line.rpartition(b',')[0] for line in mended.splitlines())
    assert unsealed(without)[1][2] == '99.0'


@pytest.mark.fault('overwriting', 'files of yours that are called nearly like parts of killed writers', 'they stay')
def test_only_parts_of_killed_writers_are_cleared(tmp_path):
    path = tmp_path / 'a[1].json'
    ours, older = part_of(path), path.with_name(f'.{path.name}.host.name.77.part')
    theirs = [path.with_name(f'.{path.name}.mine.part'), path.with_name(f'.{path.name}.h.1.0123abcd.part.txt'), path]
    folder, link = part_of(path), part_of(path)
    for file in (ours, older, *theirs):
        file.touch()
    folder.mkdir(), link.symlink_to(theirs[0])
    clear_parts(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in (*theirs, folder, link))


def test_a_bar_in_a_pipe_is_lines_and_in_a_terminal_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, lines in ((io.StringIO(), True), (Terminal(), False)):
        monkeypatch.setattr('sys.stderr', stream)
        with progress_bar(total=40, desc='encode', unit='images', every=0.0) as bar:
            for _ in range(40):
                bar.update()
        text = stream.getvalue()
        assert ('\r' in text) is not lines
        if lines:
            said = text.splitlines()
            assert said[0].startswith('encode: 0 of 40 images, 0 %, ') and said[-1].startswith(
                'encode: 40 of 40 images'
            )
            assert all(line.endswith(' left') for line in said)
    monkeypatch.setattr('sys.stderr', stream := io.StringIO())
    with progress_bar(total=40, desc='encode', unit='images') as bar:
        for _ in range(40):
            bar.update()
    assert len(stream.getvalue().splitlines()) == 2  # at its beginning and its end: nothing happens in ten seconds
