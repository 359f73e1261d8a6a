"""Data: pictures as people see them, the data set type, transforms; good input against references, bad input against
messages."""

import hashlib
import io
import os
import pickle
import struct
import warnings
import zlib

import numpy as np
import open_clip
import pytest
import torch
from PIL import EpsImagePlugin, Image, ImageOps

from trmml_nb.data.dataset import (
    FileImage,
    MultiLabelDataset,
    SceneImage,
    build_transform,
    check_labels,
    open_image,
    scenes_dataset,
)
from trmml_nb.datasets.archives import image_problem
from trmml_nb.errors import DataError
from trmml_nb.data.labels import PRESENT, UNKNOWN, LabelError, bernoulli_mask
from trmml_nb.data.own_data import image_folder
from trmml_nb.data.scenes import CATEGORIES, draw_scene, scene_seeds
from helpers.pictures import noise


# --- open_image ------------------------------------------------------------------------------------------------------


def test_rgb_is_unchanged(tmp_path):
    noise().save(tmp_path / 'a.png')
    for source in (tmp_path / 'a.png', str(tmp_path / 'a.png'), open(tmp_path / 'a.png', 'rb'), noise()):
        out = open_image(source)
        assert out.mode == 'RGB' and np.array_equal(out, noise())
        assert not getattr(source, 'closed', False)  # an open file stays open


def test_grey_palette_bilevel():
    grey = noise().convert('L')
    assert np.array_equal(open_image(grey), np.repeat(np.asarray(grey)[..., None], 3, 2))
    palette = noise().quantize(16)
    assert np.array_equal(open_image(palette), palette.convert('RGB'))
    assert set(np.unique(open_image(grey.convert('1')))) <= {0, 255}


