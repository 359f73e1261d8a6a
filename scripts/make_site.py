"""The site, from the stored outputs of the notebooks: python scripts/make_site.py [DESTINATION] [--only FOLDER ...]

Needs `pip install -e ".[site]"`. No notebook is run. What comes out is a folder of plain pages, `_docs` unless told
otherwise, to be opened from a disk or put in any folder of a web server. `--only book` makes the book alone, for a
quick look.
"""

import argparse
import ast
import dataclasses
import importlib
import inspect
import io
import os
import re
import shutil
import tempfile
import textwrap
import tokenize
from pathlib import Path

import nbformat
from fastcore.docments import docments
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("CHANGELOG.md", "CONTRIBUTING.md", "data_scripts/README.md")  # beside the notebooks
FILES = ("LICENSE", "CITATION.cff")  # to be downloaded
SHELVES = {  # folder of nbs/: heading in the navigation
    "book": "The book",
    "book/solutions": "Answers",
    "extensions": "Extensions of the method",
    "rivals": "Rivals",
    "people": "People",
    "library": "From nothing to a result",
    "library/data": "Data",
    "library/towers": "Towers",
    "library/method": "Method",
    "library/training": "Training",
    "library/runs": "Runs",
    "library/datasets": "Data sets",
    "library/yours": "Your own pictures",
}
FLAG = re.compile(r"^#\|\s*(\w+):?[ \t]*(.*)\n?", re.M)
CODE_OR_LINK = re.compile(r"```.*?```|\[[^\]\n]*\]\([^)\n]*\)|^#+ .*$|`([^`\n]+)`", re.S | re.M)
EXAMPLE = "example.html"
MARK = ".nojekyll"  # tells hosts to leave folders that begin with an underscore, and us that the folder is a site


def modules():
    "Dotted names of the library's modules, as the notebooks export them."
    found = (p for p in (ROOT / "trmml_nb").rglob("*.py") if not p.name.startswith("_"))
    return sorted("trmml_nb." + ".".join(p.relative_to(ROOT / "trmml_nb").with_suffix("").parts) for p in found)


METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}


# -- notebooks


def linked(text, symbols, module):
    "Prose whose code words lead to the reference: public names of this notebook's module, or of one module alone."

    def link(match):
        homes = symbols.get((match[1] or "").removesuffix("()"), ())
        home = module if module in homes else homes[0] if len(homes) == 1 else None
        return f"[{match[0]}](#{anchor(home, match[1].removesuffix('()'))})" if home else match[0]

    return CODE_OR_LINK.sub(link, text)


def for_readers(path, symbols):
    "A notebook without what is meant for nbdev: hidden cells, flags, and the outputs that need a kernel."
    nb, kept = nbformat.read(path, 4), []
    module = next(
        (f"trmml_nb.{m[1]}" for c in nb.cells if (m := re.search(r"#\|\s*default_exp:?\s+(\S+)", c.source))), None
    )
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"^<!--.*?-->\n?", "", linked(cell.source, symbols, module), flags=re.M)
        elif cell.cell_type == "code":
            flags = dict(FLAG.findall(cell.source))
            if {"hide", "default_exp"} & flags.keys():
                continue
            cell.source = FLAG.sub("", cell.source).strip()
            silent = flags.get("echo") == "false"
            shown = [o.data["text/markdown"] for o in cell.outputs if "text/markdown" in o.get("data", {})]
            if silent and shown:  # prose that a cell wrote: its links are links of the page
                kept.append(nbformat.v4.new_markdown_cell("\n\n".join(shown)))
                continue
            folded = cell.metadata.get("jupyter", {}).get("source_hidden", False)
            tags = ["remove-input"] if silent else ["hide-input"] if folded else []
            cell.metadata = nbformat.from_dict({"tags": tags})
            cell.outputs = [o for o in cell.outputs if not any("widget" in kind for kind in o.get("data", {}))]
        kept.append(cell)
    if module:
        kept.insert(1, nbformat.v4.new_markdown_cell(f"*This notebook is the source of [`{module}`](#{module}).*"))
    nb.cells = kept
    nb.metadata = nbformat.from_dict(METADATA)
    return nb


