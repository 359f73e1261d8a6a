"""The diagram of the method, whole and with one part lit for each chapter: python scripts/draw_method.py [--check].

Writes nbs/images/method.svg and nbs/images/method_PART.svg. Text only: no picture, no font and no program is needed
to draw them. A box is lit where the chapter is about it; the others are grey, so that a reader sees what stands and
what is still missing. The colours are those of `trmml_nb.people.figures`."""

import sys
from html import escape
from pathlib import Path

from trmml_nb.people.figures import PALETTE

FOLDER = Path(__file__).resolve().parent.parent / "nbs/images"
WIDTH, HEIGHT, FONT = 700, 292, 12
BOXES = {  # name: (left, top, width, height, lines)
    "image": (8, 30, 84, 44, ["image"]),
    "names": (8, 170, 84, 44, ["names of", "categories"]),
    "tower": (115, 30, 98, 44, ["image tower", "frozen: F"]),
    "texts": (115, 170, 98, 44, ["text tower", "frozen: T"]),
    "attention": (238, 30, 108, 62, ["attention", "a query Q each:", "where to look, A"]),
    "regions": (374, 30, 96, 62, ["regions", "what is there:", "zʳ and zᵠ"]),
    "matching": (493, 30, 98, 62, ["matching", "one text, one", "region: s"]),
    "losses": (612, 30, 80, 62, ["losses", "on known", "labels"]),
    "prototypes": (374, 160, 96, 62, ["prototypes", "V: how it has", "looked so far"]),
    "pseudo": (493, 160, 98, 62, ["pseudo-labels", "for what is", "unknown"]),
    "contrast": (612, 160, 80, 62, ["contrast", "own V and T", "near"]),
}
ARROWS = [  # points of a line; the last has the head
    [(92, 52), (115, 52)],
    [(92, 192), (115, 192)],
    [(213, 52), (238, 52)],
    [(346, 61), (374, 61)],
    [(470, 61), (493, 61)],
    [(591, 61), (612, 61)],
    [(164, 170), (164, 120), (292, 120), (292, 92)],  # queries begin as texts
    [(213, 203), (350, 203), (350, 250), (652, 250), (652, 222)],  # texts to the contrast
    [(164, 120), (542, 120), (542, 92)],  # texts to the matching
    [(422, 92), (422, 160)],
    [(470, 191), (493, 191)],
    [(591, 176), (601, 176), (601, 110), (652, 110), (652, 92)],
    [(470, 210), (481, 210), (481, 236), (634, 236), (634, 222)],  # prototypes to the contrast
]
PARTS = {  # chapter's picture: what is lit
    "tower": ["image", "names", "tower", "texts"],
    "attention": ["attention"],
    "regions": ["regions"],
    "matching": ["matching"],
    "losses": ["losses"],
    "prototypes": ["prototypes", "pseudo"],
    "contrast": ["contrast"],
    "pvlr": ["texts", "attention", "matching"],
}
INK, PALE, LINE, LIT = "#222222", "#f2f2f2", "#9a9a9a", PALETTE[0]
BOLD = ' font-weight="bold"'
FROZEN = ("tower", "texts", "image", "names")


def box(name, lit):
    left, top, width, height, lines = BOXES[name]
    fill = LIT if lit else PALE
    ink = "#ffffff" if lit else INK
    dash = ' stroke-dasharray="4 3"' if name in FROZEN else ""
    middle, step = left + width / 2, FONT + 3
    first = top + height / 2 - step * (len(lines) - 1) / 2 + FONT * 0.35
    words = "".join(
        f'<text x="{middle:g}" y="{first + k * step:g}" fill="{ink}"{BOLD * (k == 0)}>{escape(line)}</text>'
        for k, line in enumerate(lines)
    )
    rect = f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="6" fill="{fill}" stroke="{LINE}"{dash}/>'
    return rect + words


def draw(lit=None):
    "The diagram as SVG; `lit` names the boxes that stand out, all of them when left out."
    lines = "".join(
        f'<polyline points="{" ".join(f"{x},{y}" for x, y in points)}" fill="none" stroke="{LINE}" stroke-width="1.5" '
        f'marker-end="url(#head)"/>'
        for points in ARROWS
    )
    boxes = "\n".join(box(name, lit is not None and name in lit) for name in BOXES)
    head = (
        '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{LINE}"/></marker>'
    )
    note = "dashed: given, or frozen; solid: learned, or kept in memory"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="{FONT}" text-anchor="middle" role="img">\n'
        f"<title>The flow of TRM-ML{', lit: ' + ', '.join(lit) if lit else ''}</title>\n<defs>{head}</defs>\n"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n{lines}\n{boxes}\n'
        f'<text x="{WIDTH / 2:g}" y="{HEIGHT - 10}" fill="{INK}" font-size="{FONT - 1}">{note}</text>\n</svg>\n'
    )


def pictures():
    "{file name: text}."
    return {"method.svg": draw()} | {f"method_{part}.svg": draw(lit) for part, lit in PARTS.items()}


def main(check=False):
    for name, text in pictures().items():
        path = FOLDER / name
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            raise SystemExit(f"{path.name} is not what the script draws: python scripts/draw_method.py")
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main("--check" in sys.argv[1:])
