"""The front door: light, complete, and the same for people, editors and type checkers."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import trmml_nb
from trmml_nb.cli import OnDemand

SOURCE = Path(trmml_nb.__file__).read_text(encoding='utf-8')


@pytest.mark.parametrize('name', trmml_nb.__all__)
def test_every_name_is_there_with_a_docstring(name):
    value = getattr(trmml_nb, name)
    assert name == '__version__' or (value.__doc__ or '').strip()
    assert name in dir(trmml_nb)


def test_editors_see_the_same_names_from_the_same_rooms():
    block = next(n for n in ast.parse(SOURCE).body if isinstance(n, ast.If))
    seen = {alias.asname: node.module for node in block.body for alias in node.names}
    assert seen == trmml_nb._DOOR and 20 <= len(seen) <= 32


def test_a_name_comes_from_the_room_that_makes_it():
    for name, room in trmml_nb._DOOR.items():
        tree = ast.parse(
            (Path(trmml_nb.__file__).parent / (room.replace('.', '/') + '.py')).read_text(encoding='utf-8')
        )
        made = {n.name for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
        made |= {t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
        assert name in made, f'{name} is not made in {room}'


COMMANDS = sorted(OnDemand.waiting)
ASKED = [
    ['--help'],
    ['--version'],
    ['evaluate'],
    *([c, '--help'] for c in COMMANDS),
    *([c, '--knwon'] for c in COMMANDS),
]


@pytest.mark.parametrize('words', ASKED, ids=' '.join)
def test_the_command_answers_without_torch(words):
    code = (
        'import sys\nfrom trmml_nb.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n'
        'print(sorted({m.split(".")[0] for m in sys.modules} & {"torch", "open_clip", "pandas", "matplotlib"}))'
    )
    done = subprocess.run([sys.executable, '-c', code, *words], capture_output=True, text=True)
    assert done.stdout.strip().endswith('[]'), done.stdout + done.stderr


def test_importing_costs_next_to_nothing():
    code = 'import sys; a = set(sys.modules); import trmml_nb; print(len(set(sys.modules) - a))'
    assert int(subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout) < 10


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(AttributeError, match="no attribute 'TRML'.*load_tower"):
        trmml_nb.TRML
