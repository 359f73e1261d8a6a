"""Prepare COCO 2014: 82,081 annotated training images, or all 82,783 as the split train_all.

python data_scripts/coco2014.py --root data

The options are those of `trmml prepare`: --help names them.
"""

import sys

from trmml_nb.cli import app

if __name__ == "__main__":
    app(["prepare", "coco2014", *sys.argv[1:]])
