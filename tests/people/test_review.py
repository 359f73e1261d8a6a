"""The reviewer: orders by hand, answers that survive a kill, files that stay untouched, precision, rounds; the widget
without a browser."""

import ast
import base64
import csv
import errno
import gc
import hashlib
import importlib
import io
import multiprocessing
import os
import re
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from trmml_nb.towers import views
from trmml_nb.method import contract
from trmml_nb.people import inspector as I
from trmml_nb.people import review as R
from trmml_nb.data.dataset import FileImage, MultiLabelDataset
from trmml_nb.io import csv_bytes
from trmml_nb.errors import DataError, TrainingError
from trmml_nb.towers.dense import ImageFeatures
from trmml_nb.data.labels import ABSENT, PRESENT, UNKNOWN
from trmml_nb.method.contract import MethodOutput
from trmml_nb.data.own_data import csv_dataset
from trmml_nb.training.trainer import Evaluation, TrainConfig

NAMES = ['cat', 'dog', 'a <b>']
M, C, GRID, D = 8, 3, (2, 2), 6
N = GRID[0] * GRID[1]
P = np.round(np.random.default_rng(0).random((M, C)), 3)
LABELS = np.full((M, C), UNKNOWN)
LABELS[0], LABELS[1, 0] = [1, 0, 0], 0
K = M * C - 4  # blanks


def write_table(folder, delimiter=','):
    "Pictures, labels.csv with blanks, scores.csv in another order."
    for i in range(M):
        Image.fromarray(np.full((12, 16, 3), 30 * i, np.uint8)).save(folder / f'im, {i}.png')
    with open(folder / 'labels.csv', 'w', encoding='utf-8', newline='') as f:
        csv.writer(f, delimiter=delimiter).writerows([
            ['image', *NAMES],
            *([f'im, {i}.png', *('' if v == UNKNOWN else v for v in LABELS[i])] for i in range(M)),
        ])
    scores = pd.DataFrame(P, columns=NAMES)
    scores.insert(0, 'image', [f'im, {i}.png' for i in range(M)])
    scores.iloc[::-1].to_csv(folder / 'scores.csv', index=False)


@pytest.fixture
def folder(tmp_path):
    write_table(tmp_path)
    return tmp_path


@pytest.fixture
def review(folder):
    ticks = iter(range(10_000))
    return R.open_review(
        folder / 'labels.csv',
        folder / 'scores.csv',
        folder / 'answers.csv',
        'Ada',
        model='m',
        clock=lambda: f'2030-01-01T00:00:{next(ticks):02d}+00:00',
    )


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def reopen(folder, **options):
    return R.open_review(
        folder / 'labels.csv', folder / 'scores.csv', folder / 'answers.csv', 'Ada', **(dict(model='m') | options)
    )


def first(review, n=0, **options):
    return review.proposals(**options)[n]


# -- orders


def test_entropy_by_hand():
    np.testing.assert_allclose(
        R.entropy_bits([0.5, 0.25, 0, 1]), [1, 0.25 * 2 + 0.75 * np.log2(4 / 3), 0, 0], atol=1e-9
    )
    assert R.entropy_bits(torch.tensor([[0.5]])).shape == (1, 1)


def test_effect_by_hand():
    got = R.class_effect([[0.5, 0.3], [0, 1]], [4, 0], [9, 9])
    np.testing.assert_allclose(got, [[0.1 + 0.05, 0.3 + 0.07], [0.1, 1]])


def test_spread_out_against_a_plain_loop():
    r = np.random.default_rng(1)
    rows, columns = np.divmod(r.permutation(42)[:40], 3)  # 14 images, 3 categories
    values, x = r.random(40), r.standard_normal((14, 5))
    unit = F.normalize(torch.tensor(x - x.mean(0)), dim=1).numpy()
    picked, left = [], list(range(40))
    while left:
        worth = [
            values[i] * (1 - max([0.0, *(unit[rows[i]] @ unit[rows[j]] for j in picked if columns[j] == columns[i])]))
            for i in left
        ]
        picked.append(left.pop(int(np.argmax(worth))))
    assert R.spread_out(values, rows, columns, x).tolist() == picked
    short = R.spread_out(values, rows, columns, x, limit=5).tolist()
    rest = [i for i in np.argsort(-values, kind='stable') if i not in picked[:5]]
    assert short == picked[:5] + rest
    assert R.spread_out([], [], [], x).tolist() == []


def test_orders_by_hand():
    p, t = [[0.5, 0.1], [0.8, 0.3], [0.4, 0.02], [0.5, 0.5]], np.array([[-1, -1], [-1, 1], [0, -1], [1, 0]])
    assert R.proposal_order('uncertainty', p, t).tolist() == [[0, 0], [1, 0], [0, 1], [2, 1]]
    # one known present and one absent label in both columns: the effect is 1/2 everywhere, and ties keep the table's order
    assert R.proposal_order('effect', p, t).tolist() == [[0, 0], [0, 1], [1, 0], [2, 1]]
    t[3, 1] = -1  # the second column now knows no absent label: absent answers count in full
    assert R.proposal_order('effect', p, t).tolist() == [[2, 1], [0, 1], [3, 1], [0, 0], [1, 0]]
    a, b = (R.proposal_order('random', p, t, seed=s).tolist() for s in (0, 1))
    assert a != b and sorted(a) == sorted(b) and a == R.proposal_order('random', p, t, seed=0).tolist()
    x = np.array([[1.0, 0], [1, 0], [-1, 1], [-1, -1]])
    diverse = R.proposal_order('diverse', p, t, x).tolist()
    assert diverse[0] == [2, 1] and sorted(diverse) == sorted(a)
    assert len(R.proposal_order('effect', p, np.ones((4, 2)))) == 0


def test_orders_refuse():
    with pytest.raises(R.ReviewError, match="order is 'best', expected one of uncertainty, effect"):
        R.proposal_order('best', P, LABELS)
    with pytest.raises(R.ReviewError, match='also needs features'):
        R.proposal_order('diverse', P, LABELS)
    with pytest.raises(R.ReviewError, match=r'targets \(7, 3\)'):
        R.proposal_order('effect', P, LABELS[:7])
    with pytest.raises(R.ReviewError, match=r'features \(7, 2\)'):
        R.proposal_order('diverse', P, LABELS, np.zeros((7, 2)))


# -- answers


def test_every_answer_is_on_the_disk_with_who_says_so(review, folder):
    inputs = {name: sha(folder / name) for name in ('labels.csv', 'scores.csv')}
    for n, said in enumerate(['accept', 'reject', 'skip']):
        q = first(review)
        review.answer((q, said))
        row = pd.read_csv(folder / 'answers.csv').iloc[-1]
        assert (row['step'], row.image, row.category, row.answer) == (n + 1, f'im, {q.row}.png', NAMES[q.column], said)
        assert (row.said_by, row.model, row.proposed, row.time) == (
            'Ada',
            'm',
            q.label,
            f'2030-01-01T00:00:{n:02d}+00:00',
        )
        assert abs(row.probability - P[q.row, q.column]) < 1e-6 and q.label == (P[q.row, q.column] >= 0.5)
        assert {'accept': q.label, 'reject': 1 - q.label}.get(said, -1) == (-1 if np.isnan(row.label) else row.label)
        assert (q.row, q.column) not in [(o.row, o.column) for o in review.proposals()]
    assert {name: sha(folder / name) for name in inputs} == inputs
    assert {p.name for p in folder.iterdir()} == {
        *inputs,
        'answers.csv',
        *(f'im, {i}.png' for i in range(M)),
    }  # no part left


