"Data: pictures, tables, folders and the benchmark layout; good input against references, bad input against messages."
import hashlib
import io
import os
import pickle
import struct
import warnings
import zlib

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from PIL import Image, ImageOps

from trmml_nb.data import (VOC_CLASSES, DataError, FileImage, MultiLabelDataset, SceneImage, build_transform,
                           check_labels, csv_dataset, image_folder, open_image, scenes_dataset,
                           voc_dataset)
from trmml_nb.labels import ABSENT, PRESENT, UNKNOWN, LabelError, bernoulli_mask
from trmml_nb.scenes import CATEGORIES, draw_scene, scene_seeds


def noise(width=24, height=16, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def photos(tmp_path):
    "A folder with three small pictures a.png, b.png, c.png."
    folder = tmp_path / 'photos'
    folder.mkdir()
    for i, name in enumerate('abc'):
        noise(seed=i).save(folder / f'{name}.png')
    return folder


def table(folder, text, name='labels.csv'):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


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


@pytest.mark.parametrize('side', [10_000, 60_000])  # above the warning, above the error of the image library
def test_bomb(tmp_path, side):
    (tmp_path / 'bomb.png').write_bytes(png_header(side, side))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(DataError, match='bomb.png.*(limit|exceeds)'):
            open_image(tmp_path / 'bomb.png')


def test_files_that_are_no_pictures(tmp_path):
    noise(200, 200).save(tmp_path / 'whole.jpg')
    data = (tmp_path / 'whole.jpg').read_bytes()
    (tmp_path / 'half.jpg').write_bytes(data[:len(data) // 2])
    (tmp_path / 'empty.jpg').touch()
    (tmp_path / 'text.jpg').write_text('hello')
    (tmp_path / 'folder.jpg').mkdir()
    os.mkfifo(tmp_path / 'pipe.jpg')
    for name, why in [('half.jpg', 'damaged'), ('empty.jpg', 'empty'), ('text.jpg', 'not a picture'),
                      ('folder.jpg', 'folder'), ('pipe.jpg', 'not a file'), ('lost.jpg', 'no such image'),
                      ('nul\0.jpg', 'no such image')]:
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
    for kwargs, match in [(dict(resize_mode='longest'), "'longest'.*'squash' or 'shortest'"),
                          (dict(interpolation='nearest'), 'nearest')]:
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
    good = dict(name='d', split='s', class_names=['a', 'b'], image_ids=['x'], targets=np.zeros((1, 2)), truth=None,
                images=[SceneImage(1, 8)])
    for change, match in [(dict(class_names=['a', 'a']), "'a' stands twice in class_names"),
                          (dict(image_ids=['x', 'x']), "'x' stands twice in image_ids"),
                          (dict(images=[]), '0 images for 1 image ids'),
                          (dict(targets=np.zeros((2, 2))), r'targets has shape \(2, 2\), expected \(1, 2\)'),
                          (dict(targets=None), 'targets has shape'),
                          (dict(truth=np.zeros((1, 3))), r'truth has shape \(1, 3\)')]:
        with pytest.raises(DataError, match=match):
            MultiLabelDataset(**{**good, **change})
    with pytest.raises(LabelError, match=r'row 0 \(x\), column 1 \(b\) holds 4'):
        MultiLabelDataset(**{**good, 'targets': np.array([[0, 4]])})
    assert MultiLabelDataset(**good).targets.dtype == np.int8


# --- tables ----------------------------------------------------------------------------------------------------------

EXPECTED = [[1, 0], [UNKNOWN, 1], [0, UNKNOWN]]


def test_csv(photos, monkeypatch):
    ds = csv_dataset(table(photos, 'image,dog,boat\na.png,1,0\nb.png,,1\nc.png,0,\n'))
    assert ds.targets.tolist() == EXPECTED == ds.truth.tolist() and ds.class_names == ['dog', 'boat']
    assert ds.image_ids == ['a.png', 'b.png', 'c.png'] and np.array_equal(ds.image(1), noise(seed=1))
    monkeypatch.chdir(photos)
    assert csv_dataset('labels.csv').targets.tolist() == EXPECTED
    monkeypatch.chdir(photos.parent)
    assert np.array_equal(csv_dataset('photos/labels.csv').image(0), noise(seed=0))


def test_csv_other_root(photos, tmp_path):
    ds = csv_dataset(table(tmp_path, 'image,dog\na.png,1\n'), root=photos)
    assert ds.image(0).size == (24, 16)


@pytest.mark.parametrize('text', [
    b'\xef\xbb\xbfimage,dog,boat\r\na.png,1,0\r\nb.png,,1\r\nc.png,0,\r\n',  # BOM, Windows line ends
    b'image;dog;boat\na.png;1;0\nb.png;;1\nc.png;0;\n',
    b'image\tdog\tboat\na.png\t1\t0\nb.png\t\t1\nc.png\t0\t\n',
    b'"image","dog","boat"\n"a.png","1","0"\n"b.png","","1"\n"c.png","0",""\n',
    b'image, dog , boat\n a.png , 1.0, 0.0\n\nb.png,,1\nc.png,0,\n,,\n',  # spaces, floats, blank lines
])
def test_csv_dialects(photos, text):
    ds = csv_dataset(table(photos, text))
    assert ds.targets.tolist() == EXPECTED and ds.class_names == ['dog', 'boat'] and ds.image_ids[0] == 'a.png'


def test_csv_quoted_comma(photos):
    noise().save(photos / 'a, b.png')
    ds = csv_dataset(table(photos, 'image,"dog, big"\n"a, b.png",1\n'))
    assert ds.class_names == ['dog, big'] and ds.image_ids == ['a, b.png']


@pytest.mark.parametrize('code, cells', [('minus_one', '1 0 -1'), ('signed', '1 -1 0'), ('nan', '1 0 NaN'),
                                         ('blank', '1 0 ')])
def test_csv_codes(photos, code, cells):
    rows = ''.join(f'{n}.png,{v}\n' for n, v in zip('abc', cells.split(' ')))
    ds = csv_dataset(table(photos, 'image,dog\n' + rows), code=code)
    assert ds.targets[:, 0].tolist() == [PRESENT, ABSENT, UNKNOWN]


def test_csv_from_frame(photos, monkeypatch):
    frame = pd.DataFrame({'image': ['a.png', 'b.png', 'c.png'], 'dog': [1, None, 0],
                          'boat': pd.array([0, 1, None], dtype='Int64')})
    assert csv_dataset(frame, root=photos).targets.tolist() == EXPECTED
    monkeypatch.chdir(photos)
    assert csv_dataset(frame).name == 'table'
    with pytest.raises(DataError, match=r"the table, row 2, column 'dog': '7' is no label"):
        csv_dataset(frame.assign(dog=['1', '0', '7']))
    with pytest.raises(DataError, match="the table, header: column 'dog' stands twice"):
        csv_dataset(pd.DataFrame([['a.png', 1, 0]], columns=['image', 'dog', 'dog']))


@pytest.mark.parametrize('text, match', [
    ('image,dog,boat\na.png,1,0\nb.png,1,yes\n', r"labels.csv, line 3, column 'boat': 'yes' is no label"),
    ('image,dog\na.png,-1\n', r"line 2, column 'dog': '-1' is no label; code='blank'.*name the code"),
    ('image,dog\na.png,2\n', "'2' is no label"),
    ('image,dog\na.png,nan\n', "'nan' is no label"),
    ('image,dog\na.png\n', 'line 2: 1 cells, expected 2'),
    ('image,dog\na.png,1,0\n', 'line 2: 3 cells, expected 2'),
    ('image,dog,dog\na.png,1,0\n', "line 1: column 'dog' stands twice"),
    ('image,dog,image\na.png,1,0\n', "column 'image' stands twice"),
    ('image,dog,\na.png,1,0\n', 'line 1, column 3: a category has no name'),
    ('file,dog\na.png,1\n', "line 1: expected a header image,<category>,.*found 'file,dog'"),
    ('image|dog\na.png|1\n', 'line 1: expected a header'),
    ('image\na.png\n', 'image_folder'),
    ('', "line 1: expected a header.*'an empty file'"),
    ('image,dog\n', 'a header, and no rows'),
    ('image,dog\na.png,1\nb.png,0\na.png,1\n', "line 4: image 'a.png' is named already in .*line 2"),
    ('image,dog\na.png,1\n./a.png,0\n', 'is named already'),
    ('image,dog\n,1\n', "line 2: '' is no path"),
    ('image,dog\n../x.png,1\n', r"line 2: '../x.png' is no path inside .*allow_outside"),
    ('image,dog\nsub/../../x.png,1\n', 'is no path inside'),
    ('image,dog\n/etc/x.png,1\n', "'/etc/x.png' is no path inside"),
    ('image,dog\n"a.png,1\n', 'line 2: unexpected end of data'),
    (b'image,dog\n\xff\xfe.png,1\n', 'not UTF-8'),
    ('image,dog\n"a\n.png",1\nb.png,x\n', 'line 4, column'),  # a quoted line break counts
])
def test_csv_errors(photos, text, match):
    with pytest.raises(DataError, match=match) as error:
        csv_dataset(table(photos, text))
    assert 'labels.csv' in str(error.value)


def test_csv_utf16_and_absent(photos):
    with pytest.raises(DataError, match='not UTF-8'):
        csv_dataset(table(photos, 'image,dog\na.png,1\n'.encode('utf-16')))
    with pytest.raises(DataError, match='none.csv: cannot be read'):
        csv_dataset(photos / 'none.csv')
    with pytest.raises(DataError, match="no code 'coco'"):
        csv_dataset(photos / 'none.csv', code='coco')
    with pytest.raises(DataError, match='on_bad='):
        csv_dataset(table(photos, 'image,dog\na.png,1\n'), on_bad='ignore')


def test_csv_outside_when_allowed(photos, tmp_path):
    noise(seed=9).save(tmp_path / 'x.png')
    path = table(photos, f'image,dog\n../x.png,1\n{photos}/a.png,0\n')
    ds = csv_dataset(path, allow_outside=True)
    assert np.array_equal(ds.image(0), noise(seed=9)) and ds.image_ids[0] == '../x.png'


def test_csv_links(photos, tmp_path):
    noise(seed=9).save(tmp_path / 'x.png')
    (photos / 'link.png').symlink_to(tmp_path / 'x.png')
    (photos / 'dead.png').symlink_to(tmp_path / 'nothing.png')
    assert np.array_equal(csv_dataset(table(photos, 'image,dog\nlink.png,1\n')).image(0), noise(seed=9))
    with pytest.raises(DataError, match='dead.png: no such image'):
        csv_dataset(table(photos, 'image,dog\ndead.png,1\n'))


def test_csv_bad_images(photos):
    data = (photos / 'c.png').read_bytes()
    (photos / 'c.png').write_bytes(data[:len(data) // 2])
    path = table(photos, 'image,dog\na.png,1\nlost.png,0\nb.png,0\nc.png,\n')
    with pytest.raises(DataError, match=r'1 of 4 images.*\n.*line 3: .*lost.png: no such image.*\n.*on_bad'):
        csv_dataset(path)
    ds = csv_dataset(path, on_bad='skip')
    assert ds.image_ids == ['a.png', 'b.png'] and ds.targets[:, 0].tolist() == [1, 0]
    assert [what.split(', ')[-1] for what, _ in ds.skipped] == ['line 3', 'line 5'] and 'damaged' in ds.skipped[1][1]
    assert '2 files skipped' in repr(ds) and ds.subset([0]).skipped == ds.skipped
    late = csv_dataset(table(photos, 'image,dog\nc.png,1\n'))  # the header is sound: named when it is loaded
    with pytest.raises(DataError, match='c.png: damaged'):
        late.image(0)
    with pytest.raises(DataError, match='1 of 1 images cannot be used'):
        csv_dataset(photos / 'labels.csv', on_bad='skip')


def test_csv_wrong_label_is_never_skipped(photos):
    with pytest.raises(DataError, match='is no label'):
        csv_dataset(table(photos, 'image,dog\na.png,x\n'), on_bad='skip')


def test_csv_many_bad_images_are_counted(photos):
    rows = ''.join(f'no{i}.png,1\n' for i in range(9))
    with pytest.raises(DataError, match=r'(?s)9 of 9 images.*no4.png.*\n  \.\.\.\n') as error:
        csv_dataset(table(photos, 'image,dog\n' + rows))
    assert 'no5.png' not in str(error.value)


# --- folders ---------------------------------------------------------------------------------------------------------

def test_image_folder(photos, tmp_path):
    (photos / 'B').mkdir()
    noise(seed=7).save(photos / 'B' / 'Z.JPG')
    noise(seed=8).save(photos / 'B' / 'a.Tiff')
    for name in ('notes.txt', '.hidden.png', 'Thumbs.db'):
        (photos / name).write_text('x')
    (photos / '.cache').mkdir()
    (tmp_path / 'elsewhere').mkdir()
    (photos / 'loop').symlink_to(photos)
    ds = image_folder(photos, ['dog', 'cat'])
    assert ds.image_ids == ['B/Z.JPG', 'B/a.Tiff', 'a.png', 'b.png', 'c.png']
    assert ds.truth is None and ds.object_masks(0) is None
    assert ds.targets.shape == (5, 2) and (ds.targets == UNKNOWN).all()
    assert {(os.path.basename(what), why) for what, why in ds.skipped} == {
        ('notes.txt', 'not an image suffix'), ('Thumbs.db', 'not an image suffix'), ('.hidden.png', 'hidden file'),
        ('.cache', 'hidden folder'), ('loop', 'link to a folder')}


def test_image_folder_one_file_and_errors(photos, tmp_path):
    ds = image_folder(photos / 'b.png')
    assert ds.image_ids == ['b.png'] and ds.targets.shape == (1, 0) and np.array_equal(ds[0].image, noise(seed=1))
    assert 'none of labels known' in repr(ds)
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty' / 'x.txt').touch()
    with pytest.raises(DataError, match=r'empty: no image in this folder \(1 other'):
        image_folder(tmp_path / 'empty')
    with pytest.raises(DataError, match='nowhere: no such image'):
        image_folder(tmp_path / 'nowhere')
    (photos / 'd.png').touch()
    with pytest.raises(DataError, match='(?s)1 of 4.*d.png.*0 bytes'):
        image_folder(photos)
    assert len(image_folder(photos, on_bad='skip')) == 3


# --- VOC -------------------------------------------------------------------------------------------------------------

@pytest.fixture
def voc(tmp_path):
    base = tmp_path / 'VOCdevkit' / 'VOC2007'
    main = base / 'ImageSets' / 'Main'
    main.mkdir(parents=True)
    (base / 'JPEGImages').mkdir()
    for i in range(6):
        noise(seed=i).save(base / 'JPEGImages' / f'00000{i}.jpg')
    files = {'train': '000003\n000001\n', 'val': '000000\n', 'test': '000004\n000005\n',
             'train_train': '000001  1\n000003 -1\n', 'train_val': '000000  0\n',  # a class named train
             'dog_train': '000001  0\n000003  1\n000002 1\n', 'dog_val': '000000  1\n'}
    for name, text in files.items():
        (main / f'{name}.txt').write_text(text)
    return base


def test_voc(voc):
    for root in (voc, voc.parent, voc.parent.parent):
        ds = voc_dataset(root)
        assert ds.class_names == ['dog', 'train'] and ds.image_ids == ['000003', '000001']
        assert ds.truth.tolist() == [[1, 0], [0, 1]]  # difficult (0) counts as absent
    assert ds.name == 'VOC2007' and np.array_equal(ds.image(1), Image.open(voc / 'JPEGImages/000001.jpg'))
    assert voc_dataset(voc, 'val', year=2007).truth.tolist() == [[1, 0]]


def test_voc_without_class_lists(voc):
    ds = voc_dataset(voc, 'test')
    assert ds.image_ids == ['000004', '000005'] and (ds.truth == UNKNOWN).all() and ds.truth.shape == (2, 2)
    for path in (voc / 'ImageSets/Main').glob('*_*.txt'):
        path.unlink()
    assert voc_dataset(voc, 'test').class_names == VOC_CLASSES
    assert len(VOC_CLASSES) == 20 and VOC_CLASSES == sorted(VOC_CLASSES)


def test_voc_trainval_from_parts(voc):
    ds = voc_dataset(voc, 'trainval')
    assert ds.image_ids == ['000000', '000001', '000003'] and ds.truth.tolist() == [[1, 0], [0, 1], [1, 0]]


def test_voc_errors(voc, tmp_path):
    main = voc / 'ImageSets/Main'
    with pytest.raises(DataError, match='no list tset.txt; lists there: test, train, val'):
        voc_dataset(voc, 'tset')
    with pytest.raises(DataError, match=r'no VOC2012/ImageSets/Main here \(VOC2007\)'):
        voc_dataset(voc.parent, year='2012')
    with pytest.raises(DataError, match='no such folder'):
        voc_dataset(tmp_path / 'nowhere')
    (main / 'dog_test.txt').write_text('000004 1\n000005 1\n')
    with pytest.raises(DataError, match='no list train_test.txt .1 of 2'):
        voc_dataset(voc, 'test')
    for text, match in [('000001 1\n', 'dog_train.txt has no line for 1 images of train.txt, first .000003'),
                        ('000001 1\n000003 2\n', "dog_train.txt, line 2: '000003 2'"),
                        ('000001 1\n000003\n', 'dog_train.txt, line 2'),
                        ('000001 1\n000001 1\n', "line 2: image id '000001' stands twice")]:
        (main / 'dog_train.txt').write_text(text)
        with pytest.raises(DataError, match=match):
            voc_dataset(voc)
    (main / 'val.txt').write_text('')
    with pytest.raises(DataError, match='the list is empty'):
        voc_dataset(voc, 'val')


def test_voc_missing_image(voc):
    (voc / 'JPEGImages/000003.jpg').unlink()
    with pytest.raises(DataError, match='(?s)1 of 2 images.*000003.jpg: no such image'):
        voc_dataset(voc)
    ds = voc_dataset(voc, on_bad='skip')
    assert ds.image_ids == ['000001'] and ds.truth.tolist() == [[0, 1]] and ds.skipped[0][0] == '000003'

REAL = os.environ.get('TRMML_VOC2007', '')


@pytest.mark.skipif(not os.path.isdir(REAL), reason='set TRMML_VOC2007 to a VOCdevkit folder to read the real one')
def test_real_voc():
    ds = voc_dataset(REAL, 'train')
    assert ds.class_names == VOC_CLASSES and ds.known_mask.all()
    for c in ('aeroplane', 'tvmonitor'):
        path = os.path.join(REAL, f'VOC2007/ImageSets/Main/{c}_train.txt')
        expected = [int(line.split()[1] == '1') for line in open(path)]
        assert ds.truth[:, VOC_CLASSES.index(c)].tolist() == expected
    assert ds.image(0).mode == 'RGB'


# --- is there anything to learn? -------------------------------------------------------------------------------------

def test_check_labels(photos):
    with pytest.raises(LabelError, match='photos/all: none of its 3 labels is known'):
        check_labels(image_folder(photos, ['dog']))
    targets = np.array([[1, -1, 0, 1], [0, -1, 0, 1], [-1, -1, -1, -1]])
    ds = image_folder(photos, ['ok', 'none', 'absent', 'present']).with_targets(targets)
    with pytest.warns(UserWarning, match='3 of 4 classes') as caught:
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
    (photos / 'a.png').write_bytes(data[:len(data) // 2])
    FileImage(str(photos / 'a.png')).check()
    with pytest.raises(DataError):
        FileImage(str(photos / 'a.png')).check(decode=True)


def test_difficult_objects_absent_or_left_out(voc):
    main = voc / 'ImageSets/Main'
    text = (main / 'dog_train.txt').read_text()
    ids = [line.split()[0] for line in text.splitlines()]
    (main / 'dog_train.txt').write_text(''.join(f'{i} 0\n' for i in ids))
    absent, left_out = (voc_dataset(voc, difficult=d) for d in ('absent', 'unknown'))
    c = absent.class_names.index('dog')
    assert (absent.truth[:, c] == ABSENT).all() and (left_out.truth[:, c] == UNKNOWN).all()
    with pytest.raises(DataError, match="difficult='ignore'"):
        voc_dataset(voc, difficult='ignore')