def front(nb, shelves):
    "The index with the navigation below it."
    for cell in nb.cells:
        cell.source = cell.source.replace("](../", "](")
    trees = [tree(title, [f"{folder}/{p.stem}" for p in paths]) for folder, (title, paths) in shelves.items()]
    trees += [tree("Reference", ["api/index", *(p.removesuffix(".md") for p in PAGES)])]
    live = f'**Try it here:** <a href="{EXAMPLE}">one picture in the inspector</a>. Click a patch.'
    nb.cells[2:2] = [nbformat.v4.new_markdown_cell(live)]
    nb.cells.append(nbformat.v4.new_markdown_cell("\n\n".join(trees)))
    return nb


def tree(title, entries):
    return f"```{{toctree}}\n:hidden:\n:caption: {title}\n\n" + "\n".join(entries) + "\n```"


# -- the reference


def public(module):
    "Public names that a module makes itself."
    return [n for n in module.__all__ if getattr(getattr(module, n), "__module__", module.__name__) == module.__name__]


def anchor(module, name):
    "Where a public name stands. Sphinx knows no capitals: of `Nearness` and `nearness`, the second gets a number."
    same = [n for n in public(importlib.import_module(module)) if n.lower() == name.lower()]
    return f"{module}.{name}" + (f"-{same.index(name) + 1}" if same.index(name) else "")


def methods(thing):
    "A class's own public methods, and its __init__ where it is written by hand."
    for key, member in vars(thing).items():
        member = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        own = inspect.isfunction(member) and member.__qualname__ == f"{thing.__name__}.{key}"
        if own and (key == "__init__" or key[0] != "_") and "<" not in member.__code__.co_filename:
            yield key, member


def cell(text):
    "Text in a table of Markdown: one line, and nothing that a reader would not see."
    return (
        re.sub(r"\s+", " ", str(text)).replace("|", "\\|").replace("<", "&lt;").replace("$", "\\$").replace("*", "\\*")
    )


def type_of(annotation):
    if annotation in (inspect.Parameter.empty, None):
        return ""
    annotation = getattr(annotation, "__forward_arg__", annotation)
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    name = re.sub(r"^Annotated.([^,]+),.*", r"\1", name).replace("|", "\\|")
    return f"`{name}`"


def comments_of(kind):
    "What stands beside each field of a class: the comments of its lines, and of the lines of comment below them."
    text = textwrap.dedent(inspect.getsource(kind))
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    beside = {t.start[0]: t.string.lstrip("# ").strip() for t in tokens if t.type == tokenize.COMMENT}
    alone = {n for n in beside if text.splitlines()[n - 1].lstrip().startswith("#")}
    found = {}
    for node in ast.parse(text).body[0].body:
        if isinstance(node, ast.AnnAssign):
            last = node.end_lineno
            while last + 1 in alone:
                last += 1
            said = [beside[n] for n in range(node.lineno, last + 1) if n in beside]
            if said:
                found[node.target.id] = " ".join(said)
    return found


def said_of_fields(thing):
    "Field of a class -> its meaning: the help that an option carries, or the comment beside it, also an inherited one."
    found = {}
    for kind in reversed(thing.__mro__):
        if kind.__module__.startswith("trmml_nb."):
            found |= comments_of(kind)
    for field in dataclasses.fields(thing) if dataclasses.is_dataclass(thing) else ():
        if field.metadata.get("help"):
            found[field.name] = field.metadata["help"]
    return found


def fields_of(thing):
    "A row for each field of a dataclass or a named tuple."
    try:
        said = said_of_fields(thing)
    except (TypeError, OSError, SyntaxError):  # made without a source of its own
        said = {}
    types, rows = thing.__dict__.get("__annotations__", {}), []
    if dataclasses.is_dataclass(thing):
        fields = [(f.name, f.type, f.default) for f in dataclasses.fields(thing) if f.init]
    else:
        fields = [(n, types.get(n), thing._field_defaults.get(n, dataclasses.MISSING)) for n in thing._fields]
    for name, kind, value in fields:
        default = "" if value is dataclasses.MISSING else shown(value)
        rows.append(f"| `{name}` | {type_of(kind)} | {default} | {cell(said.get(name, ''))} |")
    return "\n".join([*HEAD, *rows]) if rows else ""