def test_proposals_are_the_blanks_in_order(review):
    order = R.proposal_order('uncertainty', P, LABELS)
    assert [(q.row, q.column) for q in review.proposals()] == [tuple(e) for e in order] and len(order) == K
    cats = review.proposals('cat')
    assert {q.column for q in cats} == {0} and len(cats) == M - 2 and review.proposals('cat', 2) == cats[:2]
    assert all(q.label == PRESENT and q.probability >= 0.5 for q in review.proposals(label=PRESENT))
    assert len(review.proposals(label=PRESENT)) + len(review.proposals(label=ABSENT)) == K
    with pytest.raises(R.ReviewError, match="category 'catt' is not in labels; close names: cat"):
        review.proposals('catt')


def test_undo_takes_back_a_step_also_after_resuming(review, folder):
    review.answer((first(review), 'accept'))
    page = review.proposals('dog', 3)
    review.answer(*((q, 'reject') for q in page))
    before = sha(folder / 'answers.csv')
    again = reopen(folder)
    assert again.answers == review.answers and [a.step for a in again.answers] == [1, 2, 2, 2]
    assert again.proposals() == review.proposals()
    assert [a.category for a in again.undo()] == ['dog'] * 3 and len(again.answers) == 1
    assert again.proposals('dog', 3) == page and len(reopen(folder).answers) == 1
    again.answer(*((q, 'reject') for q in page))
    assert [a.step for a in again.answers] == [1, 2, 2, 2] and sha(folder / 'answers.csv') != before  # another time
    again.undo(), again.undo()
    assert again.undo() == [] and again.progress() == dict(answered=0, skipped=0, left=K, total=K)


def test_skipped_ones_can_be_asked_again(review, folder):
    asked = review.proposals(count=2)
    review.answer((asked[0], 'skip'))
    review.answer((asked[1], 'accept'))
    assert review.progress() == dict(answered=1, skipped=1, left=K - 2, total=K)
    assert (
        review.targets[asked[0].row, asked[0].column] == UNKNOWN
        and review.targets[asked[1].row, asked[1].column] == asked[1].label
    )
    assert asked[0] not in reopen(folder).proposals()
    assert (
        review.reopen() == 1 and review.reopen() == 0 and first(review) == asked[0] and len(reopen(folder).answers) == 1
    )


def test_answers_refuse(review):
    q = first(review)
    with pytest.raises(R.ReviewError, match="answer is 'yes', expected one of accept, reject, skip"):
        review.answer((q, 'yes'))
    with pytest.raises(R.ReviewError, match='answered or given already'):
        review.answer((q, 'accept'), (q, 'reject'))
    with pytest.raises(R.ReviewError, match='answered or given already'):
        review.answer((R.Proposal(0, 0, 1, 0.5), 'accept'))
    assert review.answers == [] and not review.path.exists()
    review.answer()
    assert not review.path.exists()
    review.answer((q, 'accept'))
    with pytest.raises(R.ReviewError, match='undo first'):
        review.answer((q, 'accept'))
    assert len(review.answers) == 1


def test_a_failed_save_changes_nothing(review, folder, monkeypatch):
    review.answer((first(review), 'accept'))
    before, q = sha(folder / 'answers.csv'), first(review)

    def full(path, data):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(R, 'write_atomic', full)
    with pytest.raises(R.ReviewError, match=r'could not be saved \(No space left on device\) and does not count'):
        review.answer((q, 'accept'))
    assert len(review.answers) == 1 and first(review) == q and sha(folder / 'answers.csv') == before
    monkeypatch.undo()
    review.answer((q, 'accept'))
    assert len(reopen(folder).answers) == 2


@pytest.mark.fault('two at once', 'two reviews of one table', 'the second is told, and writes nothing over the first')
def test_two_reviews_of_one_file_do_not_overwrite_each_other(review, folder):
    other = reopen(folder)
    other.answer((first(other), 'reject'))
    before = sha(folder / 'answers.csv')
    with pytest.raises(R.ReviewError, match='changed since this review wrote it'):
        review.answer((first(review), 'accept'))
    assert sha(folder / 'answers.csv') == before and review.answers == []
    (folder / 'answers.csv').unlink()
    with pytest.raises(R.ReviewError, match='changed since'):
        other.undo()


def answer_until_done(folder, number, confirmed):
    """One person of several: answers whatever is open, opens the review anew when somebody else was faster, and says
    what was confirmed."""
    while True:
        review = R.open_review(
            folder / 'labels.csv', folder / 'scores.csv', folder / 'answers.csv', f'person {number}', model='m'
        )
        try:
            while left := review.proposals():
                q = left[number % len(left)]
                review.answer((q, 'accept'))
                confirmed.put((
                    review.dataset.image_ids[q.row],
                    review.dataset.class_names[q.column],
                    f'person {number}',
                ))
            return
        except R.ReviewError as error:
            assert 'changed since this review wrote it' in str(error), error


@pytest.mark.fault(
    'two at once',
    'eight people who answer the blanks of one table at once',
    'every answer that was confirmed is in the file',
)
@pytest.mark.young
def test_eight_people_answering_at_once_lose_nothing(tmp_path):
    """Every answer that was confirmed to somebody is in the file, said by that person; nobody waits for ever, and no
    lock is left."""
    fork, names = multiprocessing.get_context('fork'), [f'class {c}' for c in range(8)]
    for i in range(12):
        Image.new('RGB', (4, 4)).save(tmp_path / f'{i}.png')
    table = pd.DataFrame(np.random.default_rng(0).random((12, 8)).round(3), columns=names)
    table.insert(0, 'image', [f'{i}.png' for i in range(12)])
    table.to_csv(tmp_path / 'scores.csv', index=False)
    table[names] = ''
    table.to_csv(tmp_path / 'labels.csv', index=False)
    confirmed = fork.SimpleQueue()
    people = [fork.Process(target=answer_until_done, args=(tmp_path, n, confirmed)) for n in range(8)]
    for person in people:
        person.start()
    told = [confirmed.get() for _ in range(96)]  # as many as there are blanks: each is confirmed once
    for person in people:
        person.join(120)
        assert person.exitcode == 0
    assert confirmed.empty()
    answers = R.read_answers(tmp_path / 'answers.csv', csv_dataset(tmp_path / 'labels.csv'))
    assert sorted((a.image, a.category, a.said_by) for a in answers) == sorted(told)
    assert len({a.said_by for a in answers}) > 1 and not list(tmp_path.glob('.*'))


def test_a_lock_that_somebody_holds_is_said(review, folder, monkeypatch):
    monkeypatch.setattr(R, 'PATIENCE', 0.1)
    code = f'import time; from trmml_nb.io import alone\nwith alone({str(folder / ".answers.csv.lock")!r}): print(1, flush=True); time.sleep(60)'
    other = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b'1\n'
        with pytest.raises(R.ReviewError, match='does not count, for another program has held .*answers.csv.lock'):
            review.answer((first(review), 'accept'))
        assert review.answers == [] and not review.path.exists()
    finally:
        other.kill(), other.wait()
    review.answer((first(review), 'accept'))
    assert len(review.answers) == 1 and not (folder / '.answers.csv.lock').exists()


