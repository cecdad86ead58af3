"""Writes pictures as small files."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image

from tests.support.documents import ANIMATION, ANIMATION_BYTES, PICTURE_BYTES, PICTURES

if TYPE_CHECKING:
    from pathlib import Path


def save(name: str, png: bytes) -> None:
    """Write what the browser saw."""
    path = PICTURES / f"{name}.webp"
    Image.open(BytesIO(png)).convert("RGB").save(path, lossless=True, quality=100, method=6)
    _small(path, PICTURE_BYTES)


def save_animation(frames: list[tuple[Image.Image, int]]) -> None:
    """Write frames, each with its time in milliseconds. The animation begins again when it has ended."""
    path = PICTURES / ANIMATION
    first, *rest = (frame for frame, _ in frames)
    first.save(
        path,
        save_all=True,
        append_images=rest,
        duration=[milliseconds for _, milliseconds in frames],
        loop=0,
        lossless=True,
        quality=100,
        method=4,
    )
    _small(path, ANIMATION_BYTES)


def _small(path: Path, limit: int) -> None:
    size = path.stat().st_size
    print(f"{path.name}: {size / 1000:.1f} kB")
    if size > limit:
        raise RuntimeError(f"{path.name} is larger than {limit / 1000:.0f} kB")
