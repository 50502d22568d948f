"""A document as a PDF, by ReportLab with the typeface that it brings along: decision 9 says why."""

from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import reportlab
from reportlab.lib import colors
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Image, KeepTogether, SimpleDocTemplate, Spacer, TableStyle
from reportlab.platypus import Paragraph as Words
from reportlab.platypus import Table as Grid

from guidance.casebook.document import Block, Document, Facts, Heading, Paragraph, Picture, Table
from guidance.casebook.replay import OutputError

REGULAR, BOLD = "Vera", "VeraBd"
MARGIN = 18 * mm
PADDING = 6
"""Points that ReportLab leaves free inside of the margins."""

WIDTH = A4[0] - 2 * MARGIN - 2 * PADDING
LARGEST_PICTURE = 112 * mm
"""Two pictures with captions of two lines fit on a page."""

INK, QUIET, LINE, MARKED = (colors.HexColor(colour) for colour in ("#16202a", "#4a5866", "#c9d2da", "#fdeceb"))
BODY = ParagraphStyle("body", fontName=REGULAR, fontSize=8.5, leading=12, textColor=INK, spaceAfter=3)
CELL = ParagraphStyle("cell", BODY, fontSize=7.5, leading=10, spaceAfter=0)
RIGHT = ParagraphStyle("right", CELL, alignment=TA_RIGHT)
HEAD = ParagraphStyle("head", CELL, fontName=BOLD, textColor=QUIET)
HEAD_RIGHT = ParagraphStyle("head_right", HEAD, alignment=TA_RIGHT)
WARNING = ParagraphStyle("warning", BODY, backColor=MARKED, borderPadding=3, leftIndent=3, spaceBefore=4, spaceAfter=8)
TITLE = ParagraphStyle("title", BODY, fontName=BOLD, fontSize=15, leading=19)
SUBTITLE = ParagraphStyle("subtitle", BODY, textColor=QUIET, spaceAfter=8)
SECTION = ParagraphStyle("section", BODY, fontName=BOLD, fontSize=11, leading=14, spaceBefore=12, keepWithNext=True)


class UnprintableError(OutputError):
    """A letter that the PDF's typeface lacks; one line that names it."""


def as_pdf(document: Document) -> bytes:
    """The document on A4 pages. The same document gives the same bytes. Raises UnprintableError."""
    _register()
    file = BytesIO()
    template = SimpleDocTemplate(
        file,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN + 4 * mm,
        title=_printable(document.title),
        author=document.software,
        lang="en",
        invariant=True,
    )
    story: list[Flowable] = [_words(document.title, TITLE), _words(document.subtitle, SUBTITLE)]
    for block in document.blocks:
        story += _flowables(block)
    footed = partial(_foot, document)
    template.build(story, onFirstPage=footed, onLaterPages=footed)
    return file.getvalue()


def _flowables(block: Block) -> list[Flowable]:
    match block:
        case Heading():
            return [_words(block.words, SECTION)]
        case Paragraph():
            return [_words(block.words, WARNING if block.warns else BODY)]
        case Facts():
            rows = [[_words(name, CELL), _words(value, CELL)] for name, value in block.rows]
            return [_grid(rows, [0.25 * WIDTH, 0.75 * WIDTH], TableStyle([]))] if rows else []
        case Table():
            return [_table(block), Spacer(0, 4)]
        case Picture():
            scale = min(WIDTH / block.width_px, LARGEST_PICTURE / block.height_px)
            image = Image(BytesIO(block.jpeg), block.width_px * scale, block.height_px * scale, hAlign="LEFT")
            return [KeepTogether([Spacer(0, 6), image, Spacer(0, 3), _words(block.caption, BODY)])]


def _table(table: Table) -> Flowable:
    head = [_words(words, HEAD_RIGHT if i in table.right else HEAD) for i, words in enumerate(table.head)]
    rows = [[_words(words, RIGHT if i in table.right else CELL) for i, words in enumerate(row)] for row in table.rows]
    style = TableStyle([("LINEBELOW", (0, 0), (-1, -1), 0.4, LINE)])
    for row in table.marked:
        style.add("BACKGROUND", (0, row + 1), (-1, row + 1), MARKED)
    return _grid([head, *rows], _widths(table), style, repeated=1)


def _grid(rows: list[list[Flowable]], widths: list[float], style: TableStyle, repeated: int = 0) -> Flowable:
    style.add("VALIGN", (0, 0), (-1, -1), "TOP")
    for side, padding in (("LEFT", 0), ("RIGHT", 6), ("TOP", 1.5), ("BOTTOM", 2.5)):
        style.add(f"{side}PADDING", (0, 0), (-1, -1), padding)
    return Grid(rows, colWidths=widths, style=style, repeatRows=repeated, hAlign="LEFT")


def _widths(table: Table) -> list[float]:
    """Each column's width: what it needs where all fit, else those of few letters that, and the others what is left."""
    columns = [[head, *(row[i] for row in table.rows)] for i, head in enumerate(table.head)]
    wanted = [max(pdfmetrics.stringWidth(words, BOLD, CELL.fontSize) for words in column) + 9 for column in columns]
    if sum(wanted) <= WIDTH:
        return wanted
    fair = WIDTH / len(wanted)
    spare = WIDTH - sum(min(width, fair) for width in wanted)
    missing = sum(max(0.0, width - fair) for width in wanted)
    return [min(width, fair) + spare * max(0.0, width - fair) / missing for width in wanted]


def _foot(document: Document, canvas: Canvas, _: Any) -> None:
    canvas.saveState()
    canvas.setFont(REGULAR, 7)
    canvas.setFillColor(QUIET)
    canvas.drawString(MARGIN + PADDING, MARGIN - 2 * mm, _printable(f"{document.disclaimer} {document.software}"))
    canvas.drawRightString(A4[0] - MARGIN - PADDING, MARGIN - 2 * mm, f"{canvas.getPageNumber()}")
    canvas.restoreState()


def _words(words: str, style: ParagraphStyle) -> Flowable:
    return Words(escape(_printable(words)), style)


def _printable(words: str) -> str:
    """The words as the typeface has them. Raises UnprintableError where it lacks a letter."""
    words = words.replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")
    known = _register().face.charToGlyph
    for letter in words:
        if ord(letter) not in known and letter not in "\n\t":
            raise UnprintableError(
                f"{letter!r} (U+{ord(letter):04X}) in {words[:60]!r}: the PDF's typeface lacks it; "
                "expected letters of Western Europe, or a report as .html"
            )
    return words


@cache
def _register() -> Any:
    """The regular typeface, both made known to ReportLab."""
    fonts = Path(reportlab.__file__).parent / "fonts"
    for name in (REGULAR, BOLD):
        pdfmetrics.registerFont(TTFont(name, str(fonts / f"{name}.ttf")))
    return pdfmetrics.getFont(REGULAR)