def test_formulas_are_guarded_and_come_back(tmp_path):
    "In the answers, the completed table and the table of sources; read again, every name is what it was."
    names, ids = ['=1+1', '@sum', "'-x", '\tcat'], ['=a.png', '-b.png', "'+c.png"]
    for i in ids:
        Image.new('RGB', (4, 4)).save(tmp_path / i)
    files = [FileImage(str(tmp_path / i)) for i in ids]
    targets = np.full((3, 4), UNKNOWN)
    data = MultiLabelDataset('t', 'all', names, ids, targets, None, files)
    open_as = lambda: R.Review(data, np.full((3, 4), 0.9), tmp_path / 'answers.csv', '+Ada', '=model')
    review = open_as()
    for q in review.proposals():
        review.answer((q, 'accept'))
    again = open_as()
    assert again.answers == review.answers and len(again.answers) == 12 and again.answers[0].said_by == '+Ada'
    for path in (review.path, *review.export(tmp_path / 'done.csv')):
        with open(path, encoding='utf-8', newline='') as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert len(cells) > 12 and not [c for c in cells if c.startswith(('=', '+', '-', '@', '\t', '\r'))]
    back = csv_dataset(tmp_path / 'done.csv')
    assert (
        back.class_names == names and (back.targets == 1).all() and [os.path.normpath(i) for i in back.image_ids] == ids
    )
    scores = tmp_path / 'scores.csv'
    scores.write_bytes(csv_bytes(['image', *names], [[i, *[0.25] * 4] for i in ids]))
    assert (R.read_predictions(scores, data) == 0.25).all()


def test_predictions_of_an_image_called_NA_and_columns_that_stand_twice(tmp_path):
    for name in ('NA', 'null'):
        Image.new('RGB', (4, 4)).save(tmp_path / name, 'png')
    files = [FileImage(str(tmp_path / i)) for i in ('NA', 'null')]
    data = MultiLabelDataset('t', 'all', ['cat'], ['NA', 'null'], np.full((2, 1), UNKNOWN), None, files)
    (tmp_path / 's.csv').write_text('image,cat\nnull,0.25\nNA,0.75\n', encoding='utf-8')
    assert R.read_predictions(tmp_path / 's.csv', data).tolist() == [[0.75], [0.25]]
    for text, said in (
        ('image,cat,cat\nNA,0.5,0.75\nnull,0.5,0.75\n', "column 'cat' stands twice"),
        ('image,cat\nNA,0.5\nnull,0.5\nNA,0.75\n', "line 4: image 'NA' is named twice, in .*line 2 already"),
        ('image,cat\nNA,\nnull,0.5\n', "'NA', column 'cat' holds no probability"),
        ('image,cat\nNA,nan\nnull,0.5\n', "'NA', column 'cat' holds no probability"),
        ('image,cat\nNA,0.5,1\nnull,0.5\n', 'line 2: 3 cells, expected 2'),
    ):
        (tmp_path / 's.csv').write_text(text, encoding='utf-8')
        with pytest.raises(R.ReviewError, match=said):
            R.read_predictions(tmp_path / 's.csv', data)


KILLED = '''
import sys
from trmml_nb.people.review import open_review
folder = sys.argv[1]
review = open_review(folder + '/labels.csv', folder + '/scores.csv', folder + '/answers.csv', 'Ada', model='m')
while True:
    for q in review.proposals(count=20):
        review.answer((q, 'accept'))
    while review.undo():
        pass
'''


@pytest.mark.fault('stopped in the middle', 'reviewer killed between two answers', 'every answer given is on the disk')
def test_killed_between_answers(folder):
    "A process that answers without a pause is killed; the file is whole, and the review goes on from it."
    path, before = folder / 'answers.csv', sha(folder / 'labels.csv')
    process = subprocess.Popen([sys.executable, '-c', KILLED, str(folder)], env={**os.environ, 'OMP_NUM_THREADS': '1'})
    try:
        deadline = time.monotonic() + 60
        while not path.exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        seen = 0
        for _ in range(200):  # every look at the file, at any moment, shows whole answers
            answers = R.read_answers(path, csv_dataset(folder / 'labels.csv'))
            seen = max(seen, len(answers))
            assert [a.step for a in answers] == list(range(1, len(answers) + 1))
    finally:
        process.kill()
        process.wait(30)
    review = reopen(folder)
    assert seen > 1 and sha(folder / 'labels.csv') == before
    count = len(review.answers)
    if review.proposals():
        review.answer((first(review), 'accept'))
        count += 1
    assert len(reopen(folder).answers) == count


def test_speed_of_saving(tmp_path, folder, review):
    "An answer among five thousand is still saved quickly; the best of three, since a busy machine counts for more."
    a, seconds = R.Answer(1, 'im, 2.png', 'cat', 1, 'accept', 'Ada', 1, 'm', 0.5, 't'), []
    for _ in range(3):
        start = time.process_time()
        R.answers_csv([a] * 5000)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.5


# -- files of others


@pytest.mark.parametrize(
    'text,message',
    [
        ('hello', r"no answers file \(its header is 'hello'"),
        ('', "its header is 'missing'"),
        ('image,cat\nim,1\n', r"no answers file \(its header is 'image,cat'"),
    ],
)
def test_foreign_files_are_left_alone(folder, text, message):
    (folder / 'answers.csv').write_text(text)
    with pytest.raises(R.ReviewError, match=message):
        reopen(folder)
    assert (folder / 'answers.csv').read_text() == text


@pytest.mark.parametrize(
    'change,message',
    [
        (dict(image='no.png'), "row 2: image 'no.png' with category 'cat' is not in labels"),
        (dict(category='catt'), "category 'catt' is not in labels"),
        (dict(image='im, 0.png'), "row 2: 'cat' of image 'im, 0.png' is no blank there"),
        (dict(image='im, 0.png', model='given', proposed='0', label='0'), 'was given as 0 and is not now'),
        (dict(image='im, 0.png', model='given', answer='reject', label='0'), None),
        (dict(label='2'), 'is no answer'),
        (dict(label=''), 'is no answer'),
        (dict(label='0'), 'is no answer'),
        (dict(answer='maybe'), 'is no answer'),
        (dict(proposed='-1'), 'is no answer'),
        (dict(probability='nan'), 'is no answer'),
        (dict(step='x'), 'is no answer'),
        (dict(time='a,b'), None),
    ],
)
def test_rows_that_do_not_fit(folder, change, message):
    row = dict(zip(R.COLUMNS, ['1', 'im, 2.png', 'cat', '1', 'accept', 'Ada', '1', 'm', '0.5', 't'])) | change
    with open(folder / 'answers.csv', 'w', encoding='utf-8', newline='') as f:
        csv.writer(f).writerows([R.COLUMNS, row.values()])
    if message is None:
        assert reopen(folder).answers[0].time == row['time']
        return
    with pytest.raises(R.ReviewError, match=message):
        reopen(folder)


