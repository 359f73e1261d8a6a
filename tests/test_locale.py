"Files, labels, tables and runs where the machine's own code is ASCII: a share of the tests in such a process."

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOME = ['tests/test_io.py', 'tests/data/test_labels.py', 'tests/runs/test_options.py']
RUNS = ['tests/runs/test_train.py::test_run_folder_holds_what_is_promised']


@pytest.mark.fault(
    'other languages', "a machine whose own code is ASCII (`LC_ALL=C`)", 'files are written and read in UTF-8'
)
def test_files_labels_and_runs_where_the_own_code_is_ascii():
    env = {
        **os.environ,
        'LC_ALL': 'C',
        'LANG': 'C',
        'PYTHONUTF8': '0',
        'PYTHONCOERCECLOCALE': '0',
        'OMP_NUM_THREADS': '1',
    }
    code = "import locale, sys; assert locale.getencoding() not in ('UTF-8', 'utf-8'), locale.getencoding()"
    if sys.version_info >= (3, 11):
        subprocess.run([sys.executable, '-c', code], env=env, check=True)
    command = [sys.executable, '-m', 'pytest', '-q', '-x', '-p', 'no:cacheprovider', '-p', 'no:xdist']
    done = subprocess.run([*command, *SOME, *RUNS], cwd=ROOT, env=env, capture_output=True, timeout=800)
    assert done.returncode == 0, done.stdout.decode('utf-8', 'replace')[-4000:]
