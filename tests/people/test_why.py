"""Why a label: neighbours against an independent search, by hand and by method."""

import numpy as np
import torch
from helpers.fakes import fake_inspection

from trmml_nb.people.why import Why, region_vectors

SIZES = [(64, 64)] * 14


def by_hand(seen, c):
    "[M, d] unit regions of a category, one image at a time, in float64."
    found = []
    for dense in seen.store.dense.double():
        look = torch.softmax(6 * (dense @ seen.texts[c].double()), 0)
        region = look @ dense
        found.append((region / region.norm()).numpy())
    return np.array(found)


def test_regions_are_those_worked_out_by_hand():
    seen = fake_inspection(['a', 'b', 'c'], SIZES)
    for c in range(3):
        vectors, maps = region_vectors(seen.method, seen.store, np.arange(14), c, batch=4)
        np.testing.assert_allclose(vectors, by_hand(seen, c), atol=1e-5)
        np.testing.assert_allclose(maps.sum(1), 1, atol=1e-5)


def test_neighbours_are_the_nearest_known_ones_of_each_kind_and_never_the_image_itself():
    seen = fake_inspection(['a', 'b', 'c'], SIZES, known=0.8)
    why, c, row = Why(seen, lambda: seen, each=2), 1, 3
    regions = by_hand(seen, c)
    near, targets = regions @ regions[row], seen.dataset.targets[:, c]
    expected = []
    for label in (1, 0):
        rows = [i for i in np.argsort(-near) if targets[i] == label and i != row][:2]
        expected += [(i, label, near[i]) for i in rows]
    expected.sort(key=lambda e: -e[2])
    found = why(row, c)
    assert [(n.row, n.label) for n in found.neighbours] == [(i, label) for i, label, _ in expected]
    np.testing.assert_allclose([n.cosine for n in found.neighbours], [e[2] for e in expected], atol=1e-5)
    assert found.kind == 'text' and found.prototypes[0][1] == max(v for _, v in found.prototypes)


def test_training_images_are_fetched_once_and_a_category_without_labels_has_none():
    seen, asked = fake_inspection(['a', 'b', 'c'], SIZES), []
    seen.dataset.targets[:, 2] = -1
    why = Why(seen, lambda: asked.append(1) or seen)
    assert why(0, 2).neighbours == [] and len(why(0, 1).neighbours) > 1 and len(why(1, 1).prototypes) == 3
    assert asked == [1] and set(why._known) == {1, 2}
