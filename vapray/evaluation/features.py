"""Registry of feature extractors."""

import difflib
from collections.abc import Callable
from typing import Any

from vapray.config import Evaluate
from vapray.errors import ConfigError
from vapray.evaluation.classifier import Classifier
from vapray.evaluation.extractors.extractor import FeatureExtractor, FeatureSpace
from vapray.evaluation.extractors.inception import inception_v3
from vapray.evaluation.extractors.random_convolutions import RandomConvolutions
from vapray.evaluation.extractors.torchvision_networks import torchvision_network
from vapray.evaluation.extractors.trained_classifier import penultimate_layer
from vapray.evaluation.extractors.vision_transformers import vision_transformer

__all__ = [
    "FeatureExtractor",
    "FeatureSpace",
    "RandomConvolutions",
    "build_extractor",
    "extractor_names",
    "load_extractor",
    "register_extractor",
]  # fmt: skip

_FACTORIES: dict[str, Callable[..., FeatureExtractor]] = {
    "random_convolutions": RandomConvolutions,
    "inception_v3": inception_v3,
    "vgg16": torchvision_network,
    "squeezenet": torchvision_network,
    "densenet121": torchvision_network,
    "dinov2": vision_transformer,
    "biomedclip": vision_transformer,
    "classifier": penultimate_layer,
}


def register_extractor(name: str, factory: Callable[..., FeatureExtractor]) -> None:
    """Register ``factory(**options)`` for ``load_extractor(name, **options)``; replaces an earlier one."""
    _FACTORIES[name] = factory


def extractor_names() -> tuple[str, ...]:
    """Names that ``load_extractor`` accepts."""
    return tuple(sorted(_FACTORIES))


def load_extractor(name: str = "random_convolutions", **options: Any) -> FeatureExtractor:
    """Build the extractor registered under ``name``.

    Raises:
        ConfigError: the name is not registered; suggests the nearest one.
    """
    if name in _FACTORIES:
        return _FACTORIES[name](**options)
    near = difflib.get_close_matches(name, _FACTORIES, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ConfigError(f"unknown feature extractor {name!r}. Accepted: {', '.join(extractor_names())}.{hint}")


def build_extractor(settings: Evaluate, device: str = "cpu", classifier: Classifier | None = None) -> FeatureExtractor:
    """Build the extractor that section ``evaluate`` of the config requests.

    Args:
        settings: Config section ``evaluate``.
        device: Torch device name; the embedded extractor always runs on the CPU, because it is small.
        classifier: Label classifier, for ``features: classifier``.

    Raises:
        ConfigError: the weights are missing or of another network.
        CheckpointError: a file is damaged.
        BackendError: this machine lacks a package or a model.
    """
    own: dict[str, dict[str, Any]] = {
        "random_convolutions": {},
        "classifier": {"classifier": classifier, "device": device},
    }
    options = own.get(settings.features, {"settings": settings, "device": device})
    return load_extractor(settings.features, **options)
