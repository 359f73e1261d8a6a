"Two processes give what one gives: gradients, outputs, training, checkpoints. Real processes, gloo on a CPU."

import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from trmml_nb.training import processes as P
from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.data.labels import bernoulli_mask
from trmml_nb.method.contract import MethodOutput
from trmml_nb.rivals.registry import build_method
from trmml_nb.towers.encode import encode_dataset
from trmml_nb.towers.tower import load_tower
from trmml_nb.training.trainer import Evaluation, TrainConfig, Trainer

ROOT = Path(__file__).resolve().parents[2]


def launch(job, folder, count=2):
    "Run job(folder) in several processes, as a launcher would start them; each saves to folder/<rank>.pt."
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]

    def child(rank):
        os.environ.update(
            WORLD_SIZE=str(count),
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(port),
            ACCELERATE_USE_CPU="true",
        )
        torch.set_num_threads(1)
        P.join_world("cpu")
        torch.save(job(folder), folder / f"{rank}.pt")
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()

    children = [multiprocessing.get_context("fork").Process(target=child, args=(rank,)) for rank in range(count)]
    for c in children:
        c.start()
    for c in children:
        c.join(120)
        c.kill()
    assert [c.exitcode for c in children] == [0] * count
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(count)]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("count, processes, sizes", [(7, 3, [3, 2, 2]), (2, 3, [1, 1, 0]), (4, 2, [2, 2]), (1, 1, [1])])
def test_shares_of_a_batch(count, processes, sizes):
    rows = torch.arange(10, 10 + count)
    assert P.part_sizes(count, processes) == sizes
    parts = [P.own_rows(rows, (r, processes)) for r in range(processes)]
    assert torch.cat([p[:n] for p, n in zip(parts, sizes)]).equal(rows) and all(len(p) for p in parts)


def test_a_plain_call_changes_nothing():
    x = torch.randn(3, 2, requires_grad=True)
    assert P.rank_and_size() == (0, 1) and P.gather_rows(x, 3) is x
    out = MethodOutput(x)
    assert P.gather_output(out, [("logits",)], 3) is out
    module = nn.Linear(2, 1)
    P.share_state(module), P.average_gradients(module.parameters())
    code = "import sys, trmml_nb.training.trainer; sys.exit('accelerate' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def gradients(folder=None):
    "float64 gradients of a loss over the whole batch, for even, uneven and too small batches."
    found = {}
    for size in (6, 5, 1):
        g = torch.Generator().manual_seed(size)
        x, weight, beside = (
            torch.randn(size, 3, generator=g).double(),
            nn.Parameter(torch.ones(3, 2).double()),
            nn.Parameter(torch.ones(2).double()),
        )
        y = P.gather_rows(x[P.own_rows(torch.arange(size))] @ weight, size)
        ((y * beside).logsumexp(0).sum() + (y[:, None] - y[None]).pow(3).sum() + beside.prod()).backward()
        P.average_gradients([weight, beside])
        found[size] = torch.cat([weight.grad.flatten(), beside.grad, y.detach().flatten()])
    return found


@pytest.mark.young
def test_gathered_gradients_are_those_of_one_process(tmp_path):
    alone = gradients()
    for found in launch(gradients, tmp_path, 3):
        for size, expected in alone.items():
            torch.testing.assert_close(found[size], expected, atol=1e-12, rtol=1e-10)


def test_image_tensors_are_told_from_category_tensors(rank_and_size):
    tower, data, test, (store, _) = rank_and_size
    found = {}
    for name in ("trmml:dropout=0.0", "coop", "scpnet", "pvlr"):
        method = build_method(name, tower, data.class_names, 0, "scenes")
        before = torch.get_rng_state()
        found[name] = P.image_tensors(method, store)
        assert torch.equal(before, torch.get_rng_state()) and method.training
    assert ("features", "texts") not in found["trmml:dropout=0.0"] and ("features", "region") in found[
        "trmml:dropout=0.0"
    ]
    assert all(("logits",) in places for places in found.values())


