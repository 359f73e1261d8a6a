#!/usr/bin/env python3
"""What encoding once, cutting prompts, chunking categories and sharing work are worth on this machine.

    python benchmarks/run.py --size small     # minutes on a laptop
    python benchmarks/run.py --size full

Every line of benchmarks/results.csv is a ratio: a figure and its baseline, measured one after the other in the same run.
A ratio above 1 means more than the baseline (of the unit: seconds, GiB); what is better is said in the name.
"""
from __future__ import annotations

import argparse
import csv
import datetime
import multiprocessing
import os
import platform
import resource
import socket
import tempfile
import time
from pathlib import Path

import torch

SIZES = dict(  # images, epochs, categories of the prompts, categories of the step (with batch, positions, d), repeats
    tiny=dict(images=12, epochs=2, prompts=4, categories=(20, 40), batch=4, positions=(4, 4), dim=32, grow=(8, 16), repeats=1),
    small=dict(images=96, epochs=5, prompts=20, categories=(20, 80, 200, 1000), batch=16, positions=(14, 14), dim=256, grow=(128, 512), repeats=3),
    full=dict(images=500, epochs=20, prompts=80, categories=(20, 80, 200, 1000), batch=64, positions=(14, 14), dim=512, grow=(1000, 10000), repeats=3))


def seconds(job, repeats=1):
    "Shortest time of a job in seconds."
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        job()
        best = min(best, time.perf_counter() - start)
    return best


def in_turn(job, baseline, repeats):
    "Shortest CPU time of each, taken in turn, so that a busy moment hits both."
    best = [float("inf")] * 2
    for _ in range(repeats):
        for k, one in enumerate((job, baseline)):
            start = time.process_time()
            one()
            best[k] = min(best[k], time.process_time() - start)
    return best


def in_child(job, *args):
    "Result of a job in a forked process, and the growth of its peak memory in GiB."
    read, write = multiprocessing.Pipe(False)

    def child():
        before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if Path("/proc/self/statm").exists() else 0
        Path("/proc/self/clear_refs").write_text("5") if Path("/proc/self/clear_refs").exists() else None  # start the peak anew
        value = job(*args)
        status = Path("/proc/self/status")
        peak = int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 if status.exists() else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        write.send((value, (peak - before) / 2**30))
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    write.close()
    try:
        return read.recv()
    except EOFError:
        return None, float("nan")  # killed, for example for want of memory
    finally:
        process.join()


def scenes(size, cache):
    "Tower, images with hidden labels, and their store."
    from trmml_nb.data import scenes_dataset
    from trmml_nb.features import encode_dataset
    from trmml_nb.labels import bernoulli_mask
    from trmml_nb.towers import load_tower
    tower, data = load_tower("tiny"), scenes_dataset("train", size["images"])
    data = data.with_mask(bernoulli_mask(data.truth.shape, 0.3))
    return tower, data, encode_dataset(tower, data, cache, progress=False).to_memory()


def trainer_of(tower, data, store, epochs, dropout=0.1):
    from trmml_nb.training import TrainConfig, Trainer
    from trmml_nb.trmml import TRMML, TRMMLConfig
    method = TRMML.from_tower(tower, data.class_names, TRMMLConfig(dropout=dropout))
    return Trainer(method, store, data.targets, TrainConfig(epochs=epochs, batch_size=32, device="cpu"))


def encode_in_loop(size, cache):
    "Training from a store, building it included, against the same training with the tower in the loop."
    from trmml_nb.features import encode_dataset, prepare
    tower, data, store = scenes(size, cache)

    class Live:
        "A store that encodes whatever it is asked for."
        image_ids, grid, tower_name = store.image_ids, store.grid, "live"
        __len__ = lambda self: len(data)
        def batch(self, rows, device=None): return tower.encode_images(prepare(tower, data, [int(r) for r in rows]))
    def stored(folder):
        trainer_of(tower, data, encode_dataset(tower, data, folder, progress=False).to_memory(), size["epochs"]).fit(progress=False)
    with tempfile.TemporaryDirectory() as fresh:
        value = seconds(lambda: stored(fresh))
    baseline = seconds(lambda: trainer_of(tower, data, Live(), size["epochs"]).fit(progress=False))
    yield f"training {size['epochs']} epochs on {size['images']} scenes: encode once / encode in the loop (lower is better)", value, baseline, "s"


def cut_prompts(size, cache):
    "A step of prompt learning with prompts cut after their last word, against the full context length."
    from trmml_nb.towers import PromptLearner, load_tower
    tower = load_tower("tiny")
    prompts = PromptLearner(tower, [f"category {i}" for i in range(size["prompts"])], 4)

    def step():
        prompts.zero_grad()
        prompts().sum().backward()
    step()
    value, cut = seconds(step, size["repeats"]), tower.texts.cut
    tower.texts.cut = lambda ids: ids
    try:
        baseline = seconds(step, size["repeats"])
    finally:
        tower.texts.cut = cut
    yield f"prompt step, {size['prompts']} categories: cut prompts / full context (lower is better)", value, baseline, "s"


def bare_encoder(size, cache):
    "Building a store against decoding and encoding the same images without keeping anything, with the same threads."
    from trmml_nb.features import encode_dataset, encode_pixels, in_order, prepare, work_size, worker_pool
    tower, data, _ = scenes(size, cache)
    batch, threads = work_size(tower)
    parts = [range(i, min(i + batch, len(data))) for i in range(0, len(data), batch)]

    def bare():
        with worker_pool(threads) as pool:
            for _ in in_order(pool, lambda rows: encode_pixels(tower, prepare(tower, data, rows)), parts, 2 * threads):
                pass

    def build():
        with tempfile.TemporaryDirectory() as fresh:
            encode_dataset(tower, data, fresh, progress=False)
    bare()
    yield f"{size['images']} scenes: building the store / bare encoder (1.1 is the goal)", *in_turn(build, bare, size["repeats"]), "s"


