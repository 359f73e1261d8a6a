"A share of the fuzzing campaign, with a fixed seed: every reader refuses in words or reads; nothing else happens."

import importlib.util
from collections import Counter
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location('fuzz', Path(__file__).parent.parent / 'scripts' / 'fuzz.py')
fuzz = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fuzz)


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    return fuzz.readers(tmp_path_factory.mktemp('fuzz'))


@pytest.mark.fault(
    'damaged or foreign files',
    'every kind of file that is read, damaged at random',
    'refused in words, or read; nothing else',
)
def test_damaged_files_are_refused_in_words_or_read(found):
    trials = 18 * len(found)
    counts, wrong = fuzz.campaign(found, trials, seed=7)
    together = sum(counts.values(), Counter())
    assert not wrong, '\n'.join(wrong)
    assert together['refused'] + together['read'] == trials and together['refused'] > trials / 2 and len(found) >= 40
    for name in ('prepared table', 'checkpoint', 'model', 'shard'):
        assert counts[name]['refused'] > 15, name  # they carry a digest: no damage is read


@pytest.mark.fault(
    'damaged or foreign files',
    'one bit of each file that this library writes and reads again, turned over, or the file cut',
    'noticed, or the same result',
)
def test_one_bit_of_each_file_of_ours_is_noticed(found):
    counts, wrong = fuzz.flips(found, 12, seed=3)
    assert not wrong, '\n'.join(wrong)
    assert len(counts) >= 17 and all(sum(count.values()) == 12 for count in counts.values())
    assert sum(count['noticed'] for count in counts.values()) > 10 * len(counts)


def test_the_campaign_sees_what_must_not_happen(tmp_path):
    "A reader that fails in its own way, one that gives another result, and one that never ends."
    path = tmp_path / 'a.txt'
    path.write_bytes(b'ten words that say something')
    good = path.read_bytes()

    def endless():
        while path.read_bytes() != good:
            pass

    for read, expected in (
        (lambda: {good: 0}[path.read_bytes()], 'raw'),
        (path.read_bytes, 'silent'),
        (endless, 'hang'),
    ):
        assert fuzz.outcome(fuzz.Reader(path, read, sealed=True), b'other', seconds=0.3)[0] == expected
        assert path.read_bytes() == good
