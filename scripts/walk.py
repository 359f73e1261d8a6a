"""A timed walk from pictures with gaps in their labels to a better model: python scripts/walk.py [--note FILE]

`trmml photos` trains on 200 drawn scenes of which one label in twenty is known; then a hundred labels are answered in
the reviewer's grid, and it trains again. A driver plays the person: it sends the reviewer the messages that a browser
sends, answers from the truth, and waits as a person would who looks at each tile (`--look` seconds) and turns a page
(`--turn` seconds). Both models are measured on other scenes, which neither has seen. With --note the story goes into a
JSON file, from which the reviewer's notebook tells it."""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from trmml_nb import Reviewer, bernoulli_mask, encode_dataset, load_run, mean_average_precision, scenes_dataset
from trmml_nb.io import write_json
from trmml_nb.people.figures import LABEL_NAMES
from trmml_nb.training.trainer import predict_logits

PICTURES, KNOWN, ANSWERS = 200, 0.05, 100


def album(folder):
    "Write the pictures and a table with gaps; give what a person would answer."
    scenes = scenes_dataset('train', PICTURES)
    shown = bernoulli_mask(scenes.truth.shape, KNOWN)
    lines = ['image,' + ','.join(scenes.class_names)]
    for i, name in enumerate(scenes.image_ids):
        scenes.image(i).save(folder / f'{name}.png')
        cells = (str(v) if known else '' for v, known in zip(scenes.truth[i], shown[i]))
        lines.append(f'{name}.png,' + ','.join(cells))
    (folder / 'labels.csv').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    truth = {f'{name}.png': dict(zip(scenes.class_names, row)) for name, row in zip(scenes.image_ids, scenes.truth)}
    return truth, int(shown.sum())


class Clock:
    "The story so far: what was seen at which second."

    def __init__(self):
        self.begun, self.story = time.monotonic(), []

    def note(self, shows, **more):
        row = dict(second=round(time.monotonic() - self.begun), shows=shows, **more)
        self.story.append(row)
        print(row, flush=True)


def answer_page(live, truth, left, look):
    "Mark the tiles of a page as they truly are, at a person's pace, and save them; the answer to each is one message."
    ids = live.review.dataset.image_ids
    marks = [''] * len(live.page)
    for i, asked in enumerate(live.page[:left]):
        time.sleep(look)
        marks[i] = LABEL_NAMES[truth[ids[asked.row]][live.names[asked.column]]]
        live._handle_custom_msg(dict(kind='marks', drawn=live.drawn, marks=list(marks)), [])
    live._handle_custom_msg(dict(kind='save', drawn=live.drawn, marks=list(marks)), [])
    return sum(bool(m) for m in marks)


def walk(home, look, turn):
    "The whole of it, in a folder; gives what is noted."
    photos, run, clock = home / 'album', home / 'run', Clock()
    photos.mkdir()
    truth, known = album(photos)
    clock.begun = time.monotonic()
    command = [sys.executable, '-c', 'from trmml_nb.cli import main; main()', 'photos', str(photos), '--out', str(run)]
    done = subprocess.run([*command, '--cache', str(home / 'cache')], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    clock.note('trmml photos is done: completed.csv and report.html', answers=0)
    live = Reviewer(run, annotator='the truth', cache=str(home / 'cache'), mode='grid')
    clock.note(f'the reviewer asks: {live.question()}', answers=0)
    count, slowest = 0, 0.0
    while count < ANSWERS:
        time.sleep(turn)
        asked = live.question()
        count += answer_page(live, truth, ANSWERS - count, look)
        slowest = max(slowest, live.milliseconds)
        clock.note(asked, answers=count, judged=live.judged())
    live._handle_custom_msg(dict(kind='retrain', drawn=live.drawn, marks=[]), [])
    clock.note(live.message, answers=count)
    seconds = clock.story[-1]['second']
    test, scores = scenes_dataset('test', 400), {}
    first = load_run(run)
    store = encode_dataset(first.tower, test, home / 'cache', progress=False)
    for name, method in dict(before=first.method, after=live.inspection.method).items():
        scores[name] = round(float(mean_average_precision(predict_logits(method, store).numpy(), test.truth)[0]), 1)
    return dict(
        pictures=PICTURES,
        known=known,
        answers=count,
        seconds=seconds,
        look=look,
        turn=turn,
        slowest_page_ms=round(slowest),
        mAP=scores,
        story=clock.story,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--look', type=float, default=0.8, help='seconds a person looks at a tile')
    parser.add_argument('--turn', type=float, default=2.0, help='seconds a person needs for a new page')
    parser.add_argument('--note', type=Path, help='JSON file to write the story to')
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        told = walk(Path(home), asked.look, asked.turn)
    print({k: v for k, v in told.items() if k != 'story'})
    if asked.note is not None:
        write_json(asked.note, told)


if __name__ == '__main__':
    main()
