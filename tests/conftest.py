"""What every test needs: no network for model weights, no window for figures, no trace in the user's cache, and with
several workers (`pytest -n 2`) an even share of the cores and of the work. And one marker: a test that is `young`
runs in an interpreter of its own, with one thread."""

import json
import os
import re
import runpy
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from helpers import ready

# one cache of encoded images for all workers, kernels and processes of a session, made and removed by the first of them
SHARED = "TRMML_TESTS_CACHE"
FIRST = SHARED not in os.environ
if FIRST:
    os.environ[SHARED] = tempfile.mkdtemp(prefix="trmml-tests-")
os.environ.update(HF_HUB_OFFLINE="1", MPLBACKEND="Agg", TRMML_CACHE=os.environ[SHARED])
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault(
        "OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers))
    )  # before anything imports torch


def pytest_addoption(parser):
    parser.addoption(
        '--changed',
        nargs='?',
        const='HEAD',
        metavar='COMMIT',
        help='only tests of the notebooks and tests that differ from a commit (HEAD if none is named), and of the '
        'modules that import them',
    )

    parser.addoption(
        '--faults',
        metavar='FILE',
        help='note in a JSON file what became of the tests that are marked as faults; the notebook of faults shows it',
    )
    parser.addoption(
        '--forms',
        metavar='FILE',
        help='note in a JSON file what each form of labels became and what was said; the notebook of formats shows it',
    )


def affected(commit):
    "Which test files, and which notebooks by name, a change since a commit concerns."
    root = Path(__file__).resolve().parent.parent
    ask = ['git', '-C', str(root)]
    diff = subprocess.run([*ask, 'diff', '--name-only', commit], capture_output=True, text=True, check=True).stdout
    new = subprocess.run(
        [*ask, 'ls-files', '-o', '--exclude-standard'], capture_output=True, text=True, check=True
    ).stdout
    paths = [root / line for line in (diff + new).splitlines()]
    notebooks = [p for p in paths if p.suffix == '.ipynb' and p.is_file()]
    exported = re.compile(r'"#\|\s*default_exp:?\s+([\w.]+)')
    modules = {name for p in notebooks for name in exported.findall(p.read_text(encoding='utf-8'))}
    arrows = runpy.run_path(str(root / 'scripts/draw_house.py'))['graph']()
    modules |= {name for name, used in arrows.items() if modules & set(used)}
    tests = {p for p in paths if p.name.startswith('test_')}
    tests |= {root / 'tests' / Path(*name.split('.')[:-1]) / f'test_{name.split(".")[-1]}.py' for name in modules}
    return tests, {p.stem for p in notebooks}


def pytest_unconfigure(config):
    if FIRST:
        shutil.rmtree(os.environ.pop(SHARED), ignore_errors=True)


ALONE = 'TRMML_TEST_ALONE'


def pytest_configure(config):
    config.addinivalue_line(
        'markers',
        'young: forks, so it runs in a new interpreter; a child forked from a process whose thread pools have '
        'worked would wait for threads that it does not have',
    )
    config.addinivalue_line('markers', 'fault(group, fault, then): a line of the table of faults, shown by this test')
    if config.getoption('--faults'):
        config.pluginmanager.register(FaultNotes(Path(config.getoption('--faults'))))
    if config.getoption('--forms'):
        config.pluginmanager.register(FormNotes(Path(config.getoption('--forms'))))


class FaultNotes:
    "Outcomes of the marked tests, a line a test, whatever its parameters; lines of tests that did not run stay."

    def __init__(self, file):
        self.file, self.seen = file, {}

    def pytest_runtest_logreport(self, report):
        mark = dict(report.user_properties).get('fault')
        if mark is None or report.when != 'call' and report.passed:
            return
        key = re.sub(r'^(tests/)?(.*)\.py::', r'\2::', report.nodeid).partition('[')[0].partition('@')[0]
        line = self.seen.setdefault(key, dict(zip(('group', 'fault', 'then'), mark)) | dict(runs=0, outcome='passed'))
        line['runs'] += 1
        if not report.passed:
            line['outcome'] = report.outcome

    def pytest_sessionfinish(self):
        known = json.loads(self.file.read_text(encoding='utf-8')) if self.file.is_file() else {}
        found = dict(sorted((known | self.seen).items()))
        self.file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')


class FormNotes:
    "What each form of labels became, in the order of the tests; the file is that of one whole run."

    def __init__(self, file):
        self.file, self.seen = file, []

    def pytest_runtest_logreport(self, report):
        line = dict(report.user_properties).get('form')
        if line is not None and report.when == 'call':
            self.seen.append(line | dict(outcome=report.outcome))

    def pytest_sessionfinish(self):
        text = json.dumps(self.seen, indent=1, ensure_ascii=False) + '\n'
        self.file.write_text(text, encoding='utf-8')


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if mark := item.get_closest_marker('fault'):
        report.user_properties.append(('fault', mark.args))
    return report


# the longest files, longest first, so that no worker is left with one of them at the end
LONGEST = ('test_kills', 'test_jupyterlab', 'test_wheel', 'test_site', 'test_photographs', 'test_project')


def group_of(nodeid):
    "What goes to one worker in one piece: a file, for its tests share what was made for them; or one notebook's run."
    return nodeid if 'fresh_kernel' in nodeid else nodeid.split('::')[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    "`--dist loadgroup` shares out these groups, in the order of the tests; pytest-xdist's own is undone by pytest 9.2."
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group_of(nodeid)

    if config.getoption('dist') == 'loadgroup':
        config.option.loadscopereorder = False
        return Groups(config, log)


def turn(item):
    "When a test has its turn: first the longest files; last the notebooks' runs, small pieces that even out the work."
    stem = item.path.stem
    return (group_of(item.nodeid) == item.nodeid, LONGEST.index(stem) if stem in LONGEST else len(LONGEST))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    "With --changed, what a change does not concern is left out."
    if commit := config.getoption('--changed'):
        tests, notebooks = affected(commit)
        of_notebook = lambda item: item.path.stem == 'test_notebooks' and any(f'[{n}]' in item.name for n in notebooks)
        chosen = [item for item in items if item.path in tests or of_notebook(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen
    items.sort(key=turn)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    "Run a test marked `young` in a process of its own, and fail with what that says."
    if pyfuncitem.get_closest_marker('young') is None or os.environ.get(ALONE):
        return None
    done = subprocess.run(
        [*ready.python(), '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '-p', 'no:xdist', pyfuncitem.nodeid],
        cwd=pyfuncitem.config.rootpath,
        env={**os.environ, ALONE: '1', 'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode != 0 or '1 passed' not in done.stdout:
        pytest.fail(done.stdout[-6000:] + done.stderr[-2000:], pytrace=False)
    return True