HEAD = "| parameter | type | default | meaning |", "|---|---|---|---|"


def shown(value):
    "A default as code, on one line."
    return "`" + re.sub(r"\s+", " ", repr(value)).replace("|", "\\|") + "`"


def parameters(function):
    "A row for each parameter that says what it means: its type, default, meaning with shape, unit and range."
    try:
        said = docments(function, full=True, returns=True, eval_str=False)
    except (TypeError, ValueError, OSError, SyntaxError):  # made by a decorator: no source of its own
        return ""
    rows = []
    for name, about in said.items():
        if name in ("self", "cls") or name == "return" and not about["docment"]:
            continue
        empty = about["default"] is inspect.Parameter.empty or name == "return"
        default = "" if empty else shown(about["default"])
        label = "*returns*" if name == "return" else f"`{name}`"
        rows.append(f"| {label} | {type_of(about['anno'])} | {default} | {cell(about['docment'] or '')} |")
    return "\n".join([*HEAD, *rows]) if rows else ""


def signature(name, thing):
    try:
        names = [
            f"{'*' * (p.kind is p.VAR_POSITIONAL) + '**' * (p.kind is p.VAR_KEYWORD)}{p.name}"
            for p in inspect.signature(thing).parameters.values()
            if p.name not in ("self", "cls")
        ]
    except (TypeError, ValueError):
        return name
    return f"{name}({', '.join(names)})"


def entry(module, name, depth=2):
    "One public name: signature, what it is for, its parameters, and for a class its methods."
    thing, heading = getattr(module, name), f"({anchor(module.__name__, name)})=\n{'#' * depth} `{name}`\n"
    if not (inspect.isfunction(thing) or inspect.isclass(thing)):
        return f"{heading}\nA value of type `{type(thing).__name__}`.\n"
    text = [heading, f"```python\n{signature(name, thing)}\n```\n"]
    text.append(prose(inspect.getdoc(thing) if thing.__doc__ else ""))
    if inspect.isfunction(thing):
        return "\n".join([*text, parameters(thing), ""])
    if "__dataclass_fields__" in vars(thing) or "_fields" in vars(thing):
        text.append(fields_of(thing) + "\n")
    for key, member in methods(thing):
        text.append(f"{'#' * (depth + 1)} `{signature(f'{name}.{key}' if key != '__init__' else name, member)}`\n")
        text += [prose(inspect.getdoc(member) or ""), parameters(member) + "\n"]
    return "\n".join(text)


def prose(text):
    "A docstring as Markdown."
    return re.sub(r"^(dataclass|NamedTuple)\(.*", "", text or "").replace("<", "&lt;").replace("$", "\\$") + "\n"


def reference(source, homes):
    "A page per module, and one that lists them."
    folder = source / "api"
    folder.mkdir()
    listed = []
    for name in modules():
        module = importlib.import_module(name)
        first = homes.get(name)
        short = name.removeprefix("trmml_nb.")
        about = f"Made in [{first[1]}](../{first[0]}.ipynb).\n" if first else ""
        entries = [entry(module, n) for n in public(module)]
        (folder / f"{short}.md").write_text(f"({name})=\n# {short}\n\n{about}\n" + "\n".join(entries), encoding="utf-8")
        listed.append((short, first[2] if first else ""))
    rows = "\n".join(f"| [`{n}`]({n}.md) | {cell(subtitle)} |" for n, subtitle in listed)
    text = (
        "# Reference\n\nEvery public name of the library: what it is for, and for each parameter its meaning, "
        "shape, unit and range.\n\n"
        f"| module | its notebook asks |\n|---|---|\n{rows}\n\n```{{toctree}}\n:hidden:\n\n"
        + "\n".join(n for n, _ in listed)
        + "\n```\n"
    )
    (folder / "index.md").write_text(text, encoding="utf-8")


# -- a live example


