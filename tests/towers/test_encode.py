"How a feature store is made: equal to direct encoding, resumable to the byte, shared among builders, never stale."

import json
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from helpers.stores import Failing, contents

from trmml_nb.towers import encode as store_building
from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.errors import DataError
from trmml_nb.errors import TowerError
from trmml_nb.towers.store import FeatureStore, default_cache, encode_images_now, store_bytes
from trmml_nb.data.own_data import csv_dataset
from trmml_nb.towers.encode import encode_dataset, encoding_cost, plan_stores
from trmml_nb.towers.views import StoreError, ViewStore, crop_box, view_parts, view_pixels, view_tower
from helpers.stores import Slow, in_child


def test_equal_to_direct_encoding(tower, data, tmp_path):
    store = encode_dataset(tower, data, tmp_path, batch_size=4, shard_size=10, progress=False)
    pixels = torch.stack([tower.transform(data.image(i)) for i in range(23)])
    with torch.no_grad():
        raw = tower.model.visual(pixels).double()
    direct = tower.encode_images(pixels)
    assert np.allclose(store.pooled, (raw / raw.norm(dim=-1, keepdim=True)).numpy(), atol=1e-6)
    assert np.abs(np.asarray(store.dense, np.float32) - direct.dense.numpy()).max() < 2**-11
    assert store.dense.shape == (23, 16, 6) and store.dense.dtype == np.float16 and store.pooled.dtype == np.float32
    assert (
        store.grid == (4, 4)
        and store.image_ids == data.image_ids
        and store.tower == tower.fingerprint
        and len(store) == 23
    )
    assert sorted(contents(store.folder)) == [
        "images.json",
        *(f"shard-0000{k}.safetensors" for k in range(3)),
        "store.json",
    ]
    with safe_open(store.folder / "shard-00002.safetensors", "np") as shard:  # readable by the format's own library
        assert np.array_equal(shard.get_tensor("dense"), store.dense[20:23])
    assert all(isinstance(block, np.memmap) for block in store.dense.blocks)


@pytest.mark.parametrize(
    "options", [dict(batch_size=1), dict(batch_size=7, workers=3), dict(shard_size=1000), dict(workers=1)]
)
def test_options_do_not_change_features(tower, data, tmp_path, options):
    one = encode_dataset(tower, data, tmp_path / "a", batch_size=4, progress=False)
    two = encode_dataset(tower, data, tmp_path / "b", progress=False, **options)
    assert np.allclose(one.pooled, two.pooled, atol=1e-6)
    assert np.abs(np.asarray(one.dense, np.float32) - np.asarray(two.dense, np.float32)).max() <= 2**-11


