"""What a reader of the book relies on: chapters follow each other, a symbol means one thing, and a number in a sentence
comes from a cell. The diagram of the method is what its script draws."""

import ast
import re
import runpy
from pathlib import Path

import nbformat
import pytest

import trmml_nb
from helpers.notebooks import NBS

ROOT = Path(__file__).resolve().parent.parent
BOOK = sorted((NBS / "book").glob("*.ipynb"))
NOTATION = "14_notation"
CHAPTERS = [p for p in BOOK if p.stem != NOTATION]
each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def cells(path):
    return nbformat.read(path, 4).cells


# -- one after another


def test_chapters_are_numbered_without_a_gap():
    assert [p.name[:2] for p in BOOK] == [f"{k:02d}" for k in range(len(BOOK))]


@pytest.mark.parametrize("path", CHAPTERS[1:], ids=lambda path: path.stem)
def test_a_chapter_begins_where_the_last_ended(path):
    "What we have by now, and what is missing."
    opening = " ".join(c.source for c in cells(path)[:5] if c.cell_type == "markdown")
    assert "So far we have" in opening and "till missing" in opening, f"{path.name} does not say what came before"


def test_the_diagram_is_what_its_script_draws():
    pictures = runpy.run_path(str(ROOT / "scripts/draw_method.py"))["pictures"]()
    for name, text in pictures.items():
        kept = (NBS / "images" / name).read_text(encoding="utf-8")
        assert kept == text, f"{name}: python scripts/draw_method.py"


def test_no_box_of_the_diagram_is_a_dead_end():
    "Every arrow but one that leaves another begins and ends at a box, and only the losses have no way out."
    script = runpy.run_path(str(ROOT / "scripts/draw_method.py"))
    boxes, joints = script["BOXES"], set(script["JOINTS"])

    def at(point):
        inside = lambda left, top, width, height: 0 <= point[0] - left <= width and 0 <= point[1] - top <= height
        return next((name for name, (*place, _) in boxes.items() if inside(*place)), None)

    starts, ends = zip(*((points[0], points[-1]) for _, points in script["ARROWS"].values()))
    assert all(at(end) for end in ends) and all(at(start) or start in joints for start in starts)
    assert set(boxes) - {at(start) for start in starts} == {"losses"}
    assert set(boxes) - {at(end) for end in ends} == {"image", "names"}


def test_each_part_of_the_method_is_lit_in_its_chapter():
    wanted = {
        0: "method",
        2: "tower",
        4: "attention",
        5: "regions",
        6: "matching",
        7: "losses",
        8: "prototypes",
        9: "contrast",
    }
    wanted |= {10: "method", 11: "pvlr"}
    for number, part in wanted.items():
        path = next(p for p in BOOK if p.name.startswith(f"{number:02d}_"))
        name = "method.svg" if part == "method" else f"method_{part}.svg"
        assert any(f"](../images/{name})" in c.source for c in cells(path)), f"{path.name} does not show {name}"


def test_every_exercise_has_an_answer():
    "Headings of the answers name chapter and exercise; no answer is left over from an exercise that is gone."
    asked = set()
    for path in BOOK:
        text = "".join(c.source for c in cells(path) if "## Exercises" in c.source).split("## Exercises")[-1]
        asked |= {f"{path.name[:2]}.{number}" for number in re.findall(r"^(\d+)\. ", text, re.M)}
    answers = cells(NBS / "book/solutions/00_answers.ipynb")
    given = [m[1] for c in answers if (m := re.match(r"### (\d\d\.\d+)", c.source))]
    assert sorted(given) == sorted(asked), f"unlike: {sorted(set(given) ^ asked)}"


# -- a symbol means one thing

SYMBOL = re.compile(r"\$([^$]+)\$")
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", re.S)
LETTER = re.compile(
    r"\\(alpha|beta|gamma|delta|epsilon|zeta|eta|theta|kappa|lambda|mu|nu|xi|pi|rho|sigma|tau|phi|chi|psi|omega|ell)\b"
    r"|(?<![A-Za-z\\])([A-Za-z])(?![A-Za-z])"
)
NAMED = re.compile(r"\\(?:mathrm|text|operatorname)\{[^}]*\}|\\bar\b")  # words inside a formula
ALWAYS = {"e", "I"}  # the number, and the matrix that changes nothing
SHAPE = re.compile(r"\[[^\]]*\]|numbers?\b")
SUBSCRIPTS = re.compile(r"_\{?[icnj,]+\}?$")  # which image, category, position or head is meant


