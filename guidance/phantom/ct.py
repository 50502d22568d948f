"""A patient from a CT volume that the user gives: NIfTI, or a folder of axial DICOM slices.

The sacrum is found by the front of the spine. Where that fails or is off, a small JSON file says
where it lies:

    {"schema": 1, "s1_centre_mm": [3.5, -12.0, 88.0], "size": 1.0, "slope_deg": 42, "kyphosis_deg": 60}

``s1_centre_mm``: centre of the S1 body in the volume's own LPS coordinates (as DICOM gives them). The landmarks are
those of the procedural sacrum at that place: good to some millimetres, not to one; no foramen is looked for by itself.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import pydicom
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from scipy.ndimage import binary_fill_holes, label, median_filter, zoom
from scipy.spatial import cKDTree

from drivers.errors import SourceError
from guidance.phantom.distance import Point
from guidance.phantom.patient import Patient, Volume
from guidance.phantom.sacrum import SacralBuild, SacralCurve, anterior_cortex, sacral_landmarks

_SOFT_HU, _CORTICAL_HU = 52.0, 1560.0
"""CT numbers of the notes' soft tissue and cortical bone: both attenuations over water's 0.193 / cm at 70 keV."""

_BONE_FROM_HU = 130.0
"""Below this no bone: noise of muscle would otherwise be bone."""

_MOST_OFF_MM = 4.0
"""Misfit of the sacrum's front above which the sacrum counts as not found."""


@dataclass(frozen=True, slots=True, eq=False)
class CtVolume:
    """CT numbers (HU) on a grid along LPS axes, float32 (nz, ny, nx); ``origin_mm``, ``spacing_mm`` as (x, y, z)."""

    hu: Volume
    spacing_mm: Point
    origin_mm: Point


@dataclass(frozen=True, slots=True)
class SacralPlacement:
    """Where a sacrum lies: the centre of S1 in the volume's LPS coordinates, its build, its front's misfit in mm."""

    s1_centre_mm: Point
    build: SacralBuild
    off_mm: float = 0.0


def load_patient(path: Path, landmarks_json: Path | None = None, voxel_mm: float = 1.0) -> Patient:
    """The patient in a CT volume, without table, arms and hands. Raises SourceError on what cannot be used."""
    volume = read_volume(path)
    volume = _isotropic(volume, voxel_mm)
    keep = body_mask(volume.hu, voxel_mm)
    cut, corner_mm = _cropped_to(keep, volume.origin_mm, voxel_mm)
    soft, bone = materials(np.where(keep[cut], volume.hu[cut], np.float32(-1000)))
    placement = read_placement(landmarks_json) if landmarks_json else find_sacrum(bone, voxel_mm, corner_mm)
    if placement is None:
        raise SourceError(
            f"{path}: no sacrum found; expected a pelvis from L5 to S4 in it, or a landmarks file that says where it is"
        )
    landmarks = sacral_landmarks(placement.build, SacralCurve(placement.build), lambda point: point)
    x, y, z = (a - b for a, b in zip(corner_mm, placement.s1_centre_mm, strict=True))
    return Patient(soft, bone, voxel_mm, (x, y, z), landmarks, path.name)


def materials(hu: Volume) -> tuple[Volume, Volume]:
    """Soft-tissue and bone shares of CT numbers: a mixture of the two that has the right attenuation at 70 keV."""
    mixed = np.clip((hu - _SOFT_HU) / (_CORTICAL_HU - _SOFT_HU), 0, 1.1)
    bone = np.where(hu > _BONE_FROM_HU, mixed, 0).astype(np.float32)
    soft = np.where(bone > 0, np.clip(1 - mixed, 0, 1), np.clip((hu + 1000) / (_SOFT_HU + 1000), 0, None))
    return soft.astype(np.float32), bone


def body_mask(hu: Volume, voxel_mm: float) -> NDArray[np.bool_]:
    """Where the trunk is: in each slice the largest part that is left when necks narrower than 60 mm are cut.

    Table, arms and hands go, even where they touch the skin. An arm pressed flat against the trunk over a wider
    contact would stay.
    """
    return np.stack([_trunk(plane > -300, _NECK_MM / 2 / voxel_mm) for plane in hu])


_NECK_MM = 60.0


def _trunk(tissue: NDArray[np.bool_], radius_px: float) -> NDArray[np.bool_]:
    """One slice's largest part after opening with a disc, with the gas inside it."""
    filled = binary_fill_holes(tissue).astype(np.uint8)
    core = (cv2.distanceTransform(filled, cv2.DIST_L2, 5) > radius_px).astype(np.uint8)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(core)
    if count == 1:
        raise SourceError("the CT volume has a slice without a trunk; expected Hounsfield units of a pelvis")
    largest = parts == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    near = cv2.distanceTransform((~largest).astype(np.uint8), cv2.DIST_L2, 5) <= radius_px + 2
    return np.asarray(near & (filled > 0))


