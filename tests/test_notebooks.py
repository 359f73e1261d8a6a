"""Every notebook runs in a fresh kernel, and what is saved in it is fit to be read."""

import ast
import json
import os
import re
import shutil
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbdev.config import get_config
from nbdev.test import nb_test_cells

from helpers import ready
from helpers.notebooks import NBS, NOTEBOOKS, left_out

ROOT = Path(__file__).resolve().parent.parent
# processor seconds for a whole notebook, with the processes that it starts; they do not depend on what else runs
LIMIT_S = 120
HANGS_S = 900  # seconds on the clock after which it is stopped
USED = "import os\nprint(sum(os.times()[:4]))"
LIMIT_BYTES = 300 * 1024
MOST_CODE_CELLS_IN_A_ROW = 5
ROOMS = {"library", "rivals", "extensions"}
MOST_LINES, MOST_EXPORTED = 30, 60  # of a cell that teaches, of one that goes into the module
MACHINE_PATH = re.compile(
    r"(?<![\w.:/])(/(home|root|Users|work|tmp|var|mnt|opt|usr)/[^\s'\"<]+|[A-Z]:\\\\?Users\b)|site-packages|ipykernel_\d+"
)
UNWANTED = re.compile(r"\b(TO" r"DO|FIX" r"ME)\b|/wo" r"rk/|\bissue #")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
teaching = pytest.mark.parametrize("path", [p for p in NOTEBOOKS if p.stem != "index"], ids=lambda path: path.stem)


def flags_to_skip():
    flags = get_config(ROOT).tst_flags
    return flags.split() if isinstance(flags, str) else list(flags)


def read(path):
    return nbformat.read(path, as_version=4)


def sources(path):
    "(cell number, kind, text) of each cell, counted from 0."
    return [(i, cell.cell_type, cell.source) for i, cell in enumerate(read(path).cells)]


def output_texts(cell):
    "Every text a code cell has printed or shown."
    for output in cell.get("outputs", []):
        parts = [output.get("text", ""), *output.get("traceback", []), output.get("evalue", "")]
        parts += [v for k, v in output.get("data", {}).items() if k.startswith("text/") or k.endswith("svg+xml")]
        yield from (part if isinstance(part, str) else "".join(part) for part in parts)


def shows(cell):
    "Whether a cell has shown something to the reader; stderr and live widgets without a still twin are not saved."
    return any(
        output.get("name") != "stderr"
        and ("image/png" in output.get("data", {}) or not any("widget" in kind for kind in output.get("data", {})))
        for output in cell.get("outputs", [])
    )


@pytest.fixture(scope="session")
def kernel(tmp_path_factory):
    "The name of the kernel that notebooks run in: it need not import what is not the project's."
    folder = tmp_path_factory.mktemp("kernels")
    words = [*ready.python(), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    there = folder / "kernels" / "ready" / "kernel.json"
    there.parent.mkdir(parents=True)
    there.write_text(json.dumps(dict(display_name="ready", language="python", argv=words)), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder))
        yield "ready"


def test_there_are_notebooks():
    assert NOTEBOOKS and "index" in [path.stem for path in NOTEBOOKS]


