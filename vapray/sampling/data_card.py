"""Data card of a folder of generated images."""

from collections.abc import Mapping

from vapray import __version__
from vapray.sampling.checkpoint_loading import CheckpointMetadata

__all__ = ["data_card"]

CARD = """# {count:,} synthetic images ({arm})

**Not for clinical use.** vapray {version} generated these images; they show no patient.

The model was trained on images with {captions:,} captions:

{origins}

The licences bind the training images. Check what they allow before you pass the generated images on. `metadata.jsonl`
names the training image of each caption (`source_image_id`).
"""


def data_card(arm: str, count: int, captions: int, checkpoint: CheckpointMetadata) -> str:
    """Render the card as Markdown.

    Args:
        arm: Arm of the images, such as generated.
        count: Number of images.
        captions: Number of captions of the training images.
        checkpoint: Metadata of the checkpoint that generated them.
    """
    lines = [*checkpoint.origins.lines(), *_untrusted(checkpoint.untrusted)]
    listed = "\n".join(f"* {line}" for line in lines)
    return CARD.format(arm=arm, count=count, captions=captions, version=__version__, origins=listed)


def _untrusted(reasons: Mapping[str, str]) -> list[str]:
    named = "; ".join(reasons.values())
    return [f"attributes left out of the captions as untrusted (caption.trust=audited): {named}"] if named else []