def find_sacrum(bone: Volume, voxel_mm: float, origin_mm: Point) -> SacralPlacement | None:
    """Where the sacrum lies by the front of the spine in the midsagittal plane; None where no sacral curve fits it.

    The midline is the bone's axis of mirror symmetry. In the slab around it the foremost bone of each slice draws
    the front of the lowest vertebrae and of the sacrum; the promontory is where that line lies farthest before
    its own chord or, where the L5/S1 disc interrupts it, the foremost point below the disc. The procedural sacrum's
    front is laid along it from there, over slopes and kyphoses at size 1.
    It knows no obliquity, and a calcified aorta or contrast in the bowel before the spine leads it astray.
    """
    outline_x = bone.sum(axis=(0, 1), dtype=np.float64)
    middle = int(np.argmax(np.convolve(outline_x, outline_x))) / 2
    half = 6.0 / voxel_mm
    slab = bone[:, :, int(middle - half) : int(middle + half) + 1].mean(axis=2)
    front = _front_line(slab) * voxel_mm
    if len(front) * voxel_mm < 80:
        return None
    # From the top of the volume downwards, (y, z): the way from the chord is positive before it.
    down = front[-1] - front[0]
    before = (down[0] * (front[:, 1] - front[0, 1]) - down[1] * (front[:, 0] - front[0, 0])) / np.hypot(*down)
    promontory = int(np.argmax(-before))
    if -before[promontory] < 8 or (len(front) - promontory) * voxel_mm < 60:
        return None
    near_disc = front[promontory : promontory + round(45 / voxel_mm), 0]
    dip = np.maximum.accumulate(near_disc) - near_disc
    if dip.max() > 4:
        promontory += int(np.argmax(dip))
    tree, start = cKDTree(front[promontory:]), front[promontory]
    best: SacralPlacement | None = None
    for slope in range(25, 76, 3):
        for kyphosis in range(20, 86, 6):
            build = SacralBuild(slope_deg=slope, kyphosis_deg=kyphosis)
            line = anterior_cortex(build, SacralCurve(build))[:, 1:]
            placed = line - line[0] + start
            placed = placed[placed[:, 1] >= front[-1, 1]]
            off_mm = float(np.sqrt(np.mean(tree.query(placed)[0] ** 2)))
            if best is None or off_mm < best.off_mm:
                y, z = (start - line[0]).tolist()
                centre = (origin_mm[0] + middle * voxel_mm, origin_mm[1] + y, origin_mm[2] + z)
                best = SacralPlacement(centre, build, off_mm)
    return best if best is not None and best.off_mm <= _MOST_OFF_MM else None


def _front_line(slab: Volume) -> NDArray[np.float64]:
    """Foremost bone of each slice of a midsagittal slab as (y, z) in voxels, from the top down; smoothed."""
    solid = slab > 0.12
    # Chips and calcifications are not the spine.
    parts, count = label(solid, structure=np.ones((3, 3)))
    sizes = np.bincount(parts.ravel())
    solid &= (sizes >= 60)[parts] if count else solid
    rows = np.flatnonzero(solid.any(axis=1))
    first = median_filter(np.argmax(solid[rows], axis=1).astype(np.float64), 5, mode="nearest")
    return np.column_stack([first, rows])[::-1]


def read_placement(path: Path) -> SacralPlacement:
    """The sacrum's place from a landmarks file. Raises SourceError that names the field."""
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: cannot be read as landmarks ({error}); expected a JSON file") from error
    if not isinstance(data, dict) or data.get("schema") != 1:
        raise SourceError(f"{path}: schema: expected an object with schema 1")
    known = {"schema", "s1_centre_mm", "size", "slope_deg", "kyphosis_deg"}
    if unknown := sorted(data.keys() - known):
        raise SourceError(f"{path}: {unknown[0]}: unknown field; expected {', '.join(sorted(known))}")
    centre = data.get("s1_centre_mm")
    if not (isinstance(centre, list) and len(centre) == 3 and all(_is_number(v) for v in centre)):
        raise SourceError(f"{path}: s1_centre_mm: expected three finite numbers, LPS millimetres")
    ranges = {"size": (1.0, 0.6, 1.5), "slope_deg": (40.0, 0.0, 80.0), "kyphosis_deg": (62.0, 0.0, 120.0)}
    values = {}
    for name, (usual, low, high) in ranges.items():
        value = data.get(name, usual)
        if not (_is_number(value) and low <= value <= high):
            raise SourceError(f"{path}: {name}: expected a number from {low:g} to {high:g}")
        values[name] = float(value)
    build = SacralBuild(values["size"], values["slope_deg"], values["kyphosis_deg"])
    return SacralPlacement((float(centre[0]), float(centre[1]), float(centre[2])), build)


