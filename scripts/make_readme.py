"""README.md and README_files/ from nbs/index.ipynb: python scripts/make_readme.py [DESTINATION]."""

import re
import shutil
import sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from nbdev.config import get_config

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Made from nbs/index.ipynb by scripts/make_readme.py: edit the notebook, not this file. -->\n\n"
FLAG = re.compile(r"^#\|\s*(\w+):?[ \t]*(.*)\n?", re.M)


def visible(cell):
    "The cell as a reader sees it, or None: `#| hide` drops a cell, `#| echo: false` drops its code."
    flags = dict(FLAG.findall(cell.source)) if cell.cell_type == "code" else {}
    cell.source = FLAG.sub("", cell.source) if flags else cell.source
    if flags.get("echo") == "false":
        cell.metadata["transient"] = {"remove_source": True}
    for output in cell.get("outputs", []):
        output.get("data", {}).pop("text/html", None)
    return None if {"hide", "default_exp"} & flags.keys() else cell


def at_home(text, config):
    "Links as seen from the root, where notebooks lie in nbs/; absolute once pyproject.toml names a Repository."

    def link(match):
        bang, label, target = match.groups()
        if re.match(r"\w+:|#", target):
            return match[0]
        path = target if target.startswith("README_files/") else re.sub(r"^nbs/\.\./", "", f"nbs/{target}")
        base = f"{config.git_url}/{'raw' if bang else 'blob'}/{config.branch}/" if config.git_url else ""
        return f"{bang}[{label}]({base}{path})"

    return re.sub(r"(!?)\[([^\]\n]*)\]\(([^)\s]+)\)", link, text)


def make_readme(index=ROOT / "nbs/index.ipynb"):
    "Text of the README, and its pictures {path: bytes}."
    nb, config = nbformat.read(index, 4), get_config(ROOT)
    nb.cells = [cell for cell in map(visible, nb.cells) if cell is not None]
    exporter = MarkdownExporter()
    exporter.filters["wrap_text"] = lambda text, width=0: text
    body, resources = exporter.from_notebook_node(nb, {"output_files_dir": "README_files", "unique_key": "index"})
    body = re.sub(
        r"^[ ]*\n!\[\w+\]\((.+?)\)\n[ ]*$", r"![Figure; described in the text beside it](\1)", body, flags=re.M
    )
    return NOTE + at_home(re.sub(r"\n{3,}", "\n\n", body), config).strip() + "\n", resources.get("outputs", {})


def main(destination=ROOT):
    text, pictures = make_readme()
    shutil.rmtree(Path(destination, "README_files"), ignore_errors=True)
    for name, data in {**pictures, "README.md": text.encode()}.items():
        path = Path(destination, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    print(f"wrote {Path(destination, 'README.md')} and {len(pictures)} pictures")


if __name__ == "__main__":
    main(*sys.argv[1:2])
