"The benchmark runs at its smallest size and writes its table; how fast it was is nobody's business here."

import csv
import importlib.util
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
QUIET = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="module")
def script():
    "benchmarks/run.py as a module."
    spec = importlib.util.spec_from_file_location("benchmark_script", ROOT / "benchmarks/run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_benchmark_runs_and_writes_its_table(tmp_path):
    out = tmp_path / "results.csv"
    out.write_text("name,value,baseline,ratio,unit,machine,versions,date\nkept,1,1,1,s,m,v,d\n")
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/run.py"), "--size", "tiny", "--out", str(out)],
        capture_output=True,
        text=True,
        env=QUIET,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (
        "no GPU here: the GPU part is skipped" in done.stdout
        and "no --photographs given: that part is skipped" in done.stdout
    )
    rows = list(csv.DictReader(out.open()))
    assert (
        list(rows[0]) == ["name", "value", "baseline", "ratio", "unit", "machine", "versions", "date"]
        and rows[0]["name"] == "kept"
    )
    for row in rows[1:]:
        assert abs(float(row["ratio"]) - float(row["value"]) / float(row["baseline"])) < 0.02 * float(row["ratio"])
        assert row["unit"] in ("s", "GiB", "% mAP")
    said = " ".join(row["name"] for row in rows)
    for part in (
        "encode in the loop",
        "float32 in the loop",
        "full context",
        "bare encoder",
        "channels last",
        "peak memory",
        "the published loop",
        "16 positions / 4 positions, memory",
        "2 processes / one",
        "chunks of 10 / all at once, CPU time",
        "10 kept and 10 known / all at once, memory",
        "limit: encoding, tiny",
        "limit: step of TRM-ML, 12 scenes: measured",
        "limit: prediction by PVLR",
        "limit: a batch of all 12 scenes",
        "limit: import trmml_nb",
    ):
        assert part in said, part
    assert len({row["name"] for row in rows}) == len(rows)  # a row can be replaced by its name


def test_the_photographs_part_runs_on_a_prepared_set(script, tmp_path):
    "A VOC-like folder of eight drawn pictures; the baseline is the clocked epochs, multiplied up to those asked for."
    from trmml_nb.data.dataset import scenes_dataset

    scenes = scenes_dataset("train", 8, size=64)
    kit = tmp_path / "VOCdevkit/VOC2007"
    for folder in ("JPEGImages", "ImageSets/Main"):
        (kit / folder).mkdir(parents=True)
    ids = [f"{i:06d}" for i in range(8)]
    for i, name in enumerate(ids):
        scenes.image(i).save(kit / f"JPEGImages/{name}.jpg")
    for split in ("train", "val"):
        (kit / f"ImageSets/Main/{split}.txt").write_text("\n".join(ids) + "\n")
        for k, thing in enumerate(("dog", "cat", "car")):
            (kit / f"ImageSets/Main/{thing}_{split}.txt").write_text(
                "".join(f"{name} {1 if i % 3 == k else -1}\n" for i, name in enumerate(ids))
            )
    script.main([
        "--size",
        "tiny",
        "--only",
        "photographs",
        "--photographs",
        str(tmp_path / "VOCdevkit"),
        "--image-size",
        "64",
        "--clocked",
        "2",
        "--epochs",
        "4",
        "--out",
        str(tmp_path / "r.csv"),
    ])
    *times, quality = list(csv.DictReader((tmp_path / "r.csv").open()))
    said = "4 epochs of TRM-ML on 8 photographs at 64 px, {}, 2 epochs in the loop clocked and multiplied: "
    assert [row["name"].split(": ")[0] + ": " for row in times] == [
        said.format(unit) for unit in ("wall s", "CPU s") for _ in range(3)
    ]
    for trained, built, one in (times[:3], times[3:]):
        assert float(trained["baseline"]) == float(built["baseline"]) and float(built["value"]) > float(
            trained["value"]
        )
        assert float(built["value"]) == pytest.approx(float(trained["value"]) + float(one["value"]), rel=1e-3, abs=1e-3)
        assert 4 * float(one["baseline"]) == pytest.approx(
            float(trained["baseline"]) - float(trained["value"]), rel=1e-3, abs=1e-3
        )
    assert (
        quality["name"].startswith("mean mAP, 4 epochs of TRM-ML on 8 photographs")
        and 0.5 < float(quality["ratio"]) < 2
    )


def test_the_gpu_part_runs_where_there_is_none(script, tmp_path):
    "The same functions on a CPU, at sizes of a toy: what a GPU will run has run before."
    rows = list(script.on_gpu(script.SIZES["tiny"], tmp_path, None, device="cpu"))
    assert all(math.isfinite(value) and value > 0 and baseline > 0 for _, value, baseline, _ in rows)
    said = " ".join(name for name, *_ in rows)
    for part in (
        "building the store / bare bf16 encoder",
        "step of TRM-ML",
        "step of DualCoOp",
        "step of PVLR",
        "arithmetic floor",
        "bandwidth floor",
        "epoch of TRM-ML over 24 images (all of them held on cpu)",
    ):
        assert part in said, part


def test_a_store_that_does_not_fit_is_read_again_and_again(script, monkeypatch):
    from trmml_nb.towers import loading

    monkeypatch.setattr(
        loading, "free_bytes", lambda device="cpu": int(5 * 2 * 4 * 8 / 0.4) + 1
    )  # room for five images
    store = script.Random(12, (2, 2), 8, "cpu")
    assert store.held == 5 and len(store) == 12 and store._memory is None and store.bytes == 12 * 2 * 4 * 8
    features = store.batch([0, 5, 11])
    assert (
        features.dense.shape == (3, 4, 8)
        and (features.dense[0] == features.dense[1]).all()
        and (features.dense[2] != features.dense[0]).any()
    )
    assert (features.dense.norm(dim=-1) - 1).abs().max() < 1e-2


def test_pruned_and_chunked_steps_are_of_the_same_model(script):
    size = dict(positions=(2, 2), dim=32)
    assert all(script.step_of(24, 2, size, *how) > 0 for how in ((None, None), (5, None), (None, 3)))
