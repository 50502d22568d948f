"""A stand-in for gst-launch: writes what its script says, in the GStreamer Data Protocol. Run with a list of steps.

Steps: "caps WIDTH HEIGHT", "frame NUMBER VALUE [FLAGS]", "say WORDS", "half", "wait SECONDS", "end".
"""

import os
import struct
import sys
import time


def packet(kind: int, pts: int, flags: int, payload: bytes) -> bytes:
    head = struct.pack(">BBBxHIQQQQH", 1, 0, 0, kind, len(payload), pts, 33_333_333, 0, 0, flags)
    return head.ljust(62, b"\0") + payload


def main(steps: list[str], fd: int) -> None:
    width = height = 0
    for step in steps:
        word, *rest = step.split(maxsplit=1)
        given = rest[0].split() if rest else []
        if word == "caps":
            width, height = int(given[0]), int(given[1])
            caps = (
                f"video/x-raw, format=(string)UYVY, width=(int){width}, height=(int){height}, framerate=(fraction)30/1"
            )
            os.write(fd, packet(2, (1 << 64) - 1, 0, caps.encode()))
        elif word == "frame":
            number, value = int(given[0]), int(given[1])
            flags = int(given[2], 16) if len(given) > 2 else 0
            picture = bytes([128, value]) * (width * height)
            os.write(fd, packet(1, number * 33_333_333, flags, picture))
        elif word == "half":
            os.write(fd, packet(1, 0, 0, bytes(100))[:80])
        elif word == "say":
            print(rest[0], flush=True)
        elif word == "wait":
            time.sleep(float(given[0]))
        elif word == "end":
            return
    time.sleep(60)


if __name__ == "__main__":
    descriptor = next(int(word[3:]) for word in sys.argv if word.startswith("fd="))
    main(sys.argv[1].split(";"), descriptor)
