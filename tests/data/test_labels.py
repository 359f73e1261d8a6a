"Labels: codes, masks, mask files and counts, against independent recomputation."

import hashlib
import os

import numpy as np
import pandas as pd
import pytest
import torch

from trmml_nb.data.labels import (
    ABSENT,
    CODES,
    PRESENT,
    UNKNOWN,
    LabelError,
    apply_mask,
    bernoulli_mask,
    co_occurrence,
    describe_mask,
    from_code,
    image_statistics,
    known,
    label_statistics,
    mask_sha256,
    to_code,
)
from trmml_nb.data.mask_files import (
    PUBLISHED_MASKS,
    check_published,
    read_mask_file,
    single_positive_mask,
    write_mask_file,
)


def random_targets(n=60, c=7, seed=0):
    return np.random.default_rng(seed).integers(-1, 2, (n, c)).astype(np.int8)


# --- codes -----------------------------------------------------------------------------------------------------------


def test_code_values():
    assert (PRESENT, ABSENT, UNKNOWN) == (1, 0, -1)


@pytest.mark.parametrize('code', list(CODES))
@pytest.mark.parametrize('kind', ['array', 'tensor'])
def test_round_trip(code, kind):
    targets = random_targets()
    given = torch.from_numpy(targets) if kind == 'tensor' else targets
    foreign = to_code(given, code)
    back = from_code(foreign, code)
    assert type(foreign) is type(given) is type(back)
    assert str(back.dtype).endswith('int8') and (np.asarray(back) == targets).all()


@pytest.mark.parametrize('dtype', [np.int8, np.int64, np.float32, np.float64])
def test_foreign_codes_by_hand(dtype):
    assert from_code(np.array([1, -1, 0], dtype), 'signed').tolist() == [1, 0, -1]
    assert from_code(np.array([1, 0, -1], dtype), 'minus_one').tolist() == [1, 0, -1]
    assert to_code(np.array([1, 0, -1], dtype), 'signed').tolist() == [1, -1, 0]


def test_nan_code():
    values = np.array([[1, 0, np.nan]])
    assert from_code(values, 'nan').tolist() == [[1, 0, -1]]
    assert from_code(torch.tensor([1, 0, float('nan')], dtype=torch.bfloat16), 'nan').tolist() == [1, 0, -1]
    frame = pd.DataFrame({'a': pd.array([1, None], dtype='Int64'), 'b': [0, 1]})
    assert from_code(frame, 'nan').tolist() == [[1, 0], [-1, 1]]
    out = to_code(np.array([1, 0, -1]), 'nan')
    assert out.dtype == np.float32 and np.isnan(out[2]) and out[:2].tolist() == [1, 0]


def test_from_code_accepts_lists_and_bools():
    assert from_code([[True, False]], 'minus_one').tolist() == [[1, 0]]
    assert from_code([], 'signed').shape == (0,)


def test_bad_value_names_row_column_value():
    values = np.zeros((4, 3))
    values[2, 1] = 3
    with pytest.raises(LabelError, match=r'row 2 \(img_c\), column 1 \(dog\) holds 3 \(1 bad'):
        from_code(values, 'minus_one', ['img_a', 'img_b', 'img_c', 'img_d'], ['cat', 'dog', 'bus'])
    with pytest.raises(LabelError, match=r'row 2, column 1 holds 3'):
        from_code(values, 'signed')
    with pytest.raises(LabelError, match=r'row 0 \(x\), column 0 \(dog\) holds nan'):
        from_code(pd.DataFrame({'dog': [np.nan]}, index=['x']), 'minus_one')
    with pytest.raises(LabelError, match=r'index \(1,\) holds 0.5'):
        from_code([0, 0.5], 'nan')
    with pytest.raises(LabelError, match='-1'):
        from_code([0, -1], 'nan')


def test_bad_code_and_dtype():
    with pytest.raises(LabelError, match="no label code 'coco'.*'signed'"):
        from_code([1], 'coco')
    with pytest.raises(LabelError, match='dtype'):
        from_code(['1', '0'], 'minus_one')
    with pytest.raises(LabelError, match='no number'):
        from_code(pd.DataFrame({'dog': ['yes']}), 'minus_one')
    with pytest.raises(LabelError, match='holds 5'):
        to_code(np.array([[5]]), 'signed')


