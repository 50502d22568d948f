"""Phantom and real C-arm pictures side by side, and the same measures taken on both.

    python -m guidance.phantom.likeness FOLDER --out FILE.png

prints a table and draws real pictures (upper row) over phantom ones (lower row). FOLDER holds pictures and a
``labels.json``: under ``images``, by file name, ``view``, ``fov`` (``cx``, ``cy``, ``r``) and ``instruments``, each
with ``tip_px``, ``back_px``, ``width_px`` and ``scored``. Pictures of fewer than 64 grey levels are left out.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.phantom.monitor import Gray
from guidance.phantom.procedure import Procedure
from guidance.phantom.scenario import load_scenario

Point = tuple[float, float]
Mask = NDArray[np.bool_]

SHOWN = (("leak_foramen", 7.0, 1), ("quiet_ap_cement_in_target", 4.0, 2), ("leak_canal_lateral", 4.0, 1))
"""Phantom pictures: scenario, second, seed."""

NOISE_GREYS = (110, 150, 190)

_TILE_PX = 480
_MIDDLE_GREY = (85, 170)
_PIN_FROM_PX = 6.0
"""Steel thinner than this is not at its full depth on its axis after all the blurs."""


@dataclass(frozen=True, slots=True)
class Shaft:
    """A straight piece of steel in a picture, from its tip backwards."""

    tip_px: Point
    back_px: Point
    width_px: float


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with its round field and the shafts in it."""

    name: str
    pixels: Gray
    centre: Point
    radius_px: float
    shafts: tuple[Shaft, ...]

    @property
    def inside(self) -> Mask:
        """The field without its rim."""
        y, x = np.indices(self.pixels.shape)
        return np.asarray((x - self.centre[0]) ** 2 + (y - self.centre[1]) ** 2 < (self.radius_px - 15) ** 2)


def measures(picture: Picture) -> dict[str, float]:
    """What can be measured on a picture, by the name of the measure; what cannot is left out.

    grey range: 5th to 95th percentile in the field. noise at N: standard deviation of what is finer than four
    pixels, where it lies on grey N. grain: its correlation from pixel to pixel. field edge: 90 to 10 %, px. texture:
    spread of what is between two and eight pixels wide, trabecular strands and cortical lines, less the noise. line
    depth: how dark the darkest hundredth of these lines is against its surroundings. steel, steel step, steel edge:
    grey on the axis of a shaft, how much darker that is than beside it where that is a middle grey, and 10 to 90 %
    of its flank in px.
    """
    found = {"grey range": float(np.ptp(np.percentile(picture.pixels[picture.inside], (5, 95))))}
    for grey in NOISE_GREYS:
        noise = noise_at(picture.pixels, picture.inside, grey)
        if noise is not None:
            found[f"noise at {grey}"] = noise
    found["grain"] = grain_correlation(picture.pixels, picture.inside)
    found["field edge"] = edge_width_px(picture)
    found["texture"], found["line depth"] = _lines(picture)
    shafts = [_Profile.of(picture.pixels, shaft) for shaft in picture.shafts if shaft.width_px >= _PIN_FROM_PX]
    if shafts:
        found["steel"] = float(np.mean([s.axis for s in shafts]))
        found["steel edge"] = float(np.median([s.edge_px for s in shafts]))
    steps = [s.beside - s.axis for s in shafts if _MIDDLE_GREY[0] < s.beside < _MIDDLE_GREY[1]]
    if steps:
        found["steel step"] = float(np.mean(steps))
    return found


def noise_at(pixels: Gray, inside: Mask, grey: float) -> float | None:
    """Standard deviation of the fine grain where the level is near ``grey``; None where too little is."""
    grain, level = _fine_grain(pixels)
    here = grain[inside & (np.abs(level - grey) < 10)]
    return None if here.size < 0.01 * pixels.size else float(1.4826 * np.median(np.abs(here - np.median(here))))


