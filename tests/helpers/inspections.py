"""A method of the common contract, a store, and one view worked out by hand."""

import numpy as np
import torch
from PIL import Image
from torch import nn

from trmml_nb.method import contract
from trmml_nb.method.contract import MethodOutput
from trmml_nb.people import inspector as I
from trmml_nb.towers import views
from trmml_nb.towers.dense import ImageFeatures

M, C, GRID, D = 6, 20, (4, 4), 8
N = GRID[0] * GRID[1]


class Method(contract.Method):
    "A method of the common contract: cosines of a region, with or without a map."

    def __init__(self, texts, with_map=True, shift=0.0):
        super().__init__()
        self.texts, self.with_map, self.calls = texts, with_map, 0
        self.bias = nn.Parameter(torch.tensor(shift))

    def forward(self, features):
        self.calls += 1
        maps = (self.texts @ features.dense.mT).mul(4).softmax(-1)
        cosine = ((maps @ features.dense) * self.texts).sum(-1)
        query, region = 3 * cosine + self.bias, 2 * cosine - self.bias
        dropped = 100 * self.training  # wrong in training mode
        return MethodOutput(
            (query + region) / 2 + dropped, maps if self.with_map else None, dict(query=query, region=region)
        )


class Store(views.Store):
    "What the inspector needs of a feature store."

    grid = GRID

    def __init__(self, image_ids, pooled, dense):
        self.image_ids, self.pooled, self.dense = image_ids, pooled, dense

    def __len__(self):
        return len(self.image_ids)

    def batch(self, rows, device=None):
        return ImageFeatures(self.pooled[rows], self.dense[rows], None)


def by_hand(**changes):
    content = dict(
        image=Image.new('RGB', (40, 20), '#666666'),
        class_names=['cat', 'dog', 'a <b>'],
        grid=(1, 2),
        probabilities=np.array([0.2, 0.9, 0.5]),
        image_cosines=np.array([0.1, 0.3, 0.2]),
        pixel_cosines=np.array([0.3, 0.2, 0.1]),
        pixel_maps=np.array([[0.1, 0.3], [0.2, 0.1], [0, 0]]),
        saliency=np.array([[0.5, 0.5], [0.25, 0.75], [1.0, 0]]),
        image_id='x',
    )
    return I.MatchView(**content | changes)


EVIL = ['<img src=x onerror="hacked=1">', '</script><script>hacked=1</script>', "a'b\"c", '&lt;b&gt;', 'two\nlines']
