"""A folder of photographs, and a server with tiny benchmarks."""

import pytest
from PIL import Image
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


@pytest.fixture
def album(tmp_path):
    "Three pictures, one of them in a folder."
    (tmp_path / 'sub').mkdir()
    for k, name in enumerate(('a.png', 'b.png', 'sub/c.jpg')):
        Image.new('RGB', (8, 8), (60 * k, 0, 0)).save(tmp_path / name)
    return tmp_path