def test_known():
    targets = random_targets()
    assert (known(targets) == ((targets == 1) | (targets == 0))).all()
    assert known(torch.from_numpy(targets)).dtype == torch.bool


# --- masks -----------------------------------------------------------------------------------------------------------


def test_bernoulli_is_the_fields_line():
    np.random.seed(0)
    theirs = np.random.random((50, 20)) < 0.3
    assert (bernoulli_mask((50, 20), 0.3) == theirs).all()
    assert not (bernoulli_mask((50, 20), 0.3, seed=1) == theirs).all()


def test_bernoulli_leaves_global_random_state_alone():
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    bernoulli_mask((5, 5), 0.5)
    single_positive_mask(np.ones((3, 3)))
    assert (np.random.get_state()[1] == before).all()


def test_published_masks():
    table = check_published()
    assert len(table) == len(PUBLISHED_MASKS) == 12 and table.agrees.all()
    assert len(set(table.expected)) == 12


def test_published_check_can_fail():
    wrong = PUBLISHED_MASKS[0]._replace(sha16='0' * 16)
    assert not check_published([wrong]).agrees.any()


def test_sha_by_hand():
    mask = np.array([[True, False, False, False], [False, False, False, True]])  # bits 1000 0001 = 0x81
    assert mask_sha256(mask) == hashlib.sha256(b'\x81').hexdigest()
    assert describe_mask(mask).startswith('2 x 4, 25.00 % known, sha256 ' + hashlib.sha256(b'\x81').hexdigest()[:16])
    assert mask_sha256(torch.from_numpy(mask)) == mask_sha256(mask)


def test_nested():
    masks = [bernoulli_mask((200, 20), p) for p in np.arange(0, 11) / 10]
    assert not masks[0].any() and masks[-1].all()
    assert all((a <= b).all() for a, b in zip(masks, masks[1:]))


@pytest.mark.parametrize('p', [10, -0.1, float('nan')])
def test_bad_share(p):
    with pytest.raises(LabelError, match='not a share'):
        bernoulli_mask((3, 3), p)


def test_voc_images_without_known_label():
    mask = bernoulli_mask((5011, 20), 0.1)
    assert (~mask).all(1).sum() == 533
    assert image_statistics(apply_mask(np.zeros(mask.shape, np.int8), mask))['with_no_known'] == 533


def test_apply_mask():
    truth, mask = random_targets(), bernoulli_mask((60, 7), 0.4)
    out = apply_mask(truth, mask)
    assert (out[mask] == truth[mask]).all() and (out[~mask] == UNKNOWN).all() and out.dtype == np.int8
    tensor = apply_mask(torch.from_numpy(truth), torch.from_numpy(mask))
    assert isinstance(tensor, torch.Tensor) and (tensor.numpy() == out).all()


def test_apply_mask_errors():
    with pytest.raises(LabelError, match=r'\(3, 2\).*\(2, 3\)'):
        apply_mask(np.zeros((2, 3)), np.ones((3, 2), bool))
    with pytest.raises(LabelError, match='int64, expected bool'):
        apply_mask(np.zeros((2, 3)), np.ones((2, 3), int))


def cole_observed(label_matrix, seed):
    "Cole et al.'s process, restated: per image shuffle the present, then the absent indices; keep the first present."
    rng = np.random.RandomState(seed)
    signed = np.where(label_matrix == 1, 1, -1)
    out = np.zeros_like(signed)
    for i in range(len(signed)):
        for value, keep in ((1, 1), (-1, 0)):
            at = np.nonzero(signed[i] == value)[0]
            rng.shuffle(at)
            out[i, at[:keep]] = value
    return out == 1


def test_single_positive():
    truth = (np.random.default_rng(3).random((300, 20)) < 0.15).astype(np.int8)
    mask = single_positive_mask(truth)
    assert (mask == cole_observed(truth, 1200)).all()
    assert (mask.sum(1) == truth.any(1)).all() and (truth[mask] == PRESENT).all()
    assert not (mask == single_positive_mask(truth, seed=1)).all()


