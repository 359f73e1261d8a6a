"""What a user gets from pip: the wheel's contents, and that it works in an empty environment, far from the source
tree."""

import os
import re
import runpy
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import trmml_nb

ROOT = Path(__file__).resolve().parent.parent
LIMIT_BYTES = 10 * 1024 * 1024


def run(*command, cwd, env=None, limit=900):
    done = subprocess.run(
        [str(c) for c in command],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=limit,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def package_files():
    "Every file of the package that git would keep, as a path in the wheel."
    keep = [
        p
        for p in (ROOT / "trmml_nb").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts and ".ipynb_checkpoints" not in p.parts
    ]
    return {p.relative_to(ROOT).as_posix(): p for p in keep}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    "Built from a copy, so that no build folder appears in the tree."
    source = tmp_path_factory.mktemp("source") / "project"
    ignore = shutil.ignore_patterns(
        ".git", ".venv", "venv", "build", "dist", "*.egg-info", "__pycache__", ".*cache", ".ipynb_checkpoints"
    )
    shutil.copytree(
        ROOT, source, ignore=lambda folder, names: {*ignore(folder, names), *(["runs"] if Path(folder) == ROOT else [])}
    )
    run(sys.executable, "-m", "build", "--wheel", "--outdir", source.parent / "dist", source, cwd=source.parent)
    (path,) = (source.parent / "dist").glob("*.whl")
    yield path
    shutil.rmtree(source, ignore_errors=True)


def needed(name):
    "The distribution of that name and all that it declares to need, as they are installed here: name -> distribution."
    found, todo = {}, [Requirement(name)]
    while todo:
        wanted = todo.pop()
        extras = wanted.extras or {""}
        if (wanted.name, *sorted(extras)) not in found:
            here = found[(wanted.name, *sorted(extras))] = distribution(wanted.name)
            todo += [
                r
                for r in map(Requirement, here.requires or [])
                if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in extras)
            ]
    return {canonicalize_name(key[0]): here for key, here in found.items()}


def link(source, target):
    "The same file or folder at another place; a copy where the system makes no links."
    try:
        target.symlink_to(source)
    except OSError:
        shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)


@pytest.fixture(scope="module")
def clean_environment(wheel, tmp_path_factory):
    """An empty virtual environment with the wheel and what it declares to need, and nothing else; removed afterwards.

    pip installs the wheel. What it needs has been fetched once already, for the tests themselves, and torch alone
    is gigabytes: those files are linked."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])", cwd=folder).strip())
    others = {n: d for n, d in needed("trmml_nb").items() if n not in ("trmml-nb", "pip")}
    for top in {
        (d.locate_file(""), file.parts[0])
        for d in others.values()
        for file in d.files
        if file.parts[0] not in ("..", "__pycache__")
    }:
        if not (site / top[1]).exists():  # a new environment may bring setuptools
            link(Path(*top), site / top[1])
    run(
        python, "-m", "pip", "install", "--quiet", "--no-input", "--no-compile", "--no-index", wheel, cwd=folder
    )  # fails if a need is not met
    run(python, "-m", "pip", "check", cwd=folder)
    yield python
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def environment(tmp_path):
    "Variables of a fresh user: no trace of the source tree, a home of their own, no network for weights."
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "TRMML", "MPL", "XDG"))}
    home = tmp_path / "home"
    home.mkdir()
    return kept | dict(HOME=str(home), USERPROFILE=str(home), HF_HUB_OFFLINE="1", TRMML_CACHE=str(tmp_path / "cache"))


def test_wheel_holds_the_package_and_nothing_else(wheel):
    "Every module and every weight, byte for byte, the command and the licence; no notebook, no test."
    with zipfile.ZipFile(wheel) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    own = {k: v for k, v in inside.items() if ".dist-info/" not in k}
    wanted = package_files()
    assert sorted(own) == sorted(wanted)
    assert all(own[name] == path.read_bytes() for name, path in wanted.items())
    assert any(name.endswith(".safetensors") for name in own), "the bundled tower's weights are missing"
    meta = {k.rsplit("/", 1)[-1]: v.decode() for k, v in inside.items() if ".dist-info/" in k}
    assert "trmml = trmml_nb.cli:main" in meta["entry_points.txt"] and "Apache License" in meta["LICENSE"]
    assert (
        f"Version: {trmml_nb.__version__}" in meta["METADATA"] and "License-Expression: Apache-2.0" in meta["METADATA"]
    )


def test_wheel_is_small(wheel):
    assert wheel.stat().st_size < LIMIT_BYTES, f"{wheel.name}: {wheel.stat().st_size / 2**20:.1f} MiB"


def test_every_module_imports_without_the_dev_tools(clean_environment, environment, tmp_path):
    "Only widgets and the estimator may ask for more, and then they name the extra to install."
    names = sorted(runpy.run_path(str(ROOT / "scripts/draw_house.py"))["modules"]())
    code = f"""
import importlib, pathlib, trmml_nb
assert not pathlib.Path(trmml_nb.__file__).is_relative_to({str(ROOT)!r}), trmml_nb.__file__
for name in {names}:
    try: importlib.import_module('trmml_nb.' + name)
    except ImportError as e: assert any(f'trmml_nb[{{x}}]' in str(e) for x in ('notebooks', 'sklearn')), f'{{name}}: {{e}}'
"""
    run(clean_environment, "-c", code, cwd=tmp_path, env=environment)


def test_command_and_library_work_far_from_the_source_tree(clean_environment, environment, tmp_path):
    """`trmml --help`, a one-epoch training on the bundled world, and then the README's lines of library use, as they
    stand there."""
    trmml = clean_environment.with_name("trmml" + clean_environment.suffix)
    assert "train" in run(trmml, "--help", cwd=tmp_path, env=environment)
    run(trmml, "train", "--epochs", "1", "--limit", "100", "--out", "runs/scenes", cwd=tmp_path, env=environment)
    block = re.search(
        r"<!-- library: begin -->\n+```python\n(.+?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S
    )[1]
    save = "from trmml_nb.data.scenes import draw_scene\ndraw_scene(0).image.save('photo.jpg')\n"
    printed = run(clean_environment, "-c", save + block, cwd=tmp_path, env=environment | {"MPLBACKEND": "Agg"})
    assert len(re.findall(r"[A-Za-z]{3,}", printed)) >= 5, printed  # five categories, by name
