"A shared folder gives the same numbers, says what it is, holds no code and no path of this machine."

import json
import pickle
import shutil

import pytest
import torch

from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.errors import TowerError
from trmml_nb.io import JSON_SEAL, write_json
from trmml_nb.yours.hub import HubError, cell, fetch, from_pretrained, model_card, push_to_hub, save_pretrained
from trmml_nb.runs.options import TrainJob
from trmml_nb.runs.train import train_job
from trmml_nb.runs.run import config_sha256, load_run, note_in, read_config, save_model
from trmml_nb.errors import RunError
from trmml_nb.towers.weights import tiny_folder


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    return tmp_path_factory.mktemp('hub')


@pytest.fixture(scope='module')
def run(place):
    return train_job(
        TrainJob(
            method='trmml',  # which keeps no memory of training pictures
            limit=40,
            epochs=1,
            clip=f'local-dir:{tiny_folder()}',
            out=str(place / 'run'),
            cache=str(place / 'cache'),
        ),
        progress=False,
    )


@pytest.fixture(scope='module')
def shared(run, place):
    return save_pretrained(run, place / 'shared', 'A | <b>toy</b>', notes=['Only a test.'], tower=True)


def test_same_numbers_elsewhere(run, shared, tmp_path):
    moved = shutil.copytree(shared, tmp_path / 'elsewhere')
    image = scenes_dataset('test', 1).image(0)
    a, b = load_run(run), from_pretrained(moved, 'cpu')
    assert (
        a.predict(image).probabilities == b.predict(image).probabilities and a.tower.fingerprint == b.tower.fingerprint
    )


def test_nothing_of_this_machine_and_no_code(shared, place):
    assert not list(shared.rglob('*.pt')) + list(shared.rglob('*.bin')) + list(shared.rglob('*.pkl'))
    for path in shared.rglob('*'):
        if path.suffix in ('.json', '.md'):
            assert str(place) not in path.read_text() and str(tiny_folder()) not in path.read_text(), path.name


def test_card_says_data_mask_metrics_and_limits(shared):
    card, config, metrics = (
        (shared / 'README.md').read_text(),
        *(json.loads((shared / f'{n}.json').read_text()) for n in ('config', 'metrics')),
    )
    for said in (
        'scenes/train, 40 images',
        '10% Bernoulli, seed 0',
        config['data']['mask_sha256'][:16],
        f"{metrics['mAP']:.2f}",
        f"{metrics['zero_shot_mAP']:.2f}",
        'Only a test.',
        'do not use the model to judge people',
        'A \\| &lt;b>toy&lt;/b>',
        'library_name: "trmml_nb"',
    ):
        assert said in card, said
    assert model_card(config, {}, 'x').count('not measured') == 4 and cell('a|b\n<i>') == 'a\\|b &lt;i>'
    assert cell('![x](http://a/b)') == '!&#91;x](http://a/b)'


def test_a_memory_of_training_pictures_goes_along_and_the_card_says_so(shared, place, tmp_path):
    run = train_job(
        TrainJob(method='trmml_plus', limit=40, epochs=1, out=str(place / 'plus'), cache=str(place / 'cache')),
        progress=False,
    )
    folder, image = save_pretrained(run, tmp_path / 'plus'), scenes_dataset('test', 1).image(0)
    assert (
        'remembers training pictures' in (folder / 'README.md').read_text()
        and 'remembers' not in (shared / 'README.md').read_text()
    )
    assert load_run(run).predict(image).probabilities == from_pretrained(folder, 'cpu').predict(image).probabilities


def test_refusals(run, shared, place, tmp_path):
    with pytest.raises(HubError, match='not overwritten'):
        save_pretrained(run, shared)
    with pytest.raises(RunError, match='not a readable file'):
        save_pretrained(tmp_path / 'none', tmp_path / 'x')
    assert not (tmp_path / 'x').exists()
    bare = save_pretrained(run, tmp_path / 'bare')
    with pytest.raises(HubError, match='pass clip='):
        from_pretrained(bare)
    assert from_pretrained(bare, clip=f'local-dir:{tiny_folder()}').class_names
    with pytest.raises(HubError, match='not the same tower'):
        from_pretrained(bare, clip=f'local-dir:{tiny_folder("tiny16")}')
    config = json.loads((shared / 'config.json').read_text())
    config['tower']['fingerprint'] = 'f' * 64
    config.pop(JSON_SEAL)
    (shutil.copytree(shared, tmp_path / 'other') / 'config.json').write_text(json.dumps(config))
    with pytest.raises(HubError, match='was changed since the model was written'):
        from_pretrained(tmp_path / 'other')
    with pytest.raises(TowerError, match='is not a folder'):
        from_pretrained(bare, clip='local-dir:nowhere')


