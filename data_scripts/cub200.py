"""Prepare CUB-200-2011 with its 312 attributes as categories.

python data_scripts/cub200.py --root data

The options are those of `trmml prepare`: --help names them.
"""

import sys

from trmml_nb.cli import app

if __name__ == "__main__":
    app(["prepare", "cub200", *sys.argv[1:]])
