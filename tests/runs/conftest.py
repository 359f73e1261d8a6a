"""One small training, whose folder the tests of runs read."""

import pytest

from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.runs.options import TrainJob
from trmml_nb.runs.train import train_job


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    return tmp_path_factory.mktemp('jobs')


@pytest.fixture(scope='module')
def run(place):
    return train_job(TrainJob(limit=80, epochs=2, out=str(place / 'run'), cache=str(place / 'cache')), progress=False)


@pytest.fixture(scope='module')
def photos(place):
    folder = place / 'photos'
    (folder / 'sub').mkdir(parents=True)
    test = scenes_dataset('test', 6)
    for i in range(6):
        test.image(i).save(folder / ('sub' if i % 2 else '.') / f'{i}.png')
    return folder