@pytest.mark.parametrize("at", [0, 9, 10, 15, 22])
def test_stopped_run_goes_on_to_the_same_bytes(tower, data, tmp_path, at):
    whole = encode_dataset(tower, data, tmp_path / "whole", batch_size=4, shard_size=10, progress=False)
    with pytest.raises(KeyboardInterrupt):
        encode_dataset(tower, Failing(data, at), tmp_path / "cut", batch_size=4, shard_size=10, progress=False)
    folder = tmp_path / "cut" / whole.folder.name
    with pytest.raises(StoreError, match=rf"{at // 10 * 10} of 23 images are encoded; call encode_dataset again"):
        FeatureStore(folder)
    rest = Failing(data)
    encode_dataset(tower, rest, tmp_path / "cut", batch_size=4, shard_size=10, progress=False)
    assert contents(folder) == contents(whole.folder)
    assert sorted(rest.seen) == list(range(at // 10 * 10, 23))


def test_stop_between_shard_and_description(tower, data, tmp_path, monkeypatch):
    "The process dies after the shard was renamed into place and before store.json knows of it."
    real, count = store_building.write_meta, [0]

    def dies(*args):
        count[0] += 1
        if count[0] == 3:
            raise KeyboardInterrupt
        real(*args)

    monkeypatch.setattr(store_building, "write_meta", dies)
    with pytest.raises(KeyboardInterrupt):
        encode_dataset(tower, data, tmp_path, shard_size=10, progress=False)
    monkeypatch.undo()
    store = encode_dataset(tower, data, tmp_path, shard_size=10, progress=False)
    store.verify()
    assert not [n for n in contents(store.folder) if n.endswith(".part")]


def test_second_call_encodes_nothing(tower, data, tmp_path):
    first = encode_dataset(tower, data, tmp_path, progress=False)
    seen = Failing(data)
    assert np.array_equal(encode_dataset(tower, seen, tmp_path, progress=False).pooled, first.pooled) and not seen.seen


@pytest.mark.fault(
    'damaged or foreign files',
    'photograph replaced between two runs',
    'noticed by its content, and encoded again',
)
def test_changed_photograph_is_encoded_again(tower, tmp_path):
    for name, colour in (("a.png", 10), ("b.png", 200)):
        Image.new("RGB", (40, 40), (colour, 0, 0)).save(tmp_path / name)
    (tmp_path / "labels.csv").write_text("image,cat\na.png,1\nb.png,0\n")
    load = lambda: encode_dataset(
        tower, csv_dataset(tmp_path / "labels.csv", root=tmp_path), tmp_path / "cache", progress=False
    )
    first = load()
    Image.new("RGB", (40, 40), (0, 255, 0)).save(tmp_path / "a.png")
    second = load()
    assert first.folder != second.folder and not np.array_equal(first.pooled[0], second.pooled[0])
    assert np.array_equal(first.pooled[1], second.pooled[1])


class Edited(Failing):
    "A data set one of whose photographs is edited when the work has begun: before its turn, or between two readings."

    def __init__(self, data, path, picture):
        super().__init__(data)
        self.path, self.picture = path, picture

    def content_keys(self):
        keys = self.data.content_keys()
        self.path.write_bytes(self.picture)
        return keys


def test_a_photograph_that_changes_meanwhile_is_refused_and_the_cache_stays_clean(tower, tmp_path):
    "Key and pixels come from the same bytes: nothing of the new picture is stored under the old one's name."
    for name, colour in (("a.png", 10), ("b.png", 200), ("c.png", 90)):
        Image.new("RGB", (40, 40), (colour, 0, 0)).save(tmp_path / name)
    (tmp_path / "labels.csv").write_text("image,cat\na.png,1\nb.png,0\nc.png,1\n")
    load = lambda: csv_dataset(tmp_path / "labels.csv", root=tmp_path)
    old, new = (tmp_path / "b.png").read_bytes(), (tmp_path / "a.png").read_bytes()
    for view in ("plain", "crop:1"):
        (tmp_path / "b.png").write_bytes(old)
        edited = Edited(load(), tmp_path / "b.png", new)
        with pytest.raises(DataError, match=r"b.png: was changed since the work began.*Do it again"):
            encode_dataset(tower, edited, tmp_path / "cache", shard_size=1, progress=False, views=view)
        again = encode_dataset(tower, load(), tmp_path / "cache", shard_size=1, progress=False, views=view)
        (tmp_path / "b.png").write_bytes(old)
        before = encode_dataset(tower, load(), tmp_path / "cache", shard_size=1, progress=False, views=view)
        if view == "plain":
            assert np.allclose(again.pooled[1], again.pooled[0], atol=1e-6)  # the same picture
            assert not np.allclose(before.pooled[1], again.pooled[1], atol=1e-4)
        assert before.folder != again.folder


def test_labels_and_masks_share_a_store(tower, tmp_path):
    data = scenes_dataset("val", 5, size=32)
    masked = data.with_mask(np.zeros_like(data.targets, bool))
    assert (
        encode_dataset(tower, data, tmp_path, progress=False).folder
        == encode_dataset(tower, masked, tmp_path, progress=False).folder
    )


@pytest.mark.fault('disk and clock', 'disk too small for features', 'refused before the work, with both sizes')
def test_full_disk_is_refused_before_encoding(tower, data, tmp_path, monkeypatch):
    monkeypatch.setattr(store_building.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    seen = Failing(data)
    with pytest.raises(StoreError, match="the features need 5.57 KiB and 0.977 KiB are free; .*pass cache="):
        encode_dataset(tower, seen, tmp_path, progress=False)
    assert not seen.seen


def test_unreadable_photograph_names_the_file(tower, pictures, tmp_path):
    for name in ("00.png", "01.png"):
        (tmp_path / name).write_bytes((pictures / name).read_bytes())
    (tmp_path / "labels.csv").write_text("image,cat\n00.png,1\n01.png,0\n")
    data = csv_dataset(tmp_path / "labels.csv", root=tmp_path)
    (tmp_path / "01.png").write_bytes((pictures / "01.png").read_bytes()[:200])
    with pytest.raises(DataError, match="01.png"):
        encode_dataset(tower, data, tmp_path / "cache", progress=False)


def test_empty_data_set(tower, data, tmp_path):
    with pytest.raises(StoreError, match="holds no images"):
        encode_dataset(tower, data.subset([]), tmp_path, progress=False)
    with pytest.raises(StoreError, match="no images to encode"):
        encode_images_now(tower, [])


def test_progress_and_cache_folder(tower, data, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TRMML_CACHE", str(tmp_path / "env"))
    store = encode_dataset(tower, data, progress=False)
    assert store.folder.parent == tmp_path / "env" and capfd.readouterr() == ("", "")
    encode_dataset(tower, data, tmp_path / "loud")
    assert "23 of 23" in capfd.readouterr().err
    monkeypatch.delenv("TRMML_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "trmml_nb"


def test_threads_are_given_back(tower, data, tmp_path):
    torch.set_num_threads(2)
    try:
        encode_dataset(tower, data, tmp_path, progress=False)
        with pytest.raises(KeyboardInterrupt):
            encode_dataset(tower, Failing(data, 5), tmp_path / "b", progress=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_precision_is_another_store(tower, data, tmp_path):
    full = encode_dataset(tower, data, tmp_path, progress=False)
    low = encode_dataset(tower, data, tmp_path, progress=False, precision=torch.bfloat16)
    assert full.folder != low.folder and (full.pooled * low.pooled).sum(1).min() > 0.98
    assert json.loads((low.folder / "images.json").read_text())["content_keys"] == data.content_keys()


# -- views

VIEWS = ("plain", "flip", "crop:3", "scale:48")


@pytest.fixture(scope="module")
def views(tower, pictures, tmp_path_factory):
    data = csv_dataset(pictures / "labels.csv", root=pictures)
    return encode_dataset(tower, data, tmp_path_factory.mktemp("views"), shard_size=10, progress=False, views=VIEWS)


def test_one_view_is_the_store_of_before(tower, data, tmp_path, views):
    plain = encode_dataset(tower, data, tmp_path, shard_size=10, progress=False)
    assert isinstance(plain, FeatureStore) and plain.folder.name == views.stores[0].folder.name
    assert contents(plain.folder) == contents(views.stores[0].folder)
    # the key of version 2 stores, as a store written earlier has it
    about = dict(version=2, tower=tower.fingerprint, autocast="None", contents=data.content_keys(), ids=data.image_ids)
    import hashlib

    assert plain.folder.name == hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]
    assert (
        encode_dataset(tower, data, tmp_path, progress=False, views="flip").folder.name == views.stores[1].folder.name
    )


def test_every_view_equals_direct_encoding(tower, data, views):
    keys = data.content_keys()
    for store, view in zip(views.stores, VIEWS):
        at = view_tower(tower, view)
        pixels = torch.stack([view_pixels(at, data.image(i), view, keys[i]) for i in range(23)])
        assert np.abs(np.asarray(store.dense, np.float32) - at.encode_images(pixels).dense.numpy()).max() < 2**-10, view
    flipped = torch.stack([tower.transform(data.image(i)) for i in range(23)]).flip(-1)
    assert np.allclose(views.stores[1].pooled, tower.encode_images(flipped).pooled.numpy(), atol=1e-6)
    by_hand = data.image(4).crop(crop_box(data.image(4).size, 3, keys[4]))
    assert np.allclose(
        views.stores[2].pooled[4], tower.encode_images(tower.transform(by_hand)[None]).pooled[0].numpy(), atol=1e-6
    )


def test_views_have_different_keys_and_depend_on_content_alone(tower, data, tmp_path, views):
    assert len({s.folder for s in views.stores}) == 4 and views.stores[3].grid == (6, 6)
    other = encode_dataset(tower, data, tmp_path, progress=False, views="crop:4")
    assert not np.allclose(other.pooled, views.stores[2].pooled, atol=1e-3)
    part = encode_dataset(tower, data.subset([7, 2]), tmp_path, progress=False, views="crop:3")
    assert np.allclose(part.pooled, views.stores[2].pooled[[7, 2]], atol=1e-6)
    with pytest.raises(TowerError, match="image_size 50"):
        encode_dataset(tower, data, tmp_path, progress=False, views=("plain", "scale:50"))


def test_concat_joins_positions_plain_first(views):
    rows = [22, 0, 5]
    got, parts = views.batch(rows), [s.batch(rows) for s in views.stores]
    assert got.dense.shape == (3, 16 * 3 + 36, 6) and torch.equal(got.dense[:, :16], parts[0].dense)
    assert torch.equal(got.dense[:, 48:], parts[3].dense) and torch.equal(
        got.norms, torch.cat([p.norms for p in parts], 1)
    )
    mean = sum(p.pooled.double() for p in parts)
    assert torch.allclose(got.pooled.double(), mean / mean.norm(dim=-1, keepdim=True), atol=1e-6)
    assert np.allclose(views.pooled[rows], got.pooled.numpy(), atol=1e-6)
    assert views.image_ids == views.stores[1].image_ids and len(views) == 23 and views.grid == (4, 4)
    assert torch.equal(ViewStore(views.stores, VIEWS).to_memory().batch(rows).dense, got.dense)
    for store in views.stores:
        store._memory = None


def test_sample_draws_views_evenly_and_repeats(views):
    three = ViewStore(views.stores[:3], VIEWS[:3], "sample")
    rows = torch.arange(23).repeat(30)
    draw = lambda seed: three.batch(rows, generator=torch.Generator().manual_seed(seed))
    got = draw(0)
    counts = [sum(torch.equal(f, s.batch([int(r)]).dense[0]) for f, r in zip(got.dense, rows)) for s in three.stores]
    assert sum(counts) == len(rows) and min(counts) > 150
    assert torch.equal(draw(0).dense, got.dense) and not torch.equal(draw(1).dense, got.dense)
    assert torch.equal(three.batch([4, 1]).dense, three.stores[0].batch([4, 1]).dense)
    assert np.array_equal(three.pooled, three.stores[0].pooled)
    with pytest.raises(IndexError):
        three.batch([23], generator=torch.Generator())


def test_views_that_cannot_be_used(tower, data, tmp_path, views):
    with pytest.raises(StoreError, match=r"mode 'sample' needs views with equally many positions.*\(4, 4\), \(6, 6\)"):
        ViewStore([views.stores[0], views.stores[3]], ("plain", "scale:48"), "sample")
    with pytest.raises(StoreError, match="mode is 'mean'"):
        ViewStore(views.stores, VIEWS, "mean")
    for stores, names in (([], ()), (views.stores[:2], ("plain", "plain")), (views.stores[:2], ("plain",))):
        with pytest.raises(StoreError, match="expected one or more, all different"):
            ViewStore(stores, names)
    with pytest.raises(StoreError, match="different images"):
        ViewStore(
            [views.stores[0], encode_dataset(tower, data.subset([0, 1]), tmp_path, progress=False)], ("plain", "flip")
        )
    seen = Failing(data)
    for wrong in ("mirror", "flip:1", "scale", "scale:0", "crop", "crop:-1", "crop:a", ""):
        with pytest.raises(StoreError, match="expected 'plain', 'flip'"):
            encode_dataset(tower, seen, tmp_path, progress=False, views=("plain", wrong))
    assert not seen.seen and view_parts("scale:320") == ("scale", 320)


def test_views_are_verified(tower, data, tmp_path):
    two = encode_dataset(tower, data, tmp_path, progress=False, views=("plain", "flip"))
    two.verify()
    victim = two.stores[1].folder / "shard-00000.safetensors"
    raw = bytearray(victim.read_bytes())
    raw[-1] ^= 1
    victim.write_bytes(raw)
    with pytest.raises(StoreError, match=f"{two.stores[1].folder.name}.*its data were changed"):
        two.verify()


# -- several builders, kills, growth


def test_what_a_builder_left_that_died_after_its_last_shard_is_swept(tower, data, tmp_path):
    made = encode_dataset(tower, data, tmp_path, batch_size=2, shard_size=4, progress=False)
    before, locks = contents(made.folder), tmp_path / ".locks"
    (locks / f"{made.folder.name}.00003.lock").touch()
    (made.folder / ".store.json.elsewhere.7.part").write_text("{")
    other = locks / "another-store.00000.lock"
    other.touch()
    again = encode_dataset(tower, data, tmp_path, batch_size=2, shard_size=4, progress=False)
    assert contents(again.folder) == before and list(locks.iterdir()) == [other]
    assert not list(tmp_path.glob("**/*.part"))


@pytest.mark.fault('two at once', 'two builders of one feature store', 'they share the work')
@pytest.mark.young
def test_two_builders_share_the_work(tower, data, tmp_path):
    whole = encode_dataset(tower, data, tmp_path / "whole", batch_size=2, shard_size=4, progress=False)
    slow = Slow(data, tmp_path / "note", 0.02)
    children = [
        in_child(encode_dataset, tower, slow, tmp_path / "both", batch_size=2, shard_size=4, progress=False)
        for _ in range(2)
    ]
    mine = encode_dataset(tower, slow, tmp_path / "both", batch_size=2, shard_size=4, progress=False)
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert contents(mine.folder) == contents(whole.folder)
    assert sorted(slow.rows()) == list(range(23))  # each image once, by somebody


@pytest.mark.young
def test_a_killed_builders_shard_is_taken_over(tower, data, tmp_path):
    stuck = Slow(data, tmp_path / "note", 60)
    child = in_child(encode_dataset, tower, stuck, tmp_path / "c", shard_size=4, progress=False)
    while not list((tmp_path / "c").glob(".locks/*.00000.lock")):
        time.sleep(0.01)
    threading.Timer(0.5, child.kill).start()  # we encode five shards, wait for the sixth, and then get it
    store = encode_dataset(tower, data, tmp_path / "c", shard_size=4, progress=False)
    child.join()
    store.verify()
    assert child.exitcode == -9 and len(store) == 23


def test_growth_encodes_only_new_images(tower, data, tmp_path):
    part = data.subset([0, 5, 6, 9])
    small = encode_dataset(tower, part, tmp_path, shard_size=3, progress=False)
    seen = Failing(data)
    grown = encode_dataset(tower, seen, tmp_path, shard_size=10, progress=False)
    assert sorted(seen.seen) == [i for i in range(23) if i not in (0, 5, 6, 9)]
    assert np.array_equal(grown.dense[np.array([0, 5, 6, 9])], small.dense[:]) and np.array_equal(
        grown.norms[[0, 5, 6, 9]], small.norms
    )
    fresh = encode_dataset(tower, data, tmp_path / "fresh", shard_size=10, progress=False)
    assert np.allclose(grown.pooled, fresh.pooled, atol=1e-6)
    seen = Failing(data)
    encode_dataset(
        tower, seen.data.subset([3, 2, 1]), tmp_path, progress=False
    )  # fewer, in another order: nothing to encode
    for options in (dict(views="flip"), dict(dtype="int8"), dict(precision=torch.bfloat16)):
        other = Failing(data)
        encode_dataset(tower, other, tmp_path, progress=False, **options)
        assert sorted(other.seen) == list(range(23)), options


def test_a_damaged_neighbour_is_not_used(tower, data, tmp_path):
    small = encode_dataset(tower, data.subset([0, 1]), tmp_path, progress=False)
    victim = small.folder / "shard-00000.safetensors"
    raw = bytearray(victim.read_bytes())
    raw[-3] ^= 1
    victim.write_bytes(raw)
    seen = Failing(data)
    encode_dataset(tower, seen, tmp_path, progress=False)
    assert sorted(seen.seen) == list(range(23))


def test_full_disk_is_refused_for_all_views_together(tower, data, tmp_path, monkeypatch):
    one = store_bytes(23, 16, 6)
    monkeypatch.setattr(store_building.shutil, "disk_usage", lambda path: SimpleNamespace(free=int(1.5 * one)))
    seen = Failing(data)
    with pytest.raises(StoreError, match="the features need"):
        encode_dataset(tower, seen, tmp_path, progress=False, views=("plain", "flip"))
    assert not seen.seen
    encode_dataset(tower, seen, tmp_path, progress=False)


def test_what_encoding_costs_is_said_first_and_only_for_what_is_left(tower, data, tmp_path, capsys):
    plans = plan_stores(tower, data, tmp_path, ['plain', 'flip'])
    said = encoding_cost(plans, data)
    assert (
        said.startswith('to encode: 46 images, about ') and said.endswith(' of disk') and not list(tmp_path.iterdir())
    )
    encode_dataset(tower, data, tmp_path)
    first, *bars = capsys.readouterr().err.splitlines()
    assert first.startswith('to encode: 23 images, about ') and bars[0].startswith('encode plain')
    assert encoding_cost(plans, data).startswith('to encode: 23 images')
    encode_dataset(tower, data, tmp_path, views=['plain', 'flip'], progress=False)
    assert encoding_cost(plans, data) == '' and capsys.readouterr().err == ''


def test_the_time_that_is_said_is_near_the_time_that_it_takes(tower, data, tmp_path, monkeypatch):
    "A tower that needs 20 ms an image, on one thread: 23 images are about half a second, eight times as many four."
    real = store_building.encode_pixels

    def slow(*said):
        time.sleep(0.02 * len(said[1]))
        return real(*said)

    monkeypatch.setattr(store_building, 'encode_pixels', slow)
    each = store_building.seconds_an_image(tower, data, [0, 5, 9])
    assert 0.02 <= each < 0.06