def test_a_given_label_is_corrected_and_the_file_says_so(folder, review):
    review.correct(0, 0, ABSENT)  # given present
    assert review.targets[0, 0] == ABSENT and review.dataset.targets[0, 0] == PRESENT
    assert (review.answers[0].answer, review.answers[0].model, review.answers[0].proposed) == ('reject', 'given', 1)
    again = reopen(folder)
    assert again.answers == review.answers and again.progress()['answered'] == 0  # no blank was answered
    assert R.proposal_precision(again.answers).loc['all', 'judged'] == 0  # no proposal was judged
    again.correct(0, 0, PRESENT)  # confirmed: one answer about one label
    assert [a.answer for a in again.answers] == ['accept'] and again.targets[0, 0] == PRESENT
    table, sources = again.export(folder / 'out.csv')
    said = pd.read_csv(sources).set_index(['image', 'category'])
    assert said.loc[('im, 0.png', 'cat'), 'said_by'] == 'Ada' and said.loc[('im, 0.png', 'dog'), 'kind'] == 'given'
    again.correct(0, 0, None)
    assert again.answers == [] and again.targets[0, 0] == PRESENT
    again.correct(3, 1, PRESENT)  # a blank: as an answer to its proposal
    assert again.answers[0].model == 'm' and again.progress()['answered'] == 1
    with pytest.raises(R.ReviewError, match='label is 2'):
        again.correct(0, 0, 2)


def suspects():
    "Sixty labels of two categories, of which three are turned over, and what a model thinks of the truth."
    r = np.random.default_rng(1)
    truth = np.stack([np.arange(60) % 2, np.arange(60) % 3 == 0], 1).astype(int)
    p = np.where(truth == 1, 0.9, 0.1) + r.uniform(-0.05, 0.05, truth.shape)
    given, wrong = truth.copy(), [(7, 0), (30, 0), (9, 1)]
    for at in wrong:
        given[at], p[at] = 1 - given[at], 0.98 * truth[at] + 0.01  # the model is as sure as it ever is
    given[50:, 1] = UNKNOWN
    return p, given, wrong


def test_given_labels_that_look_wrong_are_found_and_no_others():
    pytest.importorskip('cleanlab', reason='needs pip install "trmml_nb[notebooks]"')
    p, given, wrong = suspects()
    found = R.suspect_labels(p, given)
    assert sorted(map(tuple, found.tolist())) == sorted(wrong)
    belief = np.where(given == 1, p, 1 - p)[tuple(found.T)]
    assert (np.diff(belief) >= 0).all()  # the least believable first
    assert len(R.suspect_labels(p[:, :1], np.ones((60, 1)))) == 0  # of one kind alone nothing can be said


def test_a_review_of_given_labels(folder):
    pytest.importorskip('cleanlab', reason='needs pip install "trmml_nb[notebooks]"')
    p, given, wrong = suspects()
    data = MultiLabelDataset('x', 'all', ['a', 'b'], [str(i) for i in range(60)], given, None, [None] * 60)
    review = R.Review(data, p, folder / 'given.csv', 'Ada', 'm', what='given')
    q = review.proposals(count=1)[0]
    assert q.label == given[q.row, q.column] and review.progress()['total'] == 3
    review.answer((q, 'reject'))
    assert review.targets[q.row, q.column] == 1 - q.label and review.answers[0].model == 'given'
    assert review.progress() == dict(answered=1, skipped=0, left=2, total=3)
    blanks = R.Review(data, p, folder / 'given.csv', 'Ada', 'm')  # the same journal, other questions
    assert blanks.progress()['answered'] == 0 and (blanks.targets == review.targets).all()
    assert review.renew(p, 'n').what == 'given'
    review.answer((review.proposals(count=1)[0], 'skip'))
    assert (review.targets != UNKNOWN).sum() == (given != UNKNOWN).sum()  # a skipped label stays as it is given
    with pytest.raises(R.ReviewError, match='what is'):
        R.Review(data, p, folder / 'given.csv', 'Ada', 'm', what='all')


def test_answers_of_odd_text_come_back(folder):
    dataset = csv_dataset(folder / 'labels.csv')
    answers = [R.Answer(1, 'im, 2.png', 'a <b>', 0, 'reject', 'Ada "the\nsecond", Ö', 1, 'm;1', 0.123456, 't')]
    (folder / 'answers.csv').write_bytes(R.answers_csv(answers))
    assert R.read_answers(folder / 'answers.csv', dataset) == answers
    (folder / 'answers.csv').write_bytes(R.answers_csv(answers * 2))
    with pytest.raises(R.ReviewError, match="'a <b>' of image 'im, 2.png' is answered twice"):
        R.read_answers(folder / 'answers.csv', dataset)
    (folder / 'answers.csv').write_bytes(b'\xff\xfe')
    with pytest.raises(R.ReviewError, match='cannot be read as an answers file'):
        R.read_answers(folder / 'answers.csv', dataset)


def test_errors_of_opening(folder):
    opened = lambda **o: R.open_review(
        **(
            dict(labels=folder / 'labels.csv', predictions=folder / 'scores.csv', out=folder / 'a.csv', annotator='Ada')
            | o
        )
    )
    for name in ('labels.csv', 'scores.csv'):
        with pytest.raises(R.ReviewError, match='is an input, and inputs are never written'):
            opened(out=folder / '.' / name)
    with pytest.raises(R.ReviewError, match="annotator is '' and model"):
        opened(annotator=' ')
    with pytest.raises(R.ReviewError, match="annotator is 'scores' and model 'scores'"):
        opened(annotator='scores')
    with pytest.raises(R.ReviewError, match='threshold is 1'):
        opened(threshold=1)
    with pytest.raises(R.ReviewError, match='no folder'):
        opened(out=folder / 'none' / 'a.csv')
    with pytest.raises(R.ReviewError, match=r'shape \(8, 2\) and values'):
        R.Review(csv_dataset(folder / 'labels.csv'), P[:, :2], folder / 'a.csv', 'Ada')
    with pytest.raises(R.ReviewError, match='values -1 to'):
        R.Review(
            csv_dataset(folder / 'labels.csv'), P - P[0, 0] * (P == P[0, 0]) - (P == P[0, 0]), folder / 'a.csv', 'Ada'
        )
    with open(folder / 'labels.csv', 'a', encoding='utf-8') as f:
        f.write('"im, 3.png",1,0,0\n')
    with pytest.raises(DataError, match=r"line 10: image 'im, 3.png' is named already"):
        opened()
    assert not (folder / 'a.csv').exists()


def test_predictions(folder):
    dataset = csv_dataset(folder / 'labels.csv')
    np.testing.assert_allclose(R.read_predictions(folder / 'scores.csv', dataset), P)
    table = pd.read_csv(folder / 'scores.csv')

    def changed(change):
        path = folder / 'changed.csv'
        change(table.copy()).to_csv(path, index=False)
        return R.read_predictions(path, dataset)

    both = lambda t: t.rename(columns={c: c + R.PROBABILITY_COLUMN for c in NAMES}).assign(**{c: 1 for c in NAMES})
    np.testing.assert_allclose(changed(both), P)  # a completed table: the columns of probabilities are taken
    for change, message in (
        (lambda t: t.drop(columns='dog'), r"no column 'dog' \(1 missing\)"),
        (lambda t: t.drop(columns='image'), "no column 'image'"),
        (lambda t: pd.concat([t, t.head(1)]), 'is named twice'),
        (lambda t: t[t.image != 'im, 3.png'], "no row for 1 of 8 images, first 'im, 3.png'; close names"),
        (lambda t: t.assign(cat=t['cat'] + 1), "column 'cat' holds no probability"),
        (lambda t: t.assign(cat='high'), "column 'cat' holds no probability"),
        (lambda t: t.assign(cat=np.nan), "column 'cat' holds no probability"),
    ):
        with pytest.raises(R.ReviewError, match=message):
            changed(change)
    with pytest.raises(R.ReviewError, match='cannot be read as a table'):
        R.read_predictions(folder / 'none.csv', dataset)


