"""What editors and type checkers see: the package without a type error, and every name of the front door with its type."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import trmml_nb

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
EXEMPT = [name for group in SETTINGS["overrides"] if group.get("ignore_errors") for name in group["module"]]


def mypy(*what):
    "Run mypy as CONTRIBUTING says, in the project's folder: (status, lines)."
    done = subprocess.run([sys.executable, "-m", "mypy", *what], cwd=ROOT, capture_output=True, text=True)
    return done.returncode, (done.stdout + done.stderr).splitlines()


@pytest.fixture(scope="module")
def package():
    return mypy()


def test_the_package_has_no_type_error(package):
    status, said = package
    assert status == 0, "\n".join(said)


def test_exempted_modules_exist_and_none_is_behind_the_front_door():
    missing = [n for n in EXEMPT if not (ROOT / f"{n.replace('.', '/')}.py").is_file()]
    assert not missing, f"exempted in pyproject.toml and not there: {missing}"
    public = {f"trmml_nb.{room}" for room in trmml_nb._DOOR.values()} & set(EXEMPT)
    assert not public, f"behind the front door, so they must be checked: {sorted(public)}"


def test_every_name_of_the_front_door_has_a_type(package, tmp_path):
    "None of them is anything at all (`Any`), which would let every mistake pass."
    names = [n for n in trmml_nb.__all__ if n != "__version__"]
    (tmp_path / "door.py").write_text("import trmml_nb\n" + "".join(f"reveal_type(trmml_nb.{n})\n" for n in names))
    status, said = mypy(str(tmp_path / "door.py"))
    types = [re.search(r'Revealed type is "(.*)"', line)[1] for line in said if "Revealed type" in line]
    assert status == 0 and len(types) == len(names), "\n".join(said)
    vague = [n for n, kind in zip(names, types) if kind == "Any"]
    assert not vague, vague


RIGHT = """
import pandas as pd
import trmml_nb as t
tower = t.load_tower('tiny')
data: t.MultiLabelDataset = t.scenes_dataset('train', 10)
store = t.encode_dataset(tower, data)
method: t.TRMML = t.TRMML.from_tower(tower, data.class_names, t.TRMMLConfig(distill='none', keep=5))
trainer = t.Trainer(method, store, data.targets, t.TrainConfig(epochs=2))
history: pd.DataFrame = trainer.fit(progress=False)
again: t.Trainer = trainer.load_checkpoint('checkpoint.safetensors')
best: t.Method = trainer.final
output: t.MethodOutput = method.forward(store.batch([0]))
"""
WRONG = {
    "t.TRMMLConfig(distil='none')": "distil",
    "t.TRMMLConfig(heads='four')": "heads",
    "trainer.fits()": "fits",
    "trainer.fit(every='often')": "every",
    "method.complete(output)": "targets",
    "output.logit": "logit",
    "t.load_tower(3)": "load_tower",
}


def test_right_calls_pass_and_wrong_ones_are_named(package, tmp_path):
    (tmp_path / "use.py").write_text(RIGHT + "\n".join(WRONG))
    _, said = mypy(str(tmp_path / "use.py"))
    errors = [line for line in said if ": error:" in line]
    first = RIGHT.count("\n") + 1
    for k, word in enumerate(WRONG.values()):
        assert any(f"use.py:{first + k}: error:" in line and word in line for line in errors), (word, said)
    assert len(errors) == len(WRONG), errors
