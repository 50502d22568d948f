"""The x-ray field from frame to frame."""

import numpy as np
from numpy.typing import NDArray

from drivers.frame import Pixels
from guidance.records import FieldKind, FieldOutline
from guidance.vision.field import (
    CONTRAST,
    SAME_OVERLAP,
    SUSPECT_SHARE,
    WHITE_SHUTTER,
    XrayField,
    area,
    described,
    eight_bit,
    evidence_of,
    find_fields,
    is_same,
    overlap,
    places_in,
    polygon_mask,
    share_inside,
    with_polarity,
    without_shutters,
)
from guidance.vision.field_text import find_text
from guidance.vision.outline import Points

SUSPECT_FRAMES = 2
SETTLED_FRAMES = 8
"""So many frames after a change a recursive filter shows no more of what was."""
LOOK_EVERY_FRAMES = 2
"""Until then the field is looked for so often: shutters that close show as soon as the filter lets them."""
SURE_POLARITY = 2.0
"""Evidence summed over looks from which the polarity is no longer questioned while the picture stays."""
WRONG_POLARITY = 0.3
"""Summed evidence against the polarity as told that overturns it."""
POLARITY_LOOK_FRAMES = 8
"""While unsure, the polarity is looked at anew this often: a needle may have come, gas may have moved on."""
RIVAL_SHARE = 0.4
"""Another field on the monitor may be the live one from this share of the larger one's area on."""