@pytest.mark.parametrize('turn', range(1, 9))
def test_exif_turns(tmp_path, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    noise().save(tmp_path / 'a.png', exif=exif)
    expected = ImageOps.exif_transpose(Image.open(tmp_path / 'a.png'))
    out = open_image(tmp_path / 'a.png')
    assert np.array_equal(out, expected) and out.size == expected.size
    assert np.array_equal(open_image(out), out)  # not turned twice


@pytest.mark.filterwarnings('ignore:Truncated:UserWarning')  # Pillow's own
@pytest.mark.filterwarnings('ignore:Corrupt:UserWarning')
def test_exif_note_with_other_damage_still_turns(tmp_path):
    turn, past_the_end = struct.pack('<HHII', 0x0112, 3, 1, 6), struct.pack('<HHII', 0x011A, 5, 1, 99999)
    exif = b'Exif\x00\x00II*\x00' + struct.pack('<IH', 8, 2) + turn + past_the_end + struct.pack('<I', 0)
    noise().save(tmp_path / 'a.png', exif=exif)
    assert np.array_equal(open_image(tmp_path / 'a.png'), noise().transpose(Image.Transpose.ROTATE_270))


def test_unreadable_exif_warns(tmp_path):
    noise().save(tmp_path / 'a.png', exif=b'Exif\x00\x00this is no note at all')
    with pytest.warns(UserWarning, match='a.png: the EXIF note cannot be read'):
        assert np.array_equal(open_image(tmp_path / 'a.png'), noise())


@pytest.mark.parametrize('name', ['rgba.png', 'la.png', 'palette.png', 'trns.png', 'a.gif'])
def test_alpha_is_laid_on_white(tmp_path, name):
    rgb = np.zeros((8, 8, 3), np.uint8)
    alpha = np.zeros((8, 8), np.uint8)
    alpha[2:6, 2:6] = 255
    image = Image.fromarray(np.dstack([rgb, alpha]))
    if name == 'la.png':
        image = image.convert('LA')
    if name in ('palette.png', 'a.gif'):
        image = Image.fromarray((alpha > 0).astype(np.uint8)).convert('P')
        image.putpalette([255, 0, 0, 0, 0, 0])
        image.save(tmp_path / name, transparency=0)
    elif name == 'trns.png':
        image = Image.fromarray(np.where(alpha[..., None] > 0, 0, 200).repeat(3, 2).astype(np.uint8))
        image.save(tmp_path / name, transparency=(200, 200, 200))
    else:
        image.save(tmp_path / name)
    out = np.asarray(open_image(tmp_path / name))
    assert (out[2:6, 2:6] == 0).all() and (out[0] == 255).all() and (out[:, -1] == 255).all()


def test_half_transparent_is_mixed_with_white():
    image = Image.new('RGBA', (1, 1), (0, 100, 200, 128))
    expected = [round(v * 128 / 255 + 255 * 127 / 255) for v in (0, 100, 200)]
    assert np.abs(np.array(open_image(image).getpixel((0, 0))) - expected).max() <= 1


def test_sixteen_bits(tmp_path):
    values = np.arange(0, 65536, 257 * 4, dtype=np.uint16).reshape(8, 8)
    for name in ('a.png', 'a.tif'):
        Image.fromarray(values).save(tmp_path / name)
        assert np.array_equal(np.asarray(open_image(tmp_path / name))[..., 0], values >> 8)


@pytest.mark.parametrize('mode', ['I', 'F'])
def test_32_bits_are_refused(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / 'a.tif')
    with pytest.raises(DataError, match='a.tif.*8 bits'):
        open_image(tmp_path / 'a.tif')


def test_cmyk(tmp_path):
    Image.new('RGB', (8, 8), (200, 50, 100)).convert('CMYK').save(tmp_path / 'a.jpg', quality=100)
    assert np.abs(np.asarray(open_image(tmp_path / 'a.jpg')).astype(int) - (200, 50, 100)).max() <= 4


def test_one_pixel(tmp_path):
    Image.new('RGB', (1, 1), (1, 2, 3)).save(tmp_path / 'a.png')
    assert open_image(tmp_path / 'a.png').getpixel((0, 0)) == (1, 2, 3)
    assert build_transform(32, (0, 0, 0), (1, 1, 1))(open_image(tmp_path / 'a.png')).shape == (3, 32, 32)


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new('RGB', (4, 4), c) for c in ('red', 'blue')]
    frames[0].save(tmp_path / 'a.gif', save_all=True, append_images=frames[1:])
    assert open_image(tmp_path / 'a.gif').getpixel((0, 0)) == (255, 0, 0)


def png_header(width, height):
    "A PNG of any claimed size with hardly any data: a decompression bomb."

    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', b'') + chunk(b'IEND', b'')


@pytest.mark.fault('hostile files', 'picture that grows without end', 'refused')
@pytest.mark.parametrize('side', [10_000, 60_000])  # above the warning, above the error of the image library
def test_bomb(tmp_path, side):
    (tmp_path / 'bomb.png').write_bytes(png_header(side, side))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(DataError, match='bomb.png.*(limit|exceeds)'):
            open_image(tmp_path / 'bomb.png')


@pytest.mark.fault(
    'hostile files',
    'a PostScript program called .jpg, and a picture of some thousand pixels by one, which fills the memory as it is '
    'resized',
    'refused by name, also where an archive is looked through; no program is started',
)
def test_programs_and_threads_are_no_pictures(tmp_path, monkeypatch):
    noise(20, 20).save(tmp_path / 'program.jpg', 'EPS')
    Image.new('L', (501, 1)).save(tmp_path / 'wide.png')
    Image.new('L', (1, 100_000)).save(tmp_path / 'tall.png')
    monkeypatch.setattr(EpsImagePlugin, 'Ghostscript', lambda *_: pytest.fail('a program was started'))
    for name, why in (('program.jpg', 'EPS is drawn by running'), ('wide.png', '501 x 1'), ('tall.png', '1 x 100000')):
        for look in (open_image, lambda path: FileImage(str(path)).check()):
            with pytest.raises(DataError, match=f'{name}: {why}'):
                look(tmp_path / name)
        assert why in image_problem(tmp_path / name)
    Image.new('L', (500, 1)).save(tmp_path / 'long.png')
    assert open_image(tmp_path / 'long.png').size == (500, 1)


