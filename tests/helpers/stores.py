"""A tower of one layer, and a data set that stops in the middle."""

import multiprocessing
import threading
import time

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


def in_child(target, *args, **options):
    child = multiprocessing.get_context("fork").Process(target=target, args=args, kwargs=options)
    child.start()
    return child


class Slow(Failing):
    "A data set that takes its time, and writes each decoded row to a file that other processes can read."

    def __init__(self, data, note, seconds=0.004):
        super().__init__(data)
        self.note, self.seconds = note, seconds

    def image(self, i, key=None):
        time.sleep(self.seconds)
        with open(self.note, "a", encoding="utf-8") as file:
            file.write(f"{i}\n")
        return self.data.image(i, key)

    def rows(self):
        return [int(line) for line in self.note.read_text().split()]
