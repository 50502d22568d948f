"""Pulses laid on the view's grid, and what is found there in the frame's own pixels."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from guidance.records import FieldKind, FieldOutline
from guidance.vision.field import XrayField
from guidance.vision.geometry import RigidMotion
from guidance.vision.grid import ReferenceGrid, halved
from guidance.vision.picture import Picture, make_picture
from tests.unit.vision.absorbers import MM_PER_PX, SIDE_PX, Beam, no_steel


def test_pixels_that_have_left_the_field_are_not_compared() -> None:
    picture, _ = Beam().pulse()
    grid = ReferenceGrid(picture)
    moved = RigidMotion((30.0, 0.0), 0.0, (99.5, 99.5))
    placed = grid.place(picture, moved, no_steel(picture), MM_PER_PX)
    assert not placed.valid[:, SIDE_PX - 30 :].any()
    assert placed.valid[20:-20, 20:150].all()


def cropped(pixels: NDArray[np.uint8], box_px: tuple[int, int, int, int]) -> Picture:
    x0, y0, x1, y1 = (float(v) for v in box_px)
    corners = np.array([(x0, y0), (x1 - 1, y0), (x1 - 1, y1 - 1), (x0, y1 - 1)])
    outline = FieldOutline(FieldKind.RECTANGLE, corners, bone_dark=True)
    return make_picture(pixels, XrayField(outline, (pixels.shape[1], pixels.shape[0])), bits=8)


def test_another_collimation_is_laid_on_the_same_grid() -> None:
    pixels = Beam(noise=0).pulse()[0].pixels
    whole, part = cropped(pixels, (0, 0, SIDE_PX, SIDE_PX)), cropped(pixels, (40, 30, 170, 150))
    placed = ReferenceGrid(whole).place(part, RigidMotion(), no_steel(part), MM_PER_PX)
    seen = placed.valid > 0
    assert seen[60:120, 70:140].all()
    assert not seen[:, :40].any()
    assert np.abs(placed.density - whole.density)[seen].max() < 1e-3


def test_outlines_fill_to_the_mask_they_came_from() -> None:
    pixels = np.zeros((300, 340), np.uint8)
    picture = cropped(pixels, (20, 10, 320, 290))
    grid = ReferenceGrid(picture)
    mask = np.zeros(grid.shape, np.uint8)
    cv2.circle(mask, (90, 120), 25, 255, -1)
    (ring,) = grid.outlines(mask, RigidMotion())
    canvas = np.zeros(pixels.shape, np.uint8)
    cv2.fillPoly(canvas, [np.round(ring).astype(np.int32)], 255)
    truth = np.zeros(pixels.shape, np.uint8)
    truth[10:290, 20:320] = cv2.resize(mask, (300, 280), interpolation=cv2.INTER_NEAREST)
    assert (canvas != truth).sum() < 0.03 * (truth > 0).sum()


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_outlines_are_those_of_a_mask_drawn_at_half_an_input_pixel(factor: int) -> None:
    rng = np.random.default_rng(factor)
    picture = cropped(np.zeros((60, 70), np.uint8), (0, 0, 70, 60))
    grid = ReferenceGrid(replace(picture, factor=factor))
    for blur in (0.5, 1.0, 3.0):
        mask = np.where(cv2.GaussianBlur(rng.random(grid.shape), (0, 0), blur) > 0.52, 255, 0).astype(np.uint8)
        x, y, w, h = cv2.boundingRect(mask)
        fine = 2 * factor
        drawn = cv2.resize(mask[y : y + h, x : x + w], None, fx=fine, fy=fine, interpolation=cv2.INTER_NEAREST)
        rings, _ = cv2.findContours(drawn, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        corners = [cv2.approxPolyDP(ring, 0.5 * fine, True).reshape(-1, 2) for ring in rings]
        twin = [grid.to_frame_px((ring + 0.5) / fine - 0.5 + (x, y)) for ring in corners if len(ring) >= 3]
        got = grid.outlines(mask, RigidMotion())
        assert len(got) == len(twin)
        for ring, other in zip(got, twin, strict=True):
            np.testing.assert_allclose(ring, other)


def test_points_of_a_frame_come_back_from_the_grid() -> None:
    grid = ReferenceGrid(cropped(np.zeros((300, 340), np.uint8), (20, 10, 320, 290)))
    motion = RigidMotion((4.0, -7.0), 3.0, (169.5, 149.5))
    points = np.array([[50.0, 60.0], [200.0, 250.0]])
    there = motion.move(grid.to_frame_px(points))
    assert grid.to_grid(there, motion) == pytest.approx(points)


def test_half_the_work_scale_keeps_field_and_steel_and_where_things_are() -> None:
    picture, _ = Beam(noise=0.0).pulse()
    steel = np.zeros(picture.density.shape, np.uint8)
    steel[51, 61] = 255
    mask = picture.mask.copy()
    mask[50, 60] = 0
    small, metal = halved(replace(picture, mask=mask), steel)
    assert small.density.shape == tuple(side // 2 for side in picture.density.shape)
    assert small.density[10, 20] == pytest.approx(picture.density[20:22, 40:42].mean())
    assert (metal > 0).sum() == 1
    assert metal[25, 30] == 255
    assert small.mask[25, 30] == 0
    point = np.array([30.0, 25.0])
    assert small.to_frame_px(point) == pytest.approx(picture.to_frame_px(2 * point + 0.5))
