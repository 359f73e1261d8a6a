"""Two tables of VOC2007's labels whose names say nothing of the pictures: made-up words, and the right names exchanged.

    python scripts/other_words.py data/VOCdevkit tables
    trmml compare --data csv --labels tables/words.csv --root data/VOCdevkit --clip ... --out results/words.csv

It takes the pictures of train and val together, so that `compare` can keep a fifth of them to measure on."""

import random
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from trmml_nb.data.voc import voc_dataset


def made_up(count: int, seed: int = 0) -> list[str]:
    "Words of three syllables that no language was asked for, all different."
    draw, words = random.Random(seed), []
    while len(words) < count:
        word = ''.join(draw.choice('bdfgklmnprstvz') + draw.choice('aeiou') for _ in range(3)) + draw.choice('lnrst')
        words += [word] * (word not in words)
    return words


def main(root: str, out: str) -> None:
    parts = [voc_dataset(root, split) for split in ('train', 'val')]
    names = list(parts[0].class_names)
    images = [Path(image.path).relative_to(Path(root).absolute()).as_posix() for part in parts for image in part.images]
    truth = np.concatenate([part.truth for part in parts])  # [N, C]
    Path(out).mkdir(parents=True, exist_ok=True)
    for table, words in (('words', made_up(len(names))), ('shuffled', names[7:] + names[:7])):
        labels = pd.DataFrame(np.where(truth < 0, '', truth), columns=words)
        labels.insert(0, 'image', images)
        labels.to_csv(Path(out, f'{table}.csv'), index=False, encoding='utf-8')


if __name__ == '__main__':
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
