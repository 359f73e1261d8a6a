"""The diagram of the method, whole and with one part lit for each chapter: python scripts/draw_method.py [--check].

Writes nbs/images/method.svg and nbs/images/method_PART.svg. Text only: no picture, no font and no program is needed
to draw them. A box is lit where the chapter is about it; the others are grey, so that a reader sees what stands and
what is still missing. An arrow that the paper states is solid; one that is our reconstruction is grey and dashed. In
PVLR's picture the boxes that PVLR lacks are struck out. The blue is that of `trmml_nb.people.figures`."""

import sys
from html import escape
from pathlib import Path

from trmml_nb.people.figures import PALETTE

FOLDER = Path(__file__).resolve().parent.parent / "nbs/images"
WIDTH, HEIGHT, FONT = 700, 356, 12
BOXES = {  # name: (left, top, width, height, lines); ^ raises the letter after it
    "image": (8, 39, 72, 44, ["image"]),
    "names": (8, 159, 72, 44, ["names of", "categories"]),
    "tower": (98, 39, 98, 44, ["image tower", "frozen: F"]),
    "texts": (98, 159, 98, 44, ["text tower", "frozen: T"]),
    "attention": (214, 30, 110, 62, ["attention", "a query Q each:", "where to look, A"]),
    "regions": (344, 30, 96, 62, ["regions", "what is there:", "z^r and z^q"]),
    "matching": (480, 30, 106, 62, ["matching", "one text, one", "region: s"]),
    "losses": (606, 150, 86, 62, ["losses", "on labels:", "known, filled"]),
    "prototypes": (344, 150, 96, 62, ["prototypes", "V: seen so far", "T: the text"]),
    "pseudo": (480, 150, 106, 62, ["pseudo-labels", "for what is", "unknown"]),
    "contrast": (480, 258, 106, 62, ["contrast", "z near its own", "V and T"]),
}
ARROWS = {  # name: (the paper's, points of a line); the last has the head
    "image": (True, [(80, 61), (98, 61)]),
    "names": (True, [(80, 181), (98, 181)]),
    "F": (True, [(196, 61), (214, 61)]),
    "A": (True, [(324, 61), (344, 61)]),
    "z": (True, [(440, 61), (480, 61)]),
    "T to attention": (False, [(269, 120), (269, 92)]),  # queries begin as texts
    "T to matching": (True, [(147, 159), (147, 120), (496, 120), (496, 92)]),
    "T to prototypes": (True, [(196, 181), (344, 181)]),
    "z to prototypes": (True, [(380, 92), (380, 150)]),
    "V, T to pseudo-labels": (True, [(440, 192), (480, 192)]),
    "V, T to contrast": (True, [(392, 212), (392, 298), (480, 298)]),
    "z to pseudo-labels": (True, [(422, 92), (422, 136), (460, 136), (460, 169), (480, 169)]),
    "z to contrast": (True, [(460, 169), (460, 279), (480, 279)]),
    "p to pseudo-labels": (False, [(550, 92), (550, 150)]),
    "pseudo-labels to contrast": (False, [(533, 212), (533, 258)]),
    "s to losses": (True, [(586, 61), (630, 61), (630, 150)]),
    "distillation": (True, [(392, 30), (392, 20), (668, 20), (668, 150)]),
    "pseudo-labels to losses": (True, [(586, 181), (606, 181)]),
    "contrast to losses": (True, [(586, 289), (649, 289), (649, 212)]),
}
JOINTS = [(269, 120), (460, 169)]  # where a line leaves another; lines that only cross have none
WORDS = [  # (x, y, anchor, words) beside a line
    (660, 14, "end", "distillation: z^r teaches z^q"),
    (603, 55, "middle", "s"),
    (556, 112, "start", "p"),
    (466, 147, "start", "z"),
]
PVLR_WORDS = [WORDS[1], (660, 14, "end", "global branch: the image's one vector")]
PARTS = {  # chapter's picture: what is lit
    "tower": ["image", "names", "tower", "texts"],
    "attention": ["attention"],
    "regions": ["regions"],
    "matching": ["matching"],
    "losses": ["losses"],
    "prototypes": ["prototypes", "pseudo"],
    "contrast": ["contrast"],
    "pvlr": ["texts", "attention", "regions", "matching"],
}
PVLR = {  # what it does in another way
    "texts": ["text tower", "two prompts"],
    "attention": ["attention", "labels, positions", "read each other"],
    "regions": ["positions", "after reading", "the labels"],
    "matching": ["matching", "a label with", "positions: s"],
    "losses": ["losses", "on known", "labels"],
}
ABSENT = ("prototypes", "pseudo", "contrast")  # from PVLR, with every arrow that is not listed here
KEPT = ("image", "names", "F", "A", "z", "s to losses")
READ = [
    (147, 159),
    (147, 120),
    (269, 120),
    (269, 92),
]  # PVLR's labels take part in the attention, and come to be matched
GLOBAL = [(147, 39), (147, 20), (668, 20), (668, 150)]  # PVLR's second branch, a reconstruction
INK, PALE, LINE, OURS, LIT, BACK = "#222222", "#f2f2f2", "#555555", "#858585", PALETTE[0], "#ffffff"
BOLD = ' font-weight="bold"'
FROZEN = ("tower", "texts", "image", "names")


