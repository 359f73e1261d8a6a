"""Kill work at random moments, go on with it, and compare the end with that of a run that nobody disturbed:
python scripts/kills.py [--kills N] [--seed S] [--of training own_photographs ...] [--note FILE]

The kinds of work are the tests of `tests/test_kills.py`; each is killed N times by the signal that no program can
catch. The command fails if any end differs, and says where. With --note, the counts go into a JSON file, from which the
notebook of faults makes its table.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from trmml_nb.io import write_json

ROOT = Path(__file__).resolve().parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=50)
    parser.add_argument('--seed', type=int, default=0, help='of the moments at which is killed')
    parser.add_argument('--of', nargs='*', default=['training', 'own_photographs'])
    parser.add_argument('--note', type=Path, help='JSON file to write the counts to')
    asked, counts, failed = parser.parse_args(), {}, False
    for kind in asked.of:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, 'counts.json')
            env = {
                **os.environ,
                'TRMML_KILLS': str(asked.kills),
                'TRMML_KILLS_SEED': str(asked.seed),
                'TRMML_KILLS_LOG': str(log),
                'TRMML_TEST_ALONE': '1',
                'OMP_NUM_THREADS': '1',
            }
            test = ROOT / 'tests' / 'test_kills.py'
            command = [
                sys.executable,
                '-m',
                'pytest',
                '-q',
                '-p',
                'no:cacheprovider',
                '-p',
                'no:xdist',
                f'{test}::test_{kind}',
            ]
            failed |= bool(subprocess.run([*command, '--override-ini=timeout=0'], cwd=ROOT, env=env).returncode)
            counts[kind] = json.loads(log.read_text(encoding='utf-8')) if log.is_file() else dict(kills=0)
        print(f'{kind}: {counts[kind]}', flush=True)
    if asked.note is not None:
        write_json(asked.note, counts)
    sys.exit(failed)


if __name__ == '__main__':
    main()
