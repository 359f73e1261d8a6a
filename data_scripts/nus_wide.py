"""Prepare NUS-WIDE. Its photographs are no longer served and must be given with --from; its four splits do not compare.

python data_scripts/nus_wide.py --root data --nus-split asl --from FOLDER

The options are those of `trmml prepare`: --help names them.
"""

import sys

from trmml_nb.cli import app

if __name__ == "__main__":
    app(["prepare", "nuswide", *sys.argv[1:]])
