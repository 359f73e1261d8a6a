"""Run chapter 12 on photographs and keep its numbers: python scripts/on_photographs.py --data FOLDER [--tower NAME]

Takes the two cells of the chapter's appendix in place of its own, and writes results/end_to_end.json. FOLDER holds
VOC2007 as the data set's own archives do, with partial-labels/ and boxes.csv beside them.
"""

import argparse
import json
import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
CHAPTER = ROOT / "nbs/book/12_end_to_end.ipynb"
KEPT = ROOT / "results/end_to_end.json"
TELL = "print(json.dumps({name: round(float(value), 2) for name, value in told.items()}))"


def on_photographs(notebook, data, tower):
    "The chapter with its two cells exchanged, up to the one that collects the numbers."
    cells = [c for c in notebook.cells if c.cell_type == "code"]
    for mark in ("# tower", "# data"):
        own, other = (c for c in cells if mark in c.source.splitlines()[:2])
        own.source = other.source.replace("#| eval: false\n", "")
        own.source = own.source.replace("local-dir:lab_clip", tower).replace("'voc2007", f"'{data}")
    (collects,) = (c for c in cells if "told = {" in c.source)
    collects.source = collects.source.split("kept = ")[0] + TELL
    chosen = [c for c in cells[: cells.index(collects) + 1] if "#| eval: false" not in c.source]
    return nbformat.v4.new_notebook(cells=chosen)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder of VOC2007")
    parser.add_argument("--tower", default="local-dir:lab_clip", help="what load_tower is given")
    parser.add_argument("--cache", type=Path, help="folder of encoded features")
    args = parser.parse_args()
    notebook = on_photographs(nbformat.read(CHAPTER, 4), args.data, args.tower)
    if args.cache:
        os.environ["TRMML_CACHE"] = str(args.cache)  # the kernel inherits it
    NotebookClient(
        notebook, timeout=7200, kernel_name="python3", resources={"metadata": {"path": str(CHAPTER.parent)}}
    ).execute()
    told = json.loads(notebook.cells[-1].outputs[0].text)
    KEPT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(KEPT.relative_to(ROOT), told)


if __name__ == "__main__":
    main()
