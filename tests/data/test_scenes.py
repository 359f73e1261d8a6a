"The picture-book world: the same seed is the same scene, masks are exact, splits are apart."

import re
import time

import numpy as np
import pytest
from PIL import Image, ImageDraw

from trmml_nb.data.drawing import COLOURS, KINDS, Look, Sticker, box, disc, limb, ring, shade, sheet, soft
from trmml_nb.data.scenes import (
    CATEGORIES,
    MIN_AREA,
    MIN_VISIBLE,
    SPLITS,
    THEMES,
    draw_scene,
    owner_map,
    paint_scene,
    plan_scene,
    plural,
    scene_seeds,
)

LOOK = Look(COLOURS['red'], COLOURS['blue'], (0.3, 0.6, 0.9, 0.1, 0.5, 0.7, 0.2, 0.4))


@pytest.fixture(scope='module')
def scenes():
    return [draw_scene(s) for s in scene_seeds('train', 500)]


# --- drawing ---


def test_shapes_by_hand():
    assert np.allclose(np.hypot(*disc(0, 0, 0.5).T), 0.5)
    assert box(0, 0, 2, 1).tolist() == [[0, 0], [2, 0], [2, 1], [0, 1]]
    assert soft([(0, 0), (1, 0), (1, 1), (0, 1)], 1)[:3].tolist() == [[0.25, 0], [0.75, 0], [1, 0.25]]


def test_limb_is_as_long_as_it_should_be():
    p = limb(0, 0, 3, 4, 1.0)
    along = p @ np.array([0.6, 0.8])
    across = p @ np.array([-0.8, 0.6])
    assert np.isclose(along.min(), -0.5) and np.isclose(along.max(), 5.5)
    assert np.isclose(across.min(), -0.5) and np.isclose(across.max(), 0.5)


def test_ring_has_a_hole():
    canvas = Image.new('L', (200, 200))
    ImageDraw.Draw(canvas).polygon((ring(100, 100, 80, 20)).ravel().tolist(), fill=1)
    a = np.asarray(canvas)
    assert a[100, 100] == 0 and a[100, 170] == 1 and a[100, 190] == 0
    assert abs(a.sum() / (np.pi * (80**2 - 60**2)) - 1) < 0.05


@pytest.mark.parametrize('name', CATEGORIES)
def test_every_drawing_is_well_formed(name):
    rng = np.random.default_rng(0)
    for _ in range(30):
        parts = KINDS[name].draw(Look(COLOURS['red'], COLOURS['white'], tuple(rng.random(8))))
        for colour, points in parts:
            assert len(colour) in (3, 4) and all(0 <= c <= 255 for c in colour)
            assert np.asarray(points).shape[1] == 2 and np.isfinite(np.asarray(points, float)).all()
        solid = np.concatenate([np.asarray(p, float) for c, p in parts if len(c) == 3])
        assert solid.min() > -1.1 and solid.max() < 0.62 and 0.5 < np.ptp(solid, axis=0).max() < 1.15


def test_sticker_placement_against_a_rotation_matrix():
    parts = KINDS['cat'].draw(LOOK)
    points = Sticker(parts).points.copy()
    t = np.deg2rad(25)
    R = np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]])  # clockwise where y points down
    got = Sticker(parts).place(0.3, 0.8, 0.7, flip=False, tilt=25).points
    assert np.allclose(got, (R @ (points * 0.7).T).T + [0.3, 0.8])
    mirrored = Sticker(parts).place(0.3, 0.8, 0.7, flip=True, tilt=0).points
    assert np.allclose(mirrored, points * [-0.7, 0.7] + [0.3, 0.8])


def test_shade_and_sheet():
    assert shade((100, 50, 200), 0.0) == (100, 50, 200) and shade((9, 9, 9), -1.0) == (0, 0, 0)
    assert sheet(KINDS['dog'].draw, n=3, size=32).size == (96, 32)


# --- scenes ---


def test_same_seed_same_scene():
    for seed in scene_seeds('val', 12):
        a, b = draw_scene(seed), draw_scene(seed)
        assert np.array_equal(a.image, b.image) and a.captions == b.captions
        assert np.array_equal(a.masks, b.masks) and np.array_equal(a.labels, b.labels)


def test_other_seed_other_scene():
    pictures = {draw_scene(s, 48).image.tobytes() for s in scene_seeds('val', 40)}
    assert len(pictures) == 40


def test_a_scene_does_not_depend_on_its_size():
    overlaps = []
    for seed in scene_seeds('test', 25):
        small, large = draw_scene(seed, 128), draw_scene(seed, 384)
        assert np.array_equal(small.labels, large.labels) and small.captions == large.captions
        down = large.masks.reshape(len(CATEGORIES), 128, 3, 128, 3).mean((2, 4)) >= 0.5
        overlaps.append((down & small.masks).sum() / (down | small.masks).sum())
        change = np.abs(np.asarray(large.image.reduce(3), float) - np.asarray(small.image, float)).mean()
        assert change < 6
    assert np.mean(overlaps) > 0.88 and np.min(overlaps) > 0.6


def dilate(mask):
    p = np.pad(mask, 1)
    return np.any(
        [p[1 + i : p.shape[0] - 1 + i, 1 + j : p.shape[1] - 1 + j] for i in (-1, 0, 1) for j in (-1, 0, 1)], axis=0
    )


