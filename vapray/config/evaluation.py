"""Settings of the evaluation of generated images and of the caption audit."""

from operator import not_
from typing import Annotated, Literal

from pydantic import Field

from vapray.config.section import ConfigSection, NonNegativeInt, PathText, PositiveInt

__all__ = ["CaptionAudit", "Evaluate"]

GROUP_MIN_IMAGES = 30
REFERENCE_IMAGES, HELD_OUT_IMAGES, PAIR_IMAGES, CLASSIFIER_IMAGES = 100_000, 50_000, 25_000, 20_000


class Evaluate(ConfigSection):
    """Settings of the measurements on generated images."""

    features: Literal[
        "random_convolutions",
        "inception_v3",
        "vgg16",
        "squeezenet",
        "densenet121",
        "dinov2",
        "biomedclip",
        "classifier",
    ] = "random_convolutions"
    """Feature extractor for FID, KID, precision and recall. random_convolutions: embedded, without semantics;
    classifier: the label classifier before its last layer; the others are trained networks and read ``weights``.
    inception_v3, dinov2 and biomedclip need the extra ``features``."""
    weights: PathText | None = None
    """Weights of the extractor. inception_v3: torch-fidelity's file, None: the one in the torch hub cache; vgg16,
    squeezenet and densenet121: a file in torchvision's layout, such as a DenseNet-121 kept by stage downstream; dinov2:
    a directory in timm's layout (config.json, model.safetensors); biomedclip: one in open_clip's layout, or
    hf-hub:OWNER/NAME."""
    revision: str | None = None
    """Commit, tag or branch of a hub model."""
    preprocessing: Literal["imagenet", "caffe"] = "imagenet"
    """Input format of the weights of vgg16, squeezenet or densenet121. imagenet: torchvision's RGB; caffe: BGR in
    0..255 without the mean."""
    classifier_steps: PositiveInt = 200
    """Number of training steps of the small label classifier, which is trained on real images."""
    judge_steps: NonNegativeInt = 0
    """Number of training steps of the attribute judge of phantoms, a small network that learns what was drawn and
    checks caption adherence a second time, in every modality. 0: no judge, as for all other images; 500 take 45 s
    on one core at 32 pixels."""
    nearest_k: PositiveInt = 3
    """k of precision, recall, density and coverage."""
    prd: bool = False
    """Also compute the precision and recall of distributions (PRD): F8 and F1/8 over clusters."""
    half_samples: PositiveInt = 20
    """Number of random halves for the intervals of FID and KID."""
    shuffle_rounds: PositiveInt = 20
    """Number of captions of the same class to compare each image with, for the shuffled control."""
    bootstrap_samples: PositiveInt = 1000
    """Number of bootstrap draws for the intervals of caption adherence."""
    # Left out of fingerprints at their defaults, so that finished runs of earlier versions are kept.
    groups: Annotated[tuple[str, ...], Field(strict=False, exclude_if=not_)] = ()
    """Columns of the table ``images``, such as [sex, age, localization], by whose values fidelity, adherence, copies
    and the gain of downstream classifiers are reported. Columns of the dataset's own table must also be in
    ``data.metadata_columns``."""
    group_bins: Annotated[dict[str, Annotated[tuple[float, ...], Field(strict=False)]], Field(exclude_if=not_)] = Field(
        default_factory=dict
    )
    """Ascending bounds of the bins of numeric columns, such as {age: [40, 60]}: under 40, 40 to under 60, 60 and over.
    Without them, ages (columns with the word age in their name) are cut at 40 and 60, and other numeric columns with
    more than 10 values into thirds of the images."""
    group_min_images: Annotated[int, Field(ge=4, exclude_if=lambda count: count == GROUP_MIN_IMAGES)] = GROUP_MIN_IMAGES
    """Smallest number of images, real and generated, for which the numbers of a group are computed, at least 4."""

    reference_images: Annotated[int, Field(ge=4, exclude_if=lambda count: count == REFERENCE_IMAGES)] = REFERENCE_IMAGES
    """Largest number of training images for FID and distances to the nearest one, at least 4. Of more images a sample
    is taken: those with the lowest hashes of their ids, classes in proportion. ``basis`` in ``metrics.json`` tells it.
    Copies are looked for in all training images."""
    held_out_images: Annotated[int, Field(ge=4, exclude_if=lambda count: count == HELD_OUT_IMAGES)] = HELD_OUT_IMAGES
    """The same for held-out images: distances of real images, label accuracy and adherence in them."""
    pair_images: Annotated[int, Field(ge=4, exclude_if=lambda count: count == PAIR_IMAGES)] = PAIR_IMAGES
    """Largest number of images of each side for KID, precision, recall, density, coverage and PRD, at least 4; of more
    images so many are drawn."""
    classifier_images: Annotated[int, Field(ge=4, exclude_if=lambda count: count == CLASSIFIER_IMAGES)] = (
        CLASSIFIER_IMAGES
    )
    """The same as ``reference_images`` for the training of the label classifier and for class means."""


class CaptionAudit(ConfigSection):
    """Settings of the caption audit."""

    images: Annotated[int, Field(ge=2)] = 500
    """Number of captions to draw and compare with their images, at least 2."""
    repeats: Annotated[int, Field(ge=0, le=10)] = 2
    """Number of further captions per repeated image, each with its own seed, for a language model. 0: none; otherwise 2
    to 10, since they are compared with each other."""
    repeated_images: PositiveInt = 100
    """Number of drawn images to caption again."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    """Sampling temperature of the further captions, 0 to 2; at 0 every seed gives the same caption."""
    others: Annotated[tuple[PathText, ...], Field(strict=False)] = ()
    """``run.root`` of other runs over the same images, whose captions are compared with this run's."""
    rated_images: Annotated[int, Field(ge=0, le=500)] = 40
    """Number of drawn images on the experts' rating sheet, 0 to 500."""
    ratings: Annotated[tuple[PathText, ...], Field(strict=False)] = ()
    """Files saved by rating sheets of this run."""
