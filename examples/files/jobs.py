"""Thumbnails as jobs: one for each picture; what is no picture fails for good."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

import callboard

QUALITY = 85


@callboard.job(queue="thumbnails", max_attempts=3, retry_after=1, timeout=60,
               permanent=(UnidentifiedImageError, Image.DecompressionBombError, FileNotFoundError))
def make_thumbnail(source: str, target: str, size: int = 160) -> None:
    """Write a JPEG of at most size x size pixels to target.

    It is written beside its place and then moved there: nobody ever sees half a picture, and twice is the same as once.
    """
    with Image.open(source) as picture:
        try:
            picture.draft("RGB", (size, size))  # a JPEG is decoded at the size that is needed
            small = ImageOps.exif_transpose(picture).convert("RGB")
        except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for data that is cut off or damaged
            raise callboard.PermanentError(f"{Path(source).name} is damaged: {error}") from error
    small.thumbnail((size, size))
    unfinished = Path(f"{target}.{os.getpid()}.part")
    try:
        small.save(unfinished, "JPEG", quality=QUALITY)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