def growing_stores(size, cache):
    "Peak memory of building a store of many images against one of few."
    from trmml_nb.data import scenes_dataset
    from trmml_nb.features import encode_dataset
    from trmml_nb.towers import load_tower
    tower = load_tower("tiny", image_size=64)

    def build(count):
        with tempfile.TemporaryDirectory() as fresh:
            encode_dataset(tower, scenes_dataset("train", count, size=64), fresh, progress=False, shard_size=64)
    few, many = size["grow"]
    (_, small), (_, large) = in_child(build, few), in_child(build, many)
    yield f"peak memory of building: {many} images / {few} images (1.2 is the goal)", large, small, "GiB"


def step_of(categories, size, chunk):
    "CPU seconds of one training step of TRM-ML with so many categories, after one to warm up; other work on the machine hardly counts."
    from torch.nn import functional as F
    from trmml_nb.matching import LossState
    from trmml_nb.towers import ImageFeatures
    from trmml_nb.trmml import TRMML, TRMMLConfig
    g = torch.Generator().manual_seed(0)
    unit = lambda *shape: F.normalize(torch.randn(*shape, generator=g), dim=-1)
    positions, batch, dim = size["positions"], size["batch"], size["dim"]
    method = TRMML(unit(categories, dim), positions, config=TRMMLConfig())
    method.regions.chunk = chunk
    features = ImageFeatures(unit(batch, dim), unit(batch, positions[0] * positions[1], dim), None)
    targets = torch.randint(-1, 2, (batch, categories), generator=g)
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-4)

    def step():
        loss, _ = method.loss(method.train()(features), targets, targets != -1, LossState(0, 10))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    step()
    start = time.process_time()
    step()
    return time.process_time() - start


def many_categories(size, cache):
    "Time and memory of a step by number of categories; the baseline is all categories at once."
    for categories in size["categories"]:
        chunk = max(1, min(100, categories // 2))
        (fast, less), (plain, more) = in_child(step_of, categories, size, chunk), in_child(step_of, categories, size, 0)
        where = f"{categories} categories, batch {size['batch']} x {size['positions'][0] * size['positions'][1]} positions x {size['dim']}"
        yield f"step, {where}: chunks of {chunk} / all at once, time", fast, plain, "s"
        yield f"step, {where}: chunks of {chunk} / all at once, memory", less, more, "GiB"


def two_processes(size, cache):
    "Training in two processes against one, at the same global batch; one thread each."
    tower, data, store = scenes(size, cache)

    def fit(rank=0, count=1, port=0):
        torch.set_num_threads(1)
        if count > 1:
            os.environ.update(WORLD_SIZE=str(count), RANK=str(rank), LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
                              ACCELERATE_USE_CPU="true")
        trainer = trainer_of(tower, data, store, size["epochs"])
        return seconds(lambda: trainer.fit(progress=False))
    alone, _ = in_child(fit)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with multiprocessing.get_context("fork").Pool(1) as other:
        pass  # fails early where processes cannot be forked
    helper = multiprocessing.get_context("fork").Process(target=fit, args=(1, 2, port))
    helper.start()
    both, _ = in_child(fit, 0, 2, port)
    helper.join()
    yield f"training {size['epochs']} epochs on {size['images']} scenes: two processes / one (lower is better)", both, alone, "s"


def on_gpu(size, cache):
    "Encoder and training step on a GPU: bf16 against fp32."
    if not torch.cuda.is_available():
        print("no GPU here: the GPU part is skipped", flush=True)
        return
    from trmml_nb.towers import load_tower
    for name in ("RN101", "ViT-B-16"):
        tower = load_tower(name, "random", image_size=448, device="cuda")
        pixels = torch.randn(64, 3, 448, 448, device="cuda")

        def encode(low):
            with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, enabled=low):
                tower.encode_images(pixels)
            torch.cuda.synchronize()
        encode(True), encode(False)
        yield f"{name} at 448 px, 64 images on a GPU: bf16 / fp32 (lower is better)", seconds(lambda: encode(True), 3), seconds(lambda: encode(False), 3), "s"


PARTS = dict(loop=encode_in_loop, prompts=cut_prompts, bare=bare_encoder, memory=growing_stores, categories=many_categories,
             processes=two_processes, gpu=on_gpu)


def main(arguments=None):
    "Measure, print, and write the table; figures of other sizes stay."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--only", nargs="*", choices=PARTS, help="some parts; all if not given")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results.csv"))
    asked = parser.parse_args(arguments)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    versions = f"python {platform.python_version()}, torch {torch.__version__}"
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for part in asked.only or PARTS:
            for name, value, baseline, unit in PARTS[part](SIZES[asked.size], cache):
                ratio = value / baseline if value is not None and baseline else float("nan")
                rows.append(dict(name=name, value=value and round(value, 5), baseline=baseline and round(baseline, 5), ratio=round(ratio, 4), unit=unit,
                                 machine=machine, versions=versions, date=datetime.date.today().isoformat()))
                print(f"{ratio:8.3f}  {name}  ({value or float('nan'):.4g} / {baseline or float('nan'):.4g} {unit})", flush=True)
    old = list(csv.DictReader(asked.out.open())) if asked.out.exists() else []
    new = {row["name"] for row in rows}
    with asked.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["name", "value", "baseline", "ratio", "unit", "machine", "versions", "date"], lineterminator="\n")
        writer.writeheader()
        writer.writerows([row for row in old if row["name"] not in new] + rows)


if __name__ == "__main__":
    main()
