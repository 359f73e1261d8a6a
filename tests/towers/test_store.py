"What a feature store is, and how it is read: keys, sizes, types, batches, and damage that is found on opening."

import json

import numpy as np
import pytest
import torch

from trmml_nb.io import JSON_SEAL
from trmml_nb.towers.store import FeatureStore, ShardedArray, encode_images_now, read_header, store_bytes, store_key
from trmml_nb.towers.encode import encode_dataset, require_space
from trmml_nb.towers.views import StoreError
from helpers.stores import Failing, contents, make_tower


@pytest.mark.parametrize("rows", [[0], [22, 3, 3, 11], np.array([9, 10, 19, 20]), torch.tensor([-1, 0]), []])
def test_batch_order(tower, data, tmp_path, rows):
    store = encode_dataset(tower, data, tmp_path, shard_size=10, progress=False)
    whole = np.asarray(store.dense, np.float32)
    for source in (store, FeatureStore(store.folder).to_memory()):
        if len(rows) and int(rows[0]) < 0 and source is not store:
            rows = rows % 23
        got = source.batch(rows)
        index = np.asarray(rows, np.int64)
        assert got.dense.dtype == got.pooled.dtype == torch.float32
        assert np.array_equal(got.dense.numpy(), whole[index]) and np.array_equal(
            got.pooled.numpy(), store.pooled[index]
        )


def test_batch_out_of_range(tower, data, tmp_path):
    store = encode_dataset(tower, data, tmp_path, progress=False)
    with pytest.raises(IndexError):
        store.batch([23])
    with pytest.raises(IndexError):
        store.to_memory().batch([23])


def test_sharded_array_indexes_like_numpy():
    rng = np.random.default_rng(0)
    blocks = [rng.normal(size=(n, 2, 3)) for n in (4, 1, 3)]
    array, whole = ShardedArray(blocks), np.concatenate(blocks)
    for index in (0, -1, 4, slice(2, 7), slice(None, None, -2), [7, 0, 4], np.array([True] * 3 + [False] * 5)):
        assert np.array_equal(array[index], whole[index])
    assert np.array_equal(np.asarray(array), whole) and len(array) == 8
    with pytest.raises(IndexError):
        array[8]


@pytest.mark.fault('damaged or foreign files', 'feature file cut short or with other bytes', 'found, and encoded anew')
@pytest.mark.parametrize(
    "damage, match",
    [
        (lambda b: b[:-3], "bytes, expected .*truncated or changed; delete this file and call encode_dataset again"),
        (lambda b: b[:12] + bytes([b[12] ^ 1]) + b[13:], "(header was changed|not a readable shard)"),
        (lambda b: b"\x00" * len(b), "(header was changed|not a readable shard)"),
    ],
)
def test_damage_is_found_on_opening_and_mended(tower, data, tmp_path, damage, match):
    store = encode_dataset(tower, data, tmp_path, shard_size=10, progress=False)
    before, victim = contents(store.folder), store.folder / "shard-00001.safetensors"
    victim.write_bytes(damage(victim.read_bytes()))
    for attempt in (lambda: FeatureStore(store.folder), lambda: encode_dataset(tower, data, tmp_path, progress=False)):
        with pytest.raises(StoreError, match=match) as caught:
            attempt()
        assert str(victim) in str(caught.value)
    victim.unlink()
    with pytest.raises(StoreError, match="shard-00001.safetensors: this shard is missing"):
        FeatureStore(store.folder)
    seen = Failing(data)
    encode_dataset(tower, seen, tmp_path, progress=False)
    assert sorted(seen.seen) == list(range(10, 20)) and contents(store.folder) == before


def test_flipped_data_byte_is_found_by_verify(tower, data, tmp_path):
    store = encode_dataset(tower, data, tmp_path, shard_size=10, progress=False)
    store.verify()
    victim = store.folder / "shard-00000.safetensors"
    raw = bytearray(victim.read_bytes())
    raw[read_header(victim)[1] + 50] ^= 1
    victim.write_bytes(raw)
    opened = FeatureStore(store.folder, verify=False)
    for attempt in (
        opened.verify,
        lambda: FeatureStore(store.folder, verify=True),
        lambda: FeatureStore(store.folder),
        lambda: encode_dataset(tower, data, tmp_path, progress=False),
    ):
        with pytest.raises(StoreError, match="shard-00000.safetensors: its data were changed"):
            attempt()


