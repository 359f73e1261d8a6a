"""The English of notebooks and pages: codespell's misspellings, and a list of our own in docs/words.toml."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from helpers.notebooks import NBS, NOTEBOOKS

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
WORDS = tomllib.loads((ROOT / "docs/words.toml").read_text(encoding="utf-8"))
PAGES = [
    p for p in (*ROOT.glob("*.md"), *(ROOT / "data_scripts").glob("*.md")) if p.name != "README.md" or p.parent != ROOT
]
NEVER = [(re.compile(rf"\b(?:{bad})\b", re.I), good) for bad, good in WORDS["never"].items()]
CODE = re.compile(r"```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]+\$|\]\([^)\n]*\)|<[^>\n]+>", re.S)
COMMENT = re.compile(r"(?:^|\s)(#\s.*)$", re.M)


def cells():
    "(where, text) of everything that people wrote in the notebooks and pages, code cells included."
    for path in NOTEBOOKS:
        for number, cell in enumerate(nbformat.read(path, 4).cells):
            yield f"{path.relative_to(NBS)}, cell {number}", cell.cell_type, cell.source
    for path in PAGES:
        yield path.name, "markdown", path.read_text(encoding="utf-8")


def test_no_word_is_misspelt(tmp_path):
    "codespell over notebooks (prose, and the comments in code), pages and scripts; the report names notebook and cell."
    pytest.importorskip("codespell_lib", reason='needs codespell: pip install -e ".[dev]"')
    names = {}
    for k, (where, kind, text) in enumerate(cells()):
        said = CODE.sub(" ", text) if kind == "markdown" else "\n".join(COMMENT.findall(text))
        (tmp_path / f"{k}.md").write_text(said, encoding="utf-8")
        names[f"{k}.md"] = where
    ours = [str(ROOT / folder) for folder in ("scripts", "docs", "benchmarks")]
    options = ["--ignore-words-list", ",".join(WORDS["known"]), "--skip", "words.toml"]
    command = [sys.executable, "-m", "codespell_lib", *options, str(tmp_path), *ours]
    done = subprocess.run(command, capture_output=True, text=True)
    said = re.sub(r"\S*?(\d+\.md):\d+", lambda m: names.get(m[1], m[0]), done.stdout)
    assert done.returncode == 0, f"misspelt, or a word for `known` in docs/words.toml:\n{said}{done.stderr}"


def test_a_misspelling_would_be_found(tmp_path):
    pytest.importorskip("codespell_lib", reason='needs codespell: pip install -e ".[dev]"')
    (tmp_path / "a.md").write_text("the mess" + "age of a mes" + "age", encoding="utf-8")
    done = subprocess.run([sys.executable, "-m", "codespell_lib", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode and "message" in done.stdout


def test_prose_keeps_to_one_english():
    "No American spelling in a British text, and none of the phrases that only their author understands."
    found = [
        f"{where}: {m[0]!r}; write: {good}"
        for where, kind, text in cells()
        if kind == "markdown"
        for bad, good in NEVER
        for m in bad.finditer(CODE.sub(" ", text))
    ]
    assert not found, "\n".join(found)