# -- precision and export


def test_precision_by_hand():
    a = lambda proposed, answer: R.Answer(1, 'i', 'c', 0, answer, 'Ada', proposed, 'm', 0.5, 't')
    got = R.proposal_precision([
        a(1, 'accept'),
        a(1, 'reject'),
        a(1, 'reject'),
        a(0, 'accept'),
        a(0, 'skip'),
        a(1, 'skip'),
    ])
    assert got.judged.tolist() == [4, 3, 1] and got.accepted.tolist() == [2, 1, 1]
    np.testing.assert_allclose(got.precision, [50, 100 / 3, 100])
    empty = R.proposal_precision([])
    assert empty.judged.tolist() == [0, 0, 0] and empty.precision.isna().all()


def test_export(review, folder):
    asked = review.proposals(count=3)
    for q, said in zip(asked, R.ANSWERS):
        review.answer((q, said))
    before = sha(folder / 'labels.csv')
    path, beside = review.export(folder / 'done.csv')
    got = csv_dataset(path)
    assert (
        (got.targets == review.targets).all() and got.image_ids == review.dataset.image_ids and got.class_names == NAMES
    )
    assert (got.targets != UNKNOWN).sum() == 4 + 2 and sha(folder / 'labels.csv') == before
    who = pd.read_csv(beside)
    assert list(who) == ['image', 'category', 'label', 'kind', 'said_by', 'probability', 'time']
    assert who.kind.value_counts().to_dict() == dict(given=4, person=2) and who.said_by.dropna().unique().tolist() == [
        'Ada'
    ]
    assert all(got.targets[got.image_ids.index(r.image), NAMES.index(r.category)] == r.label for r in who.itertuples())
    for name in ('done.csv', 'labels.csv', 'answers.csv'):
        with pytest.raises(R.ReviewError, match='exists and is not overwritten'):
            review.export(folder / name)
    (folder / 'x.sources.csv').write_text('mine')
    with pytest.raises(R.ReviewError, match='x.sources.csv: exists'):
        review.export(folder / 'x.csv')
    assert not (folder / 'x.csv').exists() and (folder / 'x.sources.csv').read_text() == 'mine'
    with pytest.raises(R.ReviewError, match='fill is 0.2'):
        review.export(folder / 'y.csv', fill=0.2)


def test_export_filled_by_the_model(review, folder):
    q = first(review)
    review.answer((q, 'reject'))
    path, beside = review.export(folder / 'filled.csv', fill=0.8)
    labels, who = csv_dataset(path).targets, pd.read_csv(beside)
    expected = np.where(LABELS != UNKNOWN, LABELS, np.where(P >= 0.8, 1, np.where(1 - P >= 0.8, 0, UNKNOWN)))
    expected[q.row, q.column] = 1 - q.label
    assert (labels == expected).all()
    guessed = who[who.kind == 'model']
    assert (
        len(guessed) == (labels != UNKNOWN).sum() - 5 and (guessed.said_by == 'm').all() and guessed.time.notna().all()
    )
    full, _ = review.export(folder / 'full.csv', fill=0.5)
    assert (csv_dataset(full).targets != UNKNOWN).all()


# -- rounds


class Method(contract.Method):
    "A method of the common contract: texts moved by a learned matrix, a map, and a bias."

    def __init__(self, texts, seed=0, shift=0.0):
        super().__init__()
        self.texts, self.turn = texts, nn.Linear(D, D, bias=False)
        self.bias = nn.Parameter(torch.full((len(texts),), shift))
        nn.init.eye_(self.turn.weight)

    def forward(self, features):
        maps = (self.texts @ features.dense.mT).mul(4).softmax(-1)
        logits = 4 * ((maps @ features.dense) * self.turn(self.texts)).sum(-1) + self.bias
        return MethodOutput(logits, maps, dict(region=logits))

    def loss(self, output, targets, known_mask, state):
        each = F.binary_cross_entropy_with_logits(output.logits, targets.clamp(min=0).float(), reduction='none')
        total = (each * known_mask).sum() / known_mask.sum().clamp(min=1)
        return total, dict(classification=total.detach())


class Store(views.Store):
    "What review needs of a feature store."

    grid = GRID

    def __init__(self, image_ids, seed=0):
        g = torch.Generator().manual_seed(seed)
        unit = lambda *shape: F.normalize(torch.randn(*shape, generator=g), dim=-1)
        self.image_ids, self.tensors = image_ids, (unit(len(image_ids), D), unit(len(image_ids), 4, D))
        self.pooled = self.tensors[0].numpy()

    def __len__(self):
        return len(self.image_ids)

    def batch(self, rows, device=None):
        return ImageFeatures(*(t[torch.as_tensor(rows)] for t in self.tensors), None)


TEXTS = F.normalize(torch.randn(C, D, generator=torch.Generator().manual_seed(5)), dim=-1)
FAST = TrainConfig(epochs=2, batch_size=16, lr=1e-2, ema=0.0, device='cpu')


def test_retrain_learns_and_repeats():
    store = Store([str(i) for i in range(40)])
    targets = np.where(np.random.default_rng(0).random((40, C)) < 0.5, 1, UNKNOWN)
    runs = [R.retrain(lambda: Method(TEXTS), store, targets, FAST) for _ in range(2)]
    assert (runs[0].probabilities == runs[1].probabilities).all() and runs[0].probabilities.shape == (40, C)
    assert (
        runs[0].probabilities.mean() > torch.sigmoid(Method(TEXTS)(store.batch(range(40))).logits).mean().item()
        and runs[0].seconds > 0
    )


def test_what_changed_by_hand():
    before, after = [[0.6, 0.2], [0.4, 0.2], [0.6, 0.9]], [[0.9, 0.6], [0.7, 0.1], [0.3, 0.9]]
    t0, t1 = [[-1, -1], [-1, 1], [-1, -1]], [[1, -1], [-1, 1], [-1, 0]]
    table = R.changed_answers(before, after, t0, t1, ['cat', 'dog'])
    assert table.loc['cat'].tolist() == pytest.approx([1, 1, 1, 0.3]) and table.loc['dog'].tolist() == pytest.approx([
        1,
        1,
        0,
        0.4,
    ])
    assert list(table.index) == ['cat', 'dog']
    assert R.changed_answers([[0.5]], [[0.6]], [[-1]], [[1]], ['cat']).mean_change['cat'] == 0  # nothing is open
    moved = R.changed_answers([[0.4], [0.6]], [[0.4], [0.6]], [[-1]] * 2, [[-1]] * 2, ['cat'], [0.5], [0.3])
    assert moved.loc['cat'].tolist() == [0, 1, 0, 0]
    with pytest.raises(R.ReviewError, match=r'expected the same \[M, C\] four times'):
        R.changed_answers(before, after, t0, t1[:2], ['cat', 'dog'])


def test_renew_keeps_answers_and_settings(review):
    review.answer((first(review), 'accept'))
    new = review.renew(1 - P, 'm2')
    assert new.answers == review.answers and (new.order, new.annotator, new.model) == ('uncertainty', 'Ada', 'm2')
    q = first(new)
    new.answer((q, 'accept'))
    assert new.answers[-1].model == 'm2' and new.answers[0].model == 'm' and q.label == (1 - P[q.row, q.column] >= 0.5)


