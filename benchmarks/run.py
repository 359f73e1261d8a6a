#!/usr/bin/env python3
"""What encoding once, cutting prompts, chunking categories and sharing work are worth on this machine.

    python benchmarks/run.py --size small     # minutes on a laptop
    python benchmarks/run.py --size full
    python benchmarks/run.py --only photographs --photographs VOCdevkit --clip RN101 --pretrained openai --image-size 448

Every line of benchmarks/results.csv is a ratio: a figure and its baseline, measured one after the other in the same run.
A ratio above 1 means more than the baseline (of the unit: seconds, GiB); what is better is said in the name. "CPU s" are the
seconds that the process computed, which other work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import hashlib
import math
import multiprocessing
import os
import platform
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from trmml_nb.towers.views import Store

# images, epochs, categories of the prompts, of the step (with batch, positions, d), images of growing stores, ...
SIZES = dict(
    tiny=dict(
        images=12,
        epochs=2,
        prompts=4,
        categories=(20, 40),
        batch=4,
        most=200,
        positions=(4, 4),
        grids=((2, 2), (4, 4)),
        dim=32,
        grow=(8, 16),
        grow_px=64,
        repeats=1,
        seeds=1,
        processes=(2,),
        towers=(("tiny", 64, 2),),
        compiled=False,
        gpu=dict(towers=(("tiny", 64, 8),), images=24, positions=(4, 4), dim=128, batch=8, classes=4, steps=2, side=64),
    ),
    small=dict(
        images=96,
        epochs=5,
        prompts=20,
        categories=(20, 80, 200, 1000),
        batch=16,
        most=32000,
        positions=(14, 14),
        grids=((7, 7), (10, 10), (14, 14), (20, 20), (28, 28)),
        dim=256,
        grow=(128, 256, 512),
        grow_px=64,
        repeats=3,
        seeds=3,
        processes=(2, 4),
        towers=(("tiny", 256, 8), ("RN50", 224, 4)),
        compiled=True,
        gpu=dict(
            towers=(("RN101", 448, 256), ("ViT-B-16", 448, 256)),
            images=8192,
            positions=(14, 14),
            dim=512,
            batch=256,
            classes=80,
            steps=20,
            side=4096,
        ),
    ),
    full=dict(
        images=500,
        epochs=20,
        prompts=80,
        categories=(20, 80, 200, 1000, 10000),
        batch=64,
        most=80000,
        positions=(14, 14),
        grids=((7, 7), (10, 10), (14, 14), (20, 20), (28, 28)),
        dim=512,
        grow=(1000, 3000, 10000),
        grow_px=128,
        repeats=3,
        seeds=3,
        processes=(2, 4),
        towers=(("tiny", 256, 16), ("RN50", 224, 8)),
        compiled=True,
        gpu=dict(
            towers=(("RN101", 448, 2048), ("ViT-B-16", 448, 2048)),
            images=82081,
            positions=(14, 14),
            dim=512,
            batch=256,
            classes=80,
            steps=100,
            side=8192,
        ),
    ),
)
KNOWN, KEEP = 10, 50  # known labels of an image, and categories kept of it, in the step with many categories


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
        before = (
            int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
            if Path("/proc/self/statm").exists()
            else 0
        )
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8") if Path(
            "/proc/self/clear_refs"
        ).exists() else None  # start the peak anew
        value = job(*args)
        status = Path("/proc/self/status")
        peak = (
            int(status.read_text(encoding="utf-8").split("VmHWM:")[1].split()[0]) * 1024
            if status.exists()
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        )
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


def both_seconds(job):
    "Wall and CPU seconds of a job, and what it returns."
    start, own = time.perf_counter(), time.process_time()
    made = job()
    return (time.perf_counter() - start, time.process_time() - own), made


def own_seconds(job):
    "CPU seconds of this process for a job, and what the job returns."
    start = time.process_time()
    made = job()
    return time.process_time() - start, made


def scenes(size, cache):
    "Tower, images with hidden labels, and their store."
    from trmml_nb.data.dataset import scenes_dataset
    from trmml_nb.data.labels import bernoulli_mask
    from trmml_nb.towers.encode import encode_dataset
    from trmml_nb.towers.tower import load_tower

    tower, data = load_tower("tiny"), scenes_dataset("train", size["images"])
    data = data.with_mask(bernoulli_mask(data.truth.shape, 0.3))
    return tower, data, encode_dataset(tower, data, cache, progress=False).to_memory()


def trainer_of(tower, data, store, epochs, batch=32, seed=0):
    from trmml_nb.training.trainer import TrainConfig, Trainer
    from trmml_nb.method.trmml import TRMML, TRMMLConfig

    method = TRMML.from_tower(tower, data.class_names, TRMMLConfig(seed=seed))
    return Trainer(method, store, data.targets, TrainConfig(epochs=epochs, batch_size=batch, seed=seed, device="cpu"))


class Live(Store):
    "A store that encodes whatever it is asked for, on all cores, decoding ahead: the loop at its best."

    def __init__(self, tower, data):
        self.tower, self.data, self.image_ids, self.grid, self.tower_name = (
            tower,
            data,
            data.image_ids,
            tower.grid,
            "live",
        )

    def __len__(self):
        return len(self.data)

    def encoded(self, rows):
        from trmml_nb.towers.encode import prepared_pixels

        with torch.inference_mode():
            return self.tower.encode_images(prepared_pixels(self.tower, self.data, rows))

    def batch(self, rows, device=None):
        from trmml_nb.towers.encode import in_given_order, work_size, worker_pool
        from trmml_nb.towers.dense import ImageFeatures

        at_once, threads = work_size(self.tower)
        with worker_pool(threads) as pool:
            parts = [some.tolist() for some in torch.as_tensor(rows).split(at_once)]
            made = list(in_given_order(pool, self.encoded, parts, 2 * threads))
        return ImageFeatures(*(torch.cat(tensors) for tensors in zip(*made)))


class Mirrored(Live):
    "The same, and half of the images are mirrored, as augmentation does it."

    def encoded(self, rows):
        from trmml_nb.towers.encode import prepared_pixels

        turned = torch.rand(len(rows), generator=torch.Generator().manual_seed(rows[0])) < 0.5
        pixels = prepared_pixels(self.tower, self.data, rows)
        with torch.inference_mode():
            return self.tower.encode_images(torch.where(turned[:, None, None, None], pixels.flip(-1), pixels))


class Exact(Live):
    "What the tower says, in float32, computed once: a frozen tower says the same in every epoch."

    def batch(self, rows, device=None):
        if not hasattr(self, "all"):
            self.all = super().batch(torch.arange(len(self)))
        return type(self.all)(*(part[rows] for part in self.all))


def of_seeds(tower, data, pairs, truth, epochs, seeds, batch=32):
    "[pairs, seeds] mAP of TRM-ML, trained on the first store of a pair and measured on the second."
    from trmml_nb.training.trainer import Evaluation

    def one(train, test, seed):
        trainer = trainer_of(tower, data, train, epochs, batch, seed)
        trainer.fit(progress=False)
        return float(Evaluation(test, truth)(trainer.final))

    return np.array([[one(train, test, seed) for seed in range(seeds)] for train, test in pairs])


def same_map(where, stored, exact):
    "Rows that say whether the store's rounding changes mAP: stored [seeds], exact [seeds]."
    yield f"mean mAP, {where}: float16 store / float32 in the loop", stored.mean(), exact.mean(), "% mAP"
    if len(stored) > 1:
        yield (
            f"mAP, {where}: largest difference of one seed by the store / spread over seeds",
            abs(stored - exact).max(),
            np.ptp(exact),
            "% mAP",
        )


def encode_in_loop(size, cache, asked):
    "Training from a store, building it included, against the same training with the tower in the loop."
    from trmml_nb.towers.encode import encode_dataset

    tower, data, store = scenes(size, cache)

    def stored(folder):
        trainer_of(tower, data, encode_dataset(tower, data, folder, progress=False).to_memory(), size["epochs"]).fit(
            progress=False
        )

    with tempfile.TemporaryDirectory() as fresh:
        value = seconds(lambda: stored(fresh))
    baseline = seconds(lambda: trainer_of(tower, data, Live(tower, data), size["epochs"]).fit(progress=False))
    yield (
        f"training {size['epochs']} epochs on {size['images']} scenes: encode once / encode in the loop (lower is "
        f"better)",
        value,
        baseline,
        "s",
    )


def same_quality(size, cache, asked):
    "mAP after training from the store, in float16, and from float32 features as they come out of the tower."
    from trmml_nb.data.dataset import scenes_dataset
    from trmml_nb.towers.encode import encode_dataset

    tower, data, store = scenes(size, cache)
    held = scenes_dataset("val", 2 * size["images"])
    half = encode_dataset(tower, held, cache, progress=False).to_memory()
    stored, exact = of_seeds(
        tower,
        data,
        ((store, half), (Exact(tower, data), Exact(tower, held))),
        held.truth,
        size["epochs"],
        size["seeds"],
    )
    yield from same_map(f"{size['epochs']} epochs on {size['images']} scenes, {size['seeds']} seeds", stored, exact)


def photographs(size, cache, asked):
    """The same for photographs: time of training from the store, with and without the building, against encoding in
    the loop, and mAP of both."""
    if not asked.photographs:
        print("no --photographs given: that part is skipped", flush=True)
        return
    from trmml_nb.runs.options import TrainJob
    from trmml_nb.runs.sets import hide_labels, load_sets
    from trmml_nb.towers.encode import encode_dataset
    from trmml_nb.towers.tower import load_tower

    job = TrainJob(
        data=asked.data,
        root=asked.photographs,
        clip=asked.clip,
        pretrained=asked.pretrained,
        image_size=asked.image_size,
        mask=asked.mask,
    )
    tower, (train, val) = load_tower(job.clip, job.pretrained, job.image_size), load_sets(job)
    train, _ = hide_labels(train, job, job)
    epochs, whole = size["epochs"] if asked.epochs is None else asked.epochs, asked.clocked

    def fit(count, live=None):
        trainer = trainer_of(
            tower, train, store, count, batch=64
        )  # sees all images once, to start its bias: outside the clock
        trainer.store = live or store
        return both_seconds(lambda: trainer.fit(progress=False))[0]

    with tempfile.TemporaryDirectory() as fresh:
        building, store = both_seconds(lambda: encode_dataset(tower, train, fresh, progress=False).to_memory())
        half = encode_dataset(tower, val, fresh, progress=False).to_memory()
    fit(1)  # once before the clock
    training, loop = fit(epochs), fit(whole, Live(tower, train))
    where = f"{epochs} epochs of TRM-ML on {len(train)} photographs at {tower.image_size} px"
    note = "" if whole >= epochs else f", {whole} epochs in the loop clocked and multiplied"
    for unit, built, fitted, looped in zip(("wall s", "CPU s"), building, training, loop):
        baseline = looped * epochs / whole
        yield (
            f"{where}, {unit}{note}: training from the store / encoding in the loop ({1 / 20:g} is the goal)",
            fitted,
            baseline,
            "s",
        )
        yield (
            f"{where}, {unit}{note}: building the store and training / encoding in the loop ({1 / epochs:g} is the "
            f"floor)",
            built + fitted,
            baseline,
            "s",
        )
        yield (
            f"{where}, {unit}{note}: building the store / one epoch's encoding in the loop",
            built,
            looped / whole - fitted / epochs,
            "s",
        )
    stored, exact = of_seeds(
        tower,
        train,
        ((store, half), (Exact(tower, train), Exact(tower, val))),
        val.truth,
        epochs,
        size["seeds"],
        batch=64,
    )
    yield from same_map(f"{where}, {size['seeds']} seeds", stored, exact)


def cut_prompts(size, cache, asked):
    "A step of prompt learning with prompts cut after their last word, against the full context length."
    from trmml_nb.towers.tower import PromptLearner, load_tower

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
    yield (
        f"prompt step, {size['prompts']} categories: cut prompts / full context (lower is better)",
        value,
        baseline,
        "s",
    )


def published_loop(size, cache, asked):
    """An epoch of DualCoOp from the store with cut prompts, against the way published code goes: every batch is mirrored
    at random and encoded anew, and every prompt has the full context."""
    from trmml_nb.rivals.prompts import DualCoOp
    from trmml_nb.training.trainer import TrainConfig, Trainer

    tower, data, store = scenes(size, cache)

    def epoch(features):
        method = DualCoOp.from_tower(tower, data.class_names)
        trainer = Trainer(method, features, data.targets, TrainConfig(epochs=1, batch_size=32, device="cpu"))
        return own_seconds(lambda: trainer.fit(progress=False))[0]

    cut = tower.texts.cut
    value = min(epoch(store) for _ in range(size["repeats"]))
    tower.texts.cut = lambda ids: ids
    try:
        baseline = epoch(Mirrored(tower, data))
    finally:
        tower.texts.cut = cut
    yield (
        f"an epoch of DualCoOp on {size['images']} scenes, CPU s: stored features and cut prompts / the published loop",
        value,
        baseline,
        "s",
    )


def bare_encoder(size, cache, asked):
    "Building a store against decoding and encoding the same images without keeping anything, with the same threads."
    from trmml_nb.towers.encode import (
        encode_dataset,
        encode_pixels,
        in_given_order,
        prepared_pixels,
        work_size,
        worker_pool,
    )

    tower, data, _ = scenes(size, cache)
    batch, threads = work_size(tower)
    parts = [range(i, min(i + batch, len(data))) for i in range(0, len(data), batch)]

    def bare():
        with worker_pool(threads) as pool:
            for _ in in_given_order(
                pool, lambda rows: encode_pixels(tower, prepared_pixels(tower, data, rows)), parts, 2 * threads
            ):
                pass

    def build():
        with tempfile.TemporaryDirectory() as fresh:
            encode_dataset(tower, data, fresh, progress=False)

    bare()
    yield (
        f"{size['images']} scenes: building the store / bare encoder (1.1 is the goal)",
        *in_turn(build, bare, size["repeats"]),
        "s",
    )


def ways_to_encode(size, cache, asked):
    "One batch through the tower in several ways, each against plain float32 with channels first."
    from trmml_nb.towers.tower import load_tower

    for name, px, images in size["towers"]:
        tower, first = (
            load_tower(name, None if name == "tiny" else "random", px) for _ in range(2)
        )  # channels last, and channels first
        first.model.visual.to(memory_format=torch.contiguous_format)
        pixels = torch.randn(images, 3, px, px, generator=torch.Generator().manual_seed(0))
        last = pixels.contiguous(memory_format=torch.channels_last)

        def encode(mode=torch.no_grad, low=False, made=tower):
            with mode(), torch.autocast("cpu", torch.bfloat16, enabled=low):
                made.encode_images(pixels if made is first else last)

        ways = {
            "channels last": encode,
            "channels first, inference mode": lambda: encode(torch.inference_mode, made=first),
            "channels first, bf16": lambda: encode(low=True, made=first),
            "channels last, bf16": lambda: encode(low=True),
        }
        if size["compiled"]:
            compiled = load_tower(name, None if name == "tiny" else "random", px)
            compiled.raw = torch.compile(compiled.raw)
            try:
                encode(made=compiled)
                ways["channels last, compiled"] = lambda: encode(made=compiled)
            except Exception as error:
                print(f"torch.compile: not available on the machine measured ({type(error).__name__})", flush=True)
        for what, way in ways.items():
            way(), encode(made=first)
            found = in_turn(way, lambda: encode(made=first), size["repeats"])
            yield f"{name} at {px} px, {images} images, CPU s: {what} / plain float32, channels first", *found, "s"


def growing_stores(size, cache, asked):
    "Peak memory and time of building a store of many images against one of few."
    from trmml_nb.data.dataset import scenes_dataset
    from trmml_nb.towers.encode import encode_dataset
    from trmml_nb.towers.tower import load_tower

    px, (few, *more) = size["grow_px"], size["grow"]
    tower = load_tower("tiny", image_size=px)

    def build(count):
        with tempfile.TemporaryDirectory() as fresh:
            return own_seconds(
                lambda: encode_dataset(
                    tower, scenes_dataset("train", count, size=px), fresh, progress=False, shard_size=64
                )
            )[0]

    time_few, small = in_child(build, few)
    for count in more:
        time_many, large = in_child(build, count)
        where = f"building a store of scenes at {px} px, {count} images / {few} images"
        yield f"{where}: peak memory (1.2 is the goal)", large, small, "GiB"
        yield f"{where}: CPU s an image", time_many / count, time_few / few, "s"


def step_of(categories, batch, size, chunk, keep):
    """CPU seconds of one training step of TRM-ML with so many categories, after one to warm up; other work on the
    machine hardly counts."""
    from torch.nn import functional as F
    from trmml_nb.method.contract import LossState
    from trmml_nb.towers.dense import ImageFeatures
    from trmml_nb.method.trmml import TRMML, TRMMLConfig

    g = torch.Generator().manual_seed(0)
    unit = lambda *shape: F.normalize(torch.randn(*shape, generator=g), dim=-1)
    positions, dim = size["positions"], size["dim"]
    method = TRMML(unit(categories, dim), positions, config=TRMMLConfig(chunk=chunk, keep=keep))
    features = ImageFeatures(unit(batch, dim), unit(batch, positions[0] * positions[1], dim), None)
    known = torch.rand(batch, categories, generator=g).topk(min(KNOWN, categories)).indices
    targets = torch.full((batch, categories), -1).scatter(1, known, torch.randint(0, 2, known.shape, generator=g))
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-4)

    def step():
        loss, _ = method.loss(
            method.train()(features, targets != -1), targets, targets != -1, LossState(5, 10)
        )  # pseudo-labels and all
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step()
    return own_seconds(step)[0]


def many_categories(size, cache, asked):
    "Time and memory of a step by number of categories: in chunks, and with few candidates kept, against all at once."
    for categories in size["categories"]:
        batch = min(size["batch"], max(1, size["most"] // categories))  # so that the largest fits
        chunk, keep = max(1, min(100, categories // 2)), min(KEEP, categories // 2)
        where = f"step, {categories} categories, batch {batch} x {size['positions'][0] * size['positions'][1]} positions x {size['dim']}"
        plain, more = in_child(step_of, categories, batch, size, None, None)
        for what, how in {f"chunks of {chunk}": (chunk, None), f"{keep} kept and {KNOWN} known": (None, keep)}.items():
            fast, less = in_child(step_of, categories, batch, size, *how)
            yield f"{where}: {what} / all at once, CPU time", fast, plain, "s"
            yield f"{where}: {what} / all at once, memory", less, more, "GiB"


def many_positions(size, cache, asked):
    "Time and memory of a step by number of positions, against the fewest."
    few, *more = size["grids"]
    batch = size["batch"]
    least, memory = in_child(step_of, size["prompts"], batch, size | dict(positions=few), None, None)
    for grid in more:
        time, most = in_child(step_of, size["prompts"], batch, size | dict(positions=grid), None, None)
        where = f"step by positions, {size['prompts']} categories, batch {batch} x {size['dim']}: {math.prod(grid)}"
        yield f"{where} positions / {math.prod(few)} positions, CPU time", time, least, "s"
        yield f"{where} positions / {math.prod(few)} positions, memory", most, memory, "GiB"


def several_processes(size, cache, asked):
    """Training in several processes against one, at the same global batch; one thread each. A light step and a heavy one."""
    from trmml_nb.training.trainer import TrainConfig, Trainer
    from trmml_nb.method.trmml import TRMML, TRMMLConfig

    tower, data, store = scenes(size, cache)

    def light():
        return trainer_of(tower, data, store, size["epochs"], batch=64)

    def heavy():
        g, random = torch.Generator().manual_seed(0), Random(4 * size["batch"], size["positions"], size["dim"], "cpu")
        texts = torch.nn.functional.normalize(torch.randn(size["prompts"] * 4, size["dim"], generator=g), dim=-1)
        targets = torch.randint(-1, 2, (len(random), len(texts)), generator=g)
        return Trainer(
            TRMML(texts, size["positions"], config=TRMMLConfig()),
            random,
            targets,
            TrainConfig(epochs=4, batch_size=size["batch"], device="cpu"),
        )

    def fit(made, rank=0, count=1, port=0):
        torch.set_num_threads(1)
        if count > 1:
            os.environ.update(
                WORLD_SIZE=str(count),
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=str(port),
                ACCELERATE_USE_CPU="true",
            )
        trainer = made()
        start = time.perf_counter()
        return own_seconds(lambda: trainer.fit(progress=False))[0], time.perf_counter() - start

    shape = f"{size['batch']} x {size['positions'][0] * size['positions'][1]} positions x {size['dim']}, {4 * size['prompts']} categories"
    for made, what in ((light, f"{size['epochs']} epochs on {size['images']} scenes"), (heavy, f"16 steps of {shape}")):
        (own_alone, alone), _ = in_child(fit, made)
        for count in size["processes"]:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            helpers = [
                multiprocessing.get_context("fork").Process(target=fit, args=(made, rank, count, port))
                for rank in range(1, count)
            ]
            for helper in helpers:
                helper.start()
            (own, together), _ = in_child(fit, made, 0, count, port)
            for helper in helpers:
                helper.join()
            yield f"training {what}: {count} processes / one, wall time", together, alone, "s"
            yield f"training {what}: {count} processes / one, CPU s of the first process", own, own_alone, "s"


class Random(Store):
    """A store of random features: on the device if it fits there, else in memory, and where even that lacks fewer
    images, read again and again."""

    def __init__(self, count, grid, dim, device):
        from trmml_nb.towers.loading import free_bytes

        self.image_ids, self.grid, self.tower_name = list(map(str, range(count))), grid, "random"
        one, room = 2 * grid[0] * grid[1] * dim, lambda where: int(0.4 * free_bytes(where))
        self.bytes, fits = count * one, count * one <= room(device)
        self.place, self._memory = (
            (device, True) if fits else ("cpu", None)
        )  # the latter tells the trainer whether to read ahead
        self.held = count if fits else max(1, min(count, room("cpu") // one))
        g = torch.Generator(self.place).manual_seed(0)
        make = lambda n: torch.nn.functional.normalize(
            torch.randn(n, grid[0] * grid[1], dim, generator=g, device=self.place), dim=-1
        ).half()
        self.dense = torch.empty(self.held, grid[0] * grid[1], dim, dtype=torch.float16, device=self.place)
        for at in range(0, self.held, 512):
            self.dense[at : at + 512] = make(min(512, self.held - at))
        self.average = torch.nn.functional.normalize(self.dense[:, 0].float(), dim=-1)

    def __len__(self):
        return len(self.image_ids)

    def batch(self, rows, device=None):
        from trmml_nb.towers.dense import ImageFeatures

        at = torch.as_tensor(rows).to(self.place) % self.held
        dense = self.dense[at].to(device or self.place, non_blocking=True).float()
        return ImageFeatures(self.average[at].to(dense.device), dense, torch.ones(dense.shape[:2], device=dense.device))


def clock(job, device, repeats=1):
    "Shortest time of a job in seconds, the device's queue emptied before and after."

    def whole():
        job()
        torch.cuda.synchronize() if device.startswith("cuda") else None

    torch.cuda.synchronize() if device.startswith("cuda") else None
    return seconds(whole, repeats)


def limits(device, side):
    """What the device can do, measured: floating point operations a second of a bf16 product, and bytes a second of a
    copy."""
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    copied = torch.empty(64 * side * side, dtype=torch.uint8, device=device)
    other = torch.empty_like(copied)
    a @ a, other.copy_(copied)
    return 2 * side**3 / clock(lambda: a @ a, device, 5), 2 * len(copied) / clock(
        lambda: other.copy_(copied), device, 5
    )


class Drawn:
    "So many decoded images, from a few drawn ones: what encode_dataset asks of a data set."

    def __init__(self, count, px):
        from trmml_nb.data.dataset import scenes_dataset

        few = scenes_dataset("train", 16, size=px)
        self.pictures, self.image_ids = [few.image(i) for i in range(len(few))], [f"{i}" for i in range(count)]
        self.name, self.split = "drawn", "train"

    def __len__(self):
        return len(self.image_ids)

    def content_keys(self):
        return [hashlib.sha256(i.encode()).hexdigest() for i in self.image_ids]

    def image(self, i, key=None):
        return self.pictures[i % len(self.pictures)]


def gpu_encoders(size, device):
    """Building a store against the bare encoder in bf16 on pixels that are on the device already, and bf16 against
    float32."""
    from trmml_nb.towers.encode import encode_dataset, prepared_pixels, work_size
    from trmml_nb.towers.tower import load_tower

    for name, px, count in size["towers"]:
        tower, data = load_tower(name, None if name == "tiny" else "random", px, device), Drawn(count, px)
        batch = work_size(tower)[0]
        pixels = prepared_pixels(tower, data, range(batch)).to(device).contiguous(memory_format=torch.channels_last)

        def bare(low=True):
            with torch.inference_mode(), torch.autocast(device.split(":")[0], torch.bfloat16, enabled=low):
                for _ in range(0, count, batch):
                    tower.encode_images(pixels)

        def build():
            with tempfile.TemporaryDirectory() as fresh:
                encode_dataset(tower, data, fresh, progress=False, precision=torch.bfloat16)

        bare(), bare(False)
        where = f"{name} at {px} px, {count} images on {device}"
        encoder = clock(bare, device)
        yield (
            f"{where}: building the store / bare bf16 encoder ({1 / 0.85:.3f} is the goal)",
            clock(build, device),
            encoder,
            "s",
        )
        yield f"{where}: bare encoder, bf16 / float32", encoder, clock(lambda: bare(False), device), "s"


def gpu_heads(size, device):
    """A step of three methods, and an epoch of TRM-ML over a large store, against the floors of arithmetic and bandwidth."""
    from torch.utils.flop_counter import FlopCounterMode
    from trmml_nb.rivals.registry import METHODS, build_method
    from trmml_nb.towers.tower import load_tower
    from trmml_nb.training.trainer import TrainConfig, Trainer

    flops, bandwidth = limits(device, size["side"])
    name = size["towers"][0][0]
    tower = load_tower(name, None if name == "tiny" else "random", size["towers"][0][1], device)
    store = Random(size["images"], size["positions"], tower.dim, device)
    names, batch = [f"category {i}" for i in range(size["classes"])], min(size["batch"], size["images"])
    targets = torch.randint(-1, 2, (len(store), len(names)), generator=torch.Generator().manual_seed(0))
    of_batch = store.bytes * batch / len(store)
    said = f"{batch} x {size['positions'][0] * size['positions'][1]} positions x {tower.dim}, {len(names)} categories, bf16 on {device}"
    for spec in ("trmml", "dualcoop", "pvlr"):
        config = TrainConfig(epochs=1, batch_size=batch, device=device, precision="bf16")
        if device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() if device.startswith("cuda") else 0
        trainer = Trainer(build_method(spec, tower, names), store, targets, config)
        trainer.method.train()
        rows = torch.arange(batch)
        trainer.schedule.step = lambda: None  # the same step again and again, beyond the schedule's end
        with FlopCounterMode(display=False) as counted:
            trainer.step(rows)
        one = clock(lambda: [trainer.step(rows) for _ in range(size["steps"])], device) / size["steps"]
        state = (
            sum(p.numel() for p in trainer.trained) * 4 * 10
        )  # weights, gradients, two moments and averages, read and written
        where = f"step of {METHODS[spec].title}, {said}"
        yield f"{where}: measured / arithmetic floor", one, counted.get_total_flops() / flops, "s"
        yield (
            f"{where}: measured / bandwidth floor (features and weights once)",
            one,
            (of_batch + state) / bandwidth,
            "s",
        )
        if device.startswith("cuda"):
            used = torch.cuda.max_memory_allocated() - before
            yield f"{where}: memory / the batch's features in float16", used / 2**30, of_batch / 2**30, "GiB"
        if spec == "trmml":
            step_flops, whole = (
                counted.get_total_flops(),
                Trainer(build_method(spec, tower, names), store, targets, config),
            )
            took = clock(lambda: whole.fit(progress=False), device)
            held = "all of them held" if store.held == len(store) else f"{store.held} of them held and read again"
            where = f"epoch of TRM-ML over {len(store)} images ({held} on {store.place}), {said}"
            yield f"{where}: measured / bandwidth floor (10 s is the goal)", took, store.bytes / bandwidth, "s"
            yield f"{where}: measured / arithmetic floor", took, step_flops * len(store) / batch / flops, "s"
        if spec == "trmml" and device.startswith("cuda"):
            fast = Trainer(build_method(spec, tower, names), store, targets, config)
            fast.schedule.step, fast.method.forward = lambda: None, torch.compile(fast.method.forward)
            fast.method.train()
            fast.step(rows)
            quick = clock(lambda: [fast.step(rows) for _ in range(size["steps"])], device) / size["steps"]
            yield f"step of TRM-ML, {said}: compiled / eager", quick, one, "s"


def on_gpu(size, cache, asked, device="cuda"):
    "Encoders, steps and an epoch on a GPU; the same on another device, to see that it runs."
    if device == "cuda" and not torch.cuda.is_available():
        print("no GPU here: the GPU part is skipped", flush=True)
        return
    yield from gpu_encoders(size["gpu"], device)
    yield from gpu_heads(size["gpu"], device)


def product_rate(dtype, side=512, repeats=20):
    "Floating point operations a CPU second of the best of many products of two square matrices."
    a = torch.randn(side, side, dtype=dtype)
    out = torch.empty_like(a)
    return 2 * side**3 / min(own_seconds(lambda: torch.mm(a, a, out=out))[0] for _ in range(repeats))


def counted_seconds(job, repeats):
    "Fewest CPU seconds of a job after one that is not counted, and its floating point operations."
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counted:
        job()
    return min(own_seconds(job)[0] for _ in range(repeats)), counted.get_total_flops()


def bounds(size, cache, asked):
    """How far from the processor's limit: CPU time of encoding, a training step and prediction, each beside its
    floating point operations at the rate of a plain float32 product; writing and reading a store beside a copy of its
    bytes; and the first import beside an empty Python's start."""
    from trmml_nb.rivals.registry import METHODS, build_method
    from trmml_nb.towers.tower import load_tower
    from trmml_nb.training.trainer import TrainConfig, Trainer, predict_logits

    rate, note = product_rate(torch.float32), "measured / its operations at the rate of a product, CPU s"
    for name, px, count in size["towers"]:
        tower = load_tower(name, None if name == "tiny" else "random", px)
        pixels = torch.randn(count, 3, px, px, generator=torch.Generator().manual_seed(0))
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            spent, operations = counted_seconds(lambda: tower.encode_images(pixels), size["repeats"])
        yield f"limit: encoding, {name} at {px} px, {count} images: {note}", spent, operations / rate, "s"
    tower, data, store = scenes(size, cache)
    rows = torch.arange(min(32, len(store)))
    for spec in ("linear_ignore", "dualcoop", "pvlr_both", "trmml", "trmml_adaptive"):
        config = TrainConfig(epochs=1, batch_size=len(rows), device="cpu")
        trainer = Trainer(build_method(spec, tower, data.class_names), store, data.targets, config)
        trainer.method.prepare(store, torch.as_tensor(data.targets))
        trainer.method.train()
        trainer.schedule.step = lambda: None  # the same step again and again, beyond the schedule's end
        spent, operations = counted_seconds(lambda: trainer.step(rows), size["repeats"])
        title = METHODS[spec].title
        yield f"limit: step of {title}, {len(rows)} scenes: {note}", spent, operations / rate, "s"
        spent, operations = counted_seconds(lambda: predict_logits(trainer.method, store), size["repeats"])
        yield f"limit: prediction by {title}, {len(store)} stored scenes: {note}", spent, operations / rate, "s"
    copied = np.ones((len(store), store.grid[0] * store.grid[1], tower.dim), np.float16)
    copy = min(own_seconds(copied.copy)[0] for _ in range(size["repeats"]))
    read = min(own_seconds(lambda: store.batch(torch.arange(len(store))))[0] for _ in range(size["repeats"]))
    yield (
        f"limit: a batch of all {len(store)} scenes from memory, in float32 / a copy of its float16 bytes, CPU s",
        read,
        copy,
        "s",
    )
    code = "import time; t = time.process_time(); import trmml_nb; print(time.process_time(), t)"
    told = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
            for _ in range(size["repeats"])]  # fmt: skip
    whole, empty = (min(float(one[k]) for one in told) for k in (0, 1))
    yield "limit: import trmml_nb / an empty Python, CPU s", whole, empty, "s"


