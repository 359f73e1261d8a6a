"""A run to look at, and one whose every name holds markup."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.inspections import EVIL, C, D, M, Method, N, Store

from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.data.labels import UNKNOWN
from trmml_nb.people import inspector as I


@pytest.fixture
def parts():
    g = torch.Generator().manual_seed(0)
    unit = lambda *shape: F.normalize(torch.randn(*shape, generator=g), dim=-1)
    texts, dense, pooled = unit(C, D), unit(M, N, D), unit(M, D)
    data = scenes_dataset('test', M, size=64)
    data = data.with_targets(np.where(np.random.default_rng(0).random((M, C)) < 0.5, data.truth, UNKNOWN))
    return Method(texts), Store(list(data.image_ids), pooled, dense), data, texts


@pytest.fixture
def run(parts):
    method, store, data, texts = parts
    return I.inspect_method(method, store, data, texts, 'run')


@pytest.fixture
def evil(parts):
    "A run whose images, categories and name hold markup."
    method, store, data, texts = parts
    ids = [f'{i} {EVIL[i % 5]}' for i in range(M)]
    named = I.replace(data, image_ids=ids, class_names=[f'{i} {EVIL[i % 5]}' for i in range(C)])
    return I.inspect_method(method, Store(ids, store.pooled, store.dense), named, texts, EVIL[0])