def example(path):
    "The inspector's page on one test scene, after a short training: the same page that `trmml inspect` writes."
    import torch

    from trmml_nb.data.dataset import scenes_dataset
    from trmml_nb.data.labels import bernoulli_mask
    from trmml_nb.method.trmml import TRMML
    from trmml_nb.people.html_page import inspection_page
    from trmml_nb.people.inspector import inspect_method
    from trmml_nb.towers.encode import encode_dataset
    from trmml_nb.towers.tower import load_tower
    from trmml_nb.training.trainer import TrainConfig, Trainer

    train, test, tower = scenes_dataset("train", n=300), scenes_dataset("test", n=8), load_tower()
    with tempfile.TemporaryDirectory() as cache:
        seen, unseen = (encode_dataset(tower, part, cache=cache, progress=False).to_memory() for part in (train, test))
    known = train.with_mask(bernoulli_mask(train.truth.shape, known=0.5))
    torch.manual_seed(0)
    trainer = Trainer(
        TRMML.from_tower(tower, train.class_names), seen, known.targets, TrainConfig(epochs=6, device="cpu")
    )
    trainer.fit(progress=False)
    inspection = inspect_method(trainer.final.eval(), unseen, test, tower.encode_classes(test.class_names), "TRM-ML")
    inspection_page(inspection.view(2), path)


# -- all together


def sources(source, only=()):
    "Everything that Sphinx reads, written below `source`."
    everything = sorted(p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
    shelves = {
        folder: (title, [p for p in everything if p.parent == ROOT / "nbs" / folder])
        for folder, title in SHELVES.items()
        if not only or folder in only
    }
    left = {p.parent.relative_to(ROOT / "nbs").as_posix() for p in everything} - {*SHELVES, "."}
    if left:
        raise SystemExit(f"notebooks in folders that the navigation does not know: {sorted(left)}; add them to SHELVES")
    symbols, homes = {}, {}
    if not only:
        for name in modules():
            for symbol in public(importlib.import_module(name)):
                symbols.setdefault(symbol, []).append(name)
    for path in (p for _, paths in shelves.values() for p in paths):
        nb = for_readers(path, symbols)
        target = source / path.relative_to(ROOT / "nbs")
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nb, target)
        title, subtitle = (line.lstrip("#> ") for line in nb.cells[0].source.splitlines()[:2])
        found = re.search(r"source of \[`(\S+)`\]", nb.cells[1].source)
        if found:
            homes[found[1]] = (path.relative_to(ROOT / "nbs").with_suffix("").as_posix(), title, subtitle)
    nbformat.write(front(for_readers(ROOT / "nbs/index.ipynb", symbols), shelves), source / "index.ipynb")
    shutil.copytree(ROOT / "nbs/images", source / "images")
    for name in (*PAGES, *FILES):
        (source / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    if not only:
        reference(source, homes)


def make_site(destination, only=()):
    "Build, and return the number of warnings; a broken reference is one."
    destination = Path(destination)
    if destination.exists() and any(destination.iterdir()) and not (destination / MARK).exists():
        raise SystemExit(f"{destination} holds other things than a site; name a folder that is new or empty")
    with tempfile.TemporaryDirectory() as work:
        source, made = Path(work, "source"), Path(work, "site")
        source.mkdir()
        sources(source, only)
        app = Sphinx(
            str(source),
            str(ROOT / "docs"),
            str(made),
            str(Path(work, "trees")),
            "html",
            parallel=os.cpu_count() or 1,
            status=None,
        )
        app.build()
        warnings = app._warncount
        if not only:
            example(made / EXAMPLE)
        (made / MARK).touch()
        shutil.rmtree(destination, ignore_errors=True)
        shutil.copytree(
            made, destination, ignore=shutil.ignore_patterns(".doctrees", ".buildinfo*", "_sources", "objects.inv")
        )
    return warnings


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("destination", nargs="?", default=ROOT / "_docs", type=Path)
    parser.add_argument("--only", nargs="*", default=(), help="folders of nbs/, without the reference")
    given = parser.parse_args()
    warnings = make_site(given.destination, given.only)
    pages = len(list(given.destination.rglob("*.html")))
    print(f"{given.destination / 'index.html'}: {pages} pages, {warnings} warnings")
    raise SystemExit(warnings > 0)


if __name__ == "__main__":
    main()
