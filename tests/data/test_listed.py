"Labels in a list: what a list says is what a column for each category says."

import numpy as np
import pytest

from helpers.tables import read

PICTURES, NAMES = ('a.png', 'b.png', 'sub/c.jpg'), ('dog', 'cat', 'old tree')


@pytest.mark.parametrize('unlisted', ['unknown', 'absent'])
@pytest.mark.parametrize('sign', [';', '|', ',', '\n'])
def test_lists_long_tables_and_columns_say_the_same(album, sign, unlisted):
    rng, blank = np.random.default_rng(0), {'unknown': '', 'absent': '0'}[unlisted]
    for _ in range(5):
        there = rng.random((3, 3)) < 0.5
        there[0] |= ~there.any(0)  # no category without a label, which a list could not name
        there[there.sum(1) == 0, 0] = True
        labels = [[name for name, yes in zip(NAMES, row) if yes] for row in there]
        wide = [f'{p},{",".join("1" if yes else blank for yes in row)}' for p, row in zip(PICTURES, there)]
        long = [f'{p},{name}' for p, names in zip(PICTURES, labels) for name in names]
        lists = [f'{p},"{sign.join(names)}"' for p, names in zip(PICTURES, labels)]
        expected = read(album, '\n'.join([f'image,{",".join(NAMES)}', *wide])).dataset
        for header, lines in (('image,label', long), ('image,tags', lists)):
            data = read(album, '\n'.join([header, *lines]), unlisted=unlisted).dataset
            order = [data.class_names.index(name) for name in NAMES]
            assert data.image_ids == expected.image_ids and len(data.class_names) == 3
            assert (data.targets[:, order] == expected.targets).all()