def test_damaged_description(tower, data, tmp_path):
    store = encode_dataset(tower, data, tmp_path, progress=False)
    good = json.loads((store.folder / "store.json").read_text())
    good.pop(JSON_SEAL)  # else that would tell
    good = json.dumps(good)
    for text, match in (
        (good[:40], "store.json: not a readable file"),
        (good.replace('"version": 2', '"version": 99'), "store version 99, this library reads 2"),
        (good.replace('"dim": 6', '"dim": 7'), r"expected \(23, 16, 7\)"),
    ):
        (store.folder / "store.json").write_text(text)
        with pytest.raises(StoreError, match=match):
            FeatureStore(store.folder)
    with pytest.raises(StoreError, match="nowhere.*not a readable file"):
        FeatureStore(tmp_path / "nowhere")


def test_key_changes_with_everything_that_matters(tower, data, pictures, tmp_path):
    keys = data.content_keys()
    base = store_key(tower, keys, data.image_ids)
    assert base == store_key(make_tower(), list(keys), list(data.image_ids))
    others = [
        store_key(make_tower(1), keys, data.image_ids),
        store_key(make_tower(0, 64), keys, data.image_ids),
        store_key(tower, keys[::-1], data.image_ids),
        store_key(tower, keys, data.image_ids[::-1]),
        store_key(tower, keys[:-1], data.image_ids[:-1]),
        store_key(tower, keys, data.image_ids, torch.bfloat16),
    ]
    assert len({base, *others}) == 7


def test_size_estimate_is_right(tower, data, tmp_path):
    store = encode_dataset(tower, data, tmp_path, progress=False)
    numbers = sum(r["bytes"] for r in store.meta["shards"])
    assert store_bytes(23, 16, 6) == 23 * (16 * 7 * 2 + 6 * 4)
    assert 0 < numbers - store_bytes(23, 16, 6) < 1000  # the header
    require_space(tmp_path, store_bytes(23, 16, 6))


def test_encode_images_now(tower, data, pictures):
    want = tower.encode_images(torch.stack([tower.transform(data.image(i)) for i in (3, 4)]))
    for images in ([data.image(3), data.image(4)], [pictures / "03.png", str(pictures / "04.png")]):
        got = encode_images_now(tower, images)
        assert torch.equal(got.pooled, want.pooled) and torch.equal(got.dense, want.dense)
    assert encode_images_now(tower, data.image(3)).pooled.shape == (1, 6)


# -- types


@pytest.mark.parametrize("dtype, step", [("float16", 2**-11), ("bfloat16", 2**-8), ("int8", 1 / 250)])
def test_types_keep_their_promise(tower, data, tmp_path, dtype, step):
    "Largest error of a number relative to the largest of its vector; size on disk; the same from memory and from disk."
    exact = tower.encode_images(torch.stack([tower.transform(data.image(i)) for i in range(23)])).dense
    store = encode_dataset(tower, data, tmp_path, shard_size=10, progress=False, dtype=dtype)
    got = store.batch(range(23))
    error = (got.dense - exact).abs() / exact.abs().amax(-1, keepdim=True)
    assert error.max() <= step * 1.01 and (dtype == "float16" or error.max() > 2**-11)
    held = FeatureStore(store.folder).to_memory().batch([22, 0, 4])
    assert torch.equal(held.dense, got.dense[[22, 0, 4]]) and held.dense.dtype == torch.float32
    size = sum(r["bytes"] for r in store.meta["shards"])
    assert 0 < size - store_bytes(23, 16, 6, dtype) < 1500
    other = encode_dataset(tower, data, tmp_path, progress=False, shard_size=10)
    assert (other.folder == store.folder) == (dtype == "float16") and store.dtype == dtype


def test_unknown_type(tower, data, tmp_path):
    with pytest.raises(StoreError, match="dtype is 'int4', expected one of 'float16', 'bfloat16', 'int8'"):
        encode_dataset(tower, data, tmp_path, progress=False, dtype="int4")


def test_int8_of_a_zero_vector_is_zero():
    from trmml_nb.towers.store import pack_features, unpack_features

    made = pack_features(torch.tensor([[0.0, 0.0], [1.0, -0.5]]), "int8")
    assert unpack_features(**made)[0].tolist() == [0.0, 0.0] and torch.allclose(
        unpack_features(**made)[1], torch.tensor([1.0, -0.5]), atol=5e-3
    )