def test_simulate():
    store, val = Store([str(i) for i in range(60)]), Store([str(i) for i in range(30)], 1)
    teach = Method(TEXTS)
    truth, other = ((teach(s.batch(range(len(s)))).logits > 0.5).int().numpy() for s in (store, val))
    run = lambda: R.simulate(
        lambda seed: Method(TEXTS, shift=float(seed)),
        store,
        truth,
        Evaluation(val, other),
        known=0.2,
        k=7,
        rounds=2,
        seeds=(0, 1),
        config=FAST,
    )
    table = run()
    assert (
        len(table) == 4 * 2 * 3
        and (table.groupby(['order', 'seed']).answers.apply(list).map(tuple) == (0, 7, 14)).all()
    )
    starts = table[table.answers == 0].groupby('seed').mAP.nunique()
    assert (starts == 1).all()  # all orders start from the same method
    pd.testing.assert_frame_equal(table.drop(columns='seconds'), run().drop(columns='seconds'))
    with pytest.raises(R.ReviewError, match="order is 'best'"):
        R.simulate(
            lambda seed: Method(TEXTS), store, truth, Evaluation(val, other), orders=('best',), config=FAST, seeds=(0,)
        )


def test_readings_by_hand():
    rows = [
        dict(order=o, seed=s, answers=100 * i, mAP=v)
        for o, s, values in (
            ('effect', 0, (50, 60, 65)),
            ('effect', 1, (52, 60, 67)),
            ('random', 0, (50, 58, 61)),
            ('random', 1, (52, 62, 70)),
        )
        for i, v in enumerate(values)
    ]
    table = pd.DataFrame(rows)
    needed = R.answers_needed(table, 63.0)  # effect 51, 60, 66; random 51, 60, 65.5
    assert needed['effect'] == pytest.approx(150) and needed['random'] == pytest.approx(100 + 100 * 3 / 5.5)
    assert R.answers_needed(table, 40.0)['effect'] == 0 and np.isnan(R.answers_needed(table, 70.0)['random'])
    got = R.against_random(table).loc['effect']  # seed 0: (2 + 4) / 2, seed 1: (-2 - 3) / 2
    assert (got.gain, got.lowest, got.highest, got.every_seed) == (0.25, -2.5, 3, False)
    with pytest.raises(R.ReviewError, match="expected 'random' among them"):
        R.against_random(table[table['order'] == 'effect'])


# -- evidence and the widget, without a browser


@pytest.fixture
def inspection(folder):
    dataset = csv_dataset(folder / 'labels.csv')
    return I.inspect_method(Method(TEXTS), Store(list(dataset.image_ids)), dataset, TEXTS, 'round 0')


@pytest.fixture
def widget():
    pytest.importorskip('anywidget')
    return importlib.import_module('trmml_nb.people.review_widget')


@pytest.fixture
def live(widget, inspection, folder):
    review = R.Review(inspection.dataset, inspection.probabilities, folder / 'answers.csv', 'Ada', 'round 0')
    again = lambda targets: I.inspect_method(
        Method(TEXTS, shift=2.0), inspection.store, inspection.dataset, TEXTS, 'round 1'
    )
    return widget.ReviewWidget(review, inspection, again)


def send(live, kind, **more):
    "A message as the browser sends it."
    live._handle_custom_msg({'kind': kind, 'drawn': live.drawn, 'marks': list(live.marks), **more}, [])


def on_disk(live):
    return [a.answer for a in R.read_answers(live.review.path, live.review.dataset)]


def said(live):
    "All that the widget says in words."
    return ' '.join([live.content['message'], live.content['trouble'], live.question(), live.content['precision']])


def test_evidence_is_the_inspectors_region_in_its_own_colours(inspection):
    view, look = inspection.view(3), I.LabelLook(side=32)
    got, drawn, plain = (
        R.evidence(view, R.Proposal(3, 1, ABSENT, 0.25), look),
        *(I.panels(view, 1, look)[k].picture for k in (2, 0)),
    )
    level = I.upsample(I.map_levels(view.attention[1]), GRID, got.picture.shape[:2], 'bilinear')
    own, map_ = (got.picture == plain).all(-1), (got.picture == drawn).all(-1)
    assert (
        (own | map_).all()
        and map_[level < 0.5].all()
        and own[level > 0.9].all()
        and (level < 0.5).any()
        and not map_.all()
    )
    assert (R.evidence(view, R.Proposal(3, 1, ABSENT, 0.25), I.LabelLook(side=32, threshold=0)).picture == plain).all()
    assert (got.title, got.caption) == ('dog absent?', 'probability of present 0.25')


def test_answers_of_one_image(live):
    asked = live.review.proposals(count=4)
    for word in ('present', 'absent', 'skip', 'present'):
        send(live, 'answer', answer=word)
    assert [a.label for a in live.review.answers] == [1, 0, UNKNOWN, 1] and len(on_disk(live)) == 4
    kinds = [
        'skip' if w == 'skip' else 'accept' if w == ('absent', 'present')[q.label] else 'reject'
        for w, q in zip(('present', 'absent', 'skip', 'present'), asked)
    ]
    assert on_disk(live) == kinds  # what that means for each proposal is worked out, and not asked
    assert [(live.review._rows[a.image], live.review._columns[a.category]) for a in live.review.answers] == [
        (q.row, q.column) for q in asked
    ]
    send(live, 'undo')
    assert on_disk(live) == kinds[:3] and live.page == asked[3:]
    assert len(live.pictures) == 1 and live.pictures[0].startswith(b'\xff\xd8') and len(live.maps[0]) == N
    assert live.content['message'] == '1 taken back' and (live.content['answered'], live.content['skipped']) == (2, 1)
    for _ in range(4):
        send(live, 'undo')
    assert on_disk(live) == [] and live.content['message'] == 'nothing to take back'


def test_the_question_is_never_negated(live):
    live.category = 'dog'
    assert live.question() == 'Is there a dog?' and live.content['tiles'][0]['says'] in ('present', 'absent')
    live.category = 'a <b>'
    assert live.question() == 'Is there an a <b>?'
    live.mode = 'grid'
    assert live.question() == 'Which of these show an a <b>?'
    live.proposed = 'absent'
    assert 'absent' not in live.question()


def test_thresholds_of_each_category_decide(widget, inspection, folder):
    thresholds = np.array([0.05, 0.95, 0.5])
    review = R.Review(inspection.dataset, inspection.probabilities, folder / 't.csv', 'Ada', threshold=thresholds)
    live = widget.ReviewWidget(review, inspection)
    p, blank = inspection.probabilities, inspection.dataset.targets == UNKNOWN
    assert {(q.row, q.column): q.label for q in review.proposals()} == {
        (r, c): int(p[r, c] >= thresholds[c]) for r, c in np.argwhere(blank)
    }
    live.category = 'dog'
    assert live.content['threshold'] == 0.95 and live.content['tiles'][0]['says'] == 'absent'
    for wrong in ([0.5, 0.5], 1.0, [0.5, 0.5, 0.0]):
        with pytest.raises(R.ReviewError, match='threshold is'):
            R.Review(inspection.dataset, inspection.probabilities, folder / 't.csv', 'Ada', threshold=wrong)


