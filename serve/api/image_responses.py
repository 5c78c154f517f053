"""Finished pictures as JSON."""

from base64 import b64encode
from collections.abc import Sequence

from serve.api.responses import ImageFacts, InputTokens, Usage
from serve.backend import MadeImage

__all__ = ["facts_of", "usage_of"]


def facts_of(made: MadeImage) -> ImageFacts:
    """How a picture was made."""
    return ImageFacts(
        b64_json=b64encode(made.png).decode(),
        revised_prompt=made.caption,
        label=made.label,
        class_name=made.class_name,
        seed=made.seed,
        bank_id=made.bank_id,
        model_sha256=made.model_sha256,
    )


def usage_of(made: Sequence[MadeImage]) -> Usage:
    """What pictures took, together."""
    text = sum(one.text_tokens for one in made)
    rows = sum(one.network_rows for one in made)
    return Usage(
        input_tokens=text,
        output_tokens=rows,
        total_tokens=text + rows,
        input_tokens_details=InputTokens(text_tokens=text),
    )
