"""Pairs of image and category with a known place: read, refused, and asked of a method."""

import numpy as np
import pytest
import torch

from trmml_nb.towers import views
from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.towers.dense import ImageFeatures
from trmml_nb.data.labels import PRESENT
from trmml_nb.method.contract import Method, MethodOutput
from trmml_nb.training.localisation import BOX_COLUMNS, PlaceError, Places, localise, read_boxes, scene_places


class Store(views.Store):
    "Two categories, four cells a side; the features of image i say i."

    grid, image_ids = (2, 2), ['a', 'b', 'c']

    def batch(self, rows, device=None):
        rows = torch.as_tensor(np.asarray(rows)).float()
        return ImageFeatures(rows[:, None], rows[:, None, None].expand(-1, 4, 1), None)


class Looks(Method):
    "In image i, category c looks at cell (i + c) % 4."

    def __init__(self, maps=True):
        super().__init__()
        self.maps, self.weight = maps, torch.nn.Parameter(torch.zeros(1))

    def forward(self, features):
        cells = (features.pooled.long() + torch.arange(2)) % 4  # [B, 2]
        saliency = torch.nn.functional.one_hot(cells, 4).float()
        return MethodOutput(torch.zeros(len(saliency), 2), saliency if self.maps else None)


QUARTER = {0: (0, 0, 0.5, 0.5), 1: (0.5, 0, 1, 0.5), 2: (0, 0.5, 0.5, 1), 3: (0.5, 0.5, 1, 1)}


def test_a_method_is_asked_pair_by_pair_whatever_the_batch():
    pairs = [(2, 1, 3), (0, 0, 0), (1, 1, 2), (0, 1, 0)]  # image, category, quarter of the object: hit, hit, hit, miss
    places = Places(
        np.array([p[0] for p in pairs]),
        np.array([p[1] for p in pairs]),
        boxes=[np.array([QUARTER[p[2]]]) for p in pairs],
    )
    method = Looks().train()
    for size in (1, 2, 64):
        assert localise(method, Store(), places, size) == dict(pointing=75.0)
    assert method.training  # its mode is put back
    masks = np.zeros((4, 8, 8), bool)
    for mask, (_, _, quarter) in zip(masks, pairs):
        mask[4 * (quarter // 2) : 4 * (quarter // 2) + 4, 4 * (quarter % 2) : 4 * (quarter % 2) + 4] = True
    found = localise(method, Store(), Places(places.rows, places.classes, masks=masks))
    assert found['pointing'] == 75 and 0 < found['saliency_IoU'] <= 75


def test_a_method_without_maps_answers_nothing():
    assert (
        localise(Looks(maps=False), Store(), Places(np.array([0]), np.array([0]), boxes=[np.array([QUARTER[0]])])) == {}
    )


def test_scene_places_are_the_present_categories():
    data = scenes_dataset('test', 6)
    places = scene_places(data, limit=4)
    assert set(places.rows) == set(range(4)) and (data.truth[places.rows, places.classes] == PRESENT).all()
    assert all((mask == data.object_masks(i)[c]).all() for i, c, mask in zip(places.rows, places.classes, places.masks))


def test_boxes_of_a_category_make_one_pair_and_the_rest_is_counted(tmp_path):
    data, path = scenes_dataset('test', 2), tmp_path / 'b.csv'
    there, absent = (data.class_names[int(np.flatnonzero(data.truth[0] == value)[0])] for value in (1, 0))
    lines = [
        ','.join(BOX_COLUMNS),
        f'{data.image_ids[0]},{there},0,0,0.5,0.5',
        f'{data.image_ids[0]},{there},0.5,0.5,1,1',
        f'{data.image_ids[0]},{absent},0,0,1,1',
        f'other,{there},0,0,1,1',
    ]
    path.write_text('\n'.join(lines))
    places, left_out = read_boxes(path, data)
    assert len(places) == 1 and places.boxes[0].tolist() == [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]] and left_out == 2


@pytest.mark.parametrize(
    'row, said',
    [
        ('{image},zebra,0,0,1,1', 'row 2: .*zebra.*a category that'),
        ('{image},{name},0,0,1.2,1', 'row 2: .*1.2'),
        ('{image},{name},0.5,0,0.5,1', 'x0 < x1'),
        ('{image},{name},,0,1,1', 'row 2'),
        ('{image},{name},a,0,1,1', 'row 2'),
    ],
)
def test_a_wrong_row_is_named(tmp_path, row, said):
    data, path = scenes_dataset('test', 1), tmp_path / 'b.csv'
    path.write_text(','.join(BOX_COLUMNS) + '\n' + row.format(image=data.image_ids[0], name=data.class_names[0]))
    with pytest.raises(PlaceError, match=said):
        read_boxes(path, data)


def test_a_wrong_file_is_named(tmp_path):
    with pytest.raises(PlaceError, match='nothing.csv'):
        read_boxes(tmp_path / 'nothing.csv', scenes_dataset('test', 1))
    (tmp_path / 'c.csv').write_text('image,category,x0\na,b,0')
    with pytest.raises(PlaceError, match="no column 'y0'"):
        read_boxes(tmp_path / 'c.csv', scenes_dataset('test', 1))
    with pytest.raises(PlaceError, match='either masks or boxes'):
        Places(np.array([0]), np.array([0]))
    with pytest.raises(PlaceError, match='2 rows, 1 classes'):
        Places(np.array([0, 1]), np.array([0]), boxes=[np.zeros((1, 4))])