@pytest.fixture(scope="module")
def rank_and_size(tmp_path_factory):
    tower, cache = load_tower("tiny"), tmp_path_factory.mktemp("features")
    data = scenes_dataset("train", 45).with_mask(bernoulli_mask((45, 20), 0.3))  # batches of 16, 16 and 13
    test = scenes_dataset("test", 33)
    return tower, data, test, [encode_dataset(tower, s, cache, progress=False).to_memory() for s in (data, test)]


def make(
    rank_and_size, spec="trmml:dropout=0.0,pseudo_warmup=1,pseudo_present=0.5,pseudo_absent=0.3,ffn_dim=32", epochs=3
):
    tower, data, test, stores = rank_and_size
    method = build_method(spec, tower, data.class_names, 0, "scenes")
    return Trainer(
        method,
        stores[0],
        data.targets,
        TrainConfig(epochs=epochs, batch_size=16, device="cpu"),
        Evaluation(stores[1], test.truth),
        data.truth,
    )


def result(t):
    state = {k: v for k, v in t.final.state_dict().items() if "counts" not in k}
    return dict(history=t.history, state=state, pseudo=t.pseudo_labels())


def agree(one, two, metric=1e-3, weights=2e-4):
    for a, b in zip(one["history"], two["history"], strict=True):
        assert a.keys() == b.keys()
        for name in a.keys() - {"seconds"}:
            assert np.isclose(a[name], b[name], atol=metric, rtol=0, equal_nan=True), (name, a[name], b[name])
    for name, x in one["state"].items():
        torch.testing.assert_close(two["state"][name], x, atol=weights, rtol=0, msg=lambda m: f"{name}: {m}")
    assert (one["pseudo"] != two["pseudo"]).float().mean() < 0.002


@pytest.mark.young
def test_two_processes_train_to_the_metrics_of_one(rank_and_size, tmp_path):
    """Losses, mAP of plain and averaged weights, pseudo-label quality, prototypes: three epochs with uneven last batches."""

    def job(folder):
        t = make(rank_and_size)
        t.fit(progress=False)
        return result(t)

    alone = job(None)
    both = launch(job, tmp_path)
    agree(alone, both[0])
    agree(both[0], both[1], metric=0, weights=0)  # all processes hold the same


@pytest.mark.young
def test_two_processes_stop_at_the_epoch_of_one(rank_and_size, tmp_path):
    "Process 0 decides for all, though what the second one measures would let it go on."

    class Told(Evaluation):
        def __call__(self, method, precision="fp32"):
            super().__call__(method, precision)
            self.calls = (
                getattr(self, "calls", 0) + 1
            )  # plain and averaged weights in turn; the best is the second epoch
            return [50.0, 50.0, 60.0, 60.0, 59.0, 59.0, *[58.0 + 9 * P.rank_and_size()[0]] * 2, 57.0, 57.0][
                self.calls - 1
            ]

    def job(folder):
        t = make(rank_and_size, epochs=5)
        t.config.patience, t.evaluation = 2, Told(rank_and_size[3][1], rank_and_size[2].truth)
        t.fit(progress=False)
        return len(t.history)

    assert job(None) == 4 and launch(job, tmp_path) == [4, 4]


@pytest.mark.young
@pytest.mark.parametrize("spec", ["pvlr:dropout=0.0", "coop"])
def test_other_methods_need_nothing_of_their_own(rank_and_size, tmp_path, spec):
    def job(folder):
        t = make(rank_and_size, spec, epochs=1)
        t.truth = None
        t.fit(progress=False)
        return dict(history=t.history, state=t.final.state_dict(), pseudo=torch.zeros(1))

    try:
        alone = job(None)
    except ValueError as error:
        pytest.skip(str(error))
    agree(alone, launch(job, tmp_path)[0])


