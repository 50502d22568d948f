"""Runs inside the virtual machine: known pictures into the virtual grabber's HDMI output, and what its input gives.

vivid hands an output's pictures to its input bit for bit where both have the same timings, format, crop and compose.
"""

import ctypes
import mmap
import threading
import time
import zlib
from ctypes import Structure, c_int32, c_uint32

import numpy as np
from numpy.typing import NDArray

from drivers import v4l2_kernel as v4l2
from drivers.luma import full_range_table
from drivers.v4l2_kernel import DeviceNode
from tests.v4l2.guest_vivid import CONTROLS, DV_SIGNAL, DV_TIMINGS, OSD_TEXT, SELECTED, SMALL_60, turn
from tests.v4l2.watched import Watched, nothing_leaked, tell

LOOP = CONTROLS + 0x25
INPUT, OUTPUT = "/dev/video0", "/dev/video1"
TYPE_OUTPUT = 2
CROP, COMPOSE = 0x0, 0x100
WIDTH, HEIGHT = 640, 480
PICTURES = 16


class Selection(Structure):
    _fields_ = [
        ("type", c_uint32),
        ("target", c_uint32),
        ("flags", c_uint32),
        ("left", c_int32),
        ("top", c_int32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("reserved", c_uint32 * 9),
    ]


S_SELECTION = 3 << 30 | ctypes.sizeof(Selection) << 16 | ord("V") << 8 | 95


def luma(number: int) -> NDArray[np.uint8]:
    """A picture of all codes of limited range, of which no two rows and no two numbers are alike."""
    x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    picture: NDArray[np.uint8] = (16 + (x * 7 + y * 13 + (x * y) // 64 + 29 * number) % 220).astype(np.uint8)
    return picture


def packed(picture: NDArray[np.uint8], code: str) -> bytes:
    if code == "GREY":
        return picture.tobytes()
    pairs = np.full((HEIGHT, WIDTH, 2), 128, np.uint8)
    pairs[..., 1] = picture
    return pairs.tobytes()


class Player:
    """Plays the pictures again and again at the output's rate, until closed."""

    def __init__(self, code: str) -> None:
        self._node = DeviceNode(OUTPUT)
        self._memory: list[mmap.mmap] = []
        self._stopping = False
        timings = v4l2.DvTimings()
        sight = DeviceNode(INPUT)
        sight.call(v4l2.G_DV_TIMINGS, timings)
        sight.close()
        self._node.call(v4l2.S_DV_TIMINGS, timings)
        form = v4l2.Format(type=TYPE_OUTPUT)
        self._node.call(v4l2.G_FMT, form)
        form.fmt.pix.width, form.fmt.pix.height = WIDTH, HEIGHT
        form.fmt.pix.pixelformat, form.fmt.pix.field = v4l2.fourcc(code), v4l2.FIELD_NONE
        form.fmt.pix.bytesperline = 0
        self._node.call(v4l2.S_FMT, form)
        whole(self._node, TYPE_OUTPUT)
        asked = v4l2.RequestBuffers(count=4, type=TYPE_OUTPUT, memory=v4l2.MMAP)
        self._node.call(v4l2.REQBUFS, asked)
        self._raw = [packed(luma(number), code) for number in range(PICTURES)]
        self._number = 0
        for index in range(asked.count):
            buffer = v4l2.Buffer(index=index, type=TYPE_OUTPUT, memory=v4l2.MMAP)
            self._node.call(v4l2.QUERYBUF, buffer)
            self._memory.append(_writable(self._node, buffer))
            self._queue(index)
        self._node.call(v4l2.STREAMON, ctypes.c_int32(TYPE_OUTPUT))
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def close(self) -> None:
        self._stopping = True
        self._thread.join(5)
        self._node.call(v4l2.STREAMOFF, ctypes.c_int32(TYPE_OUTPUT))
        for memory in self._memory:
            memory.close()
        self._node.close()

    def _play(self) -> None:
        while not self._stopping:
            buffer = v4l2.Buffer(type=TYPE_OUTPUT, memory=v4l2.MMAP)
            try:
                self._node.call(v4l2.DQBUF, buffer)
            except BlockingIOError:
                time.sleep(0.002)
                continue
            self._queue(int(buffer.index))

    def _queue(self, index: int) -> None:
        raw = self._raw[self._number % PICTURES]
        self._number += 1
        self._memory[index][: len(raw)] = raw
        self._node.call(
            v4l2.QBUF,
            v4l2.Buffer(index=index, type=TYPE_OUTPUT, memory=v4l2.MMAP, bytesused=len(raw), field=v4l2.FIELD_NONE),
        )


def _writable(node: DeviceNode, buffer: v4l2.Buffer) -> mmap.mmap:
    flags = mmap.PROT_READ | mmap.PROT_WRITE
    return mmap.mmap(node.fileno(), buffer.length, mmap.MAP_SHARED, flags, offset=buffer.m.offset)


def whole(node: DeviceNode, kind: int) -> None:
    """Neither cropped nor scaled."""
    for target in (CROP, COMPOSE):
        selection = Selection(type=kind, target=target, width=WIDTH, height=HEIGHT)
        try:
            node.call(S_SELECTION, selection)
        except OSError as error:
            tell(fault=f"selection {kind} {target:#x}", error=str(error))


def main() -> None:
    turn(DV_TIMINGS, SMALL_60)
    turn(DV_SIGNAL, SELECTED)
    turn(OSD_TEXT, 2)
    nothing_leaked()
    for code in ("GREY", "UYVY"):
        table = np.arange(256, dtype=np.uint8) if code == "GREY" else full_range_table(8)
        known = {zlib.crc32(np.ascontiguousarray(table[luma(number)])): number for number in range(PICTURES)}
        with Watched(f"v4l2://{INPUT}?input=0&format={code}") as watched:
            node = DeviceNode(INPUT)
            whole(node, v4l2.CAPTURE)
            node.close()
            player = Player(code)
            turn(LOOP)
            watched.until(lambda watched=watched, known=known: any(f.checksum in known for f in watched.frames), 10)
            first = len(watched.frames)
            watched.until(lambda watched=watched, first=first: len(watched.frames) >= first + 60, 30)
            numbers = [known.get(frame.checksum) for frame in watched.frames[first : first + 60]]
            turn(LOOP, 0)
            player.close()
        tell(fault=f"loop {code}", frames=len(numbers), unknown=numbers.count(None), different=len(set(numbers)))
    nothing_leaked()


if __name__ == "__main__":
    main()
