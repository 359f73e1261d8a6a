"""What a plain install does without: each use of such a package names the extra that brings it, and every extra is
asked for somewhere."""

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

from trmml_nb.data.grids import excel_lines
from trmml_nb.datasets.archives import _requests
from trmml_nb.errors import PackageError, TrmmlError
from trmml_nb.people.figures import heatmap
from trmml_nb.training.processes import join_world

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']['optional-dependencies']
NAMES = dict(sklearn='scikit-learn')  # what is imported -> what is installed, where they differ


def join():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('WORLD_SIZE', '2')
        join_world('cpu')


def anew(module):
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, module, raising=False)
        importlib.import_module(module)


USES = [
    ('seaborn', 'plots', lambda: heatmap([[1.0]], ['a'], ['b'])),
    ('accelerate', 'distributed', join),
    ('requests', 'download', _requests),
    ('sklearn', 'sklearn', lambda: anew('trmml_nb.yours.estimator')),
    ('openpyxl', 'xlsx', lambda: excel_lines(Path('table.xlsx'))),
    ('anywidget', 'notebooks', lambda: anew('trmml_nb.people.inspector_widget')),
    ('ipywidgets', 'notebooks', lambda: anew('trmml_nb.people.review_widget')),
]


@pytest.mark.parametrize('package, extra, use', USES, ids=[package for package, *_ in USES])
def test_what_lacks_is_named_with_its_mend(package, extra, use, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PackageError, match=rf"needs {package}, which .*: pip install 'trmml_nb\[{extra}\]'") as caught:
        use()
    assert isinstance(caught.value, TrmmlError) and isinstance(caught.value, ImportError)


def asked():
    "(package, extra) of every call of `optional` in the library whose words can be read."
    for path in sorted((ROOT / 'trmml_nb').rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'optional':
                package, extra = node.args[:2]
                yield getattr(package, 'value', None), extra.value


def test_every_extra_that_is_named_brings_what_is_asked_for():
    "The calls, and the extras named in messages and pages."
    calls = set(asked())
    read = {'accelerate', 'openpyxl', 'requests', 'seaborn', 'sklearn', 'urllib3', None}  # None: a name, of a widget's
    assert {package for package, _ in calls} == read
    for package, extra in calls:
        brings = [re.split('[<>=]', r)[0] for r in EXTRAS[extra]]
        assert not isinstance(package, str) or NAMES.get(package, package) in brings, (package, extra)
    pages = [*(ROOT / 'trmml_nb').rglob('*.py'), ROOT / 'README.md', ROOT / 'CONTRIBUTING.md']
    named = {e for p in pages for e in re.findall(r'(?:trmml_nb|-e "\.)\[(\w+)\]', p.read_text(encoding='utf-8'))}
    assert {'download', 'notebooks', 'heif', 'siglip'} <= named <= EXTRAS.keys(), named


def test_the_notebooks_run_with_their_extra():
    "Whoever reads the book in JupyterLab needs no second install; nobody else pays for it."
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']
    plain = {re.split('[<>=]', r)[0] for r in project['dependencies']}
    assert not plain & {'seaborn', 'scikit-learn', 'accelerate', 'requests', 'jupyterlab', 'nbdev'}
    assert 'trmml_nb[download,sklearn,plots,distributed]' in EXTRAS['notebooks']
