"""The house in CONTRIBUTING.md, drawn from the imports as they are: python scripts/draw_house.py [--check].

Packages stand in the order in which they may be imported: each only from itself and from those above it. The
question a package answers is the docstring of its `__init__.py`. Nothing here is typed by hand but the order."""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "trmml_nb"
ORDER = (
    "foundations",
    "data",
    "towers",
    "method",
    "training",
    "rivals",
    "people",
    "runs",
    "datasets",
    "yours",
    "commands",
)
# beside the packages: what all use, what uses all
TOP = dict(foundations=("errors", "io"), commands=("tiny_clip", "cli"))
QUESTIONS = dict(foundations="What does everything else stand on?", commands="From nothing to a result")
BEGIN, END = "<!-- house: begin -->", "<!-- house: end -->"


def modules():
    "{dotted name: file} of every module of the library."
    found = (p for p in LIBRARY.rglob("*.py") if not p.name.startswith("_") and ".ipynb_checkpoints" not in p.parts)
    return {".".join(p.relative_to(LIBRARY).with_suffix("").parts): p for p in found}


def package_of(name):
    "The package of a module; one of the two places at the top for a module beside the packages."
    return name.split(".")[0] if "." in name else next((p for p, names in TOP.items() if name in names), None)


def imports_of(path):
    "Every module that a file imports, anywhere in it, as an absolute dotted name."
    here = (
        ("trmml_nb", *path.resolve().relative_to(LIBRARY).parts[:-1]) if path.resolve().is_relative_to(LIBRARY) else ()
    )
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = here[: len(here) - node.level + 1] if node.level else ()
            base = ".".join(filter(None, (*start, node.module)))
            inside = base == "trmml_nb" or base.removeprefix("trmml_nb.") in ORDER
            yield from (f"{base}.{alias.name}" for alias in node.names) if inside else [base]


def graph():
    "{module: modules of the library it imports}."
    known = modules()
    return {
        name: sorted({m.removeprefix("trmml_nb.") for m in imports_of(path)} & known.keys())
        for name, path in known.items()
    }


def in_order(names, arrows):
    "Modules so that each stands after those it imports. Errors: a circle."
    ordered, waiting = [], sorted(names)
    while waiting:
        free = [n for n in waiting if not set(arrows[n]) & set(waiting) - {n}]
        if not free:
            raise SystemExit(f"a circle of imports among {', '.join(waiting)}")
        ordered, waiting = ordered + free, [n for n in waiting if n not in free]
    return ordered


def house():
    "The lines between the two markers."
    arrows = graph()
    lines = [
        "| package | its question | its modules, in the order of their imports | imports from |",
        "|---|---|---|---|",
    ]
    for package in ORDER:
        inside = in_order([n for n in arrows if package_of(n) == package], arrows)
        if not inside:
            continue
        question = QUESTIONS.get(package) or ast.get_docstring(
            ast.parse((LIBRARY / package / "__init__.py").read_text(encoding="utf-8"))
        )
        used = {package_of(m) for n in inside for m in arrows[n]} - {package}
        title = f"`{package}/`" if package not in TOP else "(top)"
        lines.append(
            f"| {title} | {question} | {', '.join(f'`{n.split(chr(46))[-1]}`' for n in inside)} | "
            f"{', '.join(p for p in ORDER if p in used) or '-'} |"
        )
    return "\n".join(lines)


def main(check=False):
    path = ROOT / "CONTRIBUTING.md"
    text = path.read_text(encoding="utf-8")
    new = re.sub(f"{BEGIN}.*?{END}", lambda m: f"{BEGIN}\n{house()}\n{END}", text, flags=re.S)
    if check and new != text:
        raise SystemExit("CONTRIBUTING.md shows another house than the imports do: python scripts/draw_house.py")
    path.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main("--check" in sys.argv[1:])
