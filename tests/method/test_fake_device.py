"""Right on a GPU without one: every registered method, and every ablation, on devices that are only pretended.

Two kinds of pretence. `helpers.pretend` has real numbers on a device of another name: preparing, whole steps of the
trainer (forward, loss, backward, optimiser, averaged weights) and finishing are walked, end at the numbers of the
processor, and nothing in a step may be left on the processor, make the host wait or become float64. torch's own fake
tensors have no numbers but say `cuda`, so that bfloat16 autocast of that device is at work too.
"""

import contextlib
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from helpers.pretend import DEVICE, LeftBehind, There, pretend
from trmml_nb.method.contract import LossState
from trmml_nb.rivals.registry import ABLATIONS, METHODS, build_method, configure
from trmml_nb.towers.dense import ImageFeatures
from trmml_nb.towers.tower import load_tower
from trmml_nb.training.trainer import Trainer, predict_logits

NAMES = ["red circle", "blue square", "dog", "cat", "tree"]
OTHERS = ["trmml:keep=3", "trmml:chunk=2", "trmml:pseudo=hard"]
TRAINED = [name for name, method in METHODS.items() if method.trains]
SPECS = sorted({*TRAINED, *ABLATIONS.values(), *OTHERS})


class Store:
    "Twelve images of noise, as a store gives them: on the processor, or held on the device."

    def __init__(self, tower, count=12):
        g = torch.Generator().manual_seed(0)
        dense = torch.randn(count, tower.grid[0] * tower.grid[1], tower.dim, generator=g)
        self.dense, self.norms = nn.functional.normalize(dense, dim=-1), torch.rand(dense.shape[:2], generator=g) + 0.5
        self.pooled = nn.functional.normalize(dense.mean(1), dim=-1).numpy()
        self.image_ids, self.grid, self.mode = [str(i) for i in range(count)], tower.grid, "plain"

    def __len__(self):
        return len(self.image_ids)

    def batch(self, rows, device=None, generator=None):
        rows = torch.as_tensor(rows)
        parts = torch.from_numpy(self.pooled)[rows], self.dense[rows], self.norms[rows]
        return ImageFeatures(*(part.to(device or "cpu") for part in parts))


def labels(count=12):
    return torch.randint(-1, 2, (count, len(NAMES)), generator=torch.Generator().manual_seed(1))


def walk(spec, device, seen):
    "Prepare, two steps, finish and predict; the losses, the logits, and what was noted in the steps alone."
    tower = load_tower("tiny").to(device)
    store, targets = Store(tower), labels()
    _, config = configure(spec, device=device, epochs=2, batch_size=6)
    trainer = Trainer(build_method(spec, tower, NAMES), store, targets, config)
    trainer.method.train()
    for part in trainer.method.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0  # devices draw other numbers
    trainer.look_every = 1000  # losses are looked at after an epoch
    before = len(seen.noted)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        losses = [trainer.step(rows)["loss"] for rows in torch.arange(12).split(6)]
    noted = seen.noted[before:]
    trainer.method.finish(store, targets)
    return (
        torch.stack([numbers(loss) for loss in losses]),
        predict_logits(trainer.method, store, 5),
        noted,
        trainer.method,
    )


def numbers(tensor):
    return tensor.held if isinstance(tensor, There) else tensor


class Nothing:
    noted = ()


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("spec", SPECS)
def test_a_step_stays_on_the_device_and_ends_at_the_same_numbers(spec):
    losses, logits, *_ = walk(spec, "cpu", Nothing())
    with pretend() as seen:
        there, answer, noted, method = walk(spec, DEVICE, seen)
    assert not noted, f"{spec}, in a training step:\n" + "\n".join(sorted(set(noted)))
    assert {t.device.type for t in method.parameters()} == {DEVICE} and answer.device.type == "cpu"
    assert torch.allclose(there, losses, rtol=1e-4), spec
    assert torch.allclose(numbers(answer), logits, atol=5e-3)  # where a gradient is rounding, AdamW steps by its sign


# -- the pretence itself: each fault is seen, with its line