PARTS = dict(
    loop=encode_in_loop,
    quality=same_quality,
    photographs=photographs,
    prompts=cut_prompts,
    published=published_loop,
    bare=bare_encoder,
    ways=ways_to_encode,
    memory=growing_stores,
    categories=many_categories,
    positions=many_positions,
    processes=several_processes,
    bounds=bounds,
    gpu=on_gpu,
)


def main(arguments=None):
    "Measure, print, and write the table; figures of other sizes stay."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--only", nargs="*", choices=PARTS, help="some parts; all if not given")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results.csv"))
    photos = parser.add_argument_group("photographs", "as of `trmml train`")
    photos.add_argument(
        "--photographs",
        metavar="ROOT",
        help="VOCdevkit, or folder of a prepared benchmark; without it that part is skipped",
    )
    photos.add_argument("--data", default="voc2007")
    photos.add_argument("--clip", default="tiny")
    photos.add_argument("--pretrained")
    photos.add_argument("--image-size", type=int)
    photos.add_argument("--mask", help="file that says which labels are known")
    photos.add_argument("--epochs", type=int, help="as many as the size says if not given")
    photos.add_argument(
        "--clocked",
        type=int,
        default=2,
        help="whole epochs that are trained with the tower in the loop; the rest is multiplied",
    )
    asked = parser.parse_args(arguments)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    versions = f"python {platform.python_version()}, torch {torch.__version__}"
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for part in asked.only or PARTS:
            for name, value, baseline, unit in PARTS[part](SIZES[asked.size], cache, asked):
                value, baseline = (float("nan") if x is None else float(x) for x in (value, baseline))
                ratio = value / baseline if baseline else float("nan")
                rows.append(
                    dict(
                        name=name,
                        value=float(f"{value:.6g}"),
                        baseline=float(f"{baseline:.6g}"),
                        ratio=round(ratio, 4),
                        unit=unit,
                        machine=machine,
                        versions=versions,
                        date=datetime.date.today().isoformat(),
                    )
                )
                print(f"{ratio:8.3f}  {name}  ({value:.4g} / {baseline:.4g} {unit})", flush=True)
    old = list(csv.DictReader(asked.out.open())) if asked.out.exists() else []
    new = {row["name"] for row in rows}
    with asked.out.open("w", newline="") as file:
        writer = csv.DictWriter(
            file, ["name", "value", "baseline", "ratio", "unit", "machine", "versions", "date"], lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows([row for row in old if row["name"] not in new] + rows)


if __name__ == "__main__":
    main()