class FieldWatch:
    """Keeps the x-ray field from frame to frame; looks for it anew only when the picture says that it has changed.

    A few hundred pixels are read on each frame: just inside and outside the outline, and over the field. The
    outline is suspect when many of those outside no longer show the surround, or many inside now do. A suspicion
    must last SUSPECT_FRAMES frames, and a new outline must be found twice in a row, before it replaces the old: a
    field that flickers would tear zones and masks. A picture that washes out while the C-arm swings hides its edge but
    does not move it: a field grows only where something has appeared beyond it. The polarity changes when the field's
    pattern turns over from one frame to the next, or when the evidence, summed over several looks, has come to
    contradict it.

    ``drawn_px``: (n, 2), what the operator has drawn on the live picture (zones); of several pictures on a
    monitor, the one that holds most of it is taken for the live one until another one moves. What somebody has
    corrected (``pin``) is told in the place of what is found.
    """

    def __init__(self, drawn_px: Points | None = None) -> None:
        self._drawn_px = np.zeros((0, 2)) if drawn_px is None else drawn_px
        self._evidence = 0.0
        self._is_live = False
        self._mistakes = 0
        self._field: XrayField | None = None
        self._told: XrayField | None = None
        self._pinned_px: Points | None = None
        self._pinned_bone_dark: bool | None = None
        self._probe: _Probe | None = None
        self._rivals: tuple[tuple[XrayField, _Probe], ...] = ()
        self._proposal: XrayField | None = None
        self._suspect_frames = 0
        self._frames = 0
        self._look_again_at = 1
        self._settled_at = 0

    @property
    def field(self) -> XrayField | None:
        """The field as last told; None before the first frame."""
        return self._told

    @property
    def is_in_doubt(self) -> bool:
        """Whether the outline as told may no longer fit: a shutter may be closing, which one more look will tell.

        Never of one that is pinned: whoever has pinned it answers for it.
        """
        if self._pinned_px is not None:
            return False
        return self._suspect_frames > 0 or self._proposal is not None

    @property
    def mistakes(self) -> int:
        """How often the field as told from the first frame on was wrong: a stored picture, or the other polarity.

        What has been measured before such a correction belongs to no picture and must be measured anew; a collimator
        that moves, or an operator who inverts the picture, is no mistake.
        """
        return self._mistakes

    def pin(self, polygon_px: Points | None, bone_dark: bool | None) -> None:
        """From the next frame on tell this outline, convex, (n, 2), and this polarity; None: as it is found.

        What is found goes on underneath, so that letting go of a pin shows it at once.
        """
        self._pinned_px, self._pinned_bone_dark = polygon_px, bone_dark

    def would_turn_over(self, bone_dark: bool | None) -> bool:
        """Whether pinning this polarity would change the one that is told now."""
        if self._told is None or self._field is None:
            return False
        return self._told.bone_dark != (self._field.bone_dark if bone_dark is None else bone_dark)

    def update(self, pixels: Pixels, bits: int) -> XrayField:
        """The field of this frame. Call it on every sound frame, repeated ones too: a rival may be the live one."""
        mistakes, told = self._mistakes, self._told
        self._told = self._as_pinned(self._find(pixels, bits), pixels, bits)
        if self._told is told:
            # Whatever was found to be wrong, nobody was told of it.
            self._mistakes = mistakes
        return self._told

    def _as_pinned(self, found: XrayField, pixels: Pixels, bits: int) -> XrayField:
        """The field with the pins in their place: the same object as last time where nothing has changed."""
        if self._pinned_px is None and self._pinned_bone_dark is None:
            return found
        polygon = found.outline.polygon_px if self._pinned_px is None else self._pinned_px
        bone_dark = found.bone_dark if self._pinned_bone_dark is None else self._pinned_bone_dark
        told, size = self._told, found.frame_size_px
        if told is not None and told.outline.polygon_px is polygon and told.frame_size_px == size:
            return told if told.bone_dark == bone_dark else with_polarity(told, bone_dark)
        if self._pinned_px is None:
            return with_polarity(found, bone_dark)
        text = find_text(eight_bit(pixels, bits), polygon_mask(polygon, size))
        return XrayField(FieldOutline(FieldKind.POLYGON, polygon, bone_dark), size, text)

    def _find(self, pixels: Pixels, bits: int) -> XrayField:
        self._frames += 1
        size = (pixels.shape[1], pixels.shape[0])
        if self._field is None or self._probe is None or self._field.frame_size_px != size:
            return self._begin(find_fields(pixels, bits), pixels, bits)
        if self._probe.has_turned_over(pixels, bits):
            # The operator inverts the whole picture at once: between two frames, the same anatomy.
            self._field = with_polarity(self._field, not self._field.bone_dark)
            self._evidence = -self._evidence
            self._probe = _Probe(self._field, pixels, bits)
        live = self._live_rival(pixels, bits)
        if live is not None:
            fields = [self._field, *(field for field, _ in self._rivals)]
            self._mistakes += 1
            self._is_live = True
            self._evidence = _one_look(live.polarity_evidence)
            return self._adopt((live, *(field for field in fields if field is not live)), pixels, bits)
        suspect = self._probe.suspects(pixels, bits)
        self._suspect_frames = self._suspect_frames + 1 if suspect else 0
        settling = self._settled_at - self._frames
        is_due = self._frames == self._look_again_at or (settling >= 0 and settling % LOOK_EVERY_FRAMES == 0)
        unsettled = self._proposal is not None or is_due
        if self._suspect_frames >= SUSPECT_FRAMES or unsettled:
            self._look_again(pixels, bits)
        elif abs(self._evidence) < SURE_POLARITY and self._frames % POLARITY_LOOK_FRAMES == 0:
            self._weigh(evidence_of(eight_bit(pixels, bits), self._field), pixels, bits)
        return self._field

    def _begin(self, fields: tuple[XrayField, ...], pixels: Pixels, bits: int) -> XrayField:
        """Take up the first frame: of fields of like size the one that has been drawn on, else the largest."""
        large = [field for field in fields if area(field) > RIVAL_SHARE * area(fields[0])]
        first = max(large, key=lambda field: _share_within(field, self._drawn_px))
        self._evidence = _one_look(first.polarity_evidence)
        return self._adopt((first, *(field for field in fields if field is not first)), pixels, bits)

    def _weigh(self, evidence: float, pixels: Pixels, bits: int) -> None:
        """Add a look's evidence to the polarity's; correct the polarity where it has come to be against it."""
        assert self._field is not None
        self._evidence = float(np.clip(self._evidence + _one_look(evidence), -3.0, 3.0))
        told = 1.0 if self._field.bone_dark else -1.0
        if told * self._evidence < -WRONG_POLARITY:
            self._field = with_polarity(self._field, not self._field.bone_dark)
            self._probe = _Probe(self._field, pixels, bits)
            self._mistakes += 1

    def _look_again(self, pixels: Pixels, bits: int) -> None:
        assert self._field is not None
        grey = eight_bit(pixels, bits)
        cut = without_shutters(grey, self._field)
        known = (self._field,) if self._proposal is None else (self._field, self._proposal)
        places = places_in(grey, known, open_one=self._field) if cut is self._field else (cut,)
        nearest = max(places, key=lambda place: overlap(place, self._field))
        # The largest picture on a monitor may be the stored one: of several it is the one where it was.
        place = nearest if overlap(nearest, self._field) > 0.0 else places[0]
        is_suspect, self._suspect_frames = self._suspect_frames >= SUSPECT_FRAMES, 0
        if not self._may_become(place, pixels, bits):
            self._proposal = None
            return
        found = described(grey, place, known)
        self._weigh(found.polarity_evidence, pixels, bits)
        found = with_polarity(found, self._field.bone_dark)
        if is_same(found, self._field):
            # What looked like a change was not one (a shadow at the edge): take it as the new normal.
            if is_suspect or self._proposal is not None:
                # Or it was one that the display's filter still hid.
                self._settled_at = self._frames + SETTLED_FRAMES
            self._probe, self._proposal = _Probe(self._field, pixels, bits), None
        elif self._proposal is not None and is_same(found, self._proposal):
            others = (
                () if self._is_live and place is nearest else tuple(other for other in places if other is not place)
            )
            self._adopt((found, *(described(grey, other, known) for other in others)), pixels, bits)
        else:
            self._proposal = found

    def _may_become(self, found: XrayField, pixels: Pixels, bits: int) -> bool:
        """False for a shape that nothing has appeared for, and for no shape at all: the edge has only faded."""
        assert self._field is not None
        assert self._probe is not None
        is_less = found.is_fitted and share_inside(found, self._field) > SAME_OVERLAP
        return is_less or not self._field.is_fitted or self._probe.shows_beyond(pixels, bits)

    def _adopt(self, fields: tuple[XrayField, ...], pixels: Pixels, bits: int) -> XrayField:
        self._field = fields[0]
        self._probe = _Probe(fields[0], pixels, bits)
        own_area = area(fields[0])
        rivals = [field for field in fields[1:] if area(field) > RIVAL_SHARE * own_area]
        self._rivals = tuple((field, _Probe(field, pixels, bits)) for field in rivals)
        self._proposal, self._suspect_frames = None, 0
        if fields[0].outline.kind in (FieldKind.FULL, FieldKind.POLYGON):
            # A first picture in the dark may hide the field's shape: ask again, ever more rarely.
            self._look_again_at = 2 * self._frames + 1
        return fields[0]

    def _live_rival(self, pixels: Pixels, bits: int) -> XrayField | None:
        """The other field on the monitor that has changed since adoption while the present one never did."""
        if not self._rivals:
            return None
        assert self._probe is not None
        if self._probe.has_changed(pixels, bits):
            self._rivals, self._is_live = (), True
            return None
        return next((field for field, probe in self._rivals if probe.has_changed(pixels, bits)), None)


