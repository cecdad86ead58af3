"""Draws the icons of the browser extension: `python3 web/icons.py`.

An eye's ring around a dot, white on a rounded blue square. Each size is drawn by itself, with smooth edges.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "extension" / "icons"
SIZES: Final = (16, 32, 48, 128)
BLUE: Final = (37, 99, 235)
# In parts of the whole width.
CORNER: Final = 0.22
RING_RADIUS: Final = 0.29
RING_WIDTH: Final = 0.1
DOT_RADIUS: Final = 0.12


def pixels(size: int) -> bytes:
    """Return the picture as rows of RGBA, each row after the byte 0, which says that PNG's rows are not filtered."""
    rows = bytearray()
    for y in range(size):
        rows.append(0)
        for x in range(size):
            across, down = (x + 0.5) / size - 0.5, (y + 0.5) / size - 0.5
            inside = _covered(_distance_to_square(across, down), size)
            radius = math.hypot(across, down)
            ring = _covered(abs(radius - RING_RADIUS) - RING_WIDTH / 2, size)
            white = max(ring, _covered(radius - DOT_RADIUS, size))
            rows += bytes(round(channel + (255 - channel) * white) for channel in BLUE)
            rows.append(round(255 * inside))
    return bytes(rows)


def png(size: int) -> bytes:
    """Return the icon as a PNG file."""
    header = struct.pack(">IIBBBBB", size, size, 8, 6, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(pixels(size), 9)), (b"IEND", b"")]
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _distance_to_square(across: float, down: float) -> float:
    """Return the distance to the rounded square, which fills the picture; negative inside."""
    straight = 0.5 - CORNER
    outside = math.hypot(max(abs(across) - straight, 0), max(abs(down) - straight, 0))
    return outside - CORNER


def _covered(distance: float, size: int) -> float:
    """Return how much of a pixel is inside a shape whose edge is at this distance from its centre: 0 to 1."""
    return min(1, max(0, 0.5 - distance * size))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in SIZES:
        (FOLDER / f"{each}.png").write_bytes(png(each))
