"""What must be in step: notebooks and modules, README and index, settings.ini and pyproject.toml, code and its
promises."""

import ast
import configparser
import importlib
import inspect
import os
import re
import runpy
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import nbformat
import pytest
from fastcore.docments import docments
from nbdev.config import nbdev_defaults

import trmml_nb
from helpers.notebooks import NOTEBOOKS, left_out

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
LIB = ROOT / "trmml_nb"
HOUSE = runpy.run_path(str(ROOT / "scripts/draw_house.py"))  # the order of the packages, and the arrows between modules
MODULES = sorted(HOUSE["modules"]())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DRAW_NOTHING = ("data", "towers", "method", "training", "rivals")

each_module = pytest.mark.parametrize("name", MODULES)


def exports():
    "{module: notebook it is exported from}, in reading order; fails when two notebooks export to one module."
    found = {}
    for path in NOTEBOOKS:
        for name in re.findall(r'"#\|\s*default_exp:?\s+([\w.]+)', path.read_text(encoding="utf-8")):
            assert name not in found, f"{path.name} and {found[name]} both export to {name}"
            found[name] = path
    return found


def file_of(name):
    "The file of a module."
    return HOUSE["modules"]()[name]


def nbdev(command, cwd):
    "Run one of nbdev's commands, as a user would, in another folder."
    code = f"from nbdev.{command} import nbdev_{command if command == 'clean' else 'export'} as f; f()"
    environment = {k: v for k, v in os.environ.items() if k != "IN_TEST"}
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path):
    "A copy of the project without its modules: notebooks, pyproject.toml and an __init__.py."
    shutil.copytree(ROOT / "nbs", tmp_path / "nbs", ignore=left_out)
    for name in ("pyproject.toml", "README.md", *(p.relative_to(ROOT) for p in LIB.rglob("__init__.py"))):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


# -- notebooks and modules