def test_single_positive_is_uniform():
    truth = np.tile(np.array([[1, 0, 1, 1, 0]], np.int8), (6000, 1))
    share = single_positive_mask(truth).mean(0)
    assert np.allclose(share, [1 / 3, 0, 1 / 3, 1 / 3, 0], atol=0.02)


def test_single_positive_never_draws_unknown():
    truth = np.array([[-1, 1, -1], [-1, -1, 0]], np.int8)
    assert single_positive_mask(truth).tolist() == [[False, True, False], [False] * 3]


# --- files -----------------------------------------------------------------------------------------------------------


def test_mask_file_round_trip(tmp_path):
    targets, ids = random_targets(), [f'{i:06d}' for i in range(60)]
    path = write_mask_file(tmp_path / 'mask.txt', ids, targets)
    first = path.read_text().splitlines()[0].split()
    expected = np.select([targets[0] == 1, targets[0] == 0], [1, -1])
    assert first[0] == '000000' and [int(v) for v in first[1:]] == expected.tolist()
    order = np.random.default_rng(1).permutation(60)
    assert (read_mask_file(path, [ids[i] for i in order]) == targets[order]).all()
    assert os.listdir(tmp_path) == ['mask.txt']  # no part file left


def test_mask_file_accepts_bom_crlf_blank_end(tmp_path):
    (tmp_path / 'm.txt').write_bytes('\ufeffa 1 -1 0\r\nb 0 0 1\r\n\r\n'.encode())
    assert read_mask_file(tmp_path / 'm.txt', ['b', 'a']).tolist() == [[-1, -1, 1], [1, 0, -1]]


@pytest.mark.parametrize(
    'text, match',
    [
        ('a 1 0 2\n', r"line 1, column 2 \(bus\): '2' is no label"),
        ('a 1 0 0.5\n', r"'0.5' is no label"),
        ('a 1 0 0\nb 1 0\n', r'line 2: 2 values after the image id .b., expected 3'),
        ('a 1 0 0\na 1 0 0\n', r"line 2: image id 'a' stands in line 1 already"),
        ('b 1 0 0\n', r"1 of 1 image ids have no line, first 'a'"),
        ('a 1 0 0\nb 1 0 0\n', r"line 2: image id 'b' was not asked for"),
        ('', 'have no line'),
        ('a\n', '0 values'),
    ],
)
def test_mask_file_errors(tmp_path, text, match):
    path = tmp_path / 'm.txt'
    path.write_text(text)
    with pytest.raises(LabelError, match=match) as error:
        read_mask_file(path, ['a'], ['cat', 'dog', 'bus'])
    assert 'm.txt' in str(error.value)


def test_published_form_without_ids(tmp_path):
    "As TaI-DPT publishes it: commas, no ids, the order of trainval.txt; the pattern of known labels has the checksum."
    targets = apply_mask(
        (np.random.default_rng(3).random((5011, 20)) < 0.1).astype(np.int8), bernoulli_mask((5011, 20), 0.1)
    )
    ids = [f'{i:06d}' for i in range(5011)]
    path = write_mask_file(tmp_path / 'train_proportion_0.1.txt', ids, targets, ids=False)
    lines = path.read_text(encoding='utf-8').splitlines()
    assert len(lines) == 5011 and all(set(line.split(',')) <= {'1', '-1', '0'} for line in lines)
    read = read_mask_file(path, ids)
    assert (read == targets).all() and mask_sha256(known(read))[:16] == '6c449e375ae8f362'
    with pytest.raises(
        LabelError, match=r'5,011 lines without image ids.*2,501 images .*first .000000.*VOC2007 trainval'
    ):
        read_mask_file(path, ids[:2501])
    with pytest.raises(LabelError, match='the split that the file was made for'):
        (tmp_path / 'm.txt').write_text('1,0\n' * 7)
        read_mask_file(tmp_path / 'm.txt', ids)


