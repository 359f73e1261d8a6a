"A run as one file: onnxruntime says what the run says, to 0.0001, and the file says what it knows."

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

onnxruntime = pytest.importorskip('onnxruntime', reason='the extra `onnx` is not installed')
pytest.importorskip('onnx', reason='the extra `onnx` is not installed')

from trmml_nb.cli import app  # noqa: E402
from trmml_nb.data.dataset import scenes_dataset  # noqa: E402
from trmml_nb.runs.options import TrainJob  # noqa: E402
from trmml_nb.runs.predict import predict_job  # noqa: E402
from trmml_nb.runs.run import load_run  # noqa: E402
from trmml_nb.runs.train import train_job  # noqa: E402
from trmml_nb.yours import onnx_file  # noqa: E402
from trmml_nb.yours.onnx_file import OnnxError, export_onnx  # noqa: E402


def ask(path, picture):
    "As a program without this library would."
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    notes = session.get_modelmeta().custom_metadata_map
    labels, prepare = json.loads(notes['labels']), json.loads(notes['preprocessing'])
    assert prepare['resize'] == 'squash' and prepare['range'] == [0, 1]
    side = prepare['size']
    pixels = np.asarray(picture.convert('RGB').resize((side, side), Image.BICUBIC), np.float32) / 255
    p = session.run(None, {'pixels': pixels.transpose(2, 0, 1)[None]})[0][0]
    return dict(zip(labels, p.tolist())), json.loads(notes['thresholds'])


@pytest.mark.parametrize('method', ['trmml:ffn_dim=32', 'trmml_plus:ffn_dim=32', 'pvlr'])
def test_the_whole_path_says_what_the_run_says(tmp_path, method):
    cache = str(tmp_path.parent / 'cache')
    run = train_job(TrainJob(method=method, limit=40, epochs=1, out=str(tmp_path / 'run'), cache=cache), progress=False)
    done = CliRunner().invoke(app, ['export', str(run), '--out', str(tmp_path / 'run.onnx')])
    assert done.exit_code == 0 and 'largest difference' in done.output, done.output
    scene, recogniser = scenes_dataset('test', 1).image(0), load_run(run)
    said, _ = ask(tmp_path / 'run.onnx', scene)
    for name, p in recogniser.predict(scene).probabilities.items():
        assert abs(said[name] - p) <= 1e-4


def test_calibration_and_thresholds_of_photographs_are_in_the_file(tmp_path):
    run = train_job(
        TrainJob(
            method='trmml:ffn_dim=32', limit=40, epochs=1, out=str(tmp_path / 'run'), cache=str(tmp_path / 'cache')
        ),
        progress=False,
    )
    names, rng = load_run(run).class_names, np.random.default_rng(0)
    of = lambda low, high: dict(zip(names, rng.uniform(low, high, len(names)).tolist()))
    decisions = dict(slope=0.7, shift=of(-1, 1), noted=of(0.4, 1), threshold=of(0.1, 0.9))
    (run / 'decisions.json').write_text(json.dumps(decisions))
    export_onnx(run, tmp_path / 'run.onnx')
    scene = scenes_dataset('test', 1).image(0)
    scene.save(tmp_path / 'scene.png')
    said, thresholds = ask(tmp_path / 'run.onnx', scene)
    table = pd.read_csv(predict_job(run, tmp_path / 'scene.png', tmp_path / 's.csv', progress=False)[0])
    assert thresholds == pytest.approx(decisions['threshold'])
    assert max(abs(said[name] - table[name][0]) for name in names) < 2e-3  # features are rounded there, not here


def test_nothing_is_written_that_differs_or_overwrites(tmp_path, monkeypatch):
    run = train_job(
        TrainJob(
            method='trmml:ffn_dim=32', limit=40, epochs=1, out=str(tmp_path / 'run'), cache=str(tmp_path / 'cache')
        ),
        progress=False,
    )
    monkeypatch.setattr(onnx_file, 'onnx_difference', lambda *_: 2e-4)
    with pytest.raises(OnnxError, match=r'differs by 0.0002, at most 0.0001'):
        export_onnx(run, tmp_path / 'new.onnx')
    (tmp_path / 'mine.onnx').write_text('mine')
    with pytest.raises(OnnxError, match='is not overwritten'):
        export_onnx(run, tmp_path / 'mine.onnx')
    monkeypatch.setattr(onnx_file.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(OnnxError, match=r'pip install "trmml_nb\[onnx\]"'):
        export_onnx(run, tmp_path / 'new.onnx')
    assert not (tmp_path / 'new.onnx').exists() and (tmp_path / 'mine.onnx').read_text() == 'mine'
