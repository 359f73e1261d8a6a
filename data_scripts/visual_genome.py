"""Prepare VG-200: the first 200 categories of SSGRL's lists. The names of its categories are not public.

python data_scripts/visual_genome.py --root data

The options are those of `trmml prepare`: --help names them.
"""

import sys

from trmml_nb.cli import app

if __name__ == "__main__":
    app(["prepare", "vg200", *sys.argv[1:]])
