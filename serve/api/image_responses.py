"""Finished images and their token usage as response models."""

from base64 import b64encode
from collections.abc import Sequence

from serve.api.responses import ImageData, InputTokens, Usage
from serve.backend import ImageResult

__all__ = ["to_image_data", "token_usage"]


def to_image_data(result: ImageResult) -> ImageData:
    """Convert an image."""
    return ImageData(
        b64_json=b64encode(result.png).decode(),
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