def test_any_of_the_last_five_can_be_taken_back(live):
    for _ in range(6):
        live.answer('present')
    shown = live.content['recent']
    assert [line['step'] for line in shown] == [6, 5, 4, 3, 2] and all('present in' in line['text'] for line in shown)
    send(live, 'undo', step=4)
    assert sorted(a.step for a in live.review.answers) == [1, 2, 3, 5, 6] and len(on_disk(live)) == 5
    send(live, 'undo', step=4)
    assert live.content['message'] == 'nothing to take back' and len(on_disk(live)) == 5


def test_late_messages_do_not_count(live):
    seen = live.drawn
    for kind, more in (('answer', dict(answer='present')), ('answer', dict(answer='present')), ('undo', {})):
        send(live, kind, drawn=seen, **more)
    live._handle_custom_msg(dict(kind='answer', answer='present'), [])
    send(live, 'answer', answer='perhaps')
    assert len(on_disk(live)) == 1


def test_grid_begins_unanswered_and_saves_only_what_is_answered(live):
    live.mode, live.category = 'grid', 'dog'
    page = live.page
    assert len(page) == M - 1 and {q.column for q in page} == {1} and live.marks == [''] * 7
    assert [q.probability for q in page] == sorted((q.probability for q in page), reverse=True)
    send(live, 'save')
    assert not live.review.path.exists() and live.content['message'] == 'nothing is answered yet'
    drawn = live.drawn
    marks = ['present', '', 'absent', 'absent', '', 'skip', '']
    send(live, 'marks', marks=marks)
    send(live, 'marks', marks=['skip'] * 7, drawn=drawn - 1)  # of an older page
    send(live, 'marks', marks=['skip'])  # of no page
    assert live.marks == marks and live.drawn == drawn and not live.review.path.exists()  # nothing drawn, nothing saved
    send(live, 'save')
    assert [a.label for a in live.review.answers] == [1, 0, 0, UNKNOWN] and len({
        a.step for a in live.review.answers
    }) == 1
    assert live.content['message'] == '4 answers saved' and len(live.page) == 3 and live.marks == [''] * 3
    assert live.content['recent'][0]['text'] == 'dog: 1 present, 2 absent, 1 skipped'
    send(live, 'undo')
    assert on_disk(live) == [] and live.page == page and live.marks == [''] * 7
    live.answer('absent')
    assert live.marks == ['absent'] * 7
    live.mark(2, ''), live.mark(99, 'present'), live.mark(-1, 'present')
    assert live.marks == ['absent', 'absent', '', *['absent'] * 4]
    live.count = 3
    assert len(live.page) == 3
    send(live, 'save')
    send(live, 'save')
    assert len(on_disk(live)) >= 3


def test_marks_outlive_a_change_of_category(live):
    live.mode, live.category = 'grid', 'dog'
    marks = ['present', '', 'absent', '', '', '', 'skip']
    send(live, 'choose', category='cat', marks=marks)
    assert live.category == 'cat' and set(live.marks) == {''}
    send(live, 'choose', category='dog')
    assert live.marks == marks == live.content['marks']
    send(live, 'save')
    live.undo()
    assert set(live.marks) == {''}  # what was saved is not marked twice


def test_traits(live):
    send(live, 'choose', proposed='absent')
    assert live.proposed == 'absent' and all(q.label == ABSENT for q in live.page)
    with pytest.raises(R.ReviewError, match="category 'catt' is none of the categories; close names: cat"):
        live.category = 'catt'
    live.mode, live.proposed = 'grid', 'any'
    assert len({q.column for q in live.page}) == 1 and live.category == ''
    for wrong in (['present'], ['yes'] * len(live.page)):
        with pytest.raises(R.ReviewError, match='one per tile'):
            live.marks = wrong
    assert live.marks == [''] * len(live.page)