def test_masks_are_exact(scenes):
    for s in scenes[:40]:
        empty = paint_scene(s.plan, s.size, objects=False)
        changed = (np.asarray(empty) != np.asarray(s.image)).any(-1)
        covered = s.masks.any(0)
        assert (s.masks.sum(0) <= 1).all()  # one owner at most
        assert (changed <= dilate(covered)).mean() > 0.999  # only edge pixels change without an owner
        assert changed[covered].mean() > 0.93  # the rest of the owned pixels happen to keep their colour
        assert np.array_equal(s.masks.any((1, 2)), s.labels == 1)


def test_masks_against_one_object_at_a_time(scenes):
    "Repaint each object by itself, in depth order, at a higher resolution: an independent owner map."
    shares = []
    for s in scenes[:15]:
        fine = np.zeros((512, 512), int)
        for i, sticker in s.plan.layers:
            for colour, a, b in zip(sticker.colours, sticker.cuts, sticker.cuts[1:]):
                if len(colour) == 4:
                    continue
                one = Image.new('1', (512, 512))
                ImageDraw.Draw(one).polygon((sticker.points[a:b] * 512).ravel().tolist(), fill=1)
                fine[np.asarray(one)] = i
        for i in range(1, len(s.objects) + 1):
            cover = (fine == i).reshape(128, 4, 128, 4).mean((1, 3))
            shares.append(cover[s.owners == i].mean())
            assert abs((s.owners == i).sum() - cover.sum()) < 15 + 0.25 * cover.sum()  # thin parts are a little thicker
    assert np.mean(shares) > 0.85


def test_everyone_drawn_is_a_fair_label(scenes):
    for s in scenes:
        assert 1 <= len(s.objects) <= 6
        assert all(o.visible >= MIN_VISIBLE and o.area >= MIN_AREA for o in s.objects) or len(s.objects) == 1
        assert {CATEGORIES[i] for i in np.flatnonzero(s.labels)} == {o.category for o in s.objects}
        for o in s.objects:
            x0, y0, x1, y1 = o.box
            assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1


def test_boxes_and_areas_are_those_of_the_visible_object(scenes):
    for s in scenes[:60]:
        for i, o in enumerate(s.objects, 1):
            owned = s.owners == i
            x0, y0, x1, y1 = np.array(o.box) * s.size
            inside = np.zeros_like(owned)
            inside[int(y0) - 2 if y0 > 2 else 0 : int(y1) + 3, int(x0) - 2 if x0 > 2 else 0 : int(x1) + 3] = True
            assert owned[inside].sum() >= 0.95 * owned.sum()  # a speck may show that the small painting missed
            assert abs(owned.mean() - o.area) < 0.003 + 0.15 * o.area


def test_frequencies_and_company(scenes):
    labels = np.stack([s.labels for s in scenes])
    share = labels.mean(0)
    assert 0.02 < share.min() < 0.06 and 0.3 < share.max() < 0.42
    c = {n: i for i, n in enumerate(CATEGORIES)}
    given = lambda a, b: labels[labels[:, c[a]] == 1, c[b]].mean()
    assert given('umbrella', 'person') > 1.3 * share[c['person']]
    assert given('cup', 'chair') > 2 * share[c['chair']]
    assert given('fish', 'tree') == 0
    assert {s.theme for s in scenes} == set(THEMES)


def test_captions_name_only_what_is_there(scenes):
    named = []
    for s in scenes:
        present = {CATEGORIES[i] for i in np.flatnonzero(s.labels)}
        assert len(s.captions) == 3
        for text in s.captions:
            words = set(re.findall(r'[a-z]+', text.lower()))
            found = {c for c in CATEGORIES if c in words or plural(c) in words}
            assert found <= present, (text, present)
            named.append(len(found) / len(present))
    assert 0.35 < np.mean(named) < 0.9 and 0 < np.mean(np.array(named) == 0) < 0.1


def test_colour_words_are_true(scenes):
    for s in scenes:
        for text in s.captions:
            for colour, category in re.findall(rf"({'|'.join(COLOURS)}) ({'|'.join(CATEGORIES)})\b", text):
                assert any(o.category == category and o.colour == colour for o in s.objects), text


def test_splits_are_apart():
    sets = [set(scene_seeds(s, 5000, seed)) for s in SPLITS for seed in (0, 1)]
    assert len(set.union(*sets)) == 5000 * len(sets)
    assert scene_seeds('train', 3) == scene_seeds('train', 5)[:3]


@pytest.mark.parametrize(
    'args, word',
    [
        (('holdout', 5), 'holdout'),
        (('train', -1), '-1'),
        (('train', 2_000_000), '2000000'),
        (('train', 5, 1000), '1000'),
    ],
)
def test_bad_splits_are_refused(args, word):
    with pytest.raises(ValueError, match=word):
        scene_seeds(*args)


def test_pillow_reads_nothing_global():
    "Drawing must neither use nor move the global random generators."
    import random

    random.seed(1)
    np.random.seed(1)
    a = (random.random(), np.random.random())
    random.seed(1)
    np.random.seed(1)
    draw_scene(5).image, draw_scene(5).captions
    assert a == (random.random(), np.random.random())


def test_owner_map_matches_masks():
    s = draw_scene(2_000_000_001)
    assert np.array_equal(owner_map(plan_scene(s.seed), 128), s.owners)


def test_speed_is_printed(capsys):
    start = time.process_time()
    for seed in scene_seeds('train', 60):
        s = draw_scene(seed)
        s.image, s.labels, s.captions
    with capsys.disabled():
        print(f' [scenes: {60 / (time.process_time() - start):.0f} a second at 128 pixels] ', end='')
