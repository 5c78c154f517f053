"""What is measured on generated images."""

from typing import Annotated, Literal

from pydantic import Field

from vapray.config.section import Count, Section

__all__ = ["Audit", "Evaluate"]


class Evaluate(Section):
    """The measurements."""

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
    """Extractor of FID, KID, precision and recall. random_convolutions: embedded, without semantics; classifier: the
    one that judges labels, before its last layer; the others are trained networks, whose ``weights`` have to be there.
    inception_v3, dinov2 and biomedclip need the extra ``features``."""
    weights: str | None = None
    """For inception_v3 torch-fidelity's file, None: the one in torch hub's cache; for vgg16, squeezenet and densenet121
    a file of torchvision's layout, such as a DenseNet-121 that stage downstream kept; for dinov2 a directory as timm's
    models have it (config.json, model.safetensors), for biomedclip one as open_clip's have it, or hf-hub:OWNER/NAME."""
    revision: str | None = None
    """Of the hub's: commit, tag or branch."""
    pixels: Literal["imagenet", "caffe"] = "imagenet"
    """What the weights of vgg16, squeezenet or densenet121 were trained on: torchvision's RGB, or Caffe's BGR in 0..255
    without the mean."""
    classifier_steps: Count = 200
    """Of the small classifier that judges labels, trained on real images."""
    neighbours: Count = 3
    """k of precision, recall, density and coverage."""
    prd: bool = False
    """Also the precision and recall of distributions (PRD): F8 and F1/8 over clusters."""
    halves: Count = 20
    """Random halves behind the intervals of FID and KID."""
    control_rounds: Count = 20
    """Captions of its class that each image is compared with for the shuffled control."""
    resamples: Count = 1000
    """Bootstrap draws behind the intervals of caption adherence."""


class Audit(Section):
    """How far captions can be trusted."""

    images: Annotated[int, Field(ge=2)] = 500
    """Captions that are drawn and held against their pictures."""
    repeats: Annotated[int, Field(ge=0, le=10)] = 2
    """Further captions of a picture, each with a seed of its own, where a language model is asked; 0 for none,
    else 2 at the least, since they are compared with each other."""
    repeated_images: Count = 100
    """Of the drawn ones, how many are captioned again."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    """Of the further captions; at 0 every seed gives the same."""
    others: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """``run.root`` of other runs over the same pictures, whose captions are set beside these."""
    rated_images: Annotated[int, Field(ge=0, le=500)] = 40
    """Of the drawn ones, how many stand on the sheet that experts rate."""
    ratings: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Files that rating sheets of this run have saved."""