class Faulty(nn.Module):
    "A method with one fault."

    def __init__(self, fault):
        super().__init__()
        self.weight, self.fault, self.aside = nn.Parameter(torch.ones(3)), fault, torch.ones(3)

    def forward(self, x):
        y = x * self.weight
        if self.fault == "left":
            return y + self.aside
        if self.fault == "item":
            return y * y.max().item()
        if self.fault == "mask":
            return y[y > 0]
        if self.fault == "nonzero":
            return y[(y > 0).nonzero()[:, 0]]
        if self.fault == "double":
            return y.double().sum()
        if self.fault == "numpy":
            return y * torch.from_numpy(np.ones(3)).to(y.device)
        if self.fault == "processor":
            return y.detach().cpu()
        return y.masked_fill(y < 0, 0.0)


@pytest.mark.parametrize(
    "fault, said, line",
    [
        ("item", "the host waits for the device (_local_scalar_dense)", "return y * y.max().item()"),
        ("mask", "the host waits for the device (index)", "return y[y > 0]"),
        ("nonzero", "the host waits for the device (nonzero)", "return y[(y > 0).nonzero()[:, 0]]"),
        ("double", "numbers become float64 (_to_copy)", "return y.double().sum()"),
        ("processor", "the host waits for the device (a copy to the processor)", "return y.detach().cpu()"),
    ],
)
def test_each_fault_is_noted_with_its_line(fault, said, line):
    with pretend() as seen:
        Faulty(fault).to(DEVICE)(torch.ones(3, device=DEVICE))
    assert len(set(seen.noted)) == 1, seen.noted
    assert seen.noted[0].startswith(said + " at ") and seen.noted[0].endswith(line)


def test_a_tensor_left_on_the_processor_is_an_error_with_its_line():
    with (
        pretend(),
        pytest.raises(LeftBehind, match=re.escape("shape (3,) was left on the processor, in add at ") + ".*self.aside"),
    ):
        Faulty("left").to(DEVICE)(torch.ones(3, device=DEVICE))


def test_a_method_without_a_fault_has_a_gradient_and_no_note():
    with pretend() as seen:
        method = Faulty(None).to(DEVICE)
        method(torch.tensor([1.0, 2.0, 3.0]).to(DEVICE)).sum().backward()
        assert isinstance(method.weight.grad, There) and method.weight.grad.held.tolist() == [1.0, 2.0, 3.0]
    assert not seen.noted


# -- torch's own fake tensors: cuda, float32 and bfloat16


def fake(module):
    "Every parameter and buffer on a fake `cuda`."
    for part in module.modules():
        for kept in (part._parameters, part._buffers):
            for name, tensor in kept.items():
                if tensor is not None:
                    made = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cuda")
                    kept[name] = nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made
    return module


@contextlib.contextmanager
def cuda_autocast(dtype):
    "What `torch.autocast('cuda', dtype)` does where there is a GPU."
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", dtype is not None)
    torch.set_autocast_dtype("cuda", dtype or before[1])
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", before[0]), torch.set_autocast_dtype("cuda", before[1])
        torch.clear_autocast_cache()


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", list(METHODS))
def test_forward_and_loss_on_a_fake_gpu(name, dtype):
    "Shapes, devices and types under the autocast of `cuda`: scores of any type, a loss in float32, all on the device."
    tower = load_tower("tiny")
    method, store, targets = build_method(name, tower, NAMES), Store(tower), labels()
    if METHODS[name].trains:
        Trainer(method, store, targets, configure(name, device="cpu", batch_size=6)[1])  # prepares it
    method(store.batch(range(2)))  # sentences become numbers once
    size, positions = 6, tower.grid[0] * tower.grid[1]
    with FakeTensorMode(allow_non_fake_inputs=True):
        fake(method), fake(tower)
        shapes = (size, tower.dim), (size, positions, tower.dim), (size, positions)
        features = ImageFeatures(*(torch.empty(shape, device="cuda") for shape in shapes))
        method.train()
        with cuda_autocast(dtype):
            output = method(features)
        assert output.logits.device.type == "cuda" and output.logits.shape == (size, len(NAMES))
        assert output.saliency is None or output.saliency.device.type == "cuda"
        if METHODS[name].trains:
            given = torch.ones(size, len(NAMES), dtype=torch.long, device="cuda")
            total, parts = method.loss(output, given, given != -1, LossState(1, 2, torch.arange(size)))
            assert {(part.device.type, part.dtype) for part in (total, *parts.values())} == {("cuda", torch.float32)}
        method.eval()
        with torch.no_grad(), cuda_autocast(dtype):
            assert method(features).probabilities.device.type == "cuda"