def grain_correlation(pixels: Gray, inside: Mask) -> float:
    """Correlation of the fine grain between pixels side by side."""
    grain, level = _fine_grain(pixels)
    grain = np.clip(grain, -15, 15)  # edges of bones are not grain
    use = inside & (level > 40) & (level < 200)
    return float((grain * np.roll(grain, -1, 1))[use].mean() / (grain**2)[use].mean())


def edge_width_px(picture: Picture) -> float:
    """The field's edge from 90 to 10 %: the median over all directions in which the field is bright up to it."""
    turn = np.linspace(0, 2 * np.pi, 360, endpoint=False)[:, None]
    out = np.arange(picture.radius_px - 20, picture.radius_px + 20, 0.5)[None]
    rays = _sampled(
        picture.pixels, picture.centre[0] + out * np.cos(turn), picture.centre[1] + out * np.sin(turn), cv2.INTER_LINEAR
    )
    widths = []
    for ray in rays:
        bright, dark = np.median(ray[:10]), np.median(ray[-10:])
        if bright - dark > 40:
            share = (ray - dark) / (bright - dark)
            last = np.flatnonzero(share > 0.9)[-1]
            below = np.flatnonzero(share[last:] < 0.1)
            if below.size:
                widths.append(0.5 * below[0])
    return float(np.median(widths))


@dataclass(frozen=True, slots=True)
class _Profile:
    """Grey across a shaft, averaged from three to eight widths behind its tip."""

    axis: float
    beside: float
    edge_px: float

    @classmethod
    def of(cls, pixels: Gray, shaft: Shaft) -> "_Profile":
        tip, back = np.array(shaft.tip_px), np.array(shaft.back_px)
        length = float(np.linalg.norm(back - tip))
        along = (back - tip) / length
        s = np.arange(min(3 * shaft.width_px, 0.4 * length), min(8 * shaft.width_px, 0.9 * length))[:, None]
        aside = np.arange(-1.5 * shaft.width_px, 1.5 * shaft.width_px + 0.1, 0.1)
        x, y = tip[0] + s * along[0] - aside * along[1], tip[1] + s * along[1] + aside * along[0]
        across = _sampled(pixels, x, y, cv2.INTER_CUBIC).mean(axis=0)
        u = np.abs(aside) / shaft.width_px
        axis, beside = float(across[u < 0.1].mean()), float(across[(u > 1.1) & (u < 1.3)].mean())
        widths = []
        for half in (across[aside >= 0], across[aside <= 0][::-1]):
            # From the axis outwards: where the flank rises through 10 and through 90 %.
            share = (half - axis) / (half[: round(12 * shaft.width_px)].max() - axis)
            widths.append(0.1 * float(np.argmax(share > 0.9) - np.argmax(share > 0.1)))
        return cls(axis, beside, float(np.mean(widths)))


