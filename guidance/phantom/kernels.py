"""Compiled loops of the phantom: rays through voxels, rays through solids, small grains onto a picture.

No validation here: the callers shape the arrays. Each has a plain twin in the tests.
"""

from math import floor, sqrt

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

_VOXELS = 'Array(float32, 3, "C", readonly=True)'
_VECTOR = 'Array(float64, 1, "C", readonly=True)'
_TABLE = 'Array(float64, 2, "C", readonly=True)'


@kernel(
    f"void({_VOXELS}, {_VOXELS}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, float64, float32[:,::1], float32[:,::1])"
)
def joseph(
    soft: NDArray[np.float32],
    bone: NDArray[np.float32],
    source: NDArray[np.float64],
    corner: NDArray[np.float64],
    right: NDArray[np.float64],
    down: NDArray[np.float64],
    voxel_cm: float,
    soft_cm: NDArray[np.float32],
    bone_cm: NDArray[np.float32],
) -> None:
    """Path lengths by Joseph's method; source, corner, right and down in voxel coordinates (x, y, z).

    One bilinear sample in each plane across the ray's main axis. Beyond the first and the last slice the volume
    goes on as those slices are; beyond its sides there is air.
    """
    nz, ny, nx = soft.shape
    size = (nx, ny, nz)
    stride = (1, nx, nx * ny)
    soft_flat = soft.ravel()
    bone_flat = bone.ravel()
    rows, columns = soft_cm.shape
    for row in range(rows):
        for column in range(columns):
            way = (
                corner[0] + column * right[0] + row * down[0] - source[0],
                corner[1] + column * right[1] + row * down[1] - source[1],
                corner[2] + column * right[2] + row * down[2] - source[2],
            )
            # The main axis is x or y: the views in use never look along the patient.
            m = 0 if abs(way[0]) > abs(way[1]) else 1
            a = 1 - m
            slope_a = way[a] / way[m]
            slope_z = way[2] / way[m]
            start_a = source[a] - source[m] * slope_a
            start_z = source[2] - source[m] * slope_z
            first = 0.0
            last = size[m] - 1.0
            if abs(slope_a) > 1e-12:
                enter = -start_a / slope_a
                leave = (size[a] - 1.001 - start_a) / slope_a
                first = max(first, min(enter, leave))
                last = min(last, max(enter, leave))
            elif start_a < 0 or start_a > size[a] - 1.001:
                continue
            total_soft = 0.0
            total_bone = 0.0
            for k in range(int(np.ceil(first)), floor(last) + 1):
                at_a = start_a + k * slope_a
                at_z = min(max(start_z + k * slope_z, 0.0), size[2] - 1.001)
                i = int(at_a)
                j = int(at_z)
                fa = at_a - i
                fz = at_z - j
                p = k * stride[m] + i * stride[a] + j * stride[2]
                q = p + stride[2]
                w00 = (1 - fa) * (1 - fz)
                w10 = fa * (1 - fz)
                w01 = (1 - fa) * fz
                w11 = fa * fz
                n = stride[a]
                total_soft += w00 * soft_flat[p] + w10 * soft_flat[p + n] + w01 * soft_flat[q] + w11 * soft_flat[q + n]
                total_bone += w00 * bone_flat[p] + w10 * bone_flat[p + n] + w01 * bone_flat[q] + w11 * bone_flat[q + n]
            step_cm = voxel_cm * sqrt(1.0 + slope_a * slope_a + slope_z * slope_z)
            soft_cm[row, column] = total_soft * step_cm
            bone_cm[row, column] = total_bone * step_cm


@kernel("float64(float64, float64, float64)")
def covered(near_mm: float, far_mm: float, ramp_mm: float) -> float:
    """The mean over a step of clip(0.5 + depth / ramp, 0, 1), where depth goes evenly from near_mm to far_mm."""
    low, high = min(near_mm, far_mm), max(near_mm, far_mm)
    half = 0.5 * ramp_mm
    if low >= half:
        return 1.0
    if high <= -half:
        return 0.0
    if high - low < 1e-3:
        return min(max(0.5 + 0.5 * (low + high) / ramp_mm, 0.0), 1.0)
    # The ramp's integral: a parabola between -half and half, a line beyond.
    from_low = min(max(low + half, 0.0), ramp_mm)
    from_high = min(max(high + half, 0.0), ramp_mm)
    rising = (from_high * from_high - from_low * from_low) / (2 * ramp_mm)
    return (rising + max(high - half, 0.0) - max(low - half, 0.0)) / (high - low)


