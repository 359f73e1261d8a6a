"""Take the walk of nbs/library/yours/06_walk.ipynb on photographs, and note its numbers.

python scripts/excel_walk.py PHOTOS TRUTH --words '--clip RN50 --pretrained openai' --note nbs/library/yours/walk.json

TRUTH is a table image,<category>,... with 1, 0 and blanks for all photographs. Some of them are copied into a temporary
folder, two in five of their labels are written into an Excel file, and the cells of the notebook are run on both. The
notebook is not changed, and no photograph is kept."""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
from nbclient import NotebookClient

WALK = Path(__file__).resolve().parent.parent / 'nbs/library/yours/06_walk.ipynb'
NUMBERS = """
how = json.loads(Path('first/config.json').read_bytes())
print(json.dumps(dict(image_size=how['tower']['image_size'], epochs=how['train']['epochs'],
    photographs=len(first), categories=len(border := json.loads(
    Path('first/decisions.json').read_bytes())['threshold']), looked=looked, wrong=wrong,
    given=int(sum(first[f'{name} (source)'].str.startswith('given').sum() for name in border)),
    seconds=times.round(1).to_dict(), worth=worth.round(4).to_dict())))
"""


def album(photos, truth, place, count, new, known):
    "Photographs, an Excel file with some of their labels, others that are new, and the truth."
    rng = np.random.default_rng(0)
    chosen = truth.iloc[rng.permutation(len(truth))[: count + new]]
    for k, name in enumerate(chosen.image):
        folder = place / ('photos' if k < count else 'new')
        folder.mkdir(exist_ok=True)
        shutil.copy(photos / name, folder / Path(name).name)
    told = chosen[:count].set_index('image')
    told = told.astype(object).where((rng.random(told.shape) < known) & told.notna(), None)
    told.reset_index().to_excel(place / 'labels.xlsx', index=False)
    chosen.to_csv(place / 'truth.csv', index=False)
    return {name: str(place / file) for name, file in dict(
        photos='photos', table='labels.xlsx', new='new', truth='truth.csv').items()}  # fmt: skip


def walk(mine):
    "Numbers of the notebook, run on an album."
    notebook = nbformat.read(WALK, 4)
    for cell in notebook.cells:
        if cell.cell_type == 'code' and cell.source.startswith('mine = None'):
            cell.source = f'mine = {mine!r}'
        if cell.cell_type == 'code' and 'walk.json' in cell.source:
            cell.source, shown = NUMBERS, cell
    client = NotebookClient(notebook, timeout=7200, resources=dict(metadata=dict(path=str(WALK.parent))))
    client.execute()
    return json.loads(''.join(output.get('text', '') for output in shown.outputs))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('photos', type=Path)
    parser.add_argument('truth', type=Path)
    parser.add_argument('--words', default='', help='more words for trmml check and trmml photos')
    parser.add_argument('--count', type=int, default=600, help='photographs')
    parser.add_argument('--new', type=int, default=20, help='photographs to predict at the end')
    parser.add_argument('--known', type=float, default=0.4, help='share of the labels that the Excel file holds')
    parser.add_argument('--note', type=Path, required=True, help='JSON file to write')
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        mine = album(said.photos, pd.read_csv(said.truth), Path(place), said.count, said.new, said.known)
        numbers = walk(mine | dict(words=said.words))
    said.note.write_text(json.dumps(numbers, indent=1) + '\n', encoding='utf-8')
    print(json.dumps(numbers, indent=1))


if __name__ == '__main__':
    main()
