"""Uploaded images without a request, and the body of a form."""

import tempfile
from pathlib import Path
from typing import Any

from serve.uploaded_images import ImageWriter, UploadedImages


def uploaded(*images: bytes) -> UploadedImages:
    """The file that a request with these images leaves."""
    with ImageWriter(Path(tempfile.mkdtemp()) / "images") as writer:
        for image in images:
            writer.add(image)
        return writer.finish()


def form(*images: bytes, **fields: str) -> dict[str, Any]:
    """Arguments of httpx for a request with these images."""
    return {"files": [("images", (f"{at}.png", image)) for at, image in enumerate(images)], "data": fields}