def rows(path):
    "(symbols, cells) of each row of the notation tables of a notebook."
    for cell in cells(path):
        if cell.cell_type != "markdown" or not re.search(r"^\| symbol ", cell.source, re.M):
            continue
        table = cell.source[re.search(r"^\| symbol ", cell.source, re.M).start() :].split("\n\n")[0]
        for line in table.splitlines()[2:]:
            columns = [column.strip() for column in line.strip().strip("|").split(" | ")]
            found = [
                s for text in SYMBOL.findall(columns[0]) for s in re.split(r",\s*(?![^{]*\})", text.split(" = ")[0])
            ]
            yield [SUBSCRIPTS.sub("", s.strip()) for s in found], columns


def test_a_symbol_means_one_thing():
    "The notation page has each symbol once, and chapters use no other and give it no second meaning: code names agree."
    page, page_shapes = {}, {}
    for symbols, columns in rows(NBS / f"book/{NOTATION}.ipynb"):
        assert not re.search(r"; in (a|the|chapter)\b", columns[-1]), f"two meanings in one row: {columns}"
        for symbol in symbols:
            assert symbol not in page, f"{symbol} stands twice on the notation page"
            page[symbol] = set(re.findall(r"`([^`]+)`", columns[1]))
            page_shapes[symbol] = set(SHAPE.findall(columns[2]))
    assert len(page) > 20
    wrong = []
    for path in CHAPTERS:
        for symbols, columns in rows(path):
            names = set(re.findall(r"`([^`]+)`", " ".join(columns[:2])))
            for symbol in symbols:
                if symbol not in page:
                    wrong.append(f"{path.name}: {symbol} is not on the notation page")
                elif names and page[symbol] and not names & page[symbol]:
                    wrong.append(
                        f"{path.name}: {symbol} is {sorted(names)} here, and {sorted(page[symbol])} on the page"
                    )
                shapes = set(SHAPE.findall(columns[2])) if len(columns) > 3 else set()
                if symbol in page and shapes and page_shapes[symbol] and not shapes & page_shapes[symbol]:
                    wrong.append(f"{path.name}: {symbol} is {shapes} here, and {page_shapes[symbol]} on the page")
    assert not wrong, "\n".join(wrong)


def letters(text):
    "The letters of the formulas of a text."
    for formula in ("".join(found) for found in FORMULA.findall(text)):
        yield from (greek or latin for greek, latin in LETTER.findall(NAMED.sub(" ", formula)))


def test_a_formula_has_no_letter_that_the_notation_page_lacks():
    "So a letter cannot stand for a second thing unseen: it is on the page with its one meaning, or nowhere."
    known = ALWAYS | set(letters("\n".join(c.source for c in cells(NBS / f"book/{NOTATION}.ipynb"))))
    assert len(known) > 30 and "t" not in known
    said = [*CHAPTERS, NBS / "book/solutions/00_answers.ipynb"]
    wrong = [
        f"{path.name}, cell {cell.get('id')}: {letter}"
        for path in said
        for cell in cells(path)
        if cell.cell_type == "markdown"
        for letter in sorted(set(letters(cell.source)) - known)
    ]
    assert not wrong, "\n".join(wrong)


def test_a_second_meaning_would_be_found():
    assert list(letters(r"$\mathrm{softmax}(T_c x / t)$, $$\bar F + \epsilon E$$")) == [*"Tcxt", "F", "epsilon", "E"]


def test_the_pooling_of_positions_that_is_named_is_the_one_that_is_used():
    "Chapters that report `zero-shot, positions` name its temperature, which is the registry's."
    from trmml_nb.rivals.registry import METHODS

    used = METHODS["zero_shot_pixel"].settings["temperature"]
    for name in ("12_end_to_end", "13_what_it_is_worth"):
        text = " ".join(c.source for c in cells(NBS / f"book/{name}.ipynb") if c.cell_type == "markdown")
        assert f"`{used:g}`" in text, f"{name} does not name the temperature {used:g} of pooled positions"


# -- a number comes from a cell

NUMBER = re.compile(r"(?<![\w.])(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(\s?%|\s+points?\b)?")
WORDS = (
    "one two three four five six seven eight nine ten eleven twelve fourteen fifteen twenty thirty forty fifty".split()
)
WORDS = dict(zip(WORDS, (*range(1, 13), 14, 15, 20, 30, 40, 50)))
WORD = re.compile(rf"\b({'|'.join(WORDS)})(\s(?:%|points?\b))", re.I)
SMALL = 20  # a lesson counts to twenty in words and figures; from there on a number is a finding or a setting
NOT_MEASURED = re.compile(  # code and formulas are checked where they stand; links and sources are names
    r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$\n]+\$|\]\([^)]*\)|https?://\S+|arXiv:? ?[\d.]+"
    r"|\([^()]*\b(?:19|20)\d\d[^()]*\)|\b[A-Z]{2,}[A-Za-z.]* ?(?:19|20)?\d\d\b|\bRN\d+\b|^\|.*\|$|`.*?`",
    re.S,
)
LITERAL = re.compile(r"(?<![A-Za-z_\d.])(?:\d[\d_,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?")


