"""A method and a store small enough to be looked at: random vectors, and the common contract."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from trmml_nb.data.dataset import MultiLabelDataset
from trmml_nb.method.contract import MethodOutput
from trmml_nb.people.inspector import inspect_method
from trmml_nb.towers.dense import ImageFeatures


class FakeMethod(nn.Module):
    "Cosines of a region, and the map of that region."

    def __init__(self, texts):
        super().__init__()
        self.texts, self.bias = texts, nn.Parameter(torch.zeros(()))

    def forward(self, features):
        maps = (self.texts @ features.dense.mT).mul(6).softmax(-1)
        cosine = ((maps @ features.dense) * self.texts).sum(-1)
        return MethodOutput(12 * cosine - 7 + self.bias, maps, dict(query=4 * cosine, region=2 * cosine))


class FakeStore:
    "What a view needs of a feature store."

    def __init__(self, image_ids, pooled, dense, grid):
        self.image_ids, self.pooled, self.dense, self.grid = image_ids, pooled, dense, grid

    def __len__(self):
        return len(self.image_ids)

    def batch(self, rows, device=None):
        return ImageFeatures(self.pooled[rows], self.dense[rows], None)


class Painted:
    "A picture of any size, made when it is asked for."

    def __init__(self, size, seed):
        self.size, self.seed = size, seed

    def load(self, key=None):
        from PIL import Image

        small = np.random.default_rng(self.seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        return Image.fromarray(small).resize(self.size, Image.Resampling.BICUBIC)

    def object_masks(self):
        return None

    def content_key(self):
        return f'{self.size} {self.seed}'


def fake_inspection(names, sizes, grid=(7, 7), known=0.3, seed=0, **options):
    "A method on painted pictures of these sizes, with some labels known."
    g, r = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    unit = lambda *shape: F.normalize(torch.randn(*shape, generator=g), dim=-1)
    m, c, ids = len(sizes), len(names), [f'picture {i}.jpg' for i in range(len(sizes))]
    texts, store = unit(c, 8), FakeStore(ids, unit(m, 8), unit(m, grid[0] * grid[1], 8), grid)
    truth = r.integers(0, 2, (m, c)).astype(np.int8)
    targets = np.where(r.random((m, c)) < known, truth, -1).astype(np.int8)
    data = MultiLabelDataset(
        'painted', 'all', list(names), ids, targets, truth, [Painted(s, i) for i, s in enumerate(sizes)]
    )
    return inspect_method(FakeMethod(texts), store, data, texts, options.pop('name', 'fake'), **options)
