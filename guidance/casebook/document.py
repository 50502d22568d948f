"""A report as it is read: headings, words, tables and pictures, for HTML and PDF alike.

What stands in a report is a record of its own (``case_report.CaseReport``, a comparison, a batch); it is laid out here
once, and ``as_html`` and ``document_pdf.as_pdf`` draw the same blocks. No block holds markup: words are words.
"""

from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from numpy.typing import NDArray

JPEG_QUALITY = 88
"""Lines of one pixel and small letters stay readable; a picture of 1024 x 1024 takes some 200 kB."""

DISCLAIMER = "Research software, not a medical device."


@dataclass(frozen=True, slots=True)
class Heading:
    """Begins a section."""

    kind: ClassVar[str] = "heading"
    words: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A piece of text. ``warns``: it says what may mislead the reader."""

    kind: ClassVar[str] = "paragraph"
    words: str
    warns: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with their values."""

    kind: ClassVar[str] = "facts"
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """``right``: the columns of numbers. ``marked``: rows that stand out, which a word in them says too."""

    kind: ClassVar[str] = "table"
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG with what it shows."""

    kind: ClassVar[str] = "picture"
    jpeg: bytes
    width_px: int
    height_px: int
    caption: str

    @property
    def uri(self) -> str:
        """The picture itself as an address, so that a page needs no second file."""
        return f"data:image/jpeg;base64,{b64encode(self.jpeg).decode()}"


Block = Heading | Paragraph | Facts | Table | Picture


@dataclass(frozen=True, slots=True)
class Document:
    """``software``: what made it, told at its foot beside the disclaimer."""

    title: str
    subtitle: str
    software: str
    blocks: tuple[Block, ...]
    disclaimer: str = DISCLAIMER


def picture_of(page_bgr: NDArray[np.uint8], caption: str) -> Picture:
    """A painted picture, (height, width, 3) BGR, as a block."""
    _, jpeg = cv2.imencode(".jpg", page_bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return Picture(jpeg.tobytes(), page_bgr.shape[1], page_bgr.shape[0], caption)


def as_html(document: Document) -> str:
    """One page without any other file: style and pictures are inside."""
    return _template().render(document=document)


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("guidance.casebook"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("document.html")
