"""The labelled images."""

from typing import Annotated, Literal

from pydantic import Field

from vapray.config.section import Section, Share

__all__ = ["Data"]

Modality = Literal["dermoscopy", "chest_xray", "colonoscopy"]


class Phantom(Section):
    """Drawn pictures with known attributes."""

    n_images: Annotated[int, Field(ge=20)] = 1600
    """Pictures over all splits."""
    width: Annotated[int, Field(ge=32)] = 128
    """Pixels."""
    height: Annotated[int, Field(ge=32)] = 96
    """Pixels."""
    unseen: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Attributes, such as [shape, colours]: about a quarter of the combinations of their values in each class is drawn
    in the test split and nowhere else, and nothing else there. Of attributes that are no shares."""


class Data(Section):
    """The labelled images."""

    source: Literal["phantom", "isic2018", "isic2019", "chestxray14", "colonoscopy", "folder"] = "phantom"
    """phantom draws its own pictures; the others read ``root``."""
    root: str | None = None
    """Dataset folder."""
    no_finding: bool = False
    """For source chestxray14: pictures without a finding are a class too."""
    labels: str | None = None
    """For source colonoscopy: YAML file that maps its parts' diagnoses to common labels. None: vapray's own."""
    accept_identified_dicom: bool = False
    """Read DICOM files that are not marked as de-identified. Nothing of their headers is kept either way."""
    modality: Modality = "dermoscopy"
    """Modality of the images: it decides prompts and attributes."""
    image_size: Annotated[int, Field(ge=8)] = 32
    """Side in pixels of the square frame that is trained on, sampled and compared."""
    validation_share: Share = 0.1
    """Of the groups, where the dataset brings no validation split."""
    test_share: Share = 0.2
    """Of the groups, where the dataset brings no test split."""
    phantom: Phantom = Phantom()