def values(text):
    "Every number of a cell's code or output."
    for found in LITERAL.findall(text):
        try:
            yield float(found.replace("_", "").replace(",", ""))
        except ValueError:
            continue


def pool(some):
    "Numbers in the code and the stored outputs of cells."
    found = set()
    for cell in some:
        if cell.cell_type == "code":
            found |= set(values(cell.source))
            for output in cell.outputs:
                data = output.get("data", {})
                texts = [output.get("text", ""), data.get("text/plain", ""), data.get("text/markdown", "")]
                texts.append(re.sub(r"<style.*?</style>", "", data.get("text/html", ""), flags=re.S))
                found |= {v for text in texts for v in values(text)}
    return found


def untied(some):
    """Numbers in prose, with decimals, a unit or two digits and more, and number words before a unit, that no cell of
    the section holds, as it is or as a share, rounded as in the sentence. The first section and the summary may speak
    of the whole notebook."""
    sections, some = [[]], list(some)
    for cell in some:
        if cell.cell_type == "markdown" and re.match(r"##? ", cell.source):
            sections.append([])
        sections[-1].append(cell)
    whole, found = pool(some), []
    for section in filter(None, sections):
        own = pool(section)
        for cell in (c for c in section if c.cell_type == "markdown"):
            scope = whole if section is sections[1] or "## Summary" in cell.source or not own else own
            text = NOT_MEASURED.sub(" ", cell.source.split("## Exercises")[0])
            text = WORD.sub(lambda m: f"{WORDS[m[1].lower()]}{m[2]}", text)
            for match in NUMBER.finditer(text):
                bare = not (match[2] or match[3])  # a count or a setting: anywhere in the notebook will do
                if bare and float(match[1].replace(",", "")) < SMALL:
                    continue
                value, half = (
                    float(match[1].replace(",", "") + (match[2] or "")),
                    0.5 * 10.0 ** -len((match[2] or ".")[1:]),
                )
                if not any(abs(v * k - value) <= half + 1e-9 for v in (whole if bare else scope) for k in (1, 100)):
                    found.append(
                        f"cell {cell.get('id')}: {match[0]!r} in {text[max(0, match.start() - 40) : match.end() + 9]!r}"
                    )
    return found


@pytest.mark.parametrize("path", BOOK, ids=lambda path: path.stem)
def test_numbers_in_prose_come_from_cells(path):
    found = untied(cells(path))
    assert not found, (
        f"{path.name}: no cell of the section holds these; print them, assert them, or write a formula:\n"
        + "\n".join(found)
    )


def test_a_number_from_nowhere_would_be_found():
    md, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    shown = code("x", outputs=[nbformat.v4.new_output("stream", text="mAP 86.94, recall 0.737")])
    assert not untied([md("# T\n> s"), md("## A"), shown, md("It reached 86.9 mAP, and found 73.7 % of them.")])
    assert len(untied([md("# T\n> s"), md("## A"), shown, md("It reached 86.2 mAP, and 16 % were found.")])) == 2
    assert untied([md("# T\n> s"), md("## A"), shown, md("## B"), code("1 + 1"), md("So 86.9 is what it gave.")])


# -- what a reader types


def not_through_the_door(source, door):
    "Names that a cell imports from their rooms, though the front door offers them."
    tree = ast.parse("\n".join(line for line in source.split("\n") if line[:1] not in "%!"))
    for node in (n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)):
        yield from (a.name for a in node.names if node.module == f"trmml_nb.{door.get(a.name)}")


# chapter 10 builds the whole from parts, and says of each which room it comes from
@pytest.mark.parametrize("path", [p for p in BOOK if p.stem != "10_trmml"], ids=lambda path: path.stem)
def test_the_book_comes_in_by_the_front_door(path):
    "What `import trmml_nb` offers is imported from there; modules themselves import from rooms."
    found = {
        cell.id: names
        for cell in cells(path)
        if cell.cell_type == "code" and not re.search(r"^#\|\s*export", cell.source, re.M)
        if (names := list(not_through_the_door(cell.source, trmml_nb._DOOR)))
    }
    assert not found, f"{path.name}: import these from trmml_nb: {found}"
    assert list(not_through_the_door("from trmml_nb.method.pvlr import PVLR, x", trmml_nb._DOOR)) == ["PVLR"]
