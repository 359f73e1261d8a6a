"""What the tests of towers share: one thread, the small towers by name, and a folder of pictures with its tower."""

import json

import numpy as np
import open_clip
import pytest
import torch
from helpers.stores import make_tower
from helpers.towers import CONFIGS, TEXT
from PIL import Image

from trmml_nb.data.own_data import csv_dataset


@pytest.fixture(scope="module", autouse=True)
def registry(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tiny tensors: more threads only wait for each other
    folder = tmp_path_factory.mktemp("configs")
    for name, config in CONFIGS.items():
        (folder / f"{name}.json").write_text(json.dumps({"text_cfg": TEXT} | config))
    open_clip.add_model_config(folder)
    yield folder
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tower():
    return make_tower()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(23):
        Image.fromarray(rng.integers(0, 255, (20 + i, 40, 3), np.uint8)).save(folder / f"{i:02d}.png")
    (folder / "labels.csv").write_text("image,cat\n" + "".join(f"{i:02d}.png,{i % 2}\n" for i in range(23)))
    return folder


@pytest.fixture
def data(pictures):
    return csv_dataset(pictures / "labels.csv", root=pictures)