def read_volume(path: Path) -> CtVolume:
    """The CT numbers of a NIfTI file or of a folder of axial DICOM slices. Raises SourceError."""
    if not path.exists():
        raise SourceError(f"{path}: not found; expected a NIfTI file or a folder of DICOM slices")
    volume = _read_dicom(path) if path.is_dir() else _read_nifti(path)
    if min(volume.hu.shape) < 16:
        raise SourceError(f"{path}: volume of {volume.hu.shape[::-1]} voxels; expected at least 16 each way")
    if not np.isfinite(volume.hu).all() or volume.hu.max() < 200 or volume.hu.min() > -500:
        raise SourceError(f"{path}: no Hounsfield units; expected air near -1000 and bone above 200")
    return volume


def _read_nifti(path: Path) -> CtVolume:
    try:
        image = nibabel.as_closest_canonical(nibabel.load(path))
        data = np.asarray(image.dataobj, dtype=np.float32)
    except (ImageFileError, OSError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(f"{path}: cannot be read as NIfTI ({reason}); expected .nii or .nii.gz") from error
    if data.ndim != 3:
        raise SourceError(f"{path}: {data.ndim} axes; expected a volume of three")
    # NIfTI's axes run right, anterior, superior; ours run left and posterior.
    spacing = tuple(float(v) for v in image.header.get_zooms()[:3])
    last = image.affine @ [data.shape[0] - 1, data.shape[1] - 1, 0, 1]
    origin = (-float(last[0]), -float(last[1]), float(last[2]))
    hu = np.ascontiguousarray(data[::-1, ::-1, :].transpose(2, 1, 0))
    return CtVolume(hu, (spacing[0], spacing[1], spacing[2]), origin)


def _read_dicom(folder: Path) -> CtVolume:
    slices = [_read_slice(file) for file in sorted(folder.iterdir()) if file.is_file()]
    slices.sort(key=lambda s: s[0][2])
    if len(slices) < 16:
        raise SourceError(f"{folder}: {len(slices)} slices; expected at least 16 axial CT slices")
    heights = np.array([position[2] for position, _, _ in slices])
    gaps = np.diff(heights)
    if gaps.min() <= 0 or gaps.max() > 1.1 * gaps.min():
        raise SourceError(
            f"{folder}: slices {gaps.min():g} to {gaps.max():g} mm apart; expected one evenly spaced series"
        )
    if len({(plane.shape, spacing) for _, spacing, plane in slices}) != 1:
        raise SourceError(f"{folder}: slices of several sizes or spacings; expected one series")
    position, (row_mm, column_mm), _ = slices[0]
    hu = np.stack([plane for _, _, plane in slices])
    return CtVolume(hu, (column_mm, row_mm, float(gaps.mean())), position)


def _read_slice(file: Path) -> tuple[Point, tuple[float, float], Volume]:
    """Position of the first pixel, (row, column) spacing and CT numbers of one slice."""
    try:
        data = pydicom.dcmread(file)
        x, y, z = (float(v) for v in data.ImagePositionPatient)
        facing = np.array([float(v) for v in data.ImageOrientationPatient])
        row_mm, column_mm = (float(v) for v in data.PixelSpacing)
        stored = data.pixel_array
        slope, intercept = float(data.RescaleSlope), float(data.RescaleIntercept)
    except (InvalidDicomError, AttributeError, OSError, ValueError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(f"{file}: not a CT slice ({reason}); expected DICOM with position and pixels") from error
    if np.abs(facing - [1, 0, 0, 0, 1, 0]).max() > 0.02:
        raise SourceError(
            f"{file}: ImageOrientationPatient is {facing.round(2).tolist()}; expected axial, head first, supine"
        )
    return (x, y, z), (row_mm, column_mm), (stored * np.float32(slope) + np.float32(intercept)).astype(np.float32)


def _isotropic(volume: CtVolume, voxel_mm: float) -> CtVolume:
    factors = [volume.spacing_mm[i] / voxel_mm for i in (2, 1, 0)]
    if np.allclose(factors, 1, atol=1e-3):
        return volume
    hu = zoom(volume.hu, factors, order=1, mode="nearest", grid_mode=False)
    return CtVolume(np.ascontiguousarray(hu, dtype=np.float32), (voxel_mm,) * 3, volume.origin_mm)


def _cropped_to(mask: NDArray[np.bool_], origin_mm: Point, voxel_mm: float) -> tuple[tuple[slice, slice, slice], Point]:
    """The box around a mask, over all slices, and where its first voxel lies."""
    rows, columns = np.flatnonzero(mask.any(axis=(0, 2))), np.flatnonzero(mask.any(axis=(0, 1)))
    y0, x0 = max(int(rows[0]) - 1, 0), max(int(columns[0]) - 1, 0)
    x, y, z = origin_mm
    box = (slice(None), slice(y0, int(rows[-1]) + 2), slice(x0, int(columns[-1]) + 2))
    return box, (x + voxel_mm * x0, y + voxel_mm * y0, z)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
