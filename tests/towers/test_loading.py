"Orders of reading, reading ahead, keeping in memory."

import numpy as np
import pytest
import torch

from trmml_nb.towers import loading
from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.towers.loading import LoadingError, batches, epoch_order
from trmml_nb.towers.loading import in_memory
from trmml_nb.towers.encode import encode_dataset
from trmml_nb.towers.tower import load_tower


def draw(count, seed=0, **how):
    return epoch_order(count, torch.Generator().manual_seed(seed), **how)


@pytest.mark.parametrize(
    "count, block, window", [(1, 4, 1), (10, 3, 1), (10, 3, 2), (100, 7, 4), (64, 64, 2), (65, 64, 1)]
)
def test_every_row_once_and_windows_hold_whole_blocks(count, block, window):
    order = draw(count, block=block, window=window)
    assert sorted(order.tolist()) == list(range(count))
    at, _blocks = 0, -(-count // block)
    while at < count and count > block:  # each window: as many whole blocks as it should have
        inside, size = [], 0
        for row in order[at:].tolist():
            b = row // block
            if b not in inside:
                if len(inside) == window:
                    break
                inside.append(b)
            size += 1
        assert size == sum(min(block, count - b * block) for b in inside)
        at += size


def test_order_is_decided_by_the_generator_and_plain_is_randperm():
    assert torch.equal(draw(50, 1), torch.randperm(50, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(draw(50, 1, block=4), draw(50, 1, block=4)) and not torch.equal(
        draw(50, 1, block=4), draw(50, 2, block=4)
    )


def test_blocks_mix_well_enough():
    "Over many epochs every row comes first equally often, within chance."
    first = np.array([draw(12, seed, block=3, window=2)[0].item() for seed in range(3000)])
    assert np.abs(np.bincount(first, minlength=12) - 250).max() < 5 * 250**0.5


@pytest.mark.parametrize("bad", [dict(block=-1), dict(block=4, window=0)])
def test_sizes_that_cannot_work(bad):
    with pytest.raises(LoadingError, match="expected block from 0 and window from 1"):
        draw(5, **bad)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return encode_dataset(load_tower("tiny"), scenes_dataset("val", 12), tmp_path_factory.mktemp("s"), progress=False)


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_batches_are_those_read_one_by_one(store, ahead):
    rows = draw(12, block=4).split(5)
    got = list(batches(store, rows, ahead=ahead))
    assert [at.tolist() for at, _ in got] == [r.tolist() for r in rows]
    assert all(
        torch.equal(f.dense, store.batch(at).dense) and torch.equal(f.pooled, store.batch(at).pooled) for at, f in got
    )


def test_an_error_while_reading_reaches_the_reader(store):
    with pytest.raises(IndexError):
        list(batches(store, [torch.tensor([0]), torch.tensor([99])]))


def test_keep_asks_for_room(store, monkeypatch):
    size = sum(r["bytes"] for r in store.meta["shards"])
    monkeypatch.setattr(loading, "free_bytes", lambda device: 2 * size - 10)
    assert in_memory(store) is store and not store.held
    monkeypatch.setattr(loading, "free_bytes", lambda device: 2 * size)
    assert in_memory(store) is store and store.held
    with pytest.raises(LoadingError, match="share is 0"):
        in_memory(store, share=0)


def test_free_bytes_is_a_number_of_bytes():
    assert 2**20 < loading.free_bytes() < 2**50
