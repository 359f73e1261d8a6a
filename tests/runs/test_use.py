"""What is done with a finished run, from files to files."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.errors import DataError
from trmml_nb.runs.options import JobError, TrainJob
from trmml_nb.runs.train import train_job
from trmml_nb.runs.predict import predict_job
from trmml_nb.runs.use import complete_job, evaluate_job
from trmml_nb.runs.run import load_run


def test_evaluate_gives_the_numbers_of_the_run(run, place):
    again = evaluate_job(run, cache=str(place / 'cache'), progress=False)
    first = json.loads((run / 'metrics.json').read_text())
    assert again['mAP'] == pytest.approx(first['mAP'], abs=1e-9) and again['zero_shot_mAP'] == pytest.approx(
        first['zero_shot_mAP']
    )


@pytest.mark.fault('overwriting', 'a table that exists', 'refused; the file stays as it was')
def test_no_table_is_overwritten(run, place, photos):
    (place / 'there.csv').write_text('mine')
    with pytest.raises(JobError, match='there.csv: exists'):
        predict_job(run, photos, place / 'there.csv', progress=False)
    assert (place / 'there.csv').read_text() == 'mine'


def test_scores_table(run, place, photos):
    table, skipped = predict_job(run, photos, place / 'scores.csv', cache=str(place / 'cache'), progress=False)
    frame = pd.read_csv(table)
    recogniser = load_run(run)
    assert list(frame.columns) == ['image', *recogniser.class_names] and not skipped
    assert list(frame.image) == sorted(frame.image) and len(frame) == 6
    for name in frame.image[:2]:
        seen = recogniser.predict(photos / name)
        assert np.allclose(
            frame[frame.image == name].iloc[0, 1:].astype(float), list(seen.probabilities.values()), atol=2e-3
        )
        assert seen.saliency['dog'].shape == seen.grid and seen.saliency['dog'].sum() == pytest.approx(1, abs=1e-4)


def test_complete_keeps_given_labels_and_the_input(run, place, photos):
    text = 'image,dog,boat\n0.png,1,\nsub/1.png,,0\n2.png,,\n'
    (photos / 'labels.csv').write_text(text)
    table, counts = complete_job(
        run, photos / 'labels.csv', place / 'done.csv', cache=str(place / 'cache'), progress=False
    )
    assert (photos / 'labels.csv').read_text() == text
    rows = list(csv.DictReader(open(table, encoding='utf-8')))
    assert [r['image'] for r in rows] == ['0.png', 'sub/1.png', '2.png']
    assert rows[0]['dog'] == '1' and rows[1]['boat'] == '0' and counts['given'] == 2
    assert counts['proposed_present'] + counts['proposed_absent'] == 4
    for r in rows[2:]:
        for c in ('dog', 'boat'):
            assert r[c] == str(int(float(r[f'{c} (probability)']) >= 0.5))


def test_complete_refuses_other_categories(run, place, photos):
    (photos / 'other.csv').write_text('image,unicorn\n0.png,1\n')
    with pytest.raises(JobError, match="column 'unicorn' is no category"):
        complete_job(run, photos / 'other.csv', place / 'x.csv', progress=False)


def test_unreadable_image_stops_or_is_reported(run, place, photos):
    bad = place / 'bad'
    bad.mkdir()
    Image.new('RGB', (20, 20), 'red').save(bad / 'a.png')
    (bad / 'b.png').write_bytes(b'not a picture')
    with pytest.raises(DataError, match='b.png'):
        predict_job(run, bad, place / 's1.csv', progress=False)
    table, skipped = predict_job(run, bad, place / 's2.csv', on_bad='skip', progress=False)
    assert len(pd.read_csv(table)) == 1 and len(skipped) == 1 and 'b.png' in skipped[0][0]


def test_learnable_prompts_are_trained_saved_and_loaded(place):
    from safetensors.torch import load_file

    job = TrainJob(
        method='trmml:context_length=4,ffn_dim=32',
        limit=60,
        epochs=1,
        out=str(place / 'prompts'),
        cache=str(place / 'cache'),
    )
    run = train_job(job, progress=False)
    saved = load_file(run / 'model.safetensors')
    assert saved['prompts.context'].shape[0] == 4 and not any('tower' in name for name in saved)
    first = torch.randn(saved['prompts.context'].shape, generator=torch.Generator().manual_seed(0)) * 0.02
    assert not torch.allclose(saved['prompts.context'], first, atol=1e-6)  # it moved from its start
    metrics = json.loads((run / 'metrics.json').read_text())
    assert evaluate_job(run, cache=str(place / 'cache'), progress=False)['mAP'] == pytest.approx(
        metrics['mAP'], abs=1e-9
    )


def test_a_memory_of_neighbours_is_measured_saved_and_loaded(place):
    from safetensors.torch import load_file

    run = train_job(
        TrainJob(
            method='trmml_plus:ffn_dim=32', limit=60, epochs=1, out=str(place / 'plus'), cache=str(place / 'cache')
        ),
        progress=False,
    )
    saved, metrics = load_file(run / 'model.safetensors'), json.loads((run / 'metrics.json').read_text())
    assert saved['neighbours.codes'].shape[:2] == (20, 60) and metrics['title'] == 'TRM-ML+'
    assert evaluate_job(run, cache=str(place / 'cache'), progress=False)['mAP'] == pytest.approx(
        metrics['mAP'], abs=1e-9
    )
    recogniser, image = load_run(run), scenes_dataset('test', 1).image(0)
    with_memory = recogniser.predict(image).probabilities
    recogniser.method.neighbours.clear()
    assert with_memory != recogniser.predict(image).probabilities