@kernel(
    f'void(Array(int8, 3, "C", readonly=True), float64, float64, float64, float64, {_VOXELS}, float64,'
    f" {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, float64, float32[:,::1])"
)
def joseph_surface(
    depth: NDArray[np.int8],
    step_mm: float,
    ramp_mm: float,
    cortex_mm: float,
    cortical: float,
    marrow: NDArray[np.float32],
    marrow_per_voxel: float,
    source: NDArray[np.float64],
    corner: NDArray[np.float64],
    right: NDArray[np.float64],
    down: NDArray[np.float64],
    voxel_cm: float,
    bone_cm: NDArray[np.float32],
) -> None:
    """Path lengths through bones given by their depth: Joseph's rays, the depth taken as linear between slices.

    With a linear depth the share of a step in shell and in marrow is known exactly, so that a shell thinner than a
    voxel casts a shadow without steps, as sharp as ramp_mm.
    """
    nz, ny, nx = depth.shape
    size = (nx, ny, nz)
    stride = (1, nx, nx * ny)
    flat = depth.ravel()
    wrap = marrow.shape[0] - 1
    rows, columns = bone_cm.shape
    far_outside = -2.0 - ramp_mm
    for row in range(rows):
        for column in range(columns):
            way = (
                corner[0] + column * right[0] + row * down[0] - source[0],
                corner[1] + column * right[1] + row * down[1] - source[1],
                corner[2] + column * right[2] + row * down[2] - source[2],
            )
            m = 0 if abs(way[0]) > abs(way[1]) else 1
            a = 1 - m
            slope_a = way[a] / way[m]
            slope_z = way[2] / way[m]
            start_a = source[a] - source[m] * slope_a
            start_z = source[2] - source[m] * slope_z
            first = 0.0
            last = size[m] - 1.0
            if abs(slope_a) > 1e-12:
                enter = -start_a / slope_a
                leave = (size[a] - 1.001 - start_a) / slope_a
                first = max(first, min(enter, leave))
                last = min(last, max(enter, leave))
            elif start_a < 0 or start_a > size[a] - 1.001:
                continue
            n = stride[a]
            total = 0.0
            before = far_outside
            for k in range(int(np.ceil(first)), floor(last) + 1):
                at_a = start_a + k * slope_a
                at_z = min(max(start_z + k * slope_z, 0.0), size[2] - 1.001)
                i = int(at_a)
                j = int(at_z)
                p = k * stride[m] + i * n + j * stride[2]
                q = p + stride[2]
                if before <= far_outside and flat[p] == -128 and flat[q + n] == -128:
                    continue
                fa = at_a - i
                fz = at_z - j
                here = (1 - fz) * ((1 - fa) * flat[p] + fa * flat[p + n]) + fz * ((1 - fa) * flat[q] + fa * flat[q + n])
                here *= step_mm
                inside = covered(before, here, ramp_mm)
                if inside > 0:
                    core = covered(before - cortex_mm, here - cortex_mm, ramp_mm)
                    main = int((k - 0.5) * marrow_per_voxel) & wrap
                    aside = int(at_a * marrow_per_voxel) & wrap
                    up = int(at_z * marrow_per_voxel) & wrap
                    loose = marrow[up, main, aside] if m == 1 else marrow[up, aside, main]
                    total += core * loose + (inside - core) * cortical
                before = max(here, far_outside)
            step_cm = voxel_cm * sqrt(1.0 + slope_a * slope_a + slope_z * slope_z)
            bone_cm[row, column] = total * step_cm