@each_notebook
def test_runs_in_a_fresh_kernel(path, tmp_path, kernel):
    "The cells that nbdev-test would run, in order, in a kernel of their own, in a copy of nbs/."
    folder = shutil.copytree(ROOT / "nbs", tmp_path / "nbs", ignore=left_out)
    for tables in ("results", "benchmarks"):  # the stored tables that notebooks show
        shutil.copytree(ROOT / tables, tmp_path / tables)
    chosen = {cell.id for cell in nb_test_cells(path, flags_to_skip())}
    notebook, saved = read(path), read(path)
    deadline = time.monotonic() + HANGS_S
    client = NotebookClient(
        notebook,
        kernel_name=kernel,
        resources={"metadata": {"path": str(folder / path.parent.relative_to(NBS))}},
        timeout_func=lambda cell: max(1, int(deadline - time.monotonic())),
    )
    environment = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}  # the kernel draws inline
    unsaved = []
    with client.setup_kernel(env=environment):
        for number, cell in enumerate(notebook.cells):
            if cell.id not in chosen:
                continue
            try:
                client.execute_cell(cell, number)
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                pytest.fail(f"{path.name}, cell {number} (id {cell.id}):\n{cell.source}\n\n{error}", pytrace=False)
            if shows(cell) != shows(saved.cells[number]):
                unsaved.append(
                    f"cell {number} (id {cell.id}): {'now shows something' if shows(cell) else 'shows nothing now'}"
                )
        notebook.cells.append(nbformat.v4.new_code_cell(USED))
        asked = client.execute_cell(notebook.cells[-1], len(notebook.cells) - 1)
    used = float("".join(output_texts(asked)))
    assert used < LIMIT_S, f"{path.name} took {used:.0f} processor seconds, expected less than {LIMIT_S}"
    assert not unsaved, (
        f"{path.name}: saved outputs are not those of a run; python scripts/refresh.py {path.stem}\n"
        + "\n".join(unsaved)
    )


@each_notebook
def test_saved_outputs_are_fit_to_read(path):
    "There are outputs, without errors, warnings, widget state or the paths of the machine they came from."
    notebook = read(path)
    nbformat.validate(notebook)
    code = [(i, cell) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    assert any(shows(cell) for _, cell in code), (
        f"{path.name} has no saved output; python scripts/refresh.py {path.stem}"
    )
    assert "widgets" not in notebook.metadata, f"{path.name} holds widget state"
    found = []
    for number, cell in code:
        for output in cell.outputs:
            found += [f"cell {number}: an error is saved"] * (output.output_type == "error")
            found += [f"cell {number}: stderr is saved: {''.join(output.get('text', ''))[:80]!r}"] * (
                output.get("name") == "stderr"
            )
            found += [f"cell {number}: {k} needs a live widget" for k in output.get("data", {}) if "widget" in k]
        for text in output_texts(cell):
            found += [f"cell {number}: machine path {m[0]!r}" for m in MACHINE_PATH.finditer(text)]
    assert not found, f"{path.name}:\n" + "\n".join(found)


@each_notebook
def test_is_light(path):
    size = path.stat().st_size
    assert size < LIMIT_BYTES, (
        f"{path.name} is {size / 1024:.0f} KiB, the limit is {LIMIT_BYTES / 1024:.0f}: fewer or smaller figures"
    )


@each_notebook
def test_begins_with_title_and_subtitle(path):
    lines = [line for line in read(path).cells[0].source.splitlines() if line.strip()]
    assert read(path).cells[0].cell_type == "markdown" and len(lines) >= 2, f"{path.name} has no title cell"
    assert lines[0].startswith("# ") and lines[1].startswith("> "), (
        f"{path.name} begins with {lines[:2]}, expected '# Title', '> subtitle'"
    )


def is_code(text):
    "Whether a text is a program that does something, and so no prose."
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return False
    does = (ast.Assign, ast.AugAssign, ast.Assert, ast.Import, ast.ImportFrom, ast.FunctionDef, ast.Call)
    return any(isinstance(getattr(node, "value", None), does) or isinstance(node, does) for node in body)


@each_notebook
def test_no_code_stands_in_prose(path):
    "A cell of the wrong kind never runs, and its reader sees the code instead of what it says."
    found = [f"cell {i}: {text[:60]!r}" for i, kind, text in sources(path) if kind == "markdown" and is_code(text)]
    assert not found, f"{path.name}: make these code cells:\n" + "\n".join(found)


def test_code_in_prose_would_be_found():
    assert is_code("kept = table['x']\nassert kept > 1\nMarkdown(f'{kept}')") and is_code("Markdown('so')")
    assert not any(map(is_code, ("# Title\n> what", "Where $a = b$, we see it.", "CP = mean of Nc", "Summary")))


@teaching
def test_ends_with_summary_and_exercises(path):
    headings = [
        line.strip("# ")
        for _, kind, text in sources(path)
        if kind == "markdown"
        for line in re.sub(r"```.*?```", "", text, flags=re.S).splitlines()
        if re.match(r"#+ ", line)
    ]
    assert headings[-2:] == ["Summary", "Exercises"], f"{path.name} ends with the headings {headings[-2:]}"


@teaching
def test_has_prose_between_code(path):
    row, worst = [], []
    for number, kind, text in sources(path):
        hidden = kind == "code" and (not text.strip() or re.match(r"#\|\s*(hide|default_exp)\b", text))
        row = row if hidden else row + [number] if kind == "code" else []
        worst = max(worst, row, key=len)
    assert len(worst) <= MOST_CODE_CELLS_IN_A_ROW, (
        f"{path.name}: cells {worst[0]} to {worst[-1]} are code without a sentence"
    )


@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if p.parent.name == "people"], ids=lambda path: path.stem)
def test_no_cell_of_the_widgets_is_long(path):
    long = {number: n for number, kind, text in sources(path) if kind == "code" and (n := len(text.splitlines())) > 80}
    assert not long, f"{path.name}: lines of cells: {long}; scripts and style sheets belong in trmml_nb/people/assets"