@pytest.mark.fault('hostile files', 'shared model that is a pickle', 'never run')
def test_a_pickle_in_place_of_weights_is_not_run(shared, tmp_path):
    import shutil

    bad, flag = shutil.copytree(shared, tmp_path / 'bad'), tmp_path / 'ran'

    class Evil:
        def __reduce__(self):
            return open, (str(flag), 'w')

    (bad / 'model.safetensors').write_bytes(pickle.dumps(Evil()))
    with pytest.raises(RunError, match='not a readable model'):
        from_pretrained(bad)
    torch.save({'a': Evil()}, bad / 'model.safetensors')
    with pytest.raises(RunError):
        from_pretrained(bad)
    assert not flag.exists()


def test_no_network_is_told_at_once():
    import time

    start = time.monotonic()
    for name, said in (
        ('org/name', 'not on this machine and could not be fetched'),
        ('a/b/c', 'no name of the form ORG/NAME'),
    ):
        with pytest.raises(HubError, match=said):
            fetch(name)
    with pytest.raises(HubError, match='cannot be reached'):
        push_to_hub_of_nothing()
    assert time.monotonic() - start < 5


def push_to_hub_of_nothing():
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        for n in ('config.json', 'model.safetensors', 'metrics.json', 'README.md'):
            Path(folder, n).touch()
        push_to_hub(folder, 'me/x')


def test_push(shared, tmp_path):
    class Api:
        def __init__(self, error=None):
            self.asked, self.error = [], error

        def create_repo(self, name, **options):
            self.asked.append((name, options))

        def upload_folder(self, **options):
            if self.error:
                raise self.error
            self.asked.append(options)
            return 'address'

    api = Api()
    assert push_to_hub(shared, 'me/toy', api=api) == 'address'
    assert api.asked[0] == ('me/toy', dict(private=True, exist_ok=True, repo_type='model')) and api.asked[1][
        'folder_path'
    ] == str(shared)
    assert 'config.json' in api.asked[1]['allow_patterns'] and '*' not in api.asked[1]['allow_patterns']
    with pytest.raises(HubError, match='me/toy: not sent .OSError: no way'):
        push_to_hub(shared, 'me/toy', api=Api(OSError('no way')))
    with pytest.raises(HubError, match='lacks config.json'):
        push_to_hub(tmp_path, 'me/toy', api=api)


def test_fetched_from_a_hub(shared, monkeypatch):
    asked = {}
    monkeypatch.setattr(
        'huggingface_hub.snapshot_download', lambda name, **options: asked.update(options, name=name) or str(shared)
    )
    assert (
        from_pretrained('me/toy', revision='v1').class_names and asked['name'] == 'me/toy' and asked['revision'] == 'v1'
    )


@pytest.mark.fault(
    'hostile files',
    'a link to a file of yours, in the folder of a tower or of a model that you share',
    'refused before anything is copied or sent',
)
def test_no_file_from_elsewhere_is_shared_through_a_link(place, run, shared, tmp_path):
    (tmp_path / 'secret').write_text('secret', encoding='utf-8')
    tower, model = tmp_path / 'models' / 'tower', tmp_path / 'model'
    shutil.copytree(tiny_folder(), tower)
    shutil.copytree(run, tmp_path / 'run')
    config = read_config(tmp_path / 'run')
    config['tower']['clip'] = f'local-dir:{tower}'
    note = note_in(run / 'model.safetensors') | dict(config=config_sha256(config))
    save_model(load_run(run, 'cpu').method, tmp_path / 'run' / 'model.safetensors', note)
    write_json(tmp_path / 'run' / 'config.json', config, sealed=True)
    (tower / 'notes.txt').symlink_to(tmp_path / 'secret')
    with pytest.raises(HubError, match='notes.txt: a link that leads out of'):
        save_pretrained(tmp_path / 'run', tmp_path / 'out', tower=True)
    assert not (tmp_path / 'out').exists()
    (tower / 'notes.txt').unlink()
    (tower / 'open_clip_config.json').rename(tower / 'there')
    (tower / 'open_clip_config.json').symlink_to('there')  # inside, as in the hub's own cache
    assert (save_pretrained(tmp_path / 'run', tmp_path / 'out', tower=True) / 'tower').is_dir()
    shutil.copytree(shared, model)
    (model / 'tower' / 'a.json').symlink_to(tmp_path / 'secret')
    with pytest.raises(HubError, match='a.json: a link that leads out of'):
        push_to_hub(model, 'a/b', api=object())