def test_a_failed_save_is_said(live, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(R, 'write_atomic', full)
    page = live.page
    live.answer('present')
    assert 'does not count' in said(live) and live.page == page and live.review.answers == []
    live.mode = 'grid'
    live.answer('absent'), live.save_page()
    assert 'does not count' in said(live) and live.marks == ['absent'] * len(live.page)


def test_the_table_is_exported_by_a_button(live, folder):
    live.answer('present')
    send(live, 'export'), send(live, 'export')
    made = [folder / 'answers-table.csv', folder / 'answers-table-2.csv']
    assert all(p.is_file() for p in made) and str(made[1]) in live.content['message']
    a = live.review.answers[0]
    table = pd.read_csv(made[0], dtype={'image': str}).set_index('image')
    assert table.loc[a.image, a.category] == 1


def test_skipped_ones_are_asked_again_by_a_button(live):
    live.answer('skip')
    assert live.content['skipped'] == 1
    send(live, 'reopen')
    assert live.content['skipped'] == 0 and live.content['message'] == '1 are asked again'


def test_training_again(live):
    live.train_again()
    assert 'answer something first' in said(live)
    live.answer('present'), live.answer('absent')
    old = live.review
    send(live, 'retrain')
    assert live.review is not old and live.review.answers == old.answers and live.review.model == 'round 1'
    assert live.inspection.name == 'round 1' and 'a <b>' in [row[0] for row in live.content['changes']]
    assert 'trained again in' in said(live) and live.review.probabilities.mean() > old.probabilities.mean()
    live.answer('present')
    assert live.review.answers[-1].model == 'round 1' and len(on_disk(live)) == 3


def test_a_training_is_announced_and_one_that_cannot_be_is_said(live):
    heard, again = [], live.again
    live.answer('present'), live.answer('absent')
    known, before = int((live.review.targets != -1).sum()), live.review

    def refuse(labels):
        heard.append(said(live))
        raise TrainingError('nothing to learn from')

    live.again = refuse
    send(live, 'retrain')
    assert f'training on {known} labels; nothing is answered until it is done ...' in heard[0]
    assert 'not trained again: nothing to learn from' in said(live) and live.review is before
    live.again = again
    send(live, 'retrain')
    assert 'for this page: to keep such a one, export the table and train on it' in live.content['learned']


def test_which_model_a_training_leaves_and_why_is_said_and_stays_to_be_read(live):
    "Once in what is said, and over the table of what changed for as long as it is about the last training."
    again, why = live.again, 'kept: the tower alone: its probabilities are better on labels held out'
    live.again = lambda labels: replace(again(labels), about=why)
    live.answer('present'), live.answer('absent')
    assert live.content['learned'] == ''
    send(live, 'retrain')
    assert f'; {why}' in said(live)
    live.answer('present')
    assert why not in said(live) and live.content['learned'].startswith(f'K{why[1:]}. ')


def test_what_changed_is_judged_by_the_thresholds_of_each_round(live):
    "A proposal is turned over where the run says something else now, also because its threshold moved."
    again = live.again
    live.answer('present'), live.answer('absent')
    live.inspection = again(live.review.targets)
    live.review.probabilities[:] = live.inspection.probabilities
    high = np.full(len(live.names), 1 - 1e-6)
    live.again = lambda labels: replace(live.inspection, name='round 2', thresholds=high)
    turned = (live.review.probabilities >= 0.5)[live.review.targets == -1].sum()
    send(live, 'retrain')
    table = live.content['changes']
    column = [k for k, name in enumerate(table[0]) if name == 'now absent'][0]
    assert sum(int(row[column]) for row in table[1:]) == turned > 0


def test_without_an_inspection_and_with_a_wrong_one(widget, review, inspection):
    live = widget.ReviewWidget(review)
    assert len(live.pictures) == 1 and live.maps == [b''] and not live.content['retrain']
    live.mode = 'grid'
    live.answer('present')
    live.save_page()
    assert review.progress()['answered'] == len(review.answers) > 1
    other = I.Inspection(None, None, inspection.dataset.subset([0, 1]), TEXTS, P[:2])
    with pytest.raises(R.ReviewError, match='the review has 8 images and 3 categories, the inspection 2 and 3'):
        widget.ReviewWidget(review, other)


@pytest.mark.parametrize('mode', ['single', 'grid'])
def test_a_still_twin_where_no_kernel_runs(live, mode):
    live.mode = mode
    twin = live.twin()
    assert twin['text/plain'] == live.question() and twin['image/png'] in twin['text/html']
    picture = Image.open(io.BytesIO(base64.b64decode(twin['image/png'])))
    assert picture.format == 'PNG' and picture.width > 400 and len(picture.convert('RGB').getcolors(1 << 24)) > 10


def test_script_loads_nothing(widget):
    assert not re.search(r'https?:|\bimport\b|fetch\(|XMLHttp|innerHTML', widget._REVIEW)


@pytest.mark.parametrize('missing', ['anywidget', 'ipywidgets'])
def test_without_the_extra_the_message_says_what_to_install(missing, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, 'trmml_nb.people.review_widget', raising=False)
    with pytest.raises(ImportError, match=r"pip install 'trmml_nb\[notebooks\]'"):
        importlib.import_module('trmml_nb.people.review_widget')


def test_the_pure_module_imports_no_widget_library():
    names = {
        n.name if isinstance(n, ast.alias) else n
        for node in ast.walk(ast.parse(open(R.__file__, encoding='utf-8').read()))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for n in ([node.module] if isinstance(node, ast.ImportFrom) else node.names)
    }
    assert not names & {'ipywidgets', 'anywidget', 'traitlets', 'IPython'}


# -- hostile input


def test_two_peoples_answers_that_contradict_each_other(review, folder):
    "A file put together from two people's: both are named, with what they said and where; nothing is chosen for them."
    review.answer((first(review), 'accept'))
    a = review.answers[0]
    other = R.replace(a, step=2, said_by='Grace <b>', label=1 - a.label, answer='reject')
    for conflict, word in (
        (other, 'present' if a.label else 'absent'),
        (R.replace(other, label=UNKNOWN, answer='skip'), 'skipped'),
    ):
        (folder / 'answers.csv').write_bytes(data := R.answers_csv([a, conflict]))
        with pytest.raises(
            R.ReviewError,
            match=f"answered twice: row 2 by Ada .* row 3 by Grace <b> "
            f".*{'skipped' if word == 'skipped' else ''}.*delete one",
        ):
            reopen(folder)
        assert (folder / 'answers.csv').read_bytes() == data


def test_two_people_in_two_files_and_in_turn(folder):
    "Each in a file of their own, or one after the other in the same: every row says who."
    open_as = lambda who, out: R.open_review(folder / 'labels.csv', folder / 'scores.csv', folder / out, who, model='m')
    ada, grace = open_as('Ada', 'a.csv'), open_as('Grace', 'b.csv')
    ada.answer((first(ada), 'accept')), grace.answer((first(grace), 'reject'))
    assert ada.targets[first(ada).row].tolist() is not None and (ada.targets != grace.targets).sum() == 1
    later = open_as('Grace', 'a.csv')
    later.answer((first(later), 'skip'))
    assert [a.said_by for a in open_as('Ada', 'a.csv').answers] == ['Ada', 'Grace']


@pytest.mark.parametrize('with_inspection', [True, False])
def test_a_picture_that_is_gone(widget, review, inspection, folder, with_inspection):
    """When the table is opened: refused with the line. While it is open: a word, a grey picture, and the question can
    be skipped."""
    live = widget.ReviewWidget(review, inspection if with_inspection else None)
    name = review.dataset.image_ids[live.page[0].row]
    (folder / name).rename(folder / 'elsewhere')
    live.ask()
    assert name in said(live) and 'can be skipped' in said(live) and live.pictures[0].startswith(b'\xff\xd8')
    live.answer('skip')
    assert review.answers[-1].answer == 'skip' and review.answers[-1].image == name
    live.mode = 'grid'
    live.count = 60
    assert len(live.pictures) == len(live.page)
    with pytest.raises(DataError, match=f'labels.csv, line .*{name}'):
        reopen(folder)
    (folder / 'elsewhere').rename(folder / name)
    live.ask()
    assert 'can be skipped' not in said(live) and reopen(folder).answers == review.answers


def test_somebody_else_writes_the_file_while_it_is_open(live, folder):
    "Detected before anything is written; both persons' answers are there after the file is read again."
    live.answer('present')
    other = R.Review(live.review.dataset, live.review.probabilities, live.review.path, 'Grace', 'round 0')
    other.answer((first(other), 'reject'))
    theirs, page = live.review.path.read_bytes(), live.page
    assert not live.content['reread']
    live.answer('present')
    assert 'changed since' in said(live) and live.review.path.read_bytes() == theirs and live.page == page
    assert live.content['reread'] and 'Press "read file again"' in said(live)  # the message names the button
    send(live, 'reread')
    assert '2 answers read' in said(live) and live.page != page and not live.content['reread']
    live.answer('absent')
    assert [a.said_by for a in R.read_answers(live.review.path, live.review.dataset)] == ['Ada', 'Grace', 'Ada']
    live.review.path.unlink()  # gone altogether: also a change
    live.answer('present')
    assert 'changed since' in said(live) and not live.review.path.exists() and len(live.review.answers) == 3


def test_ten_thousand_images(tmp_path):
    """A table of 10,000 pictures and 20 categories with blanks, from files: opened in a moment, and answered without a
    wait."""
    import tracemalloc

    count, names, r = 10_000, [f'class {c}' for c in range(20)], np.random.default_rng(0)
    Image.new('RGB', (4, 4)).save(tmp_path / '0.png')
    for i in range(1, count):
        os.link(tmp_path / '0.png', tmp_path / f'{i}.png')
    cells = np.where(r.random((count, 20)) < 0.1, '1', '')
    pd.DataFrame(cells, columns=names).assign(image=[f'{i}.png' for i in range(count)])[['image', *names]].to_csv(
        tmp_path / 'labels.csv', index=False
    )
    pd.DataFrame(r.random((count, 20)).round(4), columns=names).assign(image=[f'{i}.png' for i in range(count)]).to_csv(
        tmp_path / 'scores.csv', index=False
    )
    features = r.normal(size=(count, 64)).astype(np.float32)
    gc.collect()
    gc.freeze()  # what other tests have left in this process is not looked through again and again
    start = time.process_time()
    review = R.open_review(tmp_path / 'labels.csv', tmp_path / 'scores.csv', tmp_path / 'out.csv', 'Ada')
    opened = time.process_time() - start
    gc.unfreeze()
    start = time.process_time()
    diverse = R.proposal_order('diverse', review.probabilities, review.dataset.targets, features)
    ordered = time.process_time() - start
    print(f'opened in {opened:.1f} s of the processor, order by diversity in {ordered:.1f} s')
    assert (
        opened < 4 and ordered < 4 and len(diverse) == len(review.entries) > 150_000
    )  # 2 s by the clock on two free cores
    tracemalloc.start()
    for _ in range(10):
        review.answer((first(review, count=1), 'accept'))
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert now < 3e6 and peak < 60e6 and review.progress()['answered'] == 10
