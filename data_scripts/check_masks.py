"""Draw the field's published masks again and compare checksums; no data set is needed.

python data_scripts/check_masks.py                    every published mask, as this machine draws it
python data_scripts/check_masks.py --mask FILE.npy    is this bool array [images, classes] one of them?

A mask says which labels are known: `np.random.RandomState(0).random_sample((images, classes)) < known`. The checksum is
the sha256 of `np.packbits(mask)`, here its first 16 hex digits. Exit status 0: all agree (or the file is a published
mask); 1: not; 2: unusable file.
"""

import argparse
import sys

import numpy as np

from trmml_nb.data.labels import LabelError, mask_sha256
from trmml_nb.data.mask_files import PUBLISHED_MASKS, check_published


def check_all():
    "Print one line per published mask; 0 when this machine draws all of them."
    table = check_published()
    for row in table.itertuples():
        shape = f"{row.images} x {row.classes}"
        verdict = "agrees" if row.agrees else f"expected: {row.expected}"
        print(f"{row.data:32}{shape:>13}{row.known:>6.0%} known   {row.ours}   {verdict}   {row.used_by}")
    print(f"{table.agrees.sum()} of {len(table)} masks agree (numpy {np.__version__})")
    return 0 if table.agrees.all() else 1


def check_file(path):
    "Say which published mask a file holds; 1 when it holds none of them."
    try:
        mask = np.load(path, allow_pickle=False)
        start = mask_sha256(mask)[:16]
    except (OSError, ValueError, LabelError) as error:
        print(f"{path}: not a bool array saved with np.save: {error}", file=sys.stderr)
        return 2
    names = [
        f"{m.data}, {m.known:.0%} known" for m in PUBLISHED_MASKS if m.sha16 == start and tuple(m.shape) == mask.shape
    ]
    verdict = names[0] if names else "none of the published masks"
    print(f"{path}: {mask.shape}, {mask.mean():.2%} known, sha256 {start}: {verdict}")
    return 0 if names else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mask", metavar="FILE.npy", help="a mask saved with np.save")
    given = parser.parse_args()
    sys.exit(check_file(given.mask) if given.mask else check_all())
