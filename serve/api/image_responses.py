"""Finished images and their token usage as response models."""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serve.api.image_formats import ImageFormat, to_format
from serve.api.requests import ImageGenerationRequest
from serve.api.responses import ImageData, InputTokens, Usage
from serve.backend import ImageResult

__all__ = ["ImageEncoder", "token_usage"]


@dataclass(frozen=True)
class ImageEncoder:
    """Encoder of images as a request asks for them.

    Attributes:
        format: file format.
        quality: quality of jpeg and webp, 0 to 100.
        link: stores a file and returns its URL; None: images are in the response.
    """

    format: ImageFormat = "png"
    quality: int = 100
    link: Callable[[bytes, ImageFormat], str] | None = None

    @classmethod
    def of(
        cls, request: ImageGenerationRequest, link: Callable[[bytes, ImageFormat], str] | None = None
    ) -> "ImageEncoder":
        """Build the encoder of a request."""
        return cls(request.output_format, request.output_compression, link)

    async def encode(self, result: ImageResult) -> ImageData:
        """Convert an image, in a thread if that takes long."""
        is_quick = self.format == "png" and self.link is None
        return self._encode(result) if is_quick else await asyncio.to_thread(self._encode, result)

    async def encode_base64(self, png: bytes) -> str:
        """Return an image file in the format, in base64."""
        file = png if self.format == "png" else await asyncio.to_thread(to_format, png, self.format, self.quality)
        return b64encode(file).decode()

    def _encode(self, result: ImageResult) -> ImageData:
        file = to_format(result.png, self.format, self.quality)
        return ImageData(
            b64_json=None if self.link else b64encode(file).decode(),
            url=self.link(file, self.format) if self.link else None,
            revised_prompt=result.caption,
            label=result.label,
            class_name=result.class_name,
            seed=result.seed,
            bank_id=result.bank_id,
            model_sha256=result.model_sha256,
        )


def token_usage(results: Sequence[ImageResult]) -> Usage:
    """Sum the usage of images."""
    text = sum(result.text_tokens for result in results)
    rows = sum(result.network_rows for result in results)
    return Usage(
        input_tokens=text,
        output_tokens=rows,
        total_tokens=text + rows,
        input_tokens_details=InputTokens(text_tokens=text),
    )
