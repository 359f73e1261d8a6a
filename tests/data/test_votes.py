"Votes of several people against a count by hand, cell by cell."

import numpy as np

from trmml_nb.data.labels import ABSENT, PRESENT, UNKNOWN
from trmml_nb.data.votes import combine_votes


def test_the_majority_holds_and_a_tie_is_unknown(photos):
    images, names = ['a.png', 'b.png', 'c.png'], ['dog', 'cat', 'tree', 'kite']
    for seed in range(20):
        counts = np.random.default_rng(seed).integers(0, 3, (3, 4, 2))
        sheet = combine_votes('t', photos, names, dict(zip(images, counts)), dict.fromkeys(images, 'line'))
        torn = []
        for i, image in enumerate(images):
            for c, name in enumerate(names):
                yes, no = map(int, counts[i, c])
                label = PRESENT if yes > no else ABSENT if no > yes else UNKNOWN
                assert sheet.dataset.targets[i, c] == label
                torn += [[image, name, yes, no, label]] if yes and no else []
        assert sheet.disagreements.values.tolist() == torn
        known = sheet.dataset.targets != UNKNOWN
        assert sheet.unlabelled_images == [n for n, any_known in zip(images, known.any(1)) if not any_known]
        assert sheet.unlabelled_categories == [n for n, any_known in zip(names, known.any(0)) if not any_known]
