"""The zones that an operator would draw on a view, drawn from the patient's landmarks instead."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from guidance.phantom.patient import Landmarks, Points
from guidance.records import View, Zone, ZoneKind

Polygon = NDArray[np.float64]
ToFrame = Callable[[Points], Polygon]
"""World points (n, 3) to pixels (n, 2) of the view's first frame."""

FORAMINA = ("S1L", "S1R", "S2L", "S2R")
TARGET_RADIUS_MM = 9.0
ANTERIOR_GAP_MM, ANTERIOR_DEPTH_MM = 1.5, 20.0
"""The forbidden band before the anterior cortex begins a little before it: a needle may touch the cortex."""


def draw_zones(landmarks: Landmarks, view: View, to_frame: ToFrame, targets: Iterable[str]) -> dict[str, Zone]:
    """The zones of a view by id, unclipped.

    AP: the S1 and S2 foramina forbidden, a disc around each of ``targets`` (names as in a scenario's needles) as
    target. Lateral: the canal and a band before the anterior cortex forbidden, the S1 body as body; the foramina
    cannot be seen there.
    """
    zones: list[Zone] = []
    if view is View.AP:
        zones += [
            Zone(f"foramen_{name}", ZoneKind.FORBIDDEN, to_frame(landmarks.foramina[name]), view) for name in FORAMINA
        ]
        centres = {name: target_mm(landmarks, name) for name in targets if name.startswith(("ala", "body"))}
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        ring = TARGET_RADIUS_MM * np.column_stack([np.cos(turn), np.zeros(24), np.sin(turn)])
        zones += [
            Zone(f"target_{name}", ZoneKind.TARGET, to_frame(centre + ring), view) for name, centre in centres.items()
        ]
    else:
        body = to_frame(landmarks.bodies["S1"])
        zones = [
            Zone("canal", ZoneKind.FORBIDDEN, to_frame(_canal(landmarks)), view),
            Zone("anterior", ZoneKind.FORBIDDEN, to_frame(_anterior(landmarks)), view),
            Zone("body_S1", ZoneKind.BODY, body[ConvexHull(body).vertices], view),
        ]
    return {zone.id: zone for zone in zones}


def target_mm(landmarks: Landmarks, name: str) -> Points:
    """The point, shape (3,), that a needle's ``target`` names. Raises KeyError where there is none."""
    kind, _, which = name.partition("_")
    if kind == "ala":
        return np.asarray(landmarks.ala_targets[which])
    if kind == "body":
        return np.asarray(landmarks.body_targets[which])
    if kind == "foramen":
        return np.asarray(landmarks.foramina[which].mean(axis=0))
    if kind == "canal":
        # Level with the S1 body's centre.
        path = landmarks.canal_path_mm
        return np.asarray(path[np.argmin(np.abs(path[:, 2]))])
    raise KeyError(name)


def clip_to_frame(polygon: Polygon, width_px: int, height_px: int) -> Polygon | None:
    """The part of a polygon inside the frame, or None (I. Sutherland, G. Hodgman, Reentrant polygon clipping, 1974)."""
    for axis, sign, bound in ((0, 1, 0.0), (0, -1, 1.0 - width_px), (1, 1, 0.0), (1, -1, 1.0 - height_px)):
        depth = sign * polygon[:, axis] - bound
        kept: list[Polygon] = []
        for a, b, da, db in zip(polygon, np.roll(polygon, -1, 0), depth, np.roll(depth, -1), strict=True):
            if da >= 0:
                kept.append(a)
            if (da >= 0) != (db >= 0):
                kept.append(a + (b - a) * (da / (da - db)))
        if len(kept) < 3:
            return None
        polygon = np.array(kept)
    return polygon


def _canal(landmarks: Landmarks) -> Points:
    """The canal's outline in the midsagittal plane."""
    path, radius = landmarks.canal_path_mm, landmarks.canal_radius_mm[:, None]
    normal = _forward(path)
    return np.concatenate([path + radius * normal, (path - radius * normal)[::-1]])


def _anterior(landmarks: Landmarks) -> Points:
    path = landmarks.anterior_cortex
    normal = _forward(path)
    near, far = path + ANTERIOR_GAP_MM * normal, path + ANTERIOR_DEPTH_MM * normal
    return np.concatenate([near, far[::-1]])


def _forward(path: Points) -> Points:
    """Unit normals of a downward path in the sagittal plane, pointing to the front."""
    along = np.gradient(path, axis=0)
    normal = np.column_stack([np.zeros(len(path)), along[:, 2], -along[:, 1]])
    return np.asarray(normal / np.linalg.norm(normal, axis=1, keepdims=True))