@pytest.mark.parametrize(
    'text, match',
    [
        ('1,-1\n', r'line 1: 2 values between commas, expected 3'),
        ('1,2,0\n', r"line 1, column 1 \(dog\): '2' is no label"),
        ('1,,0\n', r"'' is no label"),
        ('1,0,0\na 1 0 0\n', 'line 2: some lines have commas and no id, others ids'),
        ('a 1 0 0\n1,0,0\n', 'line 2: some lines have commas'),
    ],
)
def test_mask_file_errors_without_ids(tmp_path, text, match):
    (tmp_path / 'm.txt').write_text(text)
    with pytest.raises(LabelError, match=match):
        read_mask_file(tmp_path / 'm.txt', ['x'], ['cat', 'dog', 'bus'])


def test_mask_file_without_ids_accepts_spaces_and_a_last_comma(tmp_path):
    (tmp_path / 'm.txt').write_bytes(b'1, -1, 0\r\n0,0,1,\r\n')
    assert read_mask_file(tmp_path / 'm.txt', ['a', 'b'], ['x', 'y', 'z']).tolist() == [[1, 0, -1], [-1, -1, 1]]


def test_mask_file_extra(tmp_path):
    (tmp_path / 'm.txt').write_text('a 1\nb 0\n')
    assert read_mask_file(tmp_path / 'm.txt', ['b'], extra='ignore').tolist() == [[-1]]
    with pytest.raises(LabelError, match='extra='):
        read_mask_file(tmp_path / 'm.txt', ['a', 'b'], extra='drop')


def test_mask_file_unreadable(tmp_path):
    with pytest.raises(LabelError, match='none.txt: cannot be read'):
        read_mask_file(tmp_path / 'none.txt', ['a'])
    (tmp_path / 'bin.txt').write_bytes(b'a \xff 1')
    with pytest.raises(LabelError, match='bin.txt: not UTF-8'):
        read_mask_file(tmp_path / 'bin.txt', ['a'])


def test_write_refuses(tmp_path):
    path = tmp_path / 'm.txt'
    targets = np.zeros((2, 3), np.int8)
    for ids, match in [
        (['a'], 'image ids for labels of shape'),
        (['a', 'a'], "'a' stands twice"),
        (['a', 'b c'], "'b c' .*white space"),
        (['a', ''], "'' .*is empty"),
    ]:
        with pytest.raises(LabelError, match=match):
            write_mask_file(path, ids, targets)
    assert not list(tmp_path.iterdir())
    path.write_text('mine')
    with pytest.raises(LabelError, match='not overwritten'):
        write_mask_file(path, ['a', 'b'], targets)
    assert path.read_text() == 'mine'


# --- counts ----------------------------------------------------------------------------------------------------------


def test_label_statistics():
    truth = random_targets(seed=2)
    targets = apply_mask(truth, bernoulli_mask(truth.shape, 0.5))
    table = label_statistics(targets, list('abcdefg'), truth)
    assert table.index.name == 'category', 'the word that every other table uses'
    for c, row in enumerate(table.itertuples()):
        column = targets[:, c].tolist()
        assert (row.present, row.absent, row.unknown) == tuple(column.count(v) for v in (1, 0, -1))
        assert row.known_share == pytest.approx(1 - column.count(-1) / 60)
        assert row.hidden_present == sum(t == 1 and k == -1 for t, k in zip(truth[:, c], column))
    assert len(label_statistics(np.zeros((0, 2), np.int8), ['a', 'b'])) == 2


def test_label_statistics_errors():
    with pytest.raises(LabelError, match=r'\(2, 3\), expected \[M, 2\]'):
        label_statistics(np.zeros((2, 3)), ['a', 'b'])
    with pytest.raises(LabelError, match='truth has shape'):
        label_statistics(np.zeros((2, 2)), ['a', 'b'], np.zeros((3, 2)))


def test_image_statistics():
    assert image_statistics(np.array([[-1, -1], [0, -1], [1, 0]])) == dict(images=3, with_no_known=1, with_no_present=2)


def test_co_occurrence():
    targets = random_targets(seed=4)
    share, counts = co_occurrence(targets)
    for i in range(7):
        for j in range(7):
            rows = [r for r in targets if r[i] == 1 and r[j] != -1]
            assert counts[i, j] == len(rows)
            assert share[i, j] == pytest.approx(np.mean([r[j] == 1 for r in rows]))
    assert np.isnan(co_occurrence(np.full((3, 2), -1))[0]).all()
