"""A device that is not there: tensors that say they are on it, compute on the processor, and tell what would go wrong.

`with pretend() as seen:` every tensor made on, or moved to, `DEVICE` is a `There`. Its numbers are real, so every path
can be walked: forward, loss, backward, optimiser, memories. Mixing it with a tensor that stayed on the processor is an
error at once, as on a GPU. What a GPU does without a word but slowly is noted in `seen.noted`, each with the line of
the library that asked for it: a wait of the host for the device (`.item()`, `nonzero`, an index by a mask, a copy to
the processor), and numbers that become float64.
"""

import contextlib
import traceback
import types

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = "lazy"  # a type of device that autograd runs without a driver
WAITS = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "equal",
    "is_nonzero",
    "bincount",
)


class LeftBehind(RuntimeError):
    "A tensor on the processor met one on the device."


def where():
    "The line of the library that is running, with its text."
    frames = [f for f in traceback.extract_stack() if "/trmml_nb/" in f.filename.replace("\\", "/")]
    frames = frames or [
        f
        for f in traceback.extract_stack()
        if "/tests/" in f.filename.replace("\\", "/") and "pretend.py" not in f.filename
    ]
    last = frames[-1] if frames else traceback.extract_stack()[0]
    return f"{last.filename.rpartition('trmml_nb/')[2]}:{last.lineno}: {last.line}"


class There(torch.Tensor):
    "A tensor that says it is on the device; its numbers are in `held`."

    @staticmethod
    def __new__(cls, held):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        raise AssertionError(f"{operation} outside of `Pretend`")

    def __repr__(self):
        return f"There({self.held})"


class Pretend(TorchDispatchMode):
    "See above. `device` of a factory, of `.to()` and of a module's `.to()` is `DEVICE`."

    def __init__(self):
        super().__init__()
        self.noted = []

    def note(self, what):
        self.noted.append(f"{what} at {where()}")

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = operation._schema.name.removeprefix("aten::")
        given = [a for a in tree_flatten((args, kwargs))[0] if isinstance(a, torch.Tensor)]
        there = [a for a in given if isinstance(a, There)]
        target = kwargs.get("device")
        target = None if target is None else torch.device(target).type
        moves = name in ("_to_copy", "copy_", "copy")
        if there and not moves and (left := [a for a in given if not isinstance(a, There) and a.dim() > 0]):
            raise LeftBehind(
                f"a tensor of shape {tuple(left[0].shape)} was left on the processor, in {name} at {where()}"
            )
        if there and (
            name in WAITS
            or self.masked(name, args)
            or name == "repeat_interleave"
            and kwargs.get("output_size") is None
        ):
            self.note(f"the host waits for the device ({name})")
        away = there and (
            name == "_to_copy" and target == "cpu" or name in ("copy_", "copy") and not isinstance(args[0], There)
        )
        if away:
            self.note("the host waits for the device (a copy to the processor)")
        if target is not None:
            kwargs["device"] = "cpu"
        owners = {id(a.held): a for a in there}
        raw = lambda a: a.held if isinstance(a, There) else a
        result = operation(*tree_map(raw, args), **tree_map(raw, kwargs))
        if target not in (None, "cpu") or there and not away and not (target == "cpu"):
            wide = [a for a in there if a.dtype == torch.float64]

            def back(made):
                if not isinstance(made, torch.Tensor):
                    return made
                if id(made) in owners:
                    return owners[id(made)]
                if made.dtype == torch.float64 and there and not wide:
                    self.note(f"numbers become float64 ({name})")
                return There(made)

            return tree_map(back, result)
        return result

    @staticmethod
    def masked(name, args):
        "Whether this is an index by a mask whose number of hits the host has to know."
        if name not in ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"):
            return False
        by_mask = any(isinstance(i, torch.Tensor) and i.dtype in (torch.bool, torch.uint8) for i in args[1])
        return by_mask and (name in ("index", "_unsafe_index") or args[2].numel() != 1)


@contextlib.contextmanager
def pretend():
    "`Pretend`, with autocast that takes the pretended device for one that has none."
    real = torch.autocast

    def autocast(device_type, *args, **kwargs):
        return contextlib.nullcontext() if device_type == DEVICE else real(device_type, *args, **kwargs)

    no_numbers = lambda: torch.empty(0)
    torch.autocast, torch.lazy = (
        autocast,
        types.SimpleNamespace(  # what activation checkpoints ask a device for
            device=lambda number: contextlib.nullcontext(), get_rng_state=no_numbers, set_rng_state=lambda state: None
        ),
    )
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor([...], device=...): made on the processor, then moved
    try:
        with Pretend() as seen:
            yield seen
    finally:
        torch._C._set_only_lift_cpu_tensors(before)
        torch.autocast = real
        del torch.lazy