def _fine_grain(pixels: Gray) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What is finer than four pixels, and the level around it."""
    level = cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), 4)
    return pixels - level, level


def _lines(picture: Picture) -> tuple[float, float]:
    """Spread of structures of line width outside of steel, and depth of the darkest hundredth of them."""
    scale = picture.radius_px / 250
    pixels = picture.pixels.astype(np.float32)
    band = cv2.GaussianBlur(pixels, (0, 0), 1.5 * scale) - cv2.GaussianBlur(pixels, (0, 0), 6 * scale)
    steel = np.zeros(pixels.shape, np.uint8)
    for shaft in picture.shafts:
        tip, back = (np.round(np.array(end)).astype(int).tolist() for end in (shaft.tip_px, shaft.back_px))
        cv2.line(steel, tip, back, 255, round(3 * shaft.width_px + 30 * scale))
    here = band[picture.inside & (steel == 0)]
    return float(here.std()), float(-np.percentile(here, 1))


def _sampled(pixels: Gray, x: NDArray[Any], y: NDArray[Any], how: int) -> NDArray[np.float32]:
    x, y = np.broadcast_arrays(x, y)
    sampled = cv2.remap(
        pixels.astype(np.float32), x.astype(np.float32), y.astype(np.float32), how, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(sampled, dtype=np.float32)


def real_pictures(folder: Path) -> Iterator[Picture]:
    """The pictures of a folder that ``labels.json`` describes."""
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))["images"]
    for name in sorted(labels):
        pixels = cv2.imread(str(folder / name), cv2.IMREAD_GRAYSCALE)
        if pixels is None or len(np.unique(pixels)) < 64:
            continue
        field = labels[name]["fov"]
        pins = [pin for pin in labels[name]["instruments"] if pin["scored"] and "width_px" in pin]
        shafts = tuple(Shaft(tuple(pin["tip_px"]), tuple(pin["back_px"]), pin["width_px"]) for pin in pins)
        yield Picture(name, np.asarray(pixels, dtype=np.uint8), (field["cx"], field["cy"]), field["r"], shafts)


def phantom_picture(scenario: str, after_s: float, seed: int) -> Picture:
    """The first frame of a scenario after so many seconds."""
    procedure = Procedure(load_scenario(scenario), seed)
    moment, pixels = next(frame for frame in procedure.frames() if frame[0].t_s > after_s)
    width_px = {11: 3.05, 13: 2.4}[procedure.scenario.needles[0].gauge] / procedure.mm_per_px
    tips = procedure.truth(moment).tips
    shafts = tuple(Shaft(tip.tip_px, tip.back_px, width_px) for tip in tips if tip.visible)
    side = pixels.shape[0]
    return Picture(f"{scenario}, {after_s:g} s", pixels, ((side - 1) / 2,) * 2, 0.985 * side / 2, shafts)


def table(real: Sequence[Picture], phantom: Sequence[Picture]) -> str:
    """A Markdown table: each measure's range over the real pictures, and its value on each phantom picture."""
    of_real, of_phantom = [measures(p) for p in real], [measures(p) for p in phantom]
    lines = [
        "| measure | real | " + " | ".join(p.name for p in phantom) + " |",
        "| --- | --- |" + " --- |" * len(phantom),
    ]
    for name in dict.fromkeys(key for found in of_phantom for key in found):
        values = [found[name] for found in of_real if name in found]
        spread = f"{min(values):.2f}–{max(values):.2f} ({len(values)})" if values else "–"
        shown = (f"{found[name]:.2f}" if name in found else "–" for found in of_phantom)
        lines.append(f"| {name} | {spread} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def sheet(real: Sequence[Picture], phantom: Sequence[Picture]) -> Gray:
    """Real pictures in the upper row, phantom ones in the lower, as many of each, at one scale of the field."""
    rows = [np.hstack([_tile(picture) for picture in row]) for row in (real, phantom)]
    return np.asarray(np.vstack(rows), dtype=np.uint8)


def _tile(picture: Picture) -> Gray:
    k = 0.49 * _TILE_PX / picture.radius_px
    centred = np.array([[k, 0, _TILE_PX / 2 - k * picture.centre[0]], [0, k, _TILE_PX / 2 - k * picture.centre[1]]])
    how = cv2.INTER_AREA if k < 1 else cv2.INTER_LINEAR
    tile = cv2.warpAffine(picture.pixels, centred, (_TILE_PX, _TILE_PX), flags=how)
    cv2.putText(tile, picture.name[:34], (6, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, 255, 1, cv2.LINE_AA)
    return np.asarray(tile, dtype=np.uint8)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, write the sheet if asked; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m guidance.phantom.likeness", description=(__doc__ or "")[:86])
    parser.add_argument("folder", type=Path, help="real pictures with their labels.json")
    parser.add_argument("--out", type=Path, help="picture file to draw the sheet into")
    options = parser.parse_args(arguments)
    try:
        real = list(real_pictures(options.folder))
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"{options.folder}: {error}; expected pictures with a labels.json\n")
        return 1
    phantom = [phantom_picture(*shown) for shown in SHOWN]
    sys.stdout.write(table(real, phantom) + "\n")
    if options.out is not None:
        chosen = [real[i] for i in np.linspace(0, len(real) - 1, len(phantom)).astype(int)]
        if not cv2.imwrite(str(options.out), sheet(chosen, phantom)):
            sys.stderr.write(f"{options.out}: cannot be written; expected a .png in a writable folder\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
