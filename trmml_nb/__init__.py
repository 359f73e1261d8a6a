"""Text-region matching for multi-label image recognition with missing labels.

What most people need is here, and is imported when it is first used: `import trmml_nb` itself costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.4.0"

if TYPE_CHECKING:  # for editors and type checkers; a test holds it against the table below
    from .data.dataset import MultiLabelDataset as MultiLabelDataset
    from .data.dataset import scenes_dataset as scenes_dataset
    from .data.formats import from_coco as from_coco
    from .data.formats import read_labels as read_labels
    from .data.labels import bernoulli_mask as bernoulli_mask
    from .data.mask_files import single_positive_mask as single_positive_mask
    from .data.own_data import csv_dataset as csv_dataset
    from .data.voc import voc_dataset as voc_dataset
    from .errors import TrmmlError as TrmmlError
    from .method.contract import Method as Method
    from .method.contract import MethodOutput as MethodOutput
    from .method.pvlr import PVLR as PVLR
    from .method.pvlr_choices import PVLRConfig as PVLRConfig
    from .method.trmml import TRMML as TRMML
    from .method.trmml import TRMMLConfig as TRMMLConfig
    from .people.figures import show_saliency as show_saliency
    from .rivals.registry import build_method as build_method
    from .rivals.registry import register_method as register_method
    from .runs.predict import predict as predict
    from .runs.run import load_run as load_run
    from .runs.train import train as train
    from .runs.use import complete as complete
    from .towers.encode import encode_dataset as encode_dataset
    from .towers.tower import load_tower as load_tower
    from .training.metrics import mean_average_precision as mean_average_precision
    from .training.trainer import TrainConfig as TrainConfig
    from .training.trainer import Trainer as Trainer
    from .yours.view import Inspector as Inspector
    from .yours.view import Reviewer as Reviewer
    from .yours.view import Thresholds as Thresholds

_DOOR = {  # name -> module it comes from
    "load_tower": "towers.tower",
    "encode_dataset": "towers.encode",
    "MultiLabelDataset": "data.dataset",
    "scenes_dataset": "data.dataset",
    "csv_dataset": "data.own_data",
    "voc_dataset": "data.voc",
    "from_coco": "data.formats",
    "read_labels": "data.formats",
    "bernoulli_mask": "data.labels",
    "single_positive_mask": "data.mask_files",
    "Method": "method.contract",
    "MethodOutput": "method.contract",
    "TRMML": "method.trmml",
    "TRMMLConfig": "method.trmml",
    "PVLR": "method.pvlr",
    "PVLRConfig": "method.pvlr_choices",
    "register_method": "rivals.registry",
    "build_method": "rivals.registry",
    "Trainer": "training.trainer",
    "TrainConfig": "training.trainer",
    "mean_average_precision": "training.metrics",
    "train": "runs.train",
    "load_run": "runs.run",
    "predict": "runs.predict",
    "complete": "runs.use",
    "show_saliency": "people.figures",
    "Inspector": "yours.view",
    "Reviewer": "yours.view",
    "Thresholds": "yours.view",
    "TrmmlError": "errors",
}

__all__ = ["__version__", *_DOOR]


def __getattr__(name: str):
    "A name of the front door, imported now."
    if name not in _DOOR:
        raise AttributeError(f"module 'trmml_nb' has no attribute {name!r}; its names are {', '.join(_DOOR)}")
    value = globals()[name] = getattr(import_module(f"trmml_nb.{_DOOR[name]}"), name)
    return value


def __dir__() -> list[str]:
    "All names, imported or not."
    return sorted({*globals(), *_DOOR})
