"""Prepare PASCAL VOC 2007, or 2012.

python data_scripts/voc.py --root data
python data_scripts/voc.py 2012 --root data

The options are those of `trmml prepare`: --help names them.
"""

import sys

from trmml_nb.cli import app

if __name__ == "__main__":
    words = sys.argv[1:]
    year = words.pop(0) if words[:1] in (["2007"], ["2012"]) else "2007"
    app(["prepare", f"voc{year}", *words])
