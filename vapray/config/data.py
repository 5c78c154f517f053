"""Settings of the labelled images."""

from typing import Annotated, Literal

from pydantic import Field

from vapray.config.section import ConfigSection, PathText, UnitInterval

__all__ = ["Data", "modality_name"]

Modality = Literal["dermoscopy", "chest_xray", "colonoscopy"]


def modality_name(modality: str, *, title: bool = False) -> str:
    """Name of a modality or prompt set for readers: ``chest X-ray``, or as a title ``Chest X-ray``."""
    name = modality.replace("_", " ").replace("xray", "X-ray")
    return name[:1].upper() + name[1:] if title else name


class Phantom(ConfigSection):
    """Settings of the phantoms: drawn images with known attributes."""

    n_images: Annotated[int, Field(ge=20)] = 1600
    """Number of images over all splits, at least 20."""
    width: Annotated[int, Field(ge=32)] = 128
    """Width of an image, in pixels."""
    height: Annotated[int, Field(ge=32)] = 96
    """Height of an image, in pixels."""
    unseen: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Attributes, such as [shape, colours], for a test of unseen combinations. In each class about a quarter of the
    combinations of their values appears only in the test split, which has no others. Attributes that are shares are
    refused."""


class Data(ConfigSection):
    """Settings of the labelled images."""

    source: Literal["phantom", "isic2018", "isic2019", "chestxray14", "colonoscopy", "folder"] = "phantom"
    """Dataset. phantom draws its own images; the others read ``root``."""
    root: PathText | None = None
    """Folder of the dataset; a local path on every node. Required for every source but phantom."""
    no_finding: bool = False
    """For source chestxray14: add a class of images without a finding."""
    labels: PathText | None = None
    """For source colonoscopy: YAML file that maps the diagnoses of its parts to common labels; None: the built-in
    mapping."""
    accept_identified_dicom: bool = False
    """Read DICOM files that are not marked as de-identified. No header data is kept in either case."""
    licence: str = ""
    """Licence of the images whose licence the dataset does not state: an SPDX id, such as CC-BY-4.0, or a name.
    Empty: unknown, so that ``vapray export`` asks for ``--accept-unknown-licences``."""
    metadata_columns: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Columns of the dataset's table, such as [age, sex], that the table ``images`` keeps in its column metadata."""
    hash_subjects: bool = False
    """Replace patients and lesions in the columns subject and group by hashes. Image ids, paths and metadata stay."""
    modality: Modality = "dermoscopy"
    """Imaging modality; selects the prompts and the attributes."""
    image_size: Annotated[int, Field(ge=8)] = 32
    """Side of the square images for training, sampling and evaluation, in pixels, at least 8."""
    validation_share: UnitInterval = 0.1
    """Share of the groups for validation, 0 to 1, where the dataset has no validation split."""
    test_share: UnitInterval = 0.2
    """Share of the groups for testing, 0 to 1, where the dataset has no test split."""
    phantom: Phantom = Phantom()