def test_files_that_are_no_pictures(tmp_path):
    noise(200, 200).save(tmp_path / 'whole.jpg')
    data = (tmp_path / 'whole.jpg').read_bytes()
    (tmp_path / 'half.jpg').write_bytes(data[: len(data) // 2])
    (tmp_path / 'empty.jpg').touch()
    (tmp_path / 'text.jpg').write_text('hello')
    (tmp_path / 'folder.jpg').mkdir()
    os.mkfifo(tmp_path / 'pipe.jpg')
    for name, why in [
        ('half.jpg', 'damaged'),
        ('empty.jpg', 'empty'),
        ('text.jpg', 'not a picture'),
        ('folder.jpg', 'folder'),
        ('pipe.jpg', 'not a file'),
        ('lost.jpg', 'no such image'),
        ('nul\0.jpg', 'no such image'),
    ]:
        with pytest.raises(DataError, match=f'{name}.*{why}'):
            open_image(tmp_path / name)
    with pytest.raises(DataError, match='the image file: not a picture'):
        open_image(io.BytesIO(b'nothing'))


# --- transforms ------------------------------------------------------------------------------------------------------

MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD


@pytest.mark.parametrize('size', [(500, 375), (333, 500), (60, 90), (448, 448), (1, 7)])
@pytest.mark.parametrize('mode', ['squash', 'shortest'])
@pytest.mark.parametrize('interpolation', ['bicubic', 'bilinear'])
def test_transform_agrees_with_open_clip(size, mode, interpolation):
    image = noise(*size)
    theirs = open_clip.image_transform(448 if mode == 'squash' else 224, False, MEAN, STD, mode, interpolation)(image)
    ours = build_transform(448 if mode == 'squash' else 224, MEAN, STD, interpolation, mode)(image)
    assert ours.shape == theirs.shape and torch.allclose(ours, theirs, atol=1e-6, rtol=0)


def test_transform_rectangle_and_errors():
    assert build_transform((32, 64), MEAN, STD)(noise()).shape == (3, 32, 64)
    for kwargs, match in [
        (dict(resize_mode='longest'), "'longest'.*'squash' or 'shortest'"),
        (dict(interpolation='nearest'), 'nearest'),
    ]:
        with pytest.raises(DataError, match=match):
            build_transform(32, MEAN, STD, **kwargs)
    with pytest.raises(DataError, match='32 x 64'):
        build_transform((32, 64), MEAN, STD, resize_mode='shortest')


def test_transform_pickles():
    again = pickle.loads(pickle.dumps(build_transform(16, MEAN, STD)))
    assert torch.equal(again(noise()), build_transform(16, MEAN, STD)(noise()))


# --- the data set type -----------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def scenes():
    return scenes_dataset('train', n=30, size=48)


def test_scenes(scenes):
    assert len(scenes) == 30 and scenes.class_names == list(CATEGORIES) and scenes.known_mask.all()
    for i, seed in enumerate(scene_seeds('train', 30)[:4]):
        scene = draw_scene(seed, 48)
        assert np.array_equal(scenes.image(i), scene.image) and np.array_equal(scenes.truth[i], scene.labels)
        assert np.array_equal(scenes.object_masks(i), scene.masks)
        assert (scenes.object_masks(i).any((1, 2)) <= (scenes.truth[i] == PRESENT)).all()
    other = scenes_dataset('val', n=30)
    assert not set(scenes.image_ids) & set(other.image_ids)


def test_scene_splits_and_seeds():
    assert scenes_dataset('val', n=3, seed=1).image_ids != scenes_dataset('val', n=3, seed=0).image_ids
    assert scenes_dataset('val', n=3).image_ids == scenes_dataset('val', n=5).image_ids[:3]
    with pytest.raises(DataError, match='no default number'):
        scenes_dataset('clip')


def test_items(scenes):
    ds = scenes.with_mask(bernoulli_mask(scenes.truth.shape, 0.3))
    image, targets, index, image_id = ds[np.int64(-1)]
    assert targets.dtype == torch.int8 and targets.tolist() == ds.targets[29].tolist()
    assert index == 29 and image_id == ds.image_ids[29] and image.size == (48, 48)
    with pytest.raises(IndexError):
        ds[30]
    assert sum(1 for _ in ds) == 30
    targets += 5  # an example's labels are a copy
    assert ds.targets.max() <= 1


def test_loader_workers(scenes):
    ds = scenes.with_transform(build_transform(32, MEAN, STD))
    loader = torch.utils.data.DataLoader(ds, batch_size=8, num_workers=2)
    batches = list(loader)
    assert torch.cat([b.targets for b in batches]).equal(torch.from_numpy(ds.targets))
    assert sum((list(b.image_id) for b in batches), []) == ds.image_ids
    assert torch.equal(batches[1].image[0], ds[8].image)


def test_masks_do_not_pile_up(scenes):
    few, many = bernoulli_mask(scenes.truth.shape, 0.1), bernoulli_mask(scenes.truth.shape, 0.5)
    assert np.array_equal(scenes.with_mask(few).with_mask(many).targets, scenes.with_mask(many).targets)
    assert scenes.known_mask.all()  # the first data set is as it was
    assert np.array_equal(scenes.with_mask(few).truth, scenes.truth)


def test_mask_without_truth_masks_targets():
    ds = MultiLabelDataset('d', 's', ['a'], ['x', 'y'], np.array([[1], [0]]), None, [SceneImage(1, 8)] * 2)
    assert ds.with_mask(np.array([[True], [False]])).targets.tolist() == [[1], [UNKNOWN]]


def test_subset(scenes):
    ds = scenes.with_mask(bernoulli_mask(scenes.truth.shape, 0.3))
    part = ds.subset([5, 2, -1], split='p')
    assert part.image_ids == [ds.image_ids[i] for i in (5, 2, 29)] and part.split == 'p'
    assert np.array_equal(part.targets, ds.targets[[5, 2, 29]]) and np.array_equal(part.truth, ds.truth[[5, 2, 29]])
    assert part.content_keys() == [ds.content_keys()[i] for i in (5, 2, 29)]
    assert ds.subset(np.arange(30) % 2 == 0).image_ids == ds.image_ids[::2]
    assert len(ds.subset([])) == 0
    for bad, match in [([30], r'30..30'), ([0, 0], 'twice'), ([True], r'shape \(1,\)'), ([0.5], 'float64')]:
        with pytest.raises(DataError, match=match):
            ds.subset(bad)


def test_random_split(scenes):
    a, b = scenes.random_split(0.8, seed=3)
    assert (len(a), len(b)) == (24, 6) and sorted(a.image_ids + b.image_ids) == sorted(scenes.image_ids)
    assert a.image_ids == scenes.random_split(0.8, seed=3)[0].image_ids != scenes.random_split(0.8, seed=4)[0].image_ids
    assert [i for i in scenes.image_ids if i in set(a.image_ids)] == a.image_ids
    for fraction in (0, 1, 20):
        with pytest.raises(DataError, match=r'not in \(0, 1\)'):
            scenes.random_split(fraction)


def test_content_keys(scenes, photos):
    assert len(set(scenes.content_keys())) == 30
    assert scenes.content_keys() == scenes_dataset('train', n=30, size=48).content_keys()
    assert not set(scenes.content_keys()) & set(scenes_dataset('train', n=30, size=64).content_keys())
    (photos / 'copy.png').write_bytes((photos / 'a.png').read_bytes())
    ds = image_folder(photos)
    keys = dict(zip(ds.image_ids, ds.content_keys()))
    assert keys['a.png'] == keys['copy.png'] != keys['b.png']
    assert keys['a.png'] == hashlib.sha256((photos / 'a.png').read_bytes()).hexdigest()
    (photos / 'a.png').unlink()
    with pytest.raises(DataError, match='a.png: cannot be read'):
        ds.content_keys()
    with pytest.raises(DataError, match='a.png: no such image'):
        ds.image(0)


def test_dataset_checks_itself():
    good = dict(
        name='d',
        split='s',
        class_names=['a', 'b'],
        image_ids=['x'],
        targets=np.zeros((1, 2)),
        truth=None,
        images=[SceneImage(1, 8)],
    )
    for change, match in [
        (dict(class_names=['a', 'a']), "'a' stands twice in class_names"),
        (dict(image_ids=['x', 'x']), "'x' stands twice in image_ids"),
        (dict(images=[]), '0 images for 1 image ids'),
        (dict(targets=np.zeros((2, 2))), r'targets has shape \(2, 2\), expected \(1, 2\)'),
        (dict(targets=None), 'targets has shape'),
        (dict(truth=np.zeros((1, 3))), r'truth has shape \(1, 3\)'),
    ]:
        with pytest.raises(DataError, match=match):
            MultiLabelDataset(**{**good, **change})
    with pytest.raises(LabelError, match=r'row 0 \(x\), column 1 \(b\) holds 4'):
        MultiLabelDataset(**{**good, 'targets': np.array([[0, 4]])})
    assert MultiLabelDataset(**good).targets.dtype == np.int8


# --- is there anything to learn? -------------------------------------------------------------------------------------


def test_check_labels(photos):
    with pytest.raises(LabelError, match='photos/all: none of its 3 labels is known'):
        check_labels(image_folder(photos, ['dog']))
    targets = np.array([[1, -1, 0, 1], [0, -1, 0, 1], [-1, -1, -1, -1]])
    ds = image_folder(photos, ['ok', 'none', 'absent', 'present']).with_targets(targets)
    with pytest.warns(UserWarning, match='3 of 4 categories') as caught:
        report = check_labels(ds)
    assert len(caught) == 1
    assert report.problem.tolist() == ['', 'no known label', 'never known present', 'never known absent']


def test_check_labels_all_well(scenes):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        report = check_labels(scenes_dataset('train', n=150))
    assert (report.problem == '').all()


def test_file_image_check(photos):
    FileImage(str(photos / 'a.png')).check()
    data = (photos / 'a.png').read_bytes()
    (photos / 'a.png').write_bytes(data[: len(data) // 2])
    FileImage(str(photos / 'a.png')).check()
    with pytest.raises(DataError):
        FileImage(str(photos / 'a.png')).check(decode=True)


def test_one_is_not_many():
    data = scenes_dataset('val', 2)
    assert '2 images, 20 categories' in repr(data)
    one = data.subset([0])
    assert '1 image, 20 categories' in repr(one)
    alone = MultiLabelDataset('a', 'all', ['dog'], ['x'], np.array([[1]]), None, [one.images[0]])
    assert repr(alone).startswith('a/all: 1 image, 1 category, 100.0 %')


def test_a_drawing_is_looked_at_in_full_size_and_a_photograph_as_it_is(tmp_path):
    scenes = scenes_dataset('val', 2, size=64)
    large = scenes.picture(1, 256)
    assert large.size == (256, 256) and scenes.image(1).size == (64, 64) and scenes.picture(1, 32).size == (64, 64)
    again = np.asarray(large.resize((64, 64), Image.Resampling.BOX), float)
    assert np.abs(again - np.asarray(scenes.image(1), float)).mean() < 8, 'the same scene'
    Image.new('RGB', (30, 20), 'red').save(tmp_path / 'a.png')
    assert image_folder(tmp_path, ['cat']).picture(0).size == (30, 20)
