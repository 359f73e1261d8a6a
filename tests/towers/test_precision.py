"Which precision a tower encodes in: measured on the user's images, judged by time and agreement, remembered, and said."

import json
import math

import pytest
import torch
from helpers.towers import images, make

from trmml_nb.towers import precision
from trmml_nb.towers.dense import ImageFeatures
from trmml_nb.towers.precision import PrecisionProbe, choose_precision, judge, probe_file, probe_tower, read_probe
from trmml_nb.towers.views import StoreError


class Pictures:
    "As many noisy pictures as one says."

    name, split = "noise", "train"

    def __init__(self, tower, count):
        self.pixels, self.count, self.seen = images(tower), count, []

    def __len__(self):
        return self.count

    def image(self, i):
        self.seen.append(i)
        return self.pixels[i % 2]


@pytest.fixture
def tower():
    made = make("t-resnet")
    made.transform = lambda picture: picture  # the pictures are prepared already
    return made


def test_agreement_by_hand(tower, monkeypatch):
    "Two positions: one as before, one turned by an angle whose cosine is 0.8; pooled turned to 0.6."
    full = ImageFeatures(torch.tensor([[1.0, 0.0]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))
    low = ImageFeatures(torch.tensor([[0.6, 0.8]]), torch.tensor([[[1.0, 0.0], [0.6, 0.8]]]))
    monkeypatch.setattr(tower, "encode_images", lambda pixels, kind=None: low if kind is torch.bfloat16 else full)
    probe = probe_tower(tower, images(tower)[:1])
    assert probe.mean == pytest.approx(0.9) and probe.worst == pytest.approx(0.6) and probe.images == 1


@pytest.mark.parametrize(
    "times, mean, name",
    [
        ((1.0, 0.5), 0.9991, "bf16"),
        ((1.0, 0.5), 0.9989, "fp32"),
        ((1.0, 0.95), 1.0, "fp32"),
        ((1.0, 3.0), 1.0, "fp32"),
        ((1.0, 0.5), math.nan, "fp32"),
    ],
)
def test_time_and_agreement_decide(times, mean, name):
    made = judge(PrecisionProbe(*times, mean, 0.9, 8))
    assert made.name == name and made.why.startswith(f"encoding in {name}: bf16 takes {times[1]:.2f} of fp32's time")
    assert "worst position 0.9000" in made.why and made.dtype == (torch.bfloat16 if name == "bf16" else None)


def test_measured_once_and_remembered(tower, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "ENOUGH", 0.0)
    data, count = Pictures(tower, 40), []
    monkeypatch.setattr(
        precision, "probe_tower", lambda t, p: count.append(len(p)) or PrecisionProbe(1, 0.3, 0.9999, 0.99, len(p))
    )
    first, second = choose_precision(tower, data, cache=tmp_path), choose_precision(tower, data, cache=tmp_path)
    assert (
        first == second
        and "40 images are about 12 s of work for one core" in first.why
        and first.name == "bf16"
        and count == [8]
        and data.seen == [0, 5, 10, 15, 20, 25, 30, 35]
    )
    assert read_probe(probe_file(tower, tmp_path)) == first.probe
    other = make("t-resnet", seed=1)
    assert probe_file(other, tmp_path) != probe_file(tower, tmp_path)  # other weights, another probe
    monkeypatch.setattr(precision, "machine_name", lambda device: "another machine")
    assert not probe_file(tower, tmp_path).exists()


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"full": 1}', '{"full": "x", "low": 1, "mean": 1, "worst": 1, "images": 1}']
)
def test_a_damaged_memory_is_measured_anew(tower, tmp_path, monkeypatch, damage):
    monkeypatch.setattr(precision, "ENOUGH", 0.0)
    path = probe_file(tower, tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(damage, encoding="utf-8")
    made = choose_precision(tower, Pictures(tower, 3), cache=tmp_path)
    assert made.probe is not None and json.loads(path.read_text(encoding="utf-8"))["images"] == 3


def test_little_work_is_not_probed(tower, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "ENOUGH", 1e9)
    made = choose_precision(tower, Pictures(tower, 5), cache=tmp_path)
    assert made.name == "fp32" and made.probe is None and "5 images are about" in made.why
    assert not list(tmp_path.iterdir())


def test_what_is_asked_is_done_and_nonsense_refused(tower, tmp_path):
    untouched = Pictures(tower, 5)
    assert [choose_precision(tower, untouched, kind).dtype for kind in ("fp32", "bf16")] == [None, torch.bfloat16]
    assert not untouched.seen
    with pytest.raises(StoreError, match="precision is 'half', expected 'auto', 'fp32' or 'bf16'"):
        choose_precision(tower, untouched, "half")
    with pytest.raises(StoreError, match="holds no images"):
        choose_precision(tower, Pictures(tower, 0), cache=tmp_path)


def test_a_tower_encodes_in_its_precision_for_everybody(tower, tmp_path):
    "Stores, views and single images; what is asked in so many words comes first."
    from trmml_nb.data.dataset import scenes_dataset
    from trmml_nb.towers.encode import encode_dataset, plan_stores
    from trmml_nb.towers.tower import load_tower

    tower, data = load_tower("tiny"), scenes_dataset("val", 4)
    full = encode_dataset(tower, data, tmp_path, progress=False)
    tower.precision = torch.bfloat16
    low = encode_dataset(tower, data, tmp_path, progress=False)
    assert low.folder != full.folder and low.meta["precision"] == "torch.bfloat16"
    assert encode_dataset(tower, data, tmp_path, progress=False, precision=torch.float32).folder == full.folder
    one = tower.encode_images(torch.stack([tower.transform(data.image(0))]))
    assert (one.dense[0] - low.batch([0]).dense[0]).abs().max() < 2e-3
    assert (one.dense[0] - full.batch([0]).dense[0]).abs().max() > 1e-4
    assert [plan.tower.precision for plan in plan_stores(tower, data, tmp_path, ("plain", "scale:256"))] == [
        torch.bfloat16
    ] * 2