SCRIPTS = sorted((ROOT / "trmml_nb/people/assets").glob("*.js"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_of_the_widgets_are_made_of_small_functions(path):
    "Lines from the head of a function at module level, or of a method, to the next one."
    lines = path.read_text(encoding="utf-8").splitlines()
    head = re.compile(r"(const|function|class|async function) | {2}\w[\w ]*\(.*\{$")
    heads = [i for i, line in enumerate(lines) if head.match(line)]
    long = {lines[a]: b - a for a, b in zip(heads, [*heads[1:], len(lines)]) if b - a > 60}
    assert lines and not long, f"{path.name}: lines of functions: {long}"


def whole(text):
    "Whether nothing of a cell could stand in a cell of its own: it is one class, or mostly imports."
    body = ast.parse("\n".join("" if line.startswith("%") else line for line in text.splitlines())).body
    imports = [node for node in body if isinstance(node, (ast.Import, ast.ImportFrom, ast.If))]
    return [type(node) for node in body] == [ast.ClassDef] or 2 * len(imports) > len(body)


@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if ROOMS & {*p.parts}], ids=lambda path: path.stem)
def test_cells_are_short(path):
    "In the manual; the book draws larger pictures, and the notebooks on people hold larger widgets."
    long = [
        f"cell {number}: {len(text.splitlines())} lines"
        for number, kind, text in sources(path)
        if kind == "code"
        and len(text.splitlines()) > (MOST_EXPORTED if re.search(r"^#\|\s*export", text, re.M) else MOST_LINES)
        and not whole(text)
    ]
    assert not long, f"{path.name}: {long}; cut them in two, with a sentence between"


@each_notebook
def test_no_notes_to_ourselves(path):
    found = [f"cell {i}: {m[0]!r}" for i, _, text in sources(path) for m in UNWANTED.finditer(text)]
    assert not found, f"{path.name}: {found}"


def test_modules_and_pages_hold_no_notes_to_ourselves():
    pages = [
        p
        for pattern in ("*.md", "*.cff", "data_scripts/*", "scripts/*", "trmml_nb/**/*.py")
        for p in ROOT.glob(pattern)
        if p.is_file()
    ]
    found = [
        f"{p.relative_to(ROOT)}:{n}: {m[0]!r}"
        for p in pages
        for n, line in enumerate(p.read_text(encoding="utf-8").splitlines(), 1)
        for m in UNWANTED.finditer(line)
    ]
    assert not found, "\n".join(found)


@each_notebook
def test_cell_ids_are_unique(path):
    ids = [cell["id"] for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    assert len(ids) == len(set(ids)), f"{path.name} has cells with the same id"
