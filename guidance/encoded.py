"""A frame as a file that a browser shows: small as JPEG, or lossless as PNG."""

import cv2
import numpy as np

from drivers.frame import Frame

JPEG_QUALITY = 85


def gray_jpeg(frame: Frame) -> bytes:
    """The frame as an 8-bit gray JPEG; of deeper pixels the upper 8 bits."""
    pixels = frame.pixels if frame.bits == 8 else (frame.pixels >> (frame.bits - 8)).astype(np.uint8)
    done, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return bytes(jpeg)


def gray_png(frame: Frame) -> bytes:
    """The frame as a gray PNG, nothing lost: 8 bits a pixel, or 16 with the signal in the upper ones."""
    pixels = frame.pixels if frame.bits == 8 else (frame.pixels << (16 - frame.bits)).astype(np.uint16)
    done, png = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    assert done
    return bytes(png)
