"""Cone-beam path lengths through a patient, and the shadows of small things before it."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.phantom.carm import CArm
from guidance.phantom.kernels import add_grains, joseph, joseph_surface
from guidance.phantom.patient import DEPTH_STEP_MM, Patient, Surface, Volume

Box = tuple[int, int, int, int]
"""Columns x0 up to but without x1 and rows y0 up to but without y1, as (x0, y0, x1, y1)."""

EDGE_SHARE = 0.35
"""Over this share of a voxel a bone's surface goes from outside to inside."""

Shadow = tuple[Box, Volume]
"""A patch of path lengths in cm, float32, shape (y1 - y0, x1 - x0); an empty box where nothing is in view."""


def path_lengths_cm(patient: Patient, carm: CArm, upsample: int = 1) -> tuple[Volume, Volume]:
    """Path lengths in cm through soft tissue and through bone, each float32, shape (side_px, side_px).

    ``upsample``: only every so many-th ray is cast and the rest interpolated (cubic); ``side_px`` must be its
    multiple. Voxels of a millimetre and rays half of that apart lose nothing that can be seen. Where the surfaces of
    the bones are known, twice as many rays a side find their cortical lines. Method: P. M. Joseph, An improved
    algorithm for reprojecting rays through pixel images, 1982. Right for views across the body; a beam within 45° of
    the patient's long axis would need a third main axis.
    """
    if carm.side_px % upsample:
        raise ValueError(f"upsample {upsample}: expected a divisor of side_px {carm.side_px}")
    coarse = replace(carm, side_px=carm.side_px // upsample)
    rays = coarse.rays()
    origin = np.array(patient.origin_mm)
    shape = (coarse.side_px, coarse.side_px)
    soft_cm, bone_cm = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    joseph(
        patient.soft,
        patient.bone,
        (rays.source_mm - origin) / patient.voxel_mm,
        (rays.corner_mm - origin) / patient.voxel_mm,
        rays.right_mm / patient.voxel_mm,
        rays.down_mm / patient.voxel_mm,
        patient.voxel_mm / 10,
        soft_cm,
        bone_cm,
    )
    soft_cm, bone_cm = _enlarged(soft_cm, carm.side_px), _enlarged(bone_cm, carm.side_px)
    if patient.surface is not None:
        crisp_cm = _surface_cm(patient, patient.surface, carm, max(1, upsample // 2))
        # Where bone is more or less than the voxels say, soft tissue is less or more.
        soft_cm = np.maximum(soft_cm + bone_cm - crisp_cm, 0)
        bone_cm = crisp_cm
    return soft_cm, bone_cm


def _surface_cm(patient: Patient, surface: Surface, carm: CArm, upsample: int) -> Volume:
    """Path lengths in cm through bone, its surface as sharp as a third of a voxel."""
    coarse = replace(carm, side_px=carm.side_px // upsample)
    rays = coarse.rays()
    origin = np.array(patient.origin_mm)
    bone_cm = np.zeros((coarse.side_px, coarse.side_px), dtype=np.float32)
    joseph_surface(
        surface.depth,
        DEPTH_STEP_MM,
        EDGE_SHARE * patient.voxel_mm,
        surface.cortex_mm,
        surface.cortical,
        surface.marrow,
        patient.voxel_mm / surface.marrow_mm,
        (rays.source_mm - origin) / patient.voxel_mm,
        (rays.corner_mm - origin) / patient.voxel_mm,
        rays.right_mm / patient.voxel_mm,
        rays.down_mm / patient.voxel_mm,
        patient.voxel_mm / 10,
        bone_cm,
    )
    return _enlarged(bone_cm, carm.side_px)


def grains_cm(carm: CArm, points_mm: NDArray[np.float64], grain_mm: float, share: NDArray[np.float64]) -> Shadow:
    """Thickness in cm of grains of matter, cubes of ``grain_mm`` around points (n, 3), each filled to ``share`` (n,).

    Each grain is drawn as a pyramid twice its width, parallel to the detector, with the grain's volume.
    """
    box = grains_box(carm, points_mm, grain_mm)
    patch = np.zeros((box[3] - box[1], box[2] - box[0]), dtype=np.float32)
    draw_grains(patch, (box[0], box[1]), carm, points_mm, grain_mm, share)
    return box, patch


def grains_box(carm: CArm, points_mm: NDArray[np.float64], grain_mm: float) -> Box:
    """The part of the detector that grains can shade."""
    if len(points_mm) == 0:
        return 0, 0, 0, 0
    centres_px = carm.project(points_mm)
    reach_px = float(carm.px_per_mm_at(points_mm).max()) * grain_mm
    return clip_box(centres_px.min(axis=0) - reach_px, centres_px.max(axis=0) + reach_px, carm.side_px)


def draw_grains(
    patch: Volume,
    corner_px: tuple[int, int],
    carm: CArm,
    points_mm: NDArray[np.float64],
    grain_mm: float,
    share: NDArray[np.float64],
) -> None:
    """Add grains, as ``grains_cm`` draws them, to the patch whose first pixel is the detector's ``corner_px``."""
    half_width_px = carm.px_per_mm_at(points_mm) * grain_mm
    weight = np.asarray(share, dtype=np.float64) * (grain_mm / 10)
    add_grains(np.ascontiguousarray(carm.project(points_mm)), half_width_px, weight, *corner_px, patch)


def clip_box(low_px: NDArray[np.float64], high_px: NDArray[np.float64], side_px: int) -> Box:
    """The pixels between two corners (x, y) that lie on the detector; empty where none do."""
    x0, y0 = (int(np.clip(np.floor(v), 0, side_px)) for v in low_px)
    x1, y1 = (int(np.clip(np.ceil(v) + 1, 0, side_px)) for v in high_px)
    return x0, y0, max(x0, x1), max(y0, y1)


def _enlarged(picture: Volume, side_px: int) -> Volume:
    if picture.shape[0] == side_px:
        return picture
    # Cubic interpolation can swing a little below nothing at the body's edge.
    large: Volume = cv2.resize(picture, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    return np.maximum(large, 0, out=large)
