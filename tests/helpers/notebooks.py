"""The notebooks of the project, and copies of them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NBS = ROOT / "nbs"
NOTEBOOKS = sorted(p for p in NBS.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def left_out(folder, names):
    "Of a copy of nbs/: hidden files, and runs that somebody made there (nbs/library/runs holds notebooks)."
    return [n for n in names if n.startswith(".") or n == "runs" and Path(folder).name != "library"]
