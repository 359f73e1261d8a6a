"""A tower of one layer, and a data set that stops in the middle."""

import threading

import torch
from open_clip.transformer import VisionTransformer
from torch import nn

from trmml_nb.towers.tower import FrozenTower


def make_tower(seed=0, image_size=32):
    torch.manual_seed(seed)
    model = nn.Module()
    model.visual = VisionTransformer(image_size, 8, 16, 1, 2, 2.0, output_dim=6, pool_type="avg")
    model.logit_scale, model.logit_bias = nn.Parameter(torch.zeros(())), None
    return FrozenTower(model, None, "test", image_size, dict(mean=[0.5] * 3, std=[0.25] * 3))


class Failing:
    "A data set that counts what is decoded and stops at one image."

    def __init__(self, data, at=None):
        self.data, self.at, self.seen, self.lock = data, at, [], threading.Lock()

    def __getattr__(self, name):
        return getattr(self.data, name)

    def image(self, i, key=None):
        with self.lock:
            self.seen.append(i)
        if i == self.at:
            raise KeyboardInterrupt
        return self.data.image(i, key)


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}