def test_modules_are_those_the_notebooks_export(copy):
    """nbdev-export on a bare copy gives trmml_nb/ byte for byte, _modidx.py included, and leaves pyproject.toml as it is."""
    nbdev("doclinks", copy)
    made, kept = (
        {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.py")}
        for folder in (copy / LIB.name, LIB)
    )
    stale, lacking = sorted(kept.keys() - made.keys()), sorted(made.keys() - kept.keys())
    assert not stale, f"modules without a notebook: {stale}"
    assert not lacking, f"not exported yet: {lacking}; run nbdev-export"
    differ = [name for name in made if made[name] != kept[name]]
    assert not differ, f"edited by hand or not exported: {differ}; run nbdev-export"
    assert (copy / "pyproject.toml").read_bytes() == (ROOT / "pyproject.toml").read_bytes()
    assert (copy / "nbs/llms.txt").exists() == (ROOT / "nbs/llms.txt").exists(), (
        "nbs/llms.txt is not that of nbdev-export"
    )


def test_one_notebook_one_module():
    "The names that notebooks export to are the modules there are, and each is its notebook's name without the number."
    assert sorted(exports()) == MODULES
    wrong = {
        path.stem: name for name, path in exports().items() if re.sub(r"^\d+_", "", path.stem) != name.split(".")[-1]
    }
    assert not wrong, f"notebooks that export to a module of another name: {wrong}"
    strange = {
        name: path.parent.name
        for name, path in exports().items()
        if path.parent.parent.name == "library" and path.parent.name != name.split(".")[0]
    }
    assert not strange, f"notebooks that lie in the folder of another package: {strange}"


def test_every_notebook_has_its_own_number():
    "Two digits, once in a folder, and in the book without a gap."
    numbers = {}
    for path in NOTEBOOKS:
        if path.stem != "index":
            numbers.setdefault(path.parent.relative_to(ROOT).as_posix(), []).append(re.match(r"(\d\d)_", path.name)[1])
    assert all(len(set(found)) == len(found) for found in numbers.values()), numbers


def test_notebooks_are_clean(copy):
    "nbdev-clean changes nothing."
    nbdev("clean", copy)
    changed = [p.name for p in NOTEBOOKS if p.read_bytes() != (copy / p.relative_to(ROOT)).read_bytes()]
    assert not changed, f"run nbdev-clean: {changed}"


# -- imports

imports_of = HOUSE["imports_of"]


@each_module
def test_imports_go_one_way(name):
    "A module imports from its own package and from those before it; nothing up to `rivals` draws."
    package_of, order = HOUSE["package_of"], HOUSE["ORDER"]
    assert package_of(name) in order, f"{name} lies in no package of scripts/draw_house.py"
    own = {m.removeprefix("trmml_nb.") for m in imports_of(file_of(name)) if m.startswith("trmml_nb.")} - {
        "__version__"
    }
    unknown = own - set(MODULES)
    assert not unknown, f"{name} imports {unknown}, which no notebook exports"
    later = {m for m in own if order.index(package_of(m)) > order.index(package_of(name))}
    assert not later, f"{name} imports from later packages: {later}"
    drawing = {"people.figures"} & own | {
        m for m in imports_of(file_of(name)) if m.split(".")[0] in ("matplotlib", "seaborn")
    }
    assert package_of(name) not in DRAW_NOTHING or not drawing, f"{name} computes and imports {sorted(drawing)}"


def test_no_circle_inside_a_package():
    arrows = HOUSE["graph"]()
    for package in HOUSE["ORDER"]:
        inside = [n for n in arrows if HOUSE["package_of"](n) == package]
        assert sorted(HOUSE["in_order"](inside, arrows)) == sorted(inside)


def test_numbers_follow_the_imports():
    "In a folder, a notebook stands after those whose modules its own imports."
    home, arrows = exports(), HOUSE["graph"]()
    early = [
        f"{home[a].name} imports from {home[b].name}"
        for a in arrows
        for b in arrows[a]
        if home[a].parent == home[b].parent and home[a].name < home[b].name
    ]
    assert not early, early


def test_the_house_is_drawn_as_it_is():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    drawn = re.search(f"{HOUSE['BEGIN']}\n(.*?)\n{HOUSE['END']}", text, re.S)[1]
    assert drawn == HOUSE["house"](), "python scripts/draw_house.py"
    assert all(f"`{name.split('.')[-1]}`" in drawn for name in MODULES)


def defined_in(name):
    "Names that a module makes itself at its top level."
    found = set()
    for node in ast.parse(file_of(name).read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            found |= {n.id for n in ast.walk(target) if isinstance(n, ast.Name)} if target is not None else set()
    return found


def home(node, path):
    "The module that an import names, as a dotted name of the library."
    base = path.relative_to(LIB).parts[:-1]
    return (
        ".".join((*base[: len(base) - node.level + 1], node.module or ""))
        if node.level
        else (node.module or "").removeprefix("trmml_nb.")
    )


@pytest.mark.parametrize("name", MODULES)
def test_names_are_imported_from_where_they_are_made(name):
    "No module reaches round another: a name comes from its own module, not from one that happens to import it."
    for node in ast.walk(ast.parse(file_of(name).read_text())):
        room = home(node, file_of(name)) if isinstance(node, ast.ImportFrom) else None
        if room in MODULES:
            borrowed = {n.name for n in node.names} - defined_in(room)
            assert not borrowed, f"{name} imports {sorted(borrowed)} from {room}, which only imports it itself"
            private = [n.name for n in node.names if n.name.startswith("_")]
            assert not private, f"{name} imports {private} from {room}, which keeps them for itself"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_readers_too_import_names_from_where_they_are_made(path):
    "A notebook's cells show a reader which room a name comes from; so do they name that room."
    for cell in nbformat.read(path, 4).cells:
        lines = [line for line in cell.source.splitlines() if line[:1] not in "%!"]
        if cell.cell_type != "code" or "trmml_nb." not in cell.source:
            continue
        for node in ast.walk(ast.parse("\n".join(lines))):
            room = (node.module or "").removeprefix("trmml_nb.") if isinstance(node, ast.ImportFrom) else None
            if room in MODULES and node.module != room:
                borrowed = {n.name for n in node.names} - defined_in(room)
                assert not borrowed, (
                    f"{path.name}, cell {cell.id}: imports {sorted(borrowed)} from {room}, which only imports it itself"
                )


def test_every_import_is_declared():
    """What a module imports is a dependency by name, or an optional one of the notebooks; not a lucky guest of another
    package."""
    clean = lambda requirement: re.split(r"[<>=!~\[; ]", requirement)[0].lower().replace("-", "_")
    extras = PROJECT["project"]["optional-dependencies"]
    optional = [r for name, group in extras.items() if name != "dev" for r in group]
    declared = {clean(r) for r in PROJECT["project"]["dependencies"] + optional}
    owners, missing = packages_distributions(), {}
    for name in MODULES:
        for module in {m.split(".")[0] for m in imports_of(file_of(name))} - sys.stdlib_module_names - {"trmml_nb"}:
            if not {clean(owner) for owner in owners.get(module, [module])} & declared:
                missing.setdefault(name, []).append(module)
    assert not missing, f"add to the dependencies in pyproject.toml (and settings.ini): {missing}"


# -- public names


def public(module):
    "The names of `__all__`, and that they exist."
    missing = [n for n in module.__all__ if not hasattr(module, n)]
    assert not missing, f"{module.__name__}.__all__ names what is not there: {missing}"
    return {n: getattr(module, n) for n in module.__all__}


def functions(name, thing):
    "A function itself, or a class's own public methods and __init__: (qualified name, function)."
    if inspect.isfunction(thing):
        yield name, thing
    elif inspect.isclass(thing):
        for key, member in vars(thing).items():
            member = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
            if (
                inspect.isfunction(member)
                and member.__qualname__ == f"{thing.__name__}.{key}"
                and (key == "__init__" or key[0] != "_")
            ):
                yield f"{name}.{key}", member


def undocumented(function, owner=None):
    """Parameters that neither a docment (as fastcore reads them) nor the docstring names; overrides of torch's own
    methods are known."""
    if any(
        function.__name__ in vars(base)
        for base in getattr(owner, "__mro__", ())[1:]
        if not base.__module__.startswith("trmml_nb")
    ):
        if function.__name__ not in ("__init__", "forward"):
            return []
    said, text = docments(function, returns=False, args_kwargs=True), function.__doc__ or ""
    parameters = list(inspect.signature(function).parameters.values())
    try:  # an option of the command line says it in its help text
        helped = {
            p.name
            for p in inspect.signature(function, eval_str=True).parameters.values()
            if any(getattr(extra, "help", None) for extra in getattr(p.annotation, "__metadata__", ()))
        }
    except NameError:  # a name that is there for type checkers only
        helped = set()
    skip = helped | {p.name for p in parameters[:1] if p.name in ("self", "cls")}
    return [
        p.name
        for p in parameters
        if p.name not in skip and not said.get(p.name) and not re.search(rf"\b{p.name}\b", text)
    ]


@each_module
def test_every_parameter_has_a_docment(name):
    "One parameter a line with a comment that says what it is; in a short method the docstring may say it."
    module, missing = importlib.import_module(f"trmml_nb.{name}"), []
    for key, thing in public(module).items():
        if getattr(thing, "__module__", None) != module.__name__:
            continue
        for qualified, function in functions(key, thing):
            generated = function.__code__.co_filename == "<string>"  # a dataclass's own __init__
            gone = [] if generated else undocumented(function, thing if inspect.isclass(thing) else None)
            missing += [f"{qualified}({', '.join(gone)})"] * bool(gone)
    assert not missing, f"{name}: no docment on " + "; ".join(missing)


@each_module
def test_every_public_name_has_a_docstring(name):
    module = importlib.import_module(f"trmml_nb.{name}")
    own = {k: v for k, v in public(module).items() if getattr(v, "__module__", None) == module.__name__}
    missing = [
        k for k, v in own.items() if (inspect.isfunction(v) or inspect.isclass(v)) and not (v.__doc__ or "").strip()
    ]
    missing += [
        k for k, v in own.items() if inspect.isclass(v) and (v.__doc__ or "").startswith(f"{k}(")
    ]  # a dataclass's default
    assert module.__doc__ and not missing, f"{name}: no docstring on {missing or 'the module'}"


def test_lint_is_clean():
    "ruff's rules of pyproject.toml, and the form of everything that is no notebook."
    for what in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *what, str(ROOT)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_long_lines_become_fewer():
    "Lines beyond 120 columns in cells and scripts: there were more than 2,000, and no new one is welcome."
    cells = [c.source for path in NOTEBOOKS for c in nbformat.read(path, 4).cells if c.cell_type == "code"]
    scripts = [
        p.read_text(encoding="utf-8") for d in ("tests", "scripts", "benchmarks") for p in (ROOT / d).rglob("*.py")
    ]
    long = sum(len(line) > 120 for text in cells + scripts for line in text.split("\n"))
    assert long <= 169, f"{long} lines are longer than 120 columns, 169 were left"


def test_no_two_public_names_are_alike():
    "A name means one thing in the whole library."
    rooms = {}
    for name in MODULES:
        for key in getattr(importlib.import_module(f"trmml_nb.{name}"), "__all__", ()):
            rooms.setdefault(key, []).append(name)
    twice = {key: found for key, found in rooms.items() if len(found) > 1}
    assert not twice, twice


def test_importing_is_quiet_and_light():
    "All modules import in one fresh process: no output, no warning, CUDA untouched."
    code = (
        "import torch\n"
        + "".join(f"import trmml_nb.{name}\n" for name in MODULES)
        + "assert not torch.cuda.is_initialized()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done.stdout + done.stderr


# -- pages and settings


def test_readme_is_made_from_index(tmp_path):
    "README.md and README_files/ are what scripts/make_readme.py makes."
    text, pictures = runpy.run_path(str(ROOT / "scripts/make_readme.py"))["make_readme"]()
    assert (ROOT / "README.md").read_text(encoding="utf-8") == text, "run python scripts/make_readme.py"
    kept = {p.relative_to(ROOT).as_posix(): p.read_bytes() for p in (ROOT / "README_files").glob("*")}
    assert kept == pictures, "the README's pictures are not those of index.ipynb: run python scripts/make_readme.py"


def test_readme_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = [t for t in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"\w+:|#", t)]
    assert targets and not [t for t in targets if not (ROOT / t.split("#")[0]).exists()]


def test_readme_lists_the_book():
    "The table is made from the chapters' own titles; it must not lag behind them. The site lists the other notebooks."
    text, missing = (ROOT / "README.md").read_text(encoding="utf-8"), []
    for path in (p for p in NOTEBOOKS if p.parent.name == "book"):
        title, subtitle = [
            line.strip() for line in nbformat.read(path, 4).cells[0].source.splitlines() if line.strip()
        ][:2]
        row = f"| {title.removeprefix('# ').rstrip('.')} | {subtitle.removeprefix('> ').rstrip('.')} |"
        missing += [] if row in text else [row]
    assert not missing, (
        "python scripts/refresh.py index && python scripts/make_readme.py; not in the README:\n" + "\n".join(missing)
    )


def test_readme_is_short():
    "What it is, one picture, two commands, three ways on: a page that is read in five minutes."
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) < 1600 and len(re.findall(r"^!\[", text, re.M)) == 1
    assert all(f"**{way}.**" in text for way in ("Read", "Use", "Reproduce")) and "scripts/make_site.py" in text


def between_markers(name):
    block = re.search(
        rf"^<!-- {name}: begin -->\n+```\w*\n(.+?)\n```\n+<!-- {name}: end -->$",
        (ROOT / "README.md").read_text(encoding="utf-8"),
        re.M | re.S,
    )
    assert block, f"README.md has no command between the markers '{name}: begin' and '{name}: end'"
    return block[1]


def test_readme_has_the_two_commands():
    "One line each: install and run, install and test; the names in them exist."
    run, tests = between_markers("run"), between_markers("tests")
    assert "\n" not in run + tests and "pip install" in run and "pip install" in tests and "pytest" in tests
    assert re.search(r"\btrmml train\b", run) and "trmml" in PROJECT["project"]["scripts"]
    assert set(re.findall(r"\[(\w+)\]", run + tests)) <= PROJECT["project"]["optional-dependencies"].keys()


def test_ci_runs_the_second_command_of_the_readme(tmp_path):
    "`.ci/run` with a stand-in for python3 -m venv: the command that it runs is the README's, in that environment."
    for name in (".ci/run", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    fake = tmp_path / "python3"  # makes an "environment" whose python only says what it is asked
    fake.write_text(
        '#!/bin/bash\nmkdir -p "$3/bin"\nprintf \'#!/bin/bash\\necho "ran: $*"\\n[ "$2" = pytest ] && echo "== 7 '
        'passed in 1.00s =="\\ntrue\\n\' > "$3/bin/python"\n'
        'chmod +x "$3/bin/python"\necho "export PATH=$3/bin:\\$PATH" > "$3/bin/activate"\n'
    )
    fake.chmod(0o755)
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        [str(tmp_path / ".ci/run")],
        env={**os.environ, "PYTHON": str(fake), "TMPDIR": str(tmp_path / "tmp"), "CI": "true"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    asked = [part.strip().removeprefix("python ").replace('"', "") for part in between_markers("tests").split("&&")]
    assert re.findall(r"^ran: (.+)$", done.stdout, re.M)[: len(asked)] == asked
    assert done.stdout.rstrip().splitlines()[-1] == "== 7 passed in 1.00s =="
    assert not list((tmp_path / "tmp").iterdir()), "the temporary folder is left behind"


def expected_settings():
    "What settings.ini must say, from pyproject.toml, nbdev's defaults and the package itself."
    project, tool = PROJECT["project"], {**nbdev_defaults, **PROJECT["tool"]["nbdev"]}
    extras = project["optional-dependencies"]

    def plainly(name):
        "What an extra asks for, with the project's own extras spelled out, each requirement once."
        own = re.fullmatch(rf"{project['name']}\[([\w,]+)\]", name)
        return [r for part in own[1].split(",") for n in extras[part] for r in plainly(n)] if own else [name]

    dev = list(dict.fromkeys(r for name in extras["dev"] for r in plainly(name)))
    status = next(c for c in project["classifiers"] if c.startswith("Development Status"))
    plain = {
        k: str(tool[k])
        for k in (
            "branch",
            "nbs_path",
            "lib_path",
            "doc_path",
            "readme_nb",
            "tst_flags",
            "recursive",
            "clean_ids",
            "clear_all",
            "put_version_in_init",
            "jupyter_hooks",
            "custom_sidebar",
        )
    }
    return plain | dict(
        lib_name=project["name"],
        repo=project["name"],
        title=tool.get("title") or project["name"],
        description=project["description"],
        author=project["authors"][0]["name"],
        copyright=project["authors"][0]["name"],
        keywords=", ".join(project["keywords"]),
        version=trmml_nb.__version__,
        min_python=project["requires-python"].removeprefix(">="),
        license={"Apache-2.0": "apache2"}[project["license"]],
        status=re.search(r"\d", status)[0],
        requirements=" ".join(project["dependencies"]),
        dev_requirements=" ".join(dev),
        console_scripts="\n".join(f"{k}={v}" for k, v in project["scripts"].items()),
    )


def test_every_file_can_be_checked_out_on_windows():
    refused = re.compile(r'[<>:"|?*\\]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)
    ours = [
        p
        for p in ROOT.iterdir()
        if not p.name.startswith(".") and p.name not in ("runs", "data") and not (p / "pyvenv.cfg").exists()
    ]
    names = [p.relative_to(ROOT) for top in ours for p in (top, *top.rglob("*"))]
    assert len(names) > 100 and not [str(n) for n in names if any(refused.search(part) for part in n.parts)]


def test_settings_ini_agrees_with_pyproject():
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(ROOT / "settings.ini", encoding="utf-8")
    said, truth = dict(ini["DEFAULT"]), expected_settings()
    differ = {k: (said.get(k), truth.get(k)) for k in said.keys() | truth.keys() if said.get(k) != truth.get(k)}
    assert not differ, f"settings.ini says the first, pyproject.toml the second: {differ}"


def test_version_is_the_same_everywhere():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", citation, re.M)[1].strip('"') == trmml_nb.__version__
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)[1] == trmml_nb.__version__
    assert re.search(r"Apache License\s+Version 2.0", (ROOT / "LICENSE").read_text(encoding="utf-8"))


def test_the_published_masks_regenerate():
    "data_scripts/check_masks.py exits 0 and names every mask with its checksum."
    done = subprocess.run([sys.executable, str(ROOT / "data_scripts/check_masks.py")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for start in (
        "6c449e375ae8f362",
        "aff8ef4f90852eea",
        "cd1ca8f2708f7fdd",
        "995bc4ad39ca9dab",
        "840a0e4e4aa2f03a",
    ):  # HCPLab, TaI-DPT
        assert start in done.stdout


def test_check_masks_can_fail(tmp_path):
    "A user's mask file with one flipped bit is told apart from the published one."
    import numpy as np

    path = tmp_path / "mask.npy"
    mask = np.random.RandomState(0).random_sample((5011, 20)) < 0.5
    np.save(path, mask)
    ask = lambda: subprocess.run(
        [sys.executable, str(ROOT / "data_scripts/check_masks.py"), "--mask", str(path)], capture_output=True, text=True
    )
    good = ask()
    assert good.returncode == 0 and "voc2007" in good.stdout.lower(), good.stdout + good.stderr
    mask[17, 3] ^= True
    np.save(path, mask)
    bad = ask()
    assert bad.returncode == 1 and "none of the published masks" in bad.stdout + bad.stderr


def test_two_workers_share_out_whole_files(tmp_path):
    "With `--dist loadgroup` every test of a file runs in one worker, so that what its fixtures made is made once."
    shutil.copy(ROOT / 'tests/conftest.py', tmp_path)
    shutil.copytree(ROOT / 'tests/helpers', tmp_path / 'helpers')
    note = "    cache = os.environ['TRMML_CACHE']\n    assert Path(cache).is_dir()\n    open('told', 'a').write(cache + '\\n')\n"
    tests = [f'def test_{k}():\n    time.sleep(0.01)\n' + note for k in range(12)]
    for name in ('test_a', 'test_b', 'test_c'):
        text = '\n\n'.join(['import os, time\nfrom pathlib import Path', *tests])
        (tmp_path / f'{name}.py').write_text(text, encoding='utf-8')
    command = [sys.executable, '-m', 'pytest', '-v', '-n', '2', '--dist', 'loadgroup', '-p', 'no:cacheprovider', '.']
    alone = {k: v for k, v in os.environ.items() if k != 'TRMML_TESTS_CACHE'}
    done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, timeout=120)
    ran = set(re.findall(r'\[(gw\d)\].* PASSED test_(\w)\.py', done.stdout))
    assert '36 passed' in done.stdout, done.stdout + done.stderr
    assert ''.join(sorted(name for _, name in ran)) == 'abc' and len({worker for worker, _ in ran}) == 2, ran
    told = (tmp_path / 'told').read_text(encoding='utf-8').splitlines()
    assert len(told) == 36 and len(set(told)) == 1 and not Path(told[0]).exists(), 'one cache, removed at the end'


def test_no_test_imports_from_another():
    "What several test files use is in tests/helpers, or a fixture in a conftest.py."
    others = {p.stem for p in (ROOT / 'tests').rglob('*.py') if p.parent.name != 'helpers'}
    found = []
    for path in sorted((ROOT / 'tests').rglob('*.py')):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            names = [node.module or ''] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [f'{path.relative_to(ROOT)}:{node.lineno}: {n}' for n in names if n.split('.')[-1] in others]
    assert len(others) > 50 and not found, '\n'.join(found)


def test_small_things_are_written_once():
    "One function makes vectors of length 1, and one the logistic function."
    source = {name: file_of(name).read_text(encoding='utf-8') for name in MODULES}
    assert [name for name, text in source.items() if re.search(r'^ *def _?unit\b', text, re.M)] == ['towers.tower']
    own = re.compile(r'1 ?/ ?\(1 ?\+ ?(np|math|torch)\.exp\(-|^def _?(sigmoid|expit|logistic)\b', re.M)
    assert not [name for name, text in source.items() if own.search(text)]
