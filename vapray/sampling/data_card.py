"""Data card of a folder of generated images."""

from vapray import __version__
from vapray.data.origins import OriginSummary

__all__ = ["data_card"]

CARD = """# {count:,} synthetic images ({arm})

**Not for clinical use.** vapray {version} generated these images; they show no patient.

The model was trained on images with {captions:,} captions:

{origins}

The licences bind the training images. Check what they allow before you pass the generated images on. `metadata.jsonl`
names the training image of each caption (`source_image_id`).
"""


def data_card(arm: str, count: int, captions: int, origins: OriginSummary) -> str:
    """Render the card as Markdown.

    Args:
        arm: Arm of the images, such as generated.
        count: Number of images.
        captions: Number of captions of the training images.
        origins: Origins of the training images.
    """
    lines = "\n".join(f"* {line}" for line in origins.lines())
    return CARD.format(arm=arm, count=count, captions=captions, version=__version__, origins=lines)