@kernel(
    f"void({_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, {_VECTOR}, float64, {_TABLE}, float64,"
    f" {_VECTOR}, float64, int64, int64, float32[:,::1])"
)
def add_solid(
    source: NDArray[np.float64],
    corner: NDArray[np.float64],
    right: NDArray[np.float64],
    down: NDArray[np.float64],
    point: NDArray[np.float64],
    axis: NDArray[np.float64],
    radius: float,
    planes: NDArray[np.float64],
    weight: float,
    band_px: NDArray[np.float64],
    reach_px: float,
    x0: int,
    y0: int,
    patch: NDArray[np.float32],
) -> None:
    """Add to patch the length (mm) times weight of each ray inside a cylinder cut by planes (n·x <= c).

    Only pixels within reach_px of the projected axis, band_px = (x, y, x, y), are looked at.
    """
    ax, ay = band_px[0], band_px[1]
    ex, ey = band_px[2] - ax, band_px[3] - ay
    length2 = ex * ex + ey * ey
    ox, oy, oz = source[0] - point[0], source[1] - point[1], source[2] - point[2]
    along_o = ox * axis[0] + oy * axis[1] + oz * axis[2]
    px, py, pz = ox - along_o * axis[0], oy - along_o * axis[1], oz - along_o * axis[2]
    c = px * px + py * py + pz * pz - radius * radius
    for row in range(patch.shape[0]):
        y = float(y0 + row)
        for column in range(patch.shape[1]):
            x = float(x0 + column)
            share = 0.0
            if length2 > 0:
                share = min(max(((x - ax) * ex + (y - ay) * ey) / length2, 0.0), 1.0)
            gap_x = x - ax - share * ex
            gap_y = y - ay - share * ey
            if gap_x * gap_x + gap_y * gap_y > reach_px * reach_px:
                continue
            dx = corner[0] + x * right[0] + y * down[0] - source[0]
            dy = corner[1] + x * right[1] + y * down[1] - source[1]
            dz = corner[2] + x * right[2] + y * down[2] - source[2]
            norm = sqrt(dx * dx + dy * dy + dz * dz)
            dx, dy, dz = dx / norm, dy / norm, dz / norm
            along_d = dx * axis[0] + dy * axis[1] + dz * axis[2]
            qx, qy, qz = dx - along_d * axis[0], dy - along_d * axis[1], dz - along_d * axis[2]
            a = qx * qx + qy * qy + qz * qz
            near, far = 0.0, 1e9
            if a > 1e-14:
                b = px * qx + py * qy + pz * qz
                root = b * b - a * c
                if root <= 0:
                    continue
                root = sqrt(root)
                near, far = (-b - root) / a, (-b + root) / a
            elif c > 0:
                continue
            for k in range(planes.shape[0]):
                at = planes[k, 0] * source[0] + planes[k, 1] * source[1] + planes[k, 2] * source[2] - planes[k, 3]
                speed = planes[k, 0] * dx + planes[k, 1] * dy + planes[k, 2] * dz
                if abs(speed) < 1e-12:
                    if at > 0:
                        far = near
                elif speed > 0:
                    far = min(far, -at / speed)
                else:
                    near = max(near, -at / speed)
            if far > near:
                patch[row, column] += weight * (far - near)


@kernel(f"void({_TABLE}, {_VECTOR}, {_VECTOR}, int64, int64, float32[:,::1])")
def add_grains(
    centres_px: NDArray[np.float64],
    half_width_px: NDArray[np.float64],
    weight: NDArray[np.float64],
    x0: int,
    y0: int,
    patch: NDArray[np.float32],
) -> None:
    """Add each grain to patch as a pyramid: weight at its centre, 0 half_width_px away along x or y.

    Pyramids of a grid one half width apart add up to a constant, so a solid block of voxels has no ripple. Each
    is scaled so that its pixels sum to its volume, weight · half_width², however small it is.
    """
    height, width = patch.shape
    for i in range(centres_px.shape[0]):
        x, y, h = centres_px[i, 0] - x0, centres_px[i, 1] - y0, half_width_px[i]
        left, right = int(np.ceil(x - h)), floor(x + h)
        top, bottom = int(np.ceil(y - h)), floor(y + h)
        sum_x = 0.0
        for column in range(left, right + 1):
            sum_x += 1.0 - abs(column - x) / h
        sum_y = 0.0
        for row in range(top, bottom + 1):
            sum_y += 1.0 - abs(row - y) / h
        if sum_x <= 0 or sum_y <= 0:
            continue
        scale = weight[i] * h * h / (sum_x * sum_y)
        for row in range(max(top, 0), min(bottom, height - 1) + 1):
            share = scale * (1.0 - abs(row - y) / h)
            for column in range(max(left, 0), min(right, width - 1) + 1):
                patch[row, column] += share * (1.0 - abs(column - x) / h)
