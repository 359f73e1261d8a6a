"""A folder of photographs, and a server with tiny benchmarks."""

import pytest
from helpers.benchmarks import server  # noqa: F401 (a fixture)
from helpers.pictures import noise


@pytest.fixture
def photos(tmp_path):
    "A folder with three small pictures a.png, b.png, c.png."
    folder = tmp_path / 'photos'
    folder.mkdir()
    for i, name in enumerate('abc'):
        noise(seed=i).save(folder / f'{name}.png')
    return folder