@pytest.mark.fault('stopped in the middle', 'training of two processes stopped', 'resumed bit for bit')
@pytest.mark.young
def test_a_run_of_two_processes_resumes_bit_identical(rank_and_size, tmp_path):
    "With dropout: each process has its own random numbers, and they are all in the checkpoint."
    spec = "trmml:pseudo_warmup=1,ffn_dim=32"

    def whole(folder):
        t = make(rank_and_size, spec, epochs=2)
        t.fit(progress=False)
        return result(t)

    def stopped(folder):
        t = make(rank_and_size, spec, epochs=2)

        def stop():
            if (t.epoch, t.steps) == (1, 1):
                t.save_checkpoint(folder / "c")
                raise KeyboardInterrupt

        try:
            t.train_epoch(stop), t.train_epoch(stop)
        except KeyboardInterrupt:
            pass
        torch.distributed.barrier()
        again = make(rank_and_size, spec, epochs=2).load_checkpoint(folder / "c")
        again.fit(progress=False)
        return result(again)

    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    agree(launch(whole, tmp_path / "a")[0], launch(stopped, tmp_path / "b")[0], metric=0, weights=0)


SCRIPT = """
import sys, torch
sys.path.insert(0, {tests!r})
from pathlib import Path
torch.set_num_threads(1)
import test_processes as t
from trmml_nb.data.dataset import scenes_dataset
from trmml_nb.data.labels import bernoulli_mask
from trmml_nb.towers.encode import encode_dataset
from trmml_nb.towers.tower import load_tower
from trmml_nb.training.processes import rank_and_size
tower = load_tower("tiny")
data = scenes_dataset("train", 45).with_mask(bernoulli_mask((45, 20), 0.3)); test = scenes_dataset("test", 33)
stores = [encode_dataset(tower, s, {cache!r}, progress=False).to_memory() for s in (data, test)]
run = t.make((tower, data, test, stores), epochs=1)
run.fit(progress=False)
if rank_and_size()[0] == 0: torch.save((run.history, rank_and_size()), {out!r})
"""


@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_launchers_run_the_same_script(rank_and_size, tmp_path, launcher):
    cache = str(rank_and_size[3][0].folder.parent)
    (tmp_path / "run.py").write_text(
        SCRIPT.format(tests=str(Path(__file__).parent), cache=cache, out=str(tmp_path / "out.pt"))
    )
    start = {
        "torchrun": ["torch.distributed.run", "--nproc_per_node=2", "--standalone"],
        "accelerate": [
            "accelerate.commands.launch",
            "--multi_gpu",
            "--num_processes=2",
            "--num_machines=1",
            "--mixed_precision=no",
            "--dynamo_backend=no",
            "--main_process_port=0",
        ],
    }[launcher]
    done = subprocess.run(
        [sys.executable, "-m", *start, str(tmp_path / "run.py")],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    history, place = torch.load(tmp_path / "out.pt", weights_only=False)
    alone = make(rank_and_size, epochs=1)
    alone.fit(progress=False)
    assert place == (0, 2)
    for name, value in alone.history[0].items():
        assert name == "seconds" or np.isclose(value, history[0][name], atol=1e-3, rtol=0, equal_nan=True), name


def test_the_launcher_of_the_lesson_runs_as_it_stands(tmp_path):
    "Its cell in a fresh interpreter on a CPU; only smaller."
    import nbformat

    lesson = nbformat.read(ROOT / "nbs/library/training/01_processes.ipynb", 4)
    launch_cell = next(c.source for c in lesson.cells if "notebook_launcher(train_together" in c.source)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = (
        launch_cell
        .replace("#| eval: false", "")
        .replace("images=800", "images=48")
        .replace("num_processes=2", f'num_processes=2, use_port="{port}"')
    )
    (tmp_path / "cells.py").write_text(code)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "cells.py")],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "MPLBACKEND": "Agg"},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "2 processes: " in done.stdout and "mAP" in done.stdout
