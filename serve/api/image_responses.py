"""Finished pictures as JSON."""

from base64 import b64encode
from collections.abc import Sequence

from serve.api.responses import ImageData, InputTokens, Usage
from serve.backend import ImageResult

__all__ = ["to_image_data", "token_usage"]


def to_image_data(made: ImageResult) -> ImageData:
    """How a picture was made."""
    return ImageData(
        b64_json=b64encode(made.png).decode(),
        revised_prompt=made.caption,
        label=made.label,
        class_name=made.class_name,
        seed=made.seed,
        bank_id=made.bank_id,
        model_sha256=made.model_sha256,
    )


def token_usage(made: Sequence[ImageResult]) -> Usage:
    """What pictures took, together."""
    text = sum(one.text_tokens for one in made)
    rows = sum(one.network_rows for one in made)
    return Usage(
        input_tokens=text,
        output_tokens=rows,
        total_tokens=text + rows,
        input_tokens_details=InputTokens(text_tokens=text),
    )
