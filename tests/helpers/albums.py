"A run on an album of sixteen scenes, some of whose labels are blank."

import pandas as pd

from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.yours.photographs import PhotosJob, photos_job

NAMES = ('dog', 'tree')


def album_run(place, out):
    "Photographs and labels in `place`/album, their run in `out`."
    data = scenes_dataset('val', 16)
    (place / 'album').mkdir()
    for i in range(16):
        data.image(i).save(place / 'album' / f'{i:02d}.png')
    columns = [data.class_names.index(c) for c in NAMES]
    frame = pd.DataFrame(data.truth[:, columns], columns=NAMES).astype(object)
    frame.iloc[::3, 1] = ''
    frame.insert(0, 'image', [f'{i:02d}.png' for i in range(16)])
    frame.to_csv(place / 'album' / 'labels.csv', index=False)
    photos_job(
        PhotosJob(str(place / 'album'), epochs=1, folds=2, cache=str(place / 'cache'), out=str(out)), progress=False
    )
