"""Run notebooks in fresh kernels and save their outputs: python scripts/refresh.py [NAME ...] [--slow]

Without names, all of nbs/. Cells flagged `#| eval: false`, `gpu` or `slow` keep the outputs they have; --slow runs
the slow ones too. Nothing is saved when a cell fails. Widget state and widget views are dropped, the still twin of a
view stays as a plain picture, and the notebook is cleaned as nbdev-clean does."""

import argparse
import re
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbdev.clean import nbdev_clean
from nbdev.config import get_config
from nbdev.test import nb_test_cells

ROOT = Path(__file__).resolve().parent.parent


def still(output):
    "An output as it is read where nothing lives: a widget's view is left out, a picture for two themes is one picture."
    data = output.get("data", {})
    if any("widget" in kind for kind in data):
        return None
    if 'class="trmml-' in "".join(data.get("text/html", "")) and "image/png" in data:
        output.data = {kind: data[kind] for kind in ("image/png", "text/plain") if kind in data}
    return output


def joined(outputs):
    "Outputs without widget views, and with neighbouring pieces of one stream made one."
    kept = []
    for output in filter(None, map(still, outputs)):
        if kept and output.output_type == kept[-1].output_type == "stream" and output.name == kept[-1].name:
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def refresh(path, skip_flags):
    chosen = {cell.id for cell in nb_test_cells(path, skip_flags)}
    notebook = nbformat.read(path, 4)
    client = NotebookClient(
        notebook, timeout=3600, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    with client.setup_kernel():
        for number, cell in enumerate(notebook.cells):
            if cell.id in chosen:
                client.execute_cell(cell, number)
                cell.outputs = joined(cell.outputs)
    for key in ("widgets", "language_info"):
        notebook.metadata.pop(key, None)
    nbformat.write(notebook, path)
    nbdev_clean(str(path))


def find(name, there):
    "The one notebook of a name, such as 05_regions or book/05_regions."
    wanted = Path(name).with_suffix("").parts
    found = [p for p in there if p.with_suffix("").parts[-len(wanted) :] == wanted]
    if len(found) != 1:
        raise SystemExit(
            f"{name}: {len(found)} notebooks have this name" + "".join(f"\n- {p.relative_to(ROOT)}" for p in found)
        )
    return found[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="notebooks, such as 05_regions; all when left out")
    parser.add_argument("--slow", action="store_true", help="also run cells flagged slow")
    given = parser.parse_args()
    flags = [flag for flag in re.split(r"\s+", get_config(ROOT).tst_flags) if not (given.slow and flag == "slow")]
    there = sorted(p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
    paths = [find(name, there) for name in given.names] or there
    for path in paths:
        started = time.monotonic()
        refresh(path, flags)
        print(
            f"{path.relative_to(ROOT)}: {time.monotonic() - started:.1f} s, {path.stat().st_size / 1024:.0f} KiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
