"""How far the choice of test pictures moves a lead: python scripts/paired.py NAME [--option value ...]

The options are those of `trmml compare` that say which data and which tower, such as `--data scenes --clip tiny`.
Trains TRM-ML and PVLR, both branches, as `trmml compare` does, at 10 % known with seed 0, and draws evaluation sets of
the same size from the reported pictures, for both alike. results/paired.json keeps, under NAME, the number of pictures
and the spread of one mAP and of the difference, in points.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from trmml_nb.io import write_json
from trmml_nb.rivals.compare import hidden_targets, view_logits, views_of
from trmml_nb.rivals.registry import build_method, configure
from trmml_nb.runs.compare_job import CompareJob, make_world
from trmml_nb.training.metrics import bootstrap_map
from trmml_nb.training.trainer import Trainer

KEPT = Path(__file__).resolve().parent.parent / "results/paired.json"
METHODS = ("trmml", "pvlr_both")
DRAWS = 1000


def logits(world, spec):
    "Of the reported pictures, after a training."
    method = build_method(spec, world.tower, world.class_names, 0, world.data)
    targets = torch.as_tensor(hidden_targets(world, 0.1))
    trainer = Trainer(method, views_of(world.store)[0], targets, configure(spec, 0, world.data)[1])
    trainer.fit(progress=False)
    return view_logits(trainer.final, world.report[1]).numpy()


def main():
    name, *given = sys.argv[1:]
    options = {key.removeprefix("--").replace("-", "_"): value for key, value in zip(given[::2], given[1::2])}
    if "image_size" in options:
        options["image_size"] = int(options["image_size"])
    world = make_world(CompareJob(known="0.1", **options))
    maps = bootstrap_map([logits(world, spec) for spec in METHODS], world.report[2], draws=DRAWS)  # [draws, methods]
    difference = maps[:, 0] - maps[:, 1]
    found = {
        "pictures": len(world.report[2]),
        "tower": world.clip,
        "views": world.views,
        "one mAP": float(maps.std(0).mean()),
        "difference": float(difference.std()),
        "lead": float(difference.mean()),
        "ahead": float(np.mean(difference > 0)),
    }
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    kept[name] = {key: round(value, 3) if isinstance(value, float) else value for key, value in found.items()}
    write_json(KEPT, kept)
    print(name, kept[name])


if __name__ == "__main__":
    main()