def raised(words):
    "SVG of one line of words, in which ^ raises the letter after it."
    first, *rest = words.split("^")
    up = '<tspan dy="-4" font-size="9">{}</tspan>'
    back = '<tspan dy="4">{}</tspan>'
    return escape(first) + "".join(
        up.format(part[0]) + (back.format(escape(part[1:])) if part[1:] else "") for part in rest
    )


def box(name, lit, lines, absent=False):
    left, top, width, height, _ = BOXES[name]
    fill, ink = (BACK, OURS) if absent else (LIT, "#ffffff") if lit else (PALE, INK)
    dash = ' stroke-dasharray="4 3"' if name in FROZEN else ""
    middle, step = left + width / 2, FONT + 3
    first = top + height / 2 - step * (len(lines) - 1) / 2 + FONT * 0.35
    struck = ' text-decoration="line-through"' if absent else ""
    words = "".join(
        f'<text x="{middle:g}" y="{first + k * step:g}" fill="{ink}"{BOLD * (k == 0)}{struck}>{raised(line)}</text>'
        for k, line in enumerate(lines)
    )
    rect = f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="6" fill="{fill}" stroke="{OURS}"{dash}/>'
    return rect + words


def arrow(stated, points):
    look = f'stroke="{LINE}" marker-end="url(#stated)"'
    if not stated:
        look = f'stroke="{OURS}" stroke-dasharray="5 3" marker-end="url(#ours)"'
    return f'<polyline points="{" ".join(f"{x},{y}" for x, y in points)}" fill="none" stroke-width="1.5" {look}/>'


def head(name, colour):
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
    )


def draw(lit=None, pvlr=False):
    "The diagram as SVG; `lit` names the boxes that stand out, if any; `pvlr` shows what PVLR shares."
    arrows = [*(ARROWS[name] for name in KEPT), (True, READ), (False, GLOBAL)] if pvlr else ARROWS.values()
    lines = "".join(arrow(*each) for each in arrows)
    lines += "".join(f'<circle cx="{x}" cy="{y}" r="2.5" fill="{LINE}"/>' for x, y in ([] if pvlr else JOINTS))
    lines += "".join(
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{INK}">{raised(words)}</text>'
        for x, y, anchor, words in (PVLR_WORDS if pvlr else WORDS)
    )
    boxes = "\n".join(
        box(name, bool(lit) and name in lit, PVLR.get(name, lines) if pvlr else lines, pvlr and name in ABSENT)
        for name, (*_, lines) in BOXES.items()
    )
    shown = "the flow of TRM-ML"
    note = "dashed boxes: given, or frozen; the others are learned, kept in memory or computed"
    more = "arrows: solid ones are stated by its authors, grey dashes are ours."
    more += " At prediction only the upper row runs, with the texts."
    if pvlr:
        shown, more = (
            "PVLR beside the flow of TRM-ML",
            "blue: where PVLR differs; struck out: what it lacks; grey dashes are ours",
        )
    shown += f", lit: {', '.join(lit)}" if lit else ""
    shown += f", struck out: {', '.join(ABSENT)}" if pvlr else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="{FONT}" text-anchor="middle" role="img">\n'
        f"<title>{shown[0].upper() + shown[1:]}</title>\n<defs>{head('stated', LINE)}{head('ours', OURS)}</defs>\n"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{BACK}"/>\n{lines}\n{boxes}\n'
        f'<text x="8" y="{HEIGHT - 22}" fill="{INK}" font-size="{FONT - 1}" text-anchor="start">{note}</text>\n'
        f'<text x="8" y="{HEIGHT - 7}" fill="{INK}" font-size="{FONT - 1}" text-anchor="start">{more}</text>\n</svg>\n'
    )


def pictures():
    "{file name: text}."
    return {"method.svg": draw()} | {f"method_{part}.svg": draw(lit, part == "pvlr") for part, lit in PARTS.items()}


def main(check=False):
    for name, text in pictures().items():
        path = FOLDER / name
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            raise SystemExit(f"{path.name} is not what the script draws: python scripts/draw_method.py")
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main("--check" in sys.argv[1:])
