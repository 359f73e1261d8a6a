"The cache: what lies there is listed, and only what is ours and idle goes."

from filelock import FileLock
from typer.testing import CliRunner

from trmml_nb.cli import app
from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.towers.cache import cached_stores, remove_stores
from trmml_nb.towers.encode import encode_dataset
from trmml_nb.towers.tower import load_tower


def test_listed_emptied_after_asking_and_made_again(tmp_path):
    cache, data, tower = tmp_path / 'cache', scenes_dataset('val', 6), load_tower('tiny', image_size=64)
    first = encode_dataset(tower, data, cache, progress=False)
    other = encode_dataset(tower, data.subset(range(3)), cache, progress=False)
    (cache / 'mine').mkdir()
    (cache / 'mine' / 'store.json').write_text('not of ours')
    (cache / 'notes.txt').write_text('mine')
    found = cached_stores(cache)
    assert {(s.folder.name, s.images, s.side, s.whole) for s in found} == {
        (first.folder.name, 6, 64, True),
        (other.folder.name, 3, 64, True),
    }
    assert sum(s.bytes for s in found) == sum(p.stat().st_size for s in found for p in s.folder.iterdir())
    call = lambda *words, **more: CliRunner().invoke(app, ['cache', '--cache', str(cache), *words], **more)
    listed = call()
    assert listed.exit_code == 0 and '6 images at 64 px' in listed.output and 'in 2 stores' in listed.output
    assert 'nothing was removed' in call('--empty', input='n\n').output and len(cached_stores(cache)) == 2
    (cache / '.locks').mkdir(exist_ok=True)
    with FileLock(cache / '.locks' / f'{first.folder.name}.00000.lock'):
        said = call('--empty', input='y\n')
    assert 'removed 1 store,' in said.output and '1 store left' in said.output, said.output
    assert [s.folder for s in cached_stores(cache)] == [first.folder]
    assert call('--empty', '--yes').exit_code == 0 and not cached_stores(cache)
    assert (cache / 'notes.txt').read_text() == 'mine' and (cache / 'mine' / 'store.json').exists()
    again = encode_dataset(tower, data, cache, progress=False)
    assert (again.pooled == first.pooled).all() and 'in 1 store\n' in call().output


def test_an_empty_or_missing_cache_is_no_error(tmp_path):
    done = CliRunner().invoke(app, ['cache', '--cache', str(tmp_path / 'no'), '--empty'])
    assert done.exit_code == 0 and 'in 0 stores' in done.output and not (tmp_path / 'no').exists()
    assert remove_stores([]) == ([], [])