class _Probe:
    """Some hundred pixels of a field and around it, as they were when it was last looked at."""

    def __init__(self, field: XrayField, pixels: Pixels, bits: int) -> None:
        w, h = field.frame_size_px
        outline = field.outline.polygon_px
        corners = np.vstack([outline, outline[:1]])
        length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(corners, axis=0).T))])
        at = np.linspace(0.0, length[-1], 96, endpoint=False)
        edge = np.column_stack([np.interp(at, length, corners[:, 0]), np.interp(at, length, corners[:, 1])])
        centre = edge.mean(axis=0)
        outward = (edge - centre) / np.hypot(*(edge - centre).T)[:, None]
        self._inner = _flat_index(edge - 10 * outward, (w, h))
        # Beyond a penumbra, which brightens and darkens with the anatomy that it lies over.
        self._outer = _flat_index(edge + (10 + 2 * field.edge_width_px) * outward, (w, h))
        x0, y0, x1, y1 = field.box_px
        sides = np.meshgrid(np.linspace(x0, x1 - 1, 26), np.linspace(y0, y1 - 1, 26))
        grid = np.stack(sides, axis=-1).reshape(-1, 2)
        # Away from the edge, where surround and anatomy would mix.
        wider = np.clip(np.round(centre + 1.1 * (grid - centre)).astype(int), 0, np.array([w, h]) - 1)
        grid_index = _flat_index(grid[field.mask[wider[:, 1], wider[:, 0]] > 0], (w, h))
        self._grid = grid_index[field.mask.ravel()[grid_index] > 0]
        was_inner, was_outer = _levels(pixels, bits, self._inner), _levels(pixels, bits, self._outer)
        self._surround = float(np.median(was_outer)) if len(was_outer) else None
        self._was_beyond = np.abs(was_outer - (self._surround or 0.0))
        was_rise = np.abs(was_inner - (self._surround or 0.0))
        self._stood_out = was_rise >= 2 * CONTRAST
        self._covered_below = np.maximum(CONTRAST, 0.25 * was_rise)
        self._was_white = _share(was_inner >= WHITE_SHUTTER)
        self._was_grid = _levels(pixels, bits, self._grid)
        self._last_grid, self._last_spread = _centred(self._was_grid)
        self._bone_dark = field.bone_dark

    def suspects(self, pixels: Pixels, bits: int) -> bool:
        """True where the outline no longer fits this frame."""
        if self.shows_beyond(pixels, bits):
            return True
        inner = _levels(pixels, bits, self._inner)
        if not len(inner):
            return False
        rise = np.abs(inner - (self._surround or 0.0))
        if _share((rise < self._covered_below) & self._stood_out) > SUSPECT_SHARE:
            return True
        return not self._bone_dark and _share(inner >= WHITE_SHUTTER) - self._was_white > SUSPECT_SHARE

    def shows_beyond(self, pixels: Pixels, bits: int) -> bool:
        """True where much of what lies just outside the outline is farther from the surround's level than it was."""
        if self._surround is None:
            return False
        rise = np.abs(_levels(pixels, bits, self._outer) - self._surround)
        return _share(rise - self._was_beyond > 3 * CONTRAST) > SUSPECT_SHARE

    def has_turned_over(self, pixels: Pixels, bits: int) -> bool:
        """True where what was bright on the last frame is dark on this one and the other way round."""
        grid, spread = _centred(_levels(pixels, bits, self._grid))
        was, was_spread = self._last_grid, self._last_spread
        self._last_grid, self._last_spread = grid, spread
        return spread * was_spread > 0 and float(grid @ was) < -0.4 * spread * was_spread

    def has_changed(self, pixels: Pixels, bits: int) -> bool:
        """True where the field's content is another picture than it was; compression alone changes little."""
        return _share(np.abs(_levels(pixels, bits, self._grid) - self._was_grid) > CONTRAST) > 0.05


def _flat_index(points: Points, size: tuple[int, int]) -> NDArray[np.intp]:
    """Indices into the flattened frame of those points that lie in it."""
    w, h = size
    x, y = np.round(points).astype(np.intp).T
    seen = (x >= 0) & (y >= 0) & (x < w) & (y < h)
    return np.asarray(y[seen] * w + x[seen], dtype=np.intp)


def _levels(pixels: Pixels, bits: int, index: NDArray[np.intp]) -> NDArray[np.float32]:
    """Pixels at flat indices in 8-bit levels, float32."""
    return np.asarray(pixels.ravel()[index], dtype=np.float32) * np.float32(255.0 / (2**bits - 1))


def _share(marks: NDArray[np.bool_]) -> float:
    """Share of the marks that are set, 0 of none: the mean, at a fifth of what it costs."""
    return np.count_nonzero(marks) / max(1, len(marks))


def _centred(levels: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """Levels less their mean, and the length of that."""
    if not len(levels):
        return levels, 0.0
    centred = levels - levels.mean()
    return centred, float(np.sqrt(centred @ centred))


def _one_look(evidence: float) -> float:
    """What one look may add to the evidence: however strong, it is of one picture."""
    return float(np.clip(evidence, -1.0, 1.0))


def _share_within(field: XrayField, points: Points) -> float:
    """Share of (n, 2) points that lie in a field's box; 0 without points."""
    if not len(points):
        return 0.0
    x0, y0, x1, y1 = field.box_px
    return float(((points >= (x0, y0)) & (points < (x1, y1))).all(axis=1).mean())
